"""
SIGTERM while answers are written.

Nothing new begins; what is short ends by itself, what is long ends in-band, a
reader who waits for more is broken off where it can come back; the exit code is
0, and after a restart everything is there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from penstock.wire import Frame
from serving import Server
from sockets import NATIVE, Ask, Reading, read_until_cut

SSE: Final = {"accept": "text/event-stream"}
SHORT: Final = {"model": "demo", "input": "rivers in 60 words"}
LONG: Final = {"model": "demo-slow", "input": "rivers in 500 words"}
OPEN: Final = {"model": "demo", "input": "rivers in 5 words", "keep_open": True}


@asynccontextmanager
async def begun(server: Server, body: dict[str, Any]) -> AsyncIterator[tuple[Reading, list[Frame]]]:
    """Start an answer; yield the reading of its stream, to the seal, and its first frames."""
    async with Reading(server.url, Ask("/v1/streams", body, SSE), NATIVE) as start:
        await start.begin()
        stream = start.headers["penstock-stream"]
    path = f"/v1/streams/{stream}/events"
    async with Reading(server.url, Ask(path, None, SSE), NATIVE) as reading:
        frames: list[Frame] = []
        while len(frames) < 4:
            frames += await reading.frames()
        yield reading, frames


def stream_of(reading: Reading) -> str:
    return reading.headers["penstock-stream"]


def last(frames: list[Frame]) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(frames[-1].data)
    return event


async def until_draining(http: httpx2.AsyncClient) -> None:
    """Return once the server, over a connection it has, says that it drains."""
    while (await http.get("/readyz")).status_code != 503:
        pass


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=60) as http:
        yield http


async def test_a_server_that_is_told_to_end_loses_nothing(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    with Server(tmp_path, drain_time=4) as server:
        http.base_url = server.url
        assert (await http.get("/readyz")).status_code == 200
        async with (
            begun(server, SHORT) as (short, short_frames),
            begun(server, LONG) as (long, long_frames),
            begun(server, OPEN) as (idle, idle_frames),
        ):
            while last(idle_frames)["type"] != "response.done":
                idle_frames += await idle.frames()
            server.signal()
            await until_draining(http)
            refused = await http.post("/v1/streams", json=SHORT)
            short_frames += await short.rest()
            long_frames += await long.rest()
            await read_until_cut(idle, idle_frames)
            told = {
                stream_of(r): f for r, f in ((short, short_frames), (long, long_frames), (idle, idle_frames))
            }
        assert server.wait() == 0

        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) >= 1
        assert last(short_frames)["type"] == "response.done" and short.ended
        assert last(long_frames)["code"] == "interrupted" and long.ended
        assert not idle.ended

        server.start()
        for stream, frames in told.items():
            again = httpx2.get(f"{server.url}/v1/streams/{stream}/events?until=done", headers=SSE, timeout=60)
            assert NATIVE.framing.reader().feed(again.content) == frames
        more = httpx2.post(f"{server.url}/v1/streams/{stream_of(idle)}/messages", json={"input": "more"})
        assert more.status_code == 201


async def test_a_second_signal_does_not_wait(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    with Server(tmp_path, drain_time=600) as server:
        http.base_url = server.url
        assert (await http.get("/readyz")).status_code == 200
        async with begun(server, LONG) as (reading, frames):
            server.signal()
            await until_draining(http)
            server.signal()
            await read_until_cut(reading, frames)
            stream = stream_of(reading)
        assert server.wait(patience=60) == 0
        assert last(frames)["type"] != "response.failed" and not reading.ended

        server.start()
        again = httpx2.get(f"{server.url}/v1/streams/{stream}/events", headers=SSE, timeout=60)
        whole = NATIVE.framing.reader().feed(again.content)
        assert whole[: len(frames)] == frames
        assert last(whole)["code"] == "interrupted"


@pytest.mark.parametrize("body", [OPEN, {**OPEN, "model": "demo-silent"}], ids=["idle", "silent"])
async def test_an_idle_reader_does_not_hold_the_server_up(tmp_path: Path, body: dict[str, Any]) -> None:
    with Server(tmp_path, drain_time=0) as server:
        async with begun(server, body) as (reading, frames):
            assert await asyncio.to_thread(server.stop) == 0
            await read_until_cut(reading, frames)
            assert not reading.ended
