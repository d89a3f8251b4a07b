"""
The chat encoder, ``completion()`` and request bodies, both ways (sections 1, 4, 6, 7 and 8 of the contract).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from penstock.dialects import get
from penstock.dialects.openai_chat import Encoder, completion, read_request, write_request
from penstock.engine.demo import answer
from penstock.errors import RequestError, Unauthorized
from penstock.events import (
    TERMINAL,
    Custom,
    DataPart,
    Event,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from penstock.requests import Start, Tool, ToolChoice
from penstock.snapshot import Response, Snapshot, apply
from penstock.wire import Frame
from penstock.wire.sse import write
from recordings import RECORDINGS, Recording, decoded, response_of
from streams import SESSION, records

DIALECT = get("openai-chat")


def encoded(events: list[Event], **options: Any) -> list[Frame]:
    encoder = Encoder(**options)
    return [frame for record in records(events, 1763600000.25) for frame in encoder.encode(record)]


def body(events: list[Event], **options: Any) -> bytes:
    return b"".join(map(write, encoded(events, **options)))


def chunks(events: list[Event], **options: Any) -> list[Any]:
    """The JSON of the frames, without ``[DONE]``."""
    return [json.loads(frame.data) for frame in encoded(events, **options) if frame.data != b"[DONE]"]


# -- section 4

CALL = ToolCallPart("call_7", "get_tide", '{"port":"Brest"}')
EXAMPLE: list[Event] = [
    MessageAdded("user", (TextPart("Tide?"),)),
    ResponseStarted("chatcmpl-s1", "demo"),
    PartStarted("p1", ToolCallPart("call_7", "get_tide")),
    PartDelta("p1", '{"port":"Brest"}'),
    PartDone("p1", CALL),
    ResponseDone("tool_calls", Usage(31, 0, 9)),
]
HEAD = '{"id":"chatcmpl-s1","object":"chat.completion.chunk","created":1763600000,"model":"demo","choices":'
GOLDEN = f"""\
data: {HEAD}[{{"index":0,"delta":{{"role":"assistant","content":""}},"finish_reason":null}}]}}

data: {HEAD}[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"call_7","type":"function","function":{{"name":"get_tide","arguments":""}}}}]}},"finish_reason":null}}]}}

data: {HEAD}[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":"{{\\"port\\":\\"Brest\\"}}"}}}}]}},"finish_reason":null}}]}}

data: {HEAD}[{{"index":0,"delta":{{}},"finish_reason":"tool_calls"}}]}}

