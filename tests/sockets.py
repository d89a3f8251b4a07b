"""Streams read over bare sockets, so that a test decides where bytes stop: in a head, a chunk or a frame."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from penstock.dialects import Wire, get
from penstock.dialects.native import NDJSON
from penstock.wire import Frame
from penstock.wire.sse import SSE

__all__ = ["CHAT", "LINES", "NATIVE", "WIRES", "Ask", "Reading", "read_all", "read_until_cut"]

NATIVE: Final = get("native").wire(SSE)
LINES: Final = get("native").wire(NDJSON)
CHAT: Final = get("openai-chat").wire()
WIRES: Final = {"native-sse": NATIVE, "native-ndjson": LINES, "openai-chat": CHAT}

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Ask(NamedTuple):
    """A request: POST if it has a body, else GET."""

    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}

    def spelled(self, host: str) -> bytes:
        body = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [
            f"{'GET' if self.body is None else 'POST'} {self.path} HTTP/1.1",
            f"host: {host}",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class _Answer:
    """An HTTP/1.1 answer, fed in any pieces."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self._rest = b""
        self._left = 0
        """Bytes of the current chunk to come, the line end after it included."""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body that ``data`` brings."""
        self._rest += data
        if not self.status and not self._head():
            return b""
        out = b""
        while self._rest and not self.ended and (self._left or self._next_chunk()):
            taken, self._rest = self._rest[: self._left], self._rest[self._left :]
            out += taken[: max(0, self._left - 2)]
            self._left -= len(taken)
        return out

    def _head(self) -> bool:
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if end:
            first, *lines = head.decode().split("\r\n")
            self.status = int(first.split()[1])
            self.headers = {
                name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
            }
            assert self.headers.get("transfer-encoding") == "chunked", (head, rest)
            self._rest = rest
        return bool(end)

    def _next_chunk(self) -> bool:
        size, end, rest = self._rest.partition(b"\r\n")
        if end:
            self._rest, self._left = rest, int(size, 16) + 2
            self.ended = self._left == 2
        return bool(end) and not self.ended


class Reading:
    """A request and the frames of its answer. Leaving the ``async with`` block resets the connection."""

    def __init__(self, url: str, ask: Ask, wire: Wire, limit: float = float("inf")) -> None:
        """``limit``: bytes of the answer, its head included, after which the connection is cut."""
        self.cut = False
        self._host, self._ask, self._left = urlsplit(url).netloc, ask, limit
        self._answer, self._reader = _Answer(), wire.framing.reader()

    async def __aenter__(self) -> Self:
        name, _, port = self._host.partition(":")
        self._input, self._output = await asyncio.open_connection(name, int(port))
        self._output.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._output.write(self._ask.spelled(self._host))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._output.transport.abort()
        try:
            await self._output.wait_closed()
        except OSError:
            pass

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    def ended(self) -> bool:
        """Whether the body came to its own end."""
        return self._answer.ended

    async def begin(self) -> None:
        """Wait for the head. Do not mix with a ``limit``."""
        while not self.status:
            self._answer.feed(await self._input.readexactly(1))

    async def bytes(self) -> bytes:
        """Return the next bytes of the body; empty at its end. Raises: ConnectionError (broken off, cut)."""
        while not self.ended:
            if self._left <= 0:
                self.cut = True
                raise ConnectionAbortedError("cut")
            data = await self._input.read(int(min(self._left, 65536)))
            if not data:
                raise ConnectionResetError("broken off")
            self._left -= len(data)
            if body := self._answer.feed(data):
                return body
        return b""

    async def frames(self) -> list[Frame]:
        """Return the next frames, at least one; none at the end of the body. Raises: ConnectionError."""
        while data := await self.bytes():
            if frames := list(self._reader.feed(data)):
                return frames
        return []

    async def rest(self) -> list[Frame]:
        """Return all further frames. Raises: ConnectionError."""
        frames: list[Frame] = []
        while more := await self.frames():
            frames += more
        return frames


async def read_all(url: str, ask: Ask, wire: Wire) -> list[Frame]:
    """Return every frame of an answer. Raises: ConnectionError (it was broken off)."""
    async with Reading(url, ask, wire) as reading:
        return await reading.rest()


async def read_until_cut(reading: Reading, frames: list[Frame]) -> None:
    """Add the frames of an answer to ``frames``, to its end or until the connection breaks."""
    try:
        while more := await reading.frames():
            frames += more
    except ConnectionError:
        return
