"""
One encoding of a stream, shared by its readers.

A *voice* is the encoder of one (stream, wire) at the live end, with the bytes
of its last few spans: whoever stands at the beginning of a span takes its bytes
as they are. A reader who stands anywhere else encodes for itself, from the
beginning of the answer or from a checkpoint, until it has come to where the
voice is. A span ends where an answer ends.

Reading is pulling, always: a reader takes what is ready, and asks for more. One
that has caught up and can take bytes at any time may also *listen*: the voice
then hands it each span as it is encoded, without waking its task, until the
reader cannot keep up, the answer ends, or there is nothing to hand on any more.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Final, NamedTuple

from ..cursor import Cursor
from ..dialects import Encoder, Wire
from ..errors import CursorGone
from ..events import TERMINAL, ResponseFailed
from ..log import Head, Log, Record, live
from ..wire import Frame
from .interrupt import Interruptible
from .subscription import BATCH, check_place, frames

__all__ = ["Sink", "Span", "Subscription", "Voices", "place"]

_log = logging.getLogger("penstock.voice")

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
    failed: bool = False
    """Whether it ends in failure."""


Sink = Callable[[bytes], bool]
"""Takes bytes at once, or says that it cannot."""


class Voice:
    """The shared encoding of one stream in one wire."""

    __slots__ = (
        "_bytes", "_checkpoints", "_encoder", "_listeners", "_live", "_next_checkpoint", "_spans",
        "_turn", "_unwatch", "epoch", "joined", "log", "offset", "readers", "stream", "wire",
    )  # fmt: skip

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
        self._next_checkpoint = _CHECKPOINT
        self._live = live(log)
        self._listeners: dict[Subscription, Sink] = {}
        self._unwatch: Callable[[], None] | None = None

    def adopt(self, encoder: Encoder, offset: int) -> None:
        """Go on from where a reader has brought its own encoder."""
        self._encoder, self.offset = encoder, offset
        self._spans, self._bytes = {}, 0

    def span(self, offset: int) -> Span | None:
        """Return the span that begins at ``offset``, if it is remembered."""
        return self._spans.get(offset)

    async def begin(self, offset: int) -> tuple[int, Encoder]:
        """Return where a reader who is to come to ``offset`` has to begin, and an encoder as it is there."""
        origin = await self.log.origin(self.stream, offset)
        n = bisect_right(self._checkpoints, offset, key=lambda kept: kept[0])
        if n and self._checkpoints[n - 1][0] >= origin:
            at, encoder = self._checkpoints[n - 1]
            return at, deepcopy(encoder)
        return origin, self.wire.encoder()

    async def advance(self) -> None:
        """Encode the next records, if there are any."""
        start = self.offset
        async with self._turn:
            if self.offset != start or self._encoder is None:
                return  # another reader has done it
            encoder = self._encoder
            records = await self.log.batch(self.stream, Cursor(self.epoch, start), BATCH)
            if records and self._encoder is encoder:  # else a reader has taken over meanwhile
                span = _encode(encoder, self.wire, self.epoch, records)
                self._remember(start, span)
                self._pass(span.end)

    def listen(self, reader: Subscription, sink: Sink) -> bool:
        """Hand spans to ``sink`` from now on; False if this log or this moment does not allow it."""
        if self._live is None or self._turn.locked() or reader.offset != self.offset:
            return False
        if self._unwatch is None:
            head, stop = self._live.watch(self.stream, self._grown)
            if head.sealed or head.cursor.offset != self.offset:
                stop()
                return False  # there is something to pull first
            self._unwatch = stop
        self._listeners[reader] = sink
        return True

    def unlisten(self, reader: Subscription) -> None:
        """Hand nothing to this reader any more."""
        self._listeners.pop(reader, None)
        if not self._listeners and self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def _grown(self, head: Head | None, new: Sequence[Record]) -> None:
        """The stream has grown, or is over: hand on what is new. Called by the log."""
        try:
            handed = head is not None and not head.sealed and self._hand_on(new)
        except Exception:
            _log.exception("%s: cannot be encoded", self.stream)
            handed = False
        if not handed:
            for reader in tuple(self._listeners):
                reader.dismiss()

    def _hand_on(self, new: Sequence[Record]) -> bool:
        """Encode what is new and hand it to the listeners; False if they have to pull it."""
        start = self.offset
        if not new or new[0].offset != start or self._turn.locked() or self._encoder is None:
            return False
        span = _encode(self._encoder, self.wire, self.epoch, new)
        end, data, terminal, _ = span
        if terminal or len(self._listeners) < self.readers:
            self._remember(start, span)
        self._pass(end)
        if terminal:
            return False
        for reader, sink in tuple(self._listeners.items()):
            if sink(data):
                reader.offset = end
            else:
                self._remember(start, span)
                reader.dismiss()
        return True

    def _remember(self, start: int, span: Span) -> None:
        """Keep a span for those who pull."""
        if start not in self._spans:
            self._spans[start] = span
            self._bytes += len(span.data)
        while len(self._spans) > _SPANS or (self._bytes > _SPAN_BYTES and len(self._spans) > 1):
            oldest = next(iter(self._spans))
            self._bytes -= len(self._spans.pop(oldest).data)

    def _pass(self, end: int) -> None:
        """The encoder has come to ``end``."""
        self.offset = end
        if end >= self._next_checkpoint:
            self._next_checkpoint = end + _CHECKPOINT
            self._checkpoints.append((end, deepcopy(self._encoder)))  # type: ignore[arg-type]
            if len(self._checkpoints) > _CHECKPOINTS:
                del self._checkpoints[::2]


def _encode(
    encoder: Encoder, wire: Wire, epoch: str, records: Iterable[Record], after: Cursor | None = None
) -> Span:
    """Encode records up to the end of an answer, leaving out frames not after ``after``."""
    encode, write, ids = encoder.encode, wire.framing.write, wire.dialect.ids
    out: list[bytes] = []
    end, terminal = 0, False
    for record in records:
        if after is not None:
            said = frames(encoder, epoch, record)
            out += [write(_worn(wire, frame)) for frame in said if Cursor.parse(frame.id) > after]
        else:
            out += map(write, frames(encoder, epoch, record) if ids else encode(record))
        end, terminal = record.offset + 1, isinstance(record.event, TERMINAL)
        if terminal:
            break
    failed = terminal and isinstance(record.event, ResponseFailed)
    return Span(end, out[0] if len(out) == 1 else b"".join(out), terminal, failed)


def _worn(wire: Wire, frame: Frame) -> Frame:
    """Return ``frame`` as it travels: with its id only where the dialect has ids."""
    return frame if wire.dialect.ids else Frame(frame.data, frame.event)


class Subscription:
    """
    A reader of one stream in one wire, as bytes.

    It ends when the stream is sealed, or, ``until_terminal``, after the answer
    that it is in. :meth:`close` it, whatever happened.
    """

    __slots__ = (
        "_after", "_dismissed", "_encoder", "_from", "_head", "_until_terminal", "_voice",
        "ended", "failed", "gate", "offset",
    )  # fmt: skip

    def __init__(self, voice: Voice, after: Cursor, *, until_terminal: bool = False) -> None:
        self.gate = Interruptible()
        """Breaks off the wait for news; :meth:`read` then raises Interrupted."""
        self.ended = False
        """Whether everything there will ever be has been read."""
        self.failed = False
        """Whether what was read last is the failure of an answer."""
        self._voice = voice
        self._from = after
        self._after: Cursor | None = after
        self.offset = after.offset
        """Records read so far, from the beginning of the stream; the voice moves it while it hands on."""
        self._encoder: Encoder | None = None
        self._head: Head | None = None
        self._until_terminal = until_terminal
        self._dismissed: asyncio.Future[None] | None = None
        voice.readers += 1

    @property
    def place(self) -> Cursor:
        """Where a reader goes on that has had what was read so far."""
        return max(self._from, Cursor(self._voice.epoch, self.offset))

    async def open(self) -> None:
        """Find the place to begin. Raises: StreamNotFound, CursorGone."""
        voice = self._voice
        await check_place(voice.log, voice.stream, self._from, *await voice.begin(self._from.offset))
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
            if data := await self.ready():
                return data
            await self.news()
        return b""

    async def ready(self) -> bytes:
        """Return the bytes that are there; empty if there are none, or none any more."""
        while not self.ended:
            span = await self._next()
            if span is None:
                break
            self.offset = span.end
            self.ended = span.terminal and self._until_terminal and span.end > self._from.offset
            self.failed = span.failed
            if span.data:
                return span.data
        return b""

    async def news(self) -> None:
        """Wait until there is more to read, or nothing will ever be. Raises: Interrupted."""
        voice, head = self._voice, self._head
        assert head is not None, "open() comes first"
        if head.cursor.offset <= self.offset:
            if head.sealed:
                self.ended = True
                self.failed = self.failed or await self._ended_before()
                return
            head = await self.gate.wait(voice.log.wait(voice.stream, head))
        else:
            head = await voice.log.head(voice.stream)
        self._head = head

    async def _ended_before(self) -> bool:
        """Whether the stream ends in a failure that an earlier reader has had."""
        voice = self._voice
        if not voice.wire.dialect.failure_breaks or self.offset != self._from.offset or not self.offset:
            return False
        (last,) = await voice.log.batch(voice.stream, Cursor(voice.epoch, self.offset - 1), 1)
        return isinstance(last.event, ResponseFailed)

    async def listen(self, sink: Sink) -> None:
        """
        Let the voice hand spans to ``sink`` until it cannot; then there is something to pull.

        Where it cannot at all, this waits for news. Raises: Interrupted.
        """
        voice = self._voice
        self._head = await voice.log.head(voice.stream)
        if self._encoder is not None or self._head.sealed or not voice.listen(self, sink):
            await self.news()
            return
        self._dismissed = asyncio.get_running_loop().create_future()
        try:
            await self.gate.wait(self._dismissed)
        finally:
            self._voice.unlisten(self)
            self._dismissed = None

    def dismiss(self) -> None:
        """The voice hands on nothing more: pull."""
        self._voice.unlisten(self)
        if self._dismissed is not None and not self._dismissed.done():
            self._dismissed.set_result(None)

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
        if self.offset == voice.offset:
            await voice.advance()
        span = voice.span(self.offset)
        if span is None and self.offset != voice.offset:  # fell behind
            await self._go_alone(Cursor(voice.epoch, self.offset))
            voice.joined -= 1
            return await self._next()
        return span

    async def _go_alone(self, after: Cursor) -> None:
        """Take an encoder of one's own and go back to where it has to begin."""
        self.offset, self._encoder = await self._voice.begin(after.offset)
        self._after = after

    async def _alone(self, encoder: Encoder) -> Span | None:
        """Encode for oneself up to where the voice is, or up to the end and become the voice."""
        voice, span = self._voice, Span(self.offset, b"", False)
        if self._passed(span.end) and (span.end == voice.offset or voice.span(span.end) is not None):
            self._join()
            return span
        ahead = voice.offset - self.offset
        limit = min(BATCH, ahead) if ahead > 0 else BATCH
        at = Cursor(voice.epoch, self.offset)
        records = await voice.log.batch(voice.stream, at, limit)
        if records:
            after = None if self._passed(self.offset) else self._after
            span = _encode(encoder, voice.wire, voice.epoch, records, after)
            await asyncio.sleep(0)  # a long prefix must not hold up everybody else
        at_end = len(records) < limit and span.end == self.offset + len(records)
        if at_end and voice.joined:
            await voice.advance()
        elif at_end and self._passed(span.end):
            voice.adopt(encoder, span.end)
            self._join()
        return span

    def _join(self) -> None:
        """Take the voice's bytes from now on."""
        self._encoder = self._after = None
        self._voice.joined += 1

    def _passed(self, offset: int) -> bool:
        """Whether ``offset`` is not before the reader's own place."""
        after = self._after
        return after is None or offset > after.offset or (offset == after.offset and not after.frame)


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
        """Drop voices that nobody listens to, if there are more than are worth keeping."""
        for _ in range(2):  # two looks for each that comes: what is heard cannot make them pile up
            if len(self._voices) > _UNHEARD:
                key, voice = self._voices.popitem(last=False)
                if voice.readers:
                    self._voices[key] = voice


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
