"""
``kill -9`` while twenty answers are written, again and again on the same data.

What a reader was sent had been stored: after each restart it is there at the
same cursor, byte for byte; each answer has one terminal event; and readers go
on by their cursors as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from penstock.dialects import Wire
from penstock.dialects.native import cursor_of
from penstock.wire import Frame, jsontext
from serving import Server
from sockets import LINES, NATIVE, Ask, Reading, read_all, read_until_cut

ROUNDS: Final = 4
RUNS: Final = 20
TOOL: Final = {
    "name": "get_tide",
    "parameters": {"type": "object", "properties": {"port": {"type": "string"}}},
}
SCHEMA: Final = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
SHAPES: Final[tuple[dict[str, Any], ...]] = (
    {"input": "rivers"},
    {"input": "think step by step about rivers"},
    {"input": "rivers", "choices": 3},
    {"input": "the tide", "tools": [TOOL], "tool_choice": {"mode": "required"}},
    {"input": "a person", "output_schema": SCHEMA},
    {"input": "rivers", "model": "demo-fail"},
    {"input": "rivers", "keep_open": True},
)
ENDLESS: Final[tuple[dict[str, Any], ...]] = (
    {"input": "rivers, in 5,000 words"},
    {"input": "rivers", "model": "demo-slow"},
    {"input": "rivers", "model": "demo-silent"},
)
"""Answers that are still being written at any moment at which the server may be killed."""
TERMINAL: Final = ("response.done", "response.failed")


class Watched:
    """An answer, and the frames that its reader has had."""

    def __init__(self, number: int) -> None:
        self.wire: Wire = (NATIVE, LINES)[number % 2]
        shapes = (*SHAPES, *ENDLESS)
        self.body = {"model": "demo", **shapes[number % len(shapes)]}
        self.endless = number % len(shapes) >= len(SHAPES)
        self.stream = ""
        self.frames: list[Frame] = []

    async def start(self, url: str, counter: Counter) -> None:
        """Begin the answer and read it until the server dies."""
        ask = Ask("/v1/streams", self.body, {"accept": self.wire.framing.media_type})
        async with Reading(url, ask, self.wire) as reading:
            await reading.begin()
            self.stream = reading.headers["penstock-stream"]
            counter.started()
            try:
                while more := await reading.frames():
                    self.frames += more
                    counter.add(len(more))
            except ConnectionError:
                return

    async def resume(self, url: str) -> None:
        """Read what is missing."""
        if self.frames and _type(self.frames[-1]) in TERMINAL:
            return
        headers = {"last-event-id": cursor_of(self.frames[-1])} if self.frames else {}
        async with Reading(url, self._events(headers), self.wire) as reading:
            await read_until_cut(reading, self.frames)
            assert reading.ended, f"{self.stream} was broken off"

    async def again(self, url: str) -> list[Frame]:
        """Return the whole answer as the server has it now."""
        return await read_all(url, self._events({}), self.wire)

    def _events(self, headers: dict[str, str]) -> Ask:
        accept = {"accept": self.wire.framing.media_type}
        return Ask(f"/v1/streams/{self.stream}/events?until=done", None, {**accept, **headers})


class Counter:
    """Says when every answer has begun and the readers together have had so many frames."""

    def __init__(self, runs: int, frames: int) -> None:
        self.reached = asyncio.Event()
        self._runs, self._frames = runs, frames

    def started(self) -> None:
        self._runs -= 1

    def add(self, frames: int) -> None:
        self._frames -= frames
        if self._runs <= 0 and self._frames <= 0:
            self.reached.set()


def _type(frame: Frame) -> str:
    return str(jsontext.decode(frame.data)["type"])


def _terminals(frames: Iterable[Frame]) -> list[dict[str, Any]]:
    return [event for frame in frames if (event := jsontext.decode(frame.data))["type"] in TERMINAL]


async def _round(server: Server, chance: random.Random) -> list[Watched]:
    """Start twenty answers, kill the server in the middle of them, start it again and read to the ends."""
    watched = [Watched(number) for number in range(RUNS)]
    counter = Counter(RUNS, chance.randrange(100, 900))
    async with asyncio.TaskGroup() as readers:
        for one in watched:
            readers.create_task(one.start(server.url, counter))
        await counter.reached.wait()
        server.kill()
    server.start()
    async with asyncio.timeout(30):  # every answer has its end by now
        await asyncio.gather(*(one.resume(server.url) for one in watched))
    for one in watched:
        [end] = _terminals(one.frames)
        assert not one.endless or end.get("code") == "interrupted", end
    return watched


async def test_nothing_that_was_read_is_lost(tmp_path: Path) -> None:
    chance = random.Random(9)
    everything: list[Watched] = []
    with Server(tmp_path) as server:
        for _ in range(ROUNDS):
            everything += await _round(server, chance)
            for one in everything:
                assert await one.again(server.url) == one.frames, one.body
                assert len(_terminals(one.frames)) == 1, one.body
    frames = sum(len(one.frames) for one in everything)
    print(f"{ROUNDS} kills of {RUNS} answers, {frames} frames: 0 lost, 0 repeated")
