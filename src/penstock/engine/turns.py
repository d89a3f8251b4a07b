"""Those who would change the same stream after a look at it do so one after the other."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

__all__ = ["Turns"]


class Turns:
    """Locks by name, each as long as anybody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, stream: str) -> asyncio.Lock:
        """Return what to hold from looking at ``stream`` until it is changed."""
        return self._locks.setdefault(stream, asyncio.Lock())
