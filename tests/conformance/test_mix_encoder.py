"""
Events to the events of a session, as strictly as the TypeScript SDK reads them (section 3 of the contract).

The Python SDK, which is the laxer one, is asked too: its own parser, its own models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_python_sdk import models, utils
from mix_python_sdk.utils import eventstreaming

from mix_strict import check
from penstock.dialects import mix
from penstock.dialects.mix.encode import LONGEST
from penstock.dialects.mix.generations import GENERATIONS
from penstock.engine.subscription import frames
from penstock.errors import LocalProtocolError, ReviewNotFound
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
    ReviewRequested,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
    decode_events,
)
from penstock.snapshot import fold, grown
from penstock.wire import Frame
from penstock.wire.sse import SSEReader
from streams import SESSION, STRUCTURED, long_answer, records

CASES: Final = Path(__file__).parents[2] / "cases" / "mix"
AGENT: Final = decode_events((CASES / "agent.jsonl").read_bytes())
DIGEST: Final = "6fa0fa1e6eab4f2a0560e7d1c0ffee00"
START: Final = ResponseStarted("st_1.1", "demo")


def body(events: Sequence[Event], generation: str = "") -> bytes:
    """What a reader gets of a stream from its beginning."""
    encoder = mix.Encoder(generation=generation)
    said = [frame for record in records(events) for frame in frames(encoder, "e1", record)]
    return b"".join(map(mix.SSE.write, said))


def said(*events: Event, generation: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The events of an answer, each with its data, less what says that it is the data."""
    blocks = SSEReader().feed(body([START, *events], generation))
    return [(block.event, json.loads(block.data)) for block in blocks]


def names(*events: Event, generation: str = "") -> list[str]:
    return [name for name, _ in said(*events, generation=generation)]


def part(whole: Part, *deltas: str, key: str = "p1") -> list[Event]:
    begun: Part = whole
    if deltas:
        begun = ToolCallPart(whole.call_id, whole.tool) if isinstance(whole, ToolCallPart) else type(whole)()  # type: ignore[call-arg]
    return [PartStarted(key, begun), *(PartDelta(key, delta) for delta in deltas), PartDone(key, whole)]


def call(call_id: str = "t1") -> list[Event]:
    """A call whose arguments come with its end."""
    whole = ToolCallPart(call_id, "Bash", '{"command":"ls"}')
    return [PartStarted("p9", ToolCallPart(call_id, "Bash")), PartDone("p9", whole)]


# -- what a reader accepts


GOOD: Final = b'id: 1\nevent: complete\ndata: {"type":"complete","done":true,"reasoningDuration":3}\n\n'


@pytest.mark.parametrize(
    "wrong",
    [
        (b"id: 1\n", b""), (b"id: 1\n", b"id: \n"), (b": complete\n", b": finished\n"), (b"true", b"null"),
        (b"true", b'"true"'), (b"3", b"3.5"), (b"3", b"null"), (b'"done":true,', b""), (b"true", b"true, x"),
        (b"event: complete\n", b""), (b"3}", b'3,"x":1}'),
    ],
)  # fmt: skip
def test_the_reader_is_strict(wrong: tuple[bytes, bytes]) -> None:
    check(GOOD)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check(GOOD.replace(*wrong))


def read_by_the_sdk(data: bytes) -> list[models.SSEEventStream]:
    response = httpx.Response(200, content=data)
    stream = eventstreaming.stream_events(
        response, lambda raw: utils.unmarshal_json(raw, models.SSEEventStream)
    )
    return list(stream)


STREAMS: Final[dict[str, list[Event]]] = {
    "agent": AGENT,
    "session": SESSION,
    "structured": STRUCTURED,
    "long": long_answer(50),
    "one long delta": [START, *part(TextPart("🌊" * 70_000), "🌊" * 70_000), ResponseDone("stop")],
    "half an answer": [START, PartStarted("p1", ToolCallPart("c", "f", "{")), ResponseFailed("", "")],
}
every_stream = pytest.mark.parametrize("events", STREAMS.values(), ids=list(STREAMS))
every_generation = pytest.mark.parametrize("generation", GENERATIONS)


