"""
Connections to one upstream: HTTP/1.1, as much of it as asking a model takes.

Every token of every answer comes through here, so the body goes from the socket
through httptools straight to whoever consumes it: no stream object, no task to
wake. What is not needed is not here: redirects, cookies, compression, proxies.

Rule 1: what one read may bring is bounded by the budget.
Rule 2: a body that was cut off is told from one that has ended.
Rule 3: a connection is used again only if its answer was read to the end.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import httptools

from ...errors import ConfigError, RemoteProtocolError, UpstreamUnavailable
from . import Budget

__all__ = ["Answer", "Body", "Consumer", "Host"]

_CONNECT: Final = 10.0
"""Seconds for name, connection and TLS together."""
_MAX_HEAD: Final = 64 * 1024
_LARGEST_READ: Final = 64 * 1024
_KEPT: Final = 60.0
"""Seconds for which an idle connection is kept: less than most servers do."""

_shared = memoryview(bytearray(_LARGEST_READ))
"""What is read is worked on before anything else is read, except where the system reads in the background."""


class Answer(NamedTuple):
    """The head of an answer; the names of its headers are lower-case."""

    status: int
    reason: str
    headers: Mapping[str, str]

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Consumer(Protocol):
    """Who takes a body as it arrives."""

    def take(self, data: bytes) -> None: ...

    def end(self, error: Exception | None) -> None:
        """The body is over; ``error`` says that it was cut off, and how."""
        ...


class Host:
    """Where requests of one upstream go, and the connections there."""

    def __init__(self, url: str, headers: Mapping[str, str], budget: Budget) -> None:
        """
        Args:
            url: the address requests are posted to.
            headers: sent with each of them.
        Raises:
            ConfigError: the address or a header makes no sense.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of an upstream", field="url")
        if "@" in parts.netloc:
            raise ConfigError("an upstream's address must not contain a password: use `key`", field="url")
        self._name, self._secure = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._budget = budget
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ConfigError("a header of an upstream contains a line end", field="headers")
        self._head = "\r\n".join(lines).encode("latin-1")
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None

    async def post(self, data: bytes) -> tuple[Answer, Body]:
        """
        Post ``data`` and return the answer, its body not yet read.

        A connection kept from before may be dead without our knowing; then the
        request goes out once more on a new one.
        Raises: UpstreamUnavailable, RemoteProtocolError.
        """
        request = b"%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, len(data), data)
        while kept := self._kept():
            with suppress(_Dead):
                return await self._exchange(kept, request)
        try:
            return await self._exchange(await self._connect(), request)
        except _Dead as exc:
            raise UpstreamUnavailable(f"{self._name} closed the connection: {exc}") from exc

    async def _exchange(self, connection: _Connection, request: bytes) -> tuple[Answer, Body]:
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        return answer, Body(connection, self)

    def _kept(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < _KEPT:
                return connection
            connection.abort()
        return None

    def keep(self, connection: _Connection) -> None:
        """Take back a connection whose answer was read to the end."""
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        where = f"{self._name}:{self._port}"
        if self._secure and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with asyncio.timeout(_CONNECT):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._budget), self._name, self._port, ssl=self._tls
                )
        except TimeoutError:
            raise UpstreamUnavailable(f"no connection to {where} within {_CONNECT:g} s") from None
        except OSError as exc:
            raise UpstreamUnavailable(f"no connection to {where}: {exc}") from exc
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()


class Body:
    """The body of an answer. :meth:`close` it, read or not."""

    __slots__ = ("_connection", "_host")

    def __init__(self, connection: _Connection, host: Host) -> None:
        self._connection, self._host = connection, host

    def feed(self, consumer: Consumer) -> None:
        """Give what has arrived, and all that will, to ``consumer``; see :meth:`pause`."""
        self._connection.feed(consumer)

    def pause(self) -> None:
        """Read no more until :meth:`resume`; what was read already is still given out."""
        self._connection.pause()

    def resume(self) -> None:
        self._connection.resume()

    async def whole(self, limit: int) -> bytes:
        """Return the body, or its first ``limit`` bytes, as far as it came."""
        gathered = _Gathered(limit)
        self.feed(gathered)
        await gathered.done
        return b"".join(gathered.pieces)

    def close(self) -> None:
        connection = self._connection
        if connection.reusable:
            connection.feed(None)
            self._host.keep(connection)
        else:
            connection.abort()


