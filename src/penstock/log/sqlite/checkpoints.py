"""
Moving the write-ahead log into the database, on a thread and a connection of its own.

SQLite would do it within a commit, and every now and then an append would take
tens of milliseconds.
"""

from __future__ import annotations

import sqlite3
import threading

from .files import Durability, LogFile
from .writer import Writer

__all__ = ["Checkpoints"]

_BYTES = 8 * 1024 * 1024  # written since the last one
_SECONDS = 30.0  # since the last one, if anything was written
_TICK = 0.25
_LARGE = 64 * 1024 * 1024  # a write-ahead log that has not been started again for too long
_FEW = 64  # pages that may be copied while the writer waits


class Checkpoints:
    """A thread that keeps the write-ahead log short."""

    def __init__(self, file: LogFile, durability: Durability, writer: Writer) -> None:
        self._file = file
        self._connection = file.write(durability)
        self._writer = writer
        self._done = 0  # writer.written as of the last one
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        ticks = 0
        while not self._closing.wait(_TICK):
            ticks += 1
            fresh = self._writer.written - self._done
            if fresh > _BYTES or (fresh and ticks * _TICK > _SECONDS):
                ticks = 0
                self._checkpoint()

    def _checkpoint(self) -> None:
        self._done = self._writer.written
        try:
            left = self._copy()
            if left and self._file.wal_size > _LARGE:
                self._catch_up()
        except sqlite3.Error:
            # Nothing is lost: the write-ahead log only stays as long as it is. If
            # the disk is full or failing, the next commit says so to its caller.
            self._done = 0

    def _catch_up(self) -> None:
        """Copy everything, so that the next commit starts the write-ahead log again from its beginning."""
        for _ in range(3):
            if self._copy() < _FEW:
                break
        with self._writer.turn:
            self._copy()

    def _copy(self) -> int:
        """Copy what can be copied without anybody waiting; return how many pages are left."""
        _, pages, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(pages - copied)