@every_stream
@every_generation
def test_every_block_is_accepted(events: list[Event], generation: str) -> None:
    check(body(events, generation), generation)


@every_stream
def test_the_sdk_reads_every_block(events: list[Event]) -> None:
    data = mix.greeting("st_1", "e1.0") + mix.pulse("e1.0") + body(events)
    read = read_by_the_sdk(data)
    blocks = SSEReader().feed(data)
    assert [(each.event, each.id) for each in read] == [(block.event, block.id) for block in blocks]
    assert all(each.retry is None for each in read[1:]) and read[0].retry == 2000


def test_the_sdk_would_see_a_mistake() -> None:
    for wrong in (GOOD.replace(b"id: 1\n", b""), GOOD.replace(b": complete\n", b": finished\n")):
        with pytest.raises(ValueError, match="validation error"):
            read_by_the_sdk(wrong)


# -- whole wires


def test_a_session_of_an_agent_byte_for_byte() -> None:
    assert body(AGENT) == (CASES / "agent.sse").read_bytes()


EXAMPLE: Final = r"""
user_message_created
{"type":"user_message_created","messageId":"m1","content":"list files"}
tool_use_start
{"type":"tool_use_start","name":"Bash","id":"t1","assistantMessageId":"m2"}
tool_use_parameter_streaming_complete
{"type":"tool_use_parameter_streaming_complete","name":"Bash","id":"t1","input":"{\"command\":\"ls\"}","assistantMessageId":"m2"}
tool_execution_start
{"type":"tool_execution_start","toolName":"Bash","progress":"Executing Bash","toolCallId":"t1"}
tool_execution_complete
{"type":"tool_execution_complete","toolName":"Bash","progress":"Completed Bash","success":true,"toolCallId":"t1"}
content
{"type":"content","content":"Two files.","assistantMessageId":"m3"}
complete
{"type":"complete","done":true,"content":"Two files.","messageId":"m3"}
"""  # noqa: E501


def test_the_contracts_example() -> None:
    events: list[Event] = [
        MessageAdded("user", (TextPart("list files"),), "m1"), START, *call("t1"),
        Custom(ROUND_DONE, {"usage": {}}), ToolStarted("t1", "Bash", {}), ToolDone("t1", "a b"),
        *part(TextPart("Two files."), "Two files.", key="p2"), ResponseDone("stop"),
    ]  # fmt: skip
    blocks = [f"{block.event}\n{block.data.decode()}" for block in SSEReader().feed(body(events))]
    expected = EXAMPLE.replace('"m2"', '"st_1.1.m0"').replace('"m3"', '"st_1.1.m1"')
    assert "\n".join(blocks) == expected.strip()


def test_every_turn_ends_in_one_complete_which_is_last() -> None:
    for events in STREAMS.values():
        ends = {n + 1 for n, event in enumerate(events) if isinstance(event, ResponseDone | ResponseFailed)}
        blocks = SSEReader().feed(body(events))
        assert [int(each.id.split(".")[1]) for each in blocks if each.event == "complete"] == sorted(ends)
        assert all(before.event == "complete" or "." in before.id for before in blocks)


# -- users


def test_a_message_that_waits_is_told_when_its_turn_comes() -> None:
    message = MessageAdded("user", (TextPart("then?"),), "m2", request={"model": "demo"})
    told = {"type": "user_message_created", "messageId": "m2", "content": "then?"}
    assert names(message) == []
    assert said(message, ResponseDone("stop"), ResponseStarted("st_1.2", answers=message))[-1][1] == told
    plain = MessageAdded("user", (TextPart("th"), FilePart("image/png"), TextPart("en?")), "m2")
    assert said(plain) == [("user_message_created", told)]


