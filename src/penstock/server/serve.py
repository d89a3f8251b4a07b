"""
The process: uvicorn around the application, its signals and its end.

On SIGTERM or SIGINT the server takes no new work, lets answers end within the
drain time, ends the rest in-band, flushes the log and exits with 0. A second
signal does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..config import Settings
from ..errors import ConfigError
from .access import is_loopback
from .app import create_app
from .respond import DIRECT
from .service import Service

__all__ = ["run"]

_log = logging.getLogger("penstock.server")

_BACKLOG: Final = 4096
_DOORS: Final = 16
"""
Listeners on each of our sockets. libuv lets one connection in per listener and
turn of the loop, and turns are long when a thousand streams flow: newcomers
would wait for seconds.
"""

_SWITCH: Final = 0.0005
"""Seconds for which the event loop may keep the interpreter while the log's thread waits for it."""


def run(settings: Settings, on_ready: Callable[[str, Service], None]) -> None:
    """
    Serve until told to stop.

    Args:
        on_ready: called with the base URL and the service once requests are answered.
    Raises:
        ConfigError, LogError: the server cannot start; the message says why.
    """
    _raise_file_limit()
    sys.setswitchinterval(_SWITCH)
    uvloop = importlib.util.find_spec("uvloop")
    factory = None
    if uvloop is not None:
        import uvloop as fast  # an optional extra

        factory = fast.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(settings, on_ready))


async def _serve(settings: Settings, on_ready: Callable[[str, Service], None]) -> None:
    service = await Service.open(settings)
    try:
        _check_exposure(settings, service)
        _quieten()
        config = uvicorn.Config(
            create_app(service),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        sockets = await _listening(settings.host, settings.port)
        doors = [socket.dup() for socket in sockets for _ in range(_DOORS - 1)]
        await _Server(config, service, on_ready).serve([*sockets, *doors])
    finally:
        await service.aclose()


async def _listening(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of ``host``. Raises: ConfigError."""
    sockets: list[socket.socket] = []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, *_, address in dict.fromkeys(found):
            where = (address[0], port)
            sockets.append(socket.create_server(where, family=family, backlog=_BACKLOG))
            port = sockets[0].getsockname()[1]  # if it was ours to choose, the same for all
    except OSError as exc:
        for opened in sockets:
            opened.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror or exc}", field="port") from exc
    return sockets


class _Protocol(HttpToolsProtocol):
    """Shows the application the connection itself: see :class:`penstock.server.respond.Direct`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {DIRECT: {"direct": _Connection(self)}}


class _Connection:
    """A connection of ours, below ASGI. uvicorn goes on counting what is in flight."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes) -> bool:
        return self.write_apart((data,))

    def write_apart(self, chunks: Sequence[bytes]) -> bool:
        transport = self._protocol.transport
        if self._protocol.flow.write_paused or transport.is_closing():
            return False
        # An empty chunk would end the body.
        written = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
        if written:
            transport.write(written[0] if len(written) == 1 else b"".join(written))
        return True

    def abort(self) -> None:
        self._protocol.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn's server, drained before it is shut down, and exiting with 0."""

    def __init__(
        self, config: uvicorn.Config, service: Service, on_ready: Callable[[str, Service], None]
    ) -> None:
        super().__init__(config)
        self._service, self._on_ready = service, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is here now stays; the collector need not look at it again
        gc.set_threshold(50_000, 20, 50)
        assert sockets
        host, port, *_ = sockets[0].getsockname()
        self._on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", self._service)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # new clients go elsewhere
        draining = asyncio.create_task(self._service.drain())
        while not draining.done() and not self.force_exit:
            await asyncio.wait((draining,), timeout=0.1)
        self._service.connections.break_off()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals without raising them again at the end: a drained server has succeeded."""
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _check_exposure(settings: Settings, service: Service) -> None:
    if not is_loopback(settings.host) and not service.keys:
        raise ConfigError(
            f"without API keys Penstock listens on loopback only, not on {settings.host!r}: "
            "create a key first (`penstock keys create`)",
            field="host",
        )


def _raise_file_limit() -> None:
    """A thousand readers are a thousand files; the usual soft limit is 1,024."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _quieten() -> None:
    """Keep uvicorn's complaint about broken-off bodies out of the log: we break them off on purpose."""
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing response" not in record.getMessage()
    )
