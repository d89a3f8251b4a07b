"""
What callers keep here under an id: sessions, state handles.

Each such thing is a stream; its first record says what it is and whose. To list
them nobody looks through the log: what was put on a caller's shelf and what was
taken from it is in one more stream, which the caller and the kind of thing name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from ..cursor import Cursor
from ..engine.ids import keyed_stream, new_stream
from ..errors import Conflict, CursorGone, StreamNotFound, StreamSealed
from ..events import Custom, Event
from ..log import FRESH, NEW, Record
from ..names import stream_of_uuid, uuid_of
from .endpoint import Asked

__all__ = ["Shelf", "Thing"]


class Thing(NamedTuple):
    """Something on a shelf."""

    id: str
    stream: str
    facts: dict[str, Any]
    """What was said of it when it was put there; ``created_at``, seconds since 1970, is always among it."""


class Shelf(NamedTuple):
    """Where things of one kind are kept, for each caller apart."""

    kind: str
    """``dialect.thing``."""
    id_of: Callable[[str], str] = uuid_of
    """How the id of a stream is spelled."""
    stream_of: Callable[[str], str] = stream_of_uuid
    """The reverse. Raises: StreamNotFound."""

    async def put(self, asked: Asked, facts: dict[str, Any], *, seal: bool = False, key: str = "") -> Thing:
        """
        Begin a thing. ``facts`` never change; if it is sealed, nothing is added to it either.

        With the same ``key`` a caller begins the same thing, however often.
        """
        stream = keyed_stream(asked.owner, f"{self.kind}\n{key}") if key else new_stream()
        facts = {"created_at": time.time(), **facts}
        begun = Custom(self.kind, {"owner": asked.owner, "facts": facts})
        try:
            await asked.service.log.append(stream, [begun], expect=NEW if key else FRESH, seal=seal)
        except Conflict:
            return await self.find(asked, self.id_of(stream))
        await self._note(asked, Custom(f"{self.kind}.put", {"stream": stream, "facts": facts}))
        return Thing(self.id_of(stream), stream, facts)

    async def find(self, asked: Asked, id: str) -> Thing:
        """Return the caller's thing of that id. Raises: StreamNotFound."""
        with suppress(StreamNotFound):
            stream = self.stream_of(id)
            facts = self._facts(asked, await _first(asked, stream))
            if facts is None:  # its beginning may have been forgotten by age
                facts = (await self._kept(asked)).get(stream)
            if facts is not None:
                return Thing(id, stream, {**facts, **await self._changed(asked, stream)})
        what = self.kind.partition(".")[2].replace("_", " ")
        raise StreamNotFound(f"there is no {what} {id[:64]!r}")

    def _facts(self, asked: Asked, event: Event | None) -> dict[str, Any] | None:
        match event:
            case Custom(name=self.kind, data={"owner": asked.owner, "facts": dict(facts)}):
                return facts
            case _:
                return None

    async def list(self, asked: Asked) -> list[Thing]:
        """Return the caller's things, the youngest first."""
        kept = [*(await self._kept(asked)).items()]
        changed = [await self._changed(asked, stream) for stream, _ in kept]
        things = [
            Thing(self.id_of(stream), stream, {**facts, **anew})
            for (stream, facts), anew in zip(kept, changed, strict=True)
        ]
        return things[::-1]

    async def change(self, asked: Asked, thing: Thing, facts: dict[str, Any]) -> Thing:
        """Say some facts of a thing anew."""
        changed = {**thing.facts, **facts}
        await asked.service.log.append(self._changes(thing.stream), [Custom(f"{self.kind}.changed", changed)])
        return thing._replace(facts=changed)

    def _changes(self, stream: str) -> str:
        """Return the stream of what was said anew: the thing's own may have a writer, not to be disturbed."""
        return keyed_stream(stream, f"{self.kind}\nchanged")

    async def _changed(self, asked: Asked, stream: str) -> dict[str, Any]:
        """Return what was said anew of a thing, last."""
        log = asked.service.log
        with suppress(StreamNotFound, CursorGone):
            end = (await log.head(self._changes(stream))).cursor
            (record,) = await log.batch(self._changes(stream), end._replace(offset=end.offset - 1), 1)
            if isinstance(record.event, Custom):
                return dict(record.event.data)
        return {}

    async def take(self, asked: Asked, thing: Thing) -> None:
        """Forget a thing."""
        await self._note(asked, Custom(f"{self.kind}.taken", {"stream": thing.stream}))
        with suppress(StreamNotFound):
            await asked.service.runs.delete(self._changes(thing.stream))
        await asked.service.runs.delete(thing.stream)

    async def _kept(self, asked: Asked) -> dict[str, dict[str, Any]]:
        """Return the streams of the caller's things and their facts, the oldest first."""
        found: dict[str, dict[str, Any]] = {}
        put, taken = f"{self.kind}.put", f"{self.kind}.taken"
        with suppress(StreamNotFound, CursorGone):
            async for record in asked.service.log.read(self._index(asked)):
                match record.event:
                    case Custom(name=name, data={"stream": stream, "facts": facts}) if name == put:
                        found[stream] = facts
                    case Custom(name=name, data={"stream": stream}) if name == taken:
                        found.pop(stream, None)
                    case _:
                        pass
        return found

    def _index(self, asked: Asked) -> str:
        """Return the stream that lists the caller's things. Keys in headers cannot have a line end."""
        dialect, _, thing = self.kind.partition(".")
        return keyed_stream(asked.owner, f"{dialect}\nshelf {thing}")

    async def _note(self, asked: Asked, event: Custom) -> None:
        log, index = asked.service.log, self._index(asked)
        async with asked.service.turns.of(index):
            try:
                await log.append(index, [event])
            except StreamSealed:  # so long unused that it was forgotten: begin again
                await asked.service.runs.delete(index)
                await log.append(index, [event])


async def _first(asked: Asked, stream: str) -> Event | None:
    """Return the first event of a stream; None if it has been forgotten. Raises: StreamNotFound."""
    head = await asked.service.log.head(stream)
    try:
        records: list[Record] = await asked.service.log.batch(stream, Cursor(head.cursor.epoch), 1)
    except CursorGone:
        return None
    return records[0].event if records else None
