"""
One encoding of a stream, shared by its readers.

A *voice* is the encoder of one (stream, wire) at the live end, with the bytes
of its last few spans: whoever stands at the beginning of a span takes its bytes
as they are. A reader who stands anywhere else encodes for itself, from the
beginning of the answer or from a checkpoint, until it has come to where the
voice is. A span ends where an answer ends.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from copy import deepcopy
from typing import Final, NamedTuple

from ..cursor import Cursor
from ..dialects import Encoder, Wire
from ..errors import CursorGone
from ..events import TERMINAL
from ..log import Head, Log, Record
from ..wire import Frame
from .interrupt import Interruptible
from .subscription import BATCH, check_place, frames

__all__ = ["Subscription", "Voices", "place"]

_SPANS: Final = 64
"""Spans a voice remembers: how far a reader may lag before it reads for itself."""
_SPAN_BYTES: Final = 128 * 1024
"""Bytes of spans a voice remembers, over all of them."""
_CHECKPOINT: Final = 1024
"""Records between two copies of an encoder."""
_CHECKPOINTS: Final = 256
_UNHEARD: Final = 1024
"""Voices kept when nobody listens, for readers who come back."""


class Span(NamedTuple):
    """Records from one offset up to ``end``, as bytes; ``terminal``: the last one ends an answer."""

    end: int
    data: bytes
    terminal: bool


class Voice:
    """The shared encoding of one stream in one wire."""

    def __init__(self, log: Log, stream: str, wire: Wire, epoch: str) -> None:
        self.log, self.stream, self.wire, self.epoch = log, stream, wire, epoch
        self.readers = 0
        """Subscriptions that hold this voice."""
        self.joined = 0
        """Those of them that take its bytes; the others encode for themselves."""
        self.offset = -1
        """Where the encoder stands; -1 before it was given one."""
        self._encoder: Encoder | None = None
        self._spans: dict[int, Span] = {}
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._checkpoints: list[tuple[int, Encoder]] = []

    def adopt(self, encoder: Encoder, offset: int) -> None:
        """Go on from where a reader has brought its own encoder."""
        self._encoder, self.offset = encoder, offset
        self._spans, self._bytes = {}, 0

    def span(self, offset: int) -> Span | None:
        """Return the span that begins at ``offset``, if it is remembered."""
        return self._spans.get(offset)

    def checkpoint(self, offset: int, origin: int) -> tuple[int, Encoder] | None:
        """Return a copy of the encoder as it was nearest before ``offset``, not before ``origin``."""
        n = bisect_right(self._checkpoints, offset, key=lambda kept: kept[0])
        if n and self._checkpoints[n - 1][0] >= origin:
            at, encoder = self._checkpoints[n - 1]
            return at, deepcopy(encoder)
        return None

    async def advance(self) -> None:
        """Encode the next records, if there are any."""
        start = self.offset
        async with self._turn:
            if self.offset != start or self._encoder is None:
                return  # another reader has done it
            records = await self.log.batch(self.stream, Cursor(self.epoch, start), BATCH)
            if records:
                self._remember(start, _encode(self._encoder, self.wire, self.epoch, records))

    def _remember(self, start: int, span: Span) -> None:
        self._spans[start] = span
        self._bytes += len(span.data)
        self.offset = span.end
        while len(self._spans) > _SPANS or (self._bytes > _SPAN_BYTES and len(self._spans) > 1):
            oldest = next(iter(self._spans))
            self._bytes -= len(self._spans.pop(oldest).data)
        last = self._checkpoints[-1][0] if self._checkpoints else 0
        if span.end - last >= _CHECKPOINT:
            self._checkpoints.append((span.end, deepcopy(self._encoder)))  # type: ignore[arg-type]
            if len(self._checkpoints) > _CHECKPOINTS:
                del self._checkpoints[::2]


def _encode(
    encoder: Encoder, wire: Wire, epoch: str, records: Iterable[Record], after: Cursor | None = None
) -> Span:
    """Encode records up to the end of an answer, leaving out frames not after ``after``."""
    write, out = wire.framing.write, []
    end, terminal = 0, False
    for record in records:
        if after is not None:
            said = frames(encoder, epoch, record)
            out += [write(_worn(wire, frame)) for frame in said if Cursor.parse(frame.id) > after]
        elif wire.dialect.ids:
            out += [write(frame) for frame in frames(encoder, epoch, record)]
        else:
            out += [write(frame) for frame in encoder.encode(record)]
        end, terminal = record.offset + 1, isinstance(record.event, TERMINAL)
        if terminal:
            break
    return Span(end, b"".join(out), terminal)


def _worn(wire: Wire, frame: Frame) -> Frame:
    """Return ``frame`` as it travels: with its id only where the dialect has ids."""
    return frame if wire.dialect.ids else Frame(frame.data, frame.event)


class Subscription:
    """
    A reader of one stream in one wire, as bytes.

    It ends when the stream is sealed, or, ``until_terminal``, after the answer
    that it is in. :meth:`close` it, whatever happened.
    """

    def __init__(self, voice: Voice, after: Cursor, *, until_terminal: bool = False) -> None:
        self.gate = Interruptible()
        """Breaks off the wait for news; :meth:`read` then raises Interrupted."""
        self.ended = False
        """Whether everything there will ever be has been read."""
        self._voice = voice
        self._from = after
        self._after: Cursor | None = after
        self._offset = after.offset
        self._encoder: Encoder | None = None
        self._head: Head | None = None
        self._until_terminal = until_terminal
        voice.readers += 1

    @property
    def offset(self) -> int:
        """Records read so far, counted from the beginning of the stream."""
        return self._offset

    async def open(self) -> None:
        """Find the place to begin. Raises: StreamNotFound, CursorGone."""
        voice = self._voice
        await check_place(voice.log, voice.stream, self._from)
        self._head = await voice.log.head(voice.stream)
        await self._go_alone(self._from)

    async def read(self) -> bytes:
        """
        Return the next bytes, as many as are there; empty once the subscription has ended.

        Raises:
            Interrupted: the gate was interrupted while there was no news.
            StreamNotFound, CursorGone: the stream was deleted, or trimmed under this reader.
        """
        while not self.ended:
            span = await self._next()
            if span is None:
                await self._news()
                continue
            self._offset = span.end
            self.ended = span.terminal and self._until_terminal and span.end > self._from.offset
            if span.data:
                return span.data
        return b""

    def close(self) -> None:
        """Let go of the voice."""
        if self._encoder is None:
            self._voice.joined -= 1
        self._encoder = None
        self._voice.readers -= 1

    async def _next(self) -> Span | None:
        voice = self._voice
        if self._encoder is not None:
            return await self._alone(self._encoder)
        if self._offset == voice.offset:
            await voice.advance()
        span = voice.span(self._offset)
        if span is None and self._offset != voice.offset:  # fell behind
            voice.joined -= 1
            await self._go_alone(Cursor(voice.epoch, self._offset))
            return await self._next()
        return span

    async def _news(self) -> None:
        """Wait until there is more to read, or nothing will ever be."""
        voice, head = self._voice, self._head
        assert head is not None, "open() comes first"
        if head.cursor.offset <= self._offset:
            if head.sealed:
                self.ended = True
                return
            head = await self.gate.wait(voice.log.wait(voice.stream, head))
        else:
            head = await voice.log.head(voice.stream)
        self._head = head

    async def _go_alone(self, after: Cursor) -> None:
        """Take an encoder of one's own and go back to where it has to begin."""
        voice = self._voice
        origin = await voice.log.origin(voice.stream, after.offset)
        begin = voice.checkpoint(after.offset, origin) or (origin, voice.wire.encoder())
        self._offset, self._encoder = begin
        self._after = after

    async def _alone(self, encoder: Encoder) -> Span | None:
        """Encode for oneself up to where the voice is."""
        voice = self._voice
        if self._caught_up():
            self._encoder = None
            voice.joined += 1
            return Span(self._offset, b"", False)
        ahead = voice.offset - self._offset
        limit = min(BATCH, ahead) if ahead > 0 else BATCH
        at = Cursor(voice.epoch, self._offset)
        records = await voice.log.batch(voice.stream, at, limit)
        if records:
            span = _encode(encoder, voice.wire, voice.epoch, records, self._after)
            await asyncio.sleep(0)  # a long prefix must not hold up everybody else
            return span
        if voice.joined:
            await voice.advance()
        else:
            voice.adopt(encoder, self._offset)
        return Span(self._offset, b"", False)

    def _caught_up(self) -> bool:
        """Whether the voice can take over here; not before the reader's own place."""
        if self._after is not None and self._offset > self._after.offset:
            self._after = None
        passed = self._after is None or (self._offset == self._after.offset and not self._after.frame)
        voice = self._voice
        return passed and (self._offset == voice.offset or voice.span(self._offset) is not None)


