"""Frames of an agent's stream (sections 4 and 5 of the contract): to the byte, and strict always."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dialects import orq
from penstock.dialects.orq.strict import checked
from penstock.errors import LocalProtocolError
from penstock.events import (
    ROUND_DONE,
    Custom,
    DataPart,
    Event,
    FilePart,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    SourcePart,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
    Usage,
)
from penstock.grammar import Grammar
from penstock.log import Record
from penstock.names import uuid_of
from penstock.snapshot import text_of
from penstock.wire import Frame
from streams import SESSION, STRUCTURED, WIRES, records, written

WIRE = WIRES["orq"]
BEGUN = ResponseStarted("task_1.1", "builtin/echo")
AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC).timestamp()


def encoded(events: Iterable[Event]) -> list[Frame]:
    encoder = orq.Encoder()
    return [frame for record in records(events) for frame in encoder.encode(record)]


def said(events: Iterable[Event]) -> list[tuple[str, dict[str, Any]]]:
    """What the frames say, without their times and ``[DONE]``."""
    read = [json.loads(frame.data) for frame in encoded(events) if frame.data != b"[DONE]"]
    return [(each["type"], each["data"]) for each in read]


def part(whole: Part, *deltas: str, key: str = "p1") -> list[Event]:
    """The events of a part that comes in ``deltas``."""
    pieces = [PartDelta(key, delta) for delta in deltas]
    return [PartStarted(key, type(whole)() if deltas else whole), *pieces, PartDone(key, whole)]  # type: ignore[call-arg]


def call(call_id: str, arguments: str = "{}", key: str = "", tool: str = "refund") -> list[Event]:
    return part(ToolCallPart(call_id, tool, arguments), key=key or f"p-{call_id}")


# -- the contract's examples


def test_text_is_the_contracts_to_the_byte() -> None:
    events = [BEGUN, *part(TextPart("Hello"), "Hel", "lo"), ResponseDone("stop", Usage(5, 0, 2))]
    times = (0.120, 0.130, 0.140, 0.150, 0.151, 0.152)
    encoder = WIRE.encoder()
    frames = [
        frame
        for n, (event, after) in enumerate(zip(events, times, strict=True))
        for frame in encoder.encode(Record(n, AT + after, event))
    ]
    run = uuid_of("task_1.1")
    assert written(WIRE, frames).decode() == (
        'data: {"type":"response.started","timestamp":"2026-01-05T09:30:00.120Z","data":'
        '{"responseId":"task_1.1","taskId":"task_1","model":"builtin/echo",'
        f'"workflowRunId":"{run}"}}}}\n\n'
        'data: {"type":"part.delta","timestamp":"2026-01-05T09:30:00.140Z","data":'
        '{"partId":"text_task_1.1-p1","delta":{"kind":"text","text":"Hel"}}}\n\n'
        'data: {"type":"part.delta","timestamp":"2026-01-05T09:30:00.150Z","data":'
        '{"partId":"text_task_1.1-p1","delta":{"kind":"text","text":"lo"}}}\n\n'
        'data: {"type":"part.done","timestamp":"2026-01-05T09:30:00.151Z","data":'
        '{"partId":"text_task_1.1-p1","part":{"kind":"text","text":"Hello"}}}\n\n'
        'data: {"type":"response.done","timestamp":"2026-01-05T09:30:00.152Z","data":'
        '{"finishReason":"stop","usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}}\n\n'
        "data: [DONE]\n\n"
    )


STARTED = ("tool.started", {"toolId": "refund", "toolCallId": "call_3", "toolName": "refund",
                            "arguments": {"order": 7}})  # fmt: skip
REQUESTED = ("tool.review.requested", {**STARTED[1], "requiresApproval": True})


def told(kind: str, **members: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"toolId": "refund", "toolCallId": "call_3", **members}


ROUND: list[Event] = [*call("call_3", '{"order":7}'), Custom(ROUND_DONE, {"usage": {}})]
ASKED = ReviewRequested("call_3", "refund", "d", {"order": 7}, 1e9)
RUN: list[Event] = [ToolStarted("call_3", "refund", {"order": 7}), ToolDone("call_3", {"paid": True})]
REFUSED = [REQUESTED, told("tool.review.done", review="rejected")]

TOOLS: dict[str, tuple[list[Event], list[Any]]] = {
    "run": (RUN, [STARTED, told("tool.done", result={"paid": True})]),
    "run without a part": (RUN, [STARTED, told("tool.done", result={"paid": True})]),
    "with nothing to tell": (
        [RUN[0], ToolDone("call_3")],
        [STARTED, told("tool.done", result=None)],
    ),
    "failed": (
        [RUN[0], ToolFailed("call_3", "no such order")],
        [STARTED, told("tool.failed", error="no such order")],
    ),
    "failed before it ran": (
        [ToolFailed("call_3", "the arguments do not fit")],
        [STARTED, told("tool.failed", error="the arguments do not fit")],
    ),
    "approved": (
        [ASKED, ReviewDone("call_3", "d", "approved", "ada"), *RUN],
        [REQUESTED, told("tool.review.done", review="approved"), STARTED,
         told("tool.done", result={"paid": True})],
    ),
    "mocked": (
        [ASKED, ReviewDone("call_3", "d", "approved", output={"paid": 0}), RUN[0],
         ToolDone("call_3", {"paid": 0})],
        [REQUESTED, told("tool.review.done", review="approved"), STARTED,
         told("tool.done", result={"paid": 0})],
    ),
    "approved, and never run": (
        [ASKED, ReviewDone("call_3", "d", "approved"), ToolFailed("call_3", "interrupted")],
        [REQUESTED, told("tool.review.done", review="approved"), STARTED,
         told("tool.failed", error="interrupted")],
    ),
    "rejected": (
        [ASKED, ReviewDone("call_3", "d", "rejected", "ada"), ToolFailed("call_3", "rejected by ada")],
        REFUSED,
    ),
    "expired": ([ASKED, ReviewDone("call_3", "d", "expired"), ToolFailed("call_3", "expired")], REFUSED),
}  # fmt: skip


@pytest.mark.parametrize("name", TOOLS)
def test_what_the_server_does_about_a_call(name: str) -> None:
    events, expected = TOOLS[name]
    before = [] if name == "run without a part" else ROUND
    answer = part(TextPart("Done."), "Done.", key="p9")
    stream = [BEGUN, *before, *events, *answer, ResponseDone("stop")]
    Grammar().after(stream)
    found = said(stream)
    assert found[1:-3] == expected, "nothing of the call's own part, nor of the round's end"
    assert [kind for kind, _ in found[-3:]] == ["part.delta", "part.done", "response.done"]


def test_a_turn_knows_nothing_of_the_one_before() -> None:
    """Some models name their calls anew in each answer."""
    first = [BEGUN, *ROUND, *TOOLS["rejected"][0], ResponseDone("stop")]
    second = [ResponseStarted("task_1.2"), *ROUND, ToolFailed("call_3", "gone"), ResponseDone("stop")]
    assert said([*first, *second])[-3:-1] == [STARTED, told("tool.failed", error="gone")]
    assert encoded([*first, *second])[len(encoded(first)) :] == encoded(
        [*[Custom("x")] * len(first), *second]
    )


@pytest.mark.parametrize("arguments", [None, [], "{}", 7])
def test_arguments_that_are_no_object_are_none(arguments: Any) -> None:
    for event in (ToolStarted("c", "f", arguments), ReviewRequested("c", "f", "d", arguments)):
        [_, (_, data)] = said([BEGUN, event])
        assert data["arguments"] == {}


@pytest.mark.parametrize("arguments", ["", "[1]", '{"a":', "NaN"])
def test_a_call_that_fails_because_of_its_arguments(arguments: str) -> None:
    found = said([BEGUN, *call("call_3", arguments), ToolFailed("call_3", "not an object")])
    assert found[1:] == [
        ("tool.started", {**STARTED[1], "arguments": {}}),
        told("tool.failed", error="not an object"),
    ]


# -- how it ends


def test_calls_for_the_caller() -> None:
    calls = [*call("call_9", '{"city":"Paris"}', tool="get_weather"), *call("call_8", " "), *call("call_7")]
    [*_, last] = said([BEGUN, *calls, ResponseDone("tool_calls", pending_calls=("call_9", "call_8"))])
    assert last == (
        "response.done",
        {
            "finishReason": "function_call",
            "pendingToolCalls": [
                {"id": "call_9", "type": "function",
                 "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}},
                {"id": "call_8", "type": "function", "function": {"name": "refund", "arguments": "{}"}},
            ],
        },
    )  # fmt: skip


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "max_iterations"])
def test_reasons_that_have_a_name(reason: Any) -> None:
    assert said([BEGUN, ResponseDone(reason)])[1] == ("response.done", {"finishReason": reason})


FAILURES: list[tuple[Event, str, int]] = [
    (ResponseFailed("upstream", "model exploded"), "model exploded", 500),
    (ResponseFailed("upstream", "gone", extra={"status": 502}), "gone", 502),
    (ResponseFailed("max_time", "too long"), "too long", 504),
    (ResponseFailed("rate_limit_exceeded", "", extra={"status": "429"}), "rate_limit_exceeded", 429),
    (ResponseFailed("odd", "odd", extra={"status": 200}), "odd", 500),
    (ResponseFailed("odd", "odd", extra={"status": True}), "odd", 500),
    (ResponseFailed("", ""), "the response failed", 500),
    (ResponseDone("cancelled", Usage(1)), "the response was cancelled", 499),
]


@pytest.mark.parametrize(("end", "error", "code"), FAILURES)
def test_failures(end: Event, error: str, code: int) -> None:
    events: list[Event] = [BEGUN, PartStarted("p1", TextPart()), PartDelta("p1", "Well")]
    if isinstance(end, ResponseDone):
        events += [StopRequested("ada"), PartDone("p1", TextPart("Well"))]
    *_, last = said([*events, end])
    assert last == ("response.failed", {"error": error, "code": code})
    assert encoded([*events, end])[-1].data == b"[DONE]"


def test_a_part_that_a_failure_cut_short_has_no_end() -> None:
    kinds = [kind for kind, _ in said([BEGUN, *part(TextPart("Well"), "Well")[:2], ResponseFailed("x", "y")])]
    assert kinds == ["response.started", "part.delta", "response.failed"]


def test_usage_has_details_of_what_was_counted() -> None:
    [_, (_, data)] = said([BEGUN, ResponseDone("stop", Usage(9, 4, 5, 3, extra={"x": None}))])
    assert data["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


# -- parts

PARTS: dict[str, tuple[list[Event], list[dict[str, Any]], dict[str, Any] | None]] = {
    "begins with something in it": (
        [PartStarted("p1", TextPart("Let")), PartDelta("p1", " me."), PartDone("p1", TextPart("Let me."))],
        [{"kind": "text", "text": "Let"}, {"kind": "text", "text": " me."}],
        {"kind": "text", "text": "Let me."},
    ),
    "ends with more than its deltas": (
        part(TextPart("Let me."), "Let"),
        [{"kind": "text", "text": "Let"}, {"kind": "text", "text": " me."}],
        {"kind": "text", "text": "Let me."},
    ),
    "comes whole": (
        part(TextPart("Let me.")),
        [{"kind": "text", "text": "Let me."}],
        {"kind": "text", "text": "Let me."},
    ),
    "whole only at its end": (
        [PartStarted("p1", TextPart()), PartDone("p1", TextPart("Hm."))],
        [{"kind": "text", "text": "Hm."}],
        {"kind": "text", "text": "Hm."},
    ),
    "has no text": (part(TextPart()), [], {"kind": "text", "text": ""}),
    "a refusal is text": (
        part(RefusalPart("No."), "No."),
        [{"kind": "text", "text": "No."}],
        {"kind": "text", "text": "No."},
    ),
    "reasoning": (
        part(ReasoningPart("Hm.", "sig"), "Hm."),
        [{"kind": "reasoning", "_id": "reasoning_task_1.1-p1", "reasoning": "Hm."}],
        {"kind": "reasoning", "_id": "reasoning_task_1.1-p1", "reasoning": "Hm.", "signature": "sig"},
    ),
    "reasoning that is only signed": (
        part(ReasoningPart("", "sig")),
        [],
        {"kind": "reasoning", "_id": "reasoning_task_1.1-p1", "reasoning": "", "signature": "sig"},
    ),
    "data": (part(DataPart({"a": None}), '{"a":', "null}"), [], {"kind": "data", "data": {"a": None}}),
    "data that is no object": (
        part(DataPart([1, "é"]), '[1,"é"]'),
        [{"kind": "text", "text": '[1,"é"]'}],
        {"kind": "text", "text": '[1,"é"]'},
    ),
    "data that never was JSON": (
        part(DataPart(text='{"a":'), '{"a":'),
        [{"kind": "text", "text": '{"a":'}],
        {"kind": "text", "text": '{"a":'},
    ),
    "bytes": (
        part(FilePart("image/png", data="AA==", name="a.png")),
        [],
        {"kind": "file", "file": {"bytes": "AA==", "mimeType": "image/png", "name": "a.png"}},
    ),
    "a file elsewhere": (
        part(FilePart(url="https://a.example/b")), [], {"kind": "file", "file": {"uri": "https://a.example/b"}},
    ),
    "a file by id": (part(FilePart(file_id="f-1")), [], {"kind": "file", "file": {"uri": "f-1"}}),
    "a source": (part(SourcePart("https://a.example")), [], None),
    "a tool call": (call("c", key="p1"), [], None),
    "another choice": (
        [PartStarted("p1", TextPart(), 1), PartDelta("p1", "b"), PartDone("p1", TextPart("b"))], [], None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_parts(name: str) -> None:
    events, deltas, whole = PARTS[name]
    found = said([BEGUN, *events, ResponseDone("stop")])[1:-1]
    kind = next((each["kind"] for each in [*deltas, whole] if each), "")
    key = f"{kind}_task_1.1-p1"
    expected = [("part.delta", {"partId": key, "delta": delta}) for delta in deltas]
    end = [("part.done", {"partId": key, "part": whole})] if whole else []
    assert found == [*expected, *end]


def test_parts_may_overlap() -> None:
    found = said(STRUCTURED)
    joined: dict[str, str] = {}
    for kind, data in found:
        if kind == "part.delta":
            joined[data["partId"]] = joined.get(data["partId"], "") + "".join(pieces(data["delta"]))
        elif kind == "part.done":
            assert joined.get(data["partId"], "") == "".join(pieces(data["part"]))
    assert len(joined) == 2, "data has no deltas"
    assert [data["part"]["kind"] for kind, data in found if kind == "part.done"] == [
        "reasoning",
        "data",
        "text",
    ]


def pieces(piece: dict[str, Any]) -> list[str]:
    return [piece[key] for key in ("text", "reasoning") if key in piece]


def test_names_of_parts_are_their_own_in_the_whole_task() -> None:
    odd = [event for key in ("p1", "p-1", "p~1", "p~2d~1", "ü", "") for event in part(TextPart("x"), key=key)]
    two = [BEGUN, *odd, ResponseDone("stop"), ResponseStarted("task_1.2"), *odd, ResponseDone("stop")]
    names = [data["partId"] for kind, data in said(two) if kind == "part.done"]
    assert len(set(names)) == len(names) == 12
    assert all(name.isascii() and name.startswith("text_task_1.") for name in names)


def test_each_turn_is_a_run_of_its_own_and_the_task_stays() -> None:
    begun = [data for kind, data in said(SESSION) if kind == "response.started"]
    assert {data["taskId"] for data in begun} == {"st_1"}
    assert len({data["workflowRunId"] for data in begun}) == len(begun) == 4


# -- strict

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ID, PLACE = st.sampled_from(["c1", "c2", "ü c"]), st.sampled_from(["p1", "p2", "p3"])
PART: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, TEXT),
    st.builds(ReasoningPart, TEXT, TEXT),
    st.builds(RefusalPart, TEXT),
    st.builds(DataPart, JSON) | st.builds(DataPart, text=TEXT),
    st.builds(ToolCallPart, ID, TEXT, TEXT | st.just('{"a":1}')),
    st.builds(ToolResultPart, ID, JSON),
    st.builds(FilePart, TEXT, TEXT, TEXT, TEXT, TEXT),
    st.builds(SourcePart, TEXT, TEXT),
)
COUNT = st.integers(0, 2**70)
USAGE = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, st.sampled_from(["provider", "estimated"]))
REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "cancelled", "max_iterations"])
EXTRA = st.dictionaries(st.sampled_from(["status", "x"]), JSON)
ANY_EVENT: dict[type[Event], st.SearchStrategy[Event]] = {
    MessageAdded: st.builds(MessageAdded, st.sampled_from(["user", "system"]), st.tuples(PART)),
    ResponseStarted: st.builds(ResponseStarted, TEXT, TEXT, TEXT, extra=EXTRA),
    StopRequested: st.builds(StopRequested, TEXT, st.tuples(TEXT)),
    ResponseDone: st.builds(
        ResponseDone, REASONS, USAGE, st.lists(ID).map(tuple), st.lists(REASONS).map(tuple), EXTRA
    ),
    ResponseFailed: st.builds(ResponseFailed, TEXT, TEXT, st.booleans(), USAGE, EXTRA),
    PartStarted: st.builds(PartStarted, PLACE, PART, st.integers(0, 1)),
    PartDelta: st.builds(PartDelta, PLACE, TEXT, EXTRA),
    PartDone: st.builds(PartDone, PLACE, PART, EXTRA),
    ToolStarted: st.builds(ToolStarted, ID, TEXT, JSON),
    ToolDone: st.builds(ToolDone, ID, JSON),
    ToolFailed: st.builds(ToolFailed, ID, TEXT),
    ReviewRequested: st.builds(ReviewRequested, ID, TEXT, TEXT, JSON, st.floats(0, 4e9)),
    ReviewDone: st.builds(
        ReviewDone, ID, TEXT, st.sampled_from(["approved", "rejected", "expired"]), TEXT, JSON
    ),
    Custom: st.builds(Custom, TEXT | st.just(ROUND_DONE), JSON),
}


def test_every_kind_of_event_is_generated() -> None:
    assert set(ANY_EVENT) == set(Event.__args__)


def legal(events: Iterable[Event]) -> list[Event]:
    """Those of ``events`` that may stand in a log."""
    kept: list[Event] = []
    grammar = Grammar()
    for event in events:
        with suppress(LocalProtocolError):
            grammar = grammar.after((event,))
            kept.append(event)
    return kept


@given(st.lists(st.one_of(*ANY_EVENT.values()), max_size=40), st.floats(0, 4e9))
def test_no_event_of_any_log_becomes_one_that_an_sdk_refuses(events: list[Event], at: float) -> None:
    encoder = orq.Encoder()
    for n, event in enumerate(legal([BEGUN, *events])):
        for frame in encoder.encode(Record(n, at, event)):
            assert frame.data == b"[DONE]" or (checked(frame.data) and frame.data.isascii())


@given(st.lists(st.one_of(*ANY_EVENT.values()), max_size=60))
def test_the_order_on_the_wire(events: list[Event]) -> None:
    """Started first, tools in pairs, a refused one unsaid, one terminal, ``[DONE]`` last."""
    found = []
    for frame in encoded(legal([BEGUN, *events, ResponseFailed("x", "y")])):
        found.append(frame.data)
        if frame.data == b"[DONE]":
            walk([json.loads(data) for data in found[:-1]])
            found = []
    assert found == []


NEXT = {
    "": {"tool.review.requested": "asked", "tool.started": "runs"},
    "asked": {"tool.review.done approved": "", "tool.review.done rejected": "over"},
    "runs": {"tool.done": "over", "tool.failed": "over"},
}


def walk(answer: list[dict[str, Any]]) -> None:
    kinds = [each["type"] for each in answer]
    assert kinds[0] == "response.started" and kinds[-1] in ("response.done", "response.failed")
    assert not {"response.started", "response.done", "response.failed"} & set(kinds[1:-1])
    tools: dict[str, str] = {}
    whole = set()
    for kind, data in ((each["type"], each["data"]) for each in answer[1:-1]):
        if kind.startswith("part."):
            assert data["partId"] not in whole
            whole |= {data["partId"]} if kind == "part.done" else set()
        else:
            key, step = data["toolCallId"], f"{kind} {data['review']}" if "review" in data else kind
            tools[key] = NEXT[tools.get(key, "")][step]
    if kinds[-1] == "response.done":
        assert set(tools.values()) <= {"over"}


@given(st.lists(TEXT, max_size=6), TEXT, st.sampled_from([TextPart, RefusalPart, ReasoningPart]))
def test_deltas_are_what_validated_ones_would_be(deltas: list[str], rest: str, kind: Any) -> None:
    """The fast path builds its bytes itself."""
    whole = kind("".join(deltas) + rest)
    frames = encoded(
        [BEGUN, PartStarted("p1", kind()), *(PartDelta("p1", d) for d in deltas), PartDone("p1", whole)]
    )
    *said_deltas, done = [frame.data for frame in frames[1:]]
    assert [checked(data) for data in said_deltas] == said_deltas
    read = [json.loads(data) for data in said_deltas]
    for data, event in zip(said_deltas, read, strict=True):
        assert json.dumps(event, separators=(",", ":")).encode() == data
    texts = [next(iter(pieces(event["data"]["delta"]))) for event in read]
    assert texts == [*deltas, *([rest] if rest else [])]
    assert pieces(json.loads(done)["data"]["part"]) == [text_of(whole)]


def test_an_event_that_an_sdk_would_refuse_is_a_bug_that_is_told() -> None:
    with pytest.raises(LocalProtocolError, match="an event that the SDKs refuse"):
        encoded([ResponseStarted("task_1.1", 7)])  # type: ignore[arg-type]
