"""
Events to the records of generation 1, the published ``NdjsonStreamEvent`` (section 1a of the contract).

Every record is valid by ``modelrelay-v1.schema.json``: what has no place there,
or no value, is left out. There is no record for errors, so that the connection
is broken after a ``message_stop`` that says ``error``.

Lost: reasoning, sources, tool executions, reviews, all choices but the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, UnsetType

from ...events import (
    Event,
    PartDelta,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ToolCallPart,
    Usage,
)
from ...wire import Frame, jsontext
from .. import Spoken
from .turn import CallBegun, CallDone, CallPiece, Piece, Told, Turn
from .words import STOP

__all__ = ["Encoder"]

_MODEL, _NAME, _ID = 128, 128, 256
"""Characters that the schema allows."""

_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ARGUMENTS: Final = b'{"event":"tool_use_delta","tool_call_delta":{"index":%d,"function":{"arguments":%b}}}'


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self) -> None:
        self._turn = Turn()

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta and self._turn.says(event):
            return (_text(event.delta),)
        return self._rarely(event)

    def _rarely(self, event: Event) -> Iterator[Frame]:
        """Encode anything but a delta of the content."""
        if isinstance(event, ResponseStarted):
            self._turn = Turn(event.request)
            yield _started(event)
        for told in self._turn.feed(event):
            yield from _told(told)
        match event:
            case ResponseDone(finish_reason=reason, usage=usage):
                yield self._stopped(STOP[reason], usage)
            case ResponseFailed(usage=usage):
                yield self._stopped("error", usage)
            case _:
                pass

    def _stopped(self, reason: str, usage: Usage | UnsetType) -> Frame:
        calls = [_call(index, call) for index, call in self._turn.calls.items()]
        counted = {} if usage is UNSET else {"usage": _usage(usage)}
        return _frame(
            "message_stop", {"stop_reason": reason, **counted, **({"tool_calls": calls} if calls else {})}
        )


def _started(event: ResponseStarted) -> Frame:
    model = {"model": event.model} if 0 < len(event.model) <= _MODEL else {}
    asked = {} if event.request is UNSET else event.request
    state = asked.get("extra", {}).get("state_id")
    handle = {"state_id": state} if isinstance(state, str) and _UUID.fullmatch(state) else {}
    return _frame("message_start", {"response_id": event.response_id, **model, **handle})


def _told(told: Told) -> Iterable[Frame]:
    match told:
        case Piece(text=text):
            return (_text(text),)
        case CallBegun(index=index, call=call):
            begun = _call(index, call)
            del begun["function"]["arguments"]
            return (_frame("tool_use_start", {"tool_call_delta": {"index": index, **begun}}),)
        case CallPiece(index=index, text=text):
            return (Frame(_ARGUMENTS % (index, jsontext.quote(text)), "tool_use_delta"),)
        case CallDone(index=index, call=call):
            return (_frame("tool_use_stop", {"tool_calls": [_call(index, call)]}),)
        case _:
            return ()


def _text(text: str) -> Frame:
    return Frame(b'{"event":"message_delta","text_delta":%b}' % jsontext.quote(text), "message_delta")


def _call(index: int, call: ToolCallPart) -> dict[str, Any]:
    """Return a call as the schema allows it: neither an id nor a name is empty."""
    name = {"name": call.tool[:_NAME]} if call.tool else {}
    return {
        "id": call.call_id[:_ID] or f"call_{index}",
        "type": "function",
        "function": {**name, "arguments": call.arguments},
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _frame(kind: str, members: dict[str, Any]) -> Frame:
    return Frame(jsontext.encode({"event": kind, **members}), kind)