data: {HEAD}[],"usage":{{"prompt_tokens":31,"completion_tokens":9,"total_tokens":40,"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}

data: [DONE]

"""  # noqa: E501


def test_the_lifecycle_is_the_contracts_to_the_byte() -> None:
    """But for the details of the counts, which the contract's example leaves out."""
    assert body(EXAMPLE, include_usage=True).decode() == GOLDEN


def test_usage_is_said_only_if_it_was_asked_for() -> None:
    usage_chunk = GOLDEN.splitlines(keepends=True)[8:10]
    assert body(EXAMPLE).decode() == GOLDEN.replace("".join(usage_chunk), "")


def test_usage_that_nobody_knows_is_not_said() -> None:
    events = [*EXAMPLE[:-1], ResponseDone("tool_calls")]
    assert body(events, include_usage=True) == body(EXAMPLE)


# -- section 8


def answers(events: list[Event]) -> list[list[Event]]:
    """The events of each answer of a stream."""
    starts = [n for n, event in enumerate(events) if isinstance(event, ResponseStarted)]
    return [events[a:b] for a, b in zip(starts, [*starts[1:], len(events)], strict=True)]


def demo(prompt: str = "When is the tide in Brest?", model: str = "demo", **rest: Any) -> list[Event]:
    """What the built-in model says."""
    start = Start(model, input=(MessageAdded("user", (TextPart(prompt),)),), **rest)
    asked = {"choices": rest.get("choices", 1)}
    said = [event for step in answer(start, 0) for event in step.events]
    return [ResponseStarted("r1", model, request=asked), *said]


TIDE = Tool("get_tide", parameters={"type": "object", "properties": {"port": {"type": "string"}}})
WIND = Tool("get_wind", parameters={"type": "object", "properties": {"port": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}

ANSWERS: dict[str, list[Event]] = {
    "example": EXAMPLE[1:],
    **{f"session {n}": events for n, events in enumerate(answers(SESSION), 1)},
    "demo": demo(),
    "demo, reasoning": demo("Think hard: why is the tide late?"),
    "demo, tools": demo(tools=(TIDE, WIND), tool_choice=ToolChoice("required")),
    "demo, choices": demo(choices=3),
    "demo, data": demo(output_schema=SCHEMA),
    "demo, length": demo(max_output_tokens=5),
    "demo, failing": demo(model="demo-fail"),
    **{recording.name: decoded(recording.body) for recording in RECORDINGS},
}
every_answer = pytest.mark.parametrize("events", ANSWERS.values(), ids=list(ANSWERS))


@every_answer
def test_frames_have_neither_event_nor_id(events: list[Event]) -> None:
    assert {(frame.event, frame.id) for frame in encoded(events)} == {("", "")}
    assert body(events).isascii() and body(events).endswith(b"\n\n")
    assert {line.partition(b":")[0] for line in body(events).splitlines()} == {b"data", b""}


@every_answer
def test_the_end_is_done_or_an_error_never_both(events: list[Event]) -> None:
    *before, last = [frame.data for frame in encoded(events, include_usage=True)]
    [end] = [event for event in events if isinstance(event, TERMINAL)]
    assert b"[DONE]" not in before
    assert not any("error" in json.loads(data) for data in before)
    if isinstance(end, ResponseFailed):
        assert json.loads(last) == {
            "error": {"message": end.message, "type": "server_error", "param": None, "code": end.code}
        }
    else:
        assert last == b"[DONE]"


@every_answer
def test_every_chunk_has_the_same_head_and_valid_deltas(events: list[Event]) -> None:
    said = [chunk for chunk in chunks(events, include_usage=True) if "error" not in chunk]
    assert len({(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in said}) == 1
    for chunk in said:
        for choice in chunk["choices"]:
            assert choice.keys() >= {"index", "delta", "finish_reason"}
            assert isinstance(choice["delta"], dict) and None not in choice["delta"].values()
            for entry in (
                entry for value in choice["delta"].values() if isinstance(value, list) for entry in value
            ):
                assert isinstance(entry["index"], int)  # row 11
    usage = [n for n, chunk in enumerate(said) if "usage" in chunk]
    assert usage in ([], [len(said) - 1]) and all(said[n]["choices"] == [] for n in usage)  # row 13


@every_answer
def test_each_choice_begins_with_a_role_and_ends_with_a_reason(events: list[Event]) -> None:
    said: dict[int, list[Any]] = {}
    for chunk in chunks(events):
        for choice in chunk.get("choices", ()):
            said.setdefault(choice["index"], []).append(choice)
    [end] = [event for event in events if isinstance(event, TERMINAL)]
    for choices in said.values():
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        assert not any("role" in choice["delta"] for choice in choices[1:])
        reasons = [choice["finish_reason"] for choice in choices]
        assert reasons[:-1] == [None] * (len(reasons) - 1)
        assert (reasons[-1] is None) == isinstance(end, ResponseFailed)


@every_answer
def test_calls_are_numbered_from_0_and_named_once(events: list[Event]) -> None:
    """And one after the other: openai-python takes a call for complete once another one speaks."""
    entries: dict[int, list[Any]] = {}
    for chunk in chunks(events):
        for choice in chunk.get("choices", ()):
            entries.setdefault(choice["index"], []).extend(choice["delta"].get("tool_calls", ()))
    for calls in entries.values():
        indexes = [entry["index"] for entry in calls]
        assert indexes == sorted(indexes) and sorted(set(indexes)) == list(range(len(set(indexes))))
        for entry, before in zip(calls, [None, *indexes], strict=False):
            first = entry["index"] != before
            assert ("id" in entry, "type" in entry, "name" in entry["function"]) == (first,) * 3
            assert isinstance(entry["function"]["arguments"], str)


@every_answer
def test_two_encodings_are_equal(events: list[Event]) -> None:
    assert body(events, include_usage=True) == body(events, include_usage=True)


def test_the_field_of_reasoning_is_an_option() -> None:
    events = answers(SESSION)[0]
    for name in ("reasoning_content", "reasoning"):
        deltas = [c["choices"][0]["delta"] for c in chunks(events, reasoning_field=name)]
        assert "".join(delta.get(name, "") for delta in deltas) == "Two ports, two calls."
        assert not any({"reasoning_content", "reasoning"} - {name} & delta.keys() for delta in deltas)


def test_a_choice_that_says_nothing_still_begins_and_ends() -> None:
    events: list[Event] = [
        ResponseStarted("r1", "m"),
        PartStarted("p1", TextPart(), 2),
        PartDone("p1", TextPart("c"), UNSET),
        ResponseDone("stop", finish_reasons=("stop", "content_filter", "length")),
    ]
    reasons = {c["index"]: c["finish_reason"] for chunk in chunks(events) for c in chunk["choices"]}
    assert reasons == {0: "stop", 1: "content_filter", 2: "length"}
    response = folded(events)
    assert {c["index"]: c["finish_reason"] for c in completion(response)["choices"]} == reasons


def test_audio_passes_through() -> None:
    events: list[Event] = [
        ResponseStarted("r1", "m"),
        Custom("openai-chat.audio", {"choice": 1, "audio": {"id": "a", "data": "AA=="}}),
        ResponseDone("stop", finish_reasons=("stop", "stop")),
    ]
    assert response_of(decoded(body(events))).customs == [events[1]]


# -- decode(encode(x))


def folded(events: list[Event]) -> Response:
    snapshot = Snapshot()
    for event in events:
        apply(snapshot, event, 1763600000.25)
    [response] = snapshot.responses
    return response


KINDS: dict[type[Part], str] = {ReasoningPart: "reasoning", DataPart: "text", TextPart: "text"}


def meaning(events: list[Event]) -> Any:
    """What this wire can carry of an answer: what each choice said, and how it ended."""
    response = folded(events)
    choices: dict[int, dict[str, str]] = {}
    calls: dict[int, list[ToolCallPart]] = {}
    for growing in response.parts.values():
        match part := growing.part:
            case ToolCallPart():
                calls.setdefault(growing.choice, []).append(part)
            case _:
                kind = KINDS.get(type(part), type(part).__name__)
                said = choices.setdefault(growing.choice, {})
                said[kind] = said.get(kind, "") + text_of(part)
    spoken = {
        index: {kind: spelled(text) for kind, text in said.items() if text} for index, said in choices.items()
    }
    return {index: said for index, said in spoken.items() if said}, calls, ending(response)


def text_of(part: Part) -> str:
    if isinstance(part, DataPart) and part.value is not UNSET:
        return json.dumps(part.value)
    return getattr(part, "text", "") or getattr(part, "url", "")


def spelled(text: str) -> str:
    """JSON in one spelling, and any other text as it is."""
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return text


def ending(response: Response) -> Any:
    match response.end:
        case ResponseDone(finish_reason=reason, finish_reasons=reasons, usage=usage):
            normal = tuple("stop" if reason == "cancelled" else reason for reason in reasons or (reason,))
            return normal, counts(usage)
        case ResponseFailed(code=code, message=message):
            return code, message
        case other:
            raise AssertionError(other)


def counts(usage: Usage | UnsetType) -> Any:
    return None if usage is UNSET else replace(usage, extra=UNSET, source="provider")


@every_answer
def test_what_is_encoded_decodes_to_the_same(events: list[Event]) -> None:
    assert meaning(decoded(body(events, include_usage=True))) == meaning(events)


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_metadata_survives_the_way_through(recording: Recording) -> None:
    once = decoded(recording.body)
    twice = decoded(body(once))
    end, again = folded(once).end, folded(twice).end
    assert end is not None and again is not None
    kept = {} if end.extra is UNSET else end.extra
    assert ({} if again.extra is UNSET else again.extra).get("chunk") == kept.get("chunk")


# -- completion()

WHOLE = {name: events for name, events in ANSWERS.items() if isinstance(folded(events).end, ResponseDone)}


@pytest.mark.parametrize("events", WHOLE.values(), ids=list(WHOLE))
def test_a_whole_answer_says_what_the_stream_says(events: list[Event]) -> None:
    response, whole = folded(events), completion(folded(events))
    assert json.loads(json.dumps(whole)) == whole
    assert (whole["id"], whole["object"], whole["created"]) == (
        response.response_id,
        "chat.completion",
        1763600000,
    )
    said, calls, (reasons, _) = meaning(events)
    assert tuple(choice["finish_reason"] for choice in whole["choices"]) == reasons
    for choice in whole["choices"]:
        message, spoken = choice["message"], said.get(choice["index"], {})
        assert message["role"] == "assistant"
        assert spelled(message["content"] or "") == spoken.get("text", "")
        assert message.get("reasoning_content", "") == spoken.get("reasoning", "")
        assert (message["refusal"] or "") == spoken.get("RefusalPart", "")
        assert [
            ToolCallPart(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        ] == calls.get(choice["index"], [])
    assert ("usage" in whole) == (response.usage is not UNSET)


def test_a_whole_answer_in_full() -> None:
    assert completion(folded(EXAMPLE)) == {
        "id": "chatcmpl-s1",
        "object": "chat.completion",
        "created": 1763600000,
        "model": "demo",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "tool_calls": [
                        {
                            "id": "call_7",
                            "type": "function",
                            "function": {"name": "get_tide", "arguments": '{"port":"Brest"}'},
                        }
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 31,
            "completion_tokens": 9,
            "total_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


# -- requests

HELLO = [{"role": "user", "content": "Hello"}]
PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}},
]
TOOL = {
    "type": "function",
    "function": {"name": "get_tide", "description": "Tides", "parameters": SCHEMA, "strict": True},
}
CALLED = {
    "id": "call_7",
    "type": "function",
    "function": {"name": "get_tide", "arguments": '{"port":"Brest"}'},
}

REQUESTS: dict[str, dict[str, Any]] = {
    "the least": {},
    "roles": {
        "messages": [{"role": role, "content": "x"} for role in ("developer", "system", "user", "assistant")]
    },
    "names": {"messages": [{"role": "user", "content": "x", "name": "ada"}]},
    "parts": {"messages": [{"role": "user", "content": PARTS}]},
    "cache marks on a text": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
            }
        ]
    },
    "two texts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
        ]
    },
    "an empty text": {"messages": [{"role": "user", "content": ""}]},
    "a call and its result": {
        "messages": [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [CALLED]},
            {"role": "tool", "tool_call_id": "call_7", "content": "12:40"},
        ]
    },
    "a result of parts": {
        "messages": [{"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "12:40"}]}]
    },
    "thinking handed back": {
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": "Yes.",
                "reasoning_content": "Hm.",
                "reasoning_details": [{"type": "reasoning.text", "signature": "s"}],
            },
        ]
    },
    "thinking by its other name": {
        "messages": [{"role": "assistant", "content": "Yes.", "reasoning": "Hm."}]
    },
    "a refusal handed back": {"messages": [{"role": "assistant", "content": None, "refusal": "No."}]},
    "audio handed back": {"messages": [{"role": "assistant", "content": None, "audio": {"id": "a"}}]},
    "a legacy call": {
        "messages": [
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        "functions": [{"name": "f"}],
        "function_call": "auto",
    },
    "tools": {"tools": [TOOL, {"type": "function", "function": {"name": "f"}}], "parallel_tool_calls": False},
    "a hosted tool": {"tools": [{"type": "web_search", "filters": {"x": 1}}]},
    "a tool with more to it": {"tools": [{"type": "function", "function": {"name": "f", "cache": True}}]},
    "tool_choice none": {"tools": [TOOL], "tool_choice": "none"},
    "tool_choice required": {"tools": [TOOL], "tool_choice": "required"},
    "tool_choice by name": {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_tide"}},
    },
    "json_object": {"response_format": {"type": "json_object"}},
    "json_schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": SCHEMA, "strict": True},
        }
    },
    "response_format text": {"response_format": {"type": "text"}},
    "limits": {"max_completion_tokens": 7, "temperature": 0, "top_p": 0.5, "stop": ["a", "b"], "n": 3},
    "extras": {
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"5": 1},
        "reasoning_effort": "low",
        "user": "u",
        "prediction": {"type": "content", "content": "x"},
        "modalities": ["text", "audio"],
        "audio": {"voice": "x", "format": "wav"},
        "web_search_options": {},
        "provider": {"order": ["a"]},
        "vendor_knob": [None, {"ü": 1.5}],
        "frequency_penalty": -1,
    },
}


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=list(REQUESTS))
def test_a_request_passes_through(asked: dict[str, Any]) -> None:
    whole = {"model": "m", "messages": HELLO, **asked}
    assert write_request(read_request(whole)) == {
        **whole,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=list(REQUESTS))
