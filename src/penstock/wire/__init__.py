"""Bytes to frames and back. No dialect knows how a line ends; nobody else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import Struct

__all__ = ["MAX_FRAME", "Frame", "FrameReader", "Framing"]

MAX_FRAME: Final = 16 * 2**20
"""
Bytes one frame may have by default. Base64 pictures inside a chat chunk reach a
few MiB; eventsource-parser and Go's bufio.Scanner default to far less, WebSocket
libraries to 1 MiB.
"""


class Frame(Struct, frozen=True, gc=False):
    """One SSE block or one NDJSON line, without its punctuation."""

    data: bytes
    event: str = ""
    id: str = ""


class FrameReader(Protocol):
    """Bytes in any pieces in, whole frames out; the cost is linear however they are cut."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take what has arrived. Raises: FrameTooLarge."""
        ...

    def close(self) -> list[Frame]:
        """The input has ended: return what the framing still counts as a frame."""
        ...

    def unfinished(self) -> Frame | None:
        """After :meth:`close`: what the framing discards, should a dialect know better."""
        ...


@dataclass(frozen=True, slots=True)
class Framing:
    """How frames lie on the wire."""

    name: str
    media_type: str
    reader: Callable[[], FrameReader]
    write: Callable[[Frame], bytes]
    keepalive: bytes
    """Bytes that say "still here" between two frames, and mean nothing."""
    apart: bool = False
    """Whether each line travels in an HTTP chunk of its own: some clients take a chunk for a unit."""
