"""
A run as its stream tells it: how it stands, and its log.

A run is over with the first answer that leaves no calls to the caller; what is
asked of its stream later is no part of it. Whose run it is stands in the
metadata of its first answer; a stream that another front began is nobody's, and
so a run only where no keys are set up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from ....cursor import Cursor
from ....dialects.modelrelay import RUN
from ....dialects.modelrelay.run import pending
from ....engine.interrupt import Interruptible
from ....engine.subscription import BATCH
from ....engine.voice import Sink
from ....errors import CursorGone, StreamNotFound
from ....events import TERMINAL, ResponseDone, ResponseFailed, ResponseStarted, Usage
from ....log import Head, Log, Record
from ....names import stream_of_uuid
from ....requests import Start
from ....snapshot import Response, Snapshot, apply
from ....wire import Frame
from ...endpoint import Asked

__all__ = ["Page", "Reading", "Run", "calls", "find", "owned", "run_of_stream", "stream_of_run", "tokens"]

_OWNER: Final = "run_owner"
"""The member of an answer's metadata that names the key it was asked with."""
_OVER: Final = ("run_completed", "run_failed", "run_canceled")


def owned(start: Start, owner: str) -> Start:
    """Return ``start`` with its owner noted."""
    metadata = {} if start.metadata is UNSET else start.metadata
    return replace(start, metadata={**metadata, _OWNER: owner})


class Run(NamedTuple):
    """A run as it stands."""

    stream: str
    steps: list[Response]

    @property
    def step(self) -> Response:
        """The latest step."""
        return self.steps[-1]

    @property
    def status(self) -> str:
        return _status(self.step)


async def find(asked: Asked) -> Run:
    """Return the run that is asked for. Raises: StreamNotFound (there is none, or it is another's)."""
    return await run_of_stream(asked.service.log, await stream_of_run(asked))


async def stream_of_run(asked: Asked) -> str:
    """Return the stream of the run that is asked for. Raises: StreamNotFound."""
    name = asked.path["run"]
    try:
        stream = stream_of_uuid(name)
        first = await _first(asked.service.log, stream)
    except StreamNotFound:
        first = None
    if first is None or _owner(first) != asked.owner:
        raise StreamNotFound(f"there is no run {name[:64]!r}")
    return stream


async def run_of_stream(log: Log, stream: str) -> Run:
    """Return the run that ``stream`` is. Raises: StreamNotFound."""
    snapshot = Snapshot()
    async for record in _records(log, stream):
        apply(snapshot, record.event, record.at)
        response = snapshot.response
        if isinstance(record.event, TERMINAL) and response is not None and not calls(response):
            break
    if snapshot.response is None:
        raise StreamNotFound(f"the stream {stream!r} is no run")
    return Run(stream, snapshot.responses)


async def _first(log: Log, stream: str) -> ResponseStarted | None:
    async for record in _records(log, stream):
        if isinstance(record.event, ResponseStarted):
            return record.event
    return None


async def _records(log: Log, stream: str) -> AsyncIterator[Record]:
    """Yield what a stream holds, from its very first record on. Raises: StreamNotFound."""
    head = await log.head(stream)
    try:
        async for record in log.read(stream, Cursor(head.cursor.epoch)):
            yield record
    except CursorGone:
        raise StreamNotFound(f"the beginning of stream {stream!r} has been forgotten") from None


def _owner(event: ResponseStarted) -> str:
    asked = {} if event.request is UNSET else event.request
    return str((asked.get("metadata") or {}).get(_OWNER, ""))


def _status(response: Response) -> str:
    match response.end:
        case None:
            return "running"
        case ResponseFailed():
            return "failed"
        case ResponseDone() if calls(response):
            return "waiting"
        case ResponseDone(finish_reason="cancelled"):
            return "canceled"
        case _:
            return "succeeded"


def calls(response: Response) -> list[dict[str, Any]]:
    """Return the calls that a step leaves to the caller."""
    return pending(response.content(), response.end) if isinstance(response.end, ResponseDone) else []


def tokens(run: Run) -> Usage:
    """Return what all the steps of a run have taken."""
    known = [step.usage for step in run.steps if step.usage is not UNSET]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in known),
        output_tokens=sum(usage.output_tokens for usage in known),
    )


# -- its log


class _Counted:
    """The encoders of a run's steps, one after the other: its log, numbered through."""

    def __init__(self) -> None:
        self._count = 0
        """How many events there were."""
        self._encoder = RUN.wire().encoder()

    def encode(self, record: Record) -> Iterator[tuple[int, Frame]]:
        """Yield the events of a record, each with its number."""
        if isinstance(record.event, ResponseStarted):
            self._encoder = RUN.wire(before=self._count).encoder()
        for frame in self._encoder.encode(record):
            self._count += 1
            yield self._count, frame


class Page(NamedTuple):
    """What a reader wants of a run's log."""

    after: int = 0
    """The number of the last event it has had."""
    limit: int | None = None
    wait: bool = True
    """Whether it stays until the run is over."""


class Reading:
    """
    A reader of a run's log: see :class:`penstock.server.respond.Source`.

    What it has had already is encoded again, to count it; from there on an event costs the same wherever
    it comes.
    """

    def __init__(self, log: Log, stream: str, head: Head, page: Page) -> None:
        self.offset = 0
        self.ended = self.failed = False
        self.gate = Interruptible()
        self._log, self._stream, self._head, self._page = log, stream, head, page
        self._until = None if page.wait else head.cursor.offset
        self._left = page.limit
        self._events = _Counted()

    @property
    def place(self) -> Cursor:
        return Cursor(self._head.cursor.epoch, self.offset)

    async def ready(self) -> bytes:
        while not self.ended:
            records = await self._log.batch(self._stream, Cursor(self._head.cursor.epoch, self.offset), BATCH)
            if not records:
                break
            if said := b"".join(self._said(records)):
                return said
            await asyncio.sleep(0)  # a long prefix must not hold up everybody else
        return b""

    def _said(self, records: list[Record]) -> Iterator[bytes]:
        write = RUN.framings[0].write
        for record in records:
            self.offset = record.offset + 1
            for number, frame in self._events.encode(record):
                if number > self._page.after:
                    yield write(frame)
                    self._left = None if self._left is None else self._left - 1
                self.ended = frame.event in _OVER or self._left == 0
                if self.ended:
                    return
            if self.offset == self._until:
                self.ended = True
                return

    async def news(self) -> None:
        head = self._head
        if head.cursor.offset > self.offset:
            head = await self._log.head(self._stream)
        elif head.sealed:
            self.ended = True
        else:
            head = await self.gate.wait(self._log.wait(self._stream, head))
        self._head = head

    async def listen(self, sink: Sink) -> None:
        await self.news()

    def close(self) -> None: ...
