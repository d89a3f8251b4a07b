"""
Frames of the three Opper wires (sections 2, 4, 5 and 7 of the contract), and the way back.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.cursor import Cursor
from penstock.dialects import Wire
from penstock.engine.demo import answer
from penstock.engine.voice import Voices
from penstock.events import (
    Custom,
    DataPart,
    Event,
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
from penstock.names import stream_name, uuid_of
from penstock.requests import Start
from penstock.snapshot import fold, grown
from penstock.wire import Frame
from streams import SEATED, SESSION, STREAM, STRUCTURED, WIRES, drain, kept, records, spoken, written

OURS = {name: wire for name, wire in WIRES.items() if name.startswith("opper")}
every_wire = pytest.mark.parametrize("wire", OURS.values(), ids=list(OURS))
V2, STRINGS, NARROW, V1, V3 = OURS.values()

NAME = stream_name(0x5A1D0C7E6F0E4A449D2B0D6F0F8F7A10)
SPAN = "5a1d0c7e-6f0e-4a44-9d2b-0d6f0f8f7a10"
BEGUN = ResponseStarted(f"{NAME}.1", "demo", "greet")


def encoded(wire: Wire, events: list[Event]) -> list[Frame]:
    encoder = wire.encoder()
    return [frame for record in records(events) for frame in encoder.encode(record)]


def said(wire: Wire, events: list[Event]) -> list[Any]:
    """The objects of the frames, without the first if that is the span, and without ``[DONE]``."""
    found = [json.loads(frame.data) for frame in encoded(wire, events) if frame.data != b"[DONE]"]
    return [each for each in found if "span_id" not in each]


def part(whole: Part, *deltas: str, key: str = "p1", choice: int = 0) -> list[Event]:
    """The events of a part that comes in ``deltas``."""
    pieces = [PartDelta(key, delta) for delta in deltas]
    return [PartStarted(key, type(whole)() if deltas else whole, choice), *pieces, PartDone(key, whole)]  # type: ignore[call-arg]


def data(text: str, *cuts: int) -> list[Event]:
    """The events of a data part whose JSON text is cut there."""
    places = [0, *cuts, len(text)]
    return part(grown(DataPart(), text), *(text[a:b] for a, b in pairwise(places)))


def answered(*parts: list[Event]) -> list[Event]:
    return [BEGUN, *(event for events in parts for event in events), ResponseDone("stop")]


# -- section 2.2 and 2.3, to the byte

GREETING = answered(part(TextPart("Welcome, Ida!"), "Welcome, ", "Ida!"))
SEATING = answered(
    data('{"host":"Boris","guests":[{"name":"Ida","vip":true}],"tables":12}', 11, 20),
)


def test_text_is_the_contracts_to_the_byte() -> None:
    assert written(V2, encoded(V2, GREETING)).decode() == (
        f'data: {{"span_id":"{SPAN}"}}\n\n'
        'data: {"delta":"Welcome, ","chunk_type":"text"}\n\n'
        'data: {"delta":"Ida!","chunk_type":"text"}\n\n'
    )


def test_data_is_the_contracts_to_the_byte() -> None:
    assert written(V2, encoded(V2, SEATING)).decode() == (
        f'data: {{"span_id":"{SPAN}"}}\n\n'
        'data: {"delta":"Bo","json_path":"host","chunk_type":"json"}\n\n'
        'data: {"delta":"ris","json_path":"host","chunk_type":"json"}\n\n'
        'data: {"delta":"Ida","json_path":"guests[0].name","chunk_type":"json"}\n\n'
        'data: {"delta":true,"json_path":"guests[0].vip","chunk_type":"json"}\n\n'
        'data: {"delta":12,"json_path":"tables","chunk_type":"json"}\n\n'
    )


def test_v1_is_the_recorded_form() -> None:
    assert written(V1, encoded(V1, GREETING)).decode() == (
        f'data: {{"span_id":"{SPAN}"}}\n\ndata: {{"delta":"Welcome, "}}\n\ndata: {{"delta":"Ida!"}}\n\n'
    )


V3_GOLDEN = (
    'data: {"type":"content","delta":"{\\"host\\":\\"Bo"}\n\n'
    'data: {"type":"content","delta":"ris\\"}"}\n\n'
    'data: {"type":"done","usage":{"input_tokens":9,"output_tokens":4,'
    '"reasoning_tokens":1,"cache_read_tokens":2}}\n\n'
    "event: complete\n"
    'data: {"data":{"host":"Boris"},"meta":{"function_name":"greet","script_cached":false,"execution_ms":625,'
    f'"llm_calls":1,"tts_calls":0,"image_gen_calls":0,"trace_uuid":"{SPAN}","finish_reason":"stop",'
    '"usage":{"input_tokens":9,"output_tokens":4,"reasoning_tokens":1,"cache_read_tokens":2},'
    '"models_used":["demo"]}}\n\n'
    "data: [DONE]\n\n"
)


def test_v3_is_the_contracts_to_the_byte() -> None:
    events = [BEGUN, *data('{"host":"Boris"}', 11), ResponseDone("stop", Usage(9, 2, 4, 1))]
    assert written(V3, encoded(V3, events)).decode() == V3_GOLDEN


def test_the_span_is_the_stream() -> None:
    for wire in (V2, STRINGS, NARROW, V1):
        first = json.loads(encoded(wire, GREETING)[0].data)
        assert first == {"span_id": uuid_of(NAME)} == {"span_id": SPAN}


# -- leaves


@pytest.mark.parametrize(
    ("text", "default", "strings"),
    [
        ('"Bo"', [{"delta": "Bo"}], [{"delta": "Bo"}]),  # a scalar at the root has no path
        ("-1.5", [{"delta": -1.5}], [{"delta": "-1.5"}]),
        ("false", [{"delta": False}], [{"delta": "false"}]),
        ("null", [{"delta": None}], []),
        ('""', [{"delta": ""}], [{"delta": ""}]),
        ("{}", [], []),
        ('{"a":{},"b":[],"c":[[]]}', [], []),
        ('{"a":""}', [{"delta": "", "json_path": "a"}], [{"delta": "", "json_path": "a"}]),
        ('{"a":null}', [{"delta": None, "json_path": "a"}], []),
        ("[0,[1]]", [{"delta": 0, "json_path": "[0]"}, {"delta": 1, "json_path": "[1][0]"}],
         [{"delta": "0", "json_path": "[0]"}, {"delta": "1", "json_path": "[1][0]"}]),
        ('{"a":[{"b":{"c":true}}]}', [{"delta": True, "json_path": "a[0].b.c"}],
         [{"delta": "true", "json_path": "a[0].b.c"}]),
        ('{"a.b":{"c[0]":1}}', [{"delta": 1, "json_path": "a.b.c[0]"}],  # nothing is escaped
         [{"delta": "1", "json_path": "a.b.c[0]"}]),
        ('{"":1}', [{"delta": 1, "json_path": ""}], [{"delta": "1", "json_path": ""}]),
        ('"\\ud83d"', [{"delta": "\ufffd"}], [{"delta": "\ufffd"}]),  # P1 cannot read half a pair
        ('{"\\ud83d":1}', [{"delta": 1, "json_path": "\ufffd"}], [{"delta": "1", "json_path": "\ufffd"}]),
    ],
)  # fmt: skip
def test_leaves(text: str, default: list[Any], strings: list[Any]) -> None:
    for wire, expected in ((V2, default), (STRINGS, strings)):
        for events in (data(text), data(text, *range(1, len(text))), part(grown(DataPart(), text))):
            found = said(wire, answered(events))
            assert all(each.pop("chunk_type") == "json" for each in found)
            assert joined(found) == expected


def joined(found: list[Any]) -> list[Any]:
    """Events of the same path as one."""
    whole: list[Any] = []
    for each in found:
        if whole and whole[-1].get("json_path") == each.get("json_path"):
            whole[-1]["delta"] += each["delta"]
        else:
            whole.append(each)
    return whole


@pytest.mark.parametrize("number", ["1.10", "12345678901234567890.5", "-0", "1E400", "0.1e-7"])
def test_a_number_is_as_the_model_wrote_it(number: str) -> None:
    events: list[Event] = [BEGUN, PartStarted("p1", DataPart()), PartDelta("p1", f'{{"n":{number}}}')]
    assert encoded(V2, events)[1].data.startswith(b'{"delta":%b,' % number.encode())
    assert encoded(STRINGS, events)[1].data.startswith(b'{"delta":"%b",' % number.encode())


def test_text_that_is_no_json_is_said_up_to_the_mistake() -> None:
    begun: list[Event] = [
        BEGUN,
        PartStarted("p1", DataPart()),
        PartDelta("p1", '{"a":"x","b":1 oops'),
        PartDelta("p1", "}"),
    ]
    failed = ResponseFailed("invalid_json", "not JSON")
    assert [each.get("delta") for each in said(V2, [*begun, failed])] == ["x", 1, None]
    done: list[Event] = [*begun, PartDone("p1", DataPart({"a": "y"})), ResponseDone("stop")]
    assert [each["delta"] for each in said(V2, done)] == ["x", 1], "what was said cannot be taken back"


def test_a_value_whose_text_began_with_no_json_is_said_when_it_is_done() -> None:
    fenced = part(DataPart({"a": "x", "b": [1]}), "```json\n", '{"a":"x","b":[1]}', "\n```")
    assert joined(said(V2, answered(fenced))) == [
        {"delta": "x", "json_path": "a", "chunk_type": "json"},
        {"delta": 1, "json_path": "b[0]", "chunk_type": "json"},
    ]


def test_a_value_too_deep_to_be_read_breaks_nothing() -> None:
    text = "[" * 600 + "]" * 600
    value = grown(DataPart(), text)
    assert isinstance(value, DataPart) and not value.text, "it can be stored"
    deep = part(value, text)
    for wire in OURS.values():
        assert encoded(wire, answered(deep, part(TextPart("x"), key="p2")))


def test_a_value_that_no_delta_said_is_said_when_it_is_done() -> None:
    silent: list[Event] = [PartStarted("p1", DataPart()), PartDone("p1", DataPart({"a": "x"}))]
    assert said(V2, answered(silent)) == [{"delta": "x", "json_path": "a", "chunk_type": "json"}]
    for wire in (NARROW, V1):
        assert said(wire, answered(silent)) == [{"delta": '{"a":"x"}'}]
    assert said(V3, answered(silent))[0] == {"type": "content", "delta": '{"a":"x"}'}


def test_the_end_of_a_text_may_say_more_than_its_deltas() -> None:
    for wire in OURS.values():
        deltas = [each.get("delta") for each in said(wire, answered(part(TextPart("abc"), "a", "b")))]
        assert deltas[:3] == ["a", "b", "c"]


# -- what is not said


SILENT: list[list[Event]] = [
    part(ReasoningPart("hm"), "hm"),
    part(SourcePart("https://tides.example")),
    [Custom("provider.note", 1)],
    [MessageAdded("user", (TextPart("Are you there?"),))],
    part(TextPart("another answer"), "another answer", choice=1),
    part(DataPart(1), "1", choice=2),
]


@every_wire
def test_what_this_wire_has_no_word_for_is_not_said(wire: Wire) -> None:
    silence = Counter(frame.data for frame in encoded(wire, answered()) if b'"meta"' not in frame.data)
    for events in SILENT:
        frames = encoded(wire, answered(events))
        assert Counter(frame.data for frame in frames if b'"meta"' not in frame.data) == silence


def test_tool_calls_are_said_in_v3_alone() -> None:
    calls: list[Event] = [
        PartStarted("p1", ToolCallPart("c1", "tide", '{"a')),
        PartStarted("p2", ToolCallPart("c2", "moon")),
        PartDelta("p2", "{"),
        PartDelta("p1", '":1'),
        PartDone("p2", ToolCallPart("c2", "moon", "{}")),
        PartDone("p1", ToolCallPart("c1", "tide", '{"a":1}')),
        *part(ToolCallPart("c3", "sun", "{}"), key="p3", choice=1),
    ]
    for wire in (V2, STRINGS, NARROW, V1):
        assert said(wire, answered(calls)) == []
    *chunks, done, complete = said(V3, answered(calls))
    assert chunks == [
        {"type": "tool_call_start", "tool_call_index": 0, "tool_call_id": "c1", "tool_call_name": "tide"},
        {"type": "tool_call_delta", "tool_call_index": 0, "tool_call_args": '{"a'},
        {"type": "tool_call_start", "tool_call_index": 1, "tool_call_id": "c2", "tool_call_name": "moon"},
        {"type": "tool_call_delta", "tool_call_index": 1, "tool_call_args": "{"},
        {"type": "tool_call_delta", "tool_call_index": 0, "tool_call_args": '":1'},
        {"type": "tool_call_delta", "tool_call_index": 1, "tool_call_args": "}"},
        {"type": "tool_call_delta", "tool_call_index": 0, "tool_call_args": "}"},
    ]
    assert done == {"type": "done"}, "nobody knows what was used"
    assert complete["data"] == ""
    assert complete["meta"]["tool_calls"] == [
        {"id": "c1", "name": "tide", "arguments": '{"a":1}'},
        {"id": "c2", "name": "moon", "arguments": "{}"},
    ]


def test_a_refusal_is_said_as_text() -> None:
    refusal = answered(part(RefusalPart("No."), "N", "o."))
    assert [each["delta"] for each in said(V2, refusal)] == ["N", "o."]
    assert said(V3, refusal)[-1]["data"] == "No."


def test_parts_that_overlap_are_said_one_after_the_other() -> None:
    for wire in (V2, STRINGS):
        texts = [each["delta"] for each in said(wire, STRUCTURED) if each["chunk_type"] == "text"]
        kinds = [each["chunk_type"] for each in said(wire, STRUCTURED)]
        assert "".join(texts) == "So be it." and kinds == sorted(kinds)
    text = "".join(each["delta"] for each in said(NARROW, STRUCTURED))
    assert text.endswith("}So be it.") and json.loads(text.removesuffix("So be it.")) == SEATED


# -- section 2.5: a failure never looks like success


@every_wire
def test_a_failure_is_the_last_word_and_nothing_held_back_is_lost(wire: Wire) -> None:
    events: list[Event] = [
        BEGUN, PartStarted("p1", TextPart()), PartStarted("p2", TextPart()),
        PartDelta("p2", "second"), PartDelta("p1", "first"), ResponseFailed("timeout", "too slow"),
    ]  # fmt: skip
    *deltas, last = said(wire, events)
    assert [each["delta"] for each in deltas] == ["first", "second"]
    assert last == (
        {"type": "error", "error": "too slow"}
        if wire is V3
        else {"chunk_type": "error", "error_type": "timeout", "error_message": "too slow"}
    )
    assert b"[DONE]" not in [frame.data for frame in encoded(wire, events)]
    assert "complete" not in [frame.event for frame in encoded(wire, events)]


def test_a_failure_breaks_the_connection_where_callers_could_not_see_it() -> None:
    breaks = {wire.dialect.name: wire.dialect.failure_breaks for wire in OURS.values()}
    assert breaks == {"opper": True, "opper/v1": True, "opper/v3": False}


# -- section 7: the safe common subset

BLOCK = re.compile(rb"(event: complete\n)?(id: [!-~]+\n)?data: (\{[ -\x7f]*\}|\[DONE\])\n\n")
NPM_2 = re.compile(rb"data: (.*)\n\n")
KEYS = {"delta": str | int | float | bool | None, "json_path": str, "chunk_type": str, "span_id": str,
        "error_type": str, "error_message": str}  # fmt: skip


def check_egress(wire: Wire, frames: list[Frame]) -> None:
    """What the strictest reader of each wire survives."""
    for frame in frames:
        block = wire.framing.write(frame)
        match = BLOCK.fullmatch(block)
        assert match, block
        assert not match[1] or wire is V3
        if match[3] == b"[DONE]":
            assert wire is V3
            continue
        value = json.loads(match[3])
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair
        if wire is not V3:
            check_chunk(wire, value)
        if wire in (V1, NARROW):
            assert NPM_2.fullmatch(wire.framing.write(Frame(frame.data)))


def check_chunk(wire: Wire, value: dict[str, Any]) -> None:
    assert value and value.keys() <= KEYS.keys()
    for key, each in value.items():
        assert isinstance(each, KEYS[key])
    if wire is not V2:
        assert all(isinstance(each, str) for each in value.values()), "no null, nothing but strings"
    if wire in (V1, NARROW):
        assert value.keys() in ({"delta"}, {"span_id"}, {"chunk_type", "error_type", "error_message"})


@every_wire
def test_what_leaves_is_in_the_safe_common_subset(wire: Wire) -> None:
    for events in (SESSION, STRUCTURED, GREETING, SEATING):
        frames = encoded(wire, events)
        check_egress(wire, frames)
        check_egress(
            wire, [Frame(frame.data, frame.event, "ab12.3.4") for frame in frames if wire.dialect.ids]
        )


@every_wire
def test_keepalives_are_blocks_of_their_own(wire: Wire) -> None:
    assert re.fullmatch(rb": [!-~]+\n\n", wire.framing.keepalive)


odd_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\u2029\x85\ufeff🌊\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | odd_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[int]:
    return sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=6)) - {len(text)})


@st.composite
def responses(draw: st.DrawFn) -> list[Event]:
    """A legal response of parts of all kinds, in any pieces, with JSON that may be broken, done or failed."""
    open_parts: list[list[Event]] = []
    for n in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([TextPart, RefusalPart, ReasoningPart, DataPart, ToolCallPart]))
        text = draw(odd_texts)
        if kind is DataPart:
            text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
            text += draw(st.sampled_from(["", "", "?"]))
        places = [0, *draw(cut(text)), len(text)]
        start: Part = ToolCallPart(f"c{n}", "f") if kind is ToolCallPart else kind()
        open_parts.append([
            PartStarted(f"p{n}", start, draw(st.sampled_from([0, 0, 0, 1]))),
            *(PartDelta(f"p{n}", text[a:b]) for a, b in pairwise(places)),
            PartDone(f"p{n}", grown(start, text)),
        ])  # fmt: skip
    events: list[Event] = [ResponseStarted("st_1.1", draw(odd_texts), draw(odd_texts))]
    while open_parts:
        rest = draw(st.sampled_from(open_parts))
        events.append(rest.pop(0))
        open_parts = [each for each in open_parts if each]
    if draw(st.booleans()):
        return [*events, ResponseDone("stop")]
    return [*events[: draw(st.integers(1, len(events)))], ResponseFailed(draw(odd_texts), draw(odd_texts))]


@settings(deadline=None)
@given(responses())
def test_whatever_is_said_is_in_the_safe_common_subset(events: list[Event]) -> None:
    Grammar().after(events)
    for wire in OURS.values():
        check_egress(wire, encoded(wire, events))


# -- there and back

plain_keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=".["), min_size=1)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | odd_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_keys, inner, max_size=4),
    max_leaves=12,
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The scalars in a value by their path."""
    match value:
        case dict():
            for key, each in value.items():
                yield from leaves(each, f"{path}.{key}" if path else key)
        case list():
            for n, each in enumerate(value):
                yield from leaves(each, f"{path}[{n}]")
        case _:
            yield path, value


