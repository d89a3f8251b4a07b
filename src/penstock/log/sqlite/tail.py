"""
What a SQLite log holds of one stream in memory: its tail.

A tail is the part of a stream that has not been settled into segments, as the
encoded entries of its journal rows, and the places at which the next ones go.
Three offsets rise one after the other: ``settled`` (the segments reach to here),
``stream.end`` (committed: readers see up to here) and ``assigned`` (handed out
to writers, on its way to the disk). If a commit fails, the third falls back to
the second.

All of it belongs to the event loop's thread.
"""

from __future__ import annotations

from asyncio import Future
from bisect import bisect_right
from collections.abc import Sequence
from itertools import count, repeat
from typing import NamedTuple

from msgspec import UNSET

from ...cursor import Cursor
from ...events import Event, PartDelta, ResponseStarted
from .. import Head, Record
from ..stream import Stream, new_epoch, not_found
from .rows import DELETED, SEALED, Entry, Kind, Settlement, records

__all__ = ["Row", "Tail"]

_KEPT = 64 * 1024  # bytes of settled entries that stay, for readers who are a little behind


class Row(NamedTuple):
    """A row of ``streams``, as far as a tail goes on from it."""

    id: int
    name: str
    epoch: str
    first: int
    next: int
    origin: int
    sealed: int
    created_at: float
    updated_at: float


