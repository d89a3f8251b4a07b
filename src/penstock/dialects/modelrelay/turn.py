"""
What of a response is told, and in which order.

A wire of these tells one answer: the first choice. Its *content* (texts,
refusals, data as JSON text) is told part after part, whatever overlapped. Tool
calls are told apart by their index and thoughts by their record, so that those
are told as they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import UNSET, Struct

from ...events import (
    TERMINAL,
    DataPart,
    Event,
    Extra,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    SourcePart,
    TextPart,
    ToolCallPart,
)
from ...requests import served
from ...serial import Serial
from ...snapshot import text_of

__all__ = [
    "CONTENT",
    "LONGEST",
    "CallBegun",
    "CallDone",
    "CallPiece",
    "Piece",
    "Thought",
    "Told",
    "Turn",
    "Value",
]

CONTENT: Final = (TextPart, RefusalPart, DataPart)

LONGEST: Final = 32 * 1024
"""
Characters in one piece. Escaped to ASCII one character has 12 bytes at most, and
a structured update says it twice: still less than the MiB that a record may have.
"""


class Piece(Struct, frozen=True):
    """Some of the content."""

    text: str


class Value(Struct, frozen=True):
    """Data is complete; all of its text was told before."""

    part: DataPart


class Thought(Struct, frozen=True):
    """Some reasoning."""

    text: str


class CallBegun(Struct, frozen=True):
    """A tool call; its arguments are told after this."""

    index: int
    call: ToolCallPart


class CallPiece(Struct, frozen=True):
    """Some of a call's arguments."""

    index: int
    text: str


class CallDone(Struct, frozen=True):
    """A call with its arguments as they were told: JSON, if the model can write it."""

    index: int
    call: ToolCallPart


Told = Piece | Value | Thought | CallBegun | CallPiece | CallDone


class _Open(Struct):
    """A part that has begun and not ended."""

    start: Part
    index: int = 0
    """Of a tool call."""
    sent: int = 0
    """Characters."""


class Turn:
    """A fold over the events of one response, after ``response.started``."""

    __slots__ = ("_kinds", "_open", "_serial", "_served", "_speaking", "calls", "sources")

    def __init__(self, asked: Extra = UNSET, kinds: tuple[type[Part], ...] = CONTENT) -> None:
        """
        Args:
            asked: the settings of the request, of which the tools that the server runs are not told.
            kinds: which parts are content; others of those that could be are not told.
        """
        self._served = served(asked)
        self.calls: dict[int, ToolCallPart] = {}
        """Calls by index, with their arguments once they are done."""
        self.sources: dict[str, SourcePart] = {}
        self._kinds = kinds
        self._open: dict[str, _Open] = {}
        self._serial = Serial()
        self._speaking = ""
        """The part of the content whose deltas are told at once."""

    def says(self, event: PartDelta) -> bool:
        """Whether a delta is told as it is, as one :class:`Piece`; it counts as told then."""
        if event.part_id != self._speaking or len(event.delta) > LONGEST:
            return False
        self._open[event.part_id].sent += len(event.delta)
        return True

    def feed(self, event: Event) -> Iterator[Told]:
        """Take one event; yield what is told now."""
        match event:
            case PartStarted(part_id=key, part=SourcePart() as source, choice=0):
                self.sources[key] = source
            case PartDone(part_id=key, part=SourcePart() as source) if key in self.sources:
                self.sources[key] = source
            case PartStarted(part_id=key, part=part, choice=0):
                yield from self._begin(key, part, event)
            case PartDelta(part_id=key) | PartDone(part_id=key) if key in self._open:
                content = isinstance(self._open[key].start, self._kinds)
                for passed in self._serial.feed(event) if content else (event,):
                    yield from self._tell(passed)
            case _ if isinstance(event, TERMINAL):
                for passed in self._serial.feed(event):
                    yield from self._tell(passed)
            case _:
                pass

    def _begin(self, key: str, part: Part, event: PartStarted) -> Iterator[Told]:
        match part:
            case ToolCallPart(tool=tool) if tool in self._served:
                pass
            case ToolCallPart():
                self._open[key] = _Open(part, len(self.calls))
                self.calls[len(self.calls)] = part
                yield from self._tell(event)
            case ReasoningPart():
                self._open[key] = _Open(part)
                yield from self._tell(event)
            case _ if isinstance(part, self._kinds):
                self._open[key] = _Open(part)
                for passed in self._serial.feed(event):
                    yield from self._tell(passed)
            case _:
                pass

    def _tell(self, event: Event) -> Iterator[Told]:
        match event:
            case PartStarted(part_id=key, part=part):
                begun = self._open[key]
                if isinstance(part, ToolCallPart):
                    yield CallBegun(begun.index, part)
                elif isinstance(part, self._kinds):
                    self._speaking = key
                yield from _pieces(begun, text_of(part))
            case PartDelta(part_id=key, delta=delta):
                yield from _pieces(self._open[key], delta)
            case PartDone(part_id=key, part=part):
                yield from self._end(self._open.pop(key), part)
            case _:
                pass

    def _end(self, begun: _Open, part: Part) -> Iterator[Told]:
        """Tell what no delta told, for a part may come whole. A value is spelled once only."""
        if isinstance(part, self._kinds):
            self._speaking = ""
        match part:
            case ToolCallPart(arguments=arguments):
                arguments += "" if arguments.strip() else "{}"  # no arguments are an empty object
                yield from _pieces(begun, arguments[begun.sent :])
                call = self.calls[begun.index] = ToolCallPart(part.call_id, part.tool, arguments)
                yield CallDone(begun.index, call)
            case DataPart():
                if part.value is UNSET or not begun.sent:
                    yield from _pieces(begun, text_of(part)[begun.sent :])
                yield Value(part)
            case _:
                yield from _pieces(begun, text_of(part)[begun.sent :])


def _pieces(begun: _Open, text: str) -> Iterator[Told]:
    begun.sent += len(text)
    for at in range(0, len(text), LONGEST):
        piece = text[at : at + LONGEST]
        match begun.start:
            case ToolCallPart():
                yield CallPiece(begun.index, piece)
            case ReasoningPart():
                yield Thought(piece)
            case _:
                yield Piece(piece)
