"""
Events to the chunks of v3 (section 5 of the contract).

Content as text, tool calls, ``done`` with the usage, then ``event: complete``
with the final value and ``[DONE]``. A response that fails ends in an ``error``
chunk and in neither of those: they are how callers know that all was well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import UNSET

from ...events import (
    ATTEMPT_FAILED,
    Custom,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ToolCallPart,
)
from ...requests import served
from ...snapshot import text_of
from ...wire import Frame, jsontext
from .. import Spoken
from .answer import complete, usage_v3
from .content import Content, Pieces

__all__ = ["Encoder"]

_CONTENT: Final = b'{"type":"content","delta":'
_ARGUMENTS: Final = b'{"type":"tool_call_delta","tool_call_index":%d,"tool_call_args":'


class Encoder:
    """See :class:`penstock.dialects.Encoder`. Tool calls are told apart by their index, and may overlap."""

    def __init__(self) -> None:
        self._began = ResponseStarted("")
        self._at = 0.0
        self._content = Content()
        self._speaking: dict[str, Pieces] = {}
        """Parts whose deltas are said at once: the content's open one, and all open calls."""
        self._calls = 0
        """Tool calls begun."""
        self._attempts = 1
        """Calls of models: a failed one is in the log."""
        self._served: frozenset[str] = frozenset()
        """Tools whose calls are not told, as the server runs them."""
        self._parts: dict[str, Part] = {}
        """Content and calls of the first choice, in the order in which they began."""

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta and (pieces := self._speaking.get(event.part_id)) is not None:
            return pieces.say(event.delta)
        return self._rarely(event, record.at)

    def _rarely(self, event: Event, at: float) -> Iterator[Frame]:
        """Encode anything but a delta of a part that speaks."""
        match event:
            case ResponseStarted():
                self._began, self._at, self._attempts = event, at, 1
                self._served = served(event.request)
                self._content, self._speaking, self._calls, self._parts = Content(), {}, 0, {}
            case Custom(name=name) if name == ATTEMPT_FAILED:
                self._attempts += 1
            case PartStarted(part_id=key, part=ToolCallPart() as call, choice=0) if (
                call.tool not in self._served
            ):
                yield from self._begin_call(key, call)
            case PartDone(part_id=key, part=ToolCallPart() as call) if key in self._speaking:
                yield from self._end(key, call)
            case _:
                for passed in self._content.feed(event):
                    yield from self._say(passed, at)

    def _begin_call(self, key: str, call: ToolCallPart) -> Iterator[Frame]:
        index, self._calls = self._calls, self._calls + 1
        start = {
            "type": "tool_call_start",
            "tool_call_index": index,
            "tool_call_id": call.call_id,
            "tool_call_name": call.tool,
        }
        yield Frame(jsontext.encode(start))
        yield from self._begin(key, call, call.arguments, Pieces(_ARGUMENTS % index, b"}"))

    def _say(self, event: Event, at: float) -> Iterator[Frame]:
        """Say something of the content, or the end."""
        match event:
            case PartStarted(part_id=key, part=part):
                yield from self._begin(key, part, text_of(part), Pieces(_CONTENT, b"}"))
            case PartDelta(part_id=key, delta=delta):
                yield from self._speaking[key].say(delta)
            case PartDone(part_id=key, part=part):
                yield from self._end(key, part)
            case ResponseDone():
                yield from self._done(event, at)
            case ResponseFailed(message=message):
                yield Frame(b'{"type":"error","error":%b}' % jsontext.quote(message))
            case _:
                pass

    def _begin(self, key: str, part: Part, begun: str, pieces: Pieces) -> Iterable[Frame]:
        self._parts[key], self._speaking[key] = part, pieces
        return pieces.say(begun) if begun else ()

    def _end(self, key: str, part: Part) -> Iterable[Frame]:
        self._parts[key] = part
        return self._speaking.pop(key).complete(part)

    def _done(self, end: ResponseDone, at: float) -> Iterator[Frame]:
        usage = {} if end.usage is UNSET else {"usage": usage_v3(end.usage)}
        yield Frame(jsontext.encode({"type": "done", **usage}))
        parts = list(self._parts.values())
        whole = complete(self._began, parts, end, at - self._at, self._attempts)
        yield Frame(jsontext.encode(whole), "complete")
        yield Frame(b"[DONE]")
