"""
The only way into a stream.

A writer never appends an event that the grammar forbids, and it decides that at
the log's own end: compare, then append. If somebody else got there first, it
folds in what they wrote and checks again -- unless they wrote what only this
writer may write, in which case it has been replaced, stores nothing, and says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from ..cursor import Cursor
from ..errors import Conflict, LocalProtocolError, LogUnavailable, StreamNotFound
from ..events import Event, MessageAdded, ReviewDone, StopRequested
from ..grammar import Grammar
from ..log import FRESH, NEW, Head, Log, live

__all__ = ["Writer"]

_ANYBODY: Final = (MessageAdded, StopRequested, ReviewDone)
"""What may come from outside a run: a message, a stop, a decision."""

_BATCH: Final = 1024


_PATIENCE: Final = 0.1
"""Seconds to wait for another writer's append before trying again."""

_AHEAD: Final = 4
"""Appends that may be on their way to the disk before :meth:`Writer.push` asks to be waited for."""


class Writer:
    """
    Appends to one stream.

    An ``owner`` produces the stream's answers, and is fenced: once anybody else
    has written such an event, its appends raise Conflict. If a caller of
    :meth:`append` is cancelled, discard the writer: whether the events were
    stored is for a new one to read.
    """

    __slots__ = (
        "_appending", "_cursor", "_live", "_log", "_owner", "_pushed", "_stored", "_turn",
        "grammar", "stream",
    )  # fmt: skip

    def __init__(self, log: Log, stream: str, *, owner: bool = True, fresh: bool = False) -> None:
        """``fresh``: the name was minted for this writer, and is nobody else's."""
        self.stream = stream
        self.grammar = Grammar()
        self._log = log
        self._live = live(log)
        self._owner = owner
        self._cursor = FRESH if fresh else NEW
        self._turn = asyncio.Lock()
        self._appending = False
        self._pushed: deque[asyncio.Future[Head]] = deque()
        self._stored = NEW
        """The end as of the last append that is known to be stored."""

    @property
    def cursor(self) -> Cursor:
        """The end of the stream as far as this writer knows."""
        return self._cursor

    async def append(self, *events: Event, seal: bool = False) -> Head:
        """
        Append ``events``, all or none, and wait until they are durable.

        Raises:
            LocalProtocolError: the grammar forbids one of them.
            Conflict: another writer has taken this one's place.
            StreamSealed, LogUnavailable: from the log, for these events or pushed ones.
        """
        async with self._turn:
            self._appending = True
            try:
                await self.flush()
                return await self._append(events, seal)
            finally:
                self._appending = False

    async def _append(self, events: Sequence[Event], seal: bool) -> Head:
        while True:
            try:
                after = self.grammar.after(events)
            except LocalProtocolError:
                known = self._cursor
                if not known.epoch:
                    raise
                await self._fold_theirs()  # it may be allowed by what others have written
                if self._cursor == known:
                    raise
                continue
            try:
                head = await self._log.append(self.stream, events, expect=self._cursor, seal=seal)
            except Conflict:
                known = self._cursor
                await self._fold_theirs()
                if self._cursor == known:
                    await self._theirs_to_come()
            else:
                self.grammar, self._cursor, self._stored = after, head.cursor, head.cursor
                return head

    def push(self, events: Sequence[Event]) -> bool:
        """
        Append ``events`` without waiting; False, and nothing done, if they have to be waited for.

        What becomes of them is told by the next call of :meth:`append`, :meth:`flush` or this.
        Raises: LocalProtocolError, StreamSealed, LogUnavailable.
        """
        if self._live is None or self._appending:
            return False
        if len(self._pushed) >= _AHEAD and not self._keeps_up():
            return False
        after = self.grammar.after(events)
        try:
            future = self._live.push(self.stream, events, expect=self._cursor)
        except Conflict:
            return False  # append() finds out whose turn it is
        if future is None:
            return False
        self._pushed.append(future)
        self.grammar = after
        self._cursor = Cursor(self._cursor.epoch, self._cursor.offset + len(events))
        return True

    def _keeps_up(self) -> bool:
        """Take note of what is stored by now; say whether there is room for more."""
        pushed = self._pushed
        while pushed and pushed[0].done():
            self._note(pushed.popleft())
        return len(pushed) < _AHEAD

    async def room(self) -> None:
        """Wait until something of what was pushed is durable. Raises: LogUnavailable."""
        if self._pushed:
            await asyncio.wait((self._pushed[0],))
            self._keeps_up()

    async def flush(self) -> None:
        """Wait until all that was pushed is durable. Raises: LogUnavailable."""
        while self._pushed:
            await self.room()

    def _note(self, pushed: asyncio.Future[Head]) -> None:
        try:
            self._stored = pushed.result().cursor
        except BaseException:
            for other in self._pushed:
                other.add_done_callback(asyncio.Future.exception)  # they fail with it
            self._pushed.clear()
            raise

    async def open(self) -> Head:
        """
        Take up an existing stream, or take it up again after an append has failed.

        Folds what the stream holds since its last answer began.
        Raises: StreamNotFound; Conflict: it has had another writer meanwhile.
        """
        with suppress(LogUnavailable):
            await self.flush()  # what is on its way arrives first, or not at all
        head = await self._log.head(self.stream)
        origin = await self._log.origin(self.stream, head.cursor.offset)
        own = self._stored.offset if self._stored.epoch == head.cursor.epoch else head.cursor.offset
        self.grammar = Grammar()
        self._cursor = Cursor(head.cursor.epoch, origin)
        await self._fold(theirs_from=own)
        self._stored = self._cursor
        return head

    async def _fold_theirs(self) -> None:
        """Fold in what others have appended since this writer last looked."""
        if not self._cursor.epoch and self._owner:
            raise Conflict(f"stream {self.stream!r} exists already")
        try:
            head = await self._log.head(self.stream)
        except StreamNotFound:
            raise Conflict(f"stream {self.stream!r} was deleted") from None
        if not self._cursor.epoch:
            self._cursor = Cursor(head.cursor.epoch)
        if head.cursor.epoch != self._cursor.epoch:
            raise Conflict(f"stream {self.stream!r} was deleted and created anew")
        await self._fold(theirs_from=self._cursor.offset)

    async def _theirs_to_come(self) -> None:
        """Wait for what is in the way: it is on its way to the disk, where readers cannot see it yet."""
        head = await self._log.head(self.stream)
        if head.cursor[:2] == self._cursor[:2]:
            with suppress(TimeoutError):  # it may not arrive
                async with asyncio.timeout(_PATIENCE):
                    await self._log.wait(self.stream, head)

    async def _fold(self, *, theirs_from: int) -> None:
        """Fold records up to the end; those from ``theirs_from`` on are not of this writer."""
        while records := await self._log.batch(self.stream, self._cursor, _BATCH):
            theirs = [record.event for record in records if record.offset >= theirs_from]
            if self._owner and not all(isinstance(event, _ANYBODY) for event in theirs):
                raise Conflict(f"stream {self.stream!r} has another writer")
            self.grammar = self.grammar.after([record.event for record in records])
            self._cursor = Cursor(self._cursor.epoch, records[-1].offset + 1)
