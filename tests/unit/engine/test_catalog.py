"""The catalogs, by the public suite; and what is particular to the one in the log's file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any
from zlib import crc32

import pytest
from msgspec.structs import replace

from penstock.agents import Agent
from penstock.engine.catalog import Catalog, MemoryCatalog, catalog_of
from penstock.errors import AgentNotFound, LogCorrupt, LogUnavailable, LogVersion
from penstock.events import PartDelta
from penstock.log.memory import MemoryLog
from penstock.log.sqlite import SQLiteLog, catalog, checkpoints
from penstock.testing.catalog_suite import FULL, CatalogSuite, DurableCatalogSuite, whole
from penstock.testing.log_suite import check_dense, deltas, everything


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SQLiteLog]:
    log = await SQLiteLog.open(path)
    yield log
    await log.aclose()


class TestMemoryCatalog(CatalogSuite):
    @pytest.fixture
    async def catalog(self) -> Catalog:
        return MemoryCatalog()


class TestSQLiteCatalog(CatalogSuite):
    @pytest.fixture
    async def catalog(self, log: SQLiteLog) -> Catalog:
        return log.catalog


class TestSQLiteCatalogThatHoldsNothing(CatalogSuite):
    """Every ``ensure`` looks in the file."""

    @pytest.fixture(params=["_HELD", "_HELD_BYTES"])
    async def catalog(
        self, log: SQLiteLog, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> Catalog:
        monkeypatch.setattr(catalog, request.param, 0)
        return log.catalog


class TestSQLiteCatalogDurably(DurableCatalogSuite):
    @pytest.fixture(params=["process", "power"])
    def opened(
        self, path: Path, request: pytest.FixtureRequest
    ) -> Callable[[], AbstractAsyncContextManager[Catalog]]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Catalog]:
            log = await SQLiteLog.open(path, durability=request.param)
            yield log.catalog
            await log.aclose()

        return opened


async def test_a_log_brings_its_catalog_or_gets_one(log: SQLiteLog) -> None:
    assert catalog_of(log) is log.catalog
    assert isinstance(catalog_of(MemoryLog()), MemoryCatalog)


# Beside the log


async def test_neither_fails_while_the_other_writes(path: Path) -> None:
    log = await SQLiteLog.open(path)
    created = await log.catalog.create(Agent("counted"))
    done = False

    async def append(stream: str) -> int:
        count = 0
        while not done:
            await log.append(stream, deltas(20))
            count += 20
        return count

    def counted(agent: Agent) -> Agent:
        return replace(agent, instructions=agent.instructions + "x")

    async def use(n: int) -> None:
        for k in range(20):
            await log.catalog.update(created.id, counted)
            await log.catalog.ensure(Agent(f"a{k}", instructions="x" * 5000))
            await log.catalog.create(Agent(f"{n} {k}"))

    appending = [asyncio.ensure_future(append(f"s{n}")) for n in range(20)]
    await asyncio.gather(*map(use, range(10)))
    done = True
    counts = await asyncio.gather(*appending)
    before = await whole(log.catalog)
    await log.aclose()
    log = await SQLiteLog.open(path)
    assert await whole(log.catalog) == before
    assert len(before) == 1 + 20 + 200 and len(before[0]) == 201
    assert before[0][0].agent.instructions == "x" * 200
    for n, count in enumerate(counts):
        records = await everything(log, f"s{n}")
        check_dense(records)
        assert len(records) == count > 0
    await log.aclose()


class Turn:
    """A lock that says when somebody has come to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.somebody = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> bool:
        self._loop.call_soon_threadsafe(self.somebody.set)
        return self.lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.__exit__(kind, error, trace)


async def test_it_writes_in_the_logs_own_turn(log: SQLiteLog, path: Path) -> None:
    turn = Turn()
    log._writer.turn = turn  # type: ignore[assignment]
    created = await log.catalog.create(Agent("a"))
    writes: list[Callable[[], Any]] = [
        partial(log.catalog.create, Agent("b")),
        partial(log.catalog.ensure, Agent("a", instructions="other")),
        partial(log.catalog.update, created.id, lambda agent: replace(agent, attempts=2)),
        partial(log.catalog.delete, created.id),
    ]
    for write in writes:
        turn.somebody.clear()
        with turn.lock:
            before = await whole(log.catalog)
            writing = asyncio.ensure_future(write())
            coming = asyncio.ensure_future(turn.somebody.wait())
            await asyncio.wait([writing, coming], return_when=asyncio.FIRST_COMPLETED)
            assert coming.done() and not writing.done()
            sql(path, "BEGIN IMMEDIATE")  # which nobody keeps it from
            assert await whole(log.catalog) == before
        await writing
        assert await whole(log.catalog) != before


