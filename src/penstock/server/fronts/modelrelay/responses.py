"""Answers: ``/responses``, streaming and not, batches of them, and the models there are."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import uuid4

from msgspec import UNSET
from msgspec.structs import replace
from starlette.responses import Response
from starlette.types import ASGIApp

from ....dialects import Wire
from ....dialects.modelrelay import (
    DIALECT,
    V1,
    batch,
    read_request,
    write_failure,
    write_model,
    write_result,
)
from ....dialects.modelrelay import (
    answer as answered,
)
from ....engine.runs import Started
from ....errors import AnswerFailed, PenstockError, RequestError
from ....wire import jsontext
from ...endpoint import Asked, Endpoint, answer
from ...respond import Late
from .handles import check_state

__all__ = ["ENDPOINTS"]

_SOON: Final = 0.5
"""Seconds in which an answer is known before its head goes out: the SDKs wait five for a head."""
_LARGEST_BATCH: Final = 1000
_AT_ONCE: Final = 10
"""Requests of a batch under way, where it does not say how many."""


async def _respond(asked: Asked) -> ASGIApp:
    start = read_request(asked.body)
    await check_state(asked, asked.body)
    wire = _wire(asked.headers.get("accept", ""))
    if wire is not None and start.output_schema is not UNSET:
        start = replace(start, attempts=1)  # these streams end in a value, or in an error
    name = asked.headers.get("x-modelrelay-request-id", "")
    key = f"modelrelay {name}" if name else ""
    started = await asked.service.start(start, asked.data, key, asked.owner)
    headers = {"x-modelrelay-request-id": name or started.response_id}
    if wire is not None:
        # The head goes out now: these clients take a late one for a dead server.
        return await asked.service.stream(started.stream, wire, until_terminal=True, headers=headers)
    return await _soon_or_late(_whole(asked, started), {**headers, "penstock-stream": started.stream})


def _wire(accept: str) -> Wire | None:
    """Return the wire that an Accept header asks for; None: one JSON document."""
    if "ndjson" in accept:
        return V1.wire() if "responses-stream/v1" in accept else DIALECT.wire()
    return DIALECT.wire(DIALECT.framings[1]) if "text/event-stream" in accept else None


async def _whole(asked: Asked, started: Started) -> dict[str, Any]:
    return answered(await asked.service.whole(started))


async def _soon_or_late(work: Any, headers: Mapping[str, str]) -> ASGIApp:
    """Return what ``work`` comes to, with its status if it is done soon. Raises: AnswerFailed."""

    async def written() -> bytes:
        return jsontext.encode(await work)

    task = asyncio.create_task(written())
    await asyncio.wait({task}, timeout=_SOON)
    if task.done():
        return Response(task.result(), 200, dict(headers), "application/json")
    return Late(task, headers)


# -- batches


class _Batch(NamedTuple):
    """What a batch asks for besides its requests."""

    at_once: int
    fail_fast: bool
    seconds: float | None


async def _respond_to_all(asked: Asked) -> ASGIApp:
    requests = asked.body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= _LARGEST_BATCH:
        raise RequestError(f"'requests' must be a list of 1 to {_LARGEST_BATCH} requests", field="requests")
    names: set[str] = set()
    for n, request in enumerate(requests):
        name = request.get("id") if isinstance(request, dict) else None
        if not isinstance(name, str) or name in names:
            message = f"'requests[{n}].id' must be a string, and another one than those before it"
            raise RequestError(message, field=f"requests[{n}].id")
        names.add(name)
    options = _options(asked.body.get("options") or {})
    return await _soon_or_late(_all(asked, requests, options), {})


def _options(options: Any) -> _Batch:
    if not isinstance(options, dict):
        raise RequestError("'options' must be an object", field="options")
    found = {}
    for name, least, most in (("max_concurrent", 1, 1000), ("timeout_ms", 1, math.inf)):
        value = options.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most
        ):
            raise RequestError(
                f"'options.{name}' must be an integer of at least {least}", field=f"options.{name}"
            )
        found[name] = value
    seconds = found["timeout_ms"] / 1000 if found["timeout_ms"] else None
    return _Batch(found["max_concurrent"] or _AT_ONCE, bool(options.get("fail_fast")), seconds)


async def _all(asked: Asked, requests: list[dict[str, Any]], options: _Batch) -> dict[str, Any]:
    places, failed = asyncio.Semaphore(options.at_once), asyncio.Event()

    async def one(request: dict[str, Any]) -> dict[str, Any]:
        name = request["id"]
        async with places:
            try:
                if failed.is_set() and options.fail_fast:
                    raise _NotAsked
                async with asyncio.timeout(options.seconds):
                    start = read_request(request)
                    await check_state(asked, request)
                    started = await asked.service.start(start, b"", "", asked.owner)
                    return write_result(name, await asked.service.whole(started))
            except TimeoutError:
                failed.set()
                return write_failure(
                    name, AnswerFailed("timeout", "no answer within `timeout_ms`", status=504)
                )
            except PenstockError as exc:
                failed.set()
                return write_failure(name, exc)

    return batch(str(uuid4()), await asyncio.gather(*map(one, requests)))


class _NotAsked(PenstockError):
    """An earlier request of this batch failed, so that this one was not asked."""

    code = "not_asked"
    status = 409


async def _models(asked: Asked) -> ASGIApp:
    return answer({"models": [write_model(name) for name in asked.service.models.names]})


_BODY: Final = {"any_body": True}
_STREAMS: Final = {**_BODY, "streams": True}

ENDPOINTS: Final = (
    Endpoint("POST", "/responses", "run:write", _respond, "Answer a conversation.", _STREAMS),
    Endpoint("POST", "/responses/batch", "run:write", _respond_to_all, "Answer several at once.", _BODY),
    Endpoint("GET", "/models", "run:read", _models, "List the models."),
)
