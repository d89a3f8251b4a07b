"""A task: a stream of turns that one key began with one agent."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from ....engine.reading import history
from ....errors import StreamNotFound
from ....requests import Start
from ....snapshot import Response, Snapshot
from ...endpoint import Asked

__all__ = ["Task", "find", "owned"]

_OWNER: Final = "orq_owner"
"""The member of an answer's metadata that names the key it was asked with."""


class Task(NamedTuple):
    """A task as it stands."""

    name: str
    snapshot: Snapshot
    response: Response
    """The latest turn's."""


def owned(start: Start, owner: str, extra: dict[str, Any]) -> Start:
    """Return ``start`` as the first turn of a task: its owner noted, its stream kept open."""
    noted = {_OWNER: owner, **({"orq": extra} if extra else {})}
    metadata = {} if start.metadata is UNSET else start.metadata
    return replace(start, metadata={**metadata, **noted}, keep_open=True)


async def find(asked: Asked, name: str) -> Task:
    """Return the caller's task of that name, of the agent in the path. Raises: StreamNotFound."""
    try:
        snapshot = await history(asked.service.log, name)
    except StreamNotFound:
        snapshot = Snapshot()
    response = snapshot.response
    if response is None or response.agent != asked.path["agent"] or _owner(response) != asked.owner:
        raise StreamNotFound(f"there is no task {name[:64]!r} of the agent {asked.path['agent'][:64]!r}")
    return Task(name, snapshot, response)


def _owner(response: Response) -> str | None:
    metadata = {} if response.request is UNSET else response.request.get("metadata") or {}
    return metadata.get(_OWNER)
