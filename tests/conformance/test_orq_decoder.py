"""An agent's stream, read: what we wrote, what others may write, and what was cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dialects import orq
from penstock.errors import RemoteProtocolError
from penstock.events import (
    TERMINAL,
    DataPart,
    Event,
    FilePart,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
    Usage,
)
from penstock.grammar import Grammar
from penstock.snapshot import Response, fold
from penstock.wire import Frame
from penstock.wire.sse import SSEReader
from streams import SEATED, SESSION, STRUCTURED, WIRES, records, written

WIRE = WIRES["orq"]
BEGUN = ResponseStarted("task_1.1", "demo")


def read(frames: Iterable[Frame], *, structured: bool = False) -> list[Event]:
    """What a decoder makes of ``frames``; whatever that is, it may stand in a log."""
    decoder = orq.Decoder(structured=structured)
    found = [event for frame in frames for event in decoder.decode(frame)] + list(decoder.close())
    assert not Grammar().after(found).busy
    assert [type(event) for event in found if isinstance(event, TERMINAL)] == [type(found[-1])]
    assert list(decoder.close()) == [], "the end is said once"
    return found


def frames_of(*events: tuple[str, dict[str, Any]]) -> list[Frame]:
    """Frames of a server that is not ours."""
    told = [{"type": kind, "timestamp": "2026-01-05T09:30:00Z", "data": data} for kind, data in events]
    return [*(Frame(json.dumps(each).encode()) for each in told), Frame(b"[DONE]")]


def ours(events: Iterable[Event]) -> list[Frame]:
    encoder = orq.Encoder()
    return [frame for record in records(events) for frame in encoder.encode(record)]


def response(events: Iterable[Event]) -> Response:
    found = fold(events).response
    assert found is not None
    return found


# -- what we wrote

ANSWER: list[Event] = [
    BEGUN,
    PartStarted("p1", ReasoningPart()),
    PartStarted("p2", TextPart()),
    PartDelta("p1", "Two "),
    PartDelta("p2", "Let "),
    PartDelta("p1", "calls."),
    PartDone("p1", ReasoningPart("Two calls.", "sig")),
    PartDone("p2", TextPart("Let me see.")),
    ReviewRequested("c1", "tide", "", {"port": "Brest"}),
    ReviewDone("c1", "", "approved"),
    ToolStarted("c1", "tide", {"port": "Brest"}),
    ToolDone("c1", {"at": "12:40"}),
    ReviewRequested("c2", "tide", "", {}),
    ReviewDone("c2", "", "rejected"),
    ToolFailed("c2", "the call was rejected"),
    ToolStarted("c3", "tide", {}),
    ToolFailed("c3", "no such port"),
    PartStarted("p3", FilePart("image/png", data="AA==", name="a")),
    PartDone("p3", FilePart("image/png", data="AA==", name="a")),
    PartStarted("p4", DataPart({"a": [1, None]})),
    PartDone("p4", DataPart({"a": [1, None]})),
    PartStarted("p5", ToolCallPart("c4", "ask", '{"x":1}')),
    PartDone("p5", ToolCallPart("c4", "ask", '{"x":1}')),
    ResponseDone("tool_calls", Usage(9, 2, 4, 1), ("c4",)),
]


def test_what_the_wire_can_say_comes_back() -> None:
    found = read(ours(ANSWER))
    begun, end = found[0], found[-1]
    assert isinstance(begun, ResponseStarted) and (begun.response_id, begun.model) == ("task_1.1", "demo")
    assert isinstance(end, ResponseDone)
    assert (end.finish_reason, end.pending_calls) == ("tool_calls", ("c4",))
    usage = end.usage
    assert isinstance(usage, Usage)
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        9, 2, 4, 1,
    )  # fmt: skip
    told, back = response(ANSWER), response(found)
    assert back.content() == told.content(), "parts in their order, and whole"
    assert back.tools == told.tools


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "max_iterations", "tool_calls"])
def test_reasons_come_back(reason: Any) -> None:
    assert read(ours([BEGUN, ResponseDone(reason)]))[-1] == ResponseDone(reason)


@pytest.mark.parametrize(
    ("end", "code", "status", "retryable"),
    [
        (ResponseFailed("upstream", "gone", extra={"status": 502}), "upstream", 502, True),
        (ResponseFailed("bug", "gone"), "upstream", 500, False),
        (ResponseFailed("max_time", "late"), "timeout", 504, True),
        (ResponseDone("cancelled"), "cancelled", 499, False),
    ],
)
def test_failures_come_back(end: Event, code: str, status: int, retryable: bool) -> None:
    last = read(ours([BEGUN, end]))[-1]
    assert isinstance(last, ResponseFailed)
    assert (last.code, last.extra, last.retryable) == (code, {"status": status}, retryable)


def test_text_that_is_data_is_read_as_such_where_it_is_asked_for() -> None:
    deltas = [PartDelta("p1", '{"a"'), PartDelta("p1", ":1}")]
    whole = PartDone("p1", TextPart('{"a":1}'))
    spoken: list[Event] = [BEGUN, PartStarted("p1", TextPart()), *deltas, whole, ResponseDone("stop")]
    assert response(read(ours(spoken), structured=True)).content() == [DataPart({"a": 1})]
    assert DataPart(SEATED) in response(read(ours(STRUCTURED))).content(), (
        "an object says itself that it is data"
    )


def test_only_the_first_answer_of_a_body_is_read() -> None:
    found = read(ours(SESSION))
    assert [event.response_id for event in found if isinstance(event, ResponseStarted)] == ["st_1.1"]


def test_a_stream_cut_anywhere_is_whole_or_says_that_it_is_not() -> None:
    frames = ours(ANSWER)
    for k in range(len(frames) + 1):
        last = read(frames[:k])[-1]
        if k < len(frames) - 1:
            assert isinstance(last, ResponseFailed) and last.code == "truncated", k
        else:
            assert isinstance(last, ResponseDone), "[DONE] says nothing that was not said"


def test_a_last_frame_without_its_blank_line_counts_if_it_is_whole() -> None:
    body = written(WIRE, ours([BEGUN, ResponseDone("stop")])).split(b"\n\ndata: [DONE]")[0]
    for cut, whole in ((0, True), (1, False)):
        reader, decoder = SSEReader(), orq.Decoder()
        found = [event for frame in reader.feed(body[: len(body) - cut]) for event in decoder.decode(frame)]
        found += decoder.close(reader.unfinished(), broken=True)
        assert isinstance(found[-1], ResponseDone) is whole


# -- what others may write

STARTED = ("response.started", {"responseId": "r", "taskId": "t", "model": "m", "workflowRunId": "w"})
STOP = ("response.done", {"finishReason": "stop"})
TOOL = {"toolId": "t_1", "toolCallId": "c"}


def within(*events: tuple[str, dict[str, Any]], end: tuple[str, dict[str, Any]] = STOP) -> list[Event]:
    """What is read between the beginning and the end of an answer."""
    found = read(frames_of(STARTED, *events, end))
    assert found[0] == ResponseStarted("r", "m", extra={"taskId": "t", "workflowRunId": "w"})
    return found[1:-1]


START, DONE = ToolStarted("c", "t_1", {}), ToolDone("c", {"x": 1})
ASKED = ReviewRequested("c", "t_1", "", {})
REVIEW = ("tool.review.requested", {**TOOL, "arguments": {}, "requiresApproval": True})

ODD: dict[str, tuple[list[tuple[str, dict[str, Any]]], list[Event]]] = {
    "an unknown type": ([("agent.thought", {"x": 1}), ("tool.dreamt", TOOL)], []),
    "a result without a start": ([("tool.done", {**TOOL, "result": {"x": 1}})], [START, DONE]),
    "a result twice": (
        [("tool.started", {**TOOL, "arguments": {}}), *[("tool.done", {**TOOL, "result": {"x": 1}})] * 2],
        [START, DONE],
    ),
    "a result that is missing": (
        [("tool.started", {**TOOL, "arguments": {}})],
        [START, ToolFailed("c", "the stream did not say what became of the call")],
    ),
    "a review without an end": (
        [REVIEW],
        [ASKED, ReviewDone("c", "", "expired"),
         ToolFailed("c", "the stream did not say what became of the call")],
    ),
    "a refused call that is said to fail": (
        [REVIEW, ("tool.review.done", {**TOOL, "review": "rejected"}),
         ("tool.failed", {**TOOL, "error": "no"})],
        [ASKED, ReviewDone("c", "", "rejected"), ToolFailed("c", "the call was rejected")],
    ),
    "an approved call of which only the result is told": (
        [REVIEW, ("tool.review.done", {**TOOL, "review": "approved"}),
         ("tool.done", {**TOOL, "result": {"x": 1}})],
        [ASKED, ReviewDone("c", "", "approved"), START, DONE],
    ),
    "a part without an end": (
        [("part.delta", {"partId": "a", "delta": {"kind": "text", "text": "Hi"}})],
        [PartStarted("p1", TextPart()), PartDelta("p1", "Hi"), PartDone("p1", TextPart("Hi"))],
    ),
    "a part that changes its kind": (
        [("part.delta", {"partId": "a", "delta": {"kind": "text", "text": "Hi"}}),
         ("part.done", {"partId": "a", "part": {"kind": "data", "data": {}}})],
        [PartStarted("p1", TextPart()), PartDelta("p1", "Hi"), PartDone("p1", TextPart("Hi"))],
    ),
    "data in a delta": (
        [("part.delta", {"partId": "a", "delta": {"kind": "data", "data": {"x": 1}}}),
         ("part.done", {"partId": "a", "part": {"kind": "data", "data": {"x": 1}}})],
        [PartStarted("p1", DataPart({"x": 1})), PartDone("p1", DataPart({"x": 1}))],
    ),
    "a kind of part that we do not know": (
        [("part.delta", {"partId": "a", "delta": {"kind": "smell"}}),
         ("part.done", {"partId": "a", "part": {"kind": "smell"}})],
        [],
    ),
    "the beginning twice": ([STARTED], []),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_other_servers(name: str) -> None:
    events, expected = ODD[name]
    assert within(*events) == expected


def test_a_stream_without_its_beginning_has_one() -> None:
    assert read(frames_of(STOP)) == [ResponseStarted(""), ResponseDone("stop")]


def test_calls_may_lack_everything_but_their_id() -> None:
    pending = [{"id": "c", "type": "function", "function": {}}]
    end = ("response.done", {"finishReason": "function_call", "usage": None, "pendingToolCalls": pending})
    part = ToolCallPart("c", "", "")
    assert within(end=end) == [PartStarted("p1", part), PartDone("p1", part)]
    assert read(frames_of(STARTED, end))[-1] == ResponseDone("tool_calls", pending_calls=("c",))


def test_max_time_is_a_limit_of_length() -> None:
    assert read(frames_of(STARTED, ("response.done", {"finishReason": "max_time"})))[-1] == ResponseDone(
        "length"
    )


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1]", b'"x"', b'{"type":1}', b'{"type":"part.delta","data":3}']
)
def test_what_is_no_event_is_an_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not an event of an agent's stream"):
        read([Frame(data)])


def test_half_a_surrogate_pair_is_forgiven() -> None:
    data = b'{"type":"part.delta","data":{"partId":"a","delta":{"kind":"text","text":"x\\ud83c"}}}'
    assert read([Frame(data)])[2] == PartDelta("p1", "x\ufffd")


KINDS = ["response.started", "response.done", "response.failed", "tool.started", "tool.done", "tool.failed",
         "tool.review.requested", "tool.review.done", "part.delta", "part.done", "?"]  # fmt: skip
PIECE = st.fixed_dictionaries(
    {"kind": st.sampled_from(["text", "reasoning", "data", "file", "?"])},
    optional={"text": st.text(max_size=3), "reasoning": st.text(max_size=3), "data": st.none(),
              "file": st.just({"uri": "u"})},
)  # fmt: skip
ANYTHING = st.tuples(
    st.sampled_from(KINDS),
    st.fixed_dictionaries(
        {"partId": st.sampled_from("ab"), "toolCallId": st.sampled_from(["c", "d", ""]), "delta": PIECE,
         "part": PIECE, "review": st.sampled_from(["approved", "rejected"])},
        optional={"pendingToolCalls": st.just([{"id": "z"}]), "code": st.integers(400, 599)},
    ),
)  # fmt: skip


@given(st.lists(ANYTHING, max_size=25))
def test_whatever_comes_may_stand_in_a_log(events: list[tuple[str, dict[str, Any]]]) -> None:
    read(frames_of(*events))
