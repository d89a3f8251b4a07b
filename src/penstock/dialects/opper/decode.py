"""
Frames of v2 and v1 to events.

There is no last frame: a clean end is the end, and only the transport can tell
that it was a cut. What comes with a path is data leaf by leaf; what comes
without is text, or data as JSON text where that was asked for. Deltas are taken
as they are: from a server that sends everything as strings, 12 is "12".
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Final

from msgspec import Raw, Struct

from ...errors import RemoteProtocolError
from ...events import (
    DataPart,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
)
from ...fields import Kind
from ...snapshot import grown
from ...wire import Frame
from .chunk import DONE, is_whole, read_chunk, read_string
from .gather import Gathering

__all__ = ["Decoder"]


class Chunk(Struct, gc=False):
    """What the data of a frame may hold."""

    delta: Raw = Raw(b"")
    """As it is written: a number has more digits than a float."""
    json_path: str | None = None
    chunk_type: str | None = None
    span_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None


class _Open(Struct):
    """A part that has begun: text, or data as JSON text or as leaves."""

    part_id: str
    start: Part
    text: StringIO
    leaves: Gathering | None = None

    def done(self) -> Part:
        if self.leaves is not None:
            return DataPart(self.leaves.value)
        return grown(self.start, self.text.getvalue())


class Decoder:
    """See :class:`penstock.dialects.Decoder`."""

    def __init__(self, *, structured: bool = False) -> None:
        """``structured``: strings without a path are pieces of a data part's JSON."""
        self._structured = structured
        self._parts: dict[str, _Open] = {}
        """Open parts, by what their deltas are."""
        self._started = self._ended = False

    def decode(self, frame: Frame) -> Iterator[Event]:
        if self._ended:
            return
        if frame.data == DONE:  # not of this wire, but relays of it say so
            yield from self._finish()
            return
        chunk = read_chunk(frame.data, Chunk)
        failed = chunk.chunk_type == "error" or frame.event == "error"
        if not self._started and (chunk.span_id or bytes(chunk.delta) or failed):
            self._started = True
            yield ResponseStarted(chunk.span_id or "")
        if failed:
            self._ended = True
            message = chunk.error_message or "the upstream reported an error"
            yield ResponseFailed(chunk.error_type or "upstream", message)
        elif delta := bytes(chunk.delta):
            yield from self._delta(chunk, *_read(delta))

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        whole = unfinished is None or is_whole(unfinished.data)
        if unfinished is not None and whole:
            yield from self.decode(unfinished)
        if self._ended:
            return
        if self._started and whole and not broken:
            yield from self._finish()
            return
        if not self._started:
            yield ResponseStarted("")
        self._started = self._ended = True
        how = "in the middle of an answer" if self._parts else "before it answered"
        yield ResponseFailed("truncated", f"the upstream broke off {how}", retryable=True)

    def _delta(self, chunk: Chunk, kind: Kind, piece: str | bool | None) -> Iterator[Event]:
        way = self._way(chunk)
        if way != "leaves" and kind == "null":
            return
        part = self._parts.get(way)
        if part is None:
            part = self._parts[way] = _opened(way, f"p{len(self._parts) + 1}")
            yield PartStarted(part.part_id, part.start)
        if part.leaves is not None:
            added = part.leaves.take(chunk.json_path or "", kind, piece)
        else:
            added = piece if isinstance(piece, str) else _WORDS[piece]
            part.text.write(added)
        if added:
            yield PartDelta(part.part_id, added)

    def _way(self, chunk: Chunk) -> str:
        """Return what a delta is: ``text``, ``json`` text, or one of the ``leaves`` of data."""
        if chunk.json_path is not None or chunk.chunk_type == "json":
            return "leaves"
        if chunk.chunk_type is None and self._structured:
            return "json"
        return "text"

    def _finish(self) -> Iterator[Event]:
        self._ended = True
        for part in self._parts.values():
            if part.leaves is not None and (rest := part.leaves.close()):
                yield PartDelta(part.part_id, rest)
            yield PartDone(part.part_id, part.done())
        yield ResponseDone("stop")


_WORDS: Final = {True: "true", False: "false", None: "null"}


def _opened(way: str, part_id: str) -> _Open:
    start: Part = TextPart() if way == "text" else DataPart()
    return _Open(part_id, start, StringIO(), Gathering() if way == "leaves" else None)


def _read(delta: bytes) -> tuple[Kind, str | bool | None]:
    """Return the scalar that ``delta`` is, as a leaf has it. Raises: RemoteProtocolError."""
    match delta[:1]:
        case b'"':
            return "string", read_string(delta)
        case b"t":
            return "boolean", True
        case b"f":
            return "boolean", False
        case b"n":
            return "null", None
        case b"{" | b"[":
            raise RemoteProtocolError("a delta that is a container")
        case _:
            return "number", delta.decode()
