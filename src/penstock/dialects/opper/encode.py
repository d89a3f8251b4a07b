"""
Events to the frames of v2 and v1.

Both begin with the span, say the content, and end by ending: there is no last
frame. A response that fails says so in a frame, and the connection is broken,
because most callers see only that (section 2.5 of the contract). What the SDKs
have no word for (reasoning, tools, sources, usage) is not said.

* The default wire is that of ``/call/stream``: data is said leaf by leaf.
* ``strings`` is the same for callers of before October 2025: every delta is a
  string, and nulls are left out.
* ``narrow`` is that of the calls by id, and of v1: data is said as pieces of
  its JSON text.

No container is ever said: a reader knows an empty one, if at all, by its schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from msgspec import UNSET

from ...errors import InvalidJson
from ...events import (
    DataPart,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseFailed,
    ResponseStarted,
)
from ...fields import Fields, Kind, Leaf, Path, spelled
from ...snapshot import text_of
from ...wire import Frame, jsontext
from .. import Spoken
from .answer import span_of
from .content import Content, Pieces

__all__ = ["Encoder"]

_DELTA: Final = b'{"delta":'


class _Voice(Protocol):
    """Says one part."""

    def say(self, piece: str) -> Iterable[Frame]: ...
    def complete(self, part: Part) -> Iterable[Frame]: ...


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self, *, narrow: bool = False, strings: bool = False) -> None:
        """
        Args:
            narrow: nothing but strings and the span (section 2.4).
            strings: every delta is a string (section 2.3).
        """
        self._narrow, self._strings = narrow, strings
        self._content = Content()
        self._speaking = ""
        """The part whose deltas are said at once."""
        self._voice: _Voice = Pieces(_DELTA, b"}")

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta and event.part_id == self._speaking:
            return self._voice.say(event.delta)
        return self._rarely(event)

    def _rarely(self, event: Event) -> Iterator[Frame]:
        """Encode anything but a delta of the part that speaks."""
        if isinstance(event, ResponseStarted):
            self._content, self._speaking = Content(), ""
            yield Frame(b'{"span_id":%b}' % jsontext.quote(span_of(event.response_id)))
        for passed in self._content.feed(event):
            match passed:
                case PartStarted(part_id=key, part=part):
                    self._speaking, self._voice = key, self._for(part)
                    yield from self._voice.say(begun) if (begun := text_of(part)) else ()
                case PartDelta(delta=delta):
                    yield from self._voice.say(delta)
                case PartDone(part=part):
                    yield from self._voice.complete(part)
                case ResponseFailed(code=code, message=message):
                    error = {"chunk_type": "error", "error_type": code, "error_message": message}
                    yield Frame(jsontext.encode(error))
                case _:
                    pass

    def _for(self, part: Part) -> _Voice:
        if self._narrow:
            return Pieces(_DELTA, b"}")
        if isinstance(part, DataPart):
            return _Leaves(strings=self._strings)
        return Pieces(_DELTA, b',"chunk_type":"text"}')


class _Leaves:
    """
    Says a data part leaf by leaf.

    Of text that turns out not to be JSON, the leaves before the mistake are
    said, and nothing after it. If that is none, the value that the part is done
    with is said; else it is too late: what was said cannot be taken back.
    """

    __slots__ = ("_fields", "_path", "_strings", "_tail")

    def __init__(self, *, strings: bool) -> None:
        self._strings = strings
        self._fields = Fields()
        self._path: Path | None = None
        """Of the last leaf; None before the first."""
        self._tail = b""
        """What follows the delta of the last leaf."""

    def say(self, piece: str) -> list[Frame]:
        try:
            return self._frames(self._fields.feed(piece))
        except InvalidJson:
            return []

    def complete(self, part: Part) -> list[Frame]:
        last = self._close()
        if self._path is not None or not isinstance(part, DataPart) or part.value is UNSET:
            return last
        self._fields = Fields()
        return [*self.say(text_of(part)), *self._close()]

    def _close(self) -> list[Frame]:
        try:
            return self._frames(self._fields.close())
        except InvalidJson:
            return []

    def _frames(self, leaves: Iterable[Leaf]) -> list[Frame]:
        frames = []
        for path, kind, piece, _ in leaves:
            goes_on = path == self._path
            if not goes_on:
                named = b',"json_path":%b' % _quoted(spelled(path)) if path else b""
                self._path, self._tail = path, named + b',"chunk_type":"json"}'
            if goes_on and piece == "":
                continue  # the end of a string, of which all is said
            delta = self._delta(kind, piece)
            if delta is not None:
                frames.append(Frame(_DELTA + delta + self._tail))
        return frames

    def _delta(self, kind: Kind, piece: str | bool | None) -> bytes | None:
        """Return a leaf as JSON; None if it is not said."""
        if type(piece) is str:
            if kind == "string":
                return _quoted(piece)
            return b'"%b"' % piece.encode() if self._strings else piece.encode()
        if kind == "boolean":
            word = b"true" if piece else b"false"
            return b'"%b"' % word if self._strings else word
        return None if self._strings or kind != "null" else b"null"


def _quoted(text: str) -> bytes:
    """Quote what was decoded: half a surrogate pair, which no text may have, raises in the Python SDK."""
    return jsontext.quote(text if text.isascii() else jsontext.scrub(text))
