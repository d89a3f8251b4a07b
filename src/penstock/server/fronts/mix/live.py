"""The stream of a session: what is new, what was missed, and an unfinished answer from its beginning."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ....cursor import Cursor
from ....dialects.mix import DIALECT, generation_of, greeting
from ....engine.reading import ending
from ....errors import RequestError, StreamNotFound
from ....events import MessageAdded
from ....log import Log
from ...endpoint import Asked, Endpoint
from .sessions import SHELF

__all__ = ["ENDPOINTS"]

_ALL: Final = "0"
"""What a reader says it has had who wants everything (section 4)."""


async def _stream(asked: Asked) -> ASGIApp:
    session = asked.query.get("sessionId")
    if not session:
        raise RequestError("'sessionId' is missing", field="sessionId")
    thing = await SHELF.find(asked, session)
    wire = DIALECT.wire(generation=generation_of(asked.headers.get("user-agent", "")))
    cursor = await _place(asked, thing.stream)
    first = greeting(thing.id, str(cursor))
    body = await asked.service.stream(thing.stream, wire, cursor, first=first)
    return _ended_by_deletion(body, asked.service.log, thing.stream)


def _ended_by_deletion(body: ASGIApp, log: Log, stream: str) -> ASGIApp:
    """Return ``body``, ended cleanly if the session is deleted: there is nothing to come back for."""

    async def send_all(scope: Scope, receive: Receive, send: Send) -> None:
        await body(scope, receive, send)
        try:
            await log.head(stream)
        except StreamNotFound:
            await send({"type": "http.response.body", "body": b""})

    return send_all


async def _place(asked: Asked, stream: str) -> Cursor:
    """Return where a reader goes on, or begins. Raises: CursorGone."""
    said = asked.headers.get("last-event-id", "")
    log = asked.service.log
    if said and said != _ALL:
        return Cursor.parse(said)
    head = await log.head(stream)  # first: what comes from now on is not missed
    return Cursor(head.cursor.epoch, 0 if said else await _unfinished(log, stream, head.cursor))


async def _unfinished(log: Log, stream: str, end: Cursor) -> int:
    """Return the offset at which the answer under way begins, with its message; without one, the end."""
    response = (await ending(log, stream)).response
    if response is None or response.end is not None:
        return end.offset
    begun = await log.origin(stream, (await log.head(stream)).cursor.offset)
    if not begun or response.answers:
        return begun
    (before,) = await log.batch(stream, Cursor(end.epoch, begun - 1), 1)
    return begun - isinstance(before.event, MessageAdded)


_READS: Final = {
    "only_stream": True,
    "query": {"sessionId": "The session. Last-Event-ID says where to go on; without it, only what is new."},
}

ENDPOINTS: Final = (Endpoint("GET", "/stream", "run:read", _stream, "Follow a session.", _READS),)
