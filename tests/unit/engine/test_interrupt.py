"""Breaking off a wait, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock.engine.interrupt import Interrupted, Interruptible


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def soon(ticks: int = 1) -> str:
    for _ in range(ticks):
        await asyncio.sleep(0)
    return "done"


async def by_wait(gate: Interruptible, awaitable: Awaitable[object]) -> object:
    return await gate.wait(awaitable)


async def by_marks(gate: Interruptible, awaitable: Awaitable[object]) -> object:
    with gate:
        try:
            gate.open()
        except Interrupted:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise
        result = await awaitable
        gate.shut()
        return result


Way = Callable[[Interruptible, Awaitable[object]], Awaitable[object]]
both_ways = pytest.mark.parametrize("way", [by_wait, by_marks])


async def started(way: Way, gate: Interruptible, awaitable: Awaitable[object]) -> asyncio.Task[object]:
    task = asyncio.ensure_future(way(gate, awaitable))
    await asyncio.sleep(0)
    assert isinstance(task, asyncio.Task)
    return task


@both_ways
async def test_a_wait_nobody_breaks_off_gives_its_result(way: Way) -> None:
    assert await way(Interruptible(), soon()) == "done"


@both_ways
@pytest.mark.parametrize("sticky", [True, False])
async def test_a_wait_is_broken_off_with_its_reason(way: Way, sticky: bool) -> None:
    gate = Interruptible()
    task = await started(way, gate, forever())
    gate.interrupt("stop", sticky=sticky)
    with pytest.raises(Interrupted) as caught:
        await task
    assert caught.value.reason == "stop"
    assert not task.cancelled() and task.cancelling() == 0
    assert await way(gate, soon()) == "done", "once is once"


@both_ways
async def test_before_the_wait_only_a_sticky_one_counts(way: Way) -> None:
    gate = Interruptible()
    gate.interrupt("silence", sticky=False)
    assert await way(gate, soon()) == "done"
    gate.interrupt("stop")
    with pytest.raises(Interrupted, match="stop"):
        await way(gate, soon())
    assert await way(gate, soon()) == "done"


@both_ways
async def test_the_first_reason_stands(way: Way) -> None:
    gate = Interruptible()
    gate.interrupt("first")
    gate.interrupt("second")
    with pytest.raises(Interrupted, match="first"):
        await way(gate, soon())
    task = await started(way, gate, forever())
    gate.interrupt("third")
    gate.interrupt("fourth")
    with pytest.raises(Interrupted, match="third"):
        await task
    assert await way(gate, soon()) == "done"


@both_ways
async def test_a_task_that_others_cancel_is_cancelled(way: Way) -> None:
    gate = Interruptible()
    task = await started(way, gate, forever())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@both_ways
@pytest.mark.parametrize("first", ["cancel", "interrupt"])
async def test_a_task_that_others_cancel_at_the_same_time_stays_cancelled(way: Way, first: str) -> None:
    gate = Interruptible()
    task = await started(way, gate, forever())
    for step in (first, {"cancel": "interrupt", "interrupt": "cancel"}[first]):
        task.cancel() if step == "cancel" else gate.interrupt("stop")
    with pytest.raises(asyncio.CancelledError):
        await task


@both_ways
async def test_an_interrupt_that_meets_the_result_wins_and_leaves_nothing_behind(way: Way) -> None:
    gate = Interruptible()
    result = asyncio.get_running_loop().create_future()
    task = await started(way, gate, result)
    result.set_result("done")
    gate.interrupt("stop")
    with pytest.raises(Interrupted):
        await task
    assert task.cancelling() == 0
    assert await way(gate, soon()) == "done"


@both_ways
async def test_an_error_of_what_is_waited_for_comes_through(way: Way) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    gate = Interruptible()
    with pytest.raises(ValueError, match="no"):
        await way(gate, fails())
    assert await way(gate, soon()) == "done"


async def test_between_the_marks_only() -> None:
    """What is done between two waits is finished first; then the next wait does not begin."""
    gate, done = Interruptible(), []

    async def works() -> None:
        with gate:
            gate.open()
            await soon()
            gate.shut()
            await soon(5)
            done.append("stored")
            gate.open()
            await forever()

    task = asyncio.create_task(works())
    await soon(3)
    gate.interrupt("stop")
    with pytest.raises(Interrupted):
        await task
    assert done == ["stored"]


async def test_a_timeout_around_a_wait_stays_a_timeout() -> None:
    gate = Interruptible()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await gate.wait(forever())
    assert await gate.wait(soon()) == "done"
