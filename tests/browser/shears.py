"""A way to a server that is cut where a test says: after this text, be it within a line of a block."""

from __future__ import annotations

import re
import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Cut", "Shears"]

_PATIENCE: Final = 60.0


class Cut(NamedTuple):
    """Where a connection ends: after what the ``times``-th match of ``pattern`` in its answers matches."""

    pattern: bytes
    times: int = 1


class Shears:
    """
    Passes connections on to a server while the ``with`` block runs, and cuts them.

    Each cut ends one connection, both ways; then it is the next one's turn. What
    the server said before the cut arrives, to the byte. A server that is not there
    is one that hangs up at once.
    """

    def __init__(self, url: str, *cuts: Cut) -> None:
        self.left = list(cuts)
        """Cuts that have not been made yet."""
        self._server = urlsplit(url)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = _Listener(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown()
        for connection in self._open:
            _end(connection)
        self._listener.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def _handler(self) -> type[BaseRequestHandler]:
        shears = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                there = (str(shears._server.hostname), int(shears._server.port or 0))
                try:
                    server = socket.create_connection(there, _PATIENCE)
                except OSError:
                    return
                with server:
                    server.settimeout(None)
                    shears._open += [self.request, server]
                    asking = threading.Thread(target=_pass, args=(self.request, server))
                    asking.start()
                    shears._answer(server, self.request)
                    asking.join()

        return Handler

    def _answer(self, server: socket.socket, browser: socket.socket) -> None:
        """Pass on what the server says, up to a cut or its end; then end both."""
        said, sent, cut = b"", 0, False
        try:
            while not cut and (data := server.recv(65536)):
                said += data
                end, cut = self._end_of(said, sent)
                browser.sendall(said[sent:end])
                sent = end
        except OSError:
            pass  # one side has gone
        _end(browser)
        _end(server)

    def _end_of(self, said: bytes, sent: int) -> tuple[int, bool]:
        """Return how much of what was said may be passed on, and whether that is all."""
        with self._lock:
            if self.left:
                pattern, times = self.left[0]
                ends = [match.end() for match in re.finditer(pattern, said, re.DOTALL)]
                if len(ends) >= times and ends[times - 1] > sent:
                    del self.left[0]
                    return ends[times - 1], True
        return len(said), False


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def _pass(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    _end(sink)


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
