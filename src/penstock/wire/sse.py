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
_CR: Final = ord("\r")
_LF: Final = ord("\n")
"""``_LF in data`` is several times as fast as ``b"\\n" in data``; ``find`` for two bytes is slower still."""
_EOL: Final = re.compile(rb"\r\n|\n|\r")
_LONE_CR: Final = re.compile(rb"\r(?!\n)")
_HEAD: Final = re.compile(rb"(?:id: ([^\n\0]*)\n|event: ([^\n]*)\n){1,2}data: ")
"""How a block begins that has more than data, on nearly every wire."""
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
        if self._at_start or self._after_cr or _CR in data:
            data = self._plain(data)
        frames: list[Frame] = []
        if _LF in data and (not self._pieces or self._ends(data)):
            data = self._read(self._waiting(data), frames)
        if data:
            self._pieces.append(data)
            self._size += len(data)
            if self._size > self._max:
                self._check(self._size - data.endswith(b"\n"))  # it may be the block's end, not its own
        return frames

    def close(self) -> list[Frame]:
        return []  # the standard discards a block that no empty line ended

    def unfinished(self) -> Frame | None:
        """The block that the end of input cut short, if there was one with data."""
        return self._block(self._waiting(b""))

    def _plain(self, data: bytes) -> bytes:
        """Return ``data`` with LF line ends and without the byte-order mark."""
        if self._at_start:
            data = self._without_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            if _LONE_CR.search(data) is None:
                return data.replace(b"\r", b"")
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _without_bom(self, data: bytes) -> bytes:
        data = self._waiting(data)
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._pieces, self._size = [data] if data else [], len(data)
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _waiting(self, data: bytes) -> bytes:
        """Take what waits, and ``data`` behind it."""
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        return data

    def _check(self, size: int) -> None:
        if size > self._max:
            raise FrameTooLarge(f"an SSE block exceeds {self._max} bytes")

    def _ends(self, data: bytes) -> bool:
        """Say whether the block that waits ends in ``data``, which has a line end."""
        end = data.find(b"\n")
        return (end == 0 and self._pieces[-1].endswith(b"\n")) or data.find(b"\n\n", end) >= 0

    def _read(self, data: bytes, frames: list[Frame]) -> bytes:
        """Read the blocks of ``data``; return what is behind the last one."""
        start, last, longest = 0, len(data) - 1, self._max
        while -1 < (end := data.find(b"\n", start)) < last:
            if data[end + 1] == _LF and data[start : start + 6] == b"data: " and end - start <= longest:
                frames.append(Frame(data[start + 6 : end], "", self._id))
            else:
                end = self._read_more(data, start, end, frames)
                if end < 0:
                    break
            start = end + 2
        return data[start:]

    def _read_more(self, data: bytes, start: int, end: int, frames: list[Frame]) -> int:
        """Read the block whose first line ends at ``end``; return where the block does, -1 if beyond."""
        head = _HEAD.match(data, start)
        if head is not None:
            begin = head.end()
            end = data.find(b"\n", begin)
            if data[end : end + 2] == b"\n\n" and end - start <= self._max:
                last_id, event = head.groups()
                if last_id is not None:
                    self._id = last_id.decode("utf-8", "replace")
                name = event.decode("utf-8", "replace") if event else ""
                frames.append(Frame(data[begin:end], name, self._id))
                return end
        if end >= 0:
            end = data.find(b"\n\n", end)
        if end >= 0 and (frame := self._block(data[start:end])) is not None:
            frames.append(frame)
        return end

    def _block(self, block: bytes) -> Frame | None:
        self._check(len(block))
        data: list[bytes] = []
        event = ""
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            match name:
                case b"data":
                    data.append(value)
                case b"event":
                    event = value.decode(errors="replace")
                case b"id" if 0 not in value:
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
