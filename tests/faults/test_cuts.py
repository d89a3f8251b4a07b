"""
Connections cut while an answer is being written: after a random number of
bytes, be it within the head, a chunk's size, a frame or an escaped character.

Each reader comes back to where its last whole frame left it, until it has had
everything. Nothing may be missing, nothing may come twice.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Final, NamedTuple

from penstock.dialects import Wire
from penstock.dialects.native import cursor_of
from penstock.wire import Frame
from serving import Server
from sockets import CHAT, LINES, NATIVE, Ask, Reading, read_until_cut

READERS: Final = 4
FAR: Final = 1500
"""The most bytes that a connection lives for."""
CUTS: Final = 200
"""Over all wires, at least."""

QUESTION: Final = "think step by step about rivers"
BODIES: Final[dict[str, dict[str, Any]]] = {
    "native": {"model": "demo", "input": QUESTION, "choices": 2},
    "openai-chat": {
        "model": "demo", "messages": [{"role": "user", "content": QUESTION}], "n": 2, "stream": True,
    },
}  # fmt: skip


class Way(NamedTuple):
    """How an answer is asked for, and how a reader says where it stands."""

    wire: Wire
    path: str

    @property
    def accept(self) -> dict[str, str]:
        return {"accept": self.wire.framing.media_type}

    def start(self, key: str, frames: list[Frame]) -> Ask:
        """Ask for what is after ``frames`` by repeating the request that began the answer."""
        headers = {**self.accept, "idempotency-key": key}
        if frames:
            headers["last-event-id"] = self._place(frames)
        return Ask(self.path, BODIES[self.wire.dialect.name], headers)

    def follow(self, stream: str, frames: list[Frame]) -> Ask:
        """Ask for what is after ``frames`` by the name of the stream."""
        query = f"until=done&dialect={self.wire.dialect.name}&cursor={self._place(frames)}"
        return Ask(f"/v1/streams/{stream}/events?{query}", None, self.accept)

    def _place(self, frames: list[Frame]) -> str:
        if not self.wire.dialect.ids:
            return str(len(frames))
        return cursor_of(frames[-1]) if frames else ""


WAYS: Final = {
    "native SSE": Way(NATIVE, "/v1/streams"),
    "native NDJSON": Way(LINES, "/v1/streams"),
    "openai-chat": Way(CHAT, "/v1/chat/completions"),
}


class Pieces:
    """A reader whose every connection is cut, each somewhere else."""

    def __init__(self, way: Way, key: str, seed: int) -> None:
        self.frames: list[Frame] = []
        self.cuts = 0
        """Connections cut while the answer was being written."""
        self._way, self._key, self._chance = way, key, random.Random(f"{key} {seed}")

    async def read(self, url: str, stream: str, uncut: asyncio.Task[list[Frame]]) -> None:
        """Read to the end, beside the reader ``uncut``."""
        ended = False
        while not ended:
            repeat, follow = self._way.start(self._key, self.frames), self._way.follow(stream, self.frames)
            ask, limit = self._chance.choice((repeat, follow)), self._chance.randrange(1, FAR)
            async with Reading(url, ask, self._way.wire, limit) as reading:
                await read_until_cut(reading, self.frames)
            assert reading.cut or reading.ended, "the server broke the connection off"
            self.cuts += reading.cut and not uncut.done()
            ended = reading.ended


async def _watch(url: str, name: str, way: Way) -> int:
    """Read one answer whole, and with many readers in pieces, all at the same time; return the cuts."""
    key = name.replace(" ", "-")
    readers = [Pieces(way, key, seed) for seed in range(READERS)]
    async with Reading(url, way.start(key, []), way.wire) as reading, asyncio.TaskGroup() as group:
        await reading.begin()
        uncut = group.create_task(reading.rest())
        for reader in readers:
            group.create_task(reader.read(url, reading.headers["penstock-stream"], uncut))
    for reader in readers:
        assert reader.frames == uncut.result()
    cuts = sum(reader.cuts for reader in readers)
    print(f"{name}: {len(uncut.result())} frames, {READERS} readers, {cuts} cuts: 0 lost, 0 repeated")
    return cuts


async def test_a_reader_that_is_cut_loses_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, keepalive=0.01) as server:  # cuts fall into keepalives too
        cuts = sum(await asyncio.gather(*(_watch(server.url, name, way) for name, way in WAYS.items())))
    print(f"{cuts} cuts: 0 lost, 0 repeated")
    assert cuts >= CUTS
