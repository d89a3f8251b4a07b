"""
What of a response is its content, and how it is said piece by piece.

The content is what Opper calls the answer: texts, refusals and data of the
first choice, one part after the other. Reasoning, tools and sources are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from ...events import (
    TERMINAL,
    DataPart,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    RefusalPart,
    TextPart,
)
from ...serial import Serial
from ...snapshot import text_of
from ...wire import Frame, jsontext

__all__ = ["KINDS", "Content", "Pieces", "payload", "said"]

KINDS: Final = (TextPart, RefusalPart, DataPart)


class Content:
    """Lets the events of the content through, in an order in which its parts do not overlap."""

    __slots__ = ("_heard", "_serial")

    def __init__(self) -> None:
        self._heard: set[str] = set()
        self._serial = Serial()

    def feed(self, event: Event) -> Iterator[Event]:
        """Take one event; yield those of the content that may be said now, and the terminal one."""
        match event:
            case PartStarted(part_id=key, part=part, choice=0) if isinstance(part, KINDS):
                self._heard.add(key)
            case PartDelta(part_id=key) | PartDone(part_id=key) if key in self._heard:
                pass
            case _ if isinstance(event, TERMINAL):
                pass
            case _:
                return
        yield from self._serial.feed(event)


class Pieces(Struct):
    """Says a part as it comes: its text, or the JSON text of its data."""

    head: bytes
    """Everything of a frame before its text."""
    tail: bytes
    sent: int = 0
    """Characters."""

    def say(self, piece: str) -> Iterable[Frame]:
        """Say what a delta adds."""
        self.sent += len(piece)
        return (Frame(self.head + jsontext.quote(piece) + self.tail),)

    def complete(self, part: Part) -> Iterable[Frame]:
        """Say what no delta said, for a part may come whole. A value is spelled once only."""
        if self.sent and isinstance(part, DataPart) and part.value is not UNSET:
            return ()
        rest = text_of(part)[self.sent :]
        return self.say(rest) if rest else ()


def payload(parts: Iterable[Part]) -> Any | UnsetType:
    """Return the value of the data among ``parts``, the last if there are several; UNSET if there is none."""
    values = [part.value for part in parts if isinstance(part, DataPart) and part.value is not UNSET]
    return values[-1] if values else UNSET


def said(parts: Iterable[Part]) -> str:
    """Return the text among ``parts``; data that never became a value counts as text."""
    return "".join(
        text_of(part)
        for part in parts
        if isinstance(part, KINDS) and not (isinstance(part, DataPart) and part.value is not UNSET)
    )
