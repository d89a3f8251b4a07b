"""
Structured answers of ModelRelay (section 5.4 of the contract): patches, judged by the library `jsonpatch`.
"""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonpatch import JsonPatch
from msgspec.structs import replace

from penstock.cursor import Cursor
from penstock.dialects import get
from penstock.dialects.modelrelay.patches import Patches
from penstock.engine.demo import answer
from penstock.engine.voice import Voices
from penstock.events import (
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
    TextPart,
    ToolCallPart,
)
from penstock.requests import Start
from penstock.snapshot import grown
from penstock.wire import Frame
from streams import SEATED, STREAM, STRUCTURED, WIRES, drain, kept, records, spoken, written

V2 = WIRES["modelrelay"]
BUILTIN = get("modelrelay").wire(provider="builtin")
MIB: Final = 2**20
ASKED: Final = {"output_schema": {"type": "object"}}
BEGUN = ResponseStarted("st_1.1", "demo-1", request=ASKED)


def encoded(events: list[Event]) -> list[Frame]:
    encoder = BUILTIN.encoder()
    return [frame for record in records(events) for frame in encoder.encode(record)]


def said(events: list[Event]) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in encoded(events)]


def data(text: str, *cuts: int, value: Any = ..., key: str = "p1") -> list[Event]:
    """The events of a data part whose JSON text is cut there."""
    places = [0, *cuts, len(text)]
    whole: Part = grown(DataPart(), text) if value is ... else DataPart(value)
    return [
        PartStarted(key, DataPart()),
        *(PartDelta(key, text[a:b]) for a, b in pairwise(places)),
        PartDone(key, whole),
    ]


def answered(*parts: list[Event], end: ResponseDone | None = None) -> list[Event]:
    return [BEGUN, *(event for events in parts for event in events), end or ResponseDone("stop")]


def updates(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in found if each["type"] == "update"]


def states(found: list[dict[str, Any]]) -> list[Any]:
    """The document after each update."""
    document: Any = {}
    seen = []
    for each in updates(found):
        document = JsonPatch(each["patch"]).apply(document)
        seen.append(deepcopy(document))
    return seen


def check(found: list[dict[str, Any]]) -> Any:
    """What holds for every structured answer that is done; return its payload."""
    start, *between, completion = found
    assert (start["type"], start["stream_mode"], completion["type"]) == (
        "start",
        "structured-patch",
        "completion",
    )
    assert {each["type"] for each in between} <= {"update"}, "the TypeScript SDK throws at anything else"
    for each in between:
        assert each.keys() <= {"type", "delta", "patch", "complete_fields"}
        assert isinstance(each["patch"], list) and isinstance(each["complete_fields"], list)
        assert each.get("delta") != ""
    payload = completion["payload"]
    assert (states(found) or [{}])[-1] == payload, "the patched document is the payload"
    check_complete(found, payload)
    text = "".join(each.get("delta", "") for each in between)
    assert completion.get("content", text) == text
    return payload


def check_complete(found: list[dict[str, Any]], payload: Any) -> None:
    """A field that is complete stays so, and is in the document as it will be in the payload."""
    before: list[str] = []
    for each, document in zip(updates(found), states(found), strict=True):
        fields = each["complete_fields"]
        assert fields[: len(before)] == before
        before = fields
        for field in fields:
            assert at(document, field) == at(payload, field), field
    assert found[-1]["complete_fields"][: len(before)] == before


def at(value: Any, field: str) -> Any:
    """The value at a dotted path, in a document whose keys have no dots."""
    for key in field.split("."):
        value = value[key]
    return value


# -- the contract's example, and ours

SEA = {"title": "A quiet sea", "tags": ["calm", "blue"]}
SEA_TEXT = '{"title":"A quiet sea","tags":["calm","blue"]}'


def test_a_structured_answer_is_the_contracts() -> None:
    events = answered(data(SEA_TEXT, 15, 23, 38))
    start, *found, completion = said(events)
    assert start == {"type": "start", "request_id": "st_1.1", "model": "demo-1", "provider": "builtin",
                     "stream_mode": "structured-patch", "stream_version": "v2"}  # fmt: skip
    assert [(each["patch"], each["complete_fields"]) for each in found] == [
        ([{"op": "add", "path": "/title", "value": "A qui"}], []),
        ([{"op": "replace", "path": "/title", "value": "A quiet sea"}], ["title"]),
        ([{"op": "add", "path": "/tags", "value": ["calm"]}], ["title"]),
        ([{"op": "add", "path": "/tags/-", "value": "blue"}], ["title", "tags"]),
    ]
    assert (completion["payload"], completion["complete_fields"]) == (SEA, ["title", "tags"])
    assert (completion["content"], completion["stop_reason"]) == (SEA_TEXT, "end_turn")
    assert check([start, *found, completion]) == SEA


