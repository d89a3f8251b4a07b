"""The only way into a stream: legal, in turn, and fenced."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from penstock.engine.writer import Writer
from penstock.errors import Conflict, LocalProtocolError, LogUnavailable, StreamNotFound, StreamSealed
from penstock.events import (
    Event,
    MessageAdded,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    StopRequested,
    TextPart,
)
from penstock.grammar import Grammar, State
from penstock.log import Log
from penstock.log.memory import MemoryLog
from penstock.log.sqlite import SQLiteLog
from streams import SESSION, STREAM, SlowLog, kept

ASKED, START, BEGUN = MessageAdded("user"), ResponseStarted("r1"), PartStarted("p1", TextPart())
SAID, ENDED, DONE = PartDelta("p1", "a"), PartDone("p1", TextPart("a")), ResponseDone("stop")


async def outsider(log: Log) -> Writer:
    """A writer that has a word to say in a stream of somebody else's."""
    writer = Writer(log, STREAM, owner=False)
    await writer.open()
    return writer


async def stored(log: Log) -> list[Event]:
    return [record.event async for record in log.read(STREAM)]


async def begun() -> tuple[MemoryLog, Writer]:
    """A log with an answer under way, and its writer."""
    log = MemoryLog()
    writer = Writer(log, STREAM)
    await writer.append(ASKED, START, BEGUN)
    return log, writer


async def test_what_is_written_is_there() -> None:
    log, writer = await begun()
    head = await writer.append(SAID, ENDED, DONE, seal=True)
    assert await stored(log) == [ASKED, START, BEGUN, SAID, ENDED, DONE]
    assert head == await log.head(STREAM) and head.sealed
    assert writer.cursor == head.cursor


ILLEGAL: dict[str, tuple[Event, ...]] = {
    "after a legal one": (SAID, PartDelta("p9", "x")),
    "a second answer": (START,),
    "an end with an open part": (DONE,),
    "a message of no message": (PartDone("p1", TextPart()), PartDone("p1", TextPart())),
}


@pytest.mark.parametrize("events", ILLEGAL.values(), ids=list(ILLEGAL))
@pytest.mark.parametrize("way", ["append", "push"])
async def test_nothing_the_grammar_forbids_is_stored(events: tuple[Event, ...], way: str) -> None:
    log, writer = await begun()
    with pytest.raises(LocalProtocolError):
        writer.push(events) if way == "push" else await writer.append(*events)
    assert await stored(log) == [ASKED, START, BEGUN]
    await writer.append(SAID, ENDED, DONE)
    assert await stored(log) == [ASKED, START, BEGUN, SAID, ENDED, DONE]


# -- law 14: fenced


async def test_a_stream_that_exists_is_not_begun_again() -> None:
    log, _ = await begun()
    with pytest.raises(Conflict, match="exists already"):
        await Writer(log, STREAM).append(ASKED, START)
    assert len(await stored(log)) == 3


