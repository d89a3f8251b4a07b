"""
Minting names of streams; ``penstock.names`` says how they are spelled.

A stream's name sorts by the time of its birth, unless the caller's
Idempotency-Key decides it: then the same key always means the same stream,
without a table of keys to keep.
"""

from __future__ import annotations

import hashlib
import secrets
import time

from ..names import next_response, response_name, stream_name, stream_of

__all__ = ["keyed_stream", "new_stream", "next_response", "response_name", "stream_of"]


def new_stream() -> str:
    """Return the name of a new stream: 48 bits of milliseconds, 80 of chance."""
    return stream_name(time.time_ns() // 1_000_000 << 80 | secrets.randbits(80))


def keyed_stream(owner: str, key: str) -> str:
    """Return the stream that the Idempotency-Key ``key`` of ``owner`` stands for."""
    digest = hashlib.sha256(f"{len(owner)}:{owner}{key}".encode()).digest()
    return stream_name(int.from_bytes(digest[:16]))
