"""
Events of a session, of any server of this wire, to events of ours (section 9 of the contract).

Of one connection there are many turns. A turn is a response: it begins with what
the user said, or with whatever is heard first, and ends with ``complete``, or
with an ``error`` before it: there are servers that say no more after that.

What is not known is skipped; so is what is of a connection, and what a sub-agent
says, whose ``complete`` is not that of the turn. Results of tools are not on this wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import DecodeError, json

from ...errors import RemoteProtocolError
from ...events import (
    DataPart,
    Event,
    MessageAdded,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
)
from ...wire import Frame, jsontext
from .heard import Heard

__all__ = ["Decoder"]


class Decoder:
    """See :class:`penstock.dialects.Decoder`. Reads one turn or many."""

    def __init__(self, *, structured: bool = False) -> None:
        """``structured``: the content is the JSON of a data part."""
        self._content: TextPart | DataPart = DataPart() if structured else TextPart()
        self._turn: Heard | None = None
        self._count = 0
        """Of turns."""
        self._failed = False
        """Whether the last turn has failed, and nothing was heard since."""
        self._waiting: list[str] = []
        """Messages of the user's whose turn has not come, by id."""

    def decode(self, frame: Frame) -> Iterator[Event]:
        read = _EVENTS.get(frame.event)
        if read is None:
            return
        data = _members(frame.data)
        if not data.get("parentToolCallId"):
            yield from read(self, data)

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if self._turn is None and not self._count:
            yield from self._begin("")
        if self._turn is not None:
            self._turn = None
            yield ResponseFailed("truncated", "the stream ended before its turn did", retryable=True)

    def _begin(self, message: str) -> Iterator[Event]:
        """Take it that a turn has begun, if none is under way."""
        self._failed = False
        if self._turn is None:
            self._turn = Heard()
            self._count += 1
            asked = self._waiting.pop(0) if self._waiting else ""
            name = asked or message
            yield ResponseStarted(f"{name}.answer" if name else f"answer_{self._count}")

    # -- events by name

    def _asked(self, data: Mapping[str, Any]) -> Iterator[Event]:
        message_id = _text(data, "messageId")
        yield MessageAdded("user", (TextPart(_text(data, "content")),), message_id)
        self._waiting.append(message_id)
        yield from self._begin("")

    def _thinking(self, data: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._say(ReasoningPart(), data)

    def _saying(self, data: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._say(self._content, data)

    def _say(self, kind: TextPart | DataPart | ReasoningPart, data: Mapping[str, Any]) -> Iterator[Event]:
        message = _text(data, "assistantMessageId")
        yield from self._begin(message)
        yield from self._heard.say(kind, _text(data, "content"), message)

    def _call(self, data: Mapping[str, Any]) -> Iterator[Event]:
        message = _text(data, "assistantMessageId")
        yield from self._begin(message)
        yield from self._heard.call(_text(data, "id"), _text(data, "name"), message)

    def _call_piece(self, data: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._begin(_text(data, "assistantMessageId"))
        yield from self._heard.call_piece(_text(data, "toolCallId"), _text(data, "input"))

    def _call_whole(self, data: Mapping[str, Any]) -> Iterator[Event]:
        message = _text(data, "assistantMessageId")
        yield from self._begin(message)
        said = _text(data, "id"), _text(data, "name"), _text(data, "input")
        yield from self._heard.call_whole(*said, message)

    def _tool(self, data: Mapping[str, Any]) -> Iterator[Event]:
        """A call as older servers say it: once when it begins, once when it is whole."""
        yield from self._call_whole(data) if data.get("status") == "completed" else self._call(data)

    def _execution(self, data: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._begin("")
        yield from self._heard.execution(_text(data, "toolCallId"), _text(data, "toolName"))

    def _executed(self, data: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._begin("")
        call_id, tool = _text(data, "toolCallId"), _text(data, "toolName")
        success, progress = data.get("success") is True, _text(data, "progress")
        yield from self._heard.executed(call_id, tool, success, progress)

    def _permission(self, data: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._begin("")
        params = data.get("params")
        arguments = params if isinstance(params, dict) and params else None
        yield from self._heard.permission(_text(data, "id"), _text(data, "toolName"), arguments)

    def _error(self, data: Mapping[str, Any]) -> Iterator[Event]:
        if self._failed or data.get("attempt") is not None:
            return  # it was said, or it is going to be tried again
        yield from self._begin("")
        message, code = _text(data, "error"), _text(data, "type")
        if code == "cancelled":
            yield from self._heard.close()
            end: Event = ResponseDone("cancelled")
        else:
            again = code == "interrupted" or data.get("retryAfter") is not None
            code = code if code != "error" else ""  # its own name says nothing
            end = ResponseFailed(code or "upstream", message or "the upstream reported an error", again)
        self._turn, self._failed = None, True
        yield end

    def _complete(self, data: Mapping[str, Any]) -> Iterator[Event]:
        if self._failed:
            return  # of the turn that has failed
        message = _text(data, "messageId")
        yield from self._begin(message)
        if isinstance(self._content, TextPart):
            yield from self._heard.settle(_text(data, "content"), _text(data, "reasoning"), message)
        yield from self._heard.close()
        self._turn = None
        yield ResponseDone("stop")

    @property
    def _heard(self) -> Heard:
        assert self._turn is not None, "it has begun"
        return self._turn


_EVENTS: Final[dict[str, Callable[[Decoder, Mapping[str, Any]], Iterator[Event]]]] = {
    "user_message_created": Decoder._asked,
    "thinking": Decoder._thinking,
    "content": Decoder._saying,
    "tool_use_start": Decoder._call,
    "tool_use_parameter_delta": Decoder._call_piece,
    "tool_use_parameter_streaming_complete": Decoder._call_whole,
    "tool": Decoder._tool,
    "tool_parameter_delta": Decoder._call_piece,
    "tool_execution_start": Decoder._execution,
    "tool_execution_complete": Decoder._executed,
    "permission": Decoder._permission,
    "error": Decoder._error,
    "complete": Decoder._complete,
}


def _members(data: bytes) -> dict[str, Any]:
    """Return the data of an event. Raises: RemoteProtocolError."""
    try:
        try:
            value = json.decode(data)
        except (DecodeError, UnicodeDecodeError, RecursionError):  # half a surrogate pair may be forgiven
            value = jsontext.scrub(jsontext.decode(data))
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError(f"not the data of an event: {exc}") from exc
    if not isinstance(value, dict):
        raise RemoteProtocolError("the data of an event is not an object")
    return value


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