def test_a_request_written_reads_as_it_was(asked: dict[str, Any]) -> None:
    start = read_request({"model": "m", "messages": HELLO, **asked})
    assert read_request(write_request(start)) == start


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a single text part": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        {},
    ),
    "max_tokens": ({"max_tokens": 7}, {"max_completion_tokens": 7}),
    "max_completion_tokens first": (
        {"max_completion_tokens": 7, "max_tokens": 9},
        {"max_completion_tokens": 7},
    ),
    "one stop": ({"stop": "a"}, {"stop": ["a"]}),
    "one choice": ({"n": 1}, {}),
    "nulls": (
        {
            "tools": None,
            "tool_choice": None,
            "stop": None,
            "temperature": None,
            "n": None,
            "max_tokens": None,
        },
        {},
    ),
    "stream and its options": ({"stream": False, "stream_options": {"include_obfuscation": False}}, {}),
}


@pytest.mark.parametrize(("asked", "same"), SAME.values(), ids=list(SAME))
def test_another_way_to_ask_the_same(asked: dict[str, Any], same: dict[str, Any]) -> None:
    base = {"model": "m", "messages": HELLO}
    assert write_request(read_request(base | asked)) == write_request(read_request(base | same))


def message(**members: Any) -> dict[str, Any]:
    return {"messages": [*HELLO, {"role": "user", "content": "x", **members}]}