def test_what_others_say_is_not_told() -> None:
    for role in ("system", "developer", "assistant", "tool", "function"):
        message = MessageAdded(role, (TextPart("hush"),), "m2", request={})
        assert names(message, ResponseStarted("st_1.2", answers=message)) == []
        assert names(MessageAdded(role, (TextPart("hush"),))) == []


# -- what the model says

CONTENT: Final[dict[str, tuple[Part, list[str], str]]] = {
    "text": (TextPart("Hello"), ["Hel", "lo"], "Hello"),
    "text that comes whole": (TextPart("Hello"), [], "Hello"),
    "text whose end says more": (TextPart("Hello"), ["Hel"], "Hello"),
    "a refusal": (RefusalPart("No."), ["N", "o."], "No."),
    "data": (DataPart({"a": 1}), ['{"a": ', "1}"], '{"a": 1}'),
    "data spelled otherwise": (DataPart(100.0), ["1e", "2"], "1e2"),
    "data that comes whole": (DataPart({"a": 1}), [], '{"a":1}'),
    "half of data": (DataPart(text='{"a":'), ['{"a"'], '{"a":'),
    "no text": (TextPart(), [], ""),
}


@pytest.mark.parametrize(("told", "deltas", "expected"), CONTENT.values(), ids=list(CONTENT))
def test_content_comes_whole(told: Part, deltas: list[str], expected: str) -> None:
    found = said(*part(told, *deltas), ResponseDone("stop"))
    assert "".join(data["content"] for name, data in found[:-1]) == expected
    assert {name for name, _ in found[:-1]} <= {"content"}
    assert found[-1][1] == {"type": "complete", "done": True, "content": expected, "messageId": "st_1.1.m0"}


def test_a_part_that_begins_with_text_says_it() -> None:
    events: list[Event] = [
        PartStarted("p1", TextPart("He")),
        PartDelta("p1", "y"),
        PartDone("p1", TextPart("Hey!")),
    ]
    assert [data["content"] for _, data in said(*events)] == ["He", "y", "!"]


@pytest.mark.parametrize(
    ("arguments", "deltas", "pieces", "whole_input"),
    [
        ('{"a":1}', ['{"a"', ":1}"], ['{"a"', ":1}"], '{"a":1}'),
        ('{"a":1}', ['{"a"'], ['{"a"', ":1}"], '{"a":1}'),
        ('{"a":1}', [], ['{"a":1}'], '{"a":1}'),
        ("", [], [], "{}"),
        (" ", [" "], [" ", "}"], "{}"),
    ],
)
def test_calls_come_whole(arguments: str, deltas: list[str], pieces: list[str], whole_input: str) -> None:
    found = said(*part(ToolCallPart("c1", "Bash", arguments), *deltas))
    message = {"assistantMessageId": "st_1.1.m0"}
    assert found[0][1] == {"type": "tool_use_start", "name": "Bash", "id": "c1", **message}
    assert [data["input"] for name, data in found[1:-1]] == pieces
    assert {name for name, _ in found[1:-1]} <= {"tool_use_parameter_delta"}
    assert found[-1][0] == "tool_use_parameter_streaming_complete"
    assert found[-1][1] == {"type": found[-1][0], "name": "Bash", "id": "c1", "input": whole_input, **message}


def test_parts_of_a_kind_are_told_one_after_the_other() -> None:
    """Nothing says which text a piece is of, and calls are one sequence each."""
    events: list[Event] = [
        PartStarted("a", TextPart()), PartStarted("b", TextPart()), PartStarted("r", ReasoningPart()),
        PartDelta("b", "2"), PartDelta("r", "hm"), PartDelta("a", "1"),
        PartStarted("c", ToolCallPart("c1", "f")), PartStarted("d", ToolCallPart("c2", "g")),
        PartDelta("d", "{"), PartDelta("c", "{"),
        PartDone("d", ToolCallPart("c2", "g", "{}")), PartDone("c", ToolCallPart("c1", "f", "{}")),
        PartDone("b", TextPart("2")), PartDone("a", TextPart("1")), PartDone("r", ReasoningPart("hm")),
    ]  # fmt: skip
    found = said(*events, ResponseDone("stop"))
    assert "".join(data["content"] for name, data in found if name == "content") == "12"
    assert found[0][0] == "thinking", "what is of another kind does not wait"
    calls = [data.get("toolCallId", data.get("id")) for name, data in found if name.startswith("tool_use")]
    assert calls == ["c1"] * 4 + ["c2"] * 4
    assert found[-1][1]["content"] == "12"


