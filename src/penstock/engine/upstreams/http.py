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

import aiohttp
from msgspec import UNSET

from ...dialects import Decoder, Dialect
from ...errors import (
    PenstockError,
    RemoteProtocolError,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ...events import Event
from ...reconnect import delay
from ...requests import Start
from ...wire import jsontext
from . import Budget

__all__ = ["Http"]

_CONNECT: Final = 10.0
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
        """
        self._url = url.rstrip("/") + dialect.request_path
        self._dialect, self._budget, self._retries, self._options = dialect, budget, retries, options
        self._key = key
        self._headers = {
            "Content-Type": "application/json",
            "Accept": dialect.framings[0].media_type,
            **({"Authorization": f"Bearer {key}"} if key else {}),
            **(headers or {}),
        }
        self._session: aiohttp.ClientSession | None = None

    async def open(self, start: Start) -> _Body:
        assert self._dialect.write_request is not None, "checked when the upstream was configured"
        body = jsontext.encode(self._dialect.write_request(start))
        attempt = 0
        while True:
            try:
                response = await self._post(body)
            except (UpstreamError, UpstreamRateLimited) as exc:
                attempt += 1
                if attempt > self._retries or not exc.retryable:
                    raise
                await asyncio.sleep(delay(attempt, random.random(), exc.retry_after))
            else:
                return _Body(response, self._dialect, self._budget, self._decoder(start))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _decoder(self, start: Start) -> Decoder:
        assert self._dialect.decoder is not None, "checked when the upstream was configured"
        return self._dialect.decoder(structured=start.output_schema is not UNSET, **self._options)

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        try:
            response = await self._connected().post(self._url, data=body, headers=self._headers)
        except TimeoutError:
            raise UpstreamUnavailable(f"no connection to {self._url} within {_CONNECT:g} s") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamUnavailable(f"no connection to {self._url}: {exc}") from exc
        if response.status == 200 and not _is_json(response):
            return response
        try:
            raise await _refusal(response, self._key)
        finally:
            response.release()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
                auto_decompress=True,
            )
        return self._session


class _Body:
    """The body of one answer."""

    def __init__(
        self, response: aiohttp.ClientResponse, dialect: Dialect, budget: Budget, decoder: Decoder
    ) -> None:
        self._response, self._budget, self._decoder = response, budget, decoder
        media_type = response.content_type
        framing = next((f for f in dialect.framings if f.media_type == media_type), dialect.framings[0])
        self._reader = framing.reader()
        self._over = False

    async def read(self) -> Sequence[Event] | None:
        if self._over:
            return None
        try:
            data = await self._response.content.read(self._budget())
        except (aiohttp.ClientError, OSError):
            data = b""  # broken off; the decoder knows whether it had all been said
        if data:
            decode = self._decoder.decode
            events: list[Event] = []
            for frame in self._reader.feed(data):
                events += decode(frame)
            return events
        self._over = True
        rest = [event for frame in self._reader.close() for event in self._decoder.decode(frame)]
        return [*rest, *self._decoder.close(self._reader.unfinished())]

    async def aclose(self) -> None:
        self._response.close()


def _is_json(response: aiohttp.ClientResponse) -> bool:
    return response.content_type == "application/json"


async def _refusal(response: aiohttp.ClientResponse, key: str) -> PenstockError:
    """Return what an answer other than a stream means."""
    body = await _decoded_body(response, key)
    message = _message(body) or response.reason or "no reason given"
    status = response.status
    if status == 200:
        return RemoteProtocolError(f"the upstream answered with JSON instead of a stream: {message}")
    told = {"upstream_status": status, "retry_after": _retry_after(response.headers), "body": body}
    if status == 429:
        return UpstreamRateLimited(f"the upstream says 429: {message}", **told)
    if status in (408, 504):
        return UpstreamTimeout(f"the upstream says {status}: {message}", **told)
    error = UpstreamError(f"the upstream says {status}: {message}", **told)
    error.retryable = status >= 500
    if status in _CALLER:
        error.status = status
    return error


async def _decoded_body(response: aiohttp.ClientResponse, key: str) -> Any:
    try:
        data = await response.content.read(_ERROR_BODY)
        return jsontext.decode(data.replace(key.encode(), b"***") if key else data)
    except (ValueError, aiohttp.ClientError, OSError):
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
