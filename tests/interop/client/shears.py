"""A way to a server that cuts, stalls and refuses as it is told: at this frame, at this byte."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Shears", "Snip"]

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
_ENDS: Final = {b"text/event-stream": b"\n\n", b"application/x-ndjson": b"}\n"}
"""How a frame ends, by what the head of its answer says."""
_REFUSAL: Final = (
    b"HTTP/1.1 503 Not Now\r\nretry-after: 0\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n"
    b"connection: close\r\n\r\nlater"
)


class Snip(NamedTuple):
    """What is done to the body of one stream."""

    how: Literal["reset", "half", "stall"]
    frames: int
    """After so many of them."""
    more: int = 0
    """And so many bytes of the next."""


class Shears:
    """Listens while the ``with`` block runs, in front of the server at a URL."""

    def __init__(self, url: str) -> None:
        self.snips: list[Snip] = []
        """What is to be done to the bodies of streams, the next one first."""
        self.always: Snip | None = None
        """What is done to every other."""
        self.refusals = 0
        """How many requests are to be answered 503."""
        self.unheard: list[bytes] = []
        """How requests begin whose answers are lost, the next one first."""
        self.frames = 0
        """How many have passed."""
        self.done: list[str] = []
        """What was done, in its order."""
        self._there = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))
        self._open: set[socket.socket] = set()
        self._deaf: set[socket.socket] = set()
        self._listener = _Listener(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown()
        for connection in list(self._open):
            _shut(connection)
        self._listener.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def _handler(self) -> type[BaseRequestHandler]:
        shears = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                here: socket.socket = self.request
                here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with suppress(OSError), socket.create_connection(shears._there) as there:
                    shears._open |= {here, there}
                    asking = threading.Thread(target=shears._asking, args=(here, there))
                    asking.start()
                    shears._answering(there, here)
                    _shut(there)
                    asking.join()
                    shears._open -= {here, there}

        return Handler

    def _asking(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                if self.refusals:
                    self.refusals -= 1
                    self.done.append("refused")
                    _rest_of(here, data)
                    here.sendall(_REFUSAL)
                    break
                if self.unheard and data.startswith(self.unheard[0]):
                    self.done.append(f"unheard {self.unheard.pop(0).decode()}")
                    self._deaf.add(here)
                there.sendall(data)
        _shut(there)

    def _answering(self, there: socket.socket, here: socket.socket) -> None:
        with suppress(OSError):
            for data, snip in self._pieces(there):
                if here in self._deaf:
                    _reset(here)
                    return
                here.sendall(data)
                if snip is not None:
                    self.done.append(snip.how)
                    _END[snip.how](here)
                    if snip.how == "reset":
                        return
                    while here.recv(65536):
                        pass  # until the reader hangs up
                    return
            here.shutdown(socket.SHUT_WR)

    def _pieces(self, there: socket.socket) -> Iterator[tuple[bytes, Snip | None]]:
        """Yield what the server says, up to where it is cut, and how it is."""
        said, sent, count = b"", 0, 0
        snip: Snip | None = None
        body: tuple[int, bytes] | None = None
        while data := there.recv(65536):
            said += data
            if body is None and (body := _body(said)) is not None:
                snip = self.snips.pop(0) if self.snips else self.always
            if body is not None:
                at, end = body
                while (snip is None or count < snip.frames) and (found := said.find(end, at)) >= 0:
                    count, at = count + 1, found + len(end)
                    self.frames += 1
                body = at, end
                if snip is not None and count == snip.frames and len(said) >= at + snip.more:
                    yield said[sent : at + snip.more], snip
                    return
            yield said[sent:], None
            sent = len(said)


def _body(said: bytes) -> tuple[int, bytes] | None:
    """Return where the body of a stream begins, and how its frames end, if its head is there."""
    for kind, end in _ENDS.items():
        told = said.find(kind)
        head = said.find(b"\r\n\r\n", told) if told >= 0 else -1
        if head >= 0:
            return head + 4, end
    return None


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def _rest_of(here: socket.socket, data: bytes) -> None:
    """Read a request to its end: who closes before that resets, and takes the answer back."""
    while b"\r\n\r\n" not in data:
        data += here.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += here.recv(65536)


def _reset(here: socket.socket) -> None:
    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    here.shutdown(socket.SHUT_RDWR)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


_END: Final[dict[str, Callable[[socket.socket], object]]] = {
    "reset": _reset,
    "half": lambda here: here.shutdown(socket.SHUT_WR),
    "stall": lambda here: None,
}
