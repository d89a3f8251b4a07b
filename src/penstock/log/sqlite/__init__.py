"""
A log in one SQLite file, for one process: durable, and fast enough for thousands of streams.

Appends of all streams within a commit window become one row of a journal, and
one commit. Until they are settled into segments, stream by stream, they also
stay in memory, so that readers at the live end cost no SQL. Three kinds of
threads do the waiting: one writes, one copies the write-ahead log, a few read.
All state is the event loop's; threads get values and give values back.

A stream at rest costs no memory: what is known of it is looked up when somebody
asks, and let go of again.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from typing import Concatenate, ParamSpec, Self, TypeVar

from ...cursor import Cursor
from ...errors import Conflict, LogError, LogUnavailable, StreamNotFound, StreamSealed
from ...events import Event, encode_events
from .. import FRESH, Head, News, Record, StreamInfo, Watch, read_all
from ..stream import REMEMBERED, admit, not_found
from . import reads
from .catalog import SQLiteCatalog
from .checkpoints import Checkpoints
from .files import Durability, LogFile
from .reads import Reads
from .replay import Replayed, replay
from .rows import DELETED, MORE, SEALED, Kind, Settlement
from .tail import Tail
from .tails import Tails
from .writer import Writer

__all__ = ["Durability", "SQLiteLog"]

P = ParamSpec("P")
R = TypeVar("R")

_PAGE = 256  # streams to look at together


class SQLiteLog:
    """A :class:`~penstock.log.Log` that also lists, deletes, trims and expires. See :meth:`open`."""

    def __init__(self, file: LogFile, durability: Durability, window: float, opened: _Opened) -> None:
        """Use :meth:`open`."""
        connection, replayed = opened
        self._file = file
        self._writer = Writer(file, connection, replayed.journal, replayed.last, window)
        self._checkpoints = Checkpoints(file, durability, self._writer)
        self._reads = Reads(file)
        self._tails = Tails(self._reads, self._writer, replayed.next_id)
        self.catalog = SQLiteCatalog(file, durability, self._reads, self._writer)
        """The agents in the same file, until :meth:`aclose`."""
        self._closing: asyncio.Future[None] | None = None
        for tail in replayed.tails:
            self._tails.restore(tail)
        self._writer.start(asyncio.get_running_loop(), self._tails.outcome)

    @classmethod
    async def open(
        cls, path: str | os.PathLike[str], durability: Durability = "process", window: float = 0.001
    ) -> Self:
        """
        Open the log in the file ``path``, which is created if need be.

        What has been acknowledged survives, with ``durability``:

        ``"process"``
            the end of this process, however it ends (``kill -9``, a crash). A
            power cut or a crash of the machine may take the last moments, but
            leaves what is before them whole.
        ``"power"``
            a power cut too, if the disk keeps its word. A commit waits for the disk.

        ``window`` is how many seconds an append waits for others, of any stream,
        to be committed together. The file belongs to this process until
        :meth:`aclose`; next to it are ``-wal``, ``-shm`` and ``.lock``.

        Raises:
            LogUnavailable: another process owns it, or it cannot be opened.
            LogVersion: it was written by a newer Penstock, or by another program.
            LogCorrupt: it is damaged, or not a database.
        """
        file = await asyncio.to_thread(LogFile.own, path)
        try:
            opened = await asyncio.to_thread(_open, file, durability)
        except BaseException:
            file.release()
            raise
        return cls(file, durability, window, opened)

    async def append(
        self, stream: str, events: Sequence[Event], *, expect: Cursor | None = None, seal: bool = False
    ) -> Head:
        self._check_open()
        data = encode_events(events)
        tail = self._tails.at_hand(stream)
        if tail is None or tail.leaving:
            tail = await self._growing(stream, expect)
        admit(stream, tail.assigned, expect)
        return await self._put(tail, events, data, SEALED if seal else MORE, time.time())

    def push(
        self, stream: str, events: Sequence[Event], *, expect: Cursor, seal: bool = False
    ) -> asyncio.Future[Head] | None:
        tail = None if self._closing else self._tails.at_hand(stream)
        if tail is None or tail.leaving:
            return None
        assigned = tail.assigned
        if assigned is None or assigned.sealed or assigned.cursor != expect:
            admit(stream, assigned, expect)
        return self._put(tail, events, encode_events(events), SEALED if seal else MORE, time.time())

    def watch(self, stream: str, callback: News) -> Watch:
        tail = self._tails.at_hand(stream)
        if tail is None or tail.stream is None or tail.deleted:
            raise not_found(stream)
        head, stop = tail.stream.watch(callback)
        return Watch(head, partial(_unwatch, stop, tail))

    def _put(
        self, tail: Tail, events: Sequence[Event], data: bytes, kind: Kind, now: float
    ) -> asyncio.Future[Head]:
        entry, head = tail.assign(events, data, kind, now)
        future: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._writer.put((tail, entry, head, future, events))
        return future

    async def _growing(self, stream: str, expect: Cursor | None) -> Tail:
        """Return the tail to append to; a new one, if there is no such stream and none is expected."""
        if expect == FRESH:
            return self._tails.create(stream)
        tail = await self._tails.find(stream)
        while tail and tail.leaving:
            await asyncio.wait([tail.leaving])
            tail = await self._tails.find(stream)
        self._check_open()
        if tail is None:
            admit(stream, None, expect)
            tail = self._tails.create(stream)
        return tail

    def read(self, stream: str, cursor: Cursor | None = None) -> AsyncIterator[Record]:
        return read_all(self, stream, cursor)

    async def batch(self, stream: str, cursor: Cursor | None, limit: int = 1000) -> list[Record]:
        tail = self._tails.at_hand(stream)
        if tail is None or tail.stream is None or tail.deleted:
            tail = await self._known(stream)
        offset = tail.known.place(cursor)
        return tail.read(offset, limit) if offset >= tail.held else await self._settled(tail, offset, limit)

    async def _settled(self, tail: Tail, offset: int, limit: int) -> list[Record]:
        found = await self._ask(tail, reads.records, tail.id, offset, min(limit, tail.settled - offset))
        tail.known.place(Cursor(tail.epoch, offset))  # it may have been forgotten meanwhile
        if not found:
            raise self._file.corrupt(f"stream {tail.name!r}", f"there is a gap at offset {offset}")
        return found

    async def head(self, stream: str) -> Head:
        return (await self._known(stream)).known.head

    async def wait(self, stream: str, head: Head) -> Head:
        tail = await self._known(stream)  # held on to while it waits, so that the stream keeps its one tail
        return await tail.known.moved(head)

    async def origin(self, stream: str, offset: int) -> int:
        tail = await self._known(stream)
        if offset >= tail.held:
            origin = tail.origin_of(offset)
        else:
            origin = await self._ask(tail, reads.answer, tail.id, offset)
        return max(origin, tail.known.first)

    async def streams(
        self, *, before: str | None = None, limit: int = 100, sealed: bool | None = None
    ) -> list[StreamInfo]:
        self._check_open()
        below = (await self._known(before)).id if before is not None else 1 << 62
        # What is unsettled now is in memory whole, and in the database in part.
        unsettled = dict(self._tails.unsettled)
        here = [
            (tail.id, tail.known.info)
            for tail in sorted(unsettled.values(), key=_id, reverse=True)
            if tail.id < below and not tail.deleted and sealed in (None, tail.known.head.sealed)
        ]
        there: list[tuple[int, StreamInfo]] = []
        while len(there) < limit:
            page = await self._reads.ask(reads.page, below, limit, sealed)
            there += [found for found in page if found[0] not in unsettled]
            if len(page) < limit:
                break
            below = page[-1][0]
        return [info for _, info in islice(merge(here, there, reverse=True), limit)]

    async def delete(self, stream: str) -> None:
        tail = await self._known(stream)
        if tail.leaving is None:
            tail.leaving = self._put(tail, (), b"", DELETED, time.time())
        await asyncio.shield(tail.leaving)

    async def trim(self, stream: str, before: int) -> int:
        tail = await self._known(stream)
        await self._forget(tail, before)
        return tail.known.first

    async def expire(self, before: float) -> int:
        self._check_open()
        for name in await self._reads.ask(reads.forgotten, before - REMEMBERED):
            await self._drop(name, before - REMEMBERED)
        await asyncio.gather(*(self._tails.settle(tail) for tail in self._tails.older(before)))
        lost = 0
        after = (0.0, 0)
        while page := await self._reads.ask(reads.aged, before, after, _PAGE):
            after = page[-1][:2]
            lost += sum(await asyncio.gather(*(self._expire(name, before) for *_, name in page)))
        return lost

    async def _drop(self, name: str, before: float) -> None:
        """Delete a stream of which nothing is left, unless it has come back to life."""
        tail = await self._tails.find(name)
        if tail and tail.known.first == tail.known.end and tail.known.updated_at < before:
            await self.delete(name)

    async def _expire(self, name: str, before: float) -> bool:
        try:
            tail = await self._known(name)
            if tail.known.updated_at < before:
                return await self._forget_all(tail)
            young = await self._ask(tail, reads.young, tail.id, before)
            return await self._forget(tail, tail.settled if young is None else young)
        except (Conflict, StreamNotFound, StreamSealed):
            return False  # somebody was there first: the next call looks again

    async def _forget_all(self, tail: Tail) -> bool:
        if not tail.known.head.sealed:
            admit(tail.name, tail.assigned, tail.known.head.cursor)
            await self._put(tail, (), b"", SEALED, tail.at)
        return await self._forget(tail, tail.known.end)

    async def _forget(self, tail: Tail, before: int) -> bool:
        """Forget whole answers before offset ``before``; say whether there was one."""
        known = tail.known
        cut = known.cut(before, await self.origin(tail.name, before))
        if cut <= known.first:
            return False
        at = known.updated_at
        if cut < known.end:
            at = (await self.batch(tail.name, Cursor(tail.epoch, cut), 1))[0].at
        await self._tails.settle(tail, (cut, at))
        if tail.deleted:
            raise not_found(tail.name)
        return True

    async def aclose(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await asyncio.to_thread(self._writer.join)
        rest = self._tails.stop(_closed())
        try:
            await asyncio.to_thread(self._release, rest)
        finally:
            self._tails.close()

    def _release(self, rest: list[Settlement]) -> None:
        try:
            self._writer.finish(rest)
        except LogError:
            # The journal has it all, and is where the next process goes on from.
            pass
        self.catalog.close()
        self._checkpoints.close()
        self._reads.close()
        self._writer.close()
        self._file.release()

    async def _known(self, stream: str) -> Tail:
        """Return the tail of a stream of which something is committed."""
        self._check_open()
        tail = self._tails.at_hand(stream)
        if tail is None or tail.deleted:
            tail = await self._tails.find(stream)
            self._check_open()
        if tail is None or tail.stream is None:
            raise not_found(stream)
        return tail

    async def _ask(
        self,
        tail: Tail,
        query: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Ask about one stream."""
        try:
            found = await self._reads.ask(query, *args, **kwargs)
        except ValueError as error:
            raise self._file.corrupt(f"stream {tail.name!r}", error) from error
        if tail.deleted:
            raise not_found(tail.name)
        return found

    def _check_open(self) -> None:
        if self._closing:
            raise _closed()


_Opened = tuple[sqlite3.Connection, Replayed]


def _open(file: LogFile, durability: Durability) -> _Opened:
    connection = file.write(durability)
    try:
        return connection, replay(file, connection)
    except BaseException:
        connection.close()
        raise


def _closed() -> LogUnavailable:
    return LogUnavailable("the log is closed")


def _id(tail: Tail) -> int:
    return tail.id


def _unwatch(stop: Callable[[], None], tail: Tail) -> None:
    """``tail`` is held on to until now, so that its stream keeps the one that is watched."""
    stop()
