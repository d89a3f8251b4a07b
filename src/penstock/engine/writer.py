"""
The only way into a stream.

A writer never appends an event that the grammar forbids, and it decides that at
the log's own end: compare, then append. If somebody else got there first, it
folds in what they wrote and checks again -- unless they wrote what only this
writer may write, in which case it has been replaced, stores nothing, and says so.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..cursor import Cursor
from ..errors import Conflict, StreamNotFound
from ..events import Event, MessageAdded, ReviewDone, StopRequested
from ..grammar import Grammar
from ..log import NEW, Head, Log

__all__ = ["Writer"]

_ANYBODY: Final = (MessageAdded, StopRequested, ReviewDone)
"""What may come from outside a run: a message, a stop, a decision."""

_BATCH: Final = 1024


class Writer:
    """
    Appends to one stream.

    An ``owner`` produces the stream's answers, and is fenced: once anybody else
    has written such an event, its appends raise Conflict. If a caller of
    :meth:`append` is cancelled, discard the writer: whether the events were
    stored is for a new one to read.
    """

    def __init__(self, log: Log, stream: str, *, owner: bool = True) -> None:
        self.stream = stream
        self.grammar = Grammar()
        self._log = log
        self._owner = owner
        self._cursor = NEW
        self._turn = asyncio.Lock()

    @property
    def cursor(self) -> Cursor:
        """The end of the stream as far as this writer knows."""
        return self._cursor

    async def append(self, *events: Event, seal: bool = False) -> Head:
        """
        Append ``events``, all or none.

        Raises:
            LocalProtocolError: the grammar forbids one of them.
            Conflict: another writer has taken this one's place.
            StreamSealed, LogUnavailable: from the log.
        """
        async with self._turn:
            while True:
                after = self.grammar.after(events)
                try:
                    head = await self._log.append(self.stream, events, expect=self._cursor, seal=seal)
                except Conflict:
                    await self._fold_theirs()
                else:
                    self.grammar, self._cursor = after, head.cursor
                    return head

    async def open(self) -> Head:
        """
        Take up an existing stream: fold what it holds since its last answer began.

        Raises: StreamNotFound.
        """
        head = await self._log.head(self.stream)
        origin = await self._log.origin(self.stream, head.cursor.offset)
        self._cursor = Cursor(head.cursor.epoch, origin)
        await self._fold(fenced=False)
        return head

    async def _fold_theirs(self) -> None:
        """Fold in what others have appended since this writer last looked."""
        if self._cursor == NEW and self._owner:
            raise Conflict(f"stream {self.stream!r} exists already")
        try:
            head = await self._log.head(self.stream)
        except StreamNotFound:
            raise Conflict(f"stream {self.stream!r} was deleted") from None
        if self._cursor == NEW:
            self._cursor = Cursor(head.cursor.epoch)
        if head.cursor.epoch != self._cursor.epoch:
            raise Conflict(f"stream {self.stream!r} was deleted and created anew")
        await self._fold(fenced=self._owner)

    async def _fold(self, *, fenced: bool) -> None:
        while records := await self._log.batch(self.stream, self._cursor, _BATCH):
            events = [record.event for record in records]
            if fenced and not all(isinstance(event, _ANYBODY) for event in events):
                raise Conflict(f"stream {self.stream!r} has another writer")
            self.grammar = self.grammar.after(events)
            self._cursor = Cursor(self._cursor.epoch, records[-1].offset + 1)