def test_an_answer_cut_at_its_worst_places() -> None:
    events: list[Event] = [replace(STRUCTURED[0], request=ASKED), *STRUCTURED[1:]]
    assert check(said(events)) == SEATED


PATCHES: Final[list[tuple[str, list[list[dict[str, Any]]]]]] = [
    ('{"a":{"b":{"c":1,|"d":2}}}', [
        [{"op": "add", "path": "/a", "value": {"b": {"c": 1}}}],
        [{"op": "add", "path": "/a/b/d", "value": 2}],
    ]),
    ('{"a":"x|y|z"}', [
        [{"op": "add", "path": "/a", "value": "x"}],
        [{"op": "replace", "path": "/a", "value": "xy"}],
        [{"op": "replace", "path": "/a", "value": "xyz"}],
    ]),
    ('{"a":"x|"}', [[{"op": "add", "path": "/a", "value": "x"}], []]),
    ('{"a":|""}', [[], [{"op": "add", "path": "/a", "value": ""}]]),
    ('{"a":["x|y"]}', [
        [{"op": "add", "path": "/a", "value": ["x"]}],
        [{"op": "replace", "path": "/a/0", "value": "xy"}],
    ]),
    ('{"a":[[1]|,[2,|3]]}', [
        [{"op": "add", "path": "/a", "value": [[1]]}],
        [{"op": "add", "path": "/a/-", "value": [2]}],
        [{"op": "add", "path": "/a/1/-", "value": 3}],
    ]),
    ('{"a":{}|,"b":[]}', [
        [{"op": "add", "path": "/a", "value": {}}],
        [{"op": "add", "path": "/b", "value": []}],
    ]),
    ('{"a/b~":1,|"":2}', [
        [{"op": "add", "path": "/a~1b~0", "value": 1}],
        [{"op": "add", "path": "/", "value": 2}],
    ]),
    ('{"a":1|2}', [[], [{"op": "add", "path": "/a", "value": 12}]]),
    ("{}", [[]]),
    ("[1,|2]", [  # the root is left alone unless it is no object
        [{"op": "add", "path": "", "value": [1]}],
        [{"op": "add", "path": "/-", "value": 2}],
    ]),
    ('"x|y"', [
        [{"op": "add", "path": "", "value": "x"}],
        [{"op": "replace", "path": "", "value": "xy"}],
    ]),
    ("17", [[], [{"op": "add", "path": "", "value": 17}]]),  # only the end of the text ends a number
]  # fmt: skip


@pytest.mark.parametrize(("cut", "expected"), PATCHES, ids=[cut for cut, _ in PATCHES])
def test_patches(cut: str, expected: list[list[dict[str, Any]]]) -> None:
    pieces = cut.split("|")
    found = said(answered(data("".join(pieces), *(len("".join(pieces[:n])) for n in range(1, len(pieces))))))
    assert [each["patch"] for each in updates(found)] == expected
    assert check(found) == json.loads("".join(pieces))


def test_of_a_key_that_comes_twice_the_last_value_counts() -> None:
    found = said(answered(data('{"a":1,"a":"xy"}', 7, 13)))
    assert [operation for each in updates(found) for operation in each["patch"]] == [
        {"op": "add", "path": "/a", "value": 1},
        {"op": "add", "path": "/a", "value": "x"},
        {"op": "replace", "path": "/a", "value": "xy"},
    ]
    assert states(found)[-1] == found[-1]["payload"] == {"a": "xy"}


def test_complete_fields_are_members_of_objects_and_of_objects_in_them() -> None:
    text = '{"a":{"b":1,"c":[{"d":2}]},"e":"x","":3,"f":{"":4}}'
    found = said(answered(data(text, *range(1, len(text)))))
    complete = found[-1]["complete_fields"]
    assert complete == ["a.b", "a.c", "a", "e", "f.", "f"]
    heard = [each["complete_fields"] for each in updates(found)]
    first = {field: next(n for n, fields in enumerate(heard) if field in fields) for field in complete}
    assert (
        first["a.b"] == text.index(",")
        and first["a.c"] == text.index("]")
        and first["a"] == text.index(',"e"') - 1
    )


