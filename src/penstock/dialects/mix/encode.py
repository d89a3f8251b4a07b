"""
Events to the events of a session (sections 3 to 5 of the contract).

A turn begins with what the user said and ends in one ``complete``. The model's
words are told as they come, one part of a kind at a time: pieces of text do not
say which part they are of. What fails, or is stopped, is an ``error`` and a
``complete`` in the frames of one record, which no reader gets apart.

A message that waits is told when its turn comes: it would else stand in the
middle of somebody else's.

Lost: results of tools, sources, usage, why an answer ended, all choices but the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from ...events import (
    ROUND_DONE,
    Custom,
    DataPart,
    Event,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
)
from ...serial import Serial
from ...snapshot import text_of
from ...wire import Frame, jsontext
from .. import Spoken
from .generations import GENERATIONS
from .message import Message
from .permission import permission_members
from .words import message_name, text_in

__all__ = ["LONGEST", "Encoder"]

LONGEST: Final = 5 * 1024
"""
Characters in one piece. Escaped to ASCII one character has 12 bytes at most: less
than the 64 KiB that a block should have (section 9), whatever it says.
"""

_KINDS: Final[dict[type[Part], str]] = {
    TextPart: "content",
    RefusalPart: "content",
    DataPart: "content",
    ReasoningPart: "thinking",
    ToolCallPart: "call",
}


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self, *, generation: str = "") -> None:
        """``generation``: what the reader's SDK is of, one of ``generations.GENERATIONS``."""
        self._renaming = GENERATIONS[generation]
        self._begin("")

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta and event.part_id == self._speaking and len(event.delta) <= LONGEST:
            self._open[event.part_id].sent += len(event.delta)
            return (self._content(event.delta),)
        return self._rarely(event, record.at)

    def _begin(self, response_id: str) -> None:
        self._response_id = response_id
        self._round = 0
        self._message: Message | None = None
        """The last one that has begun."""
        self._fresh = True
        """Whether what the model says next is another message."""
        self._suffix = b"}"
        """What ends the data of what the message says."""
        self._serials = {kind: Serial() for kind in ("content", "thinking", "call")}
        self._open: dict[str, _Open] = {}
        self._speaking = ""
        """The part of the content whose deltas are told at once."""
        self._tools: dict[str, str] = {}
        """Names of tools by call."""
        self._begun: set[str] = set()
        """Calls whose execution was said to have begun."""

    def _rarely(self, event: Event, at: float) -> Iterator[Frame]:
        """Encode anything but a delta of the content."""
        match event:
            case MessageAdded(request=UnsetType()):
                yield from self._asked(event)
            case ResponseStarted(response_id=response_id, answers=message):
                self._begin(response_id)
                yield from self._asked(message)
            case PartStarted(part_id=key, part=part, choice=0):
                yield from self._part_begins(key, part, event, at)
            case PartDelta(part_id=key) | PartDone(part_id=key) if key in self._open:
                yield from self._part_goes_on(key, event, at)
            case Custom(name=name) if name == ROUND_DONE:
                self._round, self._fresh = self._round + 1, True
            case ReviewRequested() | ToolStarted() | ToolDone() | ToolFailed():
                yield from self._execution(event)
            case ResponseDone() | ResponseFailed():
                yield from self._end(event)
            case _:
                pass

    def _asked(self, message: MessageAdded | UnsetType) -> Iterable[Frame]:
        if message is UNSET or message.role != "user":
            return ()
        members = {"messageId": message.message_id, "content": text_in(message)}
        return self._say("user_message_created", members)

    def _say(self, kind: str, members: dict[str, Any]) -> Iterable[Frame]:
        """Return an event as this generation has it."""
        renamed = self._renaming.get(kind, (kind, {}))
        if renamed is None:
            return ()
        name, more = renamed
        return (Frame(jsontext.encode({"type": name, **members, **more}), name),)

    # -- what the model says

    def _part_begins(self, key: str, part: Part, event: PartStarted, at: float) -> Iterator[Frame]:
        if self._fresh or self._message is None:
            self._fresh = False
            self._message = Message(message_name(self._response_id, self._round))
            self._suffix = b',"assistantMessageId":%b}' % jsontext.quote(self._message.name)
        if isinstance(part, ReasoningPart):
            self._message.thinks(at)
        if (kind := _KINDS.get(type(part))) is not None:
            self._open[key] = _Open(part, kind)
            for passed in self._serials[kind].feed(event):
                yield from self._tell(passed)

    def _part_goes_on(self, key: str, event: PartDelta | PartDone, at: float) -> Iterator[Frame]:
        kind = self._open[key].kind
        if isinstance(event, PartDone) and kind == "thinking" and self._message is not None:
            self._message.thought(at)
        for passed in self._serials[kind].feed(event):
            yield from self._tell(passed)

    def _tell(self, event: Event) -> Iterator[Frame]:
        match event:
            case PartStarted(part_id=key, part=part):
                begun = self._open[key]
                if isinstance(part, ToolCallPart):
                    self._tools[part.call_id] = part.tool
                    yield from self._call("tool_use_start", {"name": part.tool, "id": part.call_id})
                elif begun.kind == "content":
                    self._speaking = key
                yield from self._pieces(begun, text_of(part))
            case PartDelta(part_id=key, delta=delta):
                yield from self._pieces(self._open[key], delta)
            case PartDone(part_id=key, part=part):
                yield from self._part_ends(self._open.pop(key), part)
            case _:
                pass

    def _part_ends(self, begun: _Open, part: Part) -> Iterator[Frame]:
        """Tell what no delta told, for a part may come whole. A value is spelled once only."""
        match part:
            case ToolCallPart(call_id=call_id, tool=tool):
                self._tools[call_id] = tool
                arguments = part.arguments if part.arguments.strip() else "{}"
                if begun.sent:  # else the whole of it is enough
                    yield from self._pieces(begun, arguments[begun.sent :])
                whole = {"name": tool, "id": call_id, "input": arguments}
                yield from self._call("tool_use_parameter_streaming_complete", whole)
            case DataPart(value=value) if value is not UNSET and begun.sent:
                pass
            case _:
                yield from self._pieces(begun, text_of(part)[begun.sent :])
        if begun.kind == "content":
            self._speaking = ""

    def _pieces(self, begun: _Open, text: str) -> Iterator[Frame]:
        begun.sent += len(text)
        for at in range(0, len(text), LONGEST):
            yield from self._piece(begun.part, text[at : at + LONGEST])

    def _piece(self, part: Part, text: str) -> Iterable[Frame]:
        match part:
            case ToolCallPart(call_id=call_id):
                return self._call("tool_use_parameter_delta", {"toolCallId": call_id, "input": text})
            case ReasoningPart():
                return (self._thought(text),)
            case _:
                return (self._content(text),)

    def _content(self, text: str) -> Frame:
        assert self._message is not None, "a message begins with its first part"
        self._message.content.add(text)
        return Frame(_CONTENT % (jsontext.quote(text), self._suffix), "content")

    def _thought(self, text: str) -> Frame:
        assert self._message is not None, "a message begins with its first part"
        self._message.reasoning.add(text)
        return Frame(_THINKING % (jsontext.quote(text), self._suffix), "thinking")

    def _call(self, kind: str, members: dict[str, Any]) -> Iterable[Frame]:
        assert self._message is not None, "a message begins with its first part"
        return self._say(kind, {**members, "assistantMessageId": self._message.name})

    # -- what the server does about it

    def _execution(self, event: ReviewRequested | ToolStarted | ToolDone | ToolFailed) -> Iterator[Frame]:
        call_id = event.call_id
        if isinstance(event, ReviewRequested | ToolStarted):
            self._tools[call_id] = event.tool
        tool = {"toolName": self._tools.get(call_id, "tool")}
        if call_id not in self._begun:
            self._begun.add(call_id)
            start = {**tool, "progress": f"Executing {tool['toolName']}", "toolCallId": call_id}
            yield from self._say("tool_execution_start", start)
        match event:
            case ReviewRequested():
                yield from self._say("permission", permission_members(self._response_id, event))
            case ToolDone() | ToolFailed():
                success = isinstance(event, ToolDone)
                progress = f"{'Completed' if success else 'Failed'} {tool['toolName']}"
                end = {**tool, "progress": progress, "success": success, "toolCallId": call_id}
                yield from self._say("tool_execution_complete", end)
            case _:
                pass

    # -- the end

    def _end(self, event: ResponseDone | ResponseFailed) -> Iterator[Frame]:
        for serial in self._serials.values():
            for passed in serial.feed(event):
                yield from self._tell(passed)
        yield from self._wrong(event)
        said = {} if self._message is None else self._message.members()
        yield from self._say("complete", {"done": True, **said})

    def _wrong(self, event: ResponseDone | ResponseFailed) -> Iterable[Frame]:
        """Return what went wrong: the ``type`` of this event is not its name, but says what it was."""
        match event:
            case ResponseDone(finish_reason="cancelled"):
                return self._say("error", {"error": "the answer was stopped", "type": "cancelled"})
            case ResponseFailed(code=code, message=message):
                said = {"error": message or code or "the answer failed", "type": code or "error"}
                return self._say("error", said)
            case _:
                return ()


class _Open(Struct):
    """A part that has begun and not ended."""

    part: Part
    kind: str
    sent: int = 0
    """Characters."""


_CONTENT: Final = b'{"type":"content","content":%b%b'
_THINKING: Final = b'{"type":"thinking","content":%b%b'
