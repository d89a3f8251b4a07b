"""
When to try again.

Pure: the attempt, the jitter and the other side's wish are passed in, so that
every delay can be tested. The shape is the one AWS's architecture blog calls
"full jitter", above a floor that keeps the first retry from being immediate.
"""

from __future__ import annotations

from typing import Final

__all__ = ["delay"]

_FIRST: Final = 0.5
_LONGEST: Final = 30.0
_PATIENCE: Final = 120.0
"""The longest wish that is honoured; openai-python stops at the same."""


def delay(attempt: int, jitter: float, wish: float | None = None) -> float:
    """
    Return how many seconds to wait before trying again.

    Args:
        attempt: how many tries have failed, from 1.
        jitter: a number in [0, 1).
        wish: what the other side asked for (``Retry-After``), if it did.
    """
    if wish is not None and 0 <= wish <= _PATIENCE:
        return wish
    ceiling = min(_LONGEST, _FIRST * 2.0 ** min(attempt, 16))
    return _FIRST / 2 + jitter * (ceiling - _FIRST / 2)
