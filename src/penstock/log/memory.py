"""
A log in a dictionary, for tests and first tries: it forgets when the process ends.

It keeps to the same rules as the durable ones. What is read is what the JSON of
an event says, not the object that was appended, which its owner might change.
"""

from __future__ import annotations

import time
from asyncio import Future, get_running_loop
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from ..cursor import Cursor
from ..errors import LogUnavailable
from ..events import Event, ResponseStarted, decode_events, encode_events
from . import Head, News, Record, StreamInfo, Watch, read_all
from .stream import REMEMBERED, Stream, admit, new_epoch, not_found

__all__ = ["MemoryLog"]


class _Held:
    """A stream with its records; ``starts`` are the offsets at which answers begin."""

    __slots__ = ("records", "starts", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.records: list[Record] = []
        self.starts: list[int] = []

    def extend(self, events: Sequence[Event], at: float, seal: bool) -> Head:
        end = self.stream.end
        new = [Record(n, at, event) for n, event in enumerate(events, end)]
        self.records += new
        self.starts += [n for n, event in enumerate(events, end) if type(event) is ResponseStarted]
        head = Head(Cursor(self.stream.head.cursor.epoch, end + len(events)), seal)
        self.stream.advance(head, at, new)
        return head

    def origin(self, offset: int) -> int:
        n = bisect_right(self.starts, offset)
        return self.starts[n - 1] if n else self.stream.first

    def forget(self, before: int) -> bool:
        """Forget whole answers before offset ``before``; say whether there was one."""
        cut = self.stream.cut(before, self.origin(before))
        del self.records[: cut - self.stream.first]
        del self.starts[: bisect_left(self.starts, cut)]
        moved, self.stream.first = cut > self.stream.first, cut
        return moved


class MemoryLog:
    """A :class:`~penstock.log.Log` that also lists, deletes, trims and expires."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._closed = False

    async def append(
        self, stream: str, events: Sequence[Event], *, expect: Cursor | None = None, seal: bool = False
    ) -> Head:
        self._check_open()
        stored = decode_events(encode_events(events))
        held = self._held.get(stream)
        admit(stream, held.stream.head if held else None, expect)
        now = time.time()
        if held is None:
            held = self._held[stream] = _Held(Stream(stream, Head(Cursor(new_epoch()), False), now))
        return held.extend(stored, max(now, held.stream.updated_at), seal)

    def push(
        self, stream: str, events: Sequence[Event], *, expect: Cursor, seal: bool = False
    ) -> Future[Head] | None:
        self._check_open()
        held = self._held.get(stream)
        if held is None:
            return None
        admit(stream, held.stream.head, expect)
        done: Future[Head] = get_running_loop().create_future()
        done.set_result(held.extend(events, max(time.time(), held.stream.updated_at), seal))
        return done

    def watch(self, stream: str, callback: News) -> Watch:
        return self._get(stream).stream.watch(callback)

    def read(self, stream: str, cursor: Cursor | None = None) -> AsyncIterator[Record]:
        return read_all(self, stream, cursor)

    async def batch(self, stream: str, cursor: Cursor | None, limit: int = 1000) -> list[Record]:
        held = self._get(stream)
        start = held.stream.place(cursor) - held.stream.first
        return held.records[start : start + limit]

    async def head(self, stream: str) -> Head:
        return self._get(stream).stream.head

    async def wait(self, stream: str, head: Head) -> Head:
        return await self._get(stream).stream.moved(head)

    async def origin(self, stream: str, offset: int) -> int:
        return self._get(stream).origin(offset)

    async def streams(
        self, *, before: str | None = None, limit: int = 100, sealed: bool | None = None
    ) -> list[StreamInfo]:
        self._check_open()
        names = list(reversed(self._held))
        if before is not None:
            names = names[names.index(self._get(before).stream.name) + 1 :]
        infos = (self._held[name].stream.info for name in names)
        return list(islice((i for i in infos if sealed in (None, i.head.sealed)), limit))

    async def delete(self, stream: str) -> None:
        self._get(stream).stream.close(not_found(stream))
        del self._held[stream]

    async def trim(self, stream: str, before: int) -> int:
        held = self._get(stream)
        held.forget(before)
        return held.stream.first

    async def expire(self, before: float) -> int:
        self._check_open()
        for held in list(self._held.values()):
            if held.stream.first and not held.records and held.stream.updated_at < before - REMEMBERED:
                await self.delete(held.stream.name)
        return sum(_expire(held, before) for held in self._held.values())

    async def aclose(self) -> None:
        self._closed = True
        for held in self._held.values():
            held.stream.close(_closed())

    def _get(self, stream: str) -> _Held:
        self._check_open()
        held = self._held.get(stream)
        if held is None:
            raise not_found(stream)
        return held

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()


def _expire(held: _Held, before: float) -> bool:
    young = bisect_left(held.records, before, key=lambda record: record.at)
    if young == len(held.records) > 0 and not held.stream.head.sealed:
        held.extend((), held.stream.updated_at, seal=True)
    return held.forget(held.stream.first + young)


def _closed() -> LogUnavailable:
    return LogUnavailable("the log is closed")
