"""
One answer, from the upstream's first byte to the terminal event.

The model speaks; what it calls is run; it is asked again with the results: a
*round* each time, until it calls nothing that is the server's to run.

Rule 1: a run belongs to no connection. It holds nothing that is not in its
stream; killed at any line, recovery reads the stream and goes on between two
rounds, or ends the answer.
Rule 2: an answer ends exactly once, whatever happens: even while the log cannot
be written, the end is tried again until it can.
Rule 3: a run is interrupted only while it waits for its upstream or its tools.
Rule 4: a run that waits for humans only is no run: it is let go, and taken up
again with their decision.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import UNSET, convert, to_builtins
from msgspec.structs import replace

from ..calls import calls
from ..errors import (
    Conflict,
    LocalProtocolError,
    LogUnavailable,
    PenstockError,
    StreamNotFound,
    StreamSealed,
)
from ..events import (
    ROUND_DONE,
    TERMINAL,
    Custom,
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
from ..snapshot import Response, spoken
from .attempts import Option, asked
from .interrupt import Interrupted, Interruptible
from .reading import Latest, latest
from .renaming import Renaming
from .tools import Tools
from .upstreams import Source
from .work import Work, abandoned, left
from .writer import Writer

__all__ = ["Means", "Run", "closing"]

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


class Means(NamedTuple):
    """What runs work with."""

    ways: Callable[[Start], list[Option]]
    """Returns all the ways to get an answer, the first one first. Raises: ModelNotFound."""
    tools: Tools
    max_iterations: int
    review_time: float
    """Seconds that a human has to decide about a call."""


class Run:
    """Produces one response into a stream whose ``response.started`` is written already."""

    __slots__ = (
        "_answer", "_heard", "_log", "_means", "_reads", "_renaming", "_said", "_seal", "_serves", "_start",
        "_upstream_says", "_usage", "_waits_until", "_work", "_writer", "began", "gate", "max_time",
        "response_id", "stream",
    )  # fmt: skip

    def __init__(
        self, log: Log, writer: Writer, start: Start, response_id: str, means: Means, *, seal: bool
    ) -> None:
        """``start.input`` is the whole conversation before this answer."""
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
        self._means = means
        self._answer = Latest(log, self.stream)
        """What is on record of it: looked at between its rounds."""
        self._upstream_says: dict[str, str] = {}
        self._usage: list[Usage] = []
        """What the rounds before this one have taken."""
        self._renaming: Renaming | None = None
        self._serves = any(tool.runner for tool in start.tools)
        """Whether some of its tools are the server's to run."""
        self._work: Work | None = None
        """What is done about the calls of a round, while that is done."""
        self._waits_until: float | None = None

    @property
    def expires_at(self) -> float | None:
        """When the first of the reviews expires that it waits for, in seconds since 1970."""
        return self._waits_until if self._work is None else self._work.expires_at

    async def produce(self, options: Sequence[Option] = ()) -> bool:
        """
        Ask for the answer and record what is said, to the end. Raises nothing of its own.

        Without ``options`` it goes on after the last round that is on record.
        Returns False if the answer has not ended, because it waits for humans.
        """
        try:
            with self.gate:
                return await self._rounds(options)
        except Interrupted as interrupted:
            await self._end(interrupted.reason)
        except _GONE as exc:
            _log.warning("%s: %s", self.stream, exc)
        except PenstockError as exc:
            await self._end("", exc)
        except Exception:
            _log.exception("%s: the run broke", self.stream)
            await self._end("", PenstockError("the server made a mistake; its log says which"))
        return True

    async def _rounds(self, options: Sequence[Option]) -> bool:
        if options and await self._ask(self._start, options):
            return True
        while True:
            response = await self._worked()
            if any(call.waits for call in left(response, self._start)):
                return False
            if await self._left_to_caller(response):
                return True
            start = replace(self._start, input=(*self._start.input, *spoken(response)))
            self._renaming = Renaming(response)
            if await self._ask(start, self._means.ways(start)):
                return True

    async def _ask(self, start: Start, options: Sequence[Option]) -> bool:
        """Ask the model once and record what it says; return whether that was the end of the answer."""
        self.gate.open()
        source = await asked(start, options)
        self.gate.shut()
        try:
            return await self._record(source)
        finally:
            await source.aclose()

    async def _worked(self) -> Response:
        """Do what can be done about the calls of the last round; return the answer as it stands then."""
        tools, review_time = self._means.tools, self._means.review_time
        work = self._work = Work(self._writer, tools, self._start, self.response_id, review_time)
        try:
            response = await work.done(self._answer, self.gate)
            self.gate.check()  # whoever stops it now would find nothing that waits
            self._waits_until = work.expires_at
            self._usage = [convert(custom.data["usage"], Usage) for custom in _ends(response)]
            return response
        finally:
            await work.break_off()
            self._work = None
            self._heard = self._reads, asyncio.get_running_loop().time()

    def wake(self) -> None:
        """Somebody has decided about a call, which may be one that it waits for."""
        if self._work is not None:
            self._work.wake()

    async def _left_to_caller(self, response: Response) -> bool:
        """End the answer if there are calls that the caller has to run; return whether there are."""
        open_calls = [call for call in calls(response).values() if call.end is None]
        if not open_calls:
            return False
        pending = tuple(call.call_id for call in open_calls)
        await self._append_end([ResponseDone("tool_calls", _sum(self._usage), pending)])
        return True

    def silence(self, now: float) -> float:
        """
        Return for how many seconds the upstream has been silent, by the loop's clock.

        It is as exact as it is asked often: a read does not look at the clock.
        """
        if self._work is not None:
            return 0.0
        reads, since = self._heard
        if reads != self._reads:
            self._heard = self._reads, now
            return 0.0
        return now - since

    async def stop(self, asked: StopRequested) -> bool:
        """Write down that the answer is to end, and break off what it waits for; False if it has ended."""
        if self._writer.grammar.response is not State.STOPPING:
            try:
                await self._writer.append(asked)
            except (LocalProtocolError, *_GONE):
                return False
        self.gate.interrupt("stop")
        return True

    async def _record(self, source: Source) -> bool:
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
            if self._renaming is not None:
                events = self._renaming.of(events)
            if isinstance(last, TERMINAL):
                return await self._ended(events)
            if events and not writer.push(events):
                await writer.room()
                if not writer.push(events):
                    await writer.append(*events)

    def _take(self, events: Sequence[Event]) -> bool:
        """Record what has arrived without waking the run; False if the run has to look at it."""
        if type(events[0]) is not PartDelta or type(events[-1]) is not PartDelta:
            return False
        self._reads += 1
        return self._writer.push(events if self._renaming is None else self._renaming.of(events))

    async def _ended(self, events: Sequence[Event]) -> bool:
        """Record the end of what the model said; return whether it is the end of the answer."""
        *before, last = events
        assert isinstance(last, TERMINAL)
        usage = _estimated(self._start, self._said) if last.usage is UNSET else last.usage
        if isinstance(last, ResponseDone) and last.pending_calls and self._serves:
            await self._writer.append(*before)
            response, before = await self._answer.look(), []
            if left(response, self._start):
                if len(response.rounds) + 1 < self._iterations():
                    said = {"usage": to_builtins(usage), **self._said_upstream()}
                    await self._writer.append(Custom(ROUND_DONE, said))
                    self._said = 0
                    return False
                last = replace(last, finish_reason="max_iterations", pending_calls=())
        await self._write_end([*before, self._completed(last, usage)])
        return True

    def _iterations(self) -> int:
        own = self._start.max_iterations
        return self._means.max_iterations if own is UNSET else min(own, self._means.max_iterations)

    def _completed(self, end: ResponseDone | ResponseFailed, usage: Usage) -> Event:
        """Return the upstream's terminal event with what only the run knows."""
        extra: dict[str, object] = {} if end.extra is UNSET else dict(end.extra)
        if said := self._said_upstream():
            extra["upstream"] = said
        return replace(end, usage=_sum([*self._usage, usage]), extra=extra or UNSET)

    def _said_upstream(self) -> dict[str, str]:
        return {key: value for key, value in self._upstream_says.items() if value}

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


