"""
All runs of a process: starting, stopping, continuing, recovering, draining.

A request is on record before it is worked on: the messages and
``response.started`` are one append, so that a stream either does not exist or
says what it is for. The log is the queue as well: a message that has to wait for
its turn is in it, with the settings of its answer, and so is every call that
waits for a human. What is kept here of either is the name of the stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType, convert
from msgspec.structs import replace

from ..errors import (
    Conflict,
    Draining,
    IdempotencyClash,
    LogUnavailable,
    Overloaded,
    PenstockError,
    StreamBusy,
    StreamNotFound,
)
from ..events import (
    REWOUND,
    Custom,
    MessageAdded,
    ResponseFailed,
    ResponseStarted,
    StopRequested,
)
from ..log import Deletes, Expires, Lists, Log
from ..requests import Decide, Start, settings
from ..snapshot import Snapshot, conversation
from .attempts import Option
from .continuing import between_rounds, check_results, following, is_there, start_of, stays_open
from .ids import new_stream, response_name
from .reading import ending, history
from .reviews import decide, expire
from .run import Means, Run, closing
from .tools import Tools
from .turns import Turns
from .upstreams import Models
from .writer import Writer

__all__ = ["Limits", "Runs", "Started"]

_log = logging.getLogger("penstock.runs")

_PAGE: Final = 1000
_AGAIN: Final = 1.0
"""Seconds between two tries to answer a message that has waited, while the log cannot be written."""
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
    max_iterations: int = 20
    """How often a model may be asked in one answer."""
    review_time: float = 86_400.0
    """How long a human has to decide about a call."""


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
        self._tools = Tools({})
        self._active: dict[str, Run] = {}
        self._parked: dict[str, float] = {}
        """Streams whose answer waits for humans only, and when the first review in it expires."""
        self._queued: set[str] = set()
        """Streams in which messages may wait for their turn."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()

    def __len__(self) -> int:
        return len(self._active)

    def serve(self, models: Models, tools: Tools | None = None) -> None:
        """Say where answers come from. Upstreams need :meth:`budget`, so they come second."""
        self._models, self._tools = models, tools or self._tools

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
        snapshot = await history(self.log, stream)
        check_results(snapshot, messages)
        return await self._answer(writer, snapshot, start_of(snapshot.response), messages)

    async def send(self, stream: str, message: MessageAdded, start: Start) -> None:
        """
        Put a message into a stream that exists; it is answered, with the settings of ``start``, in its turn.

        A message of an id that is there already is the one that is there.
        Raises: StreamNotFound, StreamSealed, IdempotencyClash (a message of that id says
        something else), and as :meth:`start`.
        """
        async with self._turns.of(stream):
            self._queued.add(stream)  # first: an answer that ends from now on looks for what waits
            outside = Writer(self.log, stream, owner=False)  # an answer may go on meanwhile
            try:
                await outside.open()
            except StreamNotFound:
                self._queued.discard(stream)
                raise
            snapshot = await history(self.log, stream)
            if is_there(snapshot, message):
                return
            if outside.grammar.busy or snapshot.waiting:
                if self.draining:
                    raise Draining
                await outside.append(replace(message, request=settings(start)))
                return
            self._queued.discard(stream)
            writer = Writer(self.log, stream)
            await writer.open()
            await self._answer(writer, snapshot, start, (message,))

    async def stop(self, stream: str, by: str = "") -> bool:
        """
        End the answer that is under way, drop the messages that wait, and say whether there was an answer.

        Stopping twice is stopping once. Raises: StreamNotFound.
        """
        async with self._turns.of(stream):
            outside = Writer(self.log, stream, owner=False)
            await outside.open()
            while stream in self._queued and not outside.grammar.busy:
                if await self._take_up(stream):  # between two answers the next one is what is to be stopped
                    break
            waiting = (await history(self.log, stream)).waiting if stream in self._queued else {}
            asked = StopRequested(by, tuple(waiting))
            run = self._active.get(stream)
            if run is not None and not await run.stop(asked):
                return False
            if run is None or stream in self._parked:  # it may have been let go meanwhile
                return await self._close(stream, asked)
            return True

    async def decide(self, stream: str, decision: Decide) -> None:
        """
        Decide about a call of the answer under way; the answer goes on with it.

        Raises: StreamNotFound, ReviewNotFound, ReviewDecided.
        """
        async with self._turns.of(stream):
            await decide(self.log, stream, decision)
            await self._go_on(stream)

    async def rewind(self, stream: str, kept: Callable[[Snapshot], int]) -> None:
        """
        Take back the end of a stream's history; ``kept`` says how many turns of it stay.

        Raises: StreamNotFound, StreamBusy, StreamSealed, and what ``kept`` raises.
        """
        async with self._turns.of(stream):
            writer = Writer(self.log, stream)
            await writer.open()
            if writer.grammar.busy:
                raise StreamBusy(f"an answer is under way in stream {stream!r}: wait for its end, or stop it")
            turns = kept(await history(self.log, stream))
            await writer.append(Custom(REWOUND, {"turns": turns}))

    async def delete(self, stream: str) -> None:
        """Forget a stream, and end what runs in it. Raises: StreamNotFound."""
        assert isinstance(self.log, Deletes), "this log cannot delete"
        run = self._active.get(stream)
        await self.log.delete(stream)
        self._parked.pop(stream, None)
        self._queued.discard(stream)
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
            await self._expire(time.time())
            if self.limits.retention and now >= expired and isinstance(self.log, Expires):
                await self.log.expire(time.time() - self.limits.retention)
                expired = now + min(600.0, self.limits.retention / 10)

    async def _expire(self, now: float) -> None:
        """End the reviews that nobody has decided in time; ``now`` in seconds since 1970."""
        running = ((stream, run.expires_at) for stream, run in self._active.items())
        due = [stream for stream, at in (*self._parked.items(), *running) if at is not None and at <= now]
        for stream in due:
            try:
                async with self._turns.of(stream):
                    await expire(self.log, stream, now)
                    await self._go_on(stream)
            except PenstockError as exc:
                _log.warning("%s: its reviews cannot expire: %s", stream, exc)

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
        return self._name(start), self._ways(start)

    def _name(self, start: Start) -> str:
        assert self._models is not None, "serve() comes first"
        return self._models.resolve(start.model)[0]

    def _ways(self, start: Start) -> list[Option]:
        """Return all the ways to get an answer. Raises: ModelNotFound."""
        assert self._models is not None, "serve() comes first"
        served = self._models.resolve(start.model)[1]
        options = [Option(served.upstream, replace(start, model=served.model))]
        for candidate in start.fallbacks:
            served = self._models.resolve(candidate.model)[1]
            own = replace(start, model=served.model, extra=candidate.options or UNSET)
            options.append(Option(served.upstream, own))
        return options

    async def _answer(
        self, writer: Writer, snapshot: Snapshot, start: Start, messages: tuple[MessageAdded, ...]
    ) -> Started:
        """Add ``messages`` to a stream that ``snapshot`` is, and begin to answer them."""
        start = replace(start, input=(*conversation(snapshot), *messages))
        name, options = self._admit(start)
        own = replace(start, model=name)
        return await self._begin(writer, following(snapshot, writer.stream), own, options, messages)

    async def _begin(
        self,
        writer: Writer,
        name: str,
        start: Start,
        options: Sequence[Option],
        messages: Sequence[MessageAdded] = (),
        digest: str = "",
        answers: MessageAdded | UnsetType = UNSET,
    ) -> Started:
        kept: dict[str, Any] = {**settings(start), **({"digest": digest} if digest else {})}
        await writer.append(*messages, ResponseStarted(name, start.model, start.agent, kept, answers=answers))
        self._launch(writer, start, name, options)
        return Started(writer.stream, name, created=True)

    def _launch(self, writer: Writer, start: Start, name: str, options: Sequence[Option] = ()) -> None:
        """Run an answer that is on record; without options, from the end of its last round."""
        limits = self.limits
        means = Means(self._ways, self._tools, limits.max_iterations, limits.review_time)
        run = Run(self.log, writer, start, name, means, seal=not stays_open(start))
        self._active[writer.stream] = run
        task = asyncio.create_task(self._produce(run, options), name=f"run {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _produce(self, run: Run, options: Sequence[Option]) -> None:
        ended = True
        try:
            ended = await run.produce(options)
        finally:
            if self._active.get(run.stream) is run:  # the next answer may have begun as this one ended
                del self._active[run.stream]
        if not ended:
            self._parked[run.stream] = run.expires_at or float("inf")
        elif run.stream in self._queued:
            await self._next(run.stream)

    async def _next(self, stream: str) -> None:
        """Answer the message that has waited longest, if there is one."""
        while not self.draining and stream in self._queued:
            try:
                async with self._turns.of(stream):
                    if await self._take_up(stream):
                        return
            except (StreamNotFound, Conflict) as exc:
                _log.warning("%s: %s", stream, exc)
                return
            except LogUnavailable as exc:
                _log.error("%s: messages wait: %s", stream, exc)
                await asyncio.sleep(_AGAIN)

    async def _take_up(self, stream: str) -> bool:
        """Begin the answer to the message that has waited longest; False if that ended at once."""
        writer = Writer(self.log, stream)
        head = await writer.open()
        snapshot = await history(self.log, stream)
        message = next(iter(snapshot.waiting.values()), None)
        if message is None or head.sealed or writer.grammar.busy:
            self._queued -= {stream} if message is None else set()
            return True
        start = convert({"model": "", **(message.request or {})}, Start)
        start = replace(start, input=(*conversation(snapshot), message))
        name = following(snapshot, stream)
        try:
            start = replace(start, model=self._name(start))
            options = self._ways(start)
        except PenstockError as exc:
            begun = ResponseStarted(name, start.model, start.agent, settings(start), answers=message)
            failed = ResponseFailed(exc.code, exc.message, exc.retryable, extra={"status": exc.status})
            await writer.append(begun, failed)
            return False
        await self._begin(writer, name, start, options, answers=message)
        return True

    async def _go_on(self, stream: str) -> None:
        """A call that was waited for has been decided about: go on with the answer."""
        run = self._active.get(stream)
        if run is not None:
            run.wake()
        elif not self.draining:  # else recovery does it
            await self._revive(stream)

    async def _revive(self, stream: str) -> None:
        """Take up an answer again after its last round, from what is on record."""
        writer = Writer(self.log, stream)
        await writer.open()
        snapshot = await history(self.log, stream)
        response = snapshot.response
        self._parked.pop(stream, None)
        if response is None or not writer.grammar.busy:
            return
        snapshot.turns = [turn for turn in snapshot.turns if turn is not response]
        start = replace(start_of(response), model=response.model, input=conversation(snapshot))
        self._launch(writer, start, response.response_id)

    async def _close(self, stream: str, stop: StopRequested | None) -> bool:
        """End an answer that nobody works on; return whether there was one."""
        writer = Writer(self.log, stream)
        head = await writer.open()
        if head.sealed or not writer.grammar.busy:
            return False
        self._parked.pop(stream, None)
        response = (await ending(self.log, stream)).response
        assert response is not None, "a stream is busy with an answer"
        stopping = stop is not None or response.status == "stopping"
        said = [stop] if stop is not None and response.status != "stopping" else []
        start = start_of(response)
        end = closing(response, start, "stop" if stopping else "crash")
        await writer.append(*said, *end, seal=not stays_open(start))
        return True

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
        """Go on with what a dead process left in a stream; return whether there was an answer to end."""
        tail = await ending(self.log, stream)
        response = tail.response
        if response is None:
            return False
        if tail.waiting or response.answers is not UNSET:
            self._queued.add(stream)
        ended = False
        if response.end is None and response.status == "open" and between_rounds(response):
            await self._revive(stream)
        elif response.end is None:
            ended = await self._close(stream, None)
        await self._next(stream)
        return ended
