"""
Sending a stream over ASGI.

The three things that frameworks leave out are our trade: a reader that is gone
is noticed while there is nothing to send; a reader that has stopped reading is
dropped after the write timeout; silence is filled with what this dialect's
clients take for silence. One sweep a second looks after all connections, so
that an event costs no timer.

A body ends cleanly only if everything was said. Where that cannot be, the
connection is broken instead, which every client can tell from an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from starlette.types import Receive, Scope, Send

from ..cursor import Cursor
from ..dialects import Wire
from ..engine.interrupt import Interrupted, Interruptible
from ..engine.voice import Sink
from ..errors import LogError

__all__ = ["DIRECT", "Connections", "Direct", "EventStream", "Late", "Source"]

DIRECT: Final = "penstock.direct"
"""The ASGI extension in which our server puts a :class:`Direct` to the connection."""


class Direct(Protocol):
    """The connection below ASGI, for a body that has been started with chunked encoding."""

    def write(self, data: bytes) -> bool:
        """Write some of the body; False, and nothing done, if the reader does not keep up or is gone."""
        ...

    def write_apart(self, chunks: Sequence[bytes]) -> bool:
        """The same, each piece as a chunk of its own."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...


class Source(Protocol):
    """
    What an :class:`EventStream` sends.

    It is a :class:`~penstock.engine.voice.Subscription`, whose encoders begin anew with
    each answer, unless a wire counts through all the answers of a stream.
    """

    offset: int
    """How far it has read."""
    ended: bool
    failed: bool
    """Whether it ended in failure."""

    @property
    def gate(self) -> Interruptible:
        """What breaks off :meth:`news` and :meth:`listen`."""
        ...

    @property
    def place(self) -> Cursor:
        """Where one that has had all this goes on."""
        ...

    async def ready(self) -> bytes:
        """Return the bytes that are there; empty if there are none, or none any more."""
        ...

    async def news(self) -> None:
        """Wait until there is more to ask for. Raises: Interrupted."""
        ...

    async def listen(self, sink: Sink) -> None:
        """The same; meanwhile what is new may go to ``sink``. Raises: Interrupted."""
        ...

    def close(self) -> None:
        """Nothing will be asked for any more."""
        ...


