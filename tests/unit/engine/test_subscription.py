"""``follow`` and ``speak``: what a subscription is, in the fewest words."""

from __future__ import annotations

import asyncio

import pytest

from penstock.cursor import Cursor
from penstock.engine.subscription import BATCH, follow, frames, speak
from penstock.errors import CursorGone, StreamNotFound
from penstock.events import Event
from penstock.log import Log, Record
from penstock.log.memory import MemoryLog
from streams import SESSION, STREAM, WIRES, kept, long_answer, spoken


async def followed(log: Log, cursor: Cursor | None = None) -> list[Record]:
    return [record async for record in follow(log, STREAM, cursor)]


async def test_follow_gives_every_record_and_ends_at_the_seal() -> None:
    records = await followed(await kept(SESSION))
    assert [record.event for record in records] == SESSION
    assert [record.offset for record in records] == list(range(len(SESSION)))


@pytest.mark.parametrize("k", [0, 1, 20, len(SESSION)])
async def test_follow_goes_on_from_a_cursor(k: int) -> None:
    log = await kept(SESSION)
    cursor = (await log.head(STREAM)).cursor._replace(offset=k)
    assert [record.event for record in await followed(log, cursor)] == SESSION[k:]


async def test_follow_reads_more_than_a_batch() -> None:
    events = long_answer(3 * BATCH)
    assert [record.event for record in await followed(await kept(events))] == events


async def test_follow_waits_for_what_comes() -> None:
    log = await kept(SESSION[:1], seal=False)
    seen: list[Event] = []

    async def read() -> None:
        seen.extend([record.event async for record in follow(log, STREAM)])

    reading = asyncio.create_task(read())
    for event in SESSION[1:]:
        await log.append(STREAM, [event])
        await asyncio.sleep(0)
    assert not reading.done()
    await log.append(STREAM, (), seal=True)
    await reading
    assert seen == SESSION


async def test_follow_says_what_is_not_there() -> None:
    log = await kept(SESSION)
    with pytest.raises(StreamNotFound):
        await anext(follow(MemoryLog(), STREAM))
    with pytest.raises(CursorGone):
        await anext(follow(log, STREAM, Cursor("deadbeef")))


@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
async def test_every_frame_carries_the_cursor_after_it(wire: object) -> None:
    wire = WIRES["openai-chat"]
    log = await kept(SESSION)
    epoch = (await log.head(STREAM)).cursor.epoch
    encoder = wire.encoder()
    for record in await followed(log):
        said = frames(encoder, epoch, record)
        places = [Cursor.parse(frame.id) for frame in said]
        inner = [Cursor(epoch, record.offset, n) for n in range(1, len(said))]
        assert places == ([*inner, Cursor(epoch, record.offset + 1)] if said else [])


async def test_speak_is_live() -> None:
    log = await kept(SESSION[:3], seal=False)
    speaking = speak(log, STREAM, WIRES["native"])
    first = await anext(speaking)
    await log.append(STREAM, SESSION[3:], seal=True)
    rest = [frame async for frame in speaking]
    assert [first, *rest] == await spoken(log, WIRES["native"])
