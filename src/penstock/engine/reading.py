"""What a stream holds, folded: all of it, or its latest answer."""

from __future__ import annotations

from ..cursor import Cursor
from ..errors import CursorGone, StreamNotFound
from ..log import Log
from ..snapshot import Response, Snapshot, apply

__all__ = ["ending", "history", "latest"]


async def latest(log: Log, stream: str) -> Response:
    """Return the latest response of ``stream``. Raises: StreamNotFound."""
    response = (await ending(log, stream)).response
    if response is None:
        raise StreamNotFound(f"no answer has begun in stream {stream!r}")
    return response


async def ending(log: Log, stream: str) -> Snapshot:
    """Return what ``stream`` holds from its latest response on. Raises: StreamNotFound."""
    head = await log.head(stream)
    origin = await log.origin(stream, head.cursor.offset)
    return await _folded(log, stream, head.cursor._replace(offset=origin))


async def history(log: Log, stream: str) -> Snapshot:
    """Return all that ``stream`` still holds. Raises: StreamNotFound."""
    try:
        return await _folded(log, stream, None)
    except CursorGone:
        return Snapshot()  # all of it has been forgotten


async def _folded(log: Log, stream: str, cursor: Cursor | None) -> Snapshot:
    snapshot = Snapshot()
    async for record in log.read(stream, cursor):
        apply(snapshot, record.event, record.at)
    return snapshot
