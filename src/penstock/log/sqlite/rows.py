"""
What the rows of a SQLite log hold: entries in the journal, segments of a stream.

An entry is one append. A segment is several of them in a row, put together. Both
carry a checksum, because SQLite has none, and a damaged text is still a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, repeat
from typing import Final, Literal, NamedTuple
from zlib import crc32

from msgspec import Struct, msgpack

from ...events import decode_events
from .. import Record

__all__ = [
    "DELETED",
    "MORE",
    "SEALED",
    "Entry",
    "Kind",
    "Segment",
    "Settlement",
    "pack",
    "records",
    "segments",
    "unpack",
]

Kind = Literal[0, 1, 2]
MORE: Final = 0
SEALED: Final = 1
DELETED: Final = 2

_SEGMENT_BYTES = 64 * 1024  # large enough to read a stream quickly, small enough to read one record


class Entry(Struct, array_like=True, gc=False):
    """One append, as the journal keeps it."""

    stream: int
    first: int
    count: int
    at: float
    origin: int
    """Where the last answer before ``first`` begins; -1 if none does."""
    starts: tuple[int, ...]
    """The offsets at which answers begin here."""
    data: bytes
    kind: Kind = MORE
    """What it makes of the stream besides longer."""
    name: str = ""
    """Only where it creates the stream, as is ``epoch``."""
    epoch: str = ""
    n: int = 0
    """The journal row it is in, once it is in one."""

    @property
    def end(self) -> int:
        return self.first + self.count


class Segment(NamedTuple):
    """A row of ``segments``, in the order of its columns."""

    stream: int
    first: int
    length: int
    """The column ``count``."""
    origin: int
    until: float
    crc: int
    meta: bytes
    data: bytes

    def contents(self) -> tuple[list[tuple[int, float]], list[int]]:
        """
        Return its times as (count, at) and where answers begin in it.

        Raises: ValueError (it is damaged).
        """
        if crc32(self.data, crc32(self.meta)) != self.crc:
            raise ValueError("its checksum is wrong")
        return _meta.decode(self.meta)

    def times(self) -> list[float]:
        """Return the time of each record. Raises: ValueError (it is damaged)."""
        runs, _ = self.contents()
        return [at for many, at in runs for _ in range(many)]

    def records(self) -> list[Record]:
        """Return what is in it. Raises: ValueError (it is damaged)."""
        return records(self.first, self.times(), self.data)


class Settlement(NamedTuple):
    """What is to be written of one stream when part of its tail becomes segments."""

    id: int
    name: str | None
    """None: it is deleted."""
    epoch: str
    first: int
    oldest_at: float | None
    """The time of the record at ``first``, if ``first`` has moved."""
    next: int
    origin: int
    sealed: bool
    created_at: float
    updated_at: float
    entries: Sequence[Entry]
    size: int
    """Bytes in ``entries``, at most."""


_entries = msgpack.Decoder(list[Entry])
_meta = msgpack.Decoder(tuple[list[tuple[int, float]], list[int]])
_encode = msgpack.Encoder().encode


def records(first: int, times: Iterable[float], data: bytes) -> list[Record]:
    """Return the events in ``data`` with their places and times. Raises: ValueError (it is damaged)."""
    events = decode_events(data)
    # A record by tuple's own constructor costs half of what a named tuple's costs.
    return list(map(tuple.__new__, repeat(Record), zip(count(first), times, events, strict=False)))


def pack(entries: Sequence[Entry]) -> tuple[int, bytes]:
    """Return the checksum and the data of a journal row."""
    data = _encode(entries)
    return crc32(data), data


def unpack(crc: int, data: bytes) -> list[Entry]:
    """Return the entries of a journal row. Raises: ValueError (it is damaged)."""
    if crc32(data) != crc:
        raise ValueError("its checksum is wrong")
    return _entries.decode(data)


def segments(entries: Iterable[Entry]) -> Iterator[Segment]:
    """Put entries that follow each other together, to segments of a good size."""
    return map(_join, _groups(entry for entry in entries if entry.count))


def _groups(entries: Iterable[Entry]) -> list[list[Entry]]:
    groups: list[list[Entry]] = []
    size = _SEGMENT_BYTES
    for entry in entries:
        size += len(entry.data)
        if size > _SEGMENT_BYTES:
            groups.append([])
            size = len(entry.data)
        groups[-1].append(entry)
    return groups


def _join(group: list[Entry]) -> Segment:
    data = b"".join(entry.data for entry in group)
    meta = _encode(([(e.count, e.at) for e in group], [start for e in group for start in e.starts]))
    first, last = group[0], group[-1]
    return Segment(
        first.stream, first.first, last.end - first.first, first.origin, last.at,
        crc32(data, crc32(meta)), meta, data,
    )  # fmt: skip