def test_what_a_part_held_back_is_told_when_the_answer_breaks_off() -> None:
    events: list[Event] = [
        PartStarted("a", TextPart("1")), PartStarted("b", TextPart("2")), PartDelta("b", "3"),
        PartStarted("c", ToolCallPart("c1", "f", "{")), PartStarted("d", ToolCallPart("c2", "g", "[")),
        ResponseFailed("x", "y"),
    ]  # fmt: skip
    found = said(*events)
    assert [data["content"] for name, data in found if name == "content"] == ["1", "2", "3"]
    assert [data["input"] for name, data in found if name == "tool_use_parameter_delta"] == ["{", "["]
    assert found[-1][1]["content"] == "123"


def test_only_the_first_choice_is_told() -> None:
    other: list[Event] = [
        PartStarted("p1", TextPart("x"), 1),
        PartDelta("p1", "y"),
        PartDone("p1", TextPart("xyz")),
    ]
    assert said(*other, ResponseDone("stop")) == [("complete", {"type": "complete", "done": True})]


def test_long_pieces_are_cut_between_characters() -> None:
    long = "a" + "🌊" * (2 * LONGEST)
    for events in (part(TextPart(long), long), part(TextPart(long)), part(ReasoningPart(long), long)):
        pieces = [data["content"] for _, data in said(*events)]
        assert "".join(pieces) == long and len(pieces) == 3
        assert all(not "\ud800" <= piece[-1] <= "\udfff" for piece in pieces)
    arguments = json.dumps({"a": long}, ensure_ascii=False)
    [_, *pieces_of_call, _] = said(*part(ToolCallPart("c", "f", arguments), arguments[:3]))
    assert [len(data["input"]) for _, data in pieces_of_call] == [
        3,
        LONGEST,
        LONGEST,
        len(arguments) - 3 - 2 * LONGEST,
    ]


def test_a_round_is_a_message_of_its_own() -> None:
    round_done = Custom(ROUND_DONE, {"usage": {}})
    events = [*part(TextPart("a")), round_done, round_done, *part(TextPart("b"), key="p2")]
    found = said(*events, ResponseDone("stop"))
    assert [data["assistantMessageId"] for name, data in found if name == "content"] == [
        "st_1.1.m0", "st_1.1.m2",
    ]  # fmt: skip
    assert (found[-1][1]["messageId"], found[-1][1]["content"]) == ("st_1.1.m2", "b")
    found = said(*part(TextPart("a")), round_done, ResponseDone("cancelled"))
    assert (found[-1][1]["messageId"], found[-1][1]["content"]) == ("st_1.1.m0", "a"), "the last that began"


def test_the_end_says_what_was_thought_and_for_how_long() -> None:
    thought = part(ReasoningPart("hmm"), "h", "mm")
    found = said(*thought, *part(TextPart("a"), key="p2"), ResponseDone("stop"))
    assert found[-1][1]["reasoning"] == "hmm"
    assert found[-1][1]["reasoningDuration"] == 375, "three eighths of a second, in milliseconds"
    found = said(*thought, *part(ReasoningPart("ah"), "ah", key="p2"), ResponseDone("stop"))
    assert (found[-1][1]["reasoning"], found[-1][1]["reasoningDuration"]) == ("hmmah", 750), "from the first"
    found = said(*thought[:-1], ResponseFailed("x", "y"))
    assert "reasoningDuration" not in found[-1][1], "it has not ended"


