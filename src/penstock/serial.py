"""
One part at a time, for wires that allow only one.

A fold over events: while a part is open, the events of any other part that
begins are held back, and follow once it is done, in the order in which the
parts began. What is not about a part (a tool's execution, say) never overtakes
a part that is held.
"""

from __future__ import annotations

from collections.abc import Iterator

from .events import TERMINAL, Event, PartDelta, PartDone, PartStarted

__all__ = ["Serial"]


class Serial:
    """Reorders the events of one response so that parts do not overlap."""

    __slots__ = ("_after", "_held", "_open")

    def __init__(self) -> None:
        self._open: str | None = None
        self._held: dict[str, list[Event]] = {}
        self._after: list[Event] = []

    def feed(self, event: Event) -> Iterator[Event]:
        """Take one event; yield those that may pass now."""
        match event:
            case PartStarted(part_id=key) if self._open is not None:
                self._held[key] = [event]
            case PartStarted(part_id=key):
                self._open = key
                yield event
            case PartDelta(part_id=key) | PartDone(part_id=key) if key in self._held:
                self._held[key].append(event)
            case PartDone():
                yield event
                yield from self._next()
            case _ if isinstance(event, TERMINAL):
                yield from self._rest()
                yield event
            case _ if self._held and not isinstance(event, PartDelta):
                self._after.append(event)
            case _:
                yield event

    def _next(self) -> Iterator[Event]:
        """Let held parts through, up to and including the first that is still open."""
        self._open = None
        while self._held and self._open is None:
            key = next(iter(self._held))
            events = self._held.pop(key)
            yield from events
            if not isinstance(events[-1], PartDone):
                self._open = key
        if not self._held:
            yield from self._after
            self._after = []

    def _rest(self) -> Iterator[Event]:
        """A response failed: nothing that was said is withheld."""
        for events in self._held.values():
            yield from events
        yield from self._after
        self._open, self._held, self._after = None, {}, []
