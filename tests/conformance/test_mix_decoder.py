"""
Events of a session, ours and other servers', to events of ours (sections 3, 8 and 9 of the contract).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.calls import calls
from penstock.dialects import mix
from penstock.dialects.mix.generations import GENERATIONS
from penstock.engine.subscription import frames
from penstock.errors import RemoteProtocolError
from penstock.events import (
    ROUND_DONE,
    TERMINAL,
    Custom,
    DataPart,
    Event,
    MessageAdded,
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
    decode_events,
    encode_events,
)
from penstock.grammar import Grammar
from penstock.snapshot import Response, conversation, fold
from penstock.wire import Frame
from penstock.wire.sse import SSEReader
from streams import SESSION, STRUCTURED, long_answer, records

CASES: Final = Path(__file__).parents[2] / "cases" / "mix"
AGENT: Final = decode_events((CASES / "agent.jsonl").read_bytes())
WIRE: Final = SSEReader().feed((CASES / "agent.sse").read_bytes())


def decoded(blocks: list[Frame], *, structured: bool = False) -> list[Event]:
    """What a reader makes of them, and of their end; the grammar agrees, and a log could store it."""
    decoder = mix.Decoder(structured=structured)
    events = [event for block in blocks for event in decoder.decode(block)]
    events += decoder.close()
    assert list(decoder.close()) == [], "the end is said once"
    assert not Grammar().after(events).busy
    assert decode_events(encode_events(events)) == events
    return events


def block(event: str, **data: Any) -> Frame:
    return Frame(json.dumps({"type": event, **data}).encode(), event)


def told(*blocks: Frame) -> list[Event]:
    """What comes of blocks within a turn, less its beginning, and the failure that its end is."""
    return decoded([block("user_message_created", messageId="m1", content="hi"), *blocks])[2:]


def text(response: Response) -> str:
    return response.text()


# -- our own wire


def test_a_session_of_an_agent() -> None:
    found = fold(decoded(WIRE))
    first, second, third = found.responses
    assert [response.response_id for response in found.responses] == ["m1.answer", "m2.answer", "m4.answer"]
    asked = [turn for turn in found.turns if isinstance(turn, MessageAdded)]
    assert asked == [
        MessageAdded("user", (TextPart("list files"),), "m1"),
        MessageAdded("user", (TextPart("and then?"),), "m2"),
        MessageAdded("user", (TextPart("again"),), "m4"),
    ]
    assert [(text(each), each.status) for each in found.responses] == [
        ("Let me look.Two files.", "done"), ("Then", "done"), ("", "failed"),
    ]  # fmt: skip
    assert first.end == ResponseDone("stop") and second.end == ResponseDone("cancelled")
    assert third.end == ResponseFailed("interrupted", "the server was restarted", retryable=True)
    assert first.content()[0] == ReasoningPart("They want a list.")


def test_calls_are_what_they_were_but_for_their_results() -> None:
    ours, theirs = fold(AGENT).responses[0], fold(decoded(WIRE)).responses[0]
    found = calls(theirs)
    assert [call.part for call in found.values()] == [
        ToolCallPart(call.part.call_id, call.part.tool, call.part.arguments or "{}")
        for call in calls(ours).values()
    ]
    verdicts = {key: call.decision.verdict for key, call in found.items() if call.decision}
    assert verdicts == {"t1": "approved", "t2": "rejected", "t3": "rejected"}, "an expiry looks the same"
    for key, call in calls(ours).items():
        twin = found[key]
        assert (call.started is None) == (twin.started is None) and type(call.end) is type(twin.end)
        assert call.round == twin.round == 0
        if call.review is not None and twin.review is not None:
            assert twin.review.digest == mix.permission_id("st_1.1", call.review.digest)
            assert twin.review.arguments == call.review.arguments
    assert found["t4"].started == ToolStarted("t4", "Clock", {})


def test_rounds_stay_apart() -> None:
    roles = [message.role for message in conversation(fold(decoded(WIRE)))]
    assert roles[:4] == ["user", "assistant", "tool", "assistant"]


STREAMS: Final[dict[str, list[Event]]] = {
    "agent": AGENT, "session": SESSION, "structured": STRUCTURED, "long": long_answer(40),
}  # fmt: skip


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("events", STREAMS.values(), ids=list(STREAMS))
def test_what_we_write_we_read(events: list[Event], generation: str) -> None:
    encoder = mix.Encoder(generation=generation)
    blocks = [frame for record in records(events) for frame in frames(encoder, "e1", record)]
    ours, theirs = fold(events).responses, fold(decoded(blocks)).responses
    assert len(ours) == len(theirs)
    for response, twin in zip(ours, theirs, strict=True):
        if not any(isinstance(part, DataPart) for part in response.content()):
            assert text(twin) == text(response)
        assert thoughts(twin) == thoughts(response)
        said = [part.call_id for part in response.content() if isinstance(part, ToolCallPart)]
        assert [part.call_id for part in twin.content() if isinstance(part, ToolCallPart)] == said
        assert (twin.status, twin.end is None) == (response.status, response.end is None)


def thoughts(response: Response) -> str:
    return "".join(part.text for part in response.content() if isinstance(part, ReasoningPart))


@settings(deadline=None)
@given(st.integers(0, len(WIRE)), st.integers(0, len(WIRE)))
def test_a_session_read_from_anywhere_to_anywhere_is_sound(begin: int, end: int) -> None:
    events = decoded(WIRE[begin:end])
    ended = [event for event in events if isinstance(event, TERMINAL)]
    assert len(ended) == sum(isinstance(event, ResponseStarted) for event in events) >= 1


def test_an_answer_may_be_data() -> None:
    encoder = mix.Encoder()
    events: list[Event] = [
        ResponseStarted("st_1.1"), PartStarted("p1", DataPart()), PartDelta("p1", '{"a":'),
        PartDelta("p1", "1}"), PartDone("p1", DataPart({"a": 1})), ResponseDone("stop"),
    ]  # fmt: skip
    blocks = [frame for record in records(events) for frame in encoder.encode(record)]
    [response] = fold(decoded(blocks, structured=True)).responses
    assert response.content() == [DataPart({"a": 1})]


# -- turns


def test_a_turn_is_a_response() -> None:
    found = decoded([
        block("connected", sessionId="s"), block("heartbeat"),
        block("user_message_created", messageId="m1", content="hi"), block("heartbeat"),
        block("content", content="He", assistantMessageId="m2"),
        block("content", content="llo", assistantMessageId="m2"),
        block("complete", done=True, content="Hello", messageId="m2"), block("heartbeat"),
    ])  # fmt: skip
    assert found == [
        MessageAdded("user", (TextPart("hi"),), "m1"), ResponseStarted("m1.answer"),
        PartStarted("p1", TextPart()), PartDelta("p1", "He"), PartDelta("p1", "llo"),
        PartDone("p1", TextPart("Hello")), ResponseDone("stop"),
    ]  # fmt: skip


def test_a_turn_begins_with_whatever_is_heard_first() -> None:
    complete = block("complete", done=True, content="a")
    found = decoded([block("content", content="a", assistantMessageId="m2"), complete, complete])
    assert [event for event in found if isinstance(event, ResponseStarted)] == [
        ResponseStarted("m2.answer"), ResponseStarted("answer_2"),
    ]  # fmt: skip
    assert [text(response) for response in fold(found).responses] == ["a", "a"]


def test_a_message_that_comes_during_a_turn_has_the_next_one() -> None:
    found = decoded([
        *(block("user_message_created", messageId=name, content=name) for name in ("m1", "m2", "m3")),
        *(each for name in "abc" for each in (block("content", content=name), block("complete", done=True))),
    ])  # fmt: skip
    assert [(each.response_id, text(each)) for each in fold(found).responses] == [
        ("m1.answer", "a"), ("m2.answer", "b"), ("m3.answer", "c"),
    ]  # fmt: skip


def test_what_is_not_of_the_turn_is_skipped() -> None:
    skipped = [
        block("connected", sessionId="s"), block("heartbeat"), block("rate_limit_error", error="wait"),
        block("notification", id="n"), block("session_created", sessionId="t"), block("summarize"),
        block("message"), Frame(b"not JSON", "whatever"), Frame(b"{}"), block("error", parentToolCallId="t1"),
        block("content", content="x", parentToolCallId="t1"),
        block("complete", done=True, parentToolCallId="t1"),
    ]  # fmt: skip
    decoder = mix.Decoder()
    assert [event for each in skipped for event in decoder.decode(each)] == []


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_not_an_object_is_an_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(mix.Decoder().decode(Frame(data, "content")))


def test_members_of_other_types_say_nothing() -> None:
    assert told(block("content", content=None, assistantMessageId=1)) == [PartStarted("p1", TextPart()), CUT]


def test_half_a_surrogate_pair_is_replaced() -> None:
    found = told(Frame(b'{"type":"content","content":"a\\ud83d"}', "content"))
    assert PartDelta("p1", "a\ufffd") in found


# -- the end of a turn

ENDS: Final[dict[str, tuple[list[Frame], list[Event]]]] = {
    "done": ([block("complete", done=True)], [ResponseDone("stop")]),
    "failed": ([block("error", error="no", type="timeout"), block("complete", done=True)],
               [ResponseFailed("timeout", "no")]),
    "an error that says nothing": ([block("error"), block("complete", done=True)],
                                   [ResponseFailed("upstream", "the upstream reported an error")]),
    "an error that may pass": ([Frame(b'{"error":"no","retryAfter":5}', "error")],
                               [ResponseFailed("upstream", "no", retryable=True)]),
    "two errors and no more": ([block("error", error="a", type="x"), block("error", error="b", type="y")],
                               [ResponseFailed("x", "a")]),
    "cancelled": ([block("error", error="no", type="cancelled"), block("complete", done=True)],
                  [ResponseDone("cancelled")]),
    "tried again": ([block("error", error="no", attempt=1, maxAttempts=3), block("complete", done=True)],
                    [ResponseDone("stop")]),
    "cut": ([], [ResponseFailed("truncated", "the stream ended before its turn did", retryable=True)]),
}  # fmt: skip


@pytest.mark.parametrize(("blocks", "expected"), ENDS.values(), ids=list(ENDS))
def test_a_turn_ends_once(blocks: list[Frame], expected: list[Event]) -> None:
    assert told(*blocks) == expected


def test_after_an_error_comes_the_next_turn() -> None:
    found = decoded([
        block("error", error="a", type="x"), block("error", error="a", type="x"),
        block("complete", done=True), block("content", content="b"), block("complete", done=True),
    ])  # fmt: skip
    assert [(each.status, text(each)) for each in fold(found).responses] == [("failed", ""), ("done", "b")]


def test_an_end_before_any_turn_is_a_truncation() -> None:
    assert [type(event) for event in decoded([block("connected", sessionId="s")])] == [
        ResponseStarted, ResponseFailed,
    ]  # fmt: skip


COMPLETE: Final[dict[str, tuple[list[Frame], dict[str, Any], list[str]]]] = {
    "as it was said": ([block("content", content="ab")], {"content": "ab"}, ["ab"]),
    "more": ([block("content", content="a")], {"content": "abc"}, ["abc"]),
    "something else": ([block("content", content="a")], {"content": "x"}, ["x"]),
    "nothing": ([block("content", content="a")], {}, ["a"]),
    "what no delta said": ([], {"content": "ab"}, ["ab"]),
    "more, after a call": ([block("content", content="a"), block("tool_use_start", name="f", id="c")],
                           {"content": "ab"}, ["a", "b"]),
    "the next message": ([block("content", content="a", assistantMessageId="m2"),
                          block("tool_execution_start", toolName="f", toolCallId="c"),
                          block("tool_execution_complete", toolName="f", toolCallId="c", success=True)],
                         {"content": "ab", "messageId": "m3"}, ["a", "ab"]),
    "the message before": ([block("content", content="a", assistantMessageId="m2"),
                            block("tool_execution_complete", toolName="f", toolCallId="c", success=True)],
                           {"content": "a", "messageId": "m2"}, ["a"]),
}  # fmt: skip


@pytest.mark.parametrize(("blocks", "members", "expected"), COMPLETE.values(), ids=list(COMPLETE))
def test_the_end_is_right_about_the_last_message(
    blocks: list[Frame], members: dict[str, Any], expected: list[str]
) -> None:
    [response] = fold(told_whole(*blocks, block("complete", done=True, **members))).responses
    assert [part.text for part in response.content() if isinstance(part, TextPart)] == expected


def told_whole(*blocks: Frame) -> list[Event]:
    return decoded([block("user_message_created", messageId="m1", content="hi"), *blocks])


def test_the_end_may_be_the_first_to_say_what_was_thought() -> None:
    for blocks in ([], [block("thinking", content="hm")]):
        found = told_whole(*blocks, block("complete", done=True, content="a", reasoning="hm"))
        [response] = fold(found).responses
        assert thoughts(response) == "hm" and text(response) == "a"


# -- tools

START: Final = block("tool_execution_start", toolName="f", toolCallId="c1", progress="Executing f")
ENDED: Final = block(
    "tool_execution_complete", toolName="f", toolCallId="c1", progress="Completed f", success=True
)
BROKE: Final = block(
    "tool_execution_complete", toolName="f", toolCallId="c1", progress="Failed f", success=False
)
ASK: Final = block("permission", id="q1", sessionId="s", toolName="f", description="d", action="execute")
CUT: Final = ResponseFailed("truncated", "the stream ended before its turn did", retryable=True)
ROUND: Final = Custom(ROUND_DONE, {"usage": {}})

TOOLS: Final[dict[str, tuple[list[Frame], list[Event]]]] = {
    "done": ([START, ENDED], [ToolStarted("c1", "f"), ToolDone("c1")]),
    "failed": ([START, BROKE], [ToolStarted("c1", "f"), ToolFailed("c1", "Failed f")]),
    "its end alone": ([ENDED], [ToolStarted("c1", "f"), ToolDone("c1")]),
    "said twice": ([START, START, ENDED, ENDED, START], [ToolStarted("c1", "f"), ToolDone("c1")]),
    "approved": ([START, ASK, ENDED],
                 [ReviewRequested("c1", "f", "q1"), ReviewDone("c1", "q1", "approved"),
                  ToolStarted("c1", "f"), ToolDone("c1")]),
    "rejected": ([START, ASK, BROKE],
                 [ReviewRequested("c1", "f", "q1"), ReviewDone("c1", "q1", "rejected"),
                  ToolFailed("c1", "Failed f")]),
    "asked twice": ([START, ASK, ASK, ENDED],
                    [ReviewRequested("c1", "f", "q1"), ReviewDone("c1", "q1", "approved"),
                     ToolStarted("c1", "f"), ToolDone("c1")]),
    "asked about no call": ([ASK], [ReviewRequested("q1", "f", "q1")]),
}  # fmt: skip


@pytest.mark.parametrize(("blocks", "expected"), TOOLS.values(), ids=list(TOOLS))
def test_executions(blocks: list[Frame], expected: list[Event]) -> None:
    assert told(*blocks) == [ROUND, *expected, CUT]


def test_what_is_open_when_the_turn_ends_is_ended() -> None:
    why = "the answer ended before the tool did"
    other = block("tool_execution_start", toolName="g", toolCallId="c2")
    assert told(START, ASK, other, block("complete", done=True)) == [
        ROUND, ReviewRequested("c1", "f", "q1"), ReviewDone("c1", "q1", "expired"), ToolFailed("c1", why),
        ToolStarted("c2", "g"), ToolFailed("c2", why), ResponseDone("stop"),
    ]  # fmt: skip


def test_a_permission_is_of_the_call_that_began_last_with_its_tool() -> None:
    calls_said = [
        block("tool_use_parameter_streaming_complete", name=tool, id=key, input=json.dumps({"n": n}))
        for n, (key, tool) in enumerate([("c1", "f"), ("c2", "f"), ("c3", "g")])
    ]
    starts = [block("tool_execution_start", toolName=tool, toolCallId=key) for key, tool in
              [("c1", "f"), ("c2", "f"), ("c3", "g")]]  # fmt: skip
    ask = block("permission", id="q1", toolName="f", params={})
    again = block("permission", id="q2", toolName="f", params={"n": 7})
    found = [event for event in told(*calls_said, *starts, ask, again) if isinstance(event, ReviewRequested)]
    assert found == [ReviewRequested("c2", "f", "q1", {"n": 1}), ReviewRequested("c1", "f", "q2", {"n": 7})]
    found = [event for event in told(*calls_said, ask) if isinstance(event, ReviewRequested)]
    assert found == [ReviewRequested("c1", "f", "q1", {"n": 0})], "the first that nobody has begun"


def test_calls_in_the_words_of_older_servers() -> None:
    found = told(
        block("tool", name="f", id="c1", input="", status="running"),
        block("tool_parameter_delta", toolCallId="c1", input='{"a":'),
        block("tool_parameter_delta", toolCallId="c1", input="1}"),
        block("tool", name="f", id="c1", input='{"a":1}', status="completed"),
        block("tool", name="f", id="c1", input='{"a":1}', status="completed"),
        block("tool_parameter_delta", toolCallId="c9", input="x"),
    )
    assert found[:-1] == [
        PartStarted("p1", ToolCallPart("c1", "f")), PartDelta("p1", '{"a":'), PartDelta("p1", "1}"),
        PartDone("p1", ToolCallPart("c1", "f", '{"a":1}')),
    ]  # fmt: skip


def test_another_message_is_another_round() -> None:
    found = told(
        block("content", content="a", assistantMessageId="m2"),
        block("content", content="b", assistantMessageId="m3"),
        block("complete", done=True, content="b", messageId="m3"),
    )
    assert [event.data for event in found if isinstance(event, Custom)] == [{"usage": {}, "id": "m2"}]
    assert [event.part for event in found if isinstance(event, PartDone)] == [TextPart("a"), TextPart("b")]


def test_a_response_has_no_usage_here() -> None:
    [response] = fold(told_whole(block("complete", done=True))).responses
    assert response.usage is UNSET
