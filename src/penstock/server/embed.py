"""
Penstock inside a program of one's own: agents, their tools, their answers.

:class:`Penstock` is an ASGI application like the one that ``penstock serve`` runs, and
what the program itself asks goes the same way: an answer that was begun in
Python can be followed, stopped and decided about over HTTP, and the other way round.

Rule: nobody who stops listening stops an answer; that takes :meth:`Penstock.stop`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from msgspec import UNSET, to_builtins
from msgspec.structs import replace
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..agents import Agent as Definition
from ..agents import encode_agent, tell
from ..config import McpSettings, Settings, load
from ..cursor import Cursor
from ..engine.runs import Started
from ..engine.subscription import follow
from ..engine.tools.functions import Functions
from ..errors import ConfigError, RequestError
from ..events import TERMINAL, Event, MessageAdded, ResponseStarted, TextPart
from ..log import Log
from ..requests import Candidate, Decide, ReviewPolicy, Tool
from ..wire import jsontext
from .app import create_app
from .service import Service

__all__ = ["Agent", "Answer", "Penstock", "Told"]

Function = Callable[..., Any]
"""One that :func:`penstock.tool` has marked."""

Said = str | Sequence[MessageAdded]
"""What is said to an agent: a text, or messages."""


class Agent:
    """An agent of the program's own: its definition, and the functions that its tools are."""

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        instructions: str = "",
        models: str | Sequence[str | Candidate] = (),
        tools: Sequence[Function | Tool] = (),
        output_schema: dict[str, Any] | None = None,
        review: ReviewPolicy = "respect_tool",
        max_iterations: int | None = None,
        max_time: float | None = None,
    ) -> None:
        """
        Args:
            models: asked in this order, each if those before it failed before their first word;
                none: the server's default.
            tools: functions that :func:`penstock.tool` has marked; or a :class:`~penstock.requests.Tool`,
                which without ``runner`` is the caller's to run.
            output_schema: a JSON Schema; the answer is then a data part.
            max_iterations: how often a model may be asked in one answer.
            max_time: seconds that an answer may take.

        Raises:
            TypeError: a function is no tool.
            ValueError: two tools have the same name.
            RequestError: it could not be stored; see :func:`~penstock.agents.encode_agent`.
        """
        self.functions = tuple(each for each in tools if not isinstance(each, Tool))
        described = iter(Functions(self.functions).tools)
        asked = (models,) if isinstance(models, str) else models
        self.definition = Definition(
            name,
            description=description,
            instructions=instructions,
            models=tuple(Candidate(each) if isinstance(each, str) else each for each in asked),
            tools=tuple(each if isinstance(each, Tool) else next(described) for each in tools),
            output_schema=_unless_none(output_schema),
            review=review,
            max_iterations=_unless_none(max_iterations),
            max_time=_unless_none(max_time),
        )
        _check_apart([tool.name for tool in self.definition.tools], f"tools of the agent {name!r}")
        encode_agent(self.definition)


class Told(NamedTuple):
    """An event, and the cursor after it."""

    cursor: str
    event: Event


