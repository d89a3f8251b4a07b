"""
How blocks lie on the wire (section 3): ``id``, ``event``, ``data``, in this order.

An SDK takes a block that a cut has left half for a whole one. With the id in
front, whatever still reads as an event has the id that it was given.
"""

from __future__ import annotations

from typing import Final

from ...errors import LocalProtocolError
from ...wire import Frame, Framing
from ...wire.sse import SSE as PLAIN
from ...wire.sse import SSEReader
from ...wire.sse import write as write_block

__all__ = ["SSE", "write"]


def write(frame: Frame) -> bytes:
    """
    Write one block.

    Raises:
        LocalProtocolError: it has no id, or the id or the event could break out of its line.
    """
    if not frame.id or not frame.id.isascii() or not frame.id.isprintable():
        raise LocalProtocolError(f"a block needs an id of printable ASCII, not {frame.id!r}")
    return b"id: %b\n%b" % (frame.id.encode(), write_block(Frame(frame.data, frame.event)))


SSE: Final = Framing("sse", "text/event-stream", SSEReader, write, PLAIN.keepalive)