def test_a_text_that_is_too_long_is_not_said_again() -> None:
    long = "a" * 300_000
    found = said(*part(TextPart(long), long), ResponseDone("stop"))
    assert found[-1][1] == {"type": "complete", "done": True, "messageId": "st_1.1.m0"}
    found = said(*part(TextPart(long[:200_000]), long[:200_000]), ResponseDone("stop"))
    assert found[-1][1]["content"] == long[:200_000]
    found = said(*part(TextPart("🌊" * 30_000)), ResponseDone("stop"))
    assert "content" not in found[-1][1], "it is as long as it is on the wire"


def test_a_source_is_not_told_and_is_a_message_all_the_same() -> None:
    found = said(*part(SourcePart("https://tides.example")), ResponseDone("stop"))
    assert found == [
        ("complete", {"type": "complete", "done": True, "content": "", "messageId": "st_1.1.m0"})
    ]


# -- tools

STARTED: Final = {
    "type": "tool_execution_start", "toolName": "Bash", "progress": "Executing Bash", "toolCallId": "t1"
}  # fmt: skip


def test_an_execution_begins_once() -> None:
    review = ReviewRequested("t1", "Bash", DIGEST, {"command": "ls"})
    found = said(*call(), review, ToolStarted("t1", "Bash"), ToolDone("t1"))[2:]
    assert [name for name, _ in found] == ["tool_execution_start", "permission", "tool_execution_complete"]
    assert found[0][1] == STARTED
    found = said(*call(), ToolFailed("t1", "no"))[2:]
    assert found == [
        ("tool_execution_start", STARTED),
        ("tool_execution_complete",
         {**STARTED, "type": "tool_execution_complete", "progress": "Failed Bash", "success": False}),
    ]  # fmt: skip
    assert said(ToolFailed("t7", "no"))[-1][1]["toolName"] == "tool", "a call that nobody has heard of"


ARGUMENTS: Final[dict[str, tuple[Any, dict[str, Any], str]]] = {
    "path": ({"path": "/a", "n": 1}, {"path": "/a", "params": {"path": "/a", "n": 1}}, '{"path":"/a","n":1}'),
    "file_path": ({"file_path": "/a"}, {"path": "/a", "params": {"file_path": "/a"}}, '{"file_path":"/a"}'),
    "a path that is none": ({"path": 1}, {"params": {"path": 1}}, '{"path":1}'),
    "none": ({}, {}, ""),
    "null": (None, {}, ""),
    "a list": (["ls"], {}, '["ls"]'),
    "text": ("ls -l", {}, "ls -l"),
    "text of the world": ({"a": "ü🌊"}, {"params": {"a": "ü🌊"}}, '{"a":"ü🌊"}'),
}


@pytest.mark.parametrize(("arguments", "optional", "shown"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_a_permission_says_what_a_human_has_to_know(
    arguments: Any, optional: dict[str, Any], shown: str
) -> None:
    _, permission = said(ReviewRequested("t1", "Bash", DIGEST, arguments, 1e9))
    assert permission == ("permission", {
        "type": "permission", "id": f"st_1.1-{DIGEST[:20]}", "sessionId": "st_1", "toolName": "Bash",
        "description": f"Run Bash with {shown}" if shown else "Run Bash", "action": "execute", **optional,
    })  # fmt: skip


def test_a_permission_is_bounded() -> None:
    _, (_, data) = said(ReviewRequested("t1", "Write", DIGEST, {"content": "x" * 100_000}))
    assert data["description"].endswith("x… (the first 2000 of 100014 characters)")
    assert len(data["description"]) < 2100 and "params" not in data


def test_a_permission_leads_to_its_review() -> None:
    found = mix.permission_id("st_1.1", DIGEST)
    assert mix.permission_of(found) == ("st_1.1", DIGEST[:20])
    assert all(each.isalnum() or each in "-_.~" for each in found), "nothing to escape in a URL"
    for wrong in (
        "",
        "st_1.1",
        "st_1.1-",
        found[:-1],
        f"{found}0",
        f"/{found}",
        "st_1.1-" + "g" * 20,
        f"{found}\n",
    ):
        with pytest.raises(ReviewNotFound):
            mix.permission_of(wrong)


# -- ends


def test_a_failure_is_an_error_and_a_complete_at_once() -> None:
    found = said(*part(TextPart("Well"))[:2], ResponseFailed("timeout", "too slow"))
    assert found[-2:] == [
        ("error", {"type": "timeout", "error": "too slow"}),
        ("complete", {"type": "complete", "done": True, "content": "Well", "messageId": "st_1.1.m0"}),
    ]
    assert said(ResponseFailed("upstream", ""))[0][1]["error"] == "upstream"
    cancelled = said(ResponseDone("cancelled"))
    assert cancelled[0] == ("error", {"type": "cancelled", "error": "the answer was stopped"})
    assert [name for name, _ in cancelled] == ["error", "complete"]
    encoder = mix.Encoder()
    [_, last] = records([START, ResponseDone("cancelled")])
    assert len(list(encoder.encode(last))) == 2, "of one record: nobody gets them apart"


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "max_iterations"])
def test_other_ends_are_no_errors(reason: Any) -> None:
    assert names(*call(), ResponseDone(reason, pending_calls=("t1",)))[2:] == ["complete"]