# -- any value, in any pieces

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\u2028\u2029\x85\ufeff🌊\0/~"\\'))
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def values_of(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=16,
    )


@st.composite
def cut_data(draw: st.DrawFn) -> tuple[Any, list[Event]]:
    """A value, and the answer that it is, in any pieces."""
    value = draw(st.dictionaries(keys, values_of(keys), max_size=5) | values_of(keys))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=8)) - {len(text)})
    return value, answered(data(text, *cuts))


@settings(deadline=None, max_examples=300)
@given(cut_data())
def test_patches_of_the_empty_document_are_the_payload(given_: tuple[Any, list[Event]]) -> None:
    value, events = given_
    assert check(said(events)) == value


@settings(deadline=None)
@given(cut_data())
def test_every_state_is_a_value_on_its_way(given_: tuple[Any, list[Event]]) -> None:
    """Nothing that readers were shown is taken back."""
    value, events = given_
    for document in states(said(events)):
        assert document == {} or on_its_way(document, value), (document, value)


def on_its_way(early: Any, late: Any) -> bool:
    match early, late:
        case dict(), dict():
            return early.keys() <= late.keys() and all(on_its_way(early[key], late[key]) for key in early)
        case list(), list():
            return len(early) <= len(late) and all(map(on_its_way, early, late))
        case str(), str():
            return late.startswith(early)
        case _:
            return bool(early == late)


SCHEMA: Final = {
    "type": "object",
    "properties": {"host": {"type": "string"}, "tables": {"type": "integer"},
                   "guests": {"type": "array", "minItems": 2, "items": {"type": "string"}}},
    "required": ["host", "tables", "guests"],
}  # fmt: skip


def test_the_built_in_model_is_whole() -> None:
    start = Start("demo", input=(MessageAdded("user", (TextPart("Seat them"),)),), output_schema=SCHEMA)
    events: list[Event] = [BEGUN, *(event for step in answer(start, 0) for event in step.events)]
    [value] = [
        event.part.value
        for event in events
        if isinstance(event, PartDone) and isinstance(event.part, DataPart)
    ]
    assert check(said(events)) == value


# -- texts that are not the value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('```json\n{"a":"x"}\n```', {"a": "x"}),
        ('{"a":"x","b":{"c":1 oops}', {"a": "y", "d": [1]}),
        ('{"a":"x"}', {"a": "y"}),  # whole, but not what the part is
        ('{"a":"x"}', {"b": {"c": 1}}),
        ('{"a":"x"}', [1]),
        ("[1,2]", {"a": "x"}),
        ("[1,2]", "x"),
        ("[" * 600 + "]" * 600, {"a": 1}),  # deeper than is read
        ("", {"a": {"b": 1}}),
        ("", 3),
    ],
)
def test_the_value_that_a_part_is_done_with_is_right(text: str, value: Any) -> None:
    for cuts in ((), tuple(range(1, len(text), 3))):
        found = said(answered(data(text, *cuts, value=value) if text else data("", value=value)))
        document = states(found)[-1]
        assert document == found[-1]["payload"] == value
        complete = list(value) if isinstance(value, dict) else []
        assert {field.partition(".")[0] for field in found[-1]["complete_fields"]} == set(complete)


def test_data_that_comes_whole_is_said_in_one_update() -> None:
    found = said([BEGUN, PartStarted("p1", DataPart()), PartDone("p1", DataPart(SEA)), ResponseDone("stop")])
    assert check(found) == SEA and found[-1]["content"] == SEA_TEXT
    assert [each["op"] for each in updates(found)[0]["patch"]] == ["add", "add"]


def test_half_a_surrogate_pair_is_replaced() -> None:
    begun: list[Event] = [BEGUN, PartStarted("p1", DataPart()), PartDelta("p1", '{"a\\ud83d":"b\\ud83d","c')]
    frames = encoded(begun)
    assert json.loads(frames[1].data)["patch"] == [{"op": "add", "path": "/a\ufffd", "value": "b\ufffd"}]


# -- nothing else has a record


