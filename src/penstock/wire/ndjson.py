"""
One JSON value per line. https://github.com/ndjson/ndjson-spec

A line ends in LF or CRLF; blank lines mean nothing, so a blank line is the
keepalive; the last line need not be ended.
"""

from __future__ import annotations

from typing import Final

from ..errors import FrameTooLarge, LocalProtocolError
from . import MAX_FRAME, Frame, Framing

__all__ = ["NDJSON", "NDJSONReader", "write"]


class NDJSONReader:
    """Splits a body into lines. Whether a line is JSON is for the dialect to say."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max = max_frame
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        self._pieces.append(data)
        self._size += len(data)
        if b"\n" not in data:
            self._check(self._size)
            return []
        *lines, rest = b"".join(self._pieces).split(b"\n")
        self._pieces, self._size = [rest] if rest else [], len(rest)
        self._check(self._size)
        return [frame for line in lines if (frame := self._line(line)) is not None]

    def close(self) -> list[Frame]:
        line = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        frame = self._line(line)
        return [] if frame is None else [frame]

    def unfinished(self) -> Frame | None:
        return None

    def _line(self, line: bytes) -> Frame | None:
        self._check(len(line))
        line = line.strip(b" \t\r")
        return Frame(line) if line else None

    def _check(self, size: int) -> None:
        if size > self._max:
            raise FrameTooLarge(f"an NDJSON line exceeds {self._max} bytes")


def write(frame: Frame) -> bytes:
    """Write one line. Raises: LocalProtocolError (the data is more than one line)."""
    if b"\n" in frame.data or b"\r" in frame.data:
        raise LocalProtocolError("an NDJSON record contains a line end")
    return frame.data + b"\n"


NDJSON: Final = Framing("ndjson", "application/x-ndjson", NDJSONReader, write, keepalive=b"\n")