class Tail:
    """The end of a stream, where it grows."""

    __slots__ = (
        "__weakref__", "assigned", "at", "deleted", "entries", "epoch", "id", "leaving", "name",
        "origin", "settled", "settled_origin", "settling", "size", "stream", "unsettled",
    )  # fmt: skip

    def __init__(self, id: int, name: str, epoch: str) -> None:
        self.id = id
        self.name = name
        self.epoch = epoch
        self.stream: Stream | None = None
        """None as long as nothing of it is committed."""
        self.deleted = False
        self.assigned: Head | None = None
        self.origin = -1
        """Where the last answer begins, as of ``assigned``; -1 if none does."""
        self.at = 0.0
        """The latest time given to a record; those of a stream never fall."""
        self.settled = 0
        self.settled_origin = -1
        """Where the last answer before ``settled`` begins; -1 if none does."""
        self.settling: Future[None] | None = None
        """Done when what was given to the writer thread to settle is."""
        self.leaving: Future[Head] | None = None
        """Done when its deletion is."""
        self.entries: list[Entry] = []
        self.size = 0
        """Bytes in ``entries``."""
        self.unsettled = 0
        """How many of ``entries``, counted from the last, are in no segment."""

    @classmethod
    def new(cls, id: int, name: str) -> Tail:
        return cls(id, name, new_epoch())

    @classmethod
    def load(cls, row: Row) -> Tail:
        """Go on from what is settled."""
        tail = cls(row.id, row.name, row.epoch)
        head = Head(Cursor(row.epoch, row.next), bool(row.sealed))
        tail.stream = Stream(row.name, head, row.created_at)
        tail.stream.first = row.first
        tail.stream.updated_at = tail.at = row.updated_at
        tail.assigned, tail.settled = head, row.next
        tail.origin = tail.settled_origin = row.origin
        return tail

    @property
    def known(self) -> Stream:
        """What readers see; only for a tail of which something is committed."""
        assert self.stream is not None
        return self.stream

    # Growing

    def assign(self, events: Sequence[Event], data: bytes, kind: Kind, now: float) -> tuple[Entry, Head]:
        """Give ``events`` their places. Returns them, and the end once they are committed."""
        first = self.assigned.cursor.offset if self.assigned else 0
        if now > self.at:
            self.at = now
        at = self.at
        starts: tuple[int, ...] = ()
        if ResponseStarted in map(type, events):
            starts = tuple(n for n, event in enumerate(events, first) if type(event) is ResponseStarted)
        entry = Entry(self.id, first, len(events), at, self.origin, starts, data, kind)
        if self.assigned is None:
            entry.name, entry.epoch = self.name, self.epoch
        if starts:
            self.origin = starts[-1]
        self.assigned = head = Head(Cursor(self.epoch, first + len(events)), kind == SEALED)
        return entry, head

    def retract(self, entry: Entry) -> None:
        """Take back places that could not be committed, the last entry first."""
        self.origin = entry.origin
        self.assigned = self.stream.head if self.stream else None

    def commit(self, entry: Entry, head: Head, events: Sequence[Event] = ()) -> None:
        """Let readers see what has been committed: ``events``, as they were given to :meth:`assign`."""
        self.entries.append(entry)
        self.unsettled += 1
        self.size += len(entry.data)
        if self.stream is None:
            self.stream = Stream(self.name, head, created_at=entry.at)
        elif entry.kind == DELETED:
            self.deleted = True
            self.stream.close(not_found(self.name))
        else:
            self.stream.advance(head, entry.at, _news(entry, events) if self.stream.watched else ())

    def replay(self, entry: Entry) -> None:
        """Commit what the journal had committed before. Raises: ValueError (it does not follow)."""
        if entry.first != (self.stream.end if self.stream else 0):
            raise ValueError(f"there is a gap before offset {entry.first}")
        sealed = entry.kind == SEALED or (self.stream is not None and self.stream.head.sealed)
        self.assigned = Head(Cursor(self.epoch, entry.end), sealed)
        self.origin = entry.starts[-1] if entry.starts else entry.origin
        self.at = entry.at
        self.commit(entry, self.assigned)

    # Settling

    def settlement(self, cut: tuple[int, float] | None = None) -> Settlement:
        """
        Return what the tables are to say of it now.

        ``cut`` is the offset of the record that is to be the oldest, and its time.
        """
        known = self.known
        first, oldest_at = cut or (known.first, None)
        if self.deleted:
            first, oldest_at = known.end, known.updated_at
        return Settlement(
            self.id, None if self.deleted else self.name, self.epoch, first, oldest_at, known.end,
            self.origin_of(known.end), known.head.sealed, known.created_at, known.updated_at,
            self.entries[len(self.entries) - self.unsettled :], self.size,
        )  # fmt: skip

    def settle(self, done: Settlement) -> None:
        """Take note of what has been settled, and let go of what nobody is likely to read."""
        self.settled, self.settled_origin = done.next, done.origin
        self.unsettled -= len(done.entries)
        self.known.first = done.first
        gone = 0
        for entry in self.entries[: len(self.entries) - self.unsettled]:
            if self.unsettled and self.size <= _KEPT:
                break
            self.size -= len(entry.data)
            gone += 1
        del self.entries[:gone]

    # Reading

    @property
    def held(self) -> int:
        """The offset from which on records are in memory."""
        return self.entries[0].first if self.entries else self.known.end

    def read(self, offset: int, limit: int) -> list[Record]:
        """Return up to about ``limit`` records from ``offset`` (which is held) on."""
        found: list[Record] = []
        at = bisect_right(self.entries, offset, key=_first) - 1
        for entry in self.entries[max(at, 0) :]:
            if len(found) >= limit:
                break
            found += records(entry.first, repeat(entry.at), entry.data)
        if found and found[0].offset < offset:
            del found[: offset - found[0].offset]
        del found[limit:]
        return found

    def origin_of(self, offset: int) -> int:
        """Return where the answer around ``offset`` (which is held) begins; -1 if none does."""
        if not self.entries:
            return self.settled_origin
        entry = self.entries[bisect_right(self.entries, offset, key=_first) - 1]
        n = bisect_right(entry.starts, offset)
        return entry.starts[n - 1] if n else entry.origin


def _first(entry: Entry) -> int:
    return entry.first


def _news(entry: Entry, events: Sequence[Event]) -> list[Record]:
    """
    Return the records of an entry for those who watch.

    Deltas are what they are; anything that may carry values of any kind is read
    back, so that it cannot differ from what a later reader gets.
    """
    for event in events:
        if type(event) is not PartDelta or event.extra is not UNSET:
            return records(entry.first, repeat(entry.at), entry.data)
    return list(map(tuple.__new__, repeat(Record), zip(count(entry.first), repeat(entry.at), events)))
