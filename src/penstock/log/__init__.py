"""
Where streams live: append-only, ordered, durable.

A log stores and counts. Of what an event means it knows one thing only: that an
answer begins at ``response.started``, because a reader who comes back must be
able to ask where the answer in which it stands began (:meth:`Log.origin`).

The methods of :class:`Log` are all that a backend must have. What a backend may
*also* be able to do is a small protocol of its own, asked for with
``isinstance``. ``penstock.testing.log_suite`` says what they all must keep to.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cache
from typing import Final, NamedTuple, Protocol, cast, runtime_checkable

from ..cursor import Cursor
from ..events import Event

__all__ = [
    "FRESH",
    "NEW",
    "Deletes",
    "Expires",
    "Head",
    "Lists",
    "Live",
    "Log",
    "News",
    "Record",
    "StreamInfo",
    "Trims",
    "Watch",
    "live",
    "read_all",
]


class Record(NamedTuple):
    """An event with its place (``offset``, from 0, dense) and its time (``at``, seconds since 1970)."""

    offset: int
    at: float
    event: Event


class Head(NamedTuple):
    """The end of a stream: the cursor after its last record, and whether more may come."""

    cursor: Cursor
    sealed: bool


NEW: Final = Cursor("", 0)
"""``expect=NEW``: the caller believes that there is no such stream yet."""

FRESH: Final = Cursor("", -1)
"""``expect=FRESH``: as NEW, and the caller has just minted the name, so that nobody need look for it."""


class Log(Protocol):
    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expect: Cursor | None = None,
        seal: bool = False,
    ) -> Head:
        """
        Append all of ``events`` or none, creating the stream if need be.

        They are durable when this returns, and no reader sees them before. A
        caller that is cancelled while it waits has still appended.
        ``expect`` is where the caller believes the end to be (:data:`NEW` and
        :data:`FRESH`: the stream does not exist); if it is elsewhere, nothing is written.
        No events and ``seal=True`` only seals.

        Raises:
            Conflict: the end is not at ``expect``.
            StreamSealed: the stream takes no more.
            LogUnavailable: nothing was written; the message says why.
        """
        ...

    def read(self, stream: str, cursor: Cursor | None = None) -> AsyncIterator[Record]:
        """
        Yield what is stored from ``cursor`` (default: the oldest record) on, then stop.

        :func:`read_all` is this, for any log that has :meth:`batch`.
        Raises: StreamNotFound, CursorGone, as :meth:`batch` does.
        """
        ...

    async def batch(self, stream: str, cursor: Cursor | None, limit: int = 1000) -> list[Record]:
        """
        Return up to ``limit`` records from ``cursor`` (None: the oldest record) on.

        They follow each other without a gap. There may be fewer than asked for;
        none means the end. A cursor's ``frame`` is its reader's business: the
        record that it stands in comes whole.

        Raises:
            StreamNotFound: there is no such stream.
            CursorGone: ``cursor`` is of another epoch, trimmed, or ahead of the end;
                or it is None and everything there was has been forgotten.
            LogCorrupt: what is stored there cannot be read back.
        """
        ...

    async def head(self, stream: str) -> Head:
        """Return the end of the stream. Raises: StreamNotFound."""
        ...

    async def wait(self, stream: str, head: Head) -> Head:
        """
        Return the end once it differs from ``head``; at once, if it does already.

        Raises:
            StreamNotFound: there is no such stream, or it was deleted meanwhile.
        """
        ...

    async def origin(self, stream: str, offset: int) -> int:
        """
        Return the offset of the last ``response.started`` at or before ``offset``.

        Where there is none, the offset of the oldest record.
        Raises: StreamNotFound.
        """
        ...

    async def aclose(self) -> None:
        """
        Make everything durable and let go of the files. Idempotent.

        Whoever waits, and whoever comes later, gets LogUnavailable.
        """
        ...


async def read_all(log: Log, stream: str, cursor: Cursor | None = None) -> AsyncIterator[Record]:
    """Yield what is stored from ``cursor`` on, a batch at a time: see :meth:`Log.read`."""
    epoch = cursor.epoch if cursor else (await log.head(stream)).cursor.epoch
    while records := await log.batch(stream, cursor):
        for record in records:
            yield record
        cursor = Cursor(epoch, records[-1].offset + 1)


class StreamInfo(NamedTuple):
    """A stream as a list shows it; times in seconds since 1970."""

    name: str
    head: Head
    created_at: float
    updated_at: float


News = Callable[[Head | None, Sequence[Record]], None]
"""Takes the end of a stream and the records that are new; None and none once there is no stream."""


class Watch(NamedTuple):
    """``head`` is the end as it was when the watch began; ``stop`` ends it."""

    head: Head
    stop: Callable[[], None]


@runtime_checkable
class Live(Protocol):
    """
    A log whose end is in this process: what it takes, and what is new, is at hand without waiting.

    It saves a task switch for every append and for every reader. Belongs to the
    event loop's thread.
    """

    def push(
        self, stream: str, events: Sequence[Event], *, expect: Cursor, seal: bool = False
    ) -> Future[Head] | None:
        """
        Do as ``append``, up to the waiting; None, and nothing done, if the stream is not at hand.

        Raises: Conflict, StreamSealed, LogUnavailable.
        """
        ...

    def watch(self, stream: str, callback: News) -> Watch:
        """
        Call ``callback`` whenever the end of ``stream`` has moved, until told to stop.

        Raises: StreamNotFound (or it is not at hand).
        """
        ...


def live(log: Log) -> Live | None:
    """Return ``log``, if it is a live one. Cheap enough for every reader, which ``isinstance`` is not."""
    return cast(Live, log) if _is_live(type(log)) else None


@cache
def _is_live(kind: type) -> bool:
    return issubclass(kind, Live)


@runtime_checkable
class Lists(Protocol):
    """A log that can say what it holds."""

    async def streams(
        self, *, before: str | None = None, limit: int = 100, sealed: bool | None = None
    ) -> list[StreamInfo]:
        """
        Return up to ``limit`` streams, the youngest first.

        ``before`` is the name of the last stream of the page before;
        ``sealed`` keeps only those that are, or are not.
        Raises: StreamNotFound (``before`` is unknown).
        """
        ...


@runtime_checkable
class Deletes(Protocol):
    """A log that can forget a whole stream at once."""

    async def delete(self, stream: str) -> None:
        """Forget the stream; its readers get StreamNotFound. Raises: StreamNotFound."""
        ...


@runtime_checkable
class Trims(Protocol):
    """A log that can forget the beginning of a stream."""

    async def trim(self, stream: str, before: int) -> int:
        """
        Forget records before the last answer that begins at or before offset ``before``.

        Never cuts an answer in two. Returns the offset of what is now the oldest
        record (the end, if nothing is left; ``before`` at the end of a sealed
        stream forgets it all). Raises: StreamNotFound, LogUnavailable.
        """
        ...


@runtime_checkable
class Expires(Protocol):
    """A log that can forget by age."""

    async def expire(self, before: float) -> int:
        """
        Forget answers that ended before the time ``before`` (seconds since 1970).

        An answer reaches to where the next one starts, the last one to the end.
        A stream whose last record is that old loses everything and is sealed; what
        stays of it says so: its cursors raise CursorGone. That goes too once it is
        older than ``before`` by :data:`~penstock.log.stream.REMEMBERED`.
        Returns how many streams lost something.
        Raises: LogUnavailable.
        """
        ...
