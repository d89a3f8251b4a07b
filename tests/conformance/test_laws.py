"""The laws of the house that concern what readers get, one section each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import chain

import pytest

from penstock.cursor import Cursor
from penstock.dialects import Wire, available, get, native, openai_chat
from penstock.engine import voice
from penstock.engine.subscription import frames as encoded
from penstock.engine.subscription import speak
from penstock.engine.voice import Voices, place
from penstock.errors import CursorGone, NoSuchPlugin, StreamNotFound
from penstock.events import TERMINAL, Event, MessageAdded, ResponseFailed, ResponseStarted, TextPart
from penstock.grammar import Grammar
from penstock.log import Log
from penstock.log.memory import MemoryLog
from penstock.wire import Frame
from recordings import RECORDINGS, frames_of
from streams import (
    SESSION,
    STREAM,
    WIRES,
    Counter,
    SlowLog,
    drain,
    kept,
    long_answer,
    records,
    spoken,
    written,
)

every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))


def cursors(frames: list[Frame]) -> list[Cursor]:
    """Where a reader may stand: before the first frame, and after each."""
    epoch = Cursor.parse(frames[0].id).epoch
    return [Cursor(epoch), *(Cursor.parse(frame.id) for frame in frames)]


# -- law 1: resume, at every cut


@every_wire
async def test_resuming_after_any_frame_gives_the_rest(wire: Wire) -> None:
    log = await kept(SESSION)
    frames = await spoken(log, wire)
    for k, cursor in enumerate(cursors(frames)):
        assert await spoken(log, wire, cursor) == frames[k:], cursor


@every_wire
async def test_cursors_grow(wire: Wire) -> None:
    places = cursors(await spoken(await kept(SESSION), wire))
    assert places == sorted(set(places))


async def test_there_are_cuts_inside_of_events() -> None:
    """Else the test above would prove less than it says."""
    places = cursors(await spoken(await kept(SESSION), WIRES["openai-chat"]))
    assert len([place for place in places if place.frame]) >= 8


@every_wire
async def test_a_subscription_after_any_frame_gives_the_rest(wire: Wire) -> None:
    log = await kept(SESSION)
    frames = await spoken(log, wire)
    shared = Voices(log)
    for k, cursor in enumerate(cursors(frames)):
        for voices in (shared, Voices(log)):
            assert await drain(await voices.subscribe(STREAM, wire, cursor)) == written(wire, frames[k:]), (
                cursor
            )


@every_wire
async def test_a_subscription_of_one_answer_ends_with_it(wire: Wire) -> None:
    log = await kept(SESSION)
    frames = await spoken(log, wire)
    ends = [n + 1 for n, event in enumerate(SESSION) if isinstance(event, TERMINAL)]
    for k, cursor in enumerate(cursors(frames)):
        end = next((end for end in ends if end > cursor.offset), len(SESSION))
        rest = [frame for frame in frames[k:] if Cursor.parse(frame.id)[1:] <= (end, 0)]
        subscription = await Voices(log).subscribe(STREAM, wire, cursor, until_terminal=True)
        assert await drain(subscription) == written(wire, rest), cursor


async def test_a_wire_without_ids_is_resumed_by_counting() -> None:
    wire = WIRES["openai-chat"]
    log = await kept(SESSION)
    places = cursors(await spoken(log, wire))
    assert [await place(log, STREAM, wire, count) for count in range(len(places))] == places
    with pytest.raises(CursorGone, match=f"has {len(places) - 1} frames in this wire, not {len(places)}"):
        await place(log, STREAM, wire, len(places))


async def read_slowly(voices: Voices, wire: Wire, cursor: Cursor | None, chance: random.Random) -> bytes:
    data = []
    subscription = await voices.subscribe(STREAM, wire, cursor)
    try:
        while not subscription.ended:
            data.append(await subscription.read())
            for _ in range(chance.choice((0, 0, 1, 30))):
                await asyncio.sleep(0)
    finally:
        subscription.close()
    return b"".join(data)


async def write_slowly(log: Log, events: list[Event], chance: random.Random) -> None:
    rest = list(events)
    while rest:
        n = chance.randint(1, 4)
        await log.append(STREAM, rest[:n], seal=n >= len(rest))
        del rest[:n]
        for _ in range(chance.choice((0, 1, 5))):
            await asyncio.sleep(0)


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Voices forget their spans so soon that readers fall behind all the time."""
    for name, value in {"_SPANS": 2, "_CHECKPOINT": 5, "_CHECKPOINTS": 3}.items():
        monkeypatch.setattr(voice, name, value)


