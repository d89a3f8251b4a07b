"""
One message of the assistant's, as far as it was said: what ``complete`` repeats of it.

A message is what the model says in one round of an answer.
"""

from __future__ import annotations

from io import StringIO
from typing import Any, Final

from ...wire import jsontext

__all__ = ["Message"]

_MOST: Final = 256 * 1024
"""Bytes of a text that are said again; an SDK looks through a long block once for each of its chunks."""


class Message:
    """What one message came to."""

    __slots__ = ("_ended", "_since", "content", "name", "reasoning")

    def __init__(self, name: str) -> None:
        self.name = name
        self.content, self.reasoning = Kept(), Kept()
        self._since = self._ended = 0.0

    def thinks(self, at: float) -> None:
        """A thought has begun, at a time in seconds."""
        self._since = self._since or at

    def thought(self, at: float) -> None:
        """A thought has ended."""
        self._ended = at

    def members(self) -> dict[str, Any]:
        """Return what ``complete`` says of it."""
        content, reasoning = self.content.whole(), self.reasoning.whole()
        lasted = round((self._ended - self._since) * 1000)
        return {
            **({} if content is None else {"content": content}),
            "messageId": self.name,
            **({"reasoning": reasoning} if reasoning else {}),
            **({"reasoningDuration": lasted} if self._since and lasted >= 0 else {}),
        }


class Kept:
    """A text that grows, kept unless it becomes too long to be repeated."""

    __slots__ = ("_size", "_text")

    def __init__(self) -> None:
        self._text, self._size = StringIO(), 0

    def add(self, piece: str) -> None:
        self._size += len(piece)
        if self._size <= _MOST:
            self._text.write(piece)

    def whole(self) -> str | None:
        """Return all of it; None if it is too long."""
        text = self._text.getvalue()
        return text if self._size <= _MOST and len(jsontext.quote(text)) <= _MOST else None
