"""
How records lie on the wire (sections 5.6 and 5.7 of the contract).

The keepalive of both generations is a record. It is no frame: a reader that
counts frames to say where it stands would count it otherwise.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ...wire import MAX_FRAME, Frame, Framing
from ...wire.ndjson import NDJSON, NDJSONReader, write
from ...wire.sse import SSEReader
from ...wire.sse import write as write_block

__all__ = ["RUN", "SSE", "V1", "V2"]


class _Reader:
    """Reads lines, all but the keepalives as we write them; others are for the decoder to skip."""

    def __init__(self, idle: bytes, max_frame: int = MAX_FRAME) -> None:
        self._idle = idle
        self._lines = NDJSONReader(max_frame)

    def feed(self, data: bytes) -> list[Frame]:
        return self._told(self._lines.feed(data))

    def close(self) -> list[Frame]:
        return self._told(self._lines.close())

    def unfinished(self) -> Frame | None:
        return self._lines.unfinished()

    def _told(self, frames: list[Frame]) -> list[Frame]:
        return [frame for frame in frames if frame.data != self._idle]


def _lines(idle: bytes, media_type: str) -> Framing:
    return Framing("ndjson", media_type, partial(_Reader, idle), write, idle + b"\n", apart=True)


V2: Final = _lines(b'{"type":"keepalive"}', NDJSON.media_type)

V1: Final = _lines(b'{"event":"keepalive"}', f'{NDJSON.media_type}; profile="responses-stream/v1"')
"""The profile is what asks for this generation, and what it is served with (section 1a)."""

SSE: Final = Framing("sse", "text/event-stream", SSEReader, write_block, b": keepalive\n")

RUN: Final = NDJSON
"""A run's log knows no keepalive: a blank line is one."""
