"""Text that grows, and is cheap to copy while it does."""

from __future__ import annotations

from typing import Final

__all__ = ["Text"]

_BLOCK: Final = 256
"""Pieces that are joined into one string, which copies share."""


class Text:
    """
    Pieces of text, joined when somebody asks.

    An encoder is copied again and again while a long answer is said; a buffer
    would be copied as a whole, a list of all pieces would keep each alive.
    """

    __slots__ = ("_blocks", "_limit", "_pieces", "size")

    def __init__(self, limit: int | None = None) -> None:
        """``limit``: how many characters are worth keeping; of a longer text nothing is."""
        self.size = 0
        """Characters so far."""
        self._limit = limit
        self._blocks: list[str] = []
        self._pieces: list[str] = []

    @property
    def lost(self) -> bool:
        """Whether there were too many characters to keep."""
        return self._limit is not None and self.size > self._limit

    def add(self, piece: str) -> None:
        self.size += len(piece)
        if self.lost:
            self._blocks, self._pieces = [], []
            return
        self._pieces.append(piece)
        if len(self._pieces) == _BLOCK:
            self._blocks.append("".join(self._pieces))
            self._pieces = []

    def whole(self) -> str:
        """Return all of it; nothing if it is lost."""
        return "".join((*self._blocks, *self._pieces))