def test_other_parts_are_not_said() -> None:
    call = ToolCallPart("c1", "tide", '{"a":1}')
    other: list[Event] = [
        PartStarted("p2", TextPart("Well")), PartStarted("p3", ReasoningPart("hm")), PartStarted("p4", call),
        PartDone("p4", call), PartDone("p3", ReasoningPart("hm")), PartDone("p2", TextPart("Well, no")),
        *data('{"a":2}', 3, key="p5"),
    ]  # fmt: skip
    found = said(answered(data(SEA_TEXT, 7), other, end=ResponseDone("tool_calls", pending_calls=("c1",))))
    assert check(found) == SEA, "the first data is the answer"
    assert found[-1]["content"] == SEA_TEXT
    assert [call["function"] for call in found[-1]["tool_calls"]] == [
        {"name": "tide", "arguments": '{"a":1}'}
    ]


def test_an_answer_of_calls_alone_has_an_empty_payload() -> None:
    call = ToolCallPart("c1", "tide", "{}")
    events = answered([PartStarted("p1", call), PartDone("p1", call)], end=ResponseDone("tool_calls"))
    found = said(events)
    assert check(found) == {} and "content" not in found[-1]
    assert found[-1]["stop_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("parts", "end", "says"),
    [
        ([], ResponseDone("stop"), "end_turn"),
        (data('{"a":"x', 5), ResponseDone("length"), "max_tokens"),
        ([*data('{"a":"x', 5), PartStarted("p2", ToolCallPart("c1", "f")),
          PartDone("p2", ToolCallPart("c1", "f"))], ResponseDone("tool_calls"), "tool_calls"),
        (data('{"a":"x'), ResponseDone("cancelled"), "incomplete"),
        ([PartStarted("p1", RefusalPart("No.")), PartDone("p1", RefusalPart("No."))],
         ResponseDone("content_filter"), "content_filter"),
        ([PartStarted("p1", ReasoningPart("hm")), PartDone("p1", ReasoningPart("hm"))],
         ResponseDone("length"), "max_tokens"),
    ],
)  # fmt: skip
def test_an_answer_without_a_value_has_failed(parts: list[Event], end: ResponseDone, says: str) -> None:
    found = said(answered(parts, end=end))
    assert found[-1] == {
        "type": "error", "code": "INVALID_OUTPUT", "status": 502, "detail": "output_invalid",
        "message": f"the answer ended ({says}) without a whole JSON value",
    }  # fmt: skip
    assert [each["type"] for each in found].count("completion") == 0


def test_what_was_said_before_a_failure_is_not_withheld() -> None:
    text = '{"a":"' + "x" * 4000
    pieces: list[Event] = [PartDelta("p1", text[at : at + 4]) for at in range(0, len(text), 4)]
    begun: list[Event] = [BEGUN, PartStarted("p1", DataPart()), *pieces]
    waits = len(text) - sum(len(each["delta"]) for each in updates(said(begun)))
    assert waits > 4, "else this would prove nothing"
    found = said([*begun, ResponseFailed("timeout", "too slow")])
    assert "".join(each["delta"] for each in updates(found)) == text
    assert updates(found)[-1]["patch"] == [] and found[-1]["code"] == "PROVIDER_ERROR"


# -- law 12, and the size of records


def cost(text: str, size: int) -> float:
    """Bytes on the wire for each character, if it comes in pieces of ``size``."""
    frames = encoded(answered(data(text, *range(size, len(text), size))))
    return sum(len(frame.data) for frame in frames) / len(text)


