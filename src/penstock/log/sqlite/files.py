"""
The files of a SQLite log: who owns them, how they are opened, what their errors mean.

One process owns a log. It says so by a lock on ``<path>.lock``, which the
operating system takes back when the process ends, however it ends.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, Self

from ...errors import LogCorrupt, LogError, LogUnavailable, LogVersion

__all__ = ["Durability", "LogFile"]

Durability = Literal["process", "power"]

_APPLICATION: Final = int.from_bytes(b"Pstk", "big")
_SCRIPTS: Final = ("schema.sql", "agents.sql")
"""The script at index n takes a file from version n to n + 1."""

_PATIENCE = 1.0  # seconds to wait for a lock that another program holds on the database

_REASONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; make room, and appends work again",
    sqlite3.SQLITE_IOERR: "the disk refused (is it full, or failing?); mend that, and appends work again",
    sqlite3.SQLITE_BUSY: "another program holds it locked; let that finish, or close it",
    sqlite3.SQLITE_LOCKED: "another program holds it locked; let that finish, or close it",
    sqlite3.SQLITE_READONLY: "it may not be written; let this process write it and its directory",
    sqlite3.SQLITE_PERM: "it may not be opened; give this process permission to it and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and may be written",
}
_RUINED: Final = {
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a copy, or use `sqlite3 FILE .recover`",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; name another file",
}


class LogFile:
    """A database file that this process owns until :meth:`release`."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def own(cls, path: str | os.PathLike[str]) -> Self:
        """
        Lock the file for this process, and bring it to the present version.

        Raises:
            LogUnavailable: another process owns it, or it cannot be opened.
            LogVersion: it was written by a newer Penstock, or by another program.
            LogCorrupt: it is damaged, or not a database.
        """
        name = os.fspath(path)
        file = cls(name, _lock(name))
        try:
            file._migrate()
        except BaseException:
            file.release()
            raise
        return file

    def release(self) -> None:
        os.close(self._lock)

    @property
    def wal_size(self) -> int:
        """Bytes in the write-ahead log, including those that are only left over."""
        try:
            return Path(self.path + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def write(self, durability: Durability) -> sqlite3.Connection:
        """Open a connection whose commits survive what ``durability`` says."""
        with self.explained():
            connection = self._connect("rw")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoints.py
            return connection

    def read(self) -> sqlite3.Connection:
        """Open a connection that cannot write."""
        with self.explained():
            return self._connect("ro")

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{Path(self.path).absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(
            uri, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )

    def _migrate(self) -> None:
        with self.explained():
            connection = self._connect("rwc")
            try:
                version = self._version(connection)
                if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                    raise LogUnavailable(
                        f"{self.path}: its file system has no write-ahead log; use a local disk"
                    )
                for n in range(version, len(_SCRIPTS)):
                    _run_script(connection, n)
            finally:
                connection.close()

    def _version(self, connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != _APPLICATION and (application or version or tables):
            raise LogVersion(f"{self.path}: this database belongs to another program; name another file")
        if version > len(_SCRIPTS):
            raise LogVersion(
                f"{self.path}: it has version {version}, and this Penstock knows up to {len(_SCRIPTS)}; "
                "upgrade Penstock, or name another file"
            )
        return int(version)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's errors into this package's."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def explain(self, error: Exception) -> LogError:
        """Return what this package calls it, naming the file and what to do."""
        if isinstance(error, LogError):
            return error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _RUINED:
            return LogCorrupt(f"{self.path}: {_RUINED[code]} ({error})")
        return LogUnavailable(f"{self.path}: {_REASONS.get(code, 'it refused')} ({error!r})")

    def corrupt(self, where: str, why: object) -> LogCorrupt:
        return LogCorrupt(f"{self.path}: {where} cannot be read back: {why}; restore the file from a copy")


def _run_script(connection: sqlite3.Connection, n: int) -> None:
    script = (files("penstock.log") / "sql" / _SCRIPTS[n]).read_text("utf-8")
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}\n"
            f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {n + 1}; COMMIT;"
        )
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _lock(path: str) -> int:
    try:
        lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        raise LogUnavailable(
            f"{path}: its lock file cannot be opened ({error}); "
            "check that its directory exists and may be written"
        ) from error
    try:
        _take(lock)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError as error:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace") or "unknown"
        os.close(lock)
        raise LogUnavailable(
            f"{path}: process {owner} owns it ({error}), and a SQLite log has one owner; "
            "stop that process, or name another file"
        ) from error
    return lock


if sys.platform == "win32":
    import msvcrt

    def _take(lock: int) -> None:
        os.lseek(lock, 1 << 30, os.SEEK_SET)  # beyond the text: a locked byte cannot be read there
        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(lock: int) -> None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
