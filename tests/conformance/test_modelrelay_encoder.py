"""
Records of ModelRelay's two generations (sections 1a, 5 and 13 of the contract): text, tool calls, ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from penstock.dialects import Wire, get
from penstock.dialects.modelrelay.text import Text
from penstock.events import (
    Custom,
    DataPart,
    Event,
    FinishReason,
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
    SourcePart,
    TextPart,
    ToolCallPart,
    Usage,
)
from penstock.grammar import Grammar
from penstock.snapshot import grown
from penstock.wire import Frame
from streams import EVERY_EVENT, SESSION, STRUCTURED, WIRES, long_answer, records, written

V2, SSE, V1 = WIRES["modelrelay"], WIRES["modelrelay-sse"], WIRES["modelrelay-v1"]
BUILTIN = get("modelrelay").wire(provider="builtin")
MIB: Final = 2**20


def encoded(wire: Wire, events: list[Event]) -> list[Frame]:
    encoder = wire.encoder()
    return [frame for record in records(events) for frame in encoder.encode(record)]


def said(wire: Wire, events: list[Event]) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in encoded(wire, events)]


def part(whole: Part, *deltas: str, key: str = "p1", choice: int = 0) -> list[Event]:
    """The events of a part that comes in ``deltas``."""
    pieces = [PartDelta(key, delta) for delta in deltas]
    begun: Part = whole
    if deltas:
        begun = ToolCallPart(whole.call_id, whole.tool) if isinstance(whole, ToolCallPart) else type(whole)()  # type: ignore[call-arg]
    return [PartStarted(key, begun, choice), *pieces, PartDone(key, whole)]


def answered(*parts: list[Event], name: str = "resp_1", end: ResponseDone | None = None) -> list[Event]:
    begun = ResponseStarted(name, "demo-1")
    return [begun, *(event for events in parts for event in events), end or ResponseDone("stop")]


def deltas(found: list[dict[str, Any]]) -> str:
    return "".join(each["delta"] for each in found if each["type"] == "update")


# -- section 5.2 and 5.3, to the byte

HELLO = answered(
    part(TextPart("Hello, wörld 🚀"), "Hello", ", wörld 🚀"),
    name="resp_7f3a",
    end=ResponseDone("stop", Usage(9, output_tokens=4)),
)


def test_text_is_the_contracts_to_the_byte() -> None:
    assert written(BUILTIN, encoded(BUILTIN, HELLO)).decode() == (
        '{"type":"start","request_id":"resp_7f3a","model":"demo-1","provider":"builtin",'
        '"stream_mode":"text-delta","stream_version":"v2"}\n'
        '{"type":"update","delta":"Hello"}\n'
        '{"type":"update","delta":", w\\u00f6rld \\ud83d\\ude80"}\n'
        '{"type":"completion","request_id":"resp_7f3a","model":"demo-1","provider":"builtin",'
        '"content":"Hello, w\\u00f6rld \\ud83d\\ude80","stop_reason":"end_turn","usage":{"input_tokens":9,'
        '"output_tokens":4,"total_tokens":13,"reasoning_tokens":0,"cached_tokens":0,'
        '"observation_basis":"exact"}}\n'
    )


CALL = ToolCallPart("call_a", "get_weather", '{"city":"Paris"}')


def test_a_tool_call_is_the_contracts_to_the_byte() -> None:
    events = answered(part(CALL, '{"city":', '"Paris"}'), end=ResponseDone("tool_calls", Usage(31, 0, 12)))
    _, *found, completion = encoded(BUILTIN, events)
    whole = (
        '"tool_calls":[{"id":"call_a","type":"function",'
        '"function":{"name":"get_weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]'
    )
    assert written(BUILTIN, found).decode() == (
        '{"type":"tool_use_start","tool_call_delta":{"index":0,"id":"call_a","type":"function",'
        '"function":{"name":"get_weather","arguments":""}}}\n'
        '{"type":"tool_use_delta","tool_call_delta":{"index":0,"function":{"arguments":"{\\"city\\":"}}}\n'
        '{"type":"tool_use_delta","tool_call_delta":{"index":0,"function":{"arguments":"\\"Paris\\"}"}}}\n'
        '{"type":"tool_use_stop",' + whole + "}\n"
    )
    assert completion.data.decode().endswith("," + whole + "}")
    assert b"content" not in completion.data, "an empty one would be taken for the text"


def test_sse_says_the_same_records() -> None:
    frames = encoded(SSE, HELLO)
    assert [frame.data for frame in frames] == [frame.data for frame in encoded(V2, HELLO)]
    assert written(SSE, frames[1:2]) == b'event: update\ndata: {"type":"update","delta":"Hello"}\n\n'
    assert [frame.event for frame in frames] == [json.loads(frame.data)["type"] for frame in frames]


def test_keepalives_are_what_each_framing_has() -> None:
    assert V2.framing.keepalive == b'{"type":"keepalive"}\n'
    assert V1.framing.keepalive == b'{"event":"keepalive"}\n'
    assert SSE.framing.keepalive == b": keepalive\n"
    assert V2.framing.media_type == "application/x-ndjson"
    assert V1.framing.media_type == 'application/x-ndjson; profile="responses-stream/v1"'


def test_a_keepalive_is_no_frame_however_it_is_cut() -> None:
    body = written(V2, encoded(V2, HELLO))
    with_them = body.replace(b"\n", b'\n{"type":"keepalive"}\n')
    for size in (1, 7, len(with_them)):
        reader = V2.framing.reader()
        cut = [with_them[at : at + size] for at in range(0, len(with_them), size)]
        frames = [frame for piece in cut for frame in reader.feed(piece)]
        frames += reader.close()
        assert reader.unfinished() is None
        assert b"".join(map(V2.framing.write, frames)) == body


# -- content


def test_a_part_may_begin_with_text_and_end_with_more() -> None:
    events = answered(
        [PartStarted("p1", TextPart("a")), PartDelta("p1", "b"), PartDone("p1", TextPart("abc"))]
    )
    *_, completion = found = said(V2, events)
    assert [each["delta"] for each in found if each["type"] == "update"] == ["a", "b", "c"]
    assert completion["content"] == "abc"


def test_texts_that_overlap_are_told_one_after_the_other() -> None:
    first, second = part(TextPart("one "), "on", "e "), part(RefusalPart("two"), "t", "wo", key="p2")
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    for wire, member in ((V2, "delta"), (V1, "text_delta")):
        assert [each[member] for each in said(wire, answered(mixed)) if member in each] == [
            "on",
            "e ",
            "t",
            "wo",
        ]


@pytest.mark.parametrize("text", ['{"a": 1.0}', '{"a":1e2}'])
def test_data_that_was_not_asked_for_by_a_schema_is_text(text: str) -> None:
    events = answered(part(grown(DataPart(), text), text[:7], text[7:]))
    *_, completion = found = said(V2, events)
    assert completion["content"] == deltas(found) == text, "it is spelled once only"


@pytest.mark.parametrize("size", [999_990, 1_000_001])
def test_content_that_fills_a_record_is_left_to_the_deltas(size: int) -> None:
    *_, completion = found = said(V2, answered(part(TextPart("x" * size), *(["x" * 30_000] * 20))))
    assert deltas(found) == "x" * size
    assert completion.get("content", "") == ("x" * size if size < 1_000_000 else "")


def test_content_is_measured_as_it_travels() -> None:
    *_, completion = found = said(V2, answered(part(TextPart("🚀" * 90_000))))
    assert deltas(found) == "🚀" * 90_000 and "content" not in completion


@pytest.mark.parametrize("wire", [V2, V1], ids=["v2", "v1"])
def test_no_delta_is_too_long_for_a_record(wire: Wire) -> None:
    text = "🚀" * 300_000
    call = ToolCallPart("c1", "f", json.dumps(text, ensure_ascii=False))
    events = answered(part(ReasoningPart(text), text), part(TextPart(text), text, key="p2"))
    calls = answered(part(call, call.arguments))
    for frame in encoded(wire, events) + encoded(wire, calls)[:-2]:  # finished calls have to be whole
        assert len(frame.data) < MIB


def test_a_long_text_is_kept_cheaply_and_no_longer_than_it_is_worth() -> None:
    text = Text(10_000)
    for n in range(1000):
        text.add(f"{n:03} ")
    assert text.whole() == "".join(f"{n:03} " for n in range(1000)) and text.size == 4000
    text.add("x" * 6001)
    assert text.lost and text.whole() == "" and text.size == 10_001
    text.add("y")
    assert text.whole() == ""


# -- tool calls


def test_calls_interleave_by_index() -> None:
    found = said(V2, SESSION)
    pieces = [each["tool_call_delta"] for each in found if "tool_call_delta" in each]
    assert [each["index"] for each in pieces] == [0, 1, 0, 1, 0, 1]
    assert [each["id"] for each in pieces[:2]] == ["call_1", "call_2"]
    assert all(
        set(each) == {"index", "function"} and set(each["function"]) == {"arguments"} for each in pieces[2:]
    )
    stops = [each["tool_calls"][0]["id"] for each in found if each["type"] == "tool_use_stop"]
    assert stops == ["call_2", "call_1"], "each as it is finished"
    completion = next(each for each in found if each["type"] == "completion")
    assert [each["id"] for each in completion["tool_calls"]] == ["call_1", "call_2"]


def accumulated(found: list[dict[str, Any]], member: str) -> dict[int, dict[str, Any]]:
    """Calls the way readers of deltas make them: TypeScript, and Rust without finished ones."""
    calls: dict[int, dict[str, Any]] = {}
    for each in found:
        if "tool_call_delta" in each:
            piece = each["tool_call_delta"]
            if piece["index"] not in calls:
                calls[piece["index"]] = {
                    "id": piece["id"],
                    "name": piece["function"]["name"],
                    "arguments": "",
                }
            assert not each[member].endswith("delta") or "name" not in piece["function"]
            calls[piece["index"]]["arguments"] += piece["function"].get("arguments", "")
    return calls


def finished(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls the way Go has them: the last record that has any is right."""
    last = [each["tool_calls"] for each in found if "tool_calls" in each][-1:]
    return [{"id": call["id"], **call["function"]} for calls in last for call in calls]