def piece(**members: Any) -> dict[str, Any]:
    return message(content=[{"type": "text", "text": "x"}, members])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, "model"),
    "model": ({"model": 5}, "model"),
    "no messages": ({"messages": None}, "messages"),
    "messages": ({"messages": {}}, "messages"),
    "empty messages": ({"messages": []}, "messages"),
    "message": ({"messages": ["x"]}, "messages[0]"),
    "no role": (message(role=None), "messages[1].role"),
    "role": (message(role="robot"), "messages[1].role"),
    "content": (message(content=5), "messages[1].content"),
    "part": (message(content=["x"]), "messages[1].content[0]"),
    "part without type": (piece(text="x"), "messages[1].content[1]"),
    "text part without text": (piece(type="text"), "messages[1].content[1]"),
    "text part of no text": (piece(type="text", text=5), "messages[1].content[1]"),
    "image part": (piece(type="image_url", image_url="https://x"), "messages[1].content[1]"),
    "audio part": (piece(type="input_audio", input_audio={"data": "AA=="}), "messages[1].content[1]"),
    "file part": (piece(type="file", file="x"), "messages[1].content[1]"),
    "refusal part": (piece(type="refusal"), "messages[1].content[1]"),
    "tool result without id": (message(role="tool"), "messages[1].tool_call_id"),
    "tool calls": (message(role="assistant", tool_calls={}), "messages[1].tool_calls"),
    "tool call without id": (
        message(role="assistant", tool_calls=[{"function": {"name": "f"}}]),
        "messages[1].tool_calls[0]",
    ),
    "tool call with arguments of no text": (
        message(role="assistant", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}]),
        "messages[1].tool_calls[0].function.arguments",
    ),
    "reasoning": (message(role="assistant", reasoning_content=5), "messages[1].reasoning_content"),
    "reasoning details": (message(role="assistant", reasoning_details="x"), "messages[1].reasoning_details"),
    "refusal": (message(role="assistant", refusal=5), "messages[1].refusal"),
    "tools": ({"tools": {}}, "tools"),
    "tool": ({"tools": ["x"]}, "tools[0]"),
    "tool type": ({"tools": [{"type": 5}]}, "tools[0].type"),
    "tool without function": ({"tools": [{"type": "function"}]}, "tools[0].function"),
    "tool without name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    "tool parameters": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters",
    ),
    "tool strict": (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]},
        "tools[0].function.strict",
    ),
    "tool_choice": ({"tool_choice": "maybe"}, "tool_choice"),
    "response_format": ({"response_format": "json"}, "response_format"),
    "response_format type": ({"response_format": {"type": "xml"}}, "response_format.type"),
    "response_format without schema": (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
    ),
    "schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
        "response_format.json_schema.schema",
    ),
    "n": ({"n": 0}, "n"),
    "n too many": ({"n": 129}, "n"),
    "n of no number": ({"n": True}, "n"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens"),
    "max_completion_tokens": ({"max_completion_tokens": "7"}, "max_completion_tokens"),
    "temperature": ({"temperature": "hot"}, "temperature"),
    "top_p": ({"top_p": True}, "top_p"),
    "stop": ({"stop": [1]}, "stop"),
    "metadata": ({"metadata": []}, "metadata"),
}


