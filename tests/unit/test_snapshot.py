"""The tree, folded from the events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, json

from penstock.events import (
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
    SourcePart,
    StopRequested,
    TextPart,
    ToolCallPart,
)
from penstock.snapshot import Snapshot, apply, conversation, fold, grown, view
from streams import SESSION, long_answer

START = ResponseStarted("r1", "m")

GROWN: dict[str, tuple[Part, str, Part]] = {
    "text": (TextPart("a"), "b", TextPart("ab")),
    "reasoning": (ReasoningPart("a", "s"), "b", ReasoningPart("ab", "s")),
    "refusal": (RefusalPart(), "b", RefusalPart("b")),
    "call": (ToolCallPart("c", "f", "{"), "}", ToolCallPart("c", "f", "{}")),
    "data": (DataPart(), '{"a":[1]}', DataPart({"a": [1]})),
    "data that began": (DataPart(text='{"a"'), ":1}", DataPart({"a": 1})),
    "data that is null": (DataPart(), "null", DataPart(None)),
    "half of data": (DataPart(), '{"a":', DataPart(text='{"a":')),
    "no data": (DataPart(), "sorry", DataPart(text="sorry")),
    "data too deep": (DataPart(), "[" * 10_000, DataPart(text="[" * 10_000)),
    "data with half a pair": (DataPart(), '"\ud83d"', DataPart(text='"\ud83d"')),
    "a file": (FilePart("a/b"), "x", FilePart("a/b")),
    "a source": (SourcePart("u"), "x", SourcePart("u")),
    "nothing": (TextPart("a"), "", TextPart("a")),
}


@pytest.mark.parametrize(("part", "text", "whole"), GROWN.values(), ids=list(GROWN))
def test_grown(part: Part, text: str, whole: Part) -> None:
    assert grown(part, text) == whole


@given(st.lists(st.text(max_size=3)))
def test_a_part_is_its_deltas_until_it_is_done(deltas: list[str]) -> None:
    events: list[Event] = [START, PartStarted("p", TextPart()), *(PartDelta("p", delta) for delta in deltas)]
    [response] = fold(events).responses
    assert response.text() == "".join(deltas)
    [response] = fold([*events, PartDone("p", TextPart("other"))]).responses
    assert response.text() == "other", "the end of a part is right where it disagrees"


@given(st.integers(0, len(SESSION)))
def test_folding_in_two_goes_is_folding_in_one(k: int) -> None:
    snapshot = fold(SESSION[:k])
    view(snapshot)  # looking changes nothing
    for event in SESSION[k:]:
        apply(snapshot, event)
    assert snapshot == fold(SESSION)


def test_a_long_answer_is_not_joined_until_somebody_looks() -> None:
    snapshot = fold(long_answer(100_000)[:-2])
    assert snapshot.response is not None
    assert len(snapshot.response.parts["p2"].deltas) == 100_000
    assert snapshot.response.text().count(" ") == 100_000


STATUSES: dict[str, list[Event]] = {
    "open": [],
    "stopping": [StopRequested()],
    "done": [ResponseDone("stop")],
    "failed": [ResponseFailed("x", "y")],
}


@pytest.mark.parametrize(("status", "events"), STATUSES.items())
def test_status(status: str, events: list[Event]) -> None:
    [response] = fold([START, *events]).responses
    assert response.status == status
    assert (response.end is None) == (status in ("open", "stopping"))


def test_a_session() -> None:
    snapshot = fold(SESSION)
    first, second, third, fourth = snapshot.responses
    assert [type(part) for part in first.content()] == [ReasoningPart, TextPart, ToolCallPart, ToolCallPart]
    assert len(first.tools) == 5 and [custom.name for custom in first.customs] == ["provider.note"]
    assert second.text() == "High tide is at 🌊"
    assert third.content(0) == [DataPart({"a": 1})] and third.text(1) == "bc" and third.agent == "poet"
    assert fourth is snapshot.response and fourth.status == "failed" and fourth.text() == "Well"
    assert [type(turn).__name__ for turn in snapshot.turns] == [
        "MessageAdded", "MessageAdded", "Response", "MessageAdded", "Response", "MessageAdded", "Response",
        "MessageAdded", "Response",
    ]  # fmt: skip


def test_the_time_of_a_response_is_that_of_its_beginning() -> None:
    snapshot = Snapshot()
    for at, event in enumerate(SESSION):
        apply(snapshot, event, float(at))
    assert [SESSION[int(response.at)] for response in snapshot.responses] == [
        event for event in SESSION if isinstance(event, ResponseStarted)
    ]


def test_nothing_has_no_response() -> None:
    assert fold([]).response is None
    assert fold([PartDelta("p", "a")]).turns == []


def test_a_conversation_is_what_was_said() -> None:
    told = conversation(fold(SESSION))
    assert [message.role for message in told] == [
        "system", "user", "assistant", "tool", "assistant", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    assert told[-1] == MessageAdded("assistant", (TextPart("Well"),)), (
        "a failed answer counts as far as it came"
    )
    assert told[6] == MessageAdded("assistant", (DataPart({"a": 1}),)), "of several choices the first counts"
    assert conversation(fold([START])) == (), "an answer that said nothing is none"


def test_a_view_is_plain_json_and_tells_nothing_of_the_servers_own() -> None:
    shown: list[dict[str, Any]] = view(fold(SESSION))
    assert json.decode(json.encode(shown)) == json.decode(json.encode(shown, order="deterministic"))
    text = json.encode(shown).decode()
    assert "hush" not in text, "the request's settings"
    assert "Be terse" not in text, "a system message"
    assert [turn["type"] for turn in shown] == [
        "message.added", "response", "message.added", "response", "message.added", "response",
        "message.added", "response",
    ]  # fmt: skip
    assert shown[1]["end"]["finish_reason"] == "tool_calls"
    assert shown[1]["parts"][1] == {"part_id": "p2", "choice": 0, "kind": "text", "text": "Let me look."}
    assert shown[5]["agent"] == "poet"
    assert view(fold([START]))[0].keys() == {"type", "response_id", "model", "status", "parts"}


def test_a_response_without_an_end_has_no_usage() -> None:
    [response] = fold([START]).responses
    assert response.usage is UNSET
