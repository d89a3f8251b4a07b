"""What a stream holds, folded: all of it, or its latest answer."""

from __future__ import annotations

from contextlib import suppress

from ..cursor import Cursor
from ..errors import CursorGone, StreamNotFound
from ..log import Log
from ..snapshot import Response, Snapshot, apply

__all__ = ["Latest", "ending", "history", "latest"]


class Latest:
    """The latest response of a stream, folded as far as it was read: to look again costs what is new."""

    def __init__(self, log: Log, stream: str) -> None:
        self._log, self._stream = log, stream
        self._snapshot = Snapshot()
        self._cursor: Cursor | None = None

    async def look(self) -> Response:
        """Return it as it stands; it changes with the next look. Raises: StreamNotFound, CursorGone."""
        response = (await self.snapshot()).response
        if response is None:
            raise StreamNotFound(f"no answer has begun in stream {self._stream!r}")
        return response

    async def snapshot(self) -> Snapshot:
        """Return what the stream holds from it on. Raises: StreamNotFound, CursorGone."""
        cursor = self._cursor or await self._begin()
        async for record in self._log.read(self._stream, cursor):
            apply(self._snapshot, record.event, record.at)
            cursor = cursor._replace(offset=record.offset + 1)
        self._cursor = cursor
        return self._snapshot

    async def _begin(self) -> Cursor:
        end = (await self._log.head(self._stream)).cursor
        return end._replace(offset=await self._log.origin(self._stream, end.offset))


async def latest(log: Log, stream: str) -> Response:
    """Return the latest response of ``stream``. Raises: StreamNotFound."""
    return await Latest(log, stream).look()


async def ending(log: Log, stream: str) -> Snapshot:
    """Return what ``stream`` holds from its latest response on. Raises: StreamNotFound."""
    return await Latest(log, stream).snapshot()


async def history(log: Log, stream: str) -> Snapshot:
    """Return all that ``stream`` still holds. Raises: StreamNotFound."""
    snapshot = Snapshot()
    with suppress(CursorGone):  # all of it has been forgotten
        async for record in log.read(stream):
            apply(snapshot, record.event, record.at)
    return snapshot
