"""
The catalog: agents by name and id, and every revision there was.

It keeps definitions, and knows nothing of calls. How often an agent is called
is not kept here: each call is in the log already, as a ``response.started`` that
names its agent, and a count beside it would cost every call a commit of its own.

``penstock.testing.catalog_suite`` says what all catalogs must keep to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast, runtime_checkable
from uuid import uuid4

from msgspec.structs import replace

from ..agents import Agent, Revision, Sort, decode_agent, encode_agent
from ..errors import AgentExists, AgentNotFound
from ..log import Log

__all__ = ["Catalog", "HasCatalog", "MemoryCatalog", "catalog_of"]


class Catalog(Protocol):
    """
    Agents, each under a name that only it has, in revisions that only add up.

    What is stored is what the JSON of a definition says, and what is returned is
    the caller's own: neither changes with an object that somebody else holds. A
    caller that is cancelled while it waits may have stored it all the same.

    Raises, all of them: LogUnavailable, LogCorrupt, LogVersion, where it is kept
    in a file.
    """

    async def create(self, agent: Agent) -> Revision:
        """
        Store a new agent.

        Raises:
            AgentExists: the name is taken.
            RequestError: see :func:`~penstock.agents.encode_agent`.
        """
        ...

    async def update(self, id: str, change: Callable[[Agent], Agent]) -> Revision:
        """
        Store what ``change`` makes of the latest revision as a new one, unless that is the same.

        Nobody else's revision comes between what ``change`` is given and what it
        returns. It is called once, perhaps on another thread, while others wait:
        it should neither wait nor ask the catalog. What it raises is raised here,
        and nothing is stored. It may change the name.

        Raises:
            AgentNotFound: there is no such agent.
            AgentExists: the new name is taken.
            RequestError: see :func:`~penstock.agents.encode_agent`.
        """
        ...

    async def ensure(self, agent: Agent) -> Revision:
        """
        Return the latest revision of the agent of that name if it says the same; else store this one.

        So an agent comes into being with its first call, and any number of equal
        calls, one after the other or side by side, make one revision. Costs next
        to nothing while nothing changes.

        Raises:
            RequestError: see :func:`~penstock.agents.encode_agent`.
        """
        ...

    async def get(self, id: str, revision_id: str = "") -> Revision:
        """Return that revision, or the latest. Raises: AgentNotFound."""
        ...

    async def by_name(self, name: str) -> Revision:
        """Return the latest revision of the agent that has this name now. Raises: AgentNotFound."""
        ...

    async def list(
        self, *, name: str = "", sort: Sort = "name", offset: int = 0, limit: int = 100
    ) -> tuple[Sequence[Revision], int]:
        """
        Return the latest revisions of a page of agents, and how many agents there are on all pages.

        Only those count whose names contain ``name``. Those of equal times go by
        when they were created. An ``offset`` or ``limit`` below 0 counts as 0.
        """
        ...

    async def revisions(self, id: str, offset: int = 0, limit: int = 100) -> tuple[Sequence[Revision], int]:
        """
        Return a page of an agent's revisions, the latest first, and how many there are.

        The one with number n has the offset that is their count less n.
        Raises: AgentNotFound.
        """
        ...

    async def delete(self, id: str) -> None:
        """Forget the agent and all its revisions; its name is free again. Raises: AgentNotFound."""
        ...


@runtime_checkable
class HasCatalog(Protocol):
    """A log that keeps a catalog in the same place, and closes it with itself."""

    @property
    def catalog(self) -> Catalog: ...


def catalog_of(log: Log) -> Catalog:
    """Return the catalog that ``log`` keeps; a new one in memory, if it keeps none."""
    return cast(HasCatalog, log).catalog if isinstance(log, HasCatalog) else MemoryCatalog()


class MemoryCatalog:
    """A :class:`Catalog` in dictionaries: it forgets when the process ends."""

    def __init__(self) -> None:
        self._agents: dict[str, list[Revision]] = {}
        """Revisions from the first on, by agent; in the order in which agents were created."""
        self._ids: dict[str, str] = {}
        """By name."""

    async def create(self, agent: Agent) -> Revision:
        definition = encode_agent(agent)
        self._check_free(agent.name)
        now = time.time()
        revision = Revision(str(uuid4()), str(uuid4()), 1, now, now, decode_agent(definition))
        self._agents[revision.id] = [revision]
        self._ids[agent.name] = revision.id
        return _copy(revision)

    async def update(self, id: str, change: Callable[[Agent], Agent]) -> Revision:
        revisions = self._get(id)
        return self._revise(revisions, change(_copy(revisions[-1]).agent))

    async def ensure(self, agent: Agent) -> Revision:
        id = self._ids.get(agent.name)
        return await self.create(agent) if id is None else self._revise(self._agents[id], agent)

    async def get(self, id: str, revision_id: str = "") -> Revision:
        revisions = self._get(id)
        if not revision_id:
            return _copy(revisions[-1])
        for revision in revisions:
            if revision.revision_id == revision_id:
                return _copy(revision)
        raise AgentNotFound(f"agent {id!r} has no revision {revision_id!r}")

    async def by_name(self, name: str) -> Revision:
        if name not in self._ids:
            raise AgentNotFound(f"there is no agent named {name!r}")
        return _copy(self._agents[self._ids[name]][-1])

    async def list(
        self, *, name: str = "", sort: Sort = "name", offset: int = 0, limit: int = 100
    ) -> tuple[Sequence[Revision], int]:
        found = [revisions[-1] for revisions in self._agents.values() if name in revisions[-1].agent.name]
        match sort.removeprefix("-"):
            case "name":
                found.sort(key=_name)
            case "updated_at":
                found.sort(key=_updated_at)  # stable
        return _page(reversed(found) if sort.startswith("-") else found, offset, limit), len(found)

    async def revisions(self, id: str, offset: int = 0, limit: int = 100) -> tuple[Sequence[Revision], int]:
        revisions = self._get(id)
        return _page(reversed(revisions), offset, limit), len(revisions)

    async def delete(self, id: str) -> None:
        latest = self._get(id)[-1]
        del self._agents[id], self._ids[latest.agent.name]

    def _get(self, id: str) -> Sequence[Revision]:
        if id not in self._agents:
            raise AgentNotFound(f"there is no agent {id!r}")
        return self._agents[id]

    def _check_free(self, name: str) -> None:
        if name in self._ids:
            raise AgentExists(f"there is an agent named {name!r} already", field="name")

    def _revise(self, revisions: Sequence[Revision], agent: Agent) -> Revision:
        latest = revisions[-1]
        definition = encode_agent(agent)
        if definition == encode_agent(latest.agent):
            return _copy(latest)
        if agent.name != latest.agent.name:
            self._check_free(agent.name)
            self._ids[agent.name] = self._ids.pop(latest.agent.name)
        now = max(time.time(), latest.updated_at)
        revision = Revision(
            latest.id, str(uuid4()), latest.number + 1, latest.created_at, now, decode_agent(definition)
        )
        self._agents[latest.id].append(revision)
        return _copy(revision)


def _copy(revision: Revision) -> Revision:
    """Return a revision that shares no object with ours that could be changed."""
    return replace(revision, agent=decode_agent(encode_agent(revision.agent)))


def _page(revisions: Iterable[Revision], offset: int, limit: int) -> Sequence[Revision]:
    start = max(0, offset)
    return [_copy(revision) for revision in [*revisions][start : start + max(0, limit)]]


def _name(revision: Revision) -> str:
    return revision.agent.name


def _updated_at(revision: Revision) -> float:
    return revision.updated_at