class _Dead(Exception):
    """The connection was closed before a byte of the answer came."""


class _Gathered:
    """A consumer that keeps what it is given."""

    def __init__(self, limit: int) -> None:
        self.pieces: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = limit

    def take(self, data: bytes) -> None:
        self.pieces.append(data[: self._left])
        self._left -= len(self.pieces[-1])
        if not self._left:
            self.end(None)

    def end(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.BufferedProtocol):
    """One exchange at a time."""

    __slots__ = (
        "_answer", "_asked", "_body", "_budget", "_buffer", "_complete", "_consumer", "_error", "_head_size",
        "_headers", "_lives_on", "_parser", "_paused", "_reason", "_transport", "idle_since",
    )  # fmt: skip

    def __init__(self, budget: Budget) -> None:
        self.idle_since = 0.0
        """By the loop's clock."""
        self._budget = budget
        self._buffer = memoryview(bytearray(_LARGEST_READ // 4)) if sys.platform == "win32" else _shared
        self._consumer: Consumer | None = None
        self._body: list[bytes] = []
        """Of the body, what has arrived and is with no consumer yet."""
        self._error: Exception | None = None
        self._asked: asyncio.Future[Answer] | None = None
        self._paused = False

    # -- asking

    async def ask(self, request: bytes) -> Answer:
        """Send a request; return the head of its answer. Raises: _Dead, RemoteProtocolError."""
        self._parser = httptools.HttpResponseParser(self)
        self._asked = asyncio.get_running_loop().create_future()
        self._answer: Answer | None = None
        self._complete = self._lives_on = False
        self._begin()
        self.resume()  # whoever had the last body may have paused it
        self._transport.write(request)
        return await self._asked

    @property
    def usable(self) -> bool:
        """Whether a request may be sent, as far as one can tell."""
        return self._error is None and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the answer was read to its end, and another may follow."""
        return self.usable and self._complete and self._lives_on

    def feed(self, consumer: Consumer | None) -> None:
        self._consumer = consumer
        self._hand_out()

    def pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        self._consumer = None
        self._transport.abort()

    def _hand_out(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        if self._body:
            pieces, self._body = self._body, []
            consumer.take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._complete or self._error is not None:
            self._consumer = None
            consumer.end(None if self._complete else self._error)

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[: self._budget()]

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, RemoteProtocolError) as exc:
            self._fail(RemoteProtocolError(f"the upstream does not speak HTTP: {exc}"))
            self._transport.abort()
            return
        if self._body or self._complete:
            self._hand_out()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and self._until_close:
            self._complete = exc is None
        self._fail(exc or ConnectionError("the connection was closed before the end"))

    @property
    def _until_close(self) -> bool:
        """Whether the end of the connection is how this body ends."""
        assert self._answer is not None
        headers = self._answer.headers
        return "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "")

    def _fail(self, error: Exception) -> None:
        self._error = error
        if self._asked is not None and not self._asked.done():
            early = self._head_size == 0 and not isinstance(error, RemoteProtocolError)
            self._asked.set_exception(_Dead(str(error)) if early else error)
            self._asked.exception()  # whoever asked may have left
        self._hand_out()

    # -- what httptools calls

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._reason = ""
        self._head_size = 0

    def on_status(self, status: bytes) -> None:
        self._reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > _MAX_HEAD:
            raise RemoteProtocolError(f"the head of the answer exceeds {_MAX_HEAD} bytes")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # "100 Continue" and its like: the answer follows
        self._answer = Answer(status, self._reason, self._headers)
        assert self._asked is not None
        if not self._asked.done():
            self._asked.set_result(self._answer)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._answer is None:
            self._begin()
        else:
            self._complete = True
            self._lives_on = bool(self._parser.should_keep_alive())  # the parser forgets it afterwards
