"""
The catalog of agents, in the file of the log.

One thread writes, and one only, so that what it has read stays true until it has
written. It opens a transaction only in the log's own turn, so that neither keeps
the other from committing. Reads are done where the log's are. The latest
definitions stay in memory too: most callers only want to know that nothing has changed.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar, TypeVarTuple
from uuid import uuid4
from zlib import crc32

from ...agents import Agent, Revision, Sort, decode_agent, encode_agent
from ...errors import AgentExists, AgentNotFound, LogUnavailable, LogVersion
from .files import Durability, LogFile
from .reads import Reads
from .writer import Writer

__all__ = ["SQLiteCatalog"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_FORM: Final = 1
"""The version of definitions; a new member that an older Penstock may pass over does not raise it."""

_HELD = 1000  # definitions in memory
_HELD_BYTES = 64 * 1024  # in the largest of them
_TOUCHED = 16 * 1024  # bytes of pages that a change rewrites besides its own, about

_REVISION: Final = (
    "SELECT agents.n, agents.name, agents.id, revisions.id, number, agents.created_at,"
    " revisions.created_at, form, crc, definition"
    " FROM agents JOIN revisions ON agent = agents.n"
)
_LATEST: Final = f"{_REVISION} AND number = latest"
_AGENT: Final = (
    "INSERT INTO agents (n, id, name, latest, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (n) DO UPDATE SET"
    " name = excluded.name, latest = excluded.latest, updated_at = excluded.updated_at"
)
_ORDERS: Final[dict[Sort, str]] = {
    "name": "name",
    "-name": "name DESC",
    "created_at": "n",
    "-created_at": "n DESC",
    "updated_at": "updated_at, n",
    "-updated_at": "updated_at DESC, n DESC",
}


_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class _Row(NamedTuple):
    """A revision with its agent, in the order of :data:`_REVISION`."""

    n: int
    name: str
    """The agent's now, whatever it was called in this revision."""
    id: str
    revision_id: str
    number: int
    created_at: float
    updated_at: float
    form: int
    crc: int
    definition: bytes


