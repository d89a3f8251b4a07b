"""Those who would change the same stream after a look at it do so one after the other."""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

__all__ = ["turn"]

_TURNS: Final[WeakValueDictionary[str, asyncio.Lock]] = WeakValueDictionary()


def turn(stream: str) -> asyncio.Lock:
    """Return what to hold from looking at ``stream`` until it is changed."""
    return _TURNS.setdefault(stream, asyncio.Lock())
