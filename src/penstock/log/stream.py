"""
What every log knows of a stream it has at hand, and what it must refuse.

One :class:`Stream` holds the visible end of one stream, whoever waits for that
end to move, and the rules that are the same wherever records are kept. It does
no I/O and knows no records.
"""

from __future__ import annotations

import secrets
from asyncio import Future, get_running_loop
from collections.abc import Sequence
from functools import partial
from typing import Final

from ..cursor import Cursor
from ..errors import Conflict, CursorGone, LogError, StreamNotFound, StreamSealed
from . import FRESH, NEW, Head, News, Record, StreamInfo, Watch

__all__ = ["REMEMBERED", "Stream", "admit", "new_epoch", "not_found"]

REMEMBERED: Final = 30 * 86400.0
"""Seconds for which a stream that expired completely can still say so."""


def new_epoch() -> str:
    """Return what tells this life of a stream from any other of the same name."""
    return secrets.token_hex(4)


def not_found(name: str) -> StreamNotFound:
    return StreamNotFound(f"there is no stream {name!r}")


def admit(name: str, end: Head | None, expect: Cursor | None) -> None:
    """
    Let a writer append at ``end`` (None: there is no such stream), or say why not.

    Raises:
        Conflict: ``expect`` is elsewhere. It comes first: who is out of date must
            read on before anything else is of use to it.
        StreamSealed: the stream takes no more.
    """
    found = end.cursor if end else NEW
    if expect is not None and expect[:2] != found[:2] and not (end is None and expect == FRESH):
        raise Conflict(f"stream {name!r}: {_where(expect)} was expected, but {_where(found)}")
    if end and end.sealed:
        raise StreamSealed(f"stream {name!r} is sealed")


def _where(end: Cursor) -> str:
    return f"its end is {end}" if end.epoch else "there is none"


class Stream:
    """The visible end of one stream, and who waits for it to move."""

    __slots__ = ("_over", "_waiters", "_watchers", "created_at", "first", "head", "name", "updated_at")

    def __init__(self, name: str, head: Head, created_at: float) -> None:
        self.name = name
        self.head = head
        self.first = 0
        """The offset of the oldest record; the end, where there is none."""
        self.created_at = created_at
        self.updated_at = created_at
        self._waiters: set[Future[None]] = set()
        self._watchers: list[News] = []
        self._over: LogError | None = None

    @property
    def end(self) -> int:
        return self.head.cursor.offset

    @property
    def info(self) -> StreamInfo:
        return StreamInfo(self.name, self.head, self.created_at, self.updated_at)

    def place(self, cursor: Cursor | None) -> int:
        """
        Return the offset at which a reader with ``cursor`` goes on.

        Raises: CursorGone.
        """
        if cursor is None:
            if self.first and self.first == self.end:
                raise self._gone("all of it has been forgotten")
            return self.first
        if cursor.epoch != self.head.cursor.epoch:
            raise self._gone(f"the cursor {cursor} is of another stream that had this name")
        if cursor.offset < self.first:
            raise self._gone(f"the cursor {cursor} is forgotten; the oldest offset is {self.first}")
        if cursor.offset + (cursor.frame > 0) > self.end:
            raise self._gone(f"the cursor {cursor} is ahead of the end, {self.head.cursor}")
        return cursor.offset

    def _gone(self, why: str) -> CursorGone:
        return CursorGone(f"stream {self.name!r}: {why}", field="cursor")

    def cut(self, before: int, origin: int) -> int:
        """Return the new oldest offset if all ``before`` goes, whose answer began at ``origin``."""
        return self.end if self.head.sealed and before >= self.end else max(origin, self.first)

    @property
    def watched(self) -> bool:
        """Whether anybody wants to be told what is new."""
        return bool(self._watchers)

    def advance(self, head: Head, at: float, new: Sequence[Record] = ()) -> None:
        """Move the end, wake whoever waits for it, and tell whoever watches it what is ``new``."""
        self.head = head
        self.updated_at = at
        if self._waiters:
            waiters, self._waiters = self._waiters, set()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        if self._watchers:
            for watcher in tuple(self._watchers):
                watcher(head if self._over is None else None, new)

    def watch(self, callback: News) -> Watch:
        """Tell ``callback`` whenever the end moves, and when it never will again."""
        self._watchers.append(callback)
        return Watch(self.head, partial(self._watchers.remove, callback))

    def close(self, why: LogError) -> None:
        """Let nobody wait any longer: it is deleted, or its log is closed."""
        self._over = why
        self.advance(self.head, self.updated_at)

    async def moved(self, head: Head) -> Head:
        """Return the end once it differs from ``head``. Raises what :meth:`close` was given."""
        while self._over is None:
            if self.head != head:
                return self.head
            waiter: Future[None] = get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        raise type(self._over)(self._over.message)
