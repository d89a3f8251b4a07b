"""
Server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html

Reading follows the standard, byte for byte, in linear time. Writing is narrower
than the standard, because the clients are:

* A keepalive is a bare comment *line*, never a block. Once an ``id:`` has been
  seen, some clients dispatch an empty event at every blank line (contract
  openai-chat, section 8, rows 1 and 2).
* ``id:`` and ``retry:`` never travel alone (row 3), and no byte-order mark (row 4).
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import FrameTooLarge, LocalProtocolError
from . import MAX_FRAME, Frame, Framing

__all__ = ["SSE", "SSEReader", "write"]

_BOM: Final = b"\xef\xbb\xbf"
_EOL: Final = re.compile(rb"\r\n|\n|\r")
_UNSAFE: Final = re.compile(r"[\r\n\0]")
_LONGEST: Final = 18
"""Digits of a ``retry``; no server means more."""


class SSEReader:
    """
    Splits a body into frames.

    Line ends become LF as they arrive; a block ends at an empty line; what is
    not yet a block waits in pieces, joined once when its end has come.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.retry: int | None = None
        """The server's wish for reconnecting, milliseconds."""
        self._max = max_frame
        self._pieces: list[bytes] = []
        self._size = 0
        self._id = ""
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[Frame]:
        if self._at_start or self._after_cr or b"\r" in data:
            data = self._plain(data)
        if not data:
            return []
        crosses = bool(self._pieces) and self._pieces[-1].endswith(b"\n") and data.startswith(b"\n")
        self._pieces.append(data)
        self._size += len(data)
        if not crosses and b"\n\n" not in data:
            self._check(self._size - data.endswith(b"\n"))  # it may be the block's end, not its own
            return []
        *blocks, rest = (b"".join(self._pieces) if len(self._pieces) > 1 else data).split(b"\n\n")
        self._pieces, self._size = [rest] if rest else [], len(rest)
        self._check(self._size - rest.endswith(b"\n"))
        return self._frames(blocks)

    def close(self) -> list[Frame]:
        return []  # the standard discards a block that no empty line ended

    def unfinished(self) -> Frame | None:
        """The block that the end of input cut short, if there was one with data."""
        block = b"".join(self._pieces)
        self._pieces = []
        return self._block(block)

    def _plain(self, data: bytes) -> bytes:
        """Return ``data`` with LF line ends and without the byte-order mark."""
        if self._at_start:
            data = self._without_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _without_bom(self, data: bytes) -> bytes:
        data = b"".join(self._pieces) + data
        self._pieces, self._size = [], 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._pieces, self._size = [data] if data else [], len(data)
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _check(self, size: int) -> None:
        if size > self._max:
            raise FrameTooLarge(f"an SSE block exceeds {self._max} bytes")

    def _frames(self, blocks: list[bytes]) -> list[Frame]:
        frames = []
        longest, last_id = self._max, self._id
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block and len(block) <= longest:
                frames.append(Frame(block[6:], "", last_id))  # nearly every block of every wire
            else:
                frame = self._block(block)
                last_id = self._id
                if frame is not None:
                    frames.append(frame)
        return frames

    def _block(self, block: bytes) -> Frame | None:
        self._check(len(block))
        return self._lines(block.split(b"\n"))

    def _lines(self, lines: list[bytes]) -> Frame | None:
        data: list[bytes] = []
        event = ""
        for line in lines:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            match name:
                case b"data":
                    data.append(value)
                case b"event":
                    event = value.decode(errors="replace")
                case b"id" if b"\0" not in value:
                    self._id = value.decode(errors="replace")
                case b"retry" if value.isdigit() and len(value) <= _LONGEST:
                    self.retry = int(value)
                case _:  # a comment, or a field the standard ignores
                    pass
        return Frame(b"\n".join(data), event, self._id) if data else None


def write(frame: Frame) -> bytes:
    """
    Write one block.

    Raises:
        LocalProtocolError: the event or the id could break out of its line.
    """
    head = _head(frame) if frame.event or frame.id else b""
    if b"\n" in frame.data or b"\r" in frame.data:
        lines = b"".join(b"data: %b\n" % line for line in _EOL.split(frame.data))
        return b"%b%b\n" % (head, lines)
    return b"%bdata: %b\n\n" % (head, frame.data)


def _head(frame: Frame) -> bytes:
    if _UNSAFE.search(frame.event) or _UNSAFE.search(frame.id):
        raise LocalProtocolError("an SSE event or id contains a line end or NUL")
    event = f"event: {frame.event}\n" if frame.event else ""
    return (f"{event}id: {frame.id}\n" if frame.id else event).encode()


SSE: Final = Framing("sse", "text/event-stream", SSEReader, write, keepalive=b": ka\n")
