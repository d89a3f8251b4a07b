"""
All runs of a process: starting, stopping, continuing, recovering, draining.

A request is on record before it is worked on: the messages and
``response.started`` are one append, so that a stream either does not exist or
says what it is for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec import UNSET, Struct, convert
from msgspec.structs import replace

from ..errors import (
    Conflict,
    Draining,
    IdempotencyClash,
    Overloaded,
    StreamBusy,
    StreamNotFound,
)
from ..events import MessageAdded, ResponseStarted
from ..grammar import State
from ..log import Deletes, Expires, Head, Lists, Log
from ..requests import Start, settings
from ..snapshot import conversation, fold
from .attempts import Option
from .ids import new_stream, next_response, response_name
from .run import Run, closing, latest
from .turns import Turns
from .upstreams import Models
from .writer import Writer

__all__ = ["Limits", "Runs", "Started"]

_PAGE: Final = 1000
_LAST_WORDS: Final = 5.0
"""Seconds that interrupted runs get to write their end."""


class Limits(Struct, frozen=True):
    """What a run may take; times in seconds."""

    max_runs: int = 10_000
    max_time: float = 3600.0
    idle_timeout: float = 300.0
    retention: float = 0.0
    """How long finished answers are kept; 0: for ever."""
    read_bytes: int = 1 << 20
    """What all runs together may read in one turn of the event loop."""


class Started(NamedTuple):
    """An answer that is under way, or was: ``created`` is False if the key had been used before."""

    stream: str
    response_id: str
    created: bool


class Runs:
    """The runs of one process on one log."""

    def __init__(self, log: Log, limits: Limits) -> None:
        self.log, self.limits = log, limits
        self.draining = False
        self._models: Models | None = None
        self._active: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()

    def __len__(self) -> int:
        return len(self._active)

    def serve(self, models: Models) -> None:
        """Say where answers come from. Upstreams need :meth:`budget`, so they come second."""
        self._models = models

    def budget(self) -> int:
        """Return the bytes that one read of one run may take now."""
        return max(4096, min(65536, self.limits.read_bytes // max(1, len(self._active))))

    # -- the verbs

    async def start(self, start: Start, *, stream: str | None = None, digest: str = "") -> Started:
        """
        Begin a stream with an answer.

        Args:
            stream: its name, if an Idempotency-Key decides it.
            digest: of the request, to tell a retry from another request under the same key.
        Raises:
            ModelNotFound, IdempotencyClash, Overloaded, Draining, LogUnavailable.
        """
        name, options = self._admit(start)
        writer = Writer(self.log, stream or new_stream(), fresh=stream is None)
        # Of requests with one key the second waits until the first is on record.
        async with self._turns.of(writer.stream):
            try:
                first = response_name(writer.stream, 1)
                return await self._begin(
                    writer, first, replace(start, model=name), options, start.input, digest
                )
            except Conflict:
                if stream is None:
                    raise
                return await self._earlier(stream, digest)

    async def proceed(self, stream: str, messages: tuple[MessageAdded, ...]) -> Started:
        """
        Put messages into a stream and answer them, with the settings of its last answer.

        Raises:
            StreamNotFound, StreamSealed, StreamBusy (an answer is under way), and as :meth:`start`.
        """
        async with self._turns.of(stream):
            return await self._proceed(Writer(self.log, stream), messages)

    async def _proceed(self, writer: Writer, messages: tuple[MessageAdded, ...]) -> Started:
        stream = writer.stream
        await writer.open()
        if writer.grammar.busy:
            raise StreamBusy(f"an answer is under way in stream {stream!r}: wait for its end, or stop it")
        snapshot = fold([record.event async for record in self.log.read(stream)])
        before = snapshot.response
        asked = {} if before is None or before.request is UNSET else before.request
        history = (*conversation(snapshot), *messages)
        start = replace(convert({"model": "", **asked}, Start), input=history)
        name, options = self._admit(start)
        following = next_response(before.response_id) if before else response_name(stream, 1)
        return await self._begin(writer, following, replace(start, model=name), options, messages, "")

    async def stop(self, stream: str, by: str = "") -> bool:
        """
        End the answer that is under way, and say whether there was one.

        Stopping twice is stopping once. Raises: StreamNotFound.
        """
        run = self._active.get(stream)
        if run is not None:
            return await run.stop(by)
        await self.log.head(stream)
        return False

    async def delete(self, stream: str) -> None:
        """Forget a stream, and end what runs in it. Raises: StreamNotFound."""
        assert isinstance(self.log, Deletes), "this log cannot delete"
        run = self._active.get(stream)
        await self.log.delete(stream)
        if run is not None:
            run.gate.interrupt("stop")

    # -- life

    async def recover(self) -> int:
        """End every answer that a dead process left open; return how many there were."""
        assert isinstance(self.log, Lists), "this log cannot list"
        recovered, last = 0, None
        while page := await self.log.streams(before=last, limit=_PAGE, sealed=False):
            for info in page:
                recovered += await self._recover(info.name)
            last = page[-1].name
        return recovered

    async def watch(self, interval: float = 1.0) -> None:
        """Enforce the limits of time until cancelled."""
        clock = asyncio.get_running_loop().time
        expired = clock()
        while True:
            await asyncio.sleep(interval)
            now = clock()
            for run in list(self._active.values()):
                if now - run.began > min(self.limits.max_time, run.max_time or self.limits.max_time):
                    run.gate.interrupt("max_time")
                elif run.silence(now) > self.limits.idle_timeout:
                    run.gate.interrupt("idle")
            if self.limits.retention and now >= expired and isinstance(self.log, Expires):
                await self.log.expire(time.time() - self.limits.retention)
                expired = now + min(600.0, self.limits.retention / 10)

    async def drain(self, grace: float) -> None:
        """Take no new work, wait ``grace`` seconds for what there is, then end it."""
        self.draining = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for run in self._active.values():
            run.gate.interrupt("drain")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS)

    async def aclose(self) -> None:
        """Let go of the upstreams; what still runs is left to recovery."""
        for task in self._tasks:
            task.cancel()
        if self._models is not None:
            await self._models.aclose()

    # -- inside

    def _admit(self, start: Start) -> tuple[str, list[Option]]:
        """Return the name of the model that comes first, and all the ways to get the answer."""
        if self.draining:
            raise Draining
        if len(self._active) >= self.limits.max_runs:
            raise Overloaded(f"{len(self._active)} answers are under way, the limit `max_runs`")
        assert self._models is not None, "serve() comes first"
        name, served = self._models.resolve(start.model)
        options = [Option(served.upstream, replace(start, model=served.model))]
        for candidate in start.fallbacks:
            _, served = self._models.resolve(candidate.model)
            own = replace(start, model=served.model, extra=candidate.options or UNSET)
            options.append(Option(served.upstream, own))
        return name, options

    async def _begin(
        self,
        writer: Writer,
        name: str,
        start: Start,
        options: Sequence[Option],
        messages: Sequence[MessageAdded],
        digest: str,
    ) -> Started:
        kept: dict[str, Any] = {**settings(start), **({"digest": digest} if digest else {})}
        await writer.append(*messages, ResponseStarted(name, start.model, start.agent, kept))
        run = Run(self.log, writer, start, name, seal=not stays_open(start))
        self._active[writer.stream] = run
        task = asyncio.create_task(self._produce(run, options), name=f"run {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Started(writer.stream, name, created=True)

    async def _produce(self, run: Run, options: Sequence[Option]) -> None:
        try:
            await run.produce(options)
        finally:
            del self._active[run.stream]

    async def _earlier(self, stream: str, digest: str) -> Started:
        """Return the answer that an Idempotency-Key was first used for."""
        async for record in self.log.read(stream):
            if isinstance(record.event, ResponseStarted):
                asked = record.event.request
                if asked is UNSET or asked.get("digest") != digest:
                    raise IdempotencyClash
                return Started(stream, record.event.response_id, created=False)
        raise StreamNotFound(f"no answer has begun in stream {stream!r}")

    async def _recover(self, stream: str) -> bool:
        writer = Writer(self.log, stream)
        head: Head = await writer.open()
        if head.sealed or not writer.grammar.busy:
            return False
        response = await latest(self.log, stream)
        asked = {} if response.request is UNSET else response.request
        start = convert({"model": "", **asked}, Start)
        reason = "stop" if writer.grammar.response is State.STOPPING else "crash"
        await writer.append(*closing(response, start, reason), seal=not stays_open(start))
        return True


def stays_open(start: Start) -> bool:
    """Whether the stream takes messages after this answer: tool results are messages too."""
    return bool(start.tools) if start.keep_open is UNSET else start.keep_open