_HEADERS: Final = {
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


class EventStream:
    """An ASGI response: a subscription, or what is like one, sent to its end."""

    __slots__ = (
        "_connections", "_direct", "_first", "_headers", "_idle_at", "_scope", "_status", "_subscription",
        "_task", "_wire", "idle_since", "sending_since",
    )  # fmt: skip

    def __init__(
        self,
        subscription: Source,
        wire: Wire,
        connections: Connections,
        headers: Mapping[str, str],
        status: int = 200,
        first: bytes = b"",
    ) -> None:
        """``first`` goes out with the head, whatever there is to send then."""
        self.idle_since: float | None = None
        """Since when there has been nothing to send, as of the last look; the loop's clock."""
        self._idle_at = -1
        self.sending_since: float | None = None
        """Since when the reader has not taken what was sent."""
        self._subscription, self._wire, self._connections = subscription, wire, connections
        self._status, self._first = status, first
        self._headers = {"content-type": wire.framing.media_type, **_HEADERS, **headers}
        self._scope: Scope = {}
        self._task: asyncio.Task[Any] | None = None
        self._direct: Direct | None = None
        """The connection, while spans go straight to it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._task = scope, asyncio.current_task()
        watcher = asyncio.create_task(self._watch(receive))
        self._connections.add(self)
        try:
            headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
            await send({"type": "http.response.start", "status": self._status, "headers": headers})
            await self._send_all(send)
        except LogError:
            return  # the stream was deleted or trimmed under this reader: broken off, not ended
        finally:
            self._connections.discard(self)
            self._subscription.close()
            watcher.cancel()

    def keep_alive(self) -> None:
        """Fill the silence."""
        if self._direct is not None and self._direct.write(self._filler()):
            self.idle_since = asyncio.get_running_loop().time()
        else:
            self._subscription.gate.interrupt("silence", sticky=False)

    def _filler(self) -> bytes:
        pulse = self._wire.dialect.pulse
        return self._wire.framing.keepalive if pulse is None else pulse(str(self._subscription.place))

    def silence(self, now: float) -> float:
        """Return for how many seconds nothing was sent; handing on a span does not look at the clock."""
        if self.idle_since is None:
            return 0.0
        if self._idle_at != self._subscription.offset:
            self._idle_at, self.idle_since = self._subscription.offset, now
        return now - self.idle_since

    def break_off(self) -> None:
        """End without an ending: the reader is to come back."""
        self._subscription.gate.interrupt("gone")

    def abort(self) -> None:
        """Drop a reader that does not read."""
        extension = self._scope.get("extensions", {}).get(DIRECT)
        if extension is not None:
            extension["direct"].abort()
        elif self._task is not None:
            self._task.cancel()
        self.break_off()

    async def _send_all(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        subscription = self._subscription
        if self._first:
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
        while not subscription.ended:
            data = await subscription.ready()
            if not data and not subscription.ended:
                self.idle_since, self._idle_at = clock(), subscription.offset
                try:
                    await self._wait()
                except Interrupted as interrupted:
                    if interrupted.reason == "gone":
                        return
                    data = self._filler()
                finally:
                    self.idle_since = None
            broken = subscription.ended and subscription.failed and self._wire.dialect.failure_breaks
            if data or subscription.ended:
                self.sending_since = clock()
                *chunks, last = _apart(data) if self._wire.framing.apart and data else (data,)
                for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                more = broken or not subscription.ended
                await send({"type": "http.response.body", "body": last, "more_body": more})
                self.sending_since = None

    async def _wait(self) -> None:
        """Wait until there is something to pull; meanwhile what is new may go straight to the connection."""
        extension = self._scope.get("extensions", {}).get(DIRECT)
        if extension is None:
            await self._subscription.news()
            return
        self._direct = direct = extension["direct"]
        apart = self._wire.framing.apart
        try:
            await self._subscription.listen(
                (lambda data: direct.write_apart(_apart(data))) if apart else direct.write
            )
        finally:
            self._direct = None

    async def _watch(self, receive: Receive) -> None:
        """Wait for the reader to leave."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.break_off()


class Late:
    """
    An ASGI response whose head goes out before its body is known: some clients wait seconds for a head only.

    Until then spaces are sent, which mean nothing before JSON. If there is to be no
    body after all, the connection is broken: the status can no longer say so.
    """

    def __init__(self, body: asyncio.Task[bytes], headers: Mapping[str, str], pause: float = 1.0) -> None:
        """``pause``: seconds between two spaces."""
        self._body, self._pause = body, pause
        self._headers = {"content-type": "application/json", **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not self._body.done():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.wait({self._body}, timeout=self._pause)
        if self._body.exception() is None:
            await send({"type": "http.response.body", "body": self._body.result()})


def _apart(data: bytes) -> list[bytes]:
    """Return the lines of ``data``."""
    return data.splitlines(keepends=True)


class Connections:
    """All streams being sent by this process."""

    def __init__(self, keepalive: float, write_timeout: float) -> None:
        """Times in seconds."""
        self._keepalive, self._write_timeout = keepalive, write_timeout
        self._open: set[EventStream] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stream: EventStream) -> None:
        self._open.add(stream)

    def discard(self, stream: EventStream) -> None:
        self._open.discard(stream)

    async def watch(self) -> None:
        """Look after all connections until cancelled."""
        clock = asyncio.get_running_loop().time
        interval = min(1.0, self._keepalive / 4, self._write_timeout / 4)
        while True:
            await asyncio.sleep(interval)
            now = clock()
            for stream in list(self._open):
                if stream.silence(now) >= self._keepalive:
                    stream.keep_alive()
                elif stream.sending_since is not None and now - stream.sending_since >= self._write_timeout:
                    stream.abort()

    def break_off(self) -> None:
        """End all of them without an ending."""
        for stream in list(self._open):
            stream.break_off()
