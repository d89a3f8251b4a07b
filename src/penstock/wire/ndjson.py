"""
One JSON value per line. https://github.com/ndjson/ndjson-spec

A line ends in LF or CRLF; blank lines mean nothing, so a blank line is the
keepalive; the last line need not be ended.
"""

from __future__ import annotations

from itertools import repeat
from typing import Final

from ..errors import FrameTooLarge, LocalProtocolError
from . import MAX_FRAME, Frame, Framing

__all__ = ["NDJSON", "NDJSONReader", "write"]


_LF: Final = ord("\n")
_AROUND: Final = repeat(b" \t\r")
"""What is no part of a line, once for each."""


class NDJSONReader:
    """Splits a body into lines. Whether a line is JSON is for the dialect to say."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max = max_frame
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        if _LF in data:
            frames, data = self._read(self._waiting(data))
        if data:
            self._pieces.append(data)
            self._size += len(data)
            self._check(self._size)
        return frames

    def close(self) -> list[Frame]:
        frames, _ = self._read(self._waiting(b"\n"))
        return frames

    def unfinished(self) -> Frame | None:
        return None

    def _waiting(self, data: bytes) -> bytes:
        """Take what waits, and ``data`` behind it."""
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        return data

    def _read(self, data: bytes) -> tuple[list[Frame], bytes]:
        """Read the lines of ``data``; return what is behind the last one, too."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if len(data) > self._max:
            self._check(max(map(len, lines)))
        return list(map(Frame, filter(None, map(bytes.strip, lines, _AROUND)))), rest

    def _check(self, size: int) -> None:
        if size > self._max:
            raise FrameTooLarge(f"an NDJSON line exceeds {self._max} bytes")


def write(frame: Frame) -> bytes:
    """Write one line. Raises: LocalProtocolError (the data is more than one line)."""
    if b"\n" in frame.data or b"\r" in frame.data:
        raise LocalProtocolError("an NDJSON record contains a line end")
    return frame.data + b"\n"


NDJSON: Final = Framing("ndjson", "application/x-ndjson", NDJSONReader, write, keepalive=b"\n")
