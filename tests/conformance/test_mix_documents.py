"""
Bodies of Mix that are no streams (section 2 of the contract): requests, sessions, histories, errors.

The SDK's own models are asked about every document, and the table of the contract, which is stricter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from mix_python_sdk import models
from mix_python_sdk.errors.errorresponse import ErrorResponseData

from mix_strict import EXPORT, ROW, SESSION_DATA, strict
from penstock import errors
from penstock.dialects import mix
from penstock.errors import PenstockError, RequestError
from penstock.events import (
    REWOUND,
    ROUND_DONE,
    Custom,
    DataPart,
    Event,
    MessageAdded,
    Part,
    PartDone,
    PartStarted,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    Usage,
    decode_events,
)
from penstock.snapshot import Snapshot, apply
from penstock.wire import jsontext
from penstock.wire.sse import SSEReader
from streams import SESSION, long_answer, records

CASES: Final = Path(__file__).parents[2] / "cases" / "mix"
AGENT: Final = decode_events((CASES / "agent.jsonl").read_bytes())
READ: Final = {
    "title": "t", "browserMode": "local-browser-service", "sessionType": "main", "promptMode": "default"
}  # fmt: skip
FACTS: Final = {"created_at": 1763600000.0, **READ}


def tallied(events: list[Event]) -> mix.Tally:
    return mix.tally(folded(events))


def folded(events: list[Event]) -> Snapshot:
    snapshot = Snapshot()
    for record in records(events):
        apply(snapshot, record.event, record.at)
    return snapshot


def history(events: list[Event]) -> list[dict[str, Any]]:
    found = mix.rows("st_1", folded(events))
    for row in found:
        strict(row, ROW)
        models.BackendMessage.model_validate_json(jsontext.encode(row))
    return found


# -- requests


def test_the_requests_that_the_sdks_send() -> None:
    asked = {
        "title": "t",
        "browserMode": "local-browser-service",
        "promptMode": "default",
        "sessionType": "main",
    }
    assert mix.read_session(asked) == READ
    assert mix.read_session({"title": "t"}) == READ, "older SDKs ask for no browser"
    assert mix.read_send({"text": "hello", "plan_mode": False}) == mix.Sent("hello", None, None, False)
    assert mix.read_rewind({"messageId": "m1", "cleanupMedia": True}) == "m1"
    assert mix.read_respond({"type": "acknowledge"}) == mix.Reply("acknowledge", None)
    assert mix.read_callbacks({"callbacks": []}) == []


def test_whole_requests() -> None:
    callback = {"toolName": "Bash", "type": "bash_script", "bashCommand": "ls", "bashTimeout": 120000}
    optional = {
        "cdpUrl": "ws://b", "customSystemPrompt": "Be terse.", "promptMode": "append", "modelId": "m",
        "provider": "p", "subagentType": "general-purpose", "callbacks": [callback],
    }  # fmt: skip
    asked = {**READ, **optional, "sessionType": "subagent"}
    assert mix.read_session({**asked, "whatever": {"a": None}}) == asked
    told = {"text": "go", "plan_mode": True, "thinking_level": "maximum", "max_steps": 3}
    assert mix.read_send(told) == mix.Sent("go", 3, "maximum", True)
    assert mix.read_respond({"type": "choice", "value": "b"}) == mix.Reply("choice", "b")
    other = {"toolName": "Task", "type": "sub_agent", "includeFullHistory": True, "name": None, "x": 1}
    kept = {"toolName": "Task", "type": "sub_agent", "includeFullHistory": True}
    assert mix.read_callbacks({"callbacks": [callback, other]}) == [callback, kept]


def test_null_is_as_good_as_absent() -> None:
    absent = [
        "browserMode",
        "sessionType",
        "promptMode",
        "cdpUrl",
        "customSystemPrompt",
        "callbacks",
        "modelId",
    ]
    assert mix.read_session({"title": "t", **dict.fromkeys(absent)}) == READ
    assert mix.read_session({"title": "t", "browserMode": "", "cdpUrl": "", "callbacks": []}) == READ
    assert mix.read_send({"text": "a", "plan_mode": None, "thinking_level": None, "max_steps": None}) == (
        mix.Sent("a", None, None, False)
    )


Read = Callable[[dict[str, Any]], Any]

WRONG: Final[list[tuple[Read, dict[str, Any], str]]] = [
    (mix.read_session, {}, "title"),
    (mix.read_session, {"title": ""}, "title"),
    (mix.read_session, {"title": 1}, "title"),
    (mix.read_session, {"title": "t", "browserMode": "chrome"}, "browserMode"),
    (mix.read_session, {"title": "t", "sessionType": "forked"}, "sessionType"),
    (mix.read_session, {"title": "t", "subagentType": "other"}, "subagentType"),
    (mix.read_session, {"title": "t", "promptMode": "prepend"}, "promptMode"),
    (mix.read_session, {"title": "t", "cdpUrl": 1}, "cdpUrl"),
    (mix.read_session, {"title": "t", "callbacks": {}}, "callbacks"),
    (mix.read_session, {"title": "t", "callbacks": ["x"]}, "callbacks[0]"),
    (mix.read_session, {"title": "t", "callbacks": [{"type": "sub_agent"}]}, "callbacks[0].toolName"),
    (mix.read_callbacks, {}, "callbacks"),
    (mix.read_callbacks, {"callbacks": [{"toolName": "a"}]}, "callbacks[0].type"),
    (mix.read_callbacks, {"callbacks": [{"toolName": "a", "type": "x"}]}, "callbacks[0].type"),
    (mix.read_callbacks, {"callbacks": [{"toolName": "a", "type": "sub_agent", "name": 1}]},
     "callbacks[0].name"),
    (mix.read_callbacks, {"callbacks": [{"toolName": "a", "type": "bash_script", "bashTimeout": True}]},
     "callbacks[0].bashTimeout"),
    (mix.read_callbacks, {"callbacks": [{"toolName": "a", "type": "sub_agent", "includeFullHistory": 1}]},
     "callbacks[0].includeFullHistory"),
    (mix.read_send, {}, "text"),
    (mix.read_send, {"text": ""}, "text"),
    (mix.read_send, {"text": ["a"]}, "text"),
    (mix.read_send, {"text": "a", "plan_mode": "yes"}, "plan_mode"),
    (mix.read_send, {"text": "a", "thinking_level": "high"}, "thinking_level"),
    (mix.read_send, {"text": "a", "max_steps": 0}, "max_steps"),
    (mix.read_send, {"text": "a", "max_steps": 1.5}, "max_steps"),
    (mix.read_rewind, {}, "messageId"),
    (mix.read_rewind, {"messageId": ""}, "messageId"),
    (mix.read_respond, {}, "type"),
    (mix.read_respond, {"type": "shrug"}, "type"),
    (mix.read_respond, {"type": "text", "value": 1}, "value"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "body", "field"), WRONG)
def test_what_is_wrong_is_named(read: Read, body: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(body)
    assert caught.value.field == field and repr(field) in caught.value.message


@pytest.mark.parametrize(("mode", "limit"), [("append", 50 * 1024), ("replace", 100 * 1024)])
def test_a_prompt_has_a_limit_in_bytes(mode: str, limit: int) -> None:
    asked = {"title": "t", "promptMode": mode, "customSystemPrompt": "é" * (limit // 2)}
    assert len(mix.read_session(asked)["customSystemPrompt"]) == limit // 2
    with pytest.raises(RequestError) as caught:
        mix.read_session({**asked, "customSystemPrompt": asked["customSystemPrompt"] + "."})
    assert caught.value.field == "customSystemPrompt"
    ignored = {**asked, "promptMode": "default", "customSystemPrompt": "x" * 200_000}
    assert mix.read_session(ignored)["promptMode"] == "default"


# -- sessions


def test_a_new_session() -> None:
    found = mix.session("st_1", FACTS, mix.Tally())
    strict(found, SESSION_DATA)
    models.SessionData.model_validate_json(jsontext.encode(found))
    assert found == {
        "id": "st_1", "title": "t", "sessionType": "main", "browserMode": "local-browser-service",
        "userMessageCount": 0, "assistantMessageCount": 0, "toolCallCount": 0, "promptTokens": 0,
        "completionTokens": 0, "cost": 0.0, "createdAt": "2025-11-20T00:53:20.000000Z",
    }  # fmt: skip


def test_a_session_counts_what_was_said() -> None:
    callbacks = [{"toolName": "Bash", "type": "bash_script", "bashTimeout": 1}]
    facts = {
        **FACTS,
        "cdpUrl": "ws://b",
        "callbacks": callbacks,
        "modelId": "m",
        "customSystemPrompt": "hush",
    }
    found = mix.session("st_1", facts, tallied(AGENT))
    strict(found, SESSION_DATA)
    models.SessionData.model_validate_json(jsontext.encode(found))
    assert found["firstUserMessage"] == "list files"
    assert (found["userMessageCount"], found["assistantMessageCount"], found["toolCallCount"]) == (3, 4, 5)
    assert (found["promptTokens"], found["completionTokens"]) == (70 + 7 + 9, 35 + 1 + 4)
    assert (found["cdpUrl"], found["callbacks"], found["modelId"]) == ("ws://b", callbacks, "m")


@pytest.mark.parametrize("events", [AGENT, SESSION, long_answer(5)])
def test_the_counts_are_those_of_the_history_at_every_place(events: list[Event]) -> None:
    for n in range(len(events) + 1):
        tally, found = tallied(events[:n]), history(events[:n])
        roles = [row["role"] for row in found]
        assert tally.user_messages == roles.count("user")
        assert tally.assistant_messages == roles.count("assistant")
        assert tally.tool_calls == sum(len(row.get("toolCalls", ())) for row in found)


def test_a_message_that_waits_counts_until_it_is_dropped() -> None:
    waiting = [MessageAdded("user", (TextPart(name),), name, request={}) for name in ("m1", "m2")]
    begun: list[Event] = [ResponseStarted("st_1.1"), *waiting]
    assert tallied(begun).user_messages == 2 and tallied(begun).first_message == "m1"
    assert [row["id"] for row in history(begun)] == ["m1", "m2"], "who looks for one finds it"
    stopped = [*begun, StopRequested("", ("m1", "m2", "m9")), StopRequested("", ("m1",))]
    assert tallied(stopped).user_messages == 0 and history(stopped) == []
    answered = [*begun, ResponseDone("stop"), ResponseStarted("st_1.2", answers=waiting[0])]
    assert tallied(answered).user_messages == 2 and tallied(answered).first_message == "m1"


def test_what_was_taken_back_does_not_count() -> None:
    events = [*AGENT, Custom(REWOUND, {"turns": 2})]
    assert tallied(events) == mix.Tally(1, 2, 4, 70, 35, "list files")
    assert [row["id"] for row in history(events)] == ["m1", "st_1.1.m0", "st_1.1.m1"]


# -- histories


def test_a_history_is_what_the_stream_said() -> None:
    """Its messages have the ids, and the texts, that the stream gave them."""
    found = history(AGENT)
    assert [(row["role"], row["id"], row["userInput"]) for row in found] == [
        ("user", "m1", "list files"),
        ("assistant", "st_1.1.m0", "Let me look."),
        ("assistant", "st_1.1.m1", "Two files."),
        ("user", "m2", "and then?"),
        ("assistant", "st_1.2.m0", "Then"),
        ("user", "m4", "again"),
        ("assistant", "st_1.3.m0", ""),
    ]
    blocks = SSEReader().feed((CASES / "agent.sse").read_bytes())
    ends = [json.loads(block.data) for block in blocks if block.event == "complete"]
    texts = {row["id"]: row.get("assistantResponse") for row in found}
    assert [texts[end["messageId"]] for end in ends] == [end["content"] for end in ends]


def test_a_row_says_what_became_of_the_calls_and_what_it_took() -> None:
    [_, first, second, _, third, _, fourth] = history(AGENT)
    assert first["toolCalls"] == [
        {"id": "t1", "name": "Bash", "input": '{"command":"ls"}', "type": "tool_use", "finished": True,
         "result": '{"files":["a","b"]}', "isError": False},
        {"id": "t2", "name": "Write", "input": '{"path":"/tmp/a.txt","content":"x 🌊"}', "type": "tool_use",
         "finished": True, "result": "the call was rejected by a human, and has not been made",
         "isError": True},
        {"id": "t3", "name": "Bash", "input": '{"command":"rm -rf build"}', "type": "tool_use",
         "finished": True, "result": "the call was not approved in time, and has not been made",
         "isError": True},
        {"id": "t4", "name": "Clock", "input": "{}", "type": "tool_use", "finished": True, "result": "12:40",
         "isError": False},
    ]  # fmt: skip
    assert first["reasoning"] == "They want a list." and first["model"] == "demo"
    assert "toolCalls" not in second and "reasoning" not in second
    tokens = [
        (row["inputTokens"], row["outputTokens"], row["cacheReadTokens"]) for row in (first, second, third)
    ]
    assert tokens == [(20, 30, 5), (50, 5, 10), (7, 1, 0)], "the last round took the rest"
    assert fourth["toolCalls"][0]["isError"] and fourth["inputTokens"] == 9


def test_a_call_without_a_result_is_not_finished() -> None:
    whole = ToolCallPart("c1", "f", "{}")
    events: list[Event] = [
        ResponseStarted("st_1.1"), PartStarted("p1", whole), PartDone("p1", whole),
        PartStarted("p2", ToolCallPart("c2", "f", "{")), ResponseDone("tool_calls", Usage(), ("c1",)),
    ]  # fmt: skip
    [row] = history(events)
    assert row["toolCalls"] == [
        {"id": "c1", "name": "f", "input": "{}", "type": "tool_use", "finished": False}
    ]


def test_all_that_is_content_is_in_the_row() -> None:
    parts: list[Part] = [TextPart("a"), RefusalPart("b"), DataPart({"c": 1})]
    events: list[Event] = [ResponseStarted("st_1.1")]
    for n, part in enumerate(parts):
        events += [PartStarted(f"p{n}", part), PartDone(f"p{n}", part)]
    [row] = history([*events, ResponseFailed("x", "y")])
    assert row["assistantResponse"] == 'ab{"c":1}' and "inputTokens" not in row


@pytest.mark.parametrize("data", [None, {}, {"usage": None}, {"usage": {"input_tokens": "x"}}, "x"])
def test_a_round_that_does_not_say_what_it_took_leaves_it_unknown(data: Any) -> None:
    first, second = TextPart("a"), TextPart("b")
    events: list[Event] = [
        ResponseStarted("st_1.1"), PartStarted("p1", first), PartDone("p1", first), Custom(ROUND_DONE, data),
        PartStarted("p2", second), PartDone("p2", second), ResponseDone("stop", Usage(5)),
    ]  # fmt: skip
    assert [("inputTokens" in row, row["assistantResponse"]) for row in history(events)] == [
        (False, "a"), (False, "b"),
    ]  # fmt: skip


def test_what_the_user_said_as_a_row() -> None:
    row = mix.history_row("st_1", MessageAdded("user", (TextPart("hi"),), "m1", request={"model": "x"}))
    assert row == {"id": "m1", "sessionId": "st_1", "role": "user", "userInput": "hi"}


@pytest.mark.parametrize("events", [AGENT, AGENT[:25], AGENT[:30], SESSION, long_answer(3), []])
def test_an_export_is_accepted(events: list[Event]) -> None:
    found = mix.exported("st_1", FACTS, records(events))
    strict(found, EXPORT)
    models.ExportSession.model_validate_json(jsontext.encode(found))
    assert [each["id"] for each in found["messages"]] == [row["id"] for row in history(events)]
    times = [each["createdAt"] for each in found["messages"]]
    assert all(each["createdAt"] <= each["updatedAt"] <= found["updatedAt"] for each in found["messages"])
    assert len(set(times)) == len(times) or events is SESSION, "each has its own"


def test_an_export_says_when_and_how_it_ended() -> None:
    found = mix.exported("st_1", FACTS, records(AGENT))
    messages = {each["id"]: each for each in found["messages"]}
    assert [each.get("finishReason") for each in found["messages"]] == [
        None, "tool_calls", "stop", None, "cancelled", None, "tool_calls",
    ]  # fmt: skip
    [failed] = mix.exported("st_1", FACTS, records([*long_answer(2)[:-1], ResponseFailed("x", "y")]))[
        "messages"
    ]
    assert failed["finishReason"] == "error"
    at = [record.at for record in records(AGENT)]
    [ends] = [n for n, event in enumerate(AGENT) if isinstance(event, Custom)][:1]
    began = datetime.fromisoformat(messages["st_1.1.m0"]["createdAt"]).timestamp()
    ended = datetime.fromisoformat(messages["st_1.1.m0"]["updatedAt"]).timestamp()
    assert (began, ended) == (at[1], at[ends])
    assert messages["st_1.1.m1"]["createdAt"] == messages["st_1.1.m0"]["updatedAt"]
    assert ToolDone("t4", "12:40") in AGENT and messages["st_1.1.m0"]["toolCalls"][3]["result"] == "12:40"


KEPT: Final = {"m1": 1, "st_1.1.m0": 2, "st_1.1.m1": 2, "m2": 3, "st_1.2.m0": 4, "m4": 6, "st_1.3.m0": 7}


@pytest.mark.parametrize(("message_id", "turns"), KEPT.items())
def test_a_history_is_kept_up_to_a_message(message_id: str, turns: int) -> None:
    """And to the end of its answer: rounds of one answer belong together."""
    assert mix.kept_turns(folded(AGENT), message_id) == turns
    left = history([*AGENT, Custom(REWOUND, {"turns": turns})])
    assert message_id in [row["id"] for row in left]


@pytest.mark.parametrize("message_id", ["m3", "m9", "", "st_1.1.m2", "st_1.1"])
def test_a_message_that_is_not_there_cannot_be_the_last(message_id: str) -> None:
    with pytest.raises(RequestError) as caught:
        mix.kept_turns(folded(AGENT), message_id)
    assert caught.value.field == "messageId"


# -- errors

KINDS: Final[dict[type[PenstockError], tuple[int, str]]] = {
    errors.RequestError: (400, "bad_request"),
    errors.Unprocessable: (422, "validation_error"),
    errors.Unauthorized: (401, "unauthorized"),
    errors.Forbidden: (403, "unauthorized"),
    errors.StreamNotFound: (404, "not_found"),
    errors.ReviewNotFound: (404, "not_found"),
    errors.StreamBusy: (409, "bad_request"),
    errors.CursorGone: (410, "bad_request"),
    errors.RequestTooLarge: (413, "bad_request"),
    errors.UpstreamRateLimited: (429, "bad_request"),
    errors.PenstockError: (500, "internal_error"),
    errors.LogUnavailable: (503, "internal_error"),
}


@pytest.mark.parametrize(("kind", "expected"), KINDS.items())
def test_errors_are_of_the_types_that_the_sdk_knows(
    kind: type[PenstockError], expected: tuple[int, str]
) -> None:
    body = mix.error(kind("no such thing: \u2028"))
    assert body.isascii()
    read = ErrorResponseData.model_validate_json(body).error
    assert (read.code, read.type, read.message) == (*expected, "no such thing: \u2028")
    assert mix.DIALECT.error is mix.error
