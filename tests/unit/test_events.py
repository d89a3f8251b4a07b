"""Events as the JSON that logs store."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from penstock import events
from penstock.events import (
    TERMINAL,
    Custom,
    Event,
    MessageAdded,
    Part,
    PartDelta,
    ResponseDone,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    Usage,
    decode_events,
    encode_event,
    encode_events,
)
from penstock.grammar import RESPONSE
from streams import EVERY_EVENT

KINDS = get_args(Event)
PARTS = get_args(Part)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), v, max_size=3),
    max_leaves=5,
)
st.register_type_strategy(str, st.text(st.characters(codec="utf-8"), max_size=5))
ANY = {"arguments", "result", "data"}
FREE = {"extra": json_values.filter(lambda v: isinstance(v, dict)) | st.just(UNSET)}


def instances(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Events of one kind with arbitrary members."""
    members: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        members[field.name] = _member(kind, field)
    return st.builds(kind, **members)


def _member(kind: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    if field.name in ANY and field.type is Any:
        return json_values
    if field.name in ("extra", "request"):
        return st.just(UNSET) | st.dictionaries(
            st.text(st.characters(codec="utf-8")), json_values, max_size=2
        )
    if field.name == "parts":
        return st.lists(st.one_of([instances(part) for part in PARTS]), max_size=2).map(tuple)
    if field.name == "part":
        return st.one_of([instances(part) for part in PARTS])
    if field.name == "usage":
        return st.just(UNSET) | instances(Usage)
    if field.name == "expires_at":
        return st.just(UNSET) | st.floats(0, 1e10)
    if field.name == "answers":
        return st.just(UNSET) | instances(MessageAdded)
    if field.name in ("value", "output"):
        return st.just(UNSET) | json_values
    return st.from_type(field.type)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_an_event_comes_back_from_its_json(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(instances(kind))
    [again] = decode_events(encode_events([event]))
    assert again == event and type(again) is kind


def test_a_whole_stream_comes_back() -> None:
    assert decode_events(encode_events(EVERY_EVENT)) == EVERY_EVENT
    assert encode_events(EVERY_EVENT).count(b"\n") == len(EVERY_EVENT)


def test_the_session_has_an_event_of_every_kind() -> None:
    """Other tests rely on it."""
    assert {type(event) for event in EVERY_EVENT} == set(KINDS)


def test_every_event_has_a_name_in_one_of_the_families() -> None:
    families = {str(kind.__struct_config__.tag).partition(".")[0] for kind in KINDS}
    assert families == {"message", "response", "part", "tool", "custom"}
    assert len({kind.__struct_config__.tag for kind in KINDS}) == len(KINDS)


def test_every_event_has_a_row_in_the_grammar() -> None:
    assert {kind for row in RESPONSE.values() for kind in row} == set(KINDS)


def test_the_terminal_events_end_a_response() -> None:
    ending = {kind for row in RESPONSE.values() for kind, state in row.items() if state.name == "DONE"}
    assert set(TERMINAL) <= ending


STORED = {
    '{"type":"part.delta","part_id":"p1","delta":"a"}': PartDelta("p1", "a"),
    '{"type":"response.started","response_id":"r1"}': ResponseStarted("r1"),
    '{"type":"part.started","part_id":"p1","part":{"kind":"tool_call","call_id":"c","tool":"f"}}':
        events.PartStarted("p1", ToolCallPart("c", "f")),
    '{"type":"response.done","finish_reason":"stop","usage":{"input_tokens":3}}':
        ResponseDone("stop", Usage(3)),
    '{"type":"custom","name":"x"}': Custom("x"),
    '{"type":"message.added","role":"user","parts":[{"kind":"text","text":"a"}]}':
        events.MessageAdded("user", (TextPart("a"),)),
}  # fmt: skip


@pytest.mark.parametrize(("stored", "event"), STORED.items(), ids=[type(e).__name__ for e in STORED.values()])
def test_the_json_is_this(stored: str, event: Event) -> None:
    """What is on disks already must stay readable: this form does not change."""
    assert encode_event(event).decode() == stored
    assert decode_events(stored.encode()) == [event]


def test_members_of_a_later_version_are_passed_over() -> None:
    [event] = decode_events(
        json.dumps({"type": "part.delta", "part_id": "p", "delta": "a", "new": 1}).encode()
    )
    assert event == PartDelta("p", "a")


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"type":"no.such"}', b'{"type":"part.delta"}', b"\xff"])
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_events(line)


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_events_are_immutable(event: Event) -> None:
    name = msgspec.structs.fields(event)[0].name
    with pytest.raises(AttributeError):
        setattr(event, name, None)