@every_wire
@pytest.mark.parametrize("seed", range(15))
@pytest.mark.usefixtures("short_memory")
async def test_readers_of_all_speeds_get_the_same_while_it_is_written(wire: Wire, seed: int) -> None:
    """Readers come at any time, from any place, read at any pace; some leave before the end."""
    chance = random.Random(seed)
    events = [*SESSION[:-1], *long_answer(30)]
    memory = MemoryLog()
    await memory.append(STREAM, [MessageAdded("user", (TextPart("Hello"),))])
    log = SlowLog(memory, seed)
    voices = Voices(log)
    writing = asyncio.create_task(write_slowly(log, events, chance))
    readers: list[tuple[Cursor | None, asyncio.Task[bytes]]] = []
    while not writing.done():
        said = await until_now(memory, wire)
        cursor = chance.choice([None, *cursors(said)[1:]]) if said else None
        readers.append((cursor, asyncio.create_task(read_slowly(voices, wire, cursor, chance))))
        if chance.random() < 0.3:
            chance.choice(readers)[1].cancel()
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
    frames = await spoken(memory, wire)
    places = cursors(frames)
    for cursor, reader in readers:
        with suppress(asyncio.CancelledError):
            k = places.index(cursor) if cursor else 0
            assert await reader == written(wire, frames[k:])
    assert len(readers) > 5


async def until_now(log: Log, wire: Wire) -> list[Frame]:
    """The frames there are now of a stream that grows."""
    encoder, epoch = wire.encoder(), (await log.head(STREAM)).cursor.epoch
    return [frame async for record in log.read(STREAM) for frame in encoded(encoder, epoch, record)]


# -- law 4: deterministic encoders


@every_wire
def test_two_encodings_are_equal(wire: Wire) -> None:
    first, second = wire.encoder(), wire.encoder()
    for record in records(SESSION):
        said = list(first.encode(record))
        assert list(second.encode(record)) == said
        second = deepcopy(second)  # as a checkpoint would be


@every_wire
def test_an_encoder_needs_no_more_than_the_answer_it_is_in(wire: Wire) -> None:
    """So that the thousandth answer of a session is resumed as cheaply as the first."""
    whole = wire.encoder()
    said = [list(whole.encode(record)) for record in records(SESSION)]
    starts = [n for n, event in enumerate(SESSION) if isinstance(event, ResponseStarted)]
    for start in starts:
        fresh = wire.encoder()
        assert [list(fresh.encode(record)) for record in records(SESSION)[start:]] == said[start:]


@every_wire
def test_what_is_encoded_is_ascii_and_one_line(wire: Wire) -> None:
    encoder = wire.encoder()
    for frame in chain.from_iterable(map(encoder.encode, records(SESSION))):
        assert frame.data.isascii() and b"\n" not in frame.data and b"\r" not in frame.data


# -- laws 6 and 7: one terminal, and the end of input is not one


def cut_sessions() -> Iterator[tuple[int, list[Frame]]]:
    encoder = native.Encoder()
    frames = [frame for record in records(SESSION) for frame in encoder.encode(record)]
    return ((k, frames[:k]) for k in range(len(frames) + 1))


def test_a_native_stream_cut_anywhere_is_whole_or_says_that_it_is_not() -> None:
    for k, frames in cut_sessions():
        decoder = native.Decoder()
        said = [event for frame in frames for event in decoder.decode(frame)]
        rest = list(decoder.close())
        assert list(decoder.close()) == [], "the end is said once"
        assert not Grammar().after([*said, *rest]).busy, k
        busy = Grammar().after(said).busy
        ended = any(isinstance(event, TERMINAL) for event in said)
        assert [type(event) for event in rest] == (
            [ResponseFailed] if busy else [] if ended else [ResponseStarted, ResponseFailed]
        )
        assert all(event.code == "truncated" for event in rest if isinstance(event, ResponseFailed))


def test_a_chat_decoder_says_one_terminal_whatever_it_is_fed() -> None:
    """Bodies one after the other: what follows the first end is ignored."""
    for recording in RECORDINGS[::7]:
        decoder = openai_chat.Decoder()
        twice = [*recording.frames, *frames_of(recording.body)]
        said = [event for frame in twice for event in decoder.decode(frame)] + list(decoder.close())
        assert [type(event) for event in said if isinstance(event, TERMINAL)] == [type(said[-1])]
        assert list(decoder.close()) == []


# -- law 8: a reader that leaves stops nothing


@every_wire
async def test_a_reader_that_leaves_disturbs_nobody(wire: Wire) -> None:
    log = await kept(SESSION[:5], seal=False)
    voices = Voices(log)
    reader, stays = [await voices.subscribe(STREAM, wire) for _ in range(2)]
    waiting = asyncio.create_task(drain(reader))
    reading = asyncio.create_task(drain(stays))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await log.append(STREAM, SESSION[5:], seal=True)
    assert await reading == written(wire, await spoken(log, wire))