@pytest.mark.parametrize(
    ("events", "arguments"),
    [
        (part(ToolCallPart("c1", "f", "")), "{}"),
        (part(ToolCallPart("c1", "f", " "), " "), " {}"),
        (part(ToolCallPart("c1", "f", '{"a":1}')), '{"a":1}'),
        (part(ToolCallPart("c1", "f", '{"a":1}'), '{"a"'), '{"a":1}'),
        (part(ToolCallPart("c1", "f", '{"a'), '{"a'), '{"a'),  # the model broke it off
        (
            [
                PartStarted("p1", ToolCallPart("c1", "f", '{"a')),
                PartDelta("p1", '":1'),
                PartDone("p1", ToolCallPart("c1", "f", '{"a":1}')),
            ],
            '{"a":1}',
        ),
    ],
)
def test_arguments_are_whole_in_deltas_and_in_finished_calls(events: list[Event], arguments: str) -> None:
    for wire, member in ((V2, "type"), (V1, "event")):
        found = said(wire, answered(events, end=ResponseDone("tool_calls", pending_calls=("c1",))))
        expected = {"id": "c1", "name": "f", "arguments": arguments}
        assert list(accumulated(found, member).values()) == finished(found) == [expected]


def test_calls_of_other_choices_are_not_told() -> None:
    for wire in (V2, V1):
        assert said(wire, answered(part(CALL, "{}", choice=1))) == said(wire, answered())


