"""The built-in model as an upstream: deterministic, offline, without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from ...events import TERMINAL, Event
from ...requests import Start
from ..demo import Step, answer
from . import Sink

__all__ = ["BuiltIn"]

_AT_ONCE = 64
"""Events returned by one read when the model does not pause."""


class BuiltIn:
    """See :class:`penstock.engine.upstreams.Upstream`."""

    def __init__(self, pace: float | None = None) -> None:
        """``pace``: seconds between deltas instead of the model's own; 0 for none."""
        self._pace = pace

    async def open(self, start: Start) -> _Playing:
        return _Playing(answer(start, self._pace))

    async def aclose(self) -> None: ...


class _Playing:
    def __init__(self, steps: Iterator[Step]) -> None:
        self._steps = steps

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        events: list[Event] = []
        for step in self._steps:
            if step.after:
                await asyncio.sleep(step.after)
            events += step.events
            if step.after or len(events) >= _AT_ONCE or isinstance(events[-1], TERMINAL):
                return events
        return None

    async def aclose(self) -> None: ...
