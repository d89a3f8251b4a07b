"""
When to try again.

Pure: the attempt, the jitter and the other side's wish are passed in, so that
every delay can be tested. The shape is the one AWS's architecture blog calls
"full jitter", above a floor that keeps the first retry from being immediate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Policy", "delay"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How persistent a client is. Times are seconds."""

    first: float = 0.5
    """What the delays grow from; a server's ``retry:`` takes its place."""
    longest: float = 30.0
    patience: float = 120.0
    """The longest wish that is honoured; openai-python stops at the same."""
    attempts: int = 8
    """How many connections in a row may bring nothing new before a reader gives up."""
    repeats: int = 2
    """How often a request is sent again before anything was answered."""
    connect: float = 10.0
    """For name, connection and TLS together."""
    first_byte: float = 60.0
    """Until the head of an answer: some servers send it with the first word."""
    silence: float = 35.0
    """Without a byte of a body; a little more than two heartbeats of 15 s."""


_USUAL: Final = Policy()


def delay(attempt: int, jitter: float, wish: float | None = None, policy: Policy = _USUAL) -> float:
    """
    Return how many seconds to wait before trying again.

    Args:
        attempt: how many tries have failed, from 1.
        jitter: a number in [0, 1).
        wish: what the other side asked for (``Retry-After``), if it did.
    """
    if wish is not None and 0 <= wish <= policy.patience:
        return wish
    floor = min(policy.first, policy.longest) / 2
    ceiling = max(floor, min(policy.longest, policy.first * 2.0 ** min(attempt, 16)))
    return floor + jitter * (ceiling - floor)
