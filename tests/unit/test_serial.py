"""One part at a time."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events import (
    TERMINAL,
    Custom,
    Event,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
    ToolStarted,
)
from penstock.grammar import Grammar
from penstock.serial import Serial
from streams import SESSION

ABOUT_PARTS = (PartStarted, PartDelta, PartDone)


def through(events: list[Event]) -> list[Event]:
    serial = Serial()
    return [passed for event in events for passed in serial.feed(event)]


def part_of(event: Event) -> str | None:
    return event.part_id if isinstance(event, ABOUT_PARTS) else None


@st.composite
def responses(draw: st.DrawFn) -> list[Event]:
    """A legal response: parts that overlap in any way, with other things between, done or failed."""
    events: list[Event] = [ResponseStarted("r1")]
    opened: list[str] = []
    count = draw(st.integers(0, 5))
    begun = 0
    for n in range(draw(st.integers(0, 40))):
        match draw(st.sampled_from(["begin", "delta", "delta", "end", "other"])):
            case "begin" if begun < count:
                begun += 1
                opened.append(f"p{begun}")
                events.append(PartStarted(f"p{begun}", TextPart()))
            case "delta" if opened:
                events.append(PartDelta(draw(st.sampled_from(opened)), str(n)))
            case "end" if opened:
                key = opened.pop(draw(st.integers(0, len(opened) - 1)))
                events.append(PartDone(key, TextPart(str(n))))
            case "other":
                others: list[Event] = [Custom(str(n)), ToolStarted(str(n), "f")]
                events.append(draw(st.sampled_from(others)))
    if draw(st.booleans()):
        return [*events, ResponseFailed("x", "y")]
    events += [PartDone(key, TextPart()) for key in draw(st.permutations(opened))]
    return [*events, *([] if any(isinstance(e, ToolStarted) for e in events) else [ResponseDone("stop")])]


@given(responses())
def test_parts_do_not_overlap(events: list[Event]) -> None:
    """Once a part has begun, nothing more is said of any other before it; only a failure leaves one open."""
    passed = through(events)
    said = [part_of(event) for event in passed if part_of(event)]
    runs = [key for key, _ in groupby(said)]
    assert len(runs) == len(set(runs))
    if not any(isinstance(event, ResponseFailed) for event in events):
        begun = [event for event in passed if isinstance(event, PartStarted | PartDone)]
        assert all(isinstance(event, PartStarted) == (n % 2 == 0) for n, event in enumerate(begun))


@given(responses())
def test_nothing_is_lost_and_each_part_keeps_its_order(events: list[Event]) -> None:
    passed = through(events)
    if isinstance(events[-1], TERMINAL) or not any(isinstance(event, PartStarted) for event in events):
        assert sorted(map(repr, passed)) == sorted(map(repr, events))
    for key in {part_of(event) for event in passed}:
        of_key = [event for event in events if part_of(event) == key]
        assert [event for event in passed if part_of(event) == key] == of_key[: len(passed)]


@given(responses())
def test_parts_come_in_the_order_in_which_they_began(events: list[Event]) -> None:
    began = [event for event in events if isinstance(event, PartStarted)]
    passed = [event for event in through(events) if isinstance(event, PartStarted)]
    assert passed == began[: len(passed)]


@given(responses())
def test_what_is_about_no_part_overtakes_none_that_is_held(events: list[Event]) -> None:
    passed = through(events)
    for n, event in enumerate(events):
        if part_of(event) is None and event in passed:
            before = {part_of(e) for e in events[:n] if isinstance(e, PartStarted)}
            begun = {part_of(e) for e in passed[: passed.index(event)] if isinstance(e, PartStarted)}
            assert before <= begun


@given(responses())
def test_what_comes_out_is_legal(events: list[Event]) -> None:
    Grammar().after(through(events))


@given(responses())
def test_what_is_in_order_passes_at_once(events: list[Event]) -> None:
    in_order, serial = through(events), Serial()
    if not any(isinstance(event, ResponseFailed) for event in events):
        assert [list(serial.feed(event)) for event in in_order] == [[event] for event in in_order]


def test_a_session_comes_through_response_by_response() -> None:
    """Each response starts afresh; after a failure too."""
    passed = through(SESSION)
    assert sorted(map(repr, passed)) == sorted(map(repr, SESSION))
    ends = [n for n, event in enumerate(passed) if isinstance(event, TERMINAL)]
    assert ends == [n for n, event in enumerate(SESSION) if isinstance(event, TERMINAL)]


@pytest.mark.parametrize("others", [10, 5000])
def test_a_held_part_is_let_through_in_one_pass(others: int) -> None:
    """Thousands of parts wait for the first, and each event is said once."""
    events: list[Event] = [PartStarted("p", TextPart())]
    for n in range(others):
        events += [
            PartStarted(f"p{n}", TextPart()),
            PartDelta(f"p{n}", "a"),
            PartDone(f"p{n}", TextPart("a")),
        ]
    serial = Serial()
    assert [e for event in events for e in serial.feed(event)] == events[:1]
    end = PartDone("p", TextPart())
    assert list(serial.feed(end)) == [end, *events[1:]]