class Voices:
    """All voices of a log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._voices: OrderedDict[tuple[str, Wire], Voice] = OrderedDict()

    async def subscribe(
        self, stream: str, wire: Wire, cursor: Cursor | None = None, *, until_terminal: bool = False
    ) -> Subscription:
        """
        Begin to read ``stream`` after ``cursor`` (default: from its oldest record).

        Raises:
            StreamNotFound: there is no such stream.
            CursorGone: nothing is there to go on from.
        """
        head = await self._log.head(stream)
        epoch = head.cursor.epoch
        after = cursor or Cursor(epoch, await self._log.origin(stream, 0))
        voice = self._voices.get((stream, wire))
        if voice is None or voice.epoch != epoch:
            voice = self._voices[stream, wire] = Voice(self._log, stream, wire, epoch)
        self._voices.move_to_end((stream, wire))
        self._forget()
        subscription = Subscription(voice, after, until_terminal=until_terminal)
        try:
            await subscription.open()
        except BaseException:
            voice.readers -= 1
            raise
        return subscription

    def _forget(self) -> None:
        """Drop voices that nobody listens to, beyond the number worth keeping."""
        for key in list(self._voices)[: max(0, len(self._voices) - _UNHEARD)]:
            if not self._voices[key].readers:
                del self._voices[key]


async def place(log: Log, stream: str, wire: Wire, count: int) -> Cursor:
    """
    Return the cursor after the first ``count`` frames of a stream.

    For wires whose frames carry no id: their readers can only count.
    Raises: StreamNotFound; CursorGone (there are not so many).
    """
    cursor = Cursor((await log.head(stream)).cursor.epoch)
    encoder, left = wire.encoder(), count
    while left and (records := await log.batch(stream, Cursor(cursor.epoch, cursor.offset), BATCH)):
        for record in records:
            said = frames(encoder, cursor.epoch, record)
            if left <= len(said):
                return Cursor.parse(said[left - 1].id)
            left -= len(said)
        cursor = Cursor(cursor.epoch, records[-1].offset + 1)
    if left:
        raise CursorGone(
            f"stream {stream!r} has {count - left} frames in this wire, not {count}", field="cursor"
        )
    return cursor