def spelled(value: Any) -> Any:
    """A scalar as a string, the way JSON has it."""
    return value if isinstance(value, str) else json.dumps(value)


@st.composite
def cut_data(draw: st.DrawFn) -> tuple[Any, list[Event]]:
    """A value, and the answer that it is, in any pieces."""
    value = draw(plain_values)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return value, answered(data(text, *draw(cut(text))))


@settings(deadline=None)
@given(cut_data())
def test_leaves_gathered_by_path_are_the_value(given_: tuple[Any, list[Event]]) -> None:
    value, events = given_
    for wire in (V2, STRINGS):
        gathered: dict[str, Any] = {}
        for each in said(wire, events):
            path, delta = each.get("json_path", ""), each["delta"]
            gathered[path] = gathered[path] + delta if isinstance(gathered.get(path), str) else delta
        expected = dict(leaves(value))
        if wire is STRINGS:
            expected = {path: spelled(each) for path, each in expected.items() if each is not None}
        assert gathered == expected
        assert list(gathered) == list(expected), "depth first"


NOTHING = object()


def without_empties(value: Any) -> Any:
    """What is left of a value when nobody says its empty containers."""
    match value:
        case dict():
            kept = {
                key: left for key, each in value.items() if (left := without_empties(each)) is not NOTHING
            }
            return kept or NOTHING
        case list():
            items = [without_empties(each) for each in value]
            while items and items[-1] is NOTHING:
                items.pop()
            return [None if item is NOTHING else item for item in items] or NOTHING
        case _:
            return value