SHAPES: Final = {
    "a string": lambda n: json.dumps({"a": "x" * n}),
    "one beside others": lambda n: json.dumps({"a": {"b": [1, {"c": "x" * n}]}, "d": "y" * 9}),
    "many fields": lambda n: json.dumps({f"field_{k}": k for k in range(n // 15)}),
    "many elements": lambda n: json.dumps(list(range(n // 6))),
    "elements under a long key": lambda n: json.dumps({"k" * (n // 2): list(range(n // 12))}),
    "fields under a long key": lambda n: json.dumps({"k" * (n // 2): {f"f{k}": 1 for k in range(n // 18)}}),
    "deep": lambda n: '{"a":' * 400 + json.dumps(list(range(n // 6))) + "}" * 400,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("size", [4, 500])
@pytest.mark.parametrize("length", [4_000, 40_000])
def test_a_character_costs_the_same_in_a_long_text(shape: Any, size: int, length: int) -> None:
    """However it is written: strings are said again, and so are paths and complete fields."""
    assert cost(shape(length), size) < 40 + 400 / size


def test_the_end_of_a_string_does_not_wait() -> None:
    text = json.dumps({"a": "x" * 4001, "b": 1})
    found = said(answered(data(text, *range(4, len(text), 4))))
    first = next(n for n, each in enumerate(updates(found)) if each["complete_fields"])
    heard = "".join(each["delta"] for each in updates(found)[: first + 1])
    assert heard.partition('",')[0] in text and len(heard) - text.index('",') <= 4
    assert states(found)[first] == {"a": "x" * 4001}


def test_a_long_string_is_still_said_as_it_grows() -> None:
    text = json.dumps({"a": "x" * 10_000})
    found = said(answered(data(text, *range(4, len(text), 4))))
    sizes = [len(document["a"]) for document in states(found) if document]
    assert len(sizes) > 200 and max(b - a for a, b in pairwise(sizes)) < 200


def test_the_end_of_a_long_string_says_nothing_else_again() -> None:
    text = json.dumps({"b": list(range(200)), "a": "x" * 4001})
    found = said(answered(data(text, *range(4, len(text), 4))))
    assert [(each["op"], each["path"]) for each in updates(found)[-1]["patch"]] == [("replace", "/a")]
    assert check(found) == json.loads(text)


def test_records_stay_below_a_mib_as_long_as_the_value_does() -> None:
    text = json.dumps({"a": "🌊" * 20_000, "b": ["🌊" * 20_000]}, ensure_ascii=False)
    for cuts in ((), range(1000, len(text), 1000)):
        frames = encoded(answered(data(text, *cuts)))
        assert max(len(frame.data) for frame in frames) < MIB


def test_no_piece_of_text_is_too_long_for_a_record() -> None:
    text = json.dumps({"a": "x" * 900_000})
    found = said(answered(data(text, *range(30_000, len(text), 30_000))))
    assert check(found) == json.loads(text)
    pieces = [each.get("delta", "") for each in updates(found)]
    assert "".join(pieces) == text and max(map(len, pieces)) <= 32 * 1024


def test_text_does_not_wait_for_ever_for_a_patch() -> None:
    key = "k" * 50_000
    waiting: list[Event] = [PartDelta("p1", f'"f{n}":{n},') for n in range(5_000)]
    events: list[Event] = [BEGUN, PartStarted("p1", DataPart()), PartDelta("p1", f'{{"{key}":{{'), *waiting]
    found = updates(said(events))
    text = sum(len(each["delta"]) for each in found)
    assert text > len(key) + 40_000 - 32 * 1024
    assert any(each["patch"] == [] for each in found)


# -- laws 1 and 4, where they are hardest


def asked_for() -> list[list[Event]]:
    text = json.dumps({"note": "wave 🌊 " * 60, "more": SEATED, "list": [SEA, "x" * 300]})
    return [
        [replace(STRUCTURED[0], request=ASKED), *STRUCTURED[1:]],
        answered(data(text, *range(13, len(text), 13))),
        answered(data('{"a":"x","b":{"c":1 oops', *range(1, 20), value={"a": "y"})),
    ]


@pytest.mark.parametrize("wire", [V2, WIRES["modelrelay-sse"]], ids=["ndjson", "sse"])
@pytest.mark.parametrize("events", asked_for())
async def test_data_is_resumed_after_any_frame(wire: Any, events: list[Event]) -> None:
    log = await kept(events)
    frames = await spoken(log, wire)
    places = [Cursor(Cursor.parse(frames[0].id).epoch), *(Cursor.parse(frame.id) for frame in frames)]
    assert places == sorted(set(places))
    for k, cursor in enumerate(places):
        assert await spoken(log, wire, cursor) == frames[k:]
        assert await drain(await Voices(log).subscribe(STREAM, wire, cursor)) == written(wire, frames[k:])


@pytest.mark.parametrize("events", asked_for())
def test_a_copy_of_an_encoder_goes_on_as_it_would(events: list[Event]) -> None:
    first, second = V2.encoder(), V2.encoder()
    for record in records(events):
        said_now = list(first.encode(record))
        assert list(second.encode(record)) == said_now
        second = deepcopy(second)


def test_a_mistake_is_not_read_over() -> None:
    patches = Patches()
    patches.feed('{"a":1 oops')
    patches.feed(',"b":2}')
    assert not patches.close() and patches.complete == ["a"]
    assert json.loads(b"[%b]" % patches.patch()) == [{"op": "add", "path": "/a", "value": 1}]
