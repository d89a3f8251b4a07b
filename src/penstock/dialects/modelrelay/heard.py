"""
What a response has said so far, as events: for the decoders of both generations.

A text or a thought ends when something of another kind begins; calls stay open
side by side until they are finished, or the response is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ...events import (
    DataPart,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolStarted,
    Usage,
)
from ...snapshot import grown
from .record import Call, Function
from .words import FINISH, STOP, retried

__all__ = ["Heard"]


class _Open(Struct):
    """A part that has begun and not ended."""

    part_id: str
    start: Part
    text: StringIO

    def done(self) -> Part:
        return grown(self.start, self.text.getvalue())


class Heard:
    """The parts of one response."""

    def __init__(self) -> None:
        self.started = self.ended = False
        self._parts = self._texts = 0
        """How many parts there were, and how many of them are content."""
        self._said: _Open | None = None
        """The open part that is not a tool call."""
        self._calls: dict[int, _Open] = {}
        """Open calls by index."""
        self._call_ids: list[str] = []
        self._done: set[str] = set()
        """Calls that are finished, by id."""
        self._ran: set[str] = set()
        """Calls that the server ran itself, by id."""

    @property
    def spoken(self) -> bool:
        """Whether there was any content."""
        return self._texts > 0

    def start(self, response_id: str | None, model: str | None) -> Iterator[Event]:
        """Take it that the response has begun, if nothing has said so before."""
        if not self.started:
            self.started = True
            yield ResponseStarted(response_id or "", model or "")

    # -- content

    def say(self, kind: Part, text: str) -> Iterator[Event]:
        """Take more of a part of that kind, which begins if none is open."""
        said = self._said
        if said is None or type(said.start) is not type(kind):
            yield from self._hush()
            said = self._said = self._open(kind)
            self._texts += not isinstance(kind, ReasoningPart)
            yield PartStarted(said.part_id, kind)
        if text:
            said.text.write(text)
            yield PartDelta(said.part_id, text)

    def settle(self, whole: TextPart | DataPart, text: str) -> Iterator[Event]:
        """Take the content as the server has it in the end; ``text`` is it too, if no delta said it."""
        if not self._texts:
            yield from self.say(type(whole)(), text)
        said = self._said
        if self._texts == 1 and said is not None and type(said.start) is type(whole):
            self._said = None
            yield PartDone(said.part_id, whole)

    def cite(self, url: Any, title: Any) -> Iterator[Event]:
        """Take a source."""
        part = SourcePart(url if isinstance(url, str) else "", title if isinstance(title, str) else "")
        source = self._open(part)
        yield PartStarted(source.part_id, part)
        yield PartDone(source.part_id, part)

    # -- calls

    def call(self, call: Call) -> Iterator[Event]:
        """Take the beginning of a call, or a piece of it."""
        function = call.function or Function()
        known = self._calls.get(call.index)
        if known is None:
            known = self._calls[call.index] = self._open(self._begun(call))
            yield from self._hush()
            yield PartStarted(known.part_id, known.start)
        elif function.name and isinstance(known.start, ToolCallPart):
            known.start = replace(known.start, tool=function.name)
        if function.arguments:
            known.text.write(function.arguments)
            yield PartDelta(known.part_id, function.arguments)

    def finish(self, calls: Iterable[Call], result: Any = UNSET) -> Iterator[Event]:
        """Take finished calls, and the ``result`` if the server ran them."""
        for call in calls:
            if call.id is None or call.id not in self._done:
                yield from self._finish(call, result)

    def _finish(self, call: Call, result: Any) -> Iterator[Event]:
        index = next((n for n, known in self._calls.items() if _id(known) == call.id), None)
        if index is None:
            index = min(self._calls, default=0) - 1  # no delta has its index
            yield from self.call(replace(call, index=index))
        known = self._calls.pop(index)
        part = known.done()
        assert isinstance(part, ToolCallPart), "nothing else has an index"
        function = call.function or Function()
        part = replace(part, tool=function.name or part.tool, arguments=function.arguments or part.arguments)
        self._done.add(part.call_id)
        yield PartDone(known.part_id, part)
        if result is not UNSET:
            self._ran.add(part.call_id)
            yield ToolStarted(part.call_id, part.tool, part.arguments)
            yield ToolDone(part.call_id, result)

    def _begun(self, call: Call) -> ToolCallPart:
        call_id = call.id or f"call_{len(self._call_ids) + 1}"
        self._call_ids.append(call_id)
        function = call.function or Function()
        return ToolCallPart(call_id, function.name or call.type or "")

    # -- the end

    def end(self, reason: str, usage: Usage | UnsetType) -> Iterator[Event]:
        """Take it that the response is done."""
        yield from self._hush()
        for call in self._calls.values():
            yield PartDone(call.part_id, call.done())
        self.ended = True
        finish = FINISH.get(reason) or ("tool_calls" if self._call_ids else "stop")
        pending = tuple(call_id for call_id in self._call_ids if call_id not in self._ran)
        yield ResponseDone(
            finish,
            usage,
            pending if finish == "tool_calls" else (),
            extra=UNSET if reason in STOP.values() else {"stop_reason": reason},
        )

    def fail(
        self, code: str, message: str, status: int = 502, usage: Usage | UnsetType = UNSET
    ) -> Iterator[Event]:
        """Take it that the response has failed."""
        self.ended = True
        yield ResponseFailed(code, message, retried(status), usage, {"status": status})

    def cut(self, what: str) -> Iterator[Event]:
        """Take it that the input has ended before the response did."""
        yield from self.start("", "")
        self.ended = True
        message = f"the upstream closed the connection before it said {what!r}"
        yield ResponseFailed("truncated", message, retryable=True)

    # -- parts

    def _open(self, start: Part) -> _Open:
        self._parts += 1
        return _Open(f"p{self._parts}", start, StringIO())

    def _hush(self) -> Iterator[Event]:
        """End the open part that is not a call."""
        if self._said is not None:
            said, self._said = self._said, None
            yield PartDone(said.part_id, said.done())


def _id(call: _Open) -> str:
    assert isinstance(call.start, ToolCallPart), "nothing else has an id"
    return call.start.call_id
