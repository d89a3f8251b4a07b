"""
Going on where the last process ended: what the journal still holds becomes tails.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from .files import LogFile
from .reads import ROW
from .rows import Entry, unpack
from .tail import Row, Tail

__all__ = ["Replayed", "replay"]


class Replayed(NamedTuple):
    tails: list[Tail]
    """Those with something unsettled, the oldest stream first."""
    journal: dict[int, int]
    """How many unsettled entries each journal row has, where it has any."""
    last: int
    """The latest journal row there was."""
    next_id: int


def replay(file: LogFile, connection: sqlite3.Connection) -> Replayed:
    """
    Read the journal.

    Raises:
        LogCorrupt: a row is damaged, or does not follow from what is before it.
        LogUnavailable: the file cannot be read.
    """
    tails: dict[int, Tail | None] = {}
    journal: dict[int, int] = {}
    with file.explained():
        for n, crc, data in connection.execute("SELECT n, crc, data FROM journal ORDER BY n"):
            try:
                for entry in unpack(crc, data):
                    entry.n = n
                    if _replay(connection, tails, entry):
                        journal[n] = journal.get(n, 0) + 1
            except ValueError as error:
                raise file.corrupt(f"row {n} of the journal", error) from error
        last = _highest(connection, "SELECT max(n) FROM journal", "SELECT max(doomed) FROM streams")
        id = max(_highest(connection, "SELECT max(id) FROM streams"), *tails, 0)
    unsettled = [tail for _, tail in sorted(tails.items()) if tail and tail.unsettled]
    return Replayed(unsettled, journal, last, id + 1)


def _replay(connection: sqlite3.Connection, tails: dict[int, Tail | None], entry: Entry) -> bool:
    """Add the entry to its tail, unless that is settled already. Raises: ValueError."""
    if entry.stream not in tails:
        tails[entry.stream] = _tail(connection, entry)
    tail = tails[entry.stream]
    settled = tail is None or (entry.end <= tail.settled and (entry.count or entry.end < tail.settled))
    if tail is None or settled:
        return False
    tail.replay(entry)
    return True


def _tail(connection: sqlite3.Connection, entry: Entry) -> Tail | None:
    """Return the tail that the entry goes on from; None if its stream is deleted."""
    row = connection.execute(f"{ROW} WHERE id = ?", (entry.stream,)).fetchone()
    if row is None:
        if not entry.epoch:
            raise ValueError(f"nothing is known of its stream {entry.stream}")
        return Tail(entry.stream, entry.name, entry.epoch)
    return Tail.load(Row(*row)) if row[1] is not None else None


def _highest(connection: sqlite3.Connection, *queries: str) -> int:
    return max(connection.execute(query).fetchone()[0] or 0 for query in queries)