# -- what has no record

SILENT: list[list[Event]] = [
    [Custom("provider.note", 1)],
    [MessageAdded("user", (TextPart("Are you there?"),))],
    part(TextPart("another answer"), "another answer", choice=1),
    part(SourcePart("https://tides.example"), choice=2),
    part(ReasoningPart("hm"), "hm", choice=1),
]


@pytest.mark.parametrize("wire", [V2, V1], ids=["v2", "v1"])
def test_what_this_wire_has_no_word_for_is_not_said(wire: Wire) -> None:
    for events in SILENT:
        assert encoded(wire, answered(events)) == encoded(wire, answered())


def test_thoughts_have_a_record_in_v2_alone() -> None:
    thoughts = answered(part(ReasoningPart("Hm. So", "sig"), "Hm. ", "S"))
    assert [each["reasoning_delta"] for each in said(V2, thoughts)[1:-1]] == ["Hm. ", "S", "o"]
    assert said(V1, thoughts) == said(V1, answered())
    late: list[Event] = [
        PartStarted("p1", ReasoningPart()), PartStarted("p2", TextPart()), PartDelta("p2", "a"),
        PartDelta("p1", "b"), PartDone("p1", ReasoningPart("b")), PartDone("p2", TextPart("a")),
    ]  # fmt: skip
    assert [each["type"] for each in said(V2, answered(late))[1:-1]] == ["update", "reasoning_delta"]


