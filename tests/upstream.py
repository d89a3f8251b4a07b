"""A model endpoint of which a test says, byte by byte, how it behaves."""

from __future__ import annotations

import json
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Mapping
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Final, NamedTuple, Self

__all__ = [
    "DONE",
    "HEAD",
    "Request",
    "Script",
    "Upstream",
    "chunk",
    "hang",
    "refusal",
    "reset",
    "sse",
    "tries",
]

Script = Callable[[socket.socket, int], None]
"""Answers a request; the number says which try it is, from 1. The connection is closed after it."""

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE: Final = b"data: [DONE]\n\n"
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Request(NamedTuple):
    """What the endpoint was asked."""

    headers: Mapping[str, str]
    body: dict[str, Any]


class Upstream:
    """Listens while the ``with`` block runs; the model of a request names its script."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.requests: dict[str, list[Request]] = defaultdict(list)
        """All requests so far, by model."""
        self._scripts = scripts
        self._server = _Listener(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def _handler(self) -> type[StreamRequestHandler]:
        upstream = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                request = _read(self.rfile)
                tries = upstream.requests[request.body["model"]]
                tries.append(request)
                try:
                    upstream._scripts[request.body["model"]](self.connection, len(tries))
                except OSError:
                    pass  # Penstock has hung up

        return Handler


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def _read(file: Any) -> Request:
    lines = iter(file.readline, b"\r\n")
    pairs = (line.decode().strip().partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    return Request(headers, json.loads(file.read(int(headers["content-length"]))))


def chunk(text: str = "", finish: str | None = None) -> bytes:
    """Return a chat chunk as an SSE block."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: %b\n\n" % json.dumps({**body, "choices": [choice]}).encode()


def sse(*pieces: bytes) -> Script:
    """Send a stream in these pieces, then close."""

    def script(connection: socket.socket, attempt: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (HEAD, *pieces):
            connection.sendall(piece)

    return script


def refusal(status: int, body: Any, **headers: str) -> Script:
    """Answer with a JSON body; the headers' names may be spelled with underscores."""
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Because",
        "content-type: application/json",
        f"content-length: {len(data)}",
        "connection: close",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode()
    return lambda connection, attempt: connection.sendall(head + data)


def tries(*scripts: Script) -> Script:
    """Behave in another way at each try."""
    return lambda connection, attempt: scripts[attempt - 1](connection, attempt)


def reset(*pieces: bytes) -> Script:
    """Send a stream in these pieces, then break the connection."""

    def script(connection: socket.socket, attempt: int) -> None:
        sse(*pieces)(connection, attempt)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()

    return script


def hang(*pieces: bytes) -> Script:
    """Send a stream in these pieces, then be silent until the other side hangs up."""

    def script(connection: socket.socket, attempt: int) -> None:
        sse(*pieces)(connection, attempt)
        connection.recv(1)

    return script