def test_what_else_happens_is_not_told() -> None:
    assert (
        names(Custom("attempt.failed", {"code": "x"}), Custom("provider.note", None), Custom(ROUND_DONE))
        == []
    )


# -- older generations

AGENTS: Final = {
    "speakeasy-sdk/python 0.8.1 2.822.1 1.0.0 mix-python-sdk": "",
    "speakeasy-sdk/python 0.8.0 2.818.4 1.0.0 mix-python-sdk": "",
    "speakeasy-sdk/python 0.10.0 2.9.1 1.0.0 mix-python-sdk": "",
    "speakeasy-sdk/python 0.7.3 2.730.5 1.0.0 mix-python-sdk": "tool",
    "speakeasy-sdk/python 0.7.0 2.730.5 1.0.0 mix-python-sdk": "tool",
    "speakeasy-sdk/python 0.6.6 2.723.11 1.0.0 mix-python-sdk": "early",
    "speakeasy-sdk/typescript 0.11.4 2.8.1 1.0.0 mix-typescript-sdk": "",
    "speakeasy-sdk/typescript 0.10.0 2.8.1 1.0.0 mix-typescript-sdk": "",
    "speakeasy-sdk/typescript 0.9.9 2.8.1 1.0.0 mix-typescript-sdk": "tool",
    "speakeasy-sdk/typescript 0.8.7 2.8.1 1.0.0 mix-typescript-sdk": "tool",
    "speakeasy-sdk/typescript 0.8.6 2.8.1 1.0.0 mix-typescript-sdk": "early",
    "speakeasy-sdk/typescript 0.7.5 2.8.1 1.0.0 mix-typescript-sdk": "early",
    "speakeasy-sdk/go 0.2.2 2.8.1 1.0.0 github.com/recreate-run/mix-go-sdk": "",
    "speakeasy-sdk/python 0.1.0 2.8.1 1.0.0 openrouter": "",
    "speakeasy-sdk/python 0.7 mix-python-sdk": "",
    "Mozilla/5.0": "",
    "": "",
}


@pytest.mark.parametrize(("agent", "generation"), AGENTS.items())
def test_a_client_says_which_generation_it_is_of(agent: str, generation: str) -> None:
    assert mix.generation_of(agent) == generation


def test_an_old_client_is_told_of_calls_in_its_own_words() -> None:
    events = [*part(ToolCallPart("c1", "Bash", "{}"), "{", "}"), ToolDone("c1")]
    of_message = {"assistantMessageId": "st_1.1.m0"}
    begun = {"type": "tool", "name": "Bash", "id": "c1", **of_message, "input": "", "status": "running"}
    ended = {**begun, "input": "{}", "status": "completed"}
    piece = {"type": "tool_parameter_delta", "toolCallId": "c1", **of_message}
    execution = ["tool_execution_start", "tool_execution_complete"]
    found = said(*events, generation="tool")
    assert [data for _, data in found[:4]] == [begun, {**piece, "input": "{"}, {**piece, "input": "}"}, ended]
    assert [name for name, _ in found] == [
        "tool",
        "tool_parameter_delta",
        "tool_parameter_delta",
        "tool",
        *execution,
    ]
    asked = MessageAdded("user", (TextPart("hi"),))
    assert names(asked, generation="tool") == ["user_message_created"]
    assert names(asked, *events, generation="early") == ["tool", "tool", *execution]


