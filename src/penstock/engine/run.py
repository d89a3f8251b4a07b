"""
One answer, from the upstream's first byte to the terminal event.

Rule 1: a run belongs to no connection. It holds nothing that is not in its
stream; killed at any line, recovery reads the stream and ends the answer.
Rule 2: an answer ends exactly once, whatever happens: even while the log cannot
be written, the end is tried again until it can.
Rule 3: a run is interrupted only while it waits for its upstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from ..errors import (
    Conflict,
    LocalProtocolError,
    LogUnavailable,
    PenstockError,
    StreamNotFound,
    StreamSealed,
)
from ..events import (
    TERMINAL,
    Event,
    PartDelta,
    PartDone,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    StopRequested,
    Usage,
)
from ..grammar import State
from ..log import Log
from ..requests import Start
from ..snapshot import Response, Snapshot, apply
from .attempts import Option, asked
from .interrupt import Interrupted, Interruptible
from .upstreams import Source
from .writer import Writer

__all__ = ["Run", "closing", "latest"]

_log = logging.getLogger("penstock.run")

_AGAIN: Final = 1.0
"""Seconds between two tries to write the end of an answer."""

_BROKEN_OFF: Final = {
    "idle": ("timeout", 504, "the upstream was silent for longer than the limit `idle_timeout`", True),
    "max_time": ("max_time", 504, "the answer took longer than the limit `max_time`", False),
    "drain": ("interrupted", 503, "the server was shut down before the answer was complete", True),
    "crash": ("interrupted", 503, "the server died before the answer was complete", True),
}
"""What an interrupted answer says: code, HTTP status, message, whether to try again."""

_GONE: Final = (Conflict, StreamNotFound, StreamSealed)
"""The stream is somebody else's now, or nobody's: there is nothing left to write."""


class Run:
    """Produces one response into a stream whose ``response.started`` is written already."""

    __slots__ = (
        "_heard", "_log", "_reads", "_said", "_seal", "_start", "_upstream_says", "_writer", "began", "gate",
        "max_time", "response_id", "stream",
    )  # fmt: skip

    def __init__(self, log: Log, writer: Writer, start: Start, response_id: str, *, seal: bool) -> None:
        self.stream, self.response_id = writer.stream, response_id
        self.gate = Interruptible()
        self.began = asyncio.get_running_loop().time()
        """By the loop's clock."""
        self._said = 0
        """Characters in parts that were done, about: what an estimate of usage needs."""
        self._reads = 0
        self._heard = (0, self.began)
        self.max_time = None if start.max_time is UNSET else start.max_time
        self._log, self._writer, self._start, self._seal = log, writer, start, seal
        self._upstream_says: dict[str, str] = {}

    async def produce(self, options: Sequence[Option]) -> None:
        """Ask for the answer and record what is said, to the end. Raises nothing of its own."""
        try:
            with self.gate:
                await self._ask(options)
        except Interrupted as interrupted:
            await self._end(interrupted.reason)
        except _GONE as exc:
            _log.warning("%s: %s", self.stream, exc)
        except PenstockError as exc:
            await self._end("", exc)
        except Exception:
            _log.exception("%s: the run broke", self.stream)
            await self._end("", PenstockError("the server made a mistake; its log says which"))

    async def _ask(self, options: Sequence[Option]) -> None:
        self.gate.open()
        source = await asked(self._start, options)
        self.gate.shut()
        try:
            await self._record(source)
        finally:
            await source.aclose()

    def silence(self, now: float) -> float:
        """
        Return for how many seconds the upstream has been silent, by the loop's clock.

        It is as exact as it is asked often: a read does not look at the clock.
        """
        reads, since = self._heard
        if reads != self._reads:
            self._heard = self._reads, now
            return 0.0
        return now - since

    async def stop(self, by: str) -> bool:
        """Write down that the answer is to end, and break off the upstream; False if it has ended."""
        if self._writer.grammar.response is not State.STOPPING:
            try:
                await self._writer.append(StopRequested(by))
            except (LocalProtocolError, *_GONE):
                return False
        self.gate.interrupt("stop")
        return True

    async def _record(self, source: Source) -> None:
        gate, writer = self.gate, self._writer
        while True:
            gate.open()
            events = await source.read(self._take)
            gate.shut()
            self._reads += 1
            if not events:
                if events is None:
                    raise PenstockError("the upstream's decoder said no end")
                continue
            first, last = events[0], events[-1]
            if type(last) is not PartDelta:
                self._said += sum(len(str(event.part)) for event in events if type(event) is PartDone)
            if type(first) is ResponseStarted:
                self._upstream_says = {"id": first.response_id, "model": first.model}
                events = events[1:]
            if isinstance(last, TERMINAL):
                await self._write_end([*events[:-1], self._completed(last)])
                return
            if events and not writer.push(events):
                await writer.room()
                if not writer.push(events):
                    await writer.append(*events)

    def _take(self, events: Sequence[Event]) -> bool:
        """Record what has arrived without waking the run; False if the run has to look at it."""
        if type(events[0]) is not PartDelta or type(events[-1]) is not PartDelta:
            return False
        self._reads += 1
        return self._writer.push(events)

    def _completed(self, end: ResponseDone | ResponseFailed) -> Event:
        """Return the upstream's terminal event with what only the run knows."""
        extra: dict[str, object] = {} if end.extra is UNSET else dict(end.extra)
        if said := {key: value for key, value in self._upstream_says.items() if value}:
            extra["upstream"] = said
        usage = _estimated(self._start, self._said) if end.usage is UNSET else end.usage
        return replace(end, usage=usage, extra=extra or UNSET)

    async def _end(self, reason: str, error: PenstockError | None = None) -> None:
        """End an answer that its upstream did not. The end is tried until it is written."""
        while True:
            try:
                await self._writer.open()
                response = await latest(self._log, self.stream)
                if response.end is None:
                    await self._append_end(closing(response, self._start, reason, error))
            except _GONE as exc:
                _log.warning("%s: %s", self.stream, exc)
            except LogUnavailable as exc:
                _log.error("%s: the end of the answer cannot be written: %s", self.stream, exc)
                await asyncio.sleep(_AGAIN)
                continue
            return

    async def _write_end(self, events: Sequence[Event]) -> None:
        """Write the end that the upstream said; if the log has lost what came before it, say that instead."""
        try:
            await self._append_end(events)
        except LogUnavailable as exc:
            await self._end("", exc)

    async def _append_end(self, events: Sequence[Event]) -> None:
        head = await self._writer.append(*events, seal=self._seal)
        took = asyncio.get_running_loop().time() - self.began
        end = events[-1]
        how = f"failed ({end.code})" if isinstance(end, ResponseFailed) else "done"
        _log.info("%s: %s after %.3f s, at %s", self.response_id, how, took, head.cursor)


