# ruff: noqa: ASYNC110, ASYNC240  -- what is waited for has no event to wait on

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from penstock.agents import Agent
from penstock.errors import StreamNotFound
from penstock.events import Event, PartDelta
from penstock.log import Head, Log
from penstock.log.sqlite import SQLiteLog, checkpoints, files, tail, tails
from penstock.testing.durable_log_suite import DurableLogSuite
from penstock.testing.live_log_suite import LiveLogSuite
from penstock.testing.log_suite import LogSuite, answer, deltas, everything


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[SQLiteLog]:
    log = await SQLiteLog.open(path)
    yield log
    await log.aclose()


class TestSQLiteLog(LogSuite, LiveLogSuite):
    @pytest.fixture
    async def log(self, sqlite: SQLiteLog) -> Log:
        return sqlite


class TestSQLiteLogThatKeepsNothingInMemory(LogSuite, LiveLogSuite):
    """Everything is settled as soon as it is committed, and looked up again."""

    @pytest.fixture
    async def log(self, sqlite: SQLiteLog, monkeypatch: pytest.MonkeyPatch) -> Log:
        for name, value in {"_SWEEP": 0.0, "_OLD": -1.0, "_LARGE": 0, "_RESTING": 1}.items():
            monkeypatch.setattr(tails, name, value)
        monkeypatch.setattr(tail, "_KEPT", 0)
        return sqlite


class TestSQLiteLogDurably(DurableLogSuite):
    @pytest.fixture(params=["process", "power"])
    def open_log(self, path: Path, request: pytest.FixtureRequest) -> Callable[[], Awaitable[Log]]:
        return partial(SQLiteLog.open, path, durability=request.param)


# What only this log has


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settle all the time."""
    monkeypatch.setattr(tails, "_SWEEP", 0.001)
    monkeypatch.setattr(tails, "_OLD", 0.003)


@pytest.mark.usefixtures("restless")
async def test_every_moment_can_be_gone_on_from(sqlite: SQLiteLog, path: Path) -> None:
    dice = random.Random(1)
    model: dict[str, Held] = {}
    for step in range(400):
        name = dice.choice("abcdef")
        await one_step(sqlite, model, name, dice, step)
        if step % 20 == 0:
            await asyncio.sleep(dice.choice([0, 0.002, 0.01]))
            assert await contents(await crashed(sqlite, path)) == model


Held = tuple[Head, list[tuple[int, Event]]]


async def one_step(log: SQLiteLog, model: dict[str, Held], name: str, dice: random.Random, step: int) -> None:
    head, records = model.get(name, (None, []))
    match dice.randrange(8):
        case 0 if head and dice.random() < 0.3:
            await log.delete(name)
            del model[name]
        case 1 if records:
            first = await log.trim(name, dice.choice(records)[0])
            model[name] = model[name][0], [(n, event) for n, event in records if n >= first]
        case _ if head is None or not head.sealed:
            start = head.cursor.offset if head else 0
            events = answer(str(step)) if dice.random() < 0.4 else deltas(dice.randrange(5), str(step))
            head = await log.append(name, events, seal=dice.random() < 0.05)
            model[name] = head, [*records, *enumerate(events, start)]


async def crashed(log: SQLiteLog, path: Path) -> SQLiteLog:
    """Return what a crash at this moment would leave, opened again."""
    return await SQLiteLog.open(crash_image(log, path))


def crash_image(log: SQLiteLog, path: Path) -> Path:
    """Return what a crash at this moment would leave."""
    copy = path.with_name("copy.db")
    with log._writer.turn:  # two files cannot be copied at one moment otherwise
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


async def contents(log: SQLiteLog) -> dict[str, Held]:
    """Return all that is in a log, and close it."""
    found: dict[str, Held] = {}
    for info in await log.streams():
        records = await everything(log, info.name)
        found[info.name] = info.head, [(record.offset, record.event) for record in records]
    await log.aclose()
    return found


@pytest.mark.usefixtures("restless")
async def test_streams_at_rest_leave_memory(sqlite: SQLiteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "_RESTING", 10)
    await asyncio.gather(*(sqlite.append(f"s{n}", answer(str(n)), seal=True) for n in range(500)))
    waiting = asyncio.ensure_future(sqlite.wait("s7", await sqlite.head("s7")))
    async with asyncio.timeout(5):
        while len(sqlite._tails._alive) > 15:
            await asyncio.sleep(0.01)
    for n in range(0, 500, 50):
        assert [record.event for record in await everything(sqlite, f"s{n}")] == answer(str(n))
    await sqlite.delete("s7")
    with pytest.raises(StreamNotFound):
        await asyncio.wait_for(waiting, 1)  # which has met the same stream again


@pytest.mark.usefixtures("restless")
async def test_what_nobody_needs_leaves_the_file(sqlite: SQLiteLog, path: Path) -> None:
    for n in range(10):
        await sqlite.append(f"s{n}", deltas(3000), seal=True)
    await sqlite.expire(time.time() + 1)
    await asyncio.gather(*(sqlite.delete(f"s{n}") for n in range(5)))
    async with asyncio.timeout(5):
        while count(path, "segments") or count(path, "journal") or count(path, "streams") > 5:
            await asyncio.sleep(0.02)


def count(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.close()
    return int(found)


async def test_the_write_ahead_log_stays_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_BYTES": 100_000, "_LARGE": 300_000, "_TICK": 0.005}.items():
        monkeypatch.setattr(checkpoints, name, value)
    log = await SQLiteLog.open(path)
    size = shortened = 0
    async with asyncio.timeout(60):
        while shortened < 3:  # however slow the disk, under a writer that never pauses
            await log.append("s", [PartDelta("p", "x" * 50_000)])
            before, size = size, log._file.wal_size
            shortened += size < before
    await log.aclose()
    assert not Path(f"{path}-wal").exists()


# Files of older versions


async def test_a_file_of_version_1_takes_agents(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(files, "_SCRIPTS", files._SCRIPTS[:1])
        log = await SQLiteLog.open(path)
        await log.append("settled", answer("a") + answer("b"), seal=True)
        await log.append("trimmed", answer("a") + answer("b"))
        await log.trim("trimmed", 4)
        await log.aclose()
        log = await SQLiteLog.open(path)
        await log.append("in the journal", deltas(3))
        await log.append("trimmed", deltas(2))
        copy = crash_image(log, path)
        before = await contents(log)
    assert count(path, "journal") == 0 and count(copy, "journal") > 0
    for file in (path, copy):
        assert pragma(file, "user_version") == 1
        log = await SQLiteLog.open(file)
        await log.catalog.create(Agent("a"))
        await log.aclose()
        assert pragma(file, "user_version") == 2
        log = await SQLiteLog.open(file)
        assert (await log.catalog.by_name("a")).agent == Agent("a")
        assert await contents(log) == before
    assert {name: len(records) for name, (_, records) in before.items()} == {
        "settled": 8, "trimmed": 6, "in the journal": 3,
    }  # fmt: skip


def pragma(path: Path, name: str) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute(f"PRAGMA {name}").fetchone()
    connection.close()
    return int(found)