def closing(response: Response, start: Start, reason: str, error: PenstockError | None = None) -> list[Event]:
    """Return the events that end ``response``: it was stopped, or it failed."""
    usage = _so_far(response, start)
    calls_end = list(abandoned(response))
    if reason == "stop":
        still = [PartDone(key, growing.part) for key, growing in response.parts.items() if not growing.done]
        return [*still, *calls_end, ResponseDone("cancelled", usage)]
    if error is not None:
        body = getattr(error, "body", None)
        extra = {"status": error.status, **({} if body is None else {"error": body})}
        return [*calls_end, ResponseFailed(error.code, error.message, error.retryable, usage, extra)]
    code, status, message, retryable = _BROKEN_OFF[reason]
    return [*calls_end, ResponseFailed(code, message, retryable, usage, {"status": status})]


def _so_far(response: Response, start: Start) -> Usage:
    """Return what an answer has taken that was broken off; of its last round that is an estimate."""
    known = [convert(custom.data["usage"], Usage) for custom in _ends(response)]
    begun = response.rounds[-1] if response.rounds else 0
    parts = list(response.parts.values())[begun:]
    if known and not parts:
        return _sum(known)
    return _sum([*known, _estimated(start, sum(len(str(growing.part)) for growing in parts))])


def _ends(response: Response) -> list[Custom]:
    """Return the ends of the rounds that others followed, or will."""
    return [custom for custom in response.customs if custom.name == ROUND_DONE]


def _sum(usages: Sequence[Usage]) -> Usage:
    """Return what several rounds have taken together."""
    if len(usages) == 1:
        return usages[0]
    counts = {
        name: sum(getattr(usage, name) for usage in usages)
        for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    }
    known = all(usage.source == "provider" for usage in usages)
    return Usage(**counts, source="provider" if known else "estimated")


def _estimated(start: Start, said: int) -> Usage:
    """Count tokens the way one does without a tokenizer: four characters each."""
    asked = len(start.instructions) + sum(len(str(message.parts)) for message in start.input)
    return Usage(input_tokens=-(-asked // 4), output_tokens=-(-said // 4), source="estimated")
