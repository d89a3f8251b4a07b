"""One encoding for many readers. The laws are in conformance; this is about the sharing itself."""

from __future__ import annotations

import asyncio
import random

import pytest

from penstock.cursor import Cursor
from penstock.dialects import Wire
from penstock.engine import voice
from penstock.engine.interrupt import Interrupted, Interruptible
from penstock.engine.voice import Subscription, Voices, place
from penstock.errors import CursorGone, StreamNotFound
from penstock.log.memory import MemoryLog
from streams import SESSION, STREAM, WIRES, Counter, SlowLog, drain, kept, long_answer, spoken, written

every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
NATIVE, CHAT = WIRES["native"], WIRES["openai-chat"]


async def test_a_subscription_counts_the_records_it_has_read() -> None:
    log = await kept(SESSION)
    subscription = await Voices(log).subscribe(STREAM, NATIVE)
    assert subscription.offset == 0
    await drain(subscription)
    assert subscription.offset == len(SESSION)
    assert await subscription.read() == b""


async def test_a_wait_for_news_can_be_broken_off_and_goes_on() -> None:
    log = await kept(SESSION[:3], seal=False)
    subscription = await Voices(log).subscribe(STREAM, NATIVE)
    first = await subscription.read()
    for reason in ("silence", "silence", "gone"):
        reading = asyncio.create_task(subscription.read())
        await asyncio.sleep(0.01)
        subscription.gate.interrupt(reason, sticky=False)
        with pytest.raises(Interrupted, match=reason):
            await reading
    await log.append(STREAM, SESSION[3:], seal=True)
    assert first + await drain(subscription) == written(NATIVE, await spoken(log, NATIVE))


async def test_the_bytes_of_one_read_are_bounded() -> None:
    log = await kept(long_answer(5000))
    subscription = await Voices(log).subscribe(STREAM, NATIVE)
    sizes, before = [], 0
    while await subscription.read():
        sizes.append(subscription.offset - before)
        before = subscription.offset
    subscription.close()
    assert max(sizes) <= 256 and sum(sizes) == 5006


async def test_who_fails_to_subscribe_leaves_nothing_behind() -> None:
    log = await kept(SESSION)
    voices = Voices(log)
    for cursor in (Cursor("deadbeef"), (await log.head(STREAM)).cursor._replace(offset=999)):
        with pytest.raises(CursorGone):
            await voices.subscribe(STREAM, NATIVE, cursor)
    with pytest.raises(StreamNotFound):
        await voices.subscribe("no such", NATIVE)
    assert [(voice.readers, voice.joined) for voice in voices._voices.values()] == [(0, 0)]


@every_wire
async def test_who_leaves_is_not_counted_any_more(wire: Wire) -> None:
    """Wherever it was: waiting, encoding for itself, falling behind."""
    log = SlowLog(await kept(long_answer(2000)[:-1], seal=False), 3)
    voices = Voices(log)
    readers = [asyncio.create_task(drain(await voices.subscribe(STREAM, wire))) for _ in range(20)]
    for n, reader in enumerate(readers):
        for _ in range(n):
            await asyncio.sleep(0)
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    [shared] = voices._voices.values()
    assert (shared.readers, shared.joined) == (0, 0)


async def test_voices_that_nobody_hears_are_forgotten_beyond_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(voice, "_UNHEARD", 3)
    log = MemoryLog()
    voices = Voices(log)
    await log.append("heard", SESSION[:2])
    heard = await voices.subscribe("heard", NATIVE)
    for n in range(100):
        await log.append(f"s{n}", SESSION, seal=True)
        await drain(await voices.subscribe(f"s{n}", NATIVE))
    kept_voices = [stream for stream, _ in voices._voices]
    assert len(kept_voices) <= 4 and {"heard", "s99"} <= set(kept_voices)
    heard.close()


@pytest.mark.parametrize("wire", [NATIVE, CHAT], ids=["native", "chat"])
async def test_readers_that_come_while_records_never_stop_share_one_encoding(wire: Wire) -> None:
    """Nobody ever finds the log's end at rest, and still nobody encodes for itself for long."""
    counter, answer = Counter(), long_answer(3000)
    wire = counter.wire(wire)
    log = await kept(answer[:1], seal=False)
    voices = Voices(log)
    readers = [asyncio.create_task(drain(await voices.subscribe(STREAM, wire))) for _ in range(20)]
    for n in range(1, len(answer), 10):
        await log.append(STREAM, answer[n : n + 10], seal=n + 10 >= len(answer))
        await asyncio.sleep(0)
    said = set(await asyncio.gather(*readers))
    assert counter.calls < 2 * len(answer)
    assert said == {written(wire, await spoken(log, wire))}