@pytest.mark.parametrize(("wrong", "field"), BAD.values(), ids=list(BAD))
def test_a_bad_request_names_its_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request({"model": "m", "messages": HELLO} | wrong)
    assert caught.value.field == field
    assert repr(field) in caught.value.message


def test_what_another_dialect_asked_for_is_written_in_full() -> None:
    start = Start(
        "m",
        input=(
            MessageAdded("user", (TextPart("Hello"),)),
            MessageAdded(
                "assistant",
                (ReasoningPart("Hm."), TextPart("Yes."), DataPart({"a": 1}), ToolCallPart("c", "f", "{}")),
            ),
            MessageAdded("tool", (ToolResultPart("c", {"at": 1}), ToolResultPart("d", "x"))),
        ),
        instructions="Be terse.",
        output_schema=SCHEMA,
        output_name="port",
        metadata={"note": 1},
        extra={"their": "own"},
        extra_dialect="another",
    )
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert write_request(start) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be terse."},
            *HELLO,
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "Yes."}, {"type": "text", "text": '{"a":1}'}],
                "tool_calls": [call],
                "reasoning_content": "Hm.",
            },
            {"role": "tool", "tool_call_id": "c", "content": '{"at":1}'},
            {"role": "tool", "tool_call_id": "d", "content": "x"},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "port", "schema": SCHEMA}},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_an_error_has_the_shape_the_sdks_expect() -> None:
    assert DIALECT.error is not None
    assert json.loads(DIALECT.error(Unauthorized())) == {
        "error": {
            "message": "There is no API key in the request, or it is not one of ours.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }
    assert json.loads(DIALECT.error(RequestError("no", field="n")))["error"]["param"] == "n"