def decoded(wire: Wire, frames: list[Frame], **options: Any) -> list[Event]:
    assert wire.dialect.decoder is not None
    decoder = wire.dialect.decoder(**options)
    events = [event for frame in frames for event in decoder.decode(frame)]
    return [*events, *decoder.close()]


def parts_of(events: list[Event]) -> list[Part]:
    Grammar().after(events)
    [response] = fold(events).responses
    return response.content()


@settings(deadline=None)
@given(cut_data())
def test_data_comes_back_from_leaves_but_for_empty_containers(given_: tuple[Any, list[Event]]) -> None:
    value, events = given_
    back = decoded(V2, encoded(V2, events), structured=True)
    left = without_empties(value)
    assert parts_of(back) == ([] if left is NOTHING else [DataPart(left)])
    text = "".join(event.delta for event in back if isinstance(event, PartDelta))
    assert left is NOTHING or json.loads(text) == left, "the deltas are its JSON"


@settings(deadline=None)
@given(cut_data())
def test_data_comes_back_from_its_text(given_: tuple[Any, list[Event]]) -> None:
    value, events = given_
    for wire in (NARROW, V1, V3):
        assert parts_of(decoded(wire, encoded(wire, events), structured=True)) == [DataPart(value)]


def test_text_comes_back() -> None:
    for wire in OURS.values():
        back = decoded(wire, encoded(wire, GREETING))
        assert [event.delta for event in back if isinstance(event, PartDelta)] == ["Welcome, ", "Ida!"]
        assert parts_of(back) == [TextPart("Welcome, Ida!")]
        assert isinstance(back[-1], ResponseDone)
        assert back[0] == ResponseStarted("" if wire is V3 else SPAN)