# -- law 10: gaps are spoken

WRONG_PLACES: dict[str, Callable[[str], Cursor]] = {
    "of another epoch": lambda _: Cursor("deadbeef", 1),
    "of another epoch, at the beginning": lambda _: Cursor("deadbeef"),
    "ahead of the end": lambda epoch: Cursor(epoch, len(SESSION) + 1),
    "in a record that is not there": lambda epoch: Cursor(epoch, len(SESSION), 1),
    "in a frame that is not there": lambda epoch: Cursor(epoch, SESSION.index(SESSION[2]), 99),
    "in a frame that is not there yet": lambda epoch: Cursor(epoch, 3, 1),
    "in a frame of an event that has none": lambda epoch: Cursor(epoch, 0, 1),
}


@every_wire
@pytest.mark.parametrize("wrong", WRONG_PLACES.values(), ids=list(WRONG_PLACES))
@pytest.mark.parametrize("sealed", [True, False])
async def test_a_place_that_is_not_there_is_an_error(
    wire: Wire, wrong: Callable[[str], Cursor], sealed: bool
) -> None:
    log = await kept(SESSION, seal=sealed)
    cursor = wrong((await log.head(STREAM)).cursor.epoch)
    with pytest.raises(CursorGone) as caught:
        await anext(speak(log, STREAM, wire, cursor))
    assert caught.value.field == "cursor"
    with pytest.raises(CursorGone) as caught:
        await Voices(log).subscribe(STREAM, wire, cursor)
    assert caught.value.field == "cursor"


@every_wire
async def test_a_stream_that_is_not_there_is_an_error(wire: Wire) -> None:
    with pytest.raises(StreamNotFound):
        await anext(speak(MemoryLog(), STREAM, wire))
    with pytest.raises(StreamNotFound):
        await Voices(MemoryLog()).subscribe(STREAM, wire)
    with pytest.raises(StreamNotFound):
        await place(MemoryLog(), STREAM, wire, 3)


@every_wire
async def test_a_trimmed_stream_is_read_from_what_is_left_but_not_resumed_before(wire: Wire) -> None:
    log = await kept(SESSION)
    frames = await spoken(log, wire)
    first = await log.trim(STREAM, SESSION.index(SESSION[30]))
    assert 0 < first <= 30
    left = [frame for frame in frames if Cursor.parse(frame.id).offset >= first
            and Cursor.parse(frame.id) > Cursor.parse(frame.id)._replace(offset=first, frame=0)]  # fmt: skip
    assert await spoken(log, wire) == left
    assert await drain(await Voices(log).subscribe(STREAM, wire)) == written(wire, left)
    gone = Cursor.parse(left[0].id)._replace(offset=first - 1, frame=0)
    with pytest.raises(CursorGone):
        await spoken(log, wire, gone)
    with pytest.raises(CursorGone):
        await Voices(log).subscribe(STREAM, wire, gone)


@every_wire
async def test_a_stream_deleted_under_a_reader_is_an_error(wire: Wire) -> None:
    log = await kept(SESSION[:5], seal=False)
    subscription = await Voices(log).subscribe(STREAM, wire)
    reading = asyncio.create_task(drain(subscription))
    await asyncio.sleep(0.01)
    await log.delete(STREAM)
    with pytest.raises(StreamNotFound):
        await reading


@every_wire
async def test_a_stream_made_anew_is_not_the_old_one(wire: Wire) -> None:
    log = await kept(SESSION)
    voices = Voices(log)
    old = await spoken(log, wire)
    await drain(await voices.subscribe(STREAM, wire))
    await log.delete(STREAM)
    await kept(long_answer(3), log=log)
    assert await drain(await voices.subscribe(STREAM, wire)) == written(wire, await spoken(log, wire))
    with pytest.raises(CursorGone):
        await voices.subscribe(STREAM, wire, Cursor.parse(old[3].id))


# -- law 11: control frames never move a cursor


@every_wire
async def test_keepalives_move_nothing(wire: Wire) -> None:
    frames = await spoken(await kept(SESSION), wire)
    blocks = [written(wire, [frame]) for frame in frames]

    def read(body: bytes) -> list[Frame]:
        reader = wire.framing.reader()
        return [*reader.feed(body), *reader.close()]

    assert b"id:" not in wire.framing.keepalive
    assert read(wire.framing.keepalive.join([b"", *blocks, b""])) == read(b"".join(blocks))
    if wire.dialect.ids:
        assert [native.cursor_of(frame) for frame in read(b"".join(blocks))] == [frame.id for frame in frames]


