"""
Housekeeping: tails become segments, journal rows that nobody needs go, and so does what was forgotten.

Each step does a bounded amount of work in a transaction that the writer thread
opens, between two commits of what is appended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from .rows import Settlement, segments

__all__ = ["collect", "next_doomed", "prune", "settle"]

_ROWS = 8  # journal rows to drop at once: faster than they come, which is one between two steps
_SEGMENTS = 32  # segments to drop at once

_STREAM: Final = """
    INSERT INTO streams
      (id, name, epoch, first, next, origin, sealed, created_at, updated_at, oldest_at, doomed)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, coalesce(?10, ?8), ?11)
    ON CONFLICT (id) DO UPDATE SET
      name = ?2, first = ?4, next = ?5, origin = ?6, sealed = ?7, updated_at = ?9,
      oldest_at = coalesce(?10, oldest_at), doomed = coalesce(?11, doomed)"""


def settle(connection: sqlite3.Connection, settlements: Iterable[Settlement], n: int) -> None:
    """Write what streams have come to be, as of journal row ``n``."""
    for done in settlements:
        if done.name is not None:
            connection.executemany(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", segments(done.entries)
            )
        connection.execute(
            _STREAM,
            (
                done.id, done.name, done.epoch, done.first, done.next, done.origin, done.sealed,
                done.created_at, done.updated_at, done.oldest_at, None if done.oldest_at is None else n,
            ),
        )  # fmt: skip


def prune(connection: sqlite3.Connection, n: int, floor: int) -> int:
    """Drop some journal rows from ``n`` up to ``floor``. Returns where the journal begins now."""
    upto = min(floor, n + _ROWS)
    connection.execute("DELETE FROM journal WHERE n < ?", (upto,))
    return upto


def next_doomed(connection: sqlite3.Connection) -> int | None:
    """Return the journal row after which there is something to collect."""
    (doomed,) = connection.execute("SELECT min(doomed) FROM streams WHERE doomed IS NOT NULL").fetchone()
    return None if doomed is None else int(doomed)


def collect(connection: sqlite3.Connection, floor: int) -> None:
    """Drop some segments that were forgotten before journal row ``floor``, or the row of a deleted stream."""
    row = connection.execute(
        "SELECT id, name, first FROM streams WHERE doomed < ? ORDER BY doomed LIMIT 1", (floor,)
    ).fetchone()
    if row is None:
        return
    id, name, first = row
    dropped = connection.execute(
        "DELETE FROM segments WHERE stream = ?1 AND first IN (SELECT first FROM segments"
        f" WHERE stream = ?1 AND first + count <= ?2 ORDER BY first LIMIT {_SEGMENTS})",
        (id, first),
    ).rowcount
    if dropped < _SEGMENTS:
        end = "DELETE FROM streams" if name is None else "UPDATE streams SET doomed = NULL"
        connection.execute(f"{end} WHERE id = ?", (id,))
