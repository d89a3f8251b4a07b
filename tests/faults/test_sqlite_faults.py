"""
What a SQLite log does when the disk, another process or a kill gets in its way.

It says what is wrong, of which file, and what to do; nothing that it has
acknowledged is lost; and when the cause has passed, it goes on.
"""

# The tests prepare and spoil files while nothing else runs.
# ruff: noqa: ASYNC230, ASYNC240

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.errors import LogCorrupt, LogError, LogUnavailable, LogVersion
from penstock.events import PartDelta
from penstock.log.sqlite import SQLiteLog, files
from penstock.testing.log_suite import answer, deltas, everything


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@contextmanager
def process(script: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program; it has said its first line when this yields."""
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with child:
            try:
                assert child.stdout and child.stdout.readline()
                yield child
            finally:
                if child.poll() is None:
                    child.kill()
    finally:
        child.wait()


def run(script: str, *args: object) -> None:
    """Run a Python program that checks something itself."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, args)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "checked\n"), done.stderr


def crash_image(path: Path, name: str) -> Path:
    """Copy the files of an open log, as a crash at this moment would leave them."""
    copy = path.with_name(name)
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


async def offsets(path: Path, stream: str) -> list[int]:
    log = await SQLiteLog.open(path)
    try:
        return [record.offset for record in await everything(log, stream)]
    finally:
        await log.aclose()


# Other processes


async def test_a_second_owner_is_told_who_the_first_is(path: Path) -> None:
    owner = """
        import asyncio, sys
        from penstock.log.sqlite import SQLiteLog
        async def main():
            await SQLiteLog.open(sys.argv[1])
            print("open", flush=True)
            sys.stdin.read()
        asyncio.run(main())
    """
    with process(owner, path) as child:
        with pytest.raises(LogUnavailable) as caught:
            await SQLiteLog.open(path)
        assert str(path) in caught.value.message and f"process {child.pid}" in caught.value.message
        child.kill()
        child.wait()
        await (await SQLiteLog.open(path)).aclose()  # the lock dies with its owner


async def test_a_second_log_in_the_same_process_is_refused_too(path: Path) -> None:
    log = await SQLiteLog.open(path)
    with pytest.raises(LogUnavailable, match=str(os.getpid())):
        await SQLiteLog.open(path)
    await log.append("s", deltas(1))
    await log.aclose()


async def test_a_database_locked_by_another_program(path: Path) -> None:
    locker = """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        print("locked", flush=True)
        sys.stdin.readline()
        connection.execute("ROLLBACK")
        connection.close()
        print("released", flush=True)
    """
    log = await SQLiteLog.open(path)
    before = await log.append("s", deltas(2))
    with process(locker, path) as child:
        failed = await asyncio.gather(
            *(log.append("s", deltas(1, f"failed{n}")) for n in range(3)),
            log.append("new", deltas(1)),
            return_exceptions=True,
        )
        for error in failed:
            assert isinstance(error, LogUnavailable) and error.retryable
            assert str(path) in error.message and "locked" in error.message
        assert await log.head("s") == before
        assert child.stdin and child.stdout
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "released\n"
        after = await log.append("s", deltas(1, "later"), expect=before.cursor)
    assert [record.event for record in await everything(log, "s")] == deltas(2) + deltas(1, "later")
    assert [info.name for info in await log.streams()] == ["s"]
    await log.aclose()
    assert await offsets(path, "s") == [0, 1, 2] and after.cursor.offset == 3


# Disks

FULL = """
    import asyncio, resource, sys
    from penstock.errors import LogUnavailable
    from penstock.events import PartDelta
    from penstock.log.sqlite import SQLiteLog

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def main(path, free, fill):
        log = await SQLiteLog.open(path)
        end, acknowledged = None, []
        fill(log)
        while True:  # until nothing more fits
            try:
                end = (await log.append("s", [PartDelta("p", f"{len(acknowledged)}" + "x" * 20_000)])).cursor
                acknowledged.append(end.offset)
            except LogUnavailable as error:
                assert path in error.message and "disk" in error.message, error
                break
        assert acknowledged
        many = await asyncio.gather(
            *(log.append(f"n{n % 5}", [PartDelta("p", "x" * 20_000)]) for n in range(20)),
            return_exceptions=True,
        )
        assert all(isinstance(error, LogUnavailable) for error in many), many
        assert (await log.head("s")).cursor == end
        assert [record.offset async for record in log.read("s")] == list(range(end.offset))
        free()
        for attempt in range(50):
            try:
                after = await log.append("s", [PartDelta("p", "after")], expect=end)
                break
            except LogUnavailable:
                await asyncio.sleep(0.05)
        assert after.cursor.offset == end.offset + 1
        await log.aclose()
        log = await SQLiteLog.open(path)
        texts = [record.event.delta async for record in log.read("s")]
        assert len(texts) == after.cursor.offset and texts[-1] == "after"
        assert all(text.startswith(str(n)) for n, text in enumerate(texts[:-1]))
        assert [info.name for info in await log.streams()] == ["s"]
        await log.aclose()
        print("checked")
"""


def test_files_that_may_grow_no_further(path: Path) -> None:
    run(
        textwrap.dedent(FULL) + "\nfree = lambda: limit(resource.RLIM_INFINITY)"
        "\nasyncio.run(main(sys.argv[1], free, lambda _: limit(1_000_000)))",
        path,
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB. Who may not mount one still has the test above."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1_500_000))
    run(
        textwrap.dedent(FULL) + "\nimport os"
        "\nasyncio.run(main(sys.argv[1], lambda: os.unlink(sys.argv[2]), lambda _: None))",
        small_disk / "log.db",
        filler,
    )


def test_a_file_that_may_not_be_written() -> None:
    script = """
        import asyncio, os, sys
        from penstock.errors import LogUnavailable
        from penstock.log.sqlite import SQLiteLog
        if os.getuid() == 0:  # for whom nothing is forbidden
            os.setgid(65534)
            os.setuid(65534)
        try:
            asyncio.run(SQLiteLog.open(sys.argv[1]))
        except LogUnavailable as error:
            assert sys.argv[1] in error.message and "written" in error.message, error
            print("checked")
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "log.db")
        asyncio.run(_create(path))
        Path(f"{path}.lock").chmod(0o666)
        path.chmod(0o444)
        Path(name).chmod(0o555)
        run(script, path)  # the database
        Path(f"{path}.lock").unlink()
        run(script, path)  # the directory
        Path(name).chmod(0o755)


async def _create(path: Path) -> None:
    log = await SQLiteLog.open(path)
    await log.append("s", deltas(3))
    await log.aclose()


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none" / "log.db"
    with pytest.raises(LogUnavailable, match="directory") as caught:
        await SQLiteLog.open(path)
    assert str(path) in caught.value.message


# Files that are not what they should be


async def test_not_a_database(path: Path) -> None:
    path.write_text("To whom it may concern: " * 100)
    with pytest.raises(LogCorrupt, match="not a SQLite database; name another file") as caught:
        await SQLiteLog.open(path)
    assert str(path) in caught.value.message
    assert path.read_text().startswith("To whom")


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("PRAGMA user_version = 3", "version 3, and this Penstock knows up to 2; upgrade"),
        ("PRAGMA user_version = 99", "version 99.*upgrade"),
        ("PRAGMA application_id = 7", "another program"),
    ],
)
async def test_a_database_of_somebody_else(path: Path, statement: str, match: str) -> None:
    await _create(path)
    _sql(path, statement)
    with pytest.raises(LogVersion, match=match) as caught:
        await SQLiteLog.open(path)
    assert str(path) in caught.value.message


async def test_a_file_that_cannot_be_brought_up_to_date_stays_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(files, "_SCRIPTS", files._SCRIPTS[:1])
        await _create(path)
    _sql(path, "CREATE TABLE revisions (x)")  # in the way, half-way through
    with pytest.raises(LogUnavailable, match="revisions") as caught:
        await SQLiteLog.open(path)
    assert str(path) in caught.value.message
    _sql(path, "DROP TABLE revisions")
    monkeypatch.setattr(files, "_SCRIPTS", files._SCRIPTS[:1])
    assert await offsets(path, "s") == [0, 1, 2]
    monkeypatch.undo()
    assert await offsets(path, "s") == [0, 1, 2]


def _sql(path: Path, statement: str, *args: object) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement, args)
    connection.close()


@pytest.fixture
async def image(path: Path) -> AsyncIterator[Path]:
    """What a crash leaves of a log with three records, in three journal rows."""
    log = await SQLiteLog.open(path)
    for n in range(3):
        await log.append("s", [PartDelta("p", f"text {n}")])
    yield crash_image(path, "image.db")
    await log.aclose()


async def test_a_torn_frame_at_the_end_of_the_wal(image: Path) -> None:
    with open(f"{image}-wal", "ab") as wal:
        wal.write(os.urandom(1500))
    assert await offsets(image, "s") == [0, 1, 2]


async def test_a_wal_cut_within_its_last_commit(image: Path) -> None:
    """Which is what a power cut leaves of a commit under way: nothing of it, all before it."""
    wal = Path(f"{image}-wal")
    os.truncate(wal, wal.stat().st_size - 100)
    assert await offsets(image, "s") == [0, 1]
    log = await SQLiteLog.open(image)
    assert (await log.append("s", deltas(1))).cursor.offset == 3
    await log.aclose()


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        (
            "UPDATE journal SET data = CAST(replace(data, 'text 1', 'tixt 1') AS BLOB) WHERE n = 2",
            "row 2 of the journal",
        ),
        ("UPDATE journal SET data = x'00', crc = 3523407757 WHERE n = 3", "row 3 of the journal"),
        ("DELETE FROM journal WHERE n = 2", "row 3 of the journal.*gap"),
        ("DELETE FROM journal WHERE n = 1", "row 2 of the journal.*nothing is known"),
    ],
)
async def test_a_damaged_journal(image: Path, statement: str, match: str) -> None:
    _sql(image, statement)
    with pytest.raises(LogCorrupt, match=match) as caught:
        await SQLiteLog.open(image)
    assert str(image) in caught.value.message


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("UPDATE segments SET data = CAST(replace(data, 'b1', 'xx') AS BLOB)", "checksum"),
        ("UPDATE segments SET meta = x'93'", "checksum"),
        ("DELETE FROM segments", "gap"),
    ],
)
async def test_a_damaged_segment(path: Path, statement: str, match: str) -> None:
    log = await SQLiteLog.open(path)
    await log.append("hurt", answer("b"), seal=True)
    await log.aclose()
    _sql(path, statement)
    log = await SQLiteLog.open(path)
    await log.append("well", deltas(1))
    with pytest.raises(LogCorrupt, match=match) as caught:
        await everything(log, "hurt")
    assert str(path) in caught.value.message and "'hurt'" in caught.value.message
    assert len(await everything(log, "well")) == 1
    await log.aclose()


async def test_bytes_overwritten_in_the_file(path: Path) -> None:
    log = await SQLiteLog.open(path)
    await log.append("s", [PartDelta("p", "the one and only text")])
    await log.aclose()
    data = path.read_bytes()
    assert data.count(b"the one and only text") == 1
    path.write_bytes(data.replace(b"the one and only text", b"the one and other text"[:21]))
    log = await SQLiteLog.open(path)
    with pytest.raises(LogCorrupt, match="'s'"):
        await everything(log, "s")
    await log.aclose()


@pytest.mark.parametrize("keep", [100, 4096, 30_000])
async def test_a_truncated_file(path: Path, keep: int) -> None:
    log = await SQLiteLog.open(path)
    for n in range(20):
        await log.append(f"s{n}", deltas(300), seal=True)
    await log.aclose()
    os.truncate(path, keep)
    with pytest.raises(LogError) as caught:
        await _read_all(path, [f"s{n}" for n in range(20)])
    assert isinstance(caught.value, LogCorrupt) and str(path) in caught.value.message


async def _read_all(path: Path, streams: list[str]) -> None:
    log = await SQLiteLog.open(path)
    try:
        for stream in streams:
            await everything(log, stream)
    finally:
        await log.aclose()


# Kills

APPENDING = """
    import asyncio, sys
    from penstock.events import PartDelta
    from penstock.log import NEW
    from penstock.errors import StreamNotFound
    from penstock.log.sqlite import SQLiteLog, tails
    tails._SWEEP, tails._OLD = 0.005, 0.02  # so that it is killed while it settles, too

    async def fill(log, name):
        try:
            end = (await log.head(name)).cursor
        except StreamNotFound:
            end = NEW
        while True:
            many = 1 + end.offset % 3
            events = [PartDelta("p", f"{name}:{end.offset + n}") for n in range(many)]
            end = (await log.append(name, events, expect=end)).cursor
            print(name, end.offset, flush=True)

    async def main(path, round):
        log = await SQLiteLog.open(path)
        await asyncio.gather(*(fill(log, f"{round if n < 5 else 'all'}-{n}") for n in range(20)))

    asyncio.run(main(*sys.argv[1:]))
"""


async def test_kill_9_loses_nothing_that_was_acknowledged(path: Path) -> None:
    dice = random.Random(9)
    acknowledged: dict[str, int] = {}
    for round in range(6):
        with process(APPENDING, path, round) as child:
            await asyncio.sleep(dice.uniform(0.01, 0.25))
            os.kill(child.pid, signal.SIGKILL)
            assert child.stdout
            for line in child.stdout.read().split("\n")[:-1]:  # the last one may be cut
                name, end = line.split()
                acknowledged[name] = int(end)
        await _check(path, acknowledged)
    assert len(acknowledged) > 15


async def _check(path: Path, acknowledged: dict[str, int]) -> None:
    log = await SQLiteLog.open(path)
    for name, end in acknowledged.items():
        records = await everything(log, name)
        assert len(records) >= end
        assert [record.offset for record in records] == list(range(len(records)))
        assert [record.event for record in records] == [
            PartDelta("p", f"{name}:{n}") for n in range(len(records))
        ]
    await log.aclose()