# -- the end


@pytest.mark.parametrize("reason", get_args(FinishReason))
def test_the_reason_for_the_end_is_a_word_that_sdks_know(reason: FinishReason) -> None:
    known = ("completed", "stop", "stop_sequence", "end_turn", "max_tokens", "max_len", "max_context",
             "tool_calls", "time_limit", "content_filter", "incomplete", "unknown")  # fmt: skip
    for wire in (V2, V1):
        assert said(wire, answered(end=ResponseDone(reason)))[-1]["stop_reason"] in known
    assert said(V2, answered(end=ResponseDone("length")))[-1]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("end", "counts", "basis"),
    [
        (ResponseDone("stop", Usage(7, 2, 5, 3)), (7, 5, 12, 3, 2), "exact"),
        (ResponseDone("stop", Usage(7, 0, 5, source="estimated")), (7, 5, 12, 0, 0), "estimated_categories"),
        (ResponseDone("stop"), (0, 0, 0, 0, 0), "unavailable"),  # without one SDKs throw
    ],
)
def test_usage_is_always_there(end: ResponseDone, counts: tuple[int, ...], basis: str) -> None:
    names = ("input_tokens", "output_tokens", "total_tokens", "reasoning_tokens", "cached_tokens")
    expected = {**dict(zip(names, counts, strict=True)), "observation_basis": basis}
    assert said(V2, answered(end=end))[-1]["usage"] == expected


def test_sources_are_citations() -> None:
    whole = SourcePart("https://tides.example", "Tides")
    unnamed: list[Event] = [PartStarted("p2", SourcePart("https://a.example")),
                            PartDone("p2", SourcePart("https://b.example"))]  # fmt: skip
    assert said(V2, answered(part(whole), unnamed))[-1]["citations"] == [
        {"url": "https://tides.example", "title": "Tides"},
        {"url": "https://b.example", "title": ""},
    ]


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (ResponseFailed("upstream", "gone"), ("PROVIDER_ERROR", "gone", 502, "upstream")),
        (ResponseFailed("upstream", "no", extra={"status": 429}), ("RATE_LIMIT", "no", 429, "upstream")),
        (ResponseFailed("rate_limit_exceeded", "no"), ("RATE_LIMIT", "no", 429, "rate_limit_exceeded")),
        (ResponseFailed("upstream", "no", extra={"status": 401}), ("UNAUTHORIZED", "no", 401, "upstream")),
        (ResponseFailed("interrupted", "bye"), ("SERVICE_UNAVAILABLE", "bye", 503, "interrupted")),
        (ResponseFailed("timeout", "slow"), ("PROVIDER_ERROR", "slow", 504, "timeout")),
        (ResponseFailed("internal", "oops"), ("INTERNAL_ERROR", "oops", 500, "internal")),
        (ResponseFailed("output_invalid", "no"), ("INVALID_OUTPUT", "no", 502, "output_invalid")),
        (
            ResponseFailed("upstream", "", extra={"status": 0}),
            ("PROVIDER_ERROR", "upstream", 502, "upstream"),
        ),
        (ResponseFailed("x", "y", extra={"status": 418}), ("INVALID_INPUT", "y", 418, "x")),
    ],
)
def test_a_failure_is_the_last_record(failed: ResponseFailed, expected: tuple[str, str, int, str]) -> None:
    *_, last = said(V2, [ResponseStarted("r", "m"), *part(TextPart("a"), "a")[:2], failed])
    assert last == dict(
        zip(("type", "code", "message", "status", "detail"), ("error", *expected), strict=True)
    )


def test_nothing_that_was_held_back_is_lost_in_a_failure() -> None:
    events: list[Event] = [
        ResponseStarted("r", "m"), PartStarted("p1", TextPart()), PartStarted("p2", TextPart()),
        PartDelta("p2", "second"), PartDelta("p1", "first"), ResponseFailed("timeout", "too slow"),
    ]  # fmt: skip
    for wire, member in ((V2, "delta"), (V1, "text_delta")):
        assert [each[member] for each in said(wire, events) if member in each] == ["first", "second"]


