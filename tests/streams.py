"""Streams to test with, logs to keep them in, and encoders that are counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from penstock.cursor import Cursor
from penstock.dialects import Dialect, Encoder, Spoken, Wire, get
from penstock.dialects.native import NDJSON
from penstock.engine.subscription import speak
from penstock.engine.voice import Subscription
from penstock.events import (
    Custom,
    DataPart,
    Event,
    FilePart,
    MessageAdded,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    SourcePart,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
    Usage,
)
from penstock.log import Log, Record
from penstock.log.memory import MemoryLog
from penstock.wire import Frame

__all__ = [
    "EVERY_EVENT",
    "SEATED",
    "SESSION",
    "STREAM",
    "STRUCTURED",
    "WIRES",
    "Counter",
    "SlowLog",
    "drain",
    "kept",
    "long_answer",
    "records",
    "spoken",
    "written",
]

STREAM = "st_1"

WIRES: dict[str, Wire] = {
    "native": get("native").wire(),
    "native-ndjson": get("native").wire(NDJSON),
    "openai-chat": get("openai-chat").wire(include_usage=True),
    "opper": get("opper").wire(),
    "opper-strings": get("opper").wire(strings=True),
    "opper-narrow": get("opper").wire(narrow=True),
    "opper-v1": get("opper/v1").wire(),
    "opper-v3": get("opper/v3").wire(),
    "modelrelay": get("modelrelay").wire(),
    "modelrelay-sse": get("modelrelay").wire(get("modelrelay").framings[1]),
    "modelrelay-v1": get("modelrelay/v1").wire(),
    "modelrelay-run": get("modelrelay/run").wire(),
    "orq": get("orq").wire(),
    "mix": get("mix").wire(),
    "mix-early": get("mix").wire(generation="early"),
}

USAGE = Usage(31, 8, 9, 4, extra={"prompt_tokens_details": {"audio_tokens": 0}})

_CITED = {"type": "url_citation", "url_citation": {"url": "https://tides.example", "title": "Tides"}}

_ASKED: list[Event] = [
    MessageAdded("system", (TextPart("Be terse."),)),
    MessageAdded(
        "user", (TextPart("When is the tide\u2028in Brest? 🌊"), FilePart("image/png", data="AA=="))
    ),
]

_CALLS: list[Event] = [
    ResponseStarted("st_1.1", "demo", request={"model": "demo", "instructions": "hush", "choices": 1}),
    PartStarted("p1", ReasoningPart()),
    PartDelta("p1", "Two ports, "),
    PartDelta("p1", "two calls."),
    PartDone("p1", ReasoningPart("Two ports, two calls.", "sig")),
    PartStarted("p2", TextPart("Let")),  # a part may begin with something in it
    PartDelta("p2", " me look."),
    PartStarted("p3", ToolCallPart("call_1", "get_tide")),
    PartStarted("p4", ToolCallPart("call_2", "get_tide")),
    PartDelta("p3", '{"port":'),
    PartDelta("p4", '{"port":"Bor'),
    Custom("provider.note", {"ü": 1}),
    PartDelta("p3", '"Brest"}'),
    PartDelta("p4", 'deaux"}'),
    PartDone("p4", ToolCallPart("call_2", "get_tide", '{"port":"Bordeaux"}')),
    PartDone("p3", ToolCallPart("call_1", "get_tide", '{"port":"Brest"}')),
    PartDone("p2", TextPart("Let me look.")),
    ReviewRequested("call_1", "get_tide", "d1", {"port": "Brest"}, 1e9),
    ReviewDone("call_1", "d1", "approved", "ada"),
    ToolStarted("call_1", "get_tide", {"port": "Brest"}),
    ToolDone("call_1", {"at": "12:40"}),
    ToolFailed("call_2", "no such port"),
    ResponseDone("tool_calls", USAGE, ("call_1", "call_2")),
]

_STOPPED: list[Event] = [
    MessageAdded("tool", (ToolResultPart("call_1", "12:40"),)),
    ResponseStarted("st_1.2", "demo"),
    PartStarted("p1", TextPart()),
    PartDelta("p1", "High tide is at \ud83c\udf0a".encode("utf-16", "surrogatepass").decode("utf-16")),
    StopRequested("ada"),
    PartDone("p1", TextPart("High tide is at 🌊")),
    ResponseDone("cancelled", Usage(3, output_tokens=4, source="estimated")),
]

_CHOICES: list[Event] = [
    MessageAdded("user", (TextPart("Three ways, please."),)),
    ResponseStarted("st_1.3", "demo", "poet", {"choices": 3}),  # three frames in some wires
    PartStarted("p1", TextPart(), 1),
    PartStarted("p2", DataPart(), 0),
    PartDelta("p1", "b", {"logprobs": {"content": []}}),
    PartDelta("p2", '{"a":'),
    MessageAdded("user", (TextPart("Are you there?"),)),  # may come while an answer is under way
    PartDelta("p2", "1}"),
    PartDone("p2", DataPart({"a": 1})),
    PartStarted("p3", RefusalPart(), 2),
    PartDelta("p3", "No."),
    PartDone("p3", RefusalPart("No.")),
    PartDone("p1", TextPart("bc")),  # the end of a part may say more than its deltas
    PartStarted("p4", SourcePart("https://tides.example", "Tides", _CITED), 1),
    PartDone("p4", SourcePart("https://tides.example", "Tides", _CITED)),
    ResponseDone(
        "stop", USAGE, finish_reasons=("stop", "length", "content_filter"), extra={"chunk": {"x": 1}}
    ),
]

_FAILED: list[Event] = [
    ResponseStarted("st_1.4", "demo-fail"),
    PartStarted("p1", TextPart()),
    PartDelta("p1", "Well"),
    ResponseFailed("upstream", "gone", retryable=True, usage=USAGE),
    Custom("after.all"),
]

SESSION: list[Event] = [*_ASKED, *_CALLS, *_STOPPED, *_CHOICES, *_FAILED]
"""One stream with everything that makes resuming hard."""

EVERY_EVENT: list[Event] = [*SESSION, MessageAdded("developer", (TextPart("Hush."),))]


SEATED = {
    "host": "Boris",
    "guests": [{"name": "Ida 🌊", "vip": True}, {"name": "", "vip": None}],
    "tables": 12,
}

STRUCTURED: list[Event] = [
    ResponseStarted("st_1.1", "demo", "seating"),
    PartStarted("p1", ReasoningPart()),
    PartStarted("p2", DataPart()),
    PartDelta("p1", "Two guests."),
    PartDelta("p2", '{"host":"Bo'),
    PartDelta("p2", 'ris","guests":[{"name":"Ida \\ud83c'),  # half of what 🌊 is
    PartStarted("p3", TextPart("So ")),
    PartDelta("p2", '\\udf0a","vip":true},{"name":"","vip":null}],"tables":1'),
    PartDelta("p3", "be "),
    PartDone("p1", ReasoningPart("Two guests.")),
    PartDelta("p2", "2}"),
    PartDone("p2", DataPart(SEATED)),
    PartDelta("p3", "it."),
    PartDone("p3", TextPart("So be it.")),
    ResponseDone("stop", USAGE),
]
"""An answer whose data is cut at its worst places, with other parts open beside it."""


def long_answer(deltas: int) -> list[Event]:
    """An answer of ``deltas`` pieces, begun by a tool call so that an encoder has something to remember."""
    call = ToolCallPart("call_1", "f", "{}")
    return [
        ResponseStarted("st_1.1", "demo"),
        PartStarted("p1", call),
        PartDone("p1", call),
        PartStarted("p2", TextPart()),
        *(PartDelta("p2", f"{n} ") for n in range(deltas)),
        PartDone("p2", TextPart("".join(f"{n} " for n in range(deltas)))),
        ResponseDone("stop", USAGE),
    ]


def records(events: Iterable[Event], at: float = 1763600000.25) -> list[Record]:
    """The events as a log might hold them."""
    return [Record(n, at + n / 8, event) for n, event in enumerate(events)]


async def kept(events: Sequence[Event], *, seal: bool = True, log: MemoryLog | None = None) -> MemoryLog:
    """A log that holds ``events`` in :data:`STREAM`."""
    log = log or MemoryLog()
    await log.append(STREAM, events, seal=seal)
    return log


async def spoken(log: Log, wire: Wire, cursor: Cursor | None = None) -> list[Frame]:
    """All frames of a sealed stream."""
    return [frame async for frame in speak(log, STREAM, wire, cursor)]


def written(wire: Wire, frames: Iterable[Frame]) -> bytes:
    """The frames as bytes, each with its id only where the dialect has ids."""
    worn = (frame if wire.dialect.ids else Frame(frame.data, frame.event) for frame in frames)
    return b"".join(map(wire.framing.write, worn))


async def drain(subscription: Subscription) -> bytes:
    """Everything a subscription says, to its end."""
    data = []
    try:
        while not subscription.ended:
            data.append(await subscription.read())
    finally:
        subscription.close()
    return b"".join(data)


class SlowLog:
    """A log that lets others run before and after each thing it does, as one on a disk or a network would."""

    def __init__(self, log: Log, seed: int = 0) -> None:
        self._log, self._chance = log, random.Random(seed)

    async def _pause(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)

    async def append(self, *args: Any, **kwargs: Any) -> Any:
        await self._pause()
        return await self._log.append(*args, **kwargs)

    async def batch(self, *args: Any, **kwargs: Any) -> Any:
        await self._pause()
        found = await self._log.batch(*args, **kwargs)
        await self._pause()
        return found

    async def head(self, stream: str) -> Any:
        await self._pause()
        return await self._log.head(stream)

    async def wait(self, stream: str, head: Any) -> Any:
        await self._pause()
        return await self._log.wait(stream, head)

    async def origin(self, stream: str, offset: int) -> int:
        await self._pause()
        return await self._log.origin(stream, offset)

    def read(self, stream: str, cursor: Cursor | None = None) -> AsyncIterator[Record]:
        return self._log.read(stream, cursor)

    async def aclose(self) -> None:
        await self._log.aclose()


class Counter:
    """Counts how often encoders are asked to encode."""

    def __init__(self) -> None:
        self.calls = 0

    def wire(self, wire: Wire) -> Wire:
        """The same wire, its encoders counted."""
        return replace(wire, dialect=self._dialect(wire.dialect))

    def _dialect(self, dialect: Dialect) -> Dialect:
        assert dialect.encoder is not None
        make = dialect.encoder
        return replace(dialect, encoder=lambda **options: _Counted(make(**options), self))


class _Counted:
    def __init__(self, encoder: Encoder, counter: Counter) -> None:
        self._encoder, self._counter = encoder, counter

    def encode(self, record: Spoken) -> Iterable[Frame]:
        self._counter.calls += 1
        return self._encoder.encode(record)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Counted:
        return _Counted(deepcopy(self._encoder, memo), self._counter)
