"""
What of a response is its content, and how it is said piece by piece.

The content is what Opper calls the answer: texts, refusals and data of the
first choice, one part after the other. Reasoning, tools and sources are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, json

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
    ToolCallPart,
)
from ...serial import Serial
from ...wire import Frame, jsontext

__all__ = ["Content", "Pieces", "payload", "said", "text"]

_KINDS: Final = (TextPart, RefusalPart, DataPart)


class Content:
    """Lets the events of the content through, in an order in which its parts do not overlap."""

    __slots__ = ("_heard", "_serial")

    def __init__(self) -> None:
        self._heard: set[str] = set()
        self._serial = Serial()

    def feed(self, event: Event) -> Iterator[Event]:
        """Take one event; yield those of the content that may be said now, and the terminal one."""
        match event:
            case PartStarted(part_id=key, part=part, choice=0) if isinstance(part, _KINDS):
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
        whole = part.arguments if isinstance(part, ToolCallPart) else text(part)
        rest = whole[self.sent :]
        return self.say(rest) if rest else ()


def text(part: Part) -> str:
    """Return a part of the content as text: data as JSON, or as much of it as came."""
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return text
        case DataPart(value=value, text=text):
            return text if value is UNSET else json.encode(value).decode()
        case _:
            return ""


def payload(parts: Iterable[Part]) -> Any | UnsetType:
    """Return the value of the data among ``parts``, the last if there are several; UNSET if there is none."""
    values = [part.value for part in parts if isinstance(part, DataPart) and part.value is not UNSET]
    return values[-1] if values else UNSET


def said(parts: Iterable[Part]) -> str:
    """Return the text among ``parts``; data that never became a value counts as text."""
    return "".join(text(part) for part in parts if not isinstance(part, DataPart) or part.value is UNSET)
