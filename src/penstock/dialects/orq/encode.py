"""
Events to the ten events of an agent's stream (sections 4 and 5 of the contract).

``response.started``, parts and tools as they come, one terminal event, ``[DONE]``.
Parts may overlap: their ``partId`` tells them apart. The deltas of a text or of
reasoning, joined, are what its ``part.done`` says.

Nothing is said of sources, of other choices than the first, of custom events,
nor of a call itself: it is seen when the server starts it, or when the caller is
asked to run it. Of a call that was refused, the review is the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, Struct

from ...events import (
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
)
from ...snapshot import text_of
from ...wire import Frame, jsontext
from .. import Spoken
from .strict import checked
from .words import (
    DONE,
    Failure,
    failure,
    finish_reason,
    moment,
    parsed_arguments,
    part_name,
    run_of,
    task_of,
    write_part,
    write_pending,
    write_usage,
)

__all__ = ["Encoder"]

_DELTA: Final = b'{"type":"part.delta","timestamp":"%b","data":{"partId":%b%b}}}'
_TEXT: Final = b'%b,"delta":{"kind":"text","text":'
_REASONING: Final = b'%b,"delta":{"kind":"reasoning","_id":%b,"reasoning":'
_NAMELESS: Final = "tool"
"""The tool of a call that nobody named."""


class _Voice(Struct):
    """Says a part that comes in pieces."""

    name: str
    """Its ``partId``."""
    head: bytes
    """What every delta of it has between the time and the piece."""
    sent: int = 0
    """Characters."""

    def say(self, piece: str, at: float) -> Frame:
        self.sent += len(piece)
        return Frame(_DELTA % (moment(at).encode(), self.head, jsontext.quote(piece)))


class _Call(Struct):
    """A call as far as it has come."""

    tool: str
    part: ToolCallPart | None = None
    """None if the model did not say it here."""
    started: bool = False
    refused: bool = False


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self) -> None:
        self._response_id = ""
        self._parts: dict[str, _Voice | None] = {}
        """Of the first choice, open; None: its deltas are not said."""
        self._calls: dict[str, _Call] = {}

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta:
            voice = self._parts.get(event.part_id)
            return () if voice is None else (voice.say(event.delta, record.at),)
        return self._rarely(event, record.at)

    def _rarely(self, event: Event, at: float) -> Iterator[Frame]:
        """Encode anything but a delta."""
        match event:
            case PartStarted(part_id=key, part=part, choice=0):
                yield from self._begin(key, part, at)
            case PartDone(part_id=key, part=part) if key in self._parts:
                yield from self._complete(key, part, at)
            case ResponseStarted():
                yield self._start(event, at)
            case ResponseDone() | ResponseFailed():
                yield from self._end(event, at)
            case _:
                yield from self._tools(event, at)

    # -- the response

    def _start(self, event: ResponseStarted, at: float) -> Frame:
        self._response_id, self._parts, self._calls = event.response_id, {}, {}
        named = {
            "responseId": event.response_id,
            "taskId": task_of(event.response_id),
            "model": event.model,
            "workflowRunId": run_of(event.response_id),
        }
        return _event(at, "response.started", named)

    def _end(self, end: ResponseDone | ResponseFailed, at: float) -> Iterator[Frame]:
        match failure(end), end:
            case Failure() as failed, _:
                yield _event(at, "response.failed", failed._asdict())
            case None, ResponseDone():
                yield _event(at, "response.done", self._outcome(end))
        yield Frame(DONE)

    def _outcome(self, end: ResponseDone) -> dict[str, Any]:
        calls = [self._calls[key].part for key in end.pending_calls if key in self._calls]
        pending = [write_pending(part) for part in calls if part is not None]
        return {
            "finishReason": finish_reason(end, pending),
            **({"pendingToolCalls": pending} if pending else {}),
            **({} if end.usage is UNSET else {"usage": write_usage(end.usage)}),
        }

    # -- parts

    def _begin(self, key: str, part: Part, at: float) -> Iterator[Frame]:
        voice = self._parts[key] = self._voice(key, part)
        if voice is not None and (begun := text_of(part)):
            yield voice.say(begun, at)

    def _voice(self, key: str, part: Part) -> _Voice | None:
        match part:
            case TextPart() | RefusalPart():
                return self._text(key)
            case ReasoningPart():
                name = self._name("reasoning", key)
                quoted = jsontext.quote(name)
                return _Voice(name, _REASONING % (quoted, quoted))
            case _:
                return None

    def _text(self, key: str) -> _Voice:
        name = self._name("text", key)
        return _Voice(name, _TEXT % jsontext.quote(name))

    def _complete(self, key: str, part: Part, at: float) -> Iterator[Frame]:
        """Say the whole of a part, and before it what no delta said: a part may come whole."""
        voice = self._parts.pop(key)
        if isinstance(part, ToolCallPart):
            self._called(part.call_id, part.tool).part = part
            return
        written = self._reasoning(key, part) if isinstance(part, ReasoningPart) else write_part(part)
        if written is None:
            return
        if voice is None and written["kind"] == "text":  # data that is no object
            voice = self._text(key)
        if voice is not None and (rest := text_of(part)[voice.sent :]):
            yield voice.say(rest, at)
        name = self._name(written["kind"], key) if voice is None else voice.name
        yield _event(at, "part.done", {"partId": name, "part": written})

    def _reasoning(self, key: str, part: ReasoningPart) -> dict[str, Any]:
        written = {"kind": "reasoning", "_id": self._name("reasoning", key), "reasoning": part.text}
        return {**written, "signature": part.signature} if part.signature else written

    def _name(self, kind: str, key: str) -> str:
        return part_name(kind, self._response_id, key)

    # -- tools

    def _tools(self, event: Event, at: float) -> Iterator[Frame]:
        match event:
            case ReviewRequested(call_id=key, tool=tool, arguments=arguments):
                self._called(key, tool)
                yield self._asked(at, "tool.review.requested", key, arguments, requiresApproval=True)
            case ReviewDone(call_id=key, verdict=verdict):
                self._called(key).refused = verdict != "approved"
                review = "approved" if verdict == "approved" else "rejected"
                yield self._of(at, "tool.review.done", key, review=review)
            case ToolStarted(call_id=key, tool=tool, arguments=arguments):
                self._called(key, tool).started = True
                yield self._asked(at, "tool.started", key, arguments)
            case ToolDone(call_id=key, result=result):
                yield self._of(at, "tool.done", key, result=result)
            case ToolFailed(call_id=key, error=error) if not self._called(key).refused:
                yield from self._failed(at, key, error)
            case _:
                pass

    def _failed(self, at: float, call_id: str, error: str) -> Iterator[Frame]:
        """Say that a tool failed. One that failed before it ran is said to have started: the two pair."""
        call = self._called(call_id)
        if not call.started:
            arguments = None if call.part is None else parsed_arguments(call.part)
            yield self._asked(at, "tool.started", call_id, arguments)
        yield self._of(at, "tool.failed", call_id, error=error)

    def _called(self, call_id: str, tool: str = "") -> _Call:
        call = self._calls.setdefault(call_id, _Call(_NAMELESS))
        call.tool = tool or call.tool
        return call

    def _asked(self, at: float, kind: str, call_id: str, arguments: Any, **members: Any) -> Frame:
        named = {"toolName": self._called(call_id).tool, "arguments": arguments}
        if not isinstance(arguments, dict):
            named["arguments"] = {}
        return self._of(at, kind, call_id, **named, **members)

    def _of(self, at: float, kind: str, call_id: str, **members: Any) -> Frame:
        """Say something of a tool; it is known by its name."""
        return _event(at, kind, {"toolId": self._called(call_id).tool, "toolCallId": call_id, **members})


def _event(at: float, kind: str, data: dict[str, Any]) -> Frame:
    return Frame(checked(jsontext.encode({"type": kind, "timestamp": moment(at), "data": data})))
