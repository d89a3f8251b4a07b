"""What streams come to is counted when they change, and only then."""

from __future__ import annotations

import pytest

from agency import hello
from penstock.engine import folds
from penstock.engine.folds import Folds
from penstock.errors import StreamNotFound
from penstock.log.memory import MemoryLog
from penstock.snapshot import Snapshot


class Counting:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self, snapshot: Snapshot) -> int:
        self.times += 1
        return len(snapshot.turns)


async def test_a_stream_that_has_not_changed_is_not_read_again() -> None:
    log, count = MemoryLog(), Counting()
    kept = Folds(log, count)
    await log.append("s", [hello()])
    assert [await kept.of("s"), await kept.of("s")] == [1, 1] and count.times == 1
    await log.append("s", [hello()])
    assert [await kept.of("s"), await kept.of("s")] == [2, 2] and count.times == 2


async def test_a_stream_that_is_another_under_an_old_name_is_read_again() -> None:
    log, count = MemoryLog(), Counting()
    kept = Folds(log, count)
    await log.append("s", [hello(), hello()])
    assert await kept.of("s") == 2
    await log.delete("s")
    with pytest.raises(StreamNotFound):
        await kept.of("s")
    await log.append("s", [hello("a"), hello("b")])
    await kept.of("s")
    assert count.times == 2


async def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "_KEPT", 2)
    log, count = MemoryLog(), Counting()
    kept = Folds(log, count)
    for name in ("a", "b", "c"):
        await log.append(name, [hello()])
    for name in ("a", "b", "c", "b", "c"):
        await kept.of(name)
    assert count.times == 3
    await kept.of("a")
    assert count.times == 4, "it was the one that was asked for longest ago"
