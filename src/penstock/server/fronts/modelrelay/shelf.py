"""
What callers keep here under an id: sessions, state handles.

Each such thing is a stream; its first record says what it is and whose, and its
id is the stream's UUID. To list them nobody looks through the log: what was put
on a caller's shelf and what was taken from it is in one more stream, which the
caller and the kind of thing name.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, NamedTuple

from ....cursor import Cursor
from ....engine.ids import keyed_stream, new_stream
from ....errors import CursorGone, StreamNotFound, StreamSealed
from ....events import Custom
from ....log import FRESH, Record
from ....names import stream_of_uuid, uuid_of
from ...endpoint import Asked

__all__ = ["Shelf", "Thing", "project"]


def project(owner: str) -> str:
    """Return the UUID of what stands for a caller's project: we have keys, and no projects."""
    return uuid_of(f"project {owner}")


class Thing(NamedTuple):
    """Something on a shelf, as it stands."""

    stream: str
    facts: dict[str, Any]
    records: list[Record]
    cursor: Cursor

    @property
    def id(self) -> str:
        return uuid_of(self.stream)


class Shelf(NamedTuple):
    """Where things of one kind are kept, for each caller apart."""

    kind: str

    @property
    def _begun(self) -> str:
        return f"modelrelay.{self.kind}"

    @property
    def _put(self) -> str:
        return f"modelrelay.{self.kind}.put"

    @property
    def _taken(self) -> str:
        return f"modelrelay.{self.kind}.taken"

    async def put(self, asked: Asked, facts: dict[str, Any], *, seal: bool = False) -> Thing:
        """Begin a thing. ``facts`` never change; if it is sealed, nothing is added to it either."""
        stream, facts = new_stream(), {"created_at": time.time(), **facts}
        begun = Custom(self._begun, {"owner": asked.owner, "facts": facts})
        await asked.service.log.append(stream, [begun], expect=FRESH, seal=seal)
        await self._note(asked, Custom(self._put, {"stream": stream, "facts": facts}))
        return await self.find(asked, uuid_of(stream))

    async def find(self, asked: Asked, id: str) -> Thing:
        """Return the caller's thing of that id. Raises: StreamNotFound."""
        with suppress(StreamNotFound, CursorGone):
            stream = stream_of_uuid(id)
            epoch = (await asked.service.log.head(stream)).cursor.epoch
            records = [record async for record in asked.service.log.read(stream, Cursor(epoch))]
            match records[0].event:
                case Custom(name=self._begun, data={"owner": asked.owner, "facts": facts}):
                    return Thing(stream, facts, records, Cursor(epoch, records[-1].offset + 1))
        raise StreamNotFound(f"there is no {self.kind.replace('_', ' ')} {id[:64]!r}")

    async def list(self, asked: Asked) -> list[tuple[str, dict[str, Any]]]:
        """Return the ids of the caller's things and their facts, the youngest first."""
        found: dict[str, dict[str, Any]] = {}
        with suppress(StreamNotFound, CursorGone):
            async for record in asked.service.log.read(self._index(asked)):
                match record.event:
                    case Custom(name=self._put, data={"stream": stream, "facts": facts}):
                        found[uuid_of(stream)] = facts
                    case Custom(name=self._taken, data={"stream": stream}):
                        found.pop(uuid_of(stream), None)
        return [*reversed(found.items())]

    async def take(self, asked: Asked, thing: Thing) -> None:
        """Forget a thing."""
        await self._note(asked, Custom(self._taken, {"stream": thing.stream}))
        await asked.service.runs.delete(thing.stream)

    def _index(self, asked: Asked) -> str:
        """Return the stream that lists the caller's things. Keys in headers cannot have a line end."""
        return keyed_stream(asked.owner, f"modelrelay\nshelf {self.kind}")

    async def _note(self, asked: Asked, event: Custom) -> None:
        log, index = asked.service.log, self._index(asked)
        async with asked.service.turns.of(index):
            try:
                await log.append(index, [event])
            except StreamSealed:  # so long unused that it was forgotten: begin again
                await asked.service.runs.delete(index)
                await log.append(index, [event])