# -- law 12: linear


@every_wire
async def test_a_thousand_readers_at_the_live_end_cost_one_encoding(wire: Wire) -> None:
    counter, answer = Counter(), long_answer(10)
    wire = counter.wire(wire)
    log = await kept(answer[:5], seal=False)
    voices = Voices(log)
    readers = [asyncio.create_task(drain(await voices.subscribe(STREAM, wire))) for _ in range(1000)]
    await asyncio.sleep(0.05)
    before = counter.calls
    for event in answer[5:]:
        await log.append(STREAM, [event], seal=event is answer[-1])
        await asyncio.sleep(0)
    said = set(await asyncio.gather(*readers))
    assert counter.calls - before == len(answer) - 5
    assert said == {written(wire, await spoken(log, wire))}


@every_wire
async def test_a_live_reader_encodes_nothing_twice(wire: Wire) -> None:
    counter, answer = Counter(), long_answer(2000)
    wire = counter.wire(wire)
    log = await kept(answer[:1], seal=False)
    reading = asyncio.create_task(drain(await Voices(log).subscribe(STREAM, wire)))
    for n in range(1, len(answer), 50):
        await log.append(STREAM, answer[n : n + 50], seal=n + 50 >= len(answer))
        await asyncio.sleep(0)
    await reading
    assert counter.calls == len(answer)


@every_wire
async def test_a_long_answer_is_resumed_from_a_checkpoint(wire: Wire) -> None:
    """Near its end, that is: at most a checkpoint's distance is encoded again."""
    counter, answer = Counter(), long_answer(4000)
    wire = counter.wire(wire)
    log = await kept(answer[:1], seal=False)
    voices = Voices(log)
    reading = asyncio.create_task(drain(await voices.subscribe(STREAM, wire)))
    for n in range(1, len(answer), 100):
        await log.append(STREAM, answer[n : n + 100])
        await asyncio.sleep(0)
    await log.append(STREAM, (), seal=True)
    whole = await reading
    frames = await spoken(log, wire)
    assert whole == written(wire, frames)
    for k in (5, 1030, 2100, 3300, len(frames) - 3, len(frames) - 1, len(frames)):
        cursor = cursors(frames)[k]
        counter.calls = 0
        rest = await drain(await voices.subscribe(STREAM, wire, cursor))
        assert rest == written(wire, frames[k:]), cursor
        assert counter.calls < len(answer) - cursor.offset + 2 * 1300


@every_wire
async def test_the_last_answer_of_a_long_session_is_resumed_without_the_others(wire: Wire) -> None:
    counter = Counter()
    wire = counter.wire(wire)
    log = await kept([event for _ in range(100) for event in long_answer(20)])
    frames = await spoken(log, wire)
    counter.calls = 0
    assert await drain(await Voices(log).subscribe(STREAM, wire, cursors(frames)[-2])) == written(
        wire, frames[-1:]
    )
    assert counter.calls <= 2 * len(long_answer(20))


# -- all of them


def test_every_dialect_of_ours_is_under_these_laws() -> None:
    found = [get(name) for name in available()]
    variants = [variant for dialect in found for variant in dialect.variants.values()]
    assert {wire.dialect for wire in WIRES.values()} == {*found, *variants}


def test_a_dialect_is_found_by_the_name_it_has() -> None:
    for wire in WIRES.values():
        assert get(wire.dialect.name) is wire.dialect


def test_a_variant_is_named_after_its_dialect() -> None:
    for dialect in map(get, available()):
        assert "/" not in dialect.name
        for name, variant in dialect.variants.items():
            assert variant.name == f"{dialect.name}/{name}" and not variant.variants


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("oper", "no dialect 'oper'; did you mean 'opper'?"),
        ("oper/v1", "no dialect 'oper'; did you mean 'opper'?"),
        ("opper/v2", "no dialect 'opper/v2'; did you mean 'opper/v3'?"),
        ("native/9", "no dialect 'native/9'; did you mean 'native'?"),
        ("native/", "no dialect 'native/'; did you mean 'native'?"),
        ("opper/v1/v1", "no dialect 'opper/v1/v1'; did you mean 'opper/v1'?"),
        ("opper/whatever-else", "no dialect 'opper/whatever-else'; there are opper, opper/v1, opper/v3"),
    ],
)
def test_a_dialect_that_is_not_there_is_an_error_that_says_what_is(name: str, says: str) -> None:
    with pytest.raises(NoSuchPlugin) as caught:
        get(name)
    assert caught.value.message == says
