"""
The two blocks that are of a connection and not of the log (section 4).

Their id is where the connection stands: a reader that is cut right after one of
them, and comes back with it, misses nothing.
"""

from __future__ import annotations

from ...wire import Frame, jsontext
from .framing import write

__all__ = ["greeting", "pulse"]


def greeting(session: str, cursor: str, retry: int = 2000) -> bytes:
    """
    Return the block that every connection begins with: SDKs send nothing before it has come.

    Args:
        cursor: where the connection begins to read.
        retry: milliseconds after which a browser that was cut off comes back by itself.
    """
    block = write(Frame(jsontext.encode({"sessionId": session}), "connected", cursor))
    return b"%bretry: %d\n\n" % (block[:-1], retry)


def pulse(cursor: str) -> bytes:
    """Return the block that fills a silence, after which a reader goes on at ``cursor``."""
    return write(Frame(b'{"type":"ping"}', "heartbeat", cursor))
