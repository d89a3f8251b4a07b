"""An agent to test with: a model that does what it is told, tools that note that they were run, a log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from penstock.engine.runs import Limits, Runs
from penstock.engine.tools import Asking, Tools
from penstock.engine.upstreams import Models, Sink, Source
from penstock.errors import StreamNotFound
from penstock.events import (
    TERMINAL,
    Event,
    MessageAdded,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    Usage,
)
from penstock.log import Log
from penstock.log.memory import MemoryLog
from penstock.requests import Start, Tool

__all__ = ["USAGE", "Agents", "Model", "Notes", "call", "hello", "kinds", "says", "tool", "until"]

USAGE = Usage(10, 0, 5, 0)


def says(text: str, reason: Any = "stop") -> list[Event]:
    """The model says this, and that is all."""
    part = TextPart(text)
    return [PartStarted("p1", part), PartDone("p1", part), ResponseDone(reason, USAGE)]


def call(*calls: tuple[str, str, str]) -> list[Event]:
    """The model calls these: id, tool, arguments."""
    parts = [ToolCallPart(*each) for each in calls]
    said: list[Event] = []
    for n, part in enumerate(parts):
        said += [PartStarted(f"p{n}", part), PartDone(f"p{n}", part)]
    return [*said, ResponseDone("tool_calls", USAGE, tuple(part.call_id for part in parts))]


class Model:
    """Answers each request with the next of its rounds; a round may wait for something first."""

    def __init__(self, *rounds: Sequence[Event] | Callable[[], Awaitable[Sequence[Event]]]) -> None:
        self.rounds = list(rounds)
        self.asked: list[Start] = []
        self.closing: Callable[[], Awaitable[object]] | None = None
        """What to wait for before an answer that has been read is let go."""

    async def open(self, start: Start) -> Source:
        self.asked.append(start)
        return _Said(self, self.rounds.pop(0))

    async def aclose(self) -> None: ...


class _Said:
    def __init__(
        self, model: Model, said: Sequence[Event] | Callable[[], Awaitable[Sequence[Event]]]
    ) -> None:
        self._model = model
        self._said: Any = said

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        said, self._said = self._said, None
        if callable(said):
            said = await said()
        return None if said is None else [ResponseStarted("theirs", "m"), *said]

    async def aclose(self) -> None:
        if self._model.closing is not None:
            await self._model.closing()


class Notes:
    """A toolbox that notes what was run, and answers with what it was told to."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[], Awaitable[Any]]] = {}

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        self.ran.append((tool.name, arguments))
        answer = self.answers.get(tool.name)
        return f"{tool.name} ran" if answer is None else await answer()

    async def aclose(self) -> None: ...


def tool(name: str, runner: str = "notes", **more: Any) -> Tool:
    return Tool(name, runner=runner, **more)


class Agents:
    """The runs of a process on a log; :meth:`again` is the next process."""

    def __init__(self, model: Model, *tools: Tool, log: Log | None = None, **limits: Any) -> None:
        self.log = log or MemoryLog()
        self.model, self.tools, self.notes = model, tools, Notes()
        self.limits = Limits(**limits)
        self.runs = self._runs()

    def _runs(self) -> Runs:
        runs = Runs(self.log, self.limits)
        runs.serve(Models({"test": (self.model, {"*": "*"})}, "m"), Tools({"notes": self.notes}, 1.0, 100))
        return runs

    async def again(self) -> None:
        """Let this process die where it stands, and let the next one recover."""
        await self.runs.aclose()
        self.runs = self._runs()
        await self.runs.recover()

    def start(self, text: str = "hello", **more: Any) -> Start:
        return Start("m", (hello(text),), tools=self.tools, **more)

    async def begin(self, text: str = "hello", **more: Any) -> str:
        """Begin an answer and return its stream."""
        return (await self.runs.start(self.start(text, keep_open=True, **more))).stream

    async def events(self, stream: str) -> list[Event]:
        return [record.event async for record in self.log.read(stream)]

    async def ended(self, stream: str, answers: int = 1) -> list[Event]:
        """Return what the stream holds once so many answers have ended."""
        return await until(self.log, stream, lambda event: isinstance(event, TERMINAL), answers)


def hello(text: str = "hello", message_id: str = "") -> MessageAdded:
    return MessageAdded("user", (TextPart(text),), message_id)


async def until(log: Log, stream: str, wanted: Callable[[Event], bool], times: int = 1) -> list[Event]:
    """Return what a stream holds once it holds so many events of a kind."""
    async with asyncio.timeout(20):
        while True:
            try:
                head = await log.head(stream)
            except StreamNotFound:
                await asyncio.sleep(0)
                continue
            events = [record.event async for record in log.read(stream)]
            if sum(map(wanted, events)) >= times:
                return events
            await log.wait(stream, head)


def kinds(events: Iterable[Event]) -> list[str]:
    """The tags of events, those of parts left out."""
    return [str(tag) for event in events if not (tag := str(event.__struct_config__.tag)).startswith("part.")]