async def test_only_a_wire_that_is_the_same_shares_a_voice() -> None:
    voices = Voices(await kept(SESSION))
    plain = CHAT.dialect.wire()
    for wire in (CHAT, plain, CHAT.dialect.wire(include_usage=True), NATIVE, WIRES["native-ndjson"]):
        await drain(await voices.subscribe(STREAM, wire))
    assert len(voices._voices) == 4


async def test_a_voice_that_was_taken_over_while_it_read_encodes_nothing() -> None:
    """Its records belong to the encoder before; the new one has them behind it."""
    reading = asyncio.Event()

    class Held(SlowLog):
        async def _pause(self) -> None:
            await reading.wait()

    memory = await kept(SESSION)
    log = Held(memory)
    shared = voice.Voice(log, STREAM, CHAT, (await memory.head(STREAM)).cursor.epoch)
    shared.adopt(CHAT.encoder(), 2)
    advancing = asyncio.create_task(shared.advance())
    await asyncio.sleep(0)
    shared.adopt(CHAT.encoder(), 25)
    reading.set()
    await advancing
    assert (shared.offset, shared.span(2), shared.span(25)) == (25, None, None)


# -- listening


async def listened(subscription: Subscription, chance: random.Random) -> bytes:
    """Read as a connection does: pull what is there, then listen; the sink refuses at times."""
    data: list[bytes] = []

    def sink(span: bytes) -> bool:
        if chance.random() < 0.3:
            return False
        data.append(span)
        return True

    try:
        while not subscription.ended:
            if ready := await subscription.ready():
                data.append(ready)
            elif not subscription.ended:
                try:
                    await subscription.listen(sink)
                except Interrupted:
                    continue
    finally:
        subscription.close()
    return b"".join(data)


@every_wire
@pytest.mark.parametrize("seed", range(8))
async def test_who_listens_gets_what_others_pull(wire: Wire, seed: int) -> None:
    chance = random.Random(seed)
    log = await kept(SESSION[:1], seal=False)
    voices = Voices(log)
    readers: list[asyncio.Task[bytes]] = []
    gates: list[Interruptible] = []
    for event in SESSION[1:]:
        match chance.choices(["nobody", "puller", "listener", "leaver"], [6, 1, 2, 1]):
            case ["puller"]:
                readers.append(asyncio.create_task(drain(await voices.subscribe(STREAM, wire))))
            case ["listener"]:
                subscription = await voices.subscribe(STREAM, wire)
                gates.append(subscription.gate)
                readers.append(asyncio.create_task(listened(subscription, chance)))
            case ["leaver"] if len(readers) > 3:
                readers.pop(chance.randrange(len(readers))).cancel()
        await asyncio.sleep(0)
        for gate in gates:
            if chance.random() < 0.1:
                gate.interrupt("silence", sticky=False)
        await log.append(STREAM, [event], seal=event is SESSION[-1])
        for _ in range(chance.choice((0, 1, 8))):
            await asyncio.sleep(0)
    said = set(await asyncio.gather(*readers))
    assert said == {written(wire, await spoken(log, wire))}
    [shared] = voices._voices.values()
    assert (shared.readers, shared.joined) == (0, 0)


async def test_a_listener_of_one_answer_ends_with_it() -> None:
    log = await kept(SESSION[:3], seal=False)
    frames = await spoken(await kept(SESSION), CHAT)
    subscription = await Voices(log).subscribe(STREAM, CHAT, until_terminal=True)
    listening = asyncio.create_task(listened(subscription, random.Random(1)))
    for event in SESSION[3:]:
        await log.append(STREAM, [event])
        await asyncio.sleep(0)
    end = 1 + next(n for n, frame in enumerate(frames) if frame.data == b"[DONE]")
    assert await listening == written(CHAT, frames[:end])


async def test_a_listener_is_told_when_the_stream_is_deleted() -> None:
    log = await kept(SESSION[:3], seal=False)
    listening = asyncio.create_task(listened(await Voices(log).subscribe(STREAM, CHAT), random.Random(1)))
    await asyncio.sleep(0.01)
    await log.delete(STREAM)
    with pytest.raises(StreamNotFound):
        await listening


# -- counting frames


@pytest.mark.parametrize("count", [0, 1])
async def test_the_first_places(count: int) -> None:
    log = await kept(SESSION)
    cursor = await place(log, STREAM, CHAT, count)
    assert [frame.data for frame in await spoken(log, CHAT, cursor)] == [
        frame.data for frame in (await spoken(log, CHAT))[count:]
    ]
