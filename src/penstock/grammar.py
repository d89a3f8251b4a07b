"""
What may follow what in a stream.

Rule 1: every order of events is a row in a table here, and nowhere else.
Rule 2: this file does not know who writes, nor to which wire.

Three small machines run side by side: one for the response, one for each part
in it, one for each tool call. An event moves at most one of each. Several parts
may be open at once, because providers interleave parallel tool calls; wires
that allow only one use ``serial``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final, Self

from .errors import LocalProtocolError
from .events import (
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
    ReviewDone,
    ReviewRequested,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
)

__all__ = ["PART", "RESPONSE", "TOOL", "Grammar", "State"]


class State(Enum):
    IDLE = auto()
    OPEN = auto()
    STOPPING = auto()
    WAITING = auto()
    DECIDED = auto()
    DONE = auto()


IDLE, OPEN, STOPPING, WAITING, DECIDED, DONE = State

Table = Mapping[State, Mapping[type[Event], State]]

_ANY_TIME: Final = (MessageAdded, Custom)
_WITHIN: Final = (
    PartStarted, PartDelta, PartDone,
    ToolStarted, ToolDone, ToolFailed, ReviewRequested, ReviewDone,
)  # fmt: skip


def _stay(state: State, *groups: tuple[type[Event], ...]) -> dict[type[Event], State]:
    return {kind: state for group in groups for kind in group}


RESPONSE: Final[Table] = {
    IDLE: {**_stay(IDLE, _ANY_TIME), ResponseStarted: OPEN},
    OPEN: {
        **_stay(OPEN, _ANY_TIME, _WITHIN),
        StopRequested: STOPPING,
        ResponseDone: DONE,
        ResponseFailed: DONE,
    },
    STOPPING: {**_stay(STOPPING, _ANY_TIME, _WITHIN), ResponseDone: DONE, ResponseFailed: DONE},
    DONE: {**_stay(DONE, _ANY_TIME), ResponseStarted: OPEN},  # a session holds many answers
}

PART: Final[Table] = {
    IDLE: {PartStarted: OPEN},
    OPEN: {PartDelta: OPEN, PartDone: DONE},
    DONE: {},
}

TOOL: Final[Table] = {
    IDLE: {ReviewRequested: WAITING, ToolStarted: OPEN, ToolFailed: DONE},
    WAITING: {ReviewDone: DECIDED},
    DECIDED: {ToolStarted: OPEN, ToolFailed: DONE},  # a rejected call fails unstarted
    OPEN: {ToolDone: DONE, ToolFailed: DONE},
    DONE: {},
}

_STREAMED: Final[frozenset[type[Part]]] = frozenset(
    (TextPart, ReasoningPart, RefusalPart, DataPart, ToolCallPart)
)


class Grammar:
    """How far one stream has come. :meth:`after` is the only way forward."""

    __slots__ = ("kinds", "parts", "response", "tools")

    def __init__(self) -> None:
        self.response = IDLE
        self.parts: dict[str, State] = {}
        self.kinds: dict[str, type[Part]] = {}
        self.tools: dict[str, State] = {}

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self.response in (OPEN, STOPPING)

    def after(self, events: Iterable[Event]) -> Grammar:
        """
        Return the state after ``events``; this one stays as it is.

        Raises:
            LocalProtocolError: one of them may not come here.
        """
        state = self
        for event in events:
            if type(event) is PartDelta and state._flows(event.part_id):
                continue  # nearly every event of a stream; it changes nothing
            if state is self:
                state = self._copy()
            state._advance(event)
        return state

    def _flows(self, part_id: str) -> bool:
        return self.parts.get(part_id) is OPEN and self.kinds[part_id] in _STREAMED

    def _copy(self) -> Self:
        twin = type(self)()
        twin.response = self.response
        twin.parts, twin.kinds, twin.tools = {**self.parts}, {**self.kinds}, {**self.tools}
        return twin

    def _advance(self, event: Event) -> None:
        kind = type(event)
        self.response = _step(RESPONSE, self.response, kind, "the response")
        match event:
            case ResponseStarted() | ResponseFailed():
                self.parts, self.kinds, self.tools = {}, {}, {}  # what a failure left open stays so
            case PartStarted(part_id=key) | PartDelta(part_id=key) | PartDone(part_id=key):
                self.parts[key] = _step(PART, self.parts.get(key, IDLE), kind, f"part {key!r}")
                self._check_kind(event)
            case (
                ToolStarted(call_id=key) | ToolDone(call_id=key) | ToolFailed(call_id=key)
                | ReviewRequested(call_id=key) | ReviewDone(call_id=key)
            ):  # fmt: skip
                self.tools[key] = _step(TOOL, self.tools.get(key, IDLE), kind, f"tool call {key!r}")
            case ResponseDone():
                self._check_done()
            case _:
                pass

    def _check_kind(self, event: PartStarted | PartDelta | PartDone) -> None:
        match event:
            case PartStarted(part_id=key, part=part):
                self.kinds[key] = type(part)
            case PartDelta(part_id=key) if self.kinds[key] not in _STREAMED:
                raise LocalProtocolError(f"part {key!r} is a {self.kinds[key].__name__}: it has no deltas")
            case PartDone(part_id=key, part=part) if type(part) is not self.kinds[key]:
                began = self.kinds[key].__name__
                raise LocalProtocolError(f"part {key!r} began as {began}, ends as {type(part).__name__}")

    def _check_done(self) -> None:
        open_parts = [key for key, state in self.parts.items() if state is not DONE]
        open_tools = [key for key, state in self.tools.items() if state is not DONE]
        if open_parts or open_tools:
            still = ", ".join(open_parts + open_tools)
            raise LocalProtocolError(f"the response cannot be done, these are not: {still}")


def _step(table: Table, state: State, kind: type[Event], who: str) -> State:
    try:
        return table[state][kind]
    except KeyError:
        raise LocalProtocolError(f"{kind.__name__} cannot come here: {who} is {state.name}") from None
