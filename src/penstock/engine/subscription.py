"""
A subscriber is a cursor, not a queue.

There is no buffer per subscriber to overflow, and no hand-over from history to
live to get wrong: reading *is* history, and live is only the moment when there
is no more of it. A slow reader falls behind in the log, where it costs nothing.

:func:`follow` and :func:`speak` say what a subscription is, in the fewest words;
``voice`` says the same for a thousand readers at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from ..cursor import Cursor
from ..dialects import Encoder, Wire
from ..errors import CursorGone
from ..log import Log, Record
from ..wire import Frame

__all__ = ["BATCH", "check_place", "follow", "frames", "speak"]

BATCH: Final = 256
"""Records read at a time: a bound on the work for one reader per turn of the event loop."""


async def follow(log: Log, stream: str, cursor: Cursor | None = None) -> AsyncIterator[Record]:
    """
    Yield every record from ``cursor`` on, as they come, until the stream is sealed.

    Raises:
        StreamNotFound: there is no such stream, or it was deleted.
        CursorGone: nothing is there to go on from.
    """
    head = await log.head(stream)
    position = cursor
    while True:
        while records := await log.batch(stream, position, BATCH):
            for record in records:
                yield record
            position = Cursor(head.cursor.epoch, records[-1].offset + 1)
        position = position or Cursor(head.cursor.epoch)
        if head.sealed and position.offset >= head.cursor.offset:
            return
        head = await log.wait(stream, head)


def frames(encoder: Encoder, epoch: str, record: Record) -> list[Frame]:
    """Return the frames of one record, each with the cursor after it as its id."""
    said = list(encoder.encode(record))
    last = len(said) - 1
    return [
        Frame(
            frame.data,
            frame.event,
            f"{epoch}.{record.offset + 1}" if n == last else f"{epoch}.{record.offset}.{n + 1}",
        )
        for n, frame in enumerate(said)
    ]


async def check_place(log: Log, stream: str, cursor: Cursor, start: int, encoder: Encoder) -> None:
    """
    Check that there is something to go on from.

    ``encoder``, as it is at the offset ``start``, is used up.
    Raises: StreamNotFound, CursorGone.
    """
    await log.batch(stream, cursor, 1)
    if cursor.frame and cursor.frame >= await _count(log, stream, cursor, start, encoder):
        raise CursorGone(f"stream {stream!r}: no reader was ever at the cursor {cursor}", field="cursor")


async def _count(log: Log, stream: str, cursor: Cursor, start: int, encoder: Encoder) -> int:
    """Return how many frames the record has in which ``cursor`` stands."""
    position, said = Cursor(cursor.epoch, start), 0
    while position.offset <= cursor.offset:
        limit = min(BATCH, cursor.offset - position.offset + 1)
        for record in await log.batch(stream, position, limit):
            said = len(list(encoder.encode(record)))
            position = Cursor(cursor.epoch, record.offset + 1)
    return said


async def speak(log: Log, stream: str, wire: Wire, cursor: Cursor | None = None) -> AsyncIterator[Frame]:
    """
    Yield the stream as ``wire`` has it, each frame with the cursor after it as its id.

    Records between the beginning of the answer and ``cursor`` are encoded too,
    and dropped: that brings the encoder to where it was.
    """
    after = cursor or Cursor((await log.head(stream)).cursor.epoch, await log.origin(stream, 0))
    start = await log.origin(stream, after.offset)
    await check_place(log, stream, after, start, wire.encoder())
    encoder = wire.encoder()
    async for record in follow(log, stream, Cursor(after.epoch, start)):
        for frame in frames(encoder, after.epoch, record):
            if Cursor.parse(frame.id) > after:
                yield frame
