"""
Where answers come from.

An :class:`Upstream` opens a :class:`Source` for one answer; a run reads it to
its end. Which upstream serves which model is the business of :class:`Models`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ...errors import ModelNotFound
from ...events import Event
from ...requests import Start

__all__ = ["Budget", "Models", "Served", "Sink", "Source", "Upstream"]

Budget = Callable[[], int]
"""Returns how many bytes one read may take now, so that a busy stream does not starve the others."""


Sink = Callable[[Sequence[Event]], bool]
"""Takes events at once, or says that it cannot."""


class Source(Protocol):
    """One answer as it arrives: ``response.started`` may come first, a terminal event comes last."""

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        """
        Return what has arrived since the last read; None after the terminal event.

        While it waits, it may hand what arrives to ``sink``, which costs no
        waking; it returns with the first events that ``sink`` does not take.
        May return nothing. Raises: UpstreamError, RemoteProtocolError.
        """
        ...

    async def aclose(self) -> None: ...


class Upstream(Protocol):
    """A model endpoint."""

    async def open(self, start: Start) -> Source:
        """
        Ask for an answer; ``start.model`` is the upstream's own name for it.

        Raises: UpstreamError, RequestError.
        """
        ...

    async def aclose(self) -> None: ...


class Served(NamedTuple):
    """A model name of ours: who serves it, and under which name."""

    upstream: Upstream
    model: str


class Models:
    """
    Which upstream serves which model.

    ``*`` on the left serves every name that nobody else does; ``*`` on the
    right stands for the name that was asked for.
    """

    def __init__(
        self, upstreams: Mapping[str, tuple[Upstream, Mapping[str, str]]], default: str = ""
    ) -> None:
        """
        Args:
            upstreams: by name, each with its table from our model names to its own.
            default: the model for requests that name none, or none that is known.
        """
        self._upstreams = {name: upstream for name, (upstream, _) in upstreams.items()}
        self._named: dict[str, Served] = {}
        self._any: Served | None = None
        self._default = default
        for upstream, table in upstreams.values():
            for ours, theirs in table.items():
                if ours == "*":
                    self._any = self._any or Served(upstream, theirs)
                else:
                    self._named.setdefault(ours, Served(upstream, theirs))

    @property
    def names(self) -> list[str]:
        """The models that have a name of their own."""
        return sorted(self._named)

    def resolve(self, model: str) -> tuple[str, Served]:
        """
        Return the name that ``model`` goes by here, and who serves it.

        Raises:
            ModelNotFound: nobody does; the message lists what exists.
        """
        for name in (model, self._default):
            served = self._named.get(name) or (self._any if name else None)
            if served is not None:
                theirs = name if served.model == "*" else served.model
                return name, Served(served.upstream, theirs)
        there = ", ".join(self.names) or "none"
        asked = (
            f"there is no model {model!r}" if model else "the request names no model, and there is no default"
        )
        raise ModelNotFound(f"{asked}; models: {there}", field="model")

    async def aclose(self) -> None:
        for upstream in self._upstreams.values():
            await upstream.aclose()
