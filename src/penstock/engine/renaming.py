"""
Names of parts and calls that are an answer's own, though each of its rounds began to count anew.

Decoders number the parts of what they read, and some models their calls. The
first round keeps its names; later ones are told apart by their number.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ..events import Event, PartDelta, PartDone, PartStarted, ResponseDone, ToolCallPart
from ..snapshot import Response

__all__ = ["Renaming"]


class Renaming:
    """Gives the parts and calls of an answer's next round names that are free in it."""

    def __init__(self, response: Response) -> None:
        """``response``: the answer as it stands before that round."""
        self._round = len(response.rounds) + 1
        started = (growing.start for growing in response.parts.values())
        self._taken = {part.call_id for part in started if isinstance(part, ToolCallPart)}

    def of(self, events: Sequence[Event]) -> list[Event]:
        """Return ``events`` with their new names."""
        return [self._renamed(event) for event in events]

    def _renamed(self, event: Event) -> Event:
        match event:
            case PartDelta(part_id=key, delta=delta, extra=extra):
                return PartDelta(self._part(key), delta, extra)
            case (
                PartStarted(part_id=key, part=ToolCallPart() as part)
                | PartDone(part_id=key, part=ToolCallPart() as part)
            ):
                return replace(
                    event, part_id=self._part(key), part=replace(part, call_id=self._call(part.call_id))
                )
            case PartStarted(part_id=key) | PartDone(part_id=key):
                return replace(event, part_id=self._part(key))
            case ResponseDone(pending_calls=pending) if pending:
                return replace(event, pending_calls=tuple(map(self._call, pending)))
            case _:
                return event

    def _part(self, key: str) -> str:
        return f"{key}.{self._round}"

    def _call(self, call_id: str) -> str:
        return f"{call_id}.{self._round}" if call_id in self._taken else call_id
