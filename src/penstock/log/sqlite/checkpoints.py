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
_LARGE = 64 * 1024 * 1024  # the write-ahead log


class Checkpoints:
    """A thread that keeps the write-ahead log short."""

    def __init__(self, file: LogFile, durability: Durability, writer: Writer) -> None:
        self._file = file
        self._connection = file.write(durability)
        self._connection.execute("PRAGMA busy_timeout = 0")  # appends would wait with it
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
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # while the writer goes on
            if self._file.wal_size > _LARGE:
                # A writer that never pauses never starts it again from the beginning.
                # There is little left to copy by now.
                with self._writer.turn:
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            # Nothing is lost: the write-ahead log only stays as long as it is. If
            # the disk is full or failing, the next commit says so to its caller.
            self._done = 0
