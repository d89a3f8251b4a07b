"""Permissions: a human decides about a call, from whichever device."""

from __future__ import annotations

from typing import Final, Literal

from starlette.types import ASGIApp

from ....dialects.mix import permission_of, read_respond
from ....engine.reviews import find
from ....errors import ReviewDecided, ReviewNotFound, StreamNotFound
from ....names import stream_of
from ....requests import Decide
from ...endpoint import Asked, Endpoint, answer
from .sessions import SHELF

__all__ = ["ENDPOINTS"]


async def _grant(asked: Asked) -> ASGIApp:
    await _decide(asked, "approved")
    return answer({"granted": True})


async def _deny(asked: Asked) -> ASGIApp:
    await _decide(asked, "rejected")
    return answer({"denied": True})


async def _decide(asked: Asked, verdict: Literal["approved", "rejected"]) -> None:
    """Raises: ReviewNotFound (also if it was decided before: this wire has no word for that)."""
    name = asked.path["permission"]
    response_id, digest = permission_of(name)
    try:
        thing = await SHELF.find(asked, stream_of(response_id))
        response = await asked.service.latest(thing.stream)
        if response.response_id != response_id:
            raise ReviewDecided
        call = find(response, "", digest)
        assert call.review is not None
        decision = Decide(call.call_id, verdict, call.review.digest, asked.owner)
        await asked.service.runs.decide(thing.stream, decision)
    except (StreamNotFound, ReviewDecided) as exc:
        raise ReviewNotFound(f"no permission {name!r} is pending") from exc


async def _respond(asked: Asked) -> ASGIApp:
    read_respond(asked.body)
    raise ReviewNotFound(f"no notification {asked.path['notification'][:64]!r} is pending")


ENDPOINTS: Final = (
    Endpoint("POST", "/api/permissions/{permission}/grant", "run:review", _grant, "Allow a tool's call."),
    Endpoint("POST", "/api/permissions/{permission}/deny", "run:review", _deny, "Forbid it."),
    Endpoint(
        "POST", "/api/notifications/{notification}/respond", "run:review", _respond,
        "Respond to a notification.", {"any_body": True, "status": 204},
    ),
)  # fmt: skip
