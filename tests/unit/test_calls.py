"""The calls of an answer, and what a decision binds to."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from penstock.calls import arguments_of, calls, digest
from penstock.errors import InvalidJson
from penstock.events import (
    ROUND_DONE,
    Custom,
    Event,
    PartDone,
    PartStarted,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
)
from penstock.snapshot import Response, fold


def said(part_id: str, call_id: str, choice: int = 0) -> list[Event]:
    part = ToolCallPart(call_id, "f", "{}")
    return [PartStarted(part_id, part, choice), PartDone(part_id, part)]


def answer(*events: Event) -> Response:
    response = fold([ResponseStarted("s.1"), *events]).response
    assert response is not None
    return response


def test_what_became_of_each_call() -> None:
    asked = [ReviewRequested(key, "f", key) for key in ("b", "c", "d")]
    found = calls(
        answer(
            *said("p1", "a"), *said("p2", "b"), Custom(ROUND_DONE, {}),
            ToolStarted("a", "f"), *asked, ToolDone("a", 1), ReviewDone("c", "c", "approved"),
            ReviewDone("d", "d", "rejected"), ToolFailed("d", "no"), *said("p3", "c"), *said("p4", "d"),
        )
    )  # fmt: skip
    assert {key: call.round for key, call in found.items()} == {"a": 0, "b": 0, "c": 1, "d": 1}
    assert {key: call.waits for key, call in found.items()} == {"a": False, "b": True, "c": False, "d": False}
    assert found["a"].end == ToolDone("a", 1) and found["a"].started and found["a"].review is None
    assert found["d"].end == ToolFailed("d", "no") and found["d"].decision is not None


def test_only_calls_that_were_said_whole_count_and_those_of_the_first_choice() -> None:
    begun = PartStarted("p9", ToolCallPart("half", "f"))
    assert list(calls(answer(*said("p1", "a"), *said("p2", "other", 1), begun))) == ["a"]


BOUND: tuple[Any, ...] = ("st_1", "st_1.1", "c", "pay", {"to": "Ida", "sum": 3})


def test_a_digest_is_of_all_that_it_binds() -> None:
    others = [
        (*BOUND[:n], other, *BOUND[n + 1 :])
        for n, other in enumerate(("st_2", "st_1.2", "d", "play", {"to": "Ida", "sum": 4}))
    ]
    digests = [digest(*bound) for bound in (BOUND, *others)]
    assert all(one != other for one, other in combinations(digests, 2))
    assert all(len(each) == 64 and set(each) <= set("0123456789abcdef") for each in digests)


def bound(arguments: Any) -> str:
    return digest("st_1", "st_1.1", "c", "pay", arguments)


def test_the_order_of_arguments_makes_no_difference_and_what_they_are_does() -> None:
    assert bound({"sum": 3, "to": "Ida"}) == bound({"to": "Ida", "sum": 3})
    assert bound({"a": {"b": 1, "c": [1, 2]}}) == bound({"a": {"c": [1, 2], "b": 1}})
    assert bound({"a": [1, 2]}) != bound({"a": [2, 1]})
    assert bound({"sum": 3}) != bound({"sum": "3"})


@pytest.mark.parametrize(
    ("text", "value"), [("", {}), ("{}", {}), ('{"a":"\\ud83c"}', {"a": "\ufffd"}), (' {"a":1} ', {"a": 1})]
)
def test_arguments(text: str, value: object) -> None:
    assert arguments_of(ToolCallPart("c", "f", text)) == value


@pytest.mark.parametrize("text", ["{", "[]", "1", "null", "NaN", '{"a":NaN}', "[" * 10_000])
def test_what_is_no_object_is_no_arguments(text: str) -> None:
    with pytest.raises(InvalidJson):
        arguments_of(ToolCallPart("c", "f", text))
