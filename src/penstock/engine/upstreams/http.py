"""
A model endpoint reached over HTTP, in any dialect that has a decoder.

Rule 1: before the first byte of an answer, connect errors, 429 and 5xx are
tried again; after it, never: a second answer is not the rest of the first.
Rule 2: the work of one read is bounded by the budget, whatever has arrived.
Rule 3: the key goes into the header, and nowhere else, even if the upstream repeats it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from ... import __version__
from ...dialects import Decoder, Dialect
from ...errors import (
    PenstockError,
    RemoteProtocolError,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
)
from ...events import Event
from ...reconnect import delay
from ...requests import Start
from ...wire import FrameReader, jsontext
from . import Budget, Sink
from .connection import Answer, Body, Host

__all__ = ["Http"]

_ERROR_BODY: Final = 64 * 1024
_CALLER: Final = (400, 404, 413, 422)
"""What an upstream refuses with because of what the caller asked for."""


class Http:
    """See :class:`penstock.engine.upstreams.Upstream`."""

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        *,
        budget: Budget,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        retries: int = 2,
        **options: object,
    ) -> None:
        """
        Args:
            url: the base URL, as the upstream's own SDK would be given it.
            retries: how often to try again before the first byte.
            options: for the dialect's decoder.
        Raises:
            ConfigError: the URL or a header makes no sense.
        """
        self._dialect, self._retries, self._options = dialect, retries, options
        self._key = key
        told = {
            "User-Agent": f"penstock/{__version__}",
            "Content-Type": "application/json",
            "Accept": dialect.framings[0].media_type,
            "Accept-Encoding": "identity",
            **({"Authorization": f"Bearer {key}"} if key else {}),
            **(headers or {}),
        }
        self._host = Host(url.rstrip("/") + dialect.request_path, told, budget)

    async def open(self, start: Start) -> _Source:
        assert self._dialect.write_request is not None, "checked when the upstream was configured"
        data = jsontext.encode(self._dialect.write_request(start))
        attempt = 0
        while True:
            try:
                answer, body = await self._post(data)
            except (UpstreamError, UpstreamRateLimited) as exc:
                attempt += 1
                if attempt > self._retries or not exc.retryable:
                    raise
                await asyncio.sleep(delay(attempt, random.random(), exc.retry_after))
            else:
                return _Source(body, self._reader(answer), self._decoder(start))

    async def aclose(self) -> None:
        self._host.close()

    def _decoder(self, start: Start) -> Decoder:
        assert self._dialect.decoder is not None, "checked when the upstream was configured"
        return self._dialect.decoder(structured=start.output_schema is not UNSET, **self._options)

    def _reader(self, answer: Answer) -> FrameReader:
        framings = self._dialect.framings
        return next((f for f in framings if f.media_type == answer.media_type), framings[0]).reader()

    async def _post(self, data: bytes) -> tuple[Answer, Body]:
        answer, body = await self._host.post(data)
        if answer.status == 200 and not _is_json(answer):
            return answer, body
        try:
            raise await _refusal(answer, body, self._key)
        finally:
            body.close()


class _Source:
    """
    The body of one answer, decoded as it arrives.

    What a sink does not take is kept, and nothing more is read, until
    :meth:`read` asks for it.
    """

    __slots__ = ("_body", "_decoder", "_events", "_failure", "_over", "_reader", "_sink", "_waiter")

    def __init__(self, body: Body, reader: FrameReader, decoder: Decoder) -> None:
        self._body, self._reader, self._decoder = body, reader, decoder
        self._events: list[Event] = []
        self._failure: Exception | None = None
        self._over = False
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None
        body.pause()
        body.feed(self)

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        if not (self._events or self._over or self._failure):
            self._sink = sink
            self._waiter = asyncio.get_running_loop().create_future()
            self._body.resume()
            try:
                await self._waiter
            finally:
                self._sink = self._waiter = None
                self._body.pause()
        if self._events:
            events, self._events = self._events, []
            return events
        if self._failure is not None:
            raise self._failure
        return None

    async def aclose(self) -> None:
        self._body.close()

    # -- what the body calls

    def take(self, data: bytes) -> None:
        events: list[Event] = []
        try:
            for frame in self._reader.feed(data):
                events += self._decoder.decode(frame)
            if events and (self._events or self._sink is None or not self._sink(events)):
                self._put(events)
        except Exception as exc:
            self._events += events  # what came before it was said
            self._fail(exc)

    def end(self, error: Exception | None) -> None:
        self._over = True
        rest: list[Event] = []
        try:
            for frame in self._reader.close():
                rest += self._decoder.decode(frame)
            rest += self._decoder.close(self._reader.unfinished(), broken=error is not None)
            self._put(rest)
        except Exception as exc:
            self._events += rest
            self._fail(exc)

    def _put(self, events: list[Event]) -> None:
        self._events += events
        self._wake()

    def _fail(self, error: Exception) -> None:
        """Raise ``error`` where the answer is read, after all that came before it."""
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        self._body.pause()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_json(answer: Answer) -> bool:
    return answer.media_type == "application/json"


async def _refusal(answer: Answer, body: Body, key: str) -> PenstockError:
    """Return what an answer other than a stream means."""
    said = _decoded(await body.whole(_ERROR_BODY), key)
    message = _message(said) or answer.reason or "no reason given"
    status = answer.status
    if status == 200:
        return RemoteProtocolError(f"the upstream answered with JSON instead of a stream: {message}")
    told = {"upstream_status": status, "retry_after": _retry_after(answer.headers), "body": said}
    if status == 429:
        return UpstreamRateLimited(f"the upstream says 429: {message}", **told)
    if status in (408, 504):
        return UpstreamTimeout(f"the upstream says {status}: {message}", **told)
    if location := answer.headers.get("location"):
        message = f"{message}; it has moved to {location}: configure that as its `url`"
    error = UpstreamError(f"the upstream says {status}: {message}", **told)
    error.retryable = status >= 500
    if status in _CALLER:
        error.status = status
    return error


def _decoded(data: bytes, key: str) -> Any:
    try:
        return jsontext.decode(data.replace(key.encode(), b"***") if key else data)
    except ValueError:
        return None


def _message(body: Any) -> str:
    match body:
        case {"error": {"message": str(message)}} | {"message": str(message)} | {"error": str(message)}:
            return message
        case [first, *_]:
            return _message(first)
        case _:
            return ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds asked for; dates are not worth their trouble between servers."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
    return None
