"""
Reading what is settled: queries for connections that cannot write, on threads of their own.

Each query reads a bounded slice, and is one statement or one row, so that it
sees one state of the file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from ...cursor import Cursor
from ...errors import LogUnavailable
from .. import Head, Record, StreamInfo
from .files import LogFile
from .rows import Segment
from .tail import Row

__all__ = ["ROW", "Reads", "aged", "answer", "find", "forgotten", "page", "records", "young"]

P = ParamSpec("P")
R = TypeVar("R")

_THREADS = 2  # they share the interpreter; a second one is for when the disk makes one wait
_SLICE = 1024 * 1024  # bytes of events to decode for one answer

ROW = "SELECT id, name, epoch, first, next, origin, sealed, created_at, updated_at FROM streams"
_SEGMENT = "SELECT stream, first, count, origin, until, crc, meta, data FROM segments"
_AROUND = f"{_SEGMENT} WHERE stream = ? AND first <= ? ORDER BY first DESC LIMIT 1"
_ONWARDS = (
    f"{_SEGMENT} WHERE stream = ?1 AND first >= "
    "(SELECT max(first) FROM segments WHERE stream = ?1 AND first <= ?2) ORDER BY first"
)


class Reads:
    """The threads that read a log file."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._threads = ThreadPoolExecutor(_THREADS, "penstock-read")
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def ask(
        self, query: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what ``query`` finds. Raises: LogUnavailable, LogCorrupt."""
        loop = asyncio.get_running_loop()
        try:
            answer = loop.run_in_executor(self._threads, lambda: self._run(query, *args, **kwargs))
        except RuntimeError as error:  # the threads take no more
            raise LogUnavailable("the log is closed") from error
        return await answer

    def _run(
        self, query: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        with self._file.explained():
            return query(self._connection(), *args, **kwargs)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._file.read()
            self._connections.append(connection)
        return connection

    def close(self) -> None:
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()


def find(connection: sqlite3.Connection, names: Sequence[str]) -> list[Row]:
    """Return the rows of those streams that there are."""
    found = (
        connection.execute(f"{ROW} WHERE name = ? ORDER BY id DESC LIMIT 1", (name,)).fetchone()
        for name in names
    )
    return [Row(*row) for row in found if row]


def records(connection: sqlite3.Connection, stream: int, offset: int, limit: int) -> list[Record]:
    """
    Return records from ``offset`` on: at least one, up to about ``limit`` or a slice of bytes.

    Fewer than one where the segments do not hold ``offset``. Raises: ValueError.
    """
    found: list[Record] = []
    size = 0
    for row in connection.execute(_ONWARDS, (stream, offset)):
        segment = Segment(*row)
        if found and segment.first != found[-1].offset + 1:
            raise ValueError(f"there is a gap before offset {segment.first}")
        found += segment.records()
        size += len(segment.data)
        if len(found) - max(0, offset - found[0].offset) >= limit or size >= _SLICE:
            break
    skip = offset - found[0].offset if found else 0
    return found[skip : skip + limit]


def answer(connection: sqlite3.Connection, stream: int, offset: int) -> int:
    """Return where the answer around ``offset`` begins; -1 if none does. Raises: ValueError."""
    segment = _around(connection, stream, offset)
    if segment is None:
        return -1
    _, starts = segment.contents()
    return max((start for start in starts if start <= offset), default=segment.origin)


def _around(connection: sqlite3.Connection, stream: int, offset: int) -> Segment | None:
    row = connection.execute(_AROUND, (stream, offset)).fetchone()
    return row and Segment(*row)


def young(connection: sqlite3.Connection, stream: int, before: float) -> int | None:
    """Return the offset of the first settled record not older than ``before``. Raises: ValueError."""
    row = connection.execute(
        f"{_SEGMENT} WHERE stream = ? AND until >= ? ORDER BY first LIMIT 1", (stream, before)
    ).fetchone()
    if row is None:
        return None
    segment = Segment(*row)
    return segment.first + bisect_left(segment.times(), before)


def aged(
    connection: sqlite3.Connection, before: float, after: tuple[float, int], limit: int
) -> list[tuple[float, int, str]]:
    """Return (time of the oldest record, id, name) of streams that may have something to forget."""
    return connection.execute(
        "SELECT oldest_at, id, name FROM streams WHERE first < next AND name IS NOT NULL"
        " AND oldest_at < ? AND (oldest_at, id) > (?, ?) ORDER BY oldest_at, id LIMIT ?",
        (before, *after, limit),
    ).fetchall()


def forgotten(connection: sqlite3.Connection, before: float) -> list[str]:
    """Return names of streams of which nothing is left, and nothing new came since ``before``."""
    found = connection.execute(
        "SELECT name FROM streams WHERE first = next AND name IS NOT NULL AND updated_at < ?",
        (before,),
    )
    return [name for (name,) in found]


def page(
    connection: sqlite3.Connection, before: int, limit: int, sealed: bool | None
) -> list[tuple[int, StreamInfo]]:
    """Return up to ``limit`` streams with an id below ``before``, the youngest first."""
    only = {None: "", True: " AND sealed = 1", False: " AND sealed = 0"}[sealed]
    found = connection.execute(
        f"{ROW} WHERE id < ? AND name IS NOT NULL{only} ORDER BY id DESC LIMIT ?", (before, limit)
    )
    return [(row.id, _info(row)) for row in map(Row._make, found)]


def _info(row: Row) -> StreamInfo:
    head = Head(Cursor(row.epoch, row.next), bool(row.sealed))
    return StreamInfo(row.name, head, row.created_at, row.updated_at)
