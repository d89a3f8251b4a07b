"""
Readers that leave, stall or come in crowds.

A reader is a cursor: what it does changes nothing for the run (law 8), for the
others, or for the server's memory (law 9); keepalives move nobody's cursor
(law 11).
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from penstock.dialects import Wire
from penstock.dialects.native import cursor_of
from penstock.wire import Frame
from serving import Server
from sockets import LINES, NATIVE, Ask, Reading, read_all

CROWD: Final = 1000
SSE: Final = {"accept": "text/event-stream"}
PIECES: Final = 20_000
PIECE: Final = "x" * 400
"""Of an answer too large for the buffers between two sockets."""


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    """A thousand readers are a thousand files here, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def tape(folder: Path) -> str:
    """Write a recording of a large answer, and return the configuration that plays it as ``large``."""
    common: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps({**common, 'choices': [choice]})}\n\n"

    pieces = chunk({"role": "assistant", "content": PIECE}) * PIECES
    (folder / "large.sse").write_text(pieces + chunk({}, "stop") + "data: [DONE]\n\n")
    return '[upstreams.tape]\nreplay = "large.sse"\nmodels = { large = "large" }\n'


async def begin(server: Server, body: dict[str, Any]) -> str:
    """Start an answer and return its stream."""
    async with httpx2.AsyncClient(timeout=60) as http:
        return str((await http.post(f"{server.url}/v1/streams", json=body)).json()["id"])


def events(stream: str, cursor: str = "", wire: Wire = NATIVE) -> Ask:
    accept = {"accept": wire.framing.media_type}
    return Ask(f"/v1/streams/{stream}/events?until=done&cursor={cursor}", None, accept)


def kinds(frames: list[Frame]) -> list[str]:
    return [json.loads(frame.data)["type"] for frame in frames]


# -- readers that leave


@pytest.mark.parametrize("wire", [NATIVE, LINES], ids=["sse", "ndjson"])
async def test_a_reader_that_leaves_stops_nothing(tmp_path: Path, wire: Wire) -> None:
    with Server(tmp_path) as server:
        accept = {"accept": wire.framing.media_type}
        body = {"model": "demo", "input": "rivers in 40 words"}
        async with Reading(server.url, Ask("/v1/streams", body, accept), wire) as reading:
            frames = await reading.frames()
            stream = reading.headers["penstock-stream"]
        told = await read_all(server.url, events(stream, wire=wire), wire)
    assert len(told) > len(frames) and told[: len(frames)] == frames
    assert "response.stop.requested" not in kinds(told)
    end = json.loads(told[-1].data)
    assert (end["type"], end["finish_reason"]) == ("response.done", "stop")


# -- readers that do not read


class Stalled:
    """A reader that asks, and then does not read."""

    def __init__(self, url: str, ask: Ask) -> None:
        host = url.removeprefix("http://")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((host.partition(":")[0], int(host.partition(":")[2])))
        self._socket.sendall(ask.spelled(host))

    async def rest(self) -> tuple[int, bool]:
        """Read on; return the number of bytes, and whether the body came to its end."""
        self._socket.setblocking(False)
        loop, size, tail = asyncio.get_running_loop(), 0, b""
        try:
            while data := await loop.sock_recv(self._socket, 65536):
                size, tail = size + len(data), (tail + data)[-5:]
        except ConnectionResetError:
            pass
        return size, tail == b"0\r\n\r\n"

    def close(self) -> None:
        self._socket.close()