async def test_of_two_that_begin_one_wins() -> None:
    log = SlowLog(MemoryLog())
    writers = [Writer(log, STREAM) for _ in range(5)]
    outcomes = await asyncio.gather(*(w.append(ASKED, START) for w in writers), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(Conflict) == 4
    assert await stored(log) == [ASKED, START]


@pytest.mark.parametrize("theirs", [(SAID,), (ENDED, DONE), (ResponseFailed("interrupted", "x"),)])
async def test_a_writer_that_was_replaced_stores_nothing_and_is_told_so(theirs: tuple[Event, ...]) -> None:
    log, old = await begun()
    new = Writer(log, STREAM)
    await new.open()
    await new.append(*theirs)
    before = await stored(log)
    for _ in range(2):
        with pytest.raises(Conflict, match="has another writer"):
            await old.append(SAID)
    assert await stored(log) == before


OUTSIDE: list[Event] = [ASKED, StopRequested("ada"), MessageAdded("tool")]


@pytest.mark.parametrize("theirs", OUTSIDE, ids=lambda event: type(event).__name__)
async def test_what_anybody_may_say_replaces_nobody(theirs: Event) -> None:
    log, writer = await begun()
    await (await outsider(log)).append(theirs)
    await writer.append(SAID)
    assert await stored(log) == [ASKED, START, BEGUN, theirs, SAID]


async def test_what_others_said_is_folded_in_before_the_check() -> None:
    log, writer = await begun()
    await (await outsider(log)).append(StopRequested("ada"))
    with pytest.raises(LocalProtocolError, match="StopRequested cannot come here"):
        await writer.append(StopRequested("bob"))
    assert writer.grammar.response is State.STOPPING
    assert (await stored(log)).count(StopRequested("bob")) == 0


async def test_an_outsider_is_held_to_the_grammar_too() -> None:
    log, writer = await begun()
    await writer.append(ENDED, DONE)
    other = await outsider(log)
    for event in (StopRequested("ada"), ReviewDone("c", "d", "approved"), SAID):
        with pytest.raises(LocalProtocolError):
            await other.append(event)


async def test_a_stream_that_was_deleted_or_made_anew_is_not_written() -> None:
    log, writer = await begun()
    await log.delete(STREAM)
    with pytest.raises(Conflict, match="was deleted"):
        await writer.append(SAID)
    await kept([ASKED], seal=False, log=log)
    with pytest.raises(Conflict, match="created anew"):
        await writer.append(SAID)
    assert await stored(log) == [ASKED]


async def test_a_sealed_stream_is_not_written() -> None:
    _, writer = await begun()
    await writer.append(ENDED, DONE, seal=True)
    with pytest.raises(StreamSealed):
        await writer.append(ASKED)


async def test_open_takes_up_the_last_answer_only() -> None:
    log = await kept(SESSION[:-3], seal=False)
    writer = Writer(log, STREAM)
    assert await writer.open() == await log.head(STREAM)
    assert writer.grammar.parts == {"p1": State.OPEN}, "of the last answer alone"
    await writer.append(*SESSION[-3:])
    assert await stored(log) == SESSION
    with pytest.raises(StreamNotFound):
        await Writer(log, "no such").open()


@pytest.mark.parametrize("k", range(len(SESSION) + 1))
async def test_a_writer_may_be_replaced_anywhere(k: int) -> None:
    """As by recovery: the new one knows what may come, the old one is out."""
    log = MemoryLog()
    old = Writer(log, STREAM)
    if k:
        await old.append(*SESSION[:k])
    new = Writer(log, STREAM)
    if k:
        await new.open()
    assert new.grammar.busy == Grammar().after(SESSION[:k]).busy
    await new.append(*SESSION[k:], seal=True)
    assert await stored(log) == SESSION
    with pytest.raises((Conflict, StreamSealed)):
        await old.append(ASKED)


@pytest.mark.parametrize("seed", range(10))
async def test_many_writers_at_once_lose_and_repeat_nothing(seed: int) -> None:
    chance = random.Random(seed)
    memory, _ = await begun()
    log = SlowLog(memory, seed)
    owner = Writer(memory, STREAM)
    await owner.open()
    owner._log = log

    async def says(writer: Writer, who: str) -> None:
        for n in range(10):
            await writer.append(MessageAdded("user", message_id=f"{who}{n}"))
            await asyncio.sleep(0) if chance.random() < 0.5 else None

    async def answers() -> None:
        for n in range(30):
            await owner.append(PartDelta("p1", f"{n} "))

    outsiders = [Writer(log, STREAM, owner=False) for _ in range(3)]
    await asyncio.gather(answers(), *(says(writer, f"{who}.") for who, writer in enumerate(outsiders)))
    events = await stored(memory)
    deltas = [event.delta for event in events if isinstance(event, PartDelta)]
    assert deltas == [f"{n} " for n in range(30)]
    said = [event.message_id for event in events if isinstance(event, MessageAdded)]
    for who in range(3):
        own = [name for name in said if name.startswith(f"{who}.")]
        assert own == [f"{who}.{n}" for n in range(10)]
    Grammar().after(events)


async def test_a_log_that_fails_leaves_the_writer_where_it_was() -> None:
    log, writer = await begun()
    before = (writer.cursor, writer.grammar)
    await log.aclose()
    with pytest.raises(LogUnavailable):
        await writer.append(SAID)
    assert (writer.cursor, writer.grammar) == before


# -- pushing


async def test_what_is_pushed_is_there_in_order() -> None:
    log, writer = await begun()
    for n in range(100):
        if not writer.push([PartDelta("p1", f"{n} ")]):
            await writer.append(PartDelta("p1", f"{n} "))
    await writer.append(PartDone("p1", TextPart()), DONE, seal=True)
    deltas = [event.delta for event in await stored(log) if isinstance(event, PartDelta)]
    assert deltas == [f"{n} " for n in range(100)]


async def test_what_cannot_be_pushed_is_not_stored() -> None:
    """Somebody else was first: append() is to find out who."""
    log, writer = await begun()
    await (await outsider(log)).append(ASKED)
    assert writer.push([SAID]) is False
    assert await stored(log) == [ASKED, START, BEGUN, ASKED]
    await writer.append(SAID)
    assert (await stored(log))[-1] == SAID


async def test_a_log_that_is_not_live_takes_no_pushes() -> None:
    memory, _ = await begun()
    writer = Writer(SlowLog(memory), STREAM)
    await writer.open()
    assert writer.push([SAID]) is False
    assert len(await stored(memory)) == 3


async def test_what_is_in_the_way_and_not_yet_stored_is_waited_for(tmp_path: Path) -> None:
    """Two writers; what the first has pushed is on its way when the second appends."""
    log = await SQLiteLog.open(tmp_path / "log.db", window=0.05)
    first = Writer(log, "s", fresh=True)
    await first.append(MessageAdded("user"))
    second = Writer(log, "s", owner=False)
    await second.open()
    assert first.push([MessageAdded("user", message_id="theirs")])
    await asyncio.wait_for(second.append(MessageAdded("user", message_id="ours")), 10)
    stored = [record.event async for record in log.read("s")]
    assert [event.message_id for event in stored if isinstance(event, MessageAdded)] == ["", "theirs", "ours"]
    await log.aclose()