def test_calls_and_usage_come_back_from_v3() -> None:
    call = ToolCallPart("c1", "tide", '{"a":1}')
    said_calls = [BEGUN, *part(TextPart("Hm"), "Hm"), PartStarted("p2", ToolCallPart("c1", "tide")),
                  PartDelta("p2", '{"a":1}'), PartDone("p2", call),
                  ResponseDone("tool_calls", Usage(9, 2, 4, 1), ("c1",))]  # fmt: skip
    back = decoded(V3, encoded(V3, said_calls))
    assert parts_of(back) == [TextPart("Hm"), call]
    end = back[-1]
    assert isinstance(end, ResponseDone) and isinstance(end.usage, Usage)
    assert (end.finish_reason, end.pending_calls) == ("tool_calls", ("c1",))
    assert (end.usage.input_tokens, end.usage.cached_input_tokens) == (9, 2)
    assert (end.usage.output_tokens, end.usage.reasoning_tokens) == (4, 1)


@every_wire
def test_a_failure_comes_back(wire: Wire) -> None:
    failed = [*GREETING[:-1], ResponseFailed("timeout", "too slow")]
    end = decoded(wire, encoded(wire, failed))[-1]
    assert isinstance(end, ResponseFailed) and end.message == "too slow"
    assert wire is V3 or end.code == "timeout"