async def latest(log: Log, stream: str) -> Response:
    """Return the latest response of ``stream``. Raises: StreamNotFound."""
    head = await log.head(stream)
    origin = await log.origin(stream, head.cursor.offset)
    cursor = head.cursor._replace(offset=origin)
    snapshot = Snapshot()
    async for record in log.read(stream, cursor):
        apply(snapshot, record.event, record.at)
    response = snapshot.response
    if response is None:
        raise StreamNotFound(f"no answer has begun in stream {stream!r}")
    return response


def closing(response: Response, start: Start, reason: str, error: PenstockError | None = None) -> list[Event]:
    """Return the events that end ``response``: it was stopped, or it failed."""
    usage = _estimated(start, sum(len(str(part)) for part in response.content()))
    if reason == "stop":
        still = [PartDone(key, growing.part) for key, growing in response.parts.items() if not growing.done]
        return [*still, ResponseDone("cancelled", usage)]
    if error is not None:
        body = getattr(error, "body", None)
        extra = {"status": error.status, **({} if body is None else {"error": body})}
        return [ResponseFailed(error.code, error.message, error.retryable, usage, extra)]
    code, status, message, retryable = _BROKEN_OFF[reason]
    return [ResponseFailed(code, message, retryable, usage, {"status": status})]


def _estimated(start: Start, said: int) -> Usage:
    """Count tokens the way one does without a tokenizer: four characters each."""
    asked = len(start.instructions) + sum(len(str(message.parts)) for message in start.input)
    return Usage(input_tokens=-(-asked // 4), output_tokens=-(-said // 4), source="estimated")
