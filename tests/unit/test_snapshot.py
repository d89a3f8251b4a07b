"""The tree, folded from the events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, json

from penstock.events import (
    REWOUND,
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
    SourcePart,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
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


# -- rounds, waiting messages, history taken back


def _call(part_id: str, call_id: str) -> list[Event]:
    part = ToolCallPart(call_id, "f", "{}")
    return [PartStarted(part_id, part), PartDone(part_id, part)]


def test_what_tools_answered_stands_after_the_round_that_asked() -> None:
    text = TextPart("Rain.")
    told = conversation(
        fold(
            [
                ResponseStarted("s.1"), *_call("p1", "a"), *_call("p2", "b"), Custom(ROUND_DONE, {}),
                ToolStarted("a", "f"), ToolDone("a", "wet"), ToolFailed("b", "no"),
                PartStarted("p3", text), PartDone("p3", text), ResponseDone("stop"),
            ]
        )
    )  # fmt: skip
    assert told == (
        MessageAdded("assistant", (ToolCallPart("a", "f", "{}"), ToolCallPart("b", "f", "{}"))),
        MessageAdded("tool", (ToolResultPart("a", "wet"), ToolResultPart("b", {"error": "no"}))),
        MessageAdded("assistant", (text,)),
    )


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (ResponseDone("tool_calls", pending_calls=("a",)), True),
        (ResponseDone("cancelled"), False),
        (ResponseDone("max_iterations"), False),
        (ResponseFailed("interrupted", "gone"), False),
    ],
)
def test_a_call_that_nobody_will_answer_was_not_made(end: Event, kept: bool) -> None:
    told = conversation(fold([ResponseStarted("s.1"), *_call("p1", "a"), end]))
    assert bool(told) == kept


def _asks(message_id: str, *, waits: bool = False) -> MessageAdded:
    return MessageAdded("user", (TextPart(message_id),), message_id, request={} if waits else UNSET)


def test_a_message_that_waited_stands_before_its_answer() -> None:
    b, c = _asks("b", waits=True), _asks("c", waits=True)
    snapshot = fold(
        [
            _asks("a"), ResponseStarted("s.1"), b, c, ResponseDone("stop"),
            ResponseStarted("s.2", answers=b), StopRequested("ada", ("c",)), ResponseDone("cancelled"),
        ]
    )  # fmt: skip
    names = [
        turn.message_id if isinstance(turn, MessageAdded) else turn.response_id for turn in snapshot.turns
    ]
    assert names == ["a", "s.1", "b", "s.2", "c"]
    assert not snapshot.waiting and snapshot.dropped == {"c"}
    assert [message.message_id for message in conversation(snapshot)] == ["a", "b"]
    assert snapshot.response is not None and snapshot.response.answers == b


def test_a_message_that_waits_has_not_been_said() -> None:
    snapshot = fold([_asks("a"), ResponseStarted("s.1"), _asks("b", waits=True)])
    assert list(snapshot.waiting) == ["b"]
    assert [message.message_id for message in conversation(snapshot)] == ["a"]


def test_history_is_taken_back_but_names_are_not_given_again() -> None:
    done = ResponseDone("stop")
    snapshot = fold(
        [
            _asks("a"),
            ResponseStarted("s.1"),
            done,
            _asks("b"),
            ResponseStarted("s.2"),
            done,
            Custom(REWOUND, {"turns": 2}),
        ]
    )
    assert [turn for turn in snapshot.turns if isinstance(turn, MessageAdded)] == [_asks("a")]
    assert snapshot.response is not None and snapshot.response.response_id == "s.2"


def test_the_settings_of_a_message_that_waits_are_the_servers_own() -> None:
    message = MessageAdded("user", (TextPart("hi"),), "a", request={"instructions": "hush"})
    assert "hush" not in json.encode(view(fold([message]))).decode()