def sql(path: Path, statement: str, *args: object) -> list[Any]:
    connection = sqlite3.connect(path, timeout=0)
    found = connection.execute(statement, args).fetchall()
    connection.commit()
    connection.close()
    return found


async def test_what_has_not_changed_is_known_without_looking(log: SQLiteLog, path: Path) -> None:
    first = await log.catalog.ensure(FULL)
    sql(path, "DROP TABLE revisions")
    assert await log.catalog.ensure(FULL) == first
    with pytest.raises(LogUnavailable, match="revisions"):
        await log.catalog.ensure(Agent("full"))


async def test_what_is_held_in_memory_is_bounded(log: SQLiteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_HELD", 3)
    for n in range(10):
        await log.catalog.ensure(Agent(f"a{n}"))
    await log.catalog.ensure(Agent("large", instructions="x" * 100_000))
    assert list(log.catalog._held) == ["a7", "a8", "a9"]


async def test_the_write_ahead_log_stays_short(log: SQLiteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_BYTES": 100_000, "_LARGE": 300_000, "_TICK": 0.005}.items():
        monkeypatch.setattr(checkpoints, name, value)
    size = shortened = n = 0
    async with asyncio.timeout(60):
        while shortened < 3:
            await log.catalog.ensure(Agent("a", instructions=f"{(n := n + 1)}" + "x" * 50_000))
            before, size = size, log._file.wal_size
            shortened += size < before


async def test_deleting_leaves_nothing_behind(log: SQLiteLog, path: Path) -> None:
    for n in range(3):
        created = await log.catalog.ensure(Agent("a", instructions=str(n)))
    await log.catalog.delete(created.id)
    assert sql(path, "SELECT id FROM agents UNION SELECT id FROM revisions") == []


async def test_a_closed_catalog_refuses(path: Path) -> None:
    log = await SQLiteLog.open(path)
    created = await log.catalog.ensure(Agent("a"))
    await log.aclose()
    calls: list[Callable[[], Any]] = [
        partial(log.catalog.create, Agent("b")),
        partial(log.catalog.ensure, Agent("a")),
        partial(log.catalog.update, created.id, lambda agent: agent),
        partial(log.catalog.get, created.id),
        partial(log.catalog.by_name, "a"),
        log.catalog.list,
        partial(log.catalog.revisions, created.id),
        partial(log.catalog.delete, created.id),
    ]
    for call in calls:
        with pytest.raises(LogUnavailable, match="closed"):
            await call()


async def test_closing_finishes_what_is_under_way(path: Path) -> None:
    log = await SQLiteLog.open(path)
    under_way = [asyncio.ensure_future(log.catalog.create(Agent(f"a{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await log.aclose()
    created = await asyncio.gather(*under_way)
    log = await SQLiteLog.open(path)
    assert await whole(log.catalog) == [[each] for each in created]
    await log.aclose()


# What newer versions wrote


async def stored(path: Path, definition: bytes, form: int = 1) -> SQLiteLog:
    """Return a log with an agent ``a`` whose one revision says this."""
    log = await SQLiteLog.open(path)
    await log.catalog.create(Agent("a"))
    crc = crc32(definition)
    await log.aclose()
    sql(path, "UPDATE revisions SET definition = ?, crc = ?, form = ?", definition, crc, form)
    return await SQLiteLog.open(path)


@pytest.mark.parametrize("form", [1, 2])
async def test_members_of_a_newer_version_are_passed_over(path: Path, form: int) -> None:
    newer = (
        b'{"name":"a","mood":{"good":1},"tools":[{"name":"t","mood":0}],"models":[{"model":"m","mood":0}]}'
    )
    log = await stored(path, newer, form)
    first = await log.catalog.by_name("a")
    assert first.agent.tools[0].name == "t" and first.agent.models[0].model == "m"
    second = await log.catalog.update(first.id, lambda agent: replace(agent, instructions="x"))
    assert second.agent == replace(first.agent, instructions="x")
    assert await whole(log.catalog) == [[second, first]]
    assert sql(path, "SELECT definition, form FROM revisions WHERE number = 1") == [(newer, form)]
    await log.aclose()


async def test_a_definition_that_only_a_newer_version_understands(path: Path) -> None:
    log = await stored(path, b'{"name":"a","instructions":["in","pieces"]}', 2)
    with pytest.raises(LogVersion, match=r"revision 1 of agent 'a'.*newer Penstock.*upgrade") as caught:
        await log.catalog.by_name("a")
    assert str(path) in caught.value.message
    await log.aclose()


# Faults


@pytest.mark.parametrize(
    ("definition", "crc"),
    [
        (b'{"name":"hurt"}', 1),
        *((torn, crc32(torn)) for torn in (b"", b'{"name":"hu', b"{}", b"[]", b"\xff")),
    ],
)
async def test_a_damaged_definition(log: SQLiteLog, path: Path, definition: bytes, crc: int) -> None:
    hurt = await log.catalog.create(Agent("hurt", instructions="the one"))
    sql(path, "UPDATE revisions SET definition = ?, crc = ?", definition, crc)
    well = await log.catalog.create(Agent("well"))
    calls: list[Callable[[], Any]] = [
        partial(log.catalog.get, hurt.id),
        partial(log.catalog.get, hurt.id, hurt.revision_id),
        partial(log.catalog.by_name, "hurt"),
        log.catalog.list,
        partial(log.catalog.revisions, hurt.id),
        partial(log.catalog.update, hurt.id, lambda agent: agent),
    ]
    for call in calls:
        with pytest.raises(LogCorrupt, match=r"revision 1 of agent 'hurt'.*restore") as caught:
            await call()
        assert str(path) in caught.value.message
    assert await log.catalog.get(well.id) == well
    mended = await log.catalog.ensure(Agent("hurt", instructions="mended"))
    assert mended.id == hurt.id and await log.catalog.by_name("hurt") == mended
    await log.catalog.delete(hurt.id)
    assert await whole(log.catalog) == [[well]]


async def test_a_database_locked_by_another_program(log: SQLiteLog, path: Path) -> None:
    first = await log.catalog.ensure(Agent("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    work = [log.catalog.ensure(Agent("a", instructions="x")), log.catalog.create(Agent("b"))]
    for error in await asyncio.gather(*work, return_exceptions=True):
        assert isinstance(error, LogUnavailable) and error.retryable
        assert str(path) in error.message and "locked" in error.message
    assert await whole(log.catalog) == [[first]] and await log.catalog.ensure(Agent("a")) == first
    other.execute("ROLLBACK")
    other.close()
    second = await log.catalog.ensure(Agent("a", instructions="x"))
    assert await whole(log.catalog) == [[second, first]]


async def test_a_full_disk(log: SQLiteLog, path: Path) -> None:
    """Of which SQLite's own limit on pages is a good likeness."""
    first = await log.catalog.ensure(Agent("a"))
    limit(log, pages := sql(path, "PRAGMA page_count")[0][0])
    large = "x" * 100_000
    calls: list[Callable[[], Any]] = [
        partial(log.catalog.ensure, Agent("a", instructions=large)),
        partial(log.catalog.create, Agent("b", instructions=large)),
        partial(log.catalog.update, first.id, lambda agent: replace(agent, name="c", instructions=large)),
    ]
    for call in calls:
        with pytest.raises(LogUnavailable, match=r"the disk is full; make room") as caught:
            await call()
        assert str(path) in caught.value.message
    assert await whole(log.catalog) == [[first]] and await log.catalog.ensure(Agent("a")) == first
    for name in ("b", "c"):
        with pytest.raises(AgentNotFound):
            await log.catalog.by_name(name)
    await log.append("s", [PartDelta("p", "the log goes on")])
    limit(log, pages + 1000)
    second = await log.catalog.ensure(Agent("a", instructions=large))
    assert (second.id, second.number) == (first.id, 2)


def limit(log: SQLiteLog, pages: int) -> None:
    connection = log.catalog._connection
    assert connection
    connection.execute(f"PRAGMA max_page_count = {pages}")