def test_a_failure_breaks_the_connection_of_generation_1_alone() -> None:
    """It has no record for one: readers of v1 see it in no other way."""
    assert V1.dialect.failure_breaks and not V2.dialect.failure_breaks
    last = said(V1, [ResponseStarted("r", "m"), ResponseFailed("timeout", "too slow", usage=Usage(1, 0, 2))])[
        -1
    ]
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    assert last == {"event": "message_stop", "stop_reason": "error", "usage": usage}


# -- generation 1: section 1a

SCHEMA = json.loads((Path(__file__).parents[2] / "cases/modelrelay/v1.schema.json").read_text())
VALID = Draft202012Validator(SCHEMA, format_checker=FormatChecker())


def check_v1(found: list[dict[str, Any]]) -> None:
    for each in found:
        VALID.validate(each)
        assert each.keys() <= SCHEMA["properties"].keys() and not nulls(each)


def nulls(value: Any) -> bool:
    match value:
        case dict():
            return any(map(nulls, value.values()))
        case list():
            return any(map(nulls, value))
        case _:
            return value is None


WRONG: Final[list[dict[str, Any]]] = [
    {},
    {"event": "completion"},
    {"event": "ping", "usage": {"input_tokens": -1}},
    {"event": "message_start", "state_id": "x"},
    {"event": "message_start", "model": ""},
    {"event": "tool_use_stop", "tool_calls": [{"type": "function"}]},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_schema_refuses_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VALID.validate(wrong)


@pytest.mark.parametrize("events", [SESSION, EVERY_EVENT, STRUCTURED, long_answer(30), HELLO])
def test_every_record_of_generation_1_is_valid(events: list[Event]) -> None:
    check_v1(said(V1, events))


STATE = "6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506"


def test_generation_1_to_the_record() -> None:
    asked = {"extra": {"state_id": STATE, "provider": "x"}}
    events: list[Event] = [
        ResponseStarted("r1", "m", request=asked), *part(TextPart("Hi"), "Hi"),
        *part(CALL, '{"city":', '"Paris"}', key="p2"),
        ResponseDone("tool_calls", Usage(1, 0, 2), ("call_a",)),
    ]  # fmt: skip
    whole = [{"id": "call_a", "type": "function",
              "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}]  # fmt: skip
    assert said(V1, events) == [
        {"event": "message_start", "response_id": "r1", "model": "m", "state_id": STATE},
        {"event": "message_delta", "text_delta": "Hi"},
        {"event": "tool_use_start", "tool_call_delta":
            {"index": 0, "id": "call_a", "type": "function", "function": {"name": "get_weather"}}},
        {"event": "tool_use_delta", "tool_call_delta": {"index": 0, "function": {"arguments": '{"city":'}}},
        {"event": "tool_use_delta", "tool_call_delta": {"index": 0, "function": {"arguments": '"Paris"}'}}},
        {"event": "tool_use_stop", "tool_calls": whole},
        {"event": "message_stop", "stop_reason": "tool_calls",
         "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}, "tool_calls": whole},
    ]  # fmt: skip


def test_what_the_schema_does_not_allow_is_left_out_or_cut() -> None:
    asked = {"extra": {"state_id": "not a UUID"}}
    events: list[Event] = [
        ResponseStarted("r1", "m" * 129, request=asked),
        *part(ToolCallPart("", "", "{}")), *part(ToolCallPart("c" * 300, "f" * 200, "{}"), key="p2"),
        ResponseDone("tool_calls"),
    ]  # fmt: skip
    found = said(V1, events)
    check_v1(found)
    assert found[0] == {"event": "message_start", "response_id": "r1"}
    unnamed, long = found[-1]["tool_calls"]
    assert unnamed == {"id": "call_0", "type": "function", "function": {"arguments": "{}"}}
    assert (len(long["id"]), len(long["function"]["name"])) == (256, 128)
    assert "usage" not in found[-1]


# -- the whole of it, for any answer

RECORDS: Final[dict[str, dict[str, Any]]] = {
    "start": {"request_id": str, "model": str, "provider": str, "stream_mode": str, "stream_version": str},
    "update": {"delta": str},
    "tool_use_start": {"tool_call_delta": dict},
    "tool_use_delta": {"tool_call_delta": dict},
    "tool_use_stop": {"tool_calls": list},
    "reasoning_delta": {"reasoning_delta": str},
    "completion": {"request_id": str, "model": str, "provider": str, "content": str, "stop_reason": str,
                   "usage": dict, "tool_calls": list, "citations": list},
    "error": {"code": str, "message": str, "status": int, "detail": str},
}  # fmt: skip
OPTIONAL: Final = ("content", "tool_calls", "citations", "detail")


def check_v2(frames: list[Frame]) -> None:
    """Section 5: each record by its members, one start, one end, and all said twice that is read twice."""
    found = []
    for frame in frames:
        assert re.fullmatch(rb"\{[ -\x7f]*\}", frame.data), "ASCII, and one line"
        each = json.loads(frame.data)
        json.dumps(each, ensure_ascii=False).encode()  # no half of a surrogate pair
        assert not nulls(each) and len(frame.data) < MIB
        members = RECORDS[each["type"]]
        assert each.keys() - {"type"} <= members.keys()
        assert members.keys() - each.keys() <= set(OPTIONAL) or each["type"] == "tool_use_stop"
        assert all(isinstance(each[key], kind) for key, kind in members.items() if key in each)
        assert frame.event == each["type"]
        found.append(each)
    for response in responses_in(found):
        check_response(response)


def responses_in(found: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    starts = [n for n, each in enumerate(found) if each["type"] == "start"]
    assert starts[:1] == [0]
    return (found[a:b] for a, b in pairwise([*starts, len(found)]))


def check_response(found: list[dict[str, Any]]) -> None:
    kinds = [each["type"] for each in found]
    assert [kind for kind in kinds if kind in ("completion", "error")] == kinds[-1:]
    calls = accumulated(found, "type")
    if kinds[-1] == "completion":
        last = found[-1]
        assert last.get("content", "") == deltas(found)
        assert {key: last[key] for key in ("request_id", "model", "provider")} == {
            key: found[0][key] for key in ("request_id", "model", "provider")
        }
        assert finished([last]) == list(calls.values())
        stopped = [call for each in found if each["type"] == "tool_use_stop" for call in finished([each])]
        assert sorted(map(str, stopped)) == sorted(map(str, calls.values()))
    else:
        assert found[-1]["status"] >= 400


odd_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\u2029\x85\ufeff🌊\0"))
KINDS = [TextPart, RefusalPart, ReasoningPart, DataPart, ToolCallPart]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """A legal response of parts of all kinds, in any pieces, done or failed."""
    open_parts: list[list[Event]] = []
    for n in range(draw(st.integers(0, 4))):
        kind, text = draw(st.sampled_from(KINDS)), draw(odd_texts)
        places = sorted({0, len(text), *draw(st.sets(st.integers(0, len(text)), max_size=4))})
        start = ToolCallPart(f"c{n}", draw(odd_texts)) if kind is ToolCallPart else kind()
        open_parts.append([
            PartStarted(f"p{n}", start, draw(st.sampled_from([0, 0, 0, 1]))),
            *(PartDelta(f"p{n}", text[a:b]) for a, b in pairwise(places)),
            PartDone(f"p{n}", grown(start, text)),
        ])  # fmt: skip
    events: list[Event] = [ResponseStarted("st_1.1", draw(odd_texts))]
    while open_parts:
        events.append(draw(st.sampled_from(open_parts)).pop(0))
        open_parts = [each for each in open_parts if each]
    if draw(st.booleans()):
        return [*events, ResponseDone(draw(st.sampled_from(get_args(FinishReason))))]
    return [*events[: draw(st.integers(1, len(events)))], ResponseFailed(draw(odd_texts), draw(odd_texts))]


@pytest.mark.parametrize("events", [SESSION, EVERY_EVENT, STRUCTURED, long_answer(30), HELLO])
def test_every_answer_keeps_the_rules_of_v2(events: list[Event]) -> None:
    check_v2(encoded(V2, events))


@settings(deadline=None)
@given(answers())
def test_any_answer_keeps_the_rules_of_both(events: list[Event]) -> None:
    Grammar().after(events)
    check_v2(encoded(V2, events))
    check_v1(said(V1, events))
