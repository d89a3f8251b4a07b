"""
Where a reader stands.

A cursor counts what has been consumed: ``offset`` whole records, then ``frame``
wire frames of the next one -- because one event may become several frames in
some dialects, and a connection may break between two of them. So
``Cursor(epoch)`` is the beginning, and the cursors of one stream and dialect
sort in reading order.

``epoch`` changes when a stream is created anew under an old name: a cursor of
another epoch must fail loudly, never resume into somebody else's answer.

It travels in SSE ``id:`` and in ``Last-Event-ID``, and is opaque to clients.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from .errors import CursorGone

__all__ = ["Cursor"]

_LONGEST = 18  # decimal digits; anything longer was never ours


class Cursor(NamedTuple):
    """A place in a stream: ``offset`` records, then ``frame`` frames, of ``epoch``."""

    epoch: str
    offset: int = 0
    frame: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}" + (f".{self.frame}" if self.frame else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read what :meth:`__str__` wrote.

        Raises:
            CursorGone: the text is not a cursor.
        """
        epoch, _, rest = text.partition(".")
        offset, dot, frame = rest.partition(".")
        sound = epoch.isascii() and epoch.isalnum() and _decimal(offset)
        if not sound or (dot and not _decimal(frame)):
            raise CursorGone(f"not a cursor: {text[:64]!r}", field="cursor")
        return cls(epoch, int(offset), int(frame or 0))


def _decimal(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST
