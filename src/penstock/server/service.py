"""
Everything one process serves with: the log, the runs, the voices, the keys.

Fronts are given a service and nothing else; what two of them need lives here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import UNSET

from ..agents import Agent
from ..config import Settings, UpstreamSettings, secret
from ..cursor import Cursor
from ..dialects import Wire, get
from ..engine.catalog import catalog_of
from ..engine.demo import MODELS
from ..engine.demo.agent import AGENT, DemoTools
from ..engine.demo.agent import RUNNER as DEMO
from ..engine.ids import keyed_stream
from ..engine.reading import latest
from ..engine.runs import Limits, Runs, Started
from ..engine.subscription import follow
from ..engine.tools import Toolbox, Tools
from ..engine.tools.http import HttpTools
from ..engine.tools.mcp import McpTools
from ..engine.tools.secrets import Secrets
from ..engine.turns import Turns
from ..engine.upstreams import Models, Upstream
from ..engine.upstreams.builtin import BuiltIn
from ..engine.upstreams.http import Http
from ..engine.upstreams.replay import Replay
from ..engine.voice import Voices, place
from ..errors import AgentNotFound, AnswerFailed, ConfigError, CursorGone
from ..events import ATTEMPT_FAILED, TERMINAL, Custom, Event, MessageAdded, ResponseFailed, ResponseStarted
from ..log import Log, Record
from ..log.memory import MemoryLog
from ..log.sqlite import SQLiteLog
from ..requests import Start
from ..snapshot import Response, Snapshot, apply
from .access import Access, Keys
from .respond import Connections, EventStream

__all__ = ["MEMORY", "Service"]

MEMORY: Final = ":memory:"
"""The name of a data folder that there is none: the log is forgotten with the process."""


class Service:
    """One process's worth of Penstock."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        tools: Mapping[str, Toolbox] | None = None,
        agents: Sequence[Agent] = (),
    ) -> None:
        """``tools`` and ``agents`` are those of the program that this is part of."""
        self.settings, self.log = settings, log
        self.keys = Keys(Path(settings.data) / "keys.json")
        self.access = Access(self.keys, settings.allowed_hosts, settings.allowed_origins)
        self.connections = Connections(settings.keepalive, settings.write_timeout)
        self.mcp = McpTools(settings.mcp, Secrets(settings.secrets))
        self.runs = Runs(log, _limits(settings))
        self.models = _models(settings, self.runs)
        self.tools = Tools(
            {**_toolboxes(settings, self.mcp), **(tools or {})}, settings.tool_time, settings.tool_result
        )
        self.runs.serve(self.models, self.tools)
        self.voices = Voices(log)
        self.catalog = catalog_of(log)
        self._agents = {agent.name: agent for agent in (AGENT, *agents)}
        self.turns = Turns()
        """For fronts that look at a stream before they change it."""
        self.ready = False
        self._watches: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls, settings: Settings, tools: Mapping[str, Toolbox] | None = None, agents: Sequence[Agent] = ()
    ) -> Service:
        """
        Open the log in ``settings.data`` and end what a dead process left open.

        Raises: ConfigError, LogError.
        """
        log = await _open_log(settings)
        try:
            service = cls(settings, log, tools, agents)
            await service.begin()
        except BaseException:
            await log.aclose()
            raise
        return service

    async def begin(self) -> None:
        """Recover, and watch over limits from now on."""
        await self.runs.recover()
        interval = min(1.0, self.settings.idle_timeout / 4, self.settings.max_time / 4)
        self._watches = [
            asyncio.create_task(self.runs.watch(interval), name="watch runs"),
            asyncio.create_task(self.connections.watch(), name="watch connections"),
        ]
        self.ready = True

    async def drain(self) -> None:
        """Take no new work, let answers end, then break off who still listens. Idempotent."""
        self.ready = False
        await self.runs.drain(self.settings.drain_time)
        await asyncio.sleep(0.05)  # let the last frames leave before the readers are cut
        self.connections.break_off()

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""
        self.ready = False
        for watch in self._watches:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        self._watches = []
        await self.runs.aclose()
        await self.tools.aclose()
        await self.log.aclose()

    # -- what fronts share

    async def start(self, start: Start, body: bytes, key: str, owner: str) -> Started:
        """Begin an answer; an Idempotency-Key that was used before makes it the answer of that request."""
        if not key:
            return await self.runs.start(start)
        digest = hashlib.sha256(body).hexdigest()
        return await self.runs.start(start, stream=keyed_stream(owner, key), digest=digest)

    async def agent(self, name: str) -> Agent:
        """
        Return the agent of that name: one that is stored, else one of the program's, else the built-in one.

        Raises: AgentNotFound.
        """
        try:
            return (await self.catalog.by_name(name)).agent
        except AgentNotFound:
            if name in self._agents:
                return self._agents[name]
            raise

    async def stream(
        self,
        stream: str,
        wire: Wire,
        cursor: Cursor | None = None,
        *,
        until_terminal: bool = False,
        headers: Mapping[str, str] | None = None,
        status: int = 200,
        first: bytes = b"",
    ) -> EventStream:
        """
        Return the response that sends ``stream``, and ``first`` before anything else.

        Raises: StreamNotFound, CursorGone.
        """
        subscription = await self.voices.subscribe(stream, wire, cursor, until_terminal=until_terminal)
        told = {"penstock-stream": stream, **(headers or {})}
        return EventStream(subscription, wire, self.connections, told, status, first)

    async def cursor(self, stream: str, wire: Wire, headers: Mapping[str, str], query: str) -> Cursor | None:
        """
        Return where a reader says it stands: ``?cursor=``, else ``Last-Event-ID``.

        Where frames carry no id, it is the number of frames the reader has had.
        Raises: CursorGone, StreamNotFound.
        """
        text = query or headers.get("last-event-id", "")
        if not text:
            return None
        if wire.dialect.ids:
            return Cursor.parse(text)
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise CursorGone(
                f"in this dialect a cursor is the number of frames received, not {text[:64]!r}",
                field="cursor",
            )
        return await place(self.log, stream, wire, int(text))

    async def first_word(self, started: Started) -> None:
        """
        Wait until the answer has begun to say something, or a keepalive is due.

        Raises:
            AnswerFailed: it failed before it said anything.
        """
        try:
            async with asyncio.timeout(self.settings.keepalive):
                async for record in follow(self.log, started.stream):
                    if isinstance(record.event, ResponseFailed):
                        raise _failed(record.event)
                    if _speaks(record.event):
                        return
        except TimeoutError:
            return

    async def whole(self, started: Started) -> Response:
        """Wait for the end of an answer and return it. Raises: AnswerFailed."""
        snapshot, inside = Snapshot(), False
        async for record in follow(self.log, started.stream):
            event = record.event
            if isinstance(event, ResponseStarted):
                inside = event.response_id == started.response_id
            if inside:
                apply(snapshot, event, record.at)
            if inside and isinstance(event, TERMINAL):
                break
        response = snapshot.response
        assert response is not None, "a started response is in its stream"
        if isinstance(response.end, ResponseFailed):
            raise _failed(response.end)
        return response

    async def latest(self, stream: str) -> Response:
        """Return the latest answer of a stream, as it stands. Raises: StreamNotFound."""
        return await latest(self.log, stream)

    async def records(self, stream: str) -> list[Record]:
        """Return all that a stream holds. Raises: StreamNotFound."""
        return [record async for record in self.log.read(stream)]


async def _open_log(settings: Settings) -> Log:
    if settings.data == MEMORY:
        return MemoryLog()
    path = _data_folder(settings) / "penstock.db"
    return await SQLiteLog.open(path, durability=settings.durability, window=settings.commit_window)


def _data_folder(settings: Settings) -> Path:
    data = Path(settings.data)
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"the data folder {data} cannot be made: {exc.strerror}", field="data") from exc
    return data


def _speaks(event: Event) -> bool:
    """Whether the answer has begun with ``event``, at the latest."""
    match event:
        case Custom(name=name):
            return name != ATTEMPT_FAILED
        case MessageAdded() | ResponseStarted():
            return False
        case _:
            return True


def _failed(event: ResponseFailed) -> AnswerFailed:
    extra = {} if event.extra is UNSET else event.extra
    status = extra.get("status", 502)
    return AnswerFailed(
        event.code, event.message, status=int(status), retryable=event.retryable, field=extra.get("field")
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.max_runs,
        settings.max_time,
        settings.idle_timeout,
        settings.retention,
        max_iterations=settings.max_iterations,
        review_time=settings.review_time,
    )


def _toolboxes(settings: Settings, mcp: McpTools) -> dict[str, Toolbox]:
    return {
        DEMO: DemoTools(),
        "http": HttpTools(Secrets(settings.secrets), settings.tool_hosts),
        "mcp": mcp,
    }


def _models(settings: Settings, runs: Runs) -> Models:
    """Return the configured upstreams, or the built-in model where there are none."""
    if not settings.upstreams:
        table = {**{name: name for name in MODELS}, "*": "demo"}
        return Models({"built-in": (BuiltIn(), table)}, settings.default_model or MODELS[0])
    return Models(
        {name: _upstream(name, described, runs) for name, described in settings.upstreams.items()},
        settings.default_model,
    )


def _upstream(name: str, described: UpstreamSettings, runs: Runs) -> tuple[Upstream, dict[str, str]]:
    dialect = get(described.dialect)
    field = f"upstreams.{name}.dialect"
    if dialect.decoder is None:
        raise ConfigError(f"{field}: the dialect {dialect.name!r} cannot be read", field=field)
    options = {} if described.finish_required else {"finish_required": False}
    if described.replay:
        tape = Replay(Path(described.replay), dialect, described.pace, budget=runs.budget, **options)
        table = described.models
        return tape, {**dict.fromkeys(tape.models, "*"), **table} if table == {"*": "*"} else table
    if dialect.write_request is None:
        raise ConfigError(f"{field}: the dialect {dialect.name!r} cannot be asked", field=field)
    http = Http(
        described.url,
        dialect,
        budget=runs.budget,
        key=secret(described.key),
        headers=described.headers,
        retries=described.retries,
        **options,
    )
    return http, described.models
