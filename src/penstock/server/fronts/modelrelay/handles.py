"""
State handles: names for the state of tools that a server runs.

We run no such tools yet, so that a handle is all there is to it: it is known, or
it is not, or not any more.
"""

from __future__ import annotations

import time
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ....errors import RequestError, StreamNotFound
from ....wire.times import timestamp
from ...endpoint import Asked, Endpoint, answer
from ...shelf import Shelf, Thing
from .pages import PAGES, paged
from .project import project

__all__ = ["ENDPOINTS", "check_state"]

_SHELF: Final = Shelf("modelrelay.state_handle")
_LONGEST: Final = 31_536_000
"""Seconds that a handle may live: a year."""


async def check_state(asked: Asked, body: dict[str, Any]) -> None:
    """Check the ``state_id`` in a request. Raises: StreamNotFound (there is none, or none any more)."""
    if isinstance(state := body.get("state_id"), str) and state:
        try:
            await _find(asked, state)
        except StreamNotFound as exc:
            raise StreamNotFound(exc.message, field="state_id") from None


async def _create_handle(asked: Asked) -> ASGIApp:
    now, seconds = time.time(), _seconds(asked.body.get("ttl_seconds"))
    facts = {"created_at": now, **({"expires_at": now + seconds} if seconds else {})}
    thing = await _SHELF.put(asked, facts, seal=True)
    return answer(_written(asked, thing), 201)


def _seconds(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST:
        raise RequestError(f"'ttl_seconds' must be an integer from 1 to {_LONGEST}", field="ttl_seconds")
    return value


async def _list_handles(asked: Asked) -> ASGIApp:
    found = [thing for thing in await _SHELF.list(asked) if _lives(thing.facts)]
    page, following = paged(asked, found)
    return answer({"state_handles": [_written(asked, thing) for thing in page], **following})


async def _delete_handle(asked: Asked) -> ASGIApp:
    await _SHELF.take(asked, await _find(asked, asked.path["handle"]))
    return Response(status_code=204)


async def _find(asked: Asked, id: str) -> Thing:
    thing = await _SHELF.find(asked, id)
    if not _lives(thing.facts):
        raise StreamNotFound(f"the state handle {id[:64]!r} has expired")
    return thing


def _lives(facts: dict[str, Any]) -> bool:
    return "expires_at" not in facts or time.time() < facts["expires_at"]


def _written(asked: Asked, thing: Thing) -> dict[str, Any]:
    times = ("created_at", "expires_at")
    written: dict[str, Any] = {name: timestamp(thing.facts[name]) for name in times if name in thing.facts}
    return {"id": thing.id, "project_id": project(asked.owner), **written}


ENDPOINTS: Final = (
    Endpoint(
        "POST", "/state-handles", "run:write", _create_handle, "Name a state.",
        {"any_body": True, "status": 201},
    ),
    Endpoint("GET", "/state-handles", "run:read", _list_handles, "List state handles.", {"query": PAGES}),
    Endpoint(
        "DELETE", "/state-handles/{handle}", "run:write", _delete_handle, "Forget one.", {"status": 204}
    ),
)  # fmt: skip
