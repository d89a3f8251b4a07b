"""A way to a server that cuts its connections, at bytes that a seed decides."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final, Self
from urllib.parse import urlsplit

__all__ = ["CUTS", "Shears", "anywhere"]

CUTS: Final = 200
"""How often an SDK is cut off in a test."""
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


def anywhere(seed: int, longest: int = 1500) -> Iterator[int]:
    """Yield after how many bytes, fewer than ``longest``, the next connection is cut."""
    chance = random.Random(seed)
    while True:
        yield chance.randrange(longest)


class Shears:
    """Listens while the ``with`` block runs."""

    def __init__(self, url: str, limits: Iterable[int | None]) -> None:
        """
        Args:
            url: the server's.
            limits: for each connection, after how many bytes of the server's it is cut; None, and
                all connections after the last: not at all.
        """
        self.cuts = 0
        """Connections that were cut before the server had said everything."""
        self.connections = 0
        self.asked: list[bytes] = []
        """What each connection's client has said."""
        self.said: list[int] = []
        """Bytes that the server has said on each connection."""
        self.gone = threading.Semaphore(0)
        """Released when a client has closed its connection, or let it be closed."""
        self._there = urlsplit(url)
        self._limits = iter(limits)
        self._lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def _handler(self) -> type[BaseRequestHandler]:
        shears = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                shears._serve(self.request)

        return Handler

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            limit, number = next(self._limits, None), self.connections
            self.connections += 1
            self.asked.append(b"")
            self.said.append(0)
        with socket.create_connection((str(self._there.hostname), int(self._there.port or 0))) as server:
            asking = threading.Thread(target=_pass_on, args=(client, server, self._hear(number)))
            asking.start()
            if self._cut_off(server, client, limit, number):
                with self._lock:
                    self.cuts += 1
                _end(server)
                if number % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                _end(client, socket.SHUT_RD if number % 2 else socket.SHUT_RDWR)
            asking.join()
        self.gone.release()

    def _cut_off(self, server: socket.socket, client: socket.socket, limit: int | None, number: int) -> bool:
        """Pass on what the server says; return whether there was more than ``limit``."""
        try:
            while data := server.recv(65536):
                left = len(data) if limit is None else limit - self.said[number]
                self.said[number] += len(data)
                client.sendall(data[:left])
                if left < len(data):
                    return True
        except OSError:
            pass  # one side has gone
        _end(client)
        return False

    def _hear(self, number: int) -> Callable[[bytes], None]:
        def hear(data: bytes) -> None:
            self.asked[number] += data

        return hear


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self.close_request(request)  # no goodbye first: a reset is one


def _pass_on(client: socket.socket, server: socket.socket, hear: Callable[[bytes], None]) -> None:
    try:
        while data := client.recv(65536):
            hear(data)
            server.sendall(data)
    except OSError:
        pass  # cut
    _end(server)


def _end(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        pass  # it has ended already
