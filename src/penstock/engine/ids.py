"""
Names of streams and responses.

A stream's name sorts by the time of its birth, unless the caller's
Idempotency-Key decides it: then the same key always means the same stream,
without a table of keys to keep. A response is named after its stream and its
number in it, so that either leads to the other.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Final

__all__ = ["keyed_stream", "new_stream", "next_response", "response_name", "stream_of"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_LENGTH: Final = 26


def new_stream() -> str:
    """Return the name of a new stream: 48 bits of milliseconds, 80 of chance."""
    return f"st_{_spelled(time.time_ns() // 1_000_000 << 80 | secrets.randbits(80))}"


def keyed_stream(owner: str, key: str) -> str:
    """Return the stream that the Idempotency-Key ``key`` of ``owner`` stands for."""
    digest = hashlib.sha256(f"{len(owner)}:{owner}{key}".encode()).digest()
    return f"st_{_spelled(int.from_bytes(digest[:16]))}"


def response_name(stream: str, number: int) -> str:
    """Return the name of the ``number``-th response (from 1) of ``stream``."""
    return f"{stream}.{number}"


def next_response(name: str) -> str:
    """Return the name of the response that follows the one called ``name`` in its stream."""
    stream, _, number = name.partition(".")
    return response_name(stream, int(number) + 1)


def stream_of(name: str) -> str:
    """Return the stream that ``name``, a stream's or a response's, belongs to."""
    return name.partition(".")[0]


def _spelled(number: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
