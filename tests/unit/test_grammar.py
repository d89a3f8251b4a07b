"""What may follow what: each row of the tables, and what no row says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.errors import LocalProtocolError
from penstock.events import (
    Custom,
    Event,
    FilePart,
    MessageAdded,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    SourcePart,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
)
from penstock.grammar import PART, RESPONSE, TOOL, Grammar, State, Table
from streams import SESSION

START: Event = ResponseStarted("r1")

MAKE: dict[type[Event], Event] = {
    MessageAdded: MessageAdded("user"),
    ResponseStarted: START,
    StopRequested: StopRequested(),
    ResponseDone: ResponseDone("stop"),
    ResponseFailed: ResponseFailed("x", "y"),
    PartStarted: PartStarted("p", TextPart()),
    PartDelta: PartDelta("p", "a"),
    PartDone: PartDone("p", TextPart("a")),
    ToolStarted: ToolStarted("c", "f"),
    ToolDone: ToolDone("c"),
    ToolFailed: ToolFailed("c", "no"),
    ReviewRequested: ReviewRequested("c", "f", "d"),
    ReviewDone: ReviewDone("c", "d", "approved"),
    Custom: Custom("x"),
}
"""An event of each kind, all about the same part and the same call."""

BEFORE: dict[str, dict[State, list[type[Event]]]] = {
    "response": {
        State.IDLE: [],
        State.OPEN: [ResponseStarted],
        State.STOPPING: [ResponseStarted, StopRequested],
        State.DONE: [ResponseStarted, ResponseDone],
    },
    "part": {
        State.IDLE: [ResponseStarted],
        State.OPEN: [ResponseStarted, PartStarted],
        State.DONE: [ResponseStarted, PartStarted, PartDone],
    },
    "tool": {
        State.IDLE: [ResponseStarted],
        State.WAITING: [ResponseStarted, ReviewRequested],
        State.DECIDED: [ResponseStarted, ReviewRequested, ReviewDone],
        State.OPEN: [ResponseStarted, ToolStarted],
        State.DONE: [ResponseStarted, ToolStarted, ToolDone],
    },
}
"""How to come to each state of each machine."""

TABLES: dict[str, Table] = {"response": RESPONSE, "part": PART, "tool": TOOL}

READ: dict[str, Callable[[Grammar], State]] = {
    "response": lambda grammar: grammar.response,
    "part": lambda grammar: grammar.parts.get("p", State.IDLE),
    "tool": lambda grammar: grammar.tools.get("c", State.IDLE),
}

INNER = {kind for row in (*PART.values(), *TOOL.values()) for kind in row}
"""Events that one of the two smaller machines has a word in."""


def rows(machine: str) -> list[tuple[str, State, type[Event], State | None]]:
    """Every state of a machine with every event it is concerned with, and where that leads, if anywhere."""
    table = TABLES[machine]
    kinds = {kind for row in table.values() for kind in row} - (INNER if machine == "response" else set())
    return [(machine, state, kind, table[state].get(kind)) for state in BEFORE[machine] for kind in kinds]


ROWS = [row for machine in TABLES for row in rows(machine)]


@pytest.mark.parametrize(
    ("machine", "state", "kind", "after"), ROWS, ids=[f"{m}-{s.name}-{k.__name__}" for m, s, k, _ in ROWS]
)
def test_a_row(machine: str, state: State, kind: type[Event], after: State | None) -> None:
    before = Grammar().after([MAKE[each] for each in BEFORE[machine][state]])
    assert READ[machine](before) is state
    if after is None:
        with pytest.raises(
            LocalProtocolError, match=rf"{kind.__name__} cannot come here: .* is {state.name}"
        ):
            before.after([MAKE[kind]])
    else:
        assert READ[machine](before.after([MAKE[kind]])) is after


@pytest.mark.parametrize(
    "kind", sorted(INNER, key=repr), ids=[kind.__name__ for kind in sorted(INNER, key=repr)]
)
@pytest.mark.parametrize("state", list(RESPONSE), ids=lambda state: state.name)
def test_nothing_is_said_outside_of_a_response(state: State, kind: type[Event]) -> None:
    """Not even about parts that a failure left open."""
    way: list[list[Event]] = [[MAKE[each] for each in BEFORE["response"][state]]]
    if state is State.DONE:
        way.append([START, MAKE[PartStarted], MAKE[ToolStarted], MAKE[ResponseFailed]])
    assert (kind in RESPONSE[state]) == (state in (State.OPEN, State.STOPPING))
    for before in way:
        if kind not in RESPONSE[state]:
            with pytest.raises(LocalProtocolError, match=kind.__name__):
                Grammar().after([*before, MAKE[kind]])


def test_every_event_is_in_the_table() -> None:
    assert MAKE.keys() == set(get_args(Event)) == {kind for row in RESPONSE.values() for kind in row}


def test_a_whole_session_is_legal() -> None:
    assert not Grammar().after(SESSION).busy


@pytest.mark.parametrize("left", [MAKE[PartStarted], MAKE[ToolStarted], MAKE[ReviewRequested]])
def test_a_response_is_done_only_if_its_parts_and_calls_are(left: Event) -> None:
    with pytest.raises(LocalProtocolError, match=r"cannot be done, these are not: [pc]"):
        Grammar().after([START, left, MAKE[ResponseDone]])
    assert not Grammar().after([START, left, MAKE[ResponseFailed]]).busy


def test_a_part_ends_as_what_it_began() -> None:
    with pytest.raises(LocalProtocolError, match="began as TextPart, ends as ReasoningPart"):
        Grammar().after([START, MAKE[PartStarted], PartDone("p", ReasoningPart())])


@pytest.mark.parametrize("part", [FilePart(), SourcePart()])
def test_only_what_streams_has_deltas(part: Any) -> None:
    with pytest.raises(LocalProtocolError, match="it has no deltas"):
        Grammar().after([START, PartStarted("p", part), MAKE[PartDelta]])


def test_a_new_response_has_new_parts() -> None:
    once: list[Event] = [START, MAKE[PartStarted], MAKE[PartDone], MAKE[ResponseDone]]
    assert Grammar().after(once * 3).response is State.DONE


@given(st.integers(0, len(SESSION)))
def test_looking_ahead_changes_nothing(k: int) -> None:
    grammar = Grammar().after(SESSION[:k])
    seen = [(grammar.response, {**grammar.parts}, {**grammar.tools})]
    grammar.after(SESSION[k:])
    with pytest.raises(LocalProtocolError):
        grammar.after([*SESSION[k:], START, START])
    assert [(grammar.response, grammar.parts, grammar.tools)] == seen


def test_a_delta_costs_no_copy() -> None:
    grammar = Grammar().after([START, MAKE[PartStarted]])
    assert grammar.after([MAKE[PartDelta]] * 1000) is grammar


class Legal(RuleBasedStateMachine):
    """
    A model of its own -- sets of names, no tables -- must agree with the grammar
    about any event at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grammar = Grammar()
        self.busy = self.stopping = False
        self.open: dict[str, type] = {}
        self.closed: set[str] = set()
        self.calls: dict[str, str] = {}

    def offer(self, event: Event, legal: bool) -> bool:
        try:
            self.grammar = self.grammar.after([event])
        except LocalProtocolError:
            assert not legal, f"{event} was refused"
            return False
        assert legal, f"{event} was let through"
        return True

    keys = st.sampled_from("ab")
    kinds = st.sampled_from([TextPart(), ToolCallPart("a", "f"), SourcePart()])

    @rule()
    def start(self) -> None:
        if self.offer(START, not self.busy):
            self.busy, self.stopping = True, False
            self.open, self.closed, self.calls = {}, set(), {}

    @rule()
    def stop(self) -> None:
        if self.offer(StopRequested(), self.busy and not self.stopping):
            self.stopping = True

    @rule(event=st.sampled_from([MAKE[MessageAdded], MAKE[Custom]]))
    def at_any_time(self, event: Event) -> None:
        self.offer(event, True)

    @rule(key=keys, part=kinds)
    def begin(self, key: str, part: Any) -> None:
        if self.offer(PartStarted(key, part), self.busy and key not in self.open and key not in self.closed):
            self.open[key] = type(part)

    @rule(key=keys)
    def delta(self, key: str) -> None:
        self.offer(PartDelta(key, "x"), self.busy and self.open.get(key, SourcePart) is not SourcePart)

    @rule(key=keys, part=kinds)
    def end(self, key: str, part: Any) -> None:
        if self.offer(PartDone(key, part), self.busy and self.open.get(key) is type(part)):
            del self.open[key]
            self.closed.add(key)

    @rule(key=keys, step=st.sampled_from(["ask", "decide", "run", "done", "fail"]))
    def tool(self, key: str, step: str) -> None:
        at = self.calls.get(key, "")
        steps: dict[str, tuple[Event, tuple[str, ...], str]] = {
            "ask": (ReviewRequested(key, "f", "d"), ("",), "asked"),
            "decide": (ReviewDone(key, "d", "approved"), ("asked",), "decided"),
            "run": (ToolStarted(key, "f"), ("", "decided"), "running"),
            "done": (ToolDone(key), ("running",), "done"),
            "fail": (ToolFailed(key, "no"), ("", "decided", "running"), "done"),
        }
        event, before, after = steps[step]
        if self.offer(event, self.busy and at in before):
            self.calls[key] = after

    @rule()
    def finish(self) -> None:
        complete = not self.open and set(self.calls.values()) <= {"done"}
        if self.offer(MAKE[ResponseDone], self.busy and complete):
            self.busy = False

    @rule()
    def fail(self) -> None:
        if self.offer(MAKE[ResponseFailed], self.busy):
            self.busy = False

    @invariant()
    def agrees(self) -> None:
        assert self.grammar.busy == self.busy


TestLegal = Legal.TestCase
TestLegal.settings = hypothesis_settings(max_examples=300, stateful_step_count=40, deadline=None)