class Answer:
    """
    An answer that is asked for: awaiting it begins it, iterating over it begins and follows it.

    Whoever iterates again is told everything again.
    """

    def __init__(self, log: Log, begin: Callable[[], Awaitable[tuple[Started, Cursor | None]]]) -> None:
        """``begin`` returns what was begun, and where in its stream to look for it; None: anywhere."""
        self.stream = ""
        """The name of its stream; empty until it has begun."""
        self.response_id = ""
        """Its own name; empty until it has begun."""
        self._log, self._begin = log, begin
        self._beginning: asyncio.Task[None] | None = None
        self._after: Cursor | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begun().__await__()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield its events from ``response.started`` to its terminal one. Raises: LogError."""
        await self._begun()
        inside = False
        async for record in follow(self._log, self.stream, self._after):
            event = record.event
            inside = inside or (isinstance(event, ResponseStarted) and event.response_id == self.response_id)
            if inside:
                yield event
            if inside and isinstance(event, TERMINAL):
                return

    async def _begun(self) -> Self:
        # A task, so that two who wait for it begin one answer, and one who leaves leaves it to the other.
        self._beginning = self._beginning or asyncio.create_task(self._start())
        await asyncio.shield(self._beginning)
        return self

    async def _start(self) -> None:
        started, self._after = await self._begin()
        self.stream, self.response_id = started.stream, started.response_id


class _Open(NamedTuple):
    """What there is while a Penstock is open."""

    service: Service
    app: ASGIApp


class Penstock:
    """
    Agents with their streams, as an ASGI application and as Python objects.

    It is open between the startup and the shutdown of the server that runs it. Mounted in another
    application, it is opened by that one: ``FastAPI(lifespan=ai.lifespan)``, or
    ``async with ai:`` in a lifespan of its own. An agent that was stored over HTTP goes
    before the program's of the same name.
    """

    def __init__(
        self,
        agents: Sequence[Agent] = (),
        *,
        data: str | os.PathLike[str] | None = None,
        config: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        """
        Args:
            data: the folder of the log and the keys; ``":memory:"``: none, everything ends with the program.
            config: a settings file (TOML).
            settings: by name, as :class:`~penstock.config.Settings` has them; they go before the
                environment, that before the file. Host and port are those of whoever serves this.

        Raises:
            ConfigError: a setting is wrong.
            ValueError: two agents, or two functions, have the same name.
        """
        given = {**settings, "data": None if data is None else os.fspath(data)}
        text = "" if config is None else _read(Path(config))
        self.settings: Settings = load(given, os.environ, text, str(config)).settings
        self._agents = tuple(_careful(agent.definition, self.settings) for agent in agents)
        self._functions = tuple(dict.fromkeys(each for agent in agents for each in agent.functions))
        _check_apart([agent.name for agent in self._agents], "agents")
        Functions(self._functions)  # or say now what is wrong with them
        self._open: _Open | None = None

    # -- life

    async def __aenter__(self) -> Self:
        """Open it. Raises: ConfigError, LogError (another process, or another Penstock, owns the folder)."""
        if self._open is not None:
            raise RuntimeError("this Penstock is open already: one lifespan opens it, no more")
        tools = {"function": Functions(self._functions)}
        service = await Service.open(self.settings, tools, self._agents)
        self._open = _Open(service, create_app(service))
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Let answers end, for ``drain_time`` at most, and close it."""
        service = self._opened.service
        try:
            await service.drain()
        finally:
            self._open = None
            await service.aclose()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Be open while ``app``, a Starlette or FastAPI application, is up: its ``lifespan``."""
        async with self:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Router(lifespan=self.lifespan)(scope, receive, send)
        else:
            await self._opened.app(scope, receive, send)

    @property
    def _opened(self) -> _Open:
        if self._open is None:
            raise RuntimeError(
                "this Penstock is not open: give its `lifespan` to the application that it is mounted in, "
                "or write `async with` around its use"
            )
        return self._open

    # -- answers

    def run(self, agent: str, said: Said, *, keep_open: bool = False, idempotency_key: str = "") -> Answer:
        """
        Ask an agent, in a stream of its own: ``async for event in ai.run("clerk", "hello")``.

        Args:
            keep_open: whether :meth:`proceed` may follow. With tools for the caller to run it always may.
            idempotency_key: the same key always means the same answer.

        Raises, when the answer is begun:
            AgentNotFound, ModelNotFound, IdempotencyClash, Overloaded, Draining, LogUnavailable.
        """
        service, messages = self._opened.service, _messages(said)

        async def begin() -> tuple[Started, Cursor | None]:
            start = tell(await service.agent(agent), messages)
            start = replace(start, keep_open=True) if keep_open else start
            body = jsontext.encode([agent, to_builtins(messages)])
            return await service.start(start, body, idempotency_key, ""), None

        return Answer(service.log, begin)

    def proceed(self, stream: str, said: Said) -> Answer:
        """
        Say more in a stream, also the results of tools; it is answered as the last answer was.

        Raises, when the answer is begun:
            StreamNotFound, StreamSealed, StreamBusy, CallsPending, and as :meth:`run`.
        """
        service, messages = self._opened.service, _messages(said)

        async def begin() -> tuple[Started, Cursor | None]:
            after = (await service.log.head(stream)).cursor
            return await service.runs.proceed(stream, messages), after

        return Answer(service.log, begin)

    async def follow(self, stream: str, cursor: str = "") -> AsyncIterator[Told]:
        """
        Yield the events of a stream after ``cursor`` as they come, until no more can come.

        Raises: StreamNotFound, CursorGone.
        """
        log = self._opened.service.log
        epoch = (await log.head(stream)).cursor.epoch
        async for record in follow(log, stream, Cursor.parse(cursor) if cursor else None):
            yield Told(str(Cursor(epoch, record.offset + 1)), record.event)

    async def stop(self, stream: str, by: str = "") -> bool:
        """End the answer under way; return whether there was one. Raises: StreamNotFound."""
        return await self._opened.service.runs.stop(stream, by)

    async def decide(
        self,
        stream: str,
        call_id: str,
        verdict: Literal["approved", "rejected"],
        digest: str,
        *,
        by: str = "",
        output: Any = UNSET,
    ) -> None:
        """
        Decide about a call for which ``tool.review.requested`` asks; the answer goes on with it.

        Args:
            digest: that event's: what was shown is what is decided about.
            output: with ``approved``: what counts as the tool's result, instead of running it.

        Raises: StreamNotFound, ReviewNotFound, ReviewDecided.
        """
        await self._opened.service.runs.decide(stream, Decide(call_id, verdict, digest, by, output))


def _messages(said: Said) -> tuple[MessageAdded, ...]:
    """Raises: RequestError (nothing was said)."""
    if not said:
        raise RequestError("nothing was said: there is nothing to answer")
    return (MessageAdded("user", (TextPart(said),)),) if isinstance(said, str) else tuple(said)


def _careful(agent: Definition, settings: Settings) -> Definition:
    """Return ``agent``, its MCP tools with the reviews that the settings ask for."""

    def as_trusted(tool: Tool) -> Tool:
        server = settings.mcp.get(tool.setup.get("server", ""), McpSettings())
        trusted = tool.runner != "mcp" or not {"*", tool.setup.get("tool")}.isdisjoint(server.trusted)
        return tool if trusted else replace(tool, needs_review=True)

    return replace(agent, tools=tuple(map(as_trusted, agent.tools)))


def _check_apart(names: Sequence[str], what: str) -> None:
    """Raises: ValueError."""
    for n, name in enumerate(names):
        if name in names[:n]:
            raise ValueError(f"there are two {what} of the name {name!r}")


def _unless_none(value: Any) -> Any:
    return UNSET if value is None else value


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the settings file {path} cannot be read: {exc}", field="config") from exc