SCHEMA = {
    "type": "object",
    "properties": {"host": {"type": "string"}, "tables": {"type": "integer"},
                   "guests": {"type": "array", "minItems": 2, "items": {"type": "string"}}},
    "required": ["host", "tables", "guests"],
}  # fmt: skip


@every_wire
def test_the_built_in_model_comes_back(wire: Wire) -> None:
    start = Start("demo", input=(MessageAdded("user", (TextPart("Seat them"),)),), output_schema=SCHEMA)
    events: list[Event] = [BEGUN, *(event for step in answer(start, 0) for event in step.events)]
    [value] = [each.value for each in parts_of(events) if isinstance(each, DataPart)]
    [back] = parts_of(decoded(wire, encoded(wire, events), structured=True))
    expected = {"host": value["host"], "tables": str(value["tables"]), "guests": value["guests"]}
    assert back == DataPart(expected if wire is STRINGS else value)


# -- law 1, where it is hardest


@every_wire
async def test_data_is_resumed_after_any_frame(wire: Wire) -> None:
    log = await kept(STRUCTURED)
    frames = await spoken(log, wire)
    places = [Cursor(Cursor.parse(frames[0].id).epoch), *(Cursor.parse(frame.id) for frame in frames)]
    assert wire is V1 or wire is NARROW or any(place.frame for place in places), (
        "some cuts are inside of events"
    )
    for k, cursor in enumerate(places):
        assert await spoken(log, wire, cursor) == frames[k:]
        assert await drain(await Voices(log).subscribe(STREAM, wire, cursor)) == written(wire, frames[k:])
