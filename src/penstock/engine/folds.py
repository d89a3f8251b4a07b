"""What streams come to, kept until they change: to ask for all of them costs what is new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ..cursor import Cursor
from ..log import Log
from ..snapshot import Snapshot
from .reading import history

__all__ = ["Folds"]

_T = TypeVar("_T")
_KEPT: Final = 4096
"""Streams of which it is kept, those that were asked for last."""


class Folds(Generic[_T]):
    """What ``fold`` makes of streams, each as it stands."""

    def __init__(self, log: Log, fold: Callable[[Snapshot], _T]) -> None:
        self._log, self._fold = log, fold
        self._kept: OrderedDict[str, tuple[Cursor, _T]] = OrderedDict()

    async def of(self, stream: str) -> _T:
        """Return what ``stream`` comes to. Raises: StreamNotFound."""
        end = (await self._log.head(stream)).cursor
        kept = self._kept.get(stream)
        if kept is None or kept[0] != end:
            kept = end, self._fold(await history(self._log, stream))
            self._kept[stream] = kept
        self._kept.move_to_end(stream)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept[1]