class SQLiteCatalog:
    """A catalog, as ``penstock.engine.catalog`` says what that is. Closed with its log."""

    def __init__(self, file: LogFile, durability: Durability, reads: Reads, writer: Writer) -> None:
        self._file = file
        self._durability = durability
        self._reads = reads
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, "penstock-catalog")
        self._connection: sqlite3.Connection | None = None
        self._held: dict[str, _Row] = {}
        """The latest revision, by name. Only the thread changes it."""
        self._closed = False

    async def create(self, agent: Agent) -> Revision:
        return await self._write(self._create, agent.name, encode_agent(agent))

    async def update(self, id: str, change: Callable[[Agent], Agent]) -> Revision:
        return await self._write(self._update, id, change)

    async def ensure(self, agent: Agent) -> Revision:
        definition = encode_agent(agent)
        held = self._held.get(agent.name)
        if held and held.definition == definition and not self._closed:
            return self._revision(held)
        return await self._write(self._ensure, agent.name, definition)

    async def get(self, id: str, revision_id: str = "") -> Revision:
        return await self._reads.ask(self._get, id, revision_id)

    async def by_name(self, name: str) -> Revision:
        return await self._reads.ask(self._by_name, name)

    async def list(
        self, *, name: str = "", sort: Sort = "name", offset: int = 0, limit: int = 100
    ) -> tuple[Sequence[Revision], int]:
        return await self._reads.ask(self._list, name, _ORDERS[sort], _bounded(limit), _bounded(offset))

    async def revisions(self, id: str, offset: int = 0, limit: int = 100) -> tuple[Sequence[Revision], int]:
        return await self._reads.ask(self._revisions, id, _bounded(limit), _bounded(offset))

    async def delete(self, id: str) -> None:
        await self._write(self._delete, id)

    def close(self) -> None:
        """Finish what is under way, and take no more. On a thread that may block."""
        self._closed = True
        self._thread.shutdown()
        if self._connection:
            self._connection.close()

    # On the threads that read

    def _get(self, connection: sqlite3.Connection, id: str, revision_id: str) -> Revision:
        if not revision_id:
            return self._revision(_latest(connection, id))
        row = _one(connection, f"{_REVISION} WHERE agents.id = ? AND revisions.id = ?", id, revision_id)
        if row is None:
            _latest(connection, id)  # it may be the agent that is not there
            raise AgentNotFound(f"agent {id!r} has no revision {revision_id!r}")
        return self._revision(row)

    def _by_name(self, connection: sqlite3.Connection, name: str) -> Revision:
        row = _named(connection, name)
        if row is None:
            raise AgentNotFound(f"there is no agent named {name!r}")
        return self._revision(row)

    def _list(
        self, connection: sqlite3.Connection, name: str, order: str, limit: int, offset: int
    ) -> tuple[Sequence[Revision], int]:
        if not _is_text(name):
            return [], 0
        matching = "FROM agents WHERE instr(name, ?)"
        page = f"SELECT n {matching} ORDER BY {order} LIMIT ? OFFSET ?"
        with _transaction(connection, "DEFERRED"):
            (count,) = connection.execute(f"SELECT count(*) {matching}", (name,)).fetchone()
            rows = _all(
                connection, f"{_LATEST} WHERE agents.n IN ({page}) ORDER BY {order}", name, limit, offset
            )
        return [self._revision(row) for row in rows], count

    def _revisions(
        self, connection: sqlite3.Connection, id: str, limit: int, offset: int
    ) -> tuple[Sequence[Revision], int]:
        with _transaction(connection, "DEFERRED"):
            latest = _latest(connection, id)
            page = f"{_REVISION} WHERE agents.n = ? ORDER BY number DESC LIMIT ? OFFSET ?"
            rows = _all(connection, page, latest.n, limit, offset)
        return [self._revision(row) for row in rows], latest.number

    def _revision(self, row: _Row) -> Revision:
        """Raises: LogCorrupt, LogVersion."""
        where = f"revision {row.number} of agent {row.name!r}"
        if crc32(row.definition) != row.crc:
            raise self._file.corrupt(where, "its checksum is wrong")
        try:
            agent = decode_agent(row.definition)
        except ValueError as error:
            if row.form > _FORM:
                raise LogVersion(
                    f"{self._file.path}: {where} was stored by a newer Penstock; upgrade Penstock ({error})"
                ) from error
            raise self._file.corrupt(where, error) from error
        return Revision(row.id, row.revision_id, row.number, row.created_at, row.updated_at, agent)

    # On the thread that writes

    async def _write(self, work: Callable[[sqlite3.Connection, *Ts], R], *args: *Ts) -> R:
        loop = asyncio.get_running_loop()
        try:
            answer = loop.run_in_executor(self._thread, lambda: self._run(work, *args))
        except RuntimeError as error:  # the thread takes no more
            raise LogUnavailable("the log is closed") from error
        return await answer

    def _run(self, work: Callable[[sqlite3.Connection, *Ts], R], *args: *Ts) -> R:
        with self._file.explained():
            if self._connection is None:
                self._connection = self._file.write(self._durability)
            return work(self._connection, *args)

    def _create(self, connection: sqlite3.Connection, name: str, definition: bytes) -> Revision:
        _check_free(connection, name)
        (n,) = connection.execute("SELECT coalesce(max(n), 0) + 1 FROM agents").fetchone()
        now = time.time()
        row = _Row(n, name, str(uuid4()), "", 0, now, now, _FORM, 0, b"")
        return self._store(connection, row, definition)

    def _update(self, connection: sqlite3.Connection, id: str, change: Callable[[Agent], Agent]) -> Revision:
        latest = _latest(connection, id)
        agent = change(self._revision(latest).agent)
        return self._revise(connection, latest, agent.name, encode_agent(agent))

    def _ensure(self, connection: sqlite3.Connection, name: str, definition: bytes) -> Revision:
        latest = _named(connection, name)
        if latest is None:
            return self._create(connection, name, definition)
        return self._revise(connection, latest, name, definition)

    def _revise(self, connection: sqlite3.Connection, latest: _Row, name: str, definition: bytes) -> Revision:
        if definition == latest.definition:
            return self._hold(latest)
        if name != latest.name:
            _check_free(connection, name)
        now = max(time.time(), latest.updated_at)
        revision = self._store(connection, latest._replace(name=name, updated_at=now), definition)
        if name != latest.name:
            self._held.pop(latest.name, None)
        return revision

    def _store(self, connection: sqlite3.Connection, before: _Row, definition: bytes) -> Revision:
        """Store the revision after ``before``, which has the name and the time of the new one already."""
        row = before._replace(
            revision_id=str(uuid4()), number=before.number + 1,
            form=_FORM, crc=crc32(definition), definition=definition,
        )  # fmt: skip
        with self._changing(connection, len(definition)):
            connection.execute(_AGENT, (row.n, row.id, row.name, row.number, row.created_at, row.updated_at))
            connection.execute(
                "INSERT INTO revisions (agent, number, id, created_at, form, crc, definition)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.n, row.number, row.revision_id, row.updated_at, row.form, row.crc, row.definition),
            )
        return self._hold(row)

    def _delete(self, connection: sqlite3.Connection, id: str) -> None:
        agent = _latest(connection, id)
        with self._changing(connection):
            connection.execute("DELETE FROM revisions WHERE agent = ?", (agent.n,))
            connection.execute("DELETE FROM agents WHERE n = ?", (agent.n,))
        self._held.pop(agent.name, None)

    @contextmanager
    def _changing(self, connection: sqlite3.Connection, size: int = 0) -> Iterator[None]:
        with self._writer.turn, _transaction(connection, "IMMEDIATE"):
            yield
        self._writer.written += size + _TOUCHED  # checkpoints go by it; two threads add, so it is rough

    def _hold(self, row: _Row) -> Revision:
        """Keep the latest revision at hand, and return it."""
        self._held.pop(row.name, None)
        if len(row.definition) <= _HELD_BYTES:
            self._held[row.name] = row
        if len(self._held) > _HELD:
            del self._held[next(iter(self._held))]
        return self._revision(row)


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _all(connection: sqlite3.Connection, query: str, *args: Any) -> Sequence[_Row]:
    return [_Row._make(row) for row in connection.execute(query, args)]


def _one(connection: sqlite3.Connection, query: str, *args: str) -> _Row | None:
    if not all(map(_is_text, args)):
        return None
    row = connection.execute(query, args).fetchone()
    return row and _Row._make(row)


def _latest(connection: sqlite3.Connection, id: str) -> _Row:
    row = _one(connection, f"{_LATEST} WHERE agents.id = ?", id)
    if row is None:
        raise AgentNotFound(f"there is no agent {id!r}")
    return row


def _named(connection: sqlite3.Connection, name: str) -> _Row | None:
    return _one(connection, f"{_LATEST} WHERE name = ?", name)


def _check_free(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM agents WHERE name = ?", (name,)).fetchone():
        raise AgentExists(f"there is an agent named {name!r} already", field="name")


def _bounded(number: int) -> int:
    """Return what SQLite can count to."""
    return min(max(0, number), sys.maxsize)


def _is_text(text: str) -> bool:
    """Say whether SQLite could have stored it: half a surrogate pair is in no name."""
    return not _SURROGATES.search(text)
