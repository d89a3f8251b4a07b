"""Text, fields and values of a type, from events alone."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.asking import schema_of
from penstock.client.drafts import draft, validated
from penstock.client.folds import Drafts, Leaves, Pieces, caught_up, final, value_of
from penstock.errors import AnswerFailed, InvalidJson, OutputInvalid
from penstock.events import (
    DataPart,
    Event,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
)
from penstock.snapshot import Snapshot, fold


class Kind(enum.Enum):
    SOUP = "soup"
    SALAD = "salad"


class Step(msgspec.Struct):
    text: str
    minutes: int = 5


class Recipe(msgspec.Struct, rename="camel"):
    title: str
    made_by: str | None = None
    kind: Kind | None = None
    on: date | None = None
    steps: list[Step] = msgspec.field(default_factory=list)
    by_name: dict[str, Step] = {}
    sort: Literal["hot", "cold"] | None = None

    def __post_init__(self) -> None:
        assert self.title, "a draft has not run this"


@dataclass(frozen=True)
class Plain:
    title: str
    steps: list[str] = field(default_factory=list)
    both: tuple[int, str] | None = None


class Model(pydantic.BaseModel):
    title: str
    made_by: str | None = pydantic.Field(None, alias="madeBy")
    plain: Plain | None = None
    n: int = 3


VALUE: dict[str, Any] = {
    "title": "Soup — 🌊",
    "madeBy": "Ida",
    "kind": "soup",
    "on": "2026-11-20",
    "steps": [{"text": "boil"}, {"text": "eat", "minutes": 1}],
    "byName": {"boil": {"text": "b"}},
    "sort": "hot",
}


def answer(text: str, size: int = 3) -> list[Event]:
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    return [
        ResponseStarted("r"),
        PartStarted("p0", ReasoningPart()),
        PartDelta("p0", '{"no'),
        PartDone("p0", ReasoningPart('{"no')),
        PartStarted("p1", DataPart()),
        *(PartDelta("p1", piece) for piece in pieces),
        PartDone("p1", DataPart(json.loads(text))),
        ResponseDone("stop"),
    ]


def heard(fold: Callable[[Event, bool], Any], events: list[Event]) -> list[Any]:
    return [item for event in events for item in fold(event, False)]


@given(st.integers(1, 30))
def test_drafts_grow_and_the_last_is_valid(size: int) -> None:
    *drafts, whole = heard(Drafts(Recipe).feed, answer(json.dumps(VALUE), size))
    assert whole == msgspec.convert(VALUE, Recipe)
    assert all(isinstance(each, Recipe) for each in drafts)
    titles = [each.title or "" for each in drafts]
    assert all("Soup — 🌊".startswith(title) for title in titles) and titles == sorted(titles, key=len)
    assert {each.kind for each in drafts} <= {None, Kind.SOUP}
    assert {each.on for each in drafts} <= {None, date(2026, 11, 20)}
    assert all(isinstance(step, Step) for each in drafts for step in each.steps)


def test_a_draft_may_be_kept() -> None:
    drafts = heard(Drafts(Recipe).feed, answer(json.dumps(VALUE), 5))
    assert len({len(each.steps) for each in drafts}) == 3


def test_drafts_that_are_overtaken_are_left_out() -> None:
    fold = Drafts(Recipe).feed
    events = answer(json.dumps(VALUE), 5)
    told = [list(fold(event, not isinstance(event, ResponseDone))) for event in events]
    assert [len(each) for each in told] == [0] * (len(events) - 1) + [1]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Recipe, {}, {"title": None, "made_by": None, "steps": [], "by_name": {}}),
        (Recipe, {"madeBy": "I", "kind": "so", "on": "2026-", "sort": "ho"},
         {"made_by": "I", "kind": None, "on": None, "sort": None}),
        (Recipe, {"byName": {"a": {}}}, {"by_name": {"a": Step("", 0)}}),
        (Plain, {"both": [1]}, {"title": None, "both": (1,)}),
        (Model, {"madeBy": "I", "plain": {"title": "x"}}, {"made_by": "I", "n": 3, "title": None}),
    ],
)  # fmt: skip
def test_what_is_missing_is_the_default_or_none(kind: type, value: Any, expected: dict[str, Any]) -> None:
    made = draft(kind, value)
    assert isinstance(made, kind)
    for name, wanted in expected.items():
        found = getattr(made, name)
        if name == "by_name" and wanted:
            assert list(found) == ["a"] and isinstance(found["a"], Step) and found["a"].minutes == 5
        else:
            assert found == wanted


@pytest.mark.parametrize("kind", [Recipe, Plain, Model, list[int], dict[str, int]])
@given(value=st.recursive(st.none() | st.integers() | st.text() | st.booleans(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from(["title", "steps", "text", "plain", "both"]), inner)
)))  # fmt: skip
def test_no_value_breaks_a_draft(kind: Any, value: Any) -> None:
    draft(kind, value)


@pytest.mark.parametrize("kind", [Recipe, Plain, Model])
def test_what_does_not_fit_is_an_error(kind: Any) -> None:
    with pytest.raises(OutputInvalid, match=kind.__name__):
        validated(kind, {"title": 3})
    with pytest.raises(OutputInvalid):
        heard(Drafts(kind).feed, answer('{"n": "x"}'))


@pytest.mark.parametrize("kind", [Recipe, Plain, Model])
def test_a_type_is_a_schema_whose_root_is_an_object(kind: Any) -> None:
    schema = schema_of(kind)
    assert schema["type"] == "object" and "$ref" not in schema
    assert "title" in schema["properties"]


def test_a_type_that_has_no_schema_is_an_error() -> None:
    with pytest.raises(TypeError, match="int"):
        schema_of(int)


# -- fields


@given(st.integers(1, 30))
def test_fields_are_the_same_however_they_come(size: int) -> None:
    leaves = heard(Leaves().feed, answer(json.dumps(VALUE), size))
    title = "".join(leaf.piece for leaf in leaves if leaf.path == ("title",))
    assert title == VALUE["title"]
    assert [leaf.path for leaf in leaves if leaf.kind == "number"] == [("steps", 1, "minutes")]


def test_data_that_comes_whole_has_fields_too() -> None:
    part = DataPart({"n": 1})
    leaves = heard(Leaves().feed, [PartStarted("p1", part), PartDone("p1", part)])
    assert [(leaf.path, leaf.piece) for leaf in leaves] == [(("n",), "1")]


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(InvalidJson):
        heard(Leaves().feed, [PartStarted("p1", DataPart()), PartDelta("p1", '{"n": nope')])


# -- text


TEXT: list[Event] = [
    ResponseStarted("r"),
    PartStarted("p1", TextPart("A"), choice=0),
    PartStarted("p2", TextPart(), choice=1),
    PartDelta("p2", "other"),
    PartDelta("p1", "B"),
    PartDone("p1", TextPart("ABC")),
    PartDone("p2", TextPart("other")),
    PartStarted("p3", ReasoningPart()),
    PartDelta("p3", "hm"),
    PartDone("p3", ReasoningPart("hm")),
    ResponseDone("stop"),
]


def test_text_is_that_of_one_choice() -> None:
    assert heard(Pieces().feed, TEXT) == ["A", "B", "C"]
    assert heard(Pieces(1).feed, TEXT) == ["other"]


@pytest.mark.parametrize("make", [lambda: Pieces().feed, lambda: Leaves().feed, lambda: Drafts(Plain).feed])
def test_a_failed_answer_raises(make: Callable[[], Any]) -> None:
    with pytest.raises(AnswerFailed, match="oh"):
        heard(make(), [ResponseStarted("r"), ResponseFailed("x", "oh")])


@pytest.mark.parametrize("at", range(len(TEXT)))
def test_who_comes_back_goes_on(at: int) -> None:
    first = heard(Pieces().feed, TEXT[:at])
    rest = heard(caught_up(Pieces().feed, fold(TEXT[:at])), TEXT[at:])
    assert "".join(first + rest) == "ABC"


def test_half_a_value_is_gone_on_with() -> None:
    events = answer(json.dumps(VALUE), 7)
    *_, whole = heard(caught_up(Drafts(Recipe).feed, fold(events[:9])), events[9:])
    assert whole == msgspec.convert(VALUE, Recipe)


def test_what_was_not_heard_is_not_final() -> None:
    failed: list[Event] = [ResponseStarted("r"), ResponseFailed("x", "oh")]
    with pytest.raises(AnswerFailed, match="no answer"):
        final(Snapshot())
    with pytest.raises(AnswerFailed, match="oh"):
        final(fold(failed))
    with pytest.raises(OutputInvalid):
        value_of(final(fold(TEXT)), Plain)
    half: list[Event] = [
        ResponseStarted("r"),
        PartStarted("p", DataPart()),
        PartDone("p", DataPart(text="{")),
        ResponseDone("stop"),
    ]
    with pytest.raises(OutputInvalid, match="not JSON"):
        value_of(final(fold(half)), Plain)


def test_what_has_no_type_is_copied() -> None:
    value = {"a": [1]}
    kept = draft(dict[str, Any], value)
    value["a"].append(2)
    assert kept == {"a": [1]}