# -- blocks


def test_a_connection_begins_with_a_greeting_and_goes_on_with_pulses() -> None:
    greeting, pulse = mix.greeting("st_1", "e1.7"), mix.pulse("e1.7")
    assert mix.DIALECT.pulse is mix.pulse and mix.DIALECT.ids
    assert greeting == b'id: e1.7\nevent: connected\ndata: {"sessionId":"st_1"}\nretry: 2000\n\n'
    assert pulse == b'id: e1.7\nevent: heartbeat\ndata: {"type":"ping"}\n\n'
    assert b"\nretry: 1000\n\n" in mix.greeting("st_1", "e1.7", 1000)
    check(greeting + pulse)
    reader = SSEReader()
    assert [(block.event, block.id) for block in reader.feed(greeting + pulse)] == [
        ("connected", "e1.7"), ("heartbeat", "e1.7"),
    ]  # fmt: skip
    assert reader.retry == 2000


@pytest.mark.parametrize("cursor", ["", "a\nb", "a\0", "é", " \r"])
def test_a_block_without_a_sound_id_is_not_written(cursor: str) -> None:
    with pytest.raises(LocalProtocolError):
        mix.SSE.write(Frame(b"{}", "content", cursor))


# -- any answer

odd_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028🌊\0\n"), max_size=9)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """An answer of several parts, of which some are open at the same time."""
    lines: list[list[Event]] = []
    for n in range(draw(st.integers(0, 4))):
        begun: list[Part] = [
            TextPart(),
            ReasoningPart(),
            DataPart(),
            RefusalPart(),
            ToolCallPart(f"c{n}", draw(odd_texts)),
        ]
        start, key = begun[draw(st.integers(0, 4))], f"p{n}"
        deltas = draw(st.lists(odd_texts, max_size=3))
        end = PartDone(key, grown(start, "".join(deltas) + draw(odd_texts)))
        lines.append([PartStarted(key, start), *(PartDelta(key, delta) for delta in deltas), end])
    events: list[Event] = []
    while any(lines):
        line = draw(st.sampled_from([line for line in lines if line]))
        events.append(line.pop(0))
    ends: list[Event] = [
        ResponseDone("stop"),
        ResponseDone("cancelled"),
        ResponseFailed(draw(odd_texts), draw(odd_texts)),
    ]
    return [START, *events, draw(st.sampled_from(ends))]


@settings(deadline=None)
@given(answers(), st.sampled_from(list(GENERATIONS)))
def test_any_answer_is_accepted_and_comes_whole(events: list[Event], generation: str) -> None:
    data = body(events, generation)
    check(data, generation)
    found = [(block.event, json.loads(block.data)) for block in SSEReader().feed(data)]
    response = fold(events).response
    assert response is not None
    for name, kind in (("content", TextPart | RefusalPart), ("thinking", ReasoningPart)):
        if any(isinstance(each, DataPart) for each in response.content()) and name == "content":
            continue  # a value may be spelled otherwise than its deltas
        told = "".join(data["content"] for event, data in found if event == name)
        assert told == "".join(each.text for each in response.content() if isinstance(each, kind))
    calls = {each.call_id: each.arguments for each in response.content() if isinstance(each, ToolCallPart)}
    last = "tool" if generation else "tool_use_parameter_streaming_complete"
    ended = {data["id"]: data["input"] for event, data in found if event == last}
    assert ended == {key: each if each.strip() else "{}" for key, each in calls.items()}
