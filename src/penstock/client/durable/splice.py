"""
One body out of the bodies of many connections: pure, bytes in, bytes out.

What counts as a frame is what the server's encoders count: a block with data,
the last ``[DONE]`` too, or a line that is no keepalive. Comments and keepalives
pass, and are counted nowhere.

A frame says where its reader stands: by its id, in NDJSON its ``cursor``. Where
frames have none, it is their number. Two wires of ours take no such number back,
and begin again instead; there, as many frames as were had are dropped.
"""

from __future__ import annotations

from typing import Final

from msgspec import DecodeError, Struct, json

from ...wire.sse import SSEReader

__all__ = ["Splice"]

_ANY_SIZE: Final = 2**62
"""How large a frame may be is for the SDK to say."""
_KEEPALIVES: Final = (b"", b'{"type":"keepalive"}', b'{"event":"keepalive"}')
"""Lines that are no records: ours, and those of both generations of ModelRelay's wire."""
_LAST_WORDS: Final = (b'{"chunk_type":"error"', b'{"event":"message_stop","stop_reason":"error"')
"""
How frames begin after which the server breaks the connection on purpose, because
callers of these SDKs (Opper's, ModelRelay's first) could not see the failure otherwise.
"""


class _Line(Struct):
    """A record of the native wire, as far as it says where its reader stands."""

    cursor: str = ""


class Splice:
    """Lets whole frames out, each of them once."""

    def __init__(self, media_type: str, since: str = "", *, starts_over: bool = False) -> None:
        """
        Args:
            media_type: of the body, which says how frames lie on the wire.
            since: where the caller said it stands when it asked.
            starts_over: whether a repeated request begins where the first one began, whatever it says.
        """
        self.cursor = since
        """Where the reader stands: what ``Last-Event-ID`` is to say next."""
        self.heard = 0
        """Frames let out so far."""
        self.broken = False
        """Whether the last frame is one after which the server breaks the connection on purpose."""
        self._since = since
        self._starts_over = starts_over
        self._lines = "ndjson" in media_type
        self._end = b"\n" if self._lines else b"\n\n"
        self._rest = bytearray()
        self._blocks = SSEReader(_ANY_SIZE)
        self._met = ""
        """The cursor at which this connection began: frames that bear it say nothing new."""
        self._drop = 0

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived, and return what is whole of it."""
        before = len(self._rest)
        self._rest += data
        at = self._rest.rfind(self._end, max(0, before + 1 - len(self._end)))
        if at < 0:
            return b""
        whole = bytes(self._rest[:at])
        del self._rest[: at + len(self._end)]
        return b"".join(self._let_out(piece + self._end) for piece in whole.split(self._end))

    def end(self) -> bytes:
        """The body has come to its end: return the rest of it."""
        rest, self._rest = bytes(self._rest), bytearray()
        return self._let_out(rest) if rest else b""

    def cut(self) -> None:
        """The connection was lost: forget what is not whole, and be ready for the next."""
        self._rest.clear()
        if self._starts_over:
            self.cursor, self._drop = self._since, self.heard
        else:
            self._met = self.cursor

    def _let_out(self, piece: bytes) -> bytes:
        return self._line(piece) if self._lines else self._block(piece)

    def _block(self, block: bytes) -> bytes:
        frames = self._blocks.feed(block)
        return self._placed(frames[0].id, frames[0].data, block) if frames else block

    def _line(self, line: bytes) -> bytes:
        data = line.strip()
        if data in _KEEPALIVES:
            return line
        cursor = _cursor(data)
        self._starts_over = self._starts_over or not cursor
        return self._placed(cursor, data, line)

    def _placed(self, cursor: str, data: bytes, raw: bytes) -> bytes:
        """Return ``raw``, if it is new."""
        if self._drop:
            self._drop -= 1
            return b""
        if cursor and cursor == self._met:
            return b""
        self.heard += 1
        self.cursor = cursor or str(_number(self._since) + self.heard)
        self.broken = data.startswith(_LAST_WORDS)
        return raw


def _cursor(line: bytes) -> str:
    try:
        return json.decode(line, type=_Line).cursor
    except DecodeError:
        return ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