def memory(server: Server) -> int:
    """Return the bytes that the server has in memory."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def until_readers(server: Server, number: int) -> None:
    """Return once the server says it has so many readers."""
    async with httpx2.AsyncClient(timeout=60) as http:
        while (await http.get(f"{server.url}/readyz")).json()["readers"] != number:
            pass


async def test_a_reader_that_does_not_read_is_dropped_alone(tmp_path: Path) -> None:
    with Server(tmp_path, tape(tmp_path), write_timeout=1) as server:
        stream = await begin(server, {"model": "large", "input": "go"})
        stalled = Stalled(server.url, events(stream))
        told = await read_all(server.url, events(stream), NATIVE)
        assert kinds(told[-1:]) == ["response.done"] and len(told) > PIECES
        await until_readers(server, 0)
        size, ended = await stalled.rest()
        stalled.close()
    assert size < len(PIECE) * PIECES / 2 and not ended


async def test_what_is_not_read_takes_no_memory(tmp_path: Path) -> None:
    readers = 40
    with Server(tmp_path, tape(tmp_path)) as server:
        stream = await begin(server, {"model": "large", "input": "go"})
        await read_all(server.url, events(stream), NATIVE)
        before = memory(server)
        stalled = [Stalled(server.url, events(stream)) for _ in range(readers)]
        await until_readers(server, readers)
        told = await read_all(server.url, events(stream), NATIVE)
        grown = memory(server) - before
        for reader in stalled:
            reader.close()
    assert len(told) > PIECES
    print(f"{readers} stalled readers of {len(PIECE) * PIECES:,} bytes: {grown:,} bytes of memory")
    assert grown < len(PIECE) * PIECES * readers / 4


# -- readers that wait


@pytest.mark.parametrize("wire", [NATIVE, LINES], ids=["sse", "ndjson"])
async def test_silence_is_filled_and_moves_no_cursor(tmp_path: Path, wire: Wire) -> None:
    rhythm, wanted = 0.2, 5
    with Server(tmp_path, keepalive=rhythm) as server:
        stream = await begin(server, {"model": "demo-silent", "input": "rivers"})
        frames, data = list[Frame](), b""
        async with Reading(server.url, events(stream, wire=wire), wire) as reading:
            while len(frames) < 7:  # all that comes before the silence
                frames += await reading.frames()
            began = time.monotonic()
            while data.count(wire.framing.keepalive) < wanted:
                data += await reading.bytes()
            took = time.monotonic() - began
            assert data == wire.framing.keepalive * (len(data) // len(wire.framing.keepalive))
            assert took > rhythm * (wanted - 2)
            async with httpx2.AsyncClient(timeout=60) as http:
                await http.post(f"{server.url}/v1/streams/{stream}/stop")
            frames += await reading.rest()
        assert await read_all(server.url, events(stream, wire=wire), wire) == frames
        assert await read_all(server.url, events(stream, cursor_of(frames[6]), wire), wire) == frames[7:]


# -- crowds


async def test_a_thousand_readers_of_one_stream(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        stream = await begin(server, {"model": "demo-slow", "input": "rivers in 12 words"})
        crowd = await asyncio.gather(*(read_all(server.url, events(stream), NATIVE) for _ in range(CROWD)))
        told = await read_all(server.url, events(stream), NATIVE)
    assert kinds(told)[-1] == "response.done" and len(told) > 12
    assert sum(frames == told for frames in crowd) == CROWD


async def test_a_thousand_streams_at_once(tmp_path: Path) -> None:
    ask = Ask("/v1/streams", {"model": "demo", "input": "rivers in 20 words"}, SSE)
    with Server(tmp_path) as server:
        crowd = await asyncio.gather(*(read_all(server.url, ask, NATIVE) for _ in range(CROWD)))
    told = {"".join(json.loads(frame.data).get("delta", "") for frame in frames) for frames in crowd}
    assert len(told) == 1 and len(told.pop()) > 20
    assert all(kinds(frames)[-1] == "response.done" for frames in crowd)
    assert len({cursor_of(frames[0]) for frames in crowd}) == CROWD  # each a stream of its own


async def test_a_new_stream_is_served_while_others_go_as_fast_as_they_can(tmp_path: Path) -> None:
    busy = 300
    ask = Ask("/v1/streams", {"model": "large", "input": "go"}, SSE)
    with Server(tmp_path, tape(tmp_path)) as server:
        await asyncio.gather(*(begin(server, {"model": "large", "input": "go"}) for _ in range(busy)))
        began = time.monotonic()
        frames: list[Frame] = []
        async with Reading(server.url, ask, NATIVE) as reading:
            while "part.delta" not in kinds(frames):
                frames += await reading.frames()
        took = time.monotonic() - began
        running = httpx2.get(f"{server.url}/readyz", timeout=60).json()["runs"]
    print(f"first word after {took:.2f} s beside {running} answers at full speed")
    assert running > busy / 2, "the server was not busy: the test shows nothing"
    assert took < 5
