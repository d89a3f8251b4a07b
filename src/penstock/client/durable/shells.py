"""
The transports themselves, in both colours: send, read, wait, close.

Their classes are made for the library they are given, as it knows its own
transports and bodies by their class. Nothing here decides anything.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from .passage import Passage, Temper

__all__ = ["build"]


def build(library: ModuleType, colour: str, inner: Any, temper: Temper) -> Any:
    """Return a transport for ``library``; ``colour`` is how the names of its classes begin."""
    kind, body = _classes(library, colour)
    return kind(library, body, inner or getattr(library, f"{colour}HTTPTransport")(), temper)


@cache
def _classes(library: ModuleType, colour: str) -> tuple[Any, Any]:
    transport, body = (AsyncTransport, AsyncBody) if colour else (Transport, Body)
    side = colour or "Sync"
    return (
        type(transport.__name__, (transport, getattr(library, f"{colour}BaseTransport")), {}),
        type(body.__name__, (body, getattr(library, f"{side}ByteStream")), {}),
    )


class _Carrier:
    """What both colours are made with."""

    def __init__(self, library: Any, body: Any, inner: Any, temper: Temper) -> None:
        self.library, self.inner = library, inner
        self._body, self._temper = body, temper

    def _passage(self, request: Any) -> Passage | None:
        """Return the way of a request; None: its body cannot be sent twice."""
        stream = request.stream
        if not isinstance(stream, self.library.ByteStream):
            return None
        return Passage(self.library, request, b"".join(stream), self._temper)

    def _whole(self, response: Any, said: bytes) -> Any:
        """Return a response whose body is here already."""
        return self._with(response, self.library.ByteStream(said))

    def _with(self, response: Any, stream: Any) -> Any:
        return self.library.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )


class Transport(_Carrier):
    """Carries requests through cuts, blocking."""

    def handle_request(self, request: Any) -> Any:
        passage = self._passage(request)
        if passage is None:
            return self.inner.handle_request(request)
        response = self._answer(passage)
        if not passage.opens(response):
            return response
        return self._with(response, self._body(self, passage, response.stream))

    def resume(self, passage: Passage, exc: Exception) -> Any:
        """Return the body of the next connection. Raises: what the SDK is to see."""
        response = self._answer(passage, passage.lost(exc))
        if passage.goes_on(response):
            return response.stream
        try:
            said = b"".join(response.stream)
        finally:
            response.stream.close()
        raise passage.refusal(response.status_code, response.headers, said)

    def _answer(self, passage: Passage, wait: float | None = None) -> Any:
        while True:
            if wait is not None:
                time.sleep(wait)
            try:
                response = self.inner.handle_request(passage.request())
                wait = passage.refused(response.status_code, response.headers)
                if wait is None:
                    return self._read(response) if passage.is_document(response.headers) else response
                response.stream.close()
            except self.library.TransportError as exc:
                wait = passage.lost(exc)

    def _read(self, response: Any) -> Any:
        try:
            return self._whole(response, b"".join(response.stream))
        finally:
            response.stream.close()

    def close(self) -> None:
        self.inner.close()


class Body:
    """A body out of many connections'."""

    def __init__(self, transport: Transport, passage: Passage, stream: Any) -> None:
        self._transport, self._passage, self._stream = transport, passage, stream

    def __iter__(self) -> Iterator[bytes]:
        passage = self._passage
        while True:
            try:
                for data in self._stream:
                    if said := passage.feed(data):
                        yield said
                rest = passage.end()
            except self._transport.library.TransportError as exc:
                self._stream.close()
                self._stream = self._transport.resume(passage, exc)
            else:
                if rest:
                    yield rest
                return

    def close(self) -> None:
        self._stream.close()


class AsyncTransport(_Carrier):
    """Carries requests through cuts, in whichever event loop the library runs in."""

    async def handle_async_request(self, request: Any) -> Any:
        passage = self._passage(request)
        if passage is None:
            return await self.inner.handle_async_request(request)
        response = await self._answer(passage)
        if not passage.opens(response):
            return response
        return self._with(response, self._body(self, passage, response.stream))

    async def resume(self, passage: Passage, exc: Exception) -> Any:
        """Return the body of the next connection. Raises: what the SDK is to see."""
        response = await self._answer(passage, passage.lost(exc))
        if passage.goes_on(response):
            return response.stream
        try:
            said = b"".join([data async for data in response.stream])
        finally:
            await response.stream.aclose()
        raise passage.refusal(response.status_code, response.headers, said)

    async def _answer(self, passage: Passage, wait: float | None = None) -> Any:
        from anyio import sleep  # which both libraries stand on; nothing else here does

        while True:
            if wait is not None:
                await sleep(wait)
            try:
                response = await self.inner.handle_async_request(passage.request())
                wait = passage.refused(response.status_code, response.headers)
                if wait is None:
                    return await self._read(response) if passage.is_document(response.headers) else response
                await response.stream.aclose()
            except self.library.TransportError as exc:
                wait = passage.lost(exc)

    async def _read(self, response: Any) -> Any:
        try:
            return self._whole(response, b"".join([data async for data in response.stream]))
        finally:
            await response.stream.aclose()

    async def aclose(self) -> None:
        await self.inner.aclose()


class AsyncBody:
    """A body out of many connections'."""

    def __init__(self, transport: AsyncTransport, passage: Passage, stream: Any) -> None:
        self._transport, self._passage, self._stream = transport, passage, stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passage = self._passage
        while True:
            try:
                async for data in self._stream:
                    if said := passage.feed(data):
                        yield said
                rest = passage.end()
            except self._transport.library.TransportError as exc:
                await self._stream.aclose()
                self._stream = await self._transport.resume(passage, exc)
            else:
                if rest:
                    yield rest
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
