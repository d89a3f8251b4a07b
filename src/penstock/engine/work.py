"""
The calls of a round: asked for, reviewed, run, answered.

Everything that is known about a call is in the log, so what to do next is read
from there: whether the process has just come to it, has waited a day for a
human, or has died in between. A tool is run after its ``tool.started`` is durable,
and never again after that -- unless it says that it may be.

What was approved is what runs: the arguments are those of the review, whose
digest the decision repeats.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from ..calls import Call, arguments_of, calls, digest
from ..errors import InvalidJson, PenstockError
from ..events import Event, ReviewDone, ReviewRequested, ToolDone, ToolFailed, ToolStarted
from ..requests import Start, Tool
from ..snapshot import Response
from .interrupt import Interruptible
from .reading import Latest
from .schemas import compiled
from .tools import Asking, ToolFault, Tools
from .writer import Writer

__all__ = ["Work", "abandoned", "left"]

_UNKNOWN: Final = "the server died while the tool ran: what it has done is not known"
_STOPPED: Final = "the answer ended before the tool did: what it has done is not known"
_NEVER: Final = "the answer ended before the tool ran"


def left(response: Response, start: Start) -> list[Call]:
    """Return the calls that the server has still to see to."""
    open_calls = (call for call in calls(response).values() if call.end is None)
    return [call for call in open_calls if not _callers(call, start)]


def _callers(call: Call, start: Start) -> bool:
    """Whether the caller runs it."""
    return any(tool.name == call.part.tool and not tool.runner for tool in start.tools)


def abandoned(response: Response) -> Iterator[Event]:
    """Yield what closes the calls of an answer that ends while they are open."""
    for call in calls(response).values():
        if call.end is None and call.review is not None and call.decision is None:
            yield ReviewDone(call.call_id, call.review.digest, "expired")
        if call.end is None and (call.review is not None or call.started is not None):
            yield ToolFailed(call.call_id, _NEVER if call.started is None else _STOPPED)


class _Ready(NamedTuple):
    """A call that is to be run."""

    call_id: str
    tool: Tool
    arguments: dict[str, Any]


class Work:
    """Sees to the calls of one answer."""

    def __init__(
        self, writer: Writer, tools: Tools, start: Start, response_id: str, review_time: float
    ) -> None:
        """``review_time``: seconds that a human has to decide."""
        self.expires_at: float | None = None
        """When the first of the reviews that are pending expires, in seconds since 1970."""
        self._writer, self._tools, self._start = writer, tools, start
        self._response_id, self._review_time = response_id, review_time
        self._offered = {tool.name: tool for tool in start.tools}
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Somebody has decided about a call."""
        self._news.set()

    async def done(self, answer: Latest, gate: Interruptible) -> Response:
        """
        Do what can be done about the calls of ``answer``; return it as it stands then.

        Each call has its result by then, or waits for a human, or is the caller's.
        Raises: Interrupted, while it waits for tools; then :meth:`break_off`.
        """
        while True:
            self._news.clear()
            response = await answer.look()
            events, ready = self._due(response)
            if events:
                await self._writer.append(*events)
            for each in ready:
                task = asyncio.create_task(self._run(each), name=f"tool {each.call_id}")
                self._running[each.call_id] = task
            if self._running:
                await self._wait(gate)
            elif not events and not self._news.is_set():
                return response

    def _due(self, response: Response) -> tuple[list[Event], list[_Ready]]:
        """Return what is to be written about the calls now, and which of them are then to be run."""
        events: list[Event] = []
        ready: list[_Ready] = []
        waiting = [call for call in left(response, self._start) if call.call_id not in self._running]
        for call in waiting:
            if not call.waits:
                said, run = self._next(call)
                events += said
                ready += [run] if run is not None else []
        asked = [call.review for call in waiting if call.waits and call.review is not None]
        asked += [event for event in events if isinstance(event, ReviewRequested)]
        self.expires_at = min((review.expires_at for review in asked if review.expires_at), default=None)
        return events, ready

    def _next(self, call: Call) -> tuple[list[Event], _Ready | None]:
        """Return what comes next for a call that waits for nobody."""
        tool = self._offered.get(call.part.tool)
        if tool is None:
            offered = ", ".join(self._offered)
            return self._failed(call, f"there is no tool {call.part.tool!r}; tools: {offered}"), None
        if call.started is not None and not tool.idempotent:
            return self._failed(call, _UNKNOWN), None
        try:
            arguments = self._arguments(call, tool)
        except PenstockError as exc:
            return self._failed(call, exc.message), None
        ready = _Ready(call.call_id, tool, arguments)
        if call.started is not None:
            return [], ready
        began = ToolStarted(call.call_id, tool.name, arguments)
        bound = self._digest(call.call_id, tool.name, arguments)
        match call.decision:
            case None if self._asks(tool):
                expires_at = time.time() + self._review_time
                return [ReviewRequested(call.call_id, tool.name, bound, arguments, expires_at)], None
            case ReviewDone(verdict="approved", digest=approved) if approved != bound:
                return self._failed(call, "what was approved is not what the call says"), None
            case ReviewDone(verdict="approved", output=output) if output is not UNSET:
                return [began, ToolDone(call.call_id, output)], None
            case None | ReviewDone(verdict="approved"):
                return [began], ready
            case ReviewDone(verdict=verdict):
                why = "rejected by a human" if verdict == "rejected" else "not approved in time"
                return self._failed(call, f"the call was {why}, and has not been made"), None

    def _failed(self, call: Call, why: str) -> list[Event]:
        return [ToolFailed(call.call_id, why)]

    def _asks(self, tool: Tool) -> bool:
        policy = self._start.review
        return policy == "all" or (policy == "respect_tool" and tool.needs_review)

    def _arguments(self, call: Call, tool: Tool) -> dict[str, Any]:
        """Return what the tool is to be run with. Raises: InvalidJson, Unprocessable, ToolFault."""
        arguments = arguments_of(call.part)
        if tool.parameters is not UNSET:
            fault = compiled(tool.parameters, f"parameters of {tool.name}").fault(arguments)
            if fault is not None:
                path, why = fault
                raise InvalidJson(f"the arguments do not fit the tool's parameters: {path or 'they'}: {why}")
        return arguments

    def _digest(self, call_id: str, tool: str, arguments: dict[str, Any]) -> str:
        return digest(self._writer.stream, self._response_id, call_id, tool, arguments)

    # -- running

    async def _run(self, ready: _Ready) -> Any:
        call_id, tool, arguments = ready
        bound = self._digest(call_id, tool.name, arguments)
        asking = Asking(self._writer.stream, self._response_id, call_id, bound)
        return await self._tools.run(tool, arguments, asking)

    async def _wait(self, gate: Interruptible) -> None:
        """Wait until a tool has ended, or somebody has decided; write down what has ended."""
        news = asyncio.create_task(self._news.wait())
        try:
            gate.open()
            await asyncio.wait((news, *self._running.values()), return_when=asyncio.FIRST_COMPLETED)
            gate.shut()
        finally:
            news.cancel()
        ended = {call_id: task for call_id, task in self._running.items() if task.done()}
        if ended:
            await self._writer.append(*(_outcome(call_id, task) for call_id, task in ended.items()))
        for call_id in ended:
            del self._running[call_id]

    async def break_off(self) -> None:
        """Cancel the tools that still run, and wait until they are gone."""
        tasks, self._running = list(self._running.values()), {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)


_PATIENCE: Final = 0.5
"""Seconds that a tool has to let go when it is cancelled."""


def _outcome(call_id: str, task: asyncio.Task[Any]) -> Event:
    if task.cancelled():
        return ToolFailed(call_id, _STOPPED)
    match task.exception():
        case None:
            return ToolDone(call_id, task.result())
        case ToolFault(message=message):
            return ToolFailed(call_id, message)
        case exc:
            return ToolFailed(call_id, f"{type(exc).__name__}: {exc}")
