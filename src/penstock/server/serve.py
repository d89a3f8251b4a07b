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
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

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
            host=settings.host,
            port=settings.port,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=4096,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        await _Server(config, service, on_ready).serve()
    finally:
        await service.aclose()


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
        transport = self._protocol.transport
        if self._protocol.flow.write_paused or transport.is_closing():
            return False
        if data:  # an empty chunk would end the body
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
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

    async def startup(self, sockets: list[Any] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as exc:  # uvicorn's way to say that the port is taken
            where = f"{self.config.host}:{self.config.port}"
            raise ConfigError(f"cannot listen on {where}: is another server there?", field="port") from exc
        gc.collect()
        gc.freeze()  # what is here now stays; the collector need not look at it again
        gc.set_threshold(50_000, 20, 50)
        port = self.servers[0].sockets[0].getsockname()[1]
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._on_ready(f"http://{host}:{port}", self._service)

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
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
