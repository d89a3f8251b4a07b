"""
What every endpoint has in common.

An endpoint is a row: method, path, the scope it takes, the function that
answers, one sentence for the API description. Around that function happens what
must happen for all of them: the request is read whole before anything is
answered, the caller is admitted, and whatever goes wrong becomes an error in
the shape that the front's SDKs expect.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from ..dialects import Dialect
from ..errors import PenstockError, RequestError, RequestTooLarge
from ..requests import Scope
from ..wire import jsontext
from .service import Service

__all__ = ["Asked", "Endpoint", "Front", "Guarded", "answer", "check_query", "number", "routes"]

_log = logging.getLogger("penstock.server")

_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_DIGITS: Final = 15
"""Of a number in a query: more than any log has events."""
_RETRY_AFTER: Final = "1"
"""Seconds, in answers that may be tried again."""


class Asked(NamedTuple):
    """A request, read whole."""

    service: Service
    owner: str
    """The id of the caller's key."""
    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: str
    """The path as a whole."""
    path: Mapping[str, str]
    """What stands for its parameters."""
    data: bytes
    body: dict[str, Any]


class Endpoint(NamedTuple):
    method: str
    path: str
    scope: Scope | None
    """What the caller's key must allow; None: nothing, not even a key."""
    handle: Callable[[Asked], Awaitable[ASGIApp]]
    summary: str
    describes: Mapping[str, Any] = {}
    """What the API description says beyond that."""


class Front(NamedTuple):
    """The HTTP surface that one dialect's SDKs expect."""

    dialect: Dialect
    endpoints: tuple[Endpoint, ...]
    names_requests: str = ""
    """The header in which callers name a request, and are told so."""


def routes(service: Service, front: Front) -> list[Route]:
    """Return the front's routes."""
    return [
        Route(endpoint.path, Guarded(service, front, endpoint), methods=[endpoint.method])
        for endpoint in front.endpoints
    ]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``value`` as a JSON answer."""
    return Response(jsontext.encode(value), status, dict(headers or {}), "application/json")


def check_query(query: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Raises: RequestError (the query has a parameter that is not known)."""
    for name in query:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RequestError(f"the query parameter {name!r} is not known{hint}", field=name)


def number(query: Mapping[str, str], name: str, least: int, most: int | None = None) -> int | None:
    """Return a number in the query, if it is there. Raises: RequestError."""
    text = query.get(name)
    if text is None:
        return None
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else -1
    if value < least or (most is not None and value > most):
        said = f"from {least} on" if most is None else f"from {least} to {most}"
        raise RequestError(f"{name!r} must be a number {said}, not {text[:64]!r}", field=name)
    return value


class Guarded:
    """An endpoint as an ASGI application."""

    def __init__(self, service: Service, front: Front, endpoint: Endpoint) -> None:
        self._service, self._front, self._endpoint = service, front, endpoint

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._endpoint.handle(await self._asked(request))
        except ClientDisconnect:
            return
        except PenstockError as exc:
            response = self.refusal(request, exc)
        except Exception:
            name = secrets.token_hex(8)
            _log.exception("%s %s failed (%s)", scope["method"], scope["path"], name)
            mistake = PenstockError(f"the server made a mistake; its log has it as {name}")
            response = self.refusal(request, mistake)
        await response(scope, receive, send)

    async def _asked(self, request: Request) -> Asked:
        data = await _read(request, self._service.settings.max_body)
        scope = self._endpoint.scope
        owner = self._service.access.admit(request.headers, scope) if scope else ""
        return Asked(
            self._service,
            owner,
            request.headers,
            request.query_params,
            request.url.path,
            request.path_params,
            data,
            _body(data) if self._endpoint.method in _WITH_BODY else {},
        )

    def refusal(self, request: Request, error: PenstockError) -> Response:
        """Return ``error`` as this front's clients expect it."""
        render, name = self._front.dialect.error, self._front.names_requests
        assert render is not None, "a dialect with a front has a shape for errors"
        headers = {"x-should-retry": "true" if error.retryable else "false"}
        if name and (said := request.headers.get(name)):
            headers[name] = error.request_id = said
        if error.retryable:
            headers["retry-after"] = _RETRY_AFTER
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return Response(render(error), error.status, headers, "application/json")


async def _read(request: Request, limit: int) -> bytes:
    """Return the whole body. Raises: RequestTooLarge."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            pieces.append(piece)  # what is beyond is read too, so that the answer arrives
    if size > limit:
        raise RequestTooLarge(f"the request body has {size} bytes, the limit `max_body` is {limit}")
    return b"".join(pieces)


def _odd(data: bytes, why: Exception) -> Any:
    """Return what is JSON but for halves of surrogate pairs, as JavaScript cuts them."""
    try:
        return jsontext.scrub(jsontext.decode(data))
    except (ValueError, RecursionError):
        raise RequestError(f"the request body is not JSON: {why}") from why


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = json.decode(data) if data.strip() else {}
    except (DecodeError, UnicodeDecodeError, RecursionError) as exc:
        body = _odd(data, exc)
    if not isinstance(body, dict):
        raise RequestError("the request body must be a JSON object")
    return body
