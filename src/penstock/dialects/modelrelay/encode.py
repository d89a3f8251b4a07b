"""
Events to the records of ``responses-stream/v2`` (section 5 of the contract).

One ``start``, content, one ``completion`` or ``error``. What SDKs read where is
so different that everything is said twice: deltas and the whole content, tool
deltas and finished calls, ids at the beginning and at the end.

A response that was asked for with a schema is a *structured* one: its data is
said as patches, and nothing else has a record of its own, because the
TypeScript SDK throws at any. If it ends without a value it has failed.

Lost: tool executions, reviews, all choices but the first; of structured
responses reasoning, and text beside the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET

from ...events import (
    DataPart,
    Event,
    FinishReason,
    PartDelta,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    SourcePart,
)
from ...wire import Frame, jsontext
from .. import Spoken
from .patches import Patches
from .text import Text
from .turn import (
    CONTENT,
    LONGEST,
    CallBegun,
    CallDone,
    CallPiece,
    Piece,
    Thought,
    Told,
    Turn,
    Value,
)
from .words import STOP, failure, write_call, write_usage

__all__ = ["PROVIDER", "Encoder"]

PROVIDER: Final = "penstock"
"""Who answers, where nobody has said."""

_MOST: Final = 1_000_000
"""Bytes of content in a ``completion``, for which a record has room; readers of more have the deltas."""


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self, *, provider: str = PROVIDER) -> None:
        self._provider = provider
        self._ids: dict[str, str] = {}
        self._turn = Turn()
        self._voice: _Plain | _Structured = _Plain()

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta and self._turn.says(event):
            return self._voice.say(event.delta)
        return self._rarely(event)

    def _rarely(self, event: Event) -> Iterator[Frame]:
        """Encode anything but a delta of the content."""
        if isinstance(event, ResponseStarted):
            yield self._start(event)
        for told in self._turn.feed(event):
            yield from self._voice.tell(told)
        match event:
            case ResponseDone():
                yield self._done(event)
            case ResponseFailed():
                yield from self._voice.rest()
                yield _frame("error", failure(event))
            case _:
                pass

    def _start(self, event: ResponseStarted) -> Frame:
        structured = event.request is not UNSET and "output_schema" in event.request
        self._turn = Turn(event.request, (DataPart,) if structured else CONTENT)
        self._voice = _Structured() if structured else _Plain()
        self._ids = {"request_id": event.response_id, "model": event.model, "provider": self._provider}
        mode = "structured-patch" if structured else "text-delta"
        return _frame("start", {**self._ids, "stream_mode": mode, "stream_version": "v2"})

    def _done(self, event: ResponseDone) -> Frame:
        calls = [write_call(call) for call in self._turn.calls.values()]
        content = self._voice.content(expected=not calls)
        if content is None:
            return _frame("error", failure(_valueless(event.finish_reason)))
        sources = [_cited(source) for source in self._turn.sources.values()]
        optional = {"tool_calls": calls, "citations": sources}
        members = {
            **self._ids,
            **content,
            "stop_reason": STOP[event.finish_reason],
            "usage": write_usage(event.usage),
            **{key: value for key, value in optional.items() if value},
        }
        return _frame("completion", members)


class _Plain:
    """Says the content as text, and all else as it comes (sections 5.2 and 5.3)."""

    __slots__ = ("_content",)

    def __init__(self) -> None:
        self._content = Text(_MOST)

    def say(self, text: str) -> Iterable[Frame]:
        """Say some of the content."""
        self._content.add(text)
        return (Frame(b'{"type":"update","delta":%b}' % jsontext.quote(text), "update"),)

    def tell(self, told: Told) -> Iterable[Frame]:
        match told:
            case Piece(text=text):
                return self.say(text)
            case Thought(text=text):
                return (Frame(_THOUGHT % jsontext.quote(text), "reasoning_delta"),)
            case CallBegun(index=index, call=call):
                function = {"name": call.tool, "arguments": ""}
                begun = {"index": index, "id": call.call_id, "type": "function", "function": function}
                return (_frame("tool_use_start", {"tool_call_delta": begun}),)
            case CallPiece(index=index, text=text):
                return (Frame(_ARGUMENTS % (index, jsontext.quote(text)), "tool_use_delta"),)
            case CallDone(call=call):
                return (_frame("tool_use_stop", {"tool_calls": [write_call(call)]}),)
            case _:
                return ()

    def rest(self) -> Iterable[Frame]:
        """Say what waits."""
        return ()

    def content(self, *, expected: bool) -> dict[str, Any] | None:
        """Return the content as members of the completion."""
        whole = self._content.whole()
        if not whole or len(jsontext.quote(whole)) > _MOST:
            return {}  # an empty one would be taken for the text
        return {"content": whole}


_THOUGHT: Final = b'{"type":"reasoning_delta","reasoning_delta":%b}'
_ARGUMENTS: Final = b'{"type":"tool_use_delta","tool_call_delta":{"index":%d,"function":{"arguments":%b}}}'


class _Structured:
    """Says data as patches, and its JSON text beside them for those who read text (section 5.4)."""

    __slots__ = ("_content", "_listed", "_over", "_patches", "_value", "_waiting")

    def __init__(self) -> None:
        self._patches = Patches()
        self._content = Text(_MOST)
        self._waiting = Text()
        """Text whose patch is not due."""
        self._listed = b"[]"
        """The complete fields that were said last."""
        self._value: Any = UNSET
        self._over = False
        """Whether the data is complete; more of it would be another answer."""

    def say(self, text: str) -> Iterable[Frame]:
        """Say some of the data's text."""
        if self._over:
            return ()
        self._content.add(text)
        self._waiting.add(text)
        self._patches.feed(text)
        if self._patches.due:
            return self._update(self._patches.patch())
        return self.rest() if self._waiting.size >= LONGEST else ()

    def tell(self, told: Told) -> Iterable[Frame]:
        match told:
            case Piece(text=text):
                return self.say(text)
            case Value(part=part) if not self._over:
                self._over = True
                self._value = part.value
                return self._complete()
            case _:
                return ()

    def rest(self) -> Iterable[Frame]:
        """Say the text that waits, though its patch is not due."""
        text, self._waiting = self._waiting.whole(), Text()
        return [_update(text[at : at + LONGEST], b"", self._listed) for at in range(0, len(text), LONGEST)]

    def content(self, *, expected: bool) -> dict[str, Any] | None:
        """Return the data as members of the completion; None if it is ``expected`` and not there."""
        if self._value is UNSET and (expected or self._over):
            return None
        value = {} if self._value is UNSET else self._value
        text = "" if self._value is UNSET else self._content.whole()
        fits = text and len(jsontext.quote(text)) + len(jsontext.encode(value)) <= _MOST
        return {
            **({"content": text} if fits else {}),
            "payload": value,
            "complete_fields": self._patches.complete,
        }

    def _complete(self) -> Iterable[Frame]:
        """Say what is left; the document is the value then, whatever its text was."""
        patches = self._patches
        whole = patches.close()
        if self._value is UNSET or (whole and self._agrees() and patches.due):
            patch = patches.patch() if patches.due else b""
        else:
            patch = patches.replacement(self._value)
        return self._update(patch) if patch or self._waiting.size else ()

    def _agrees(self) -> bool:
        """Whether the text is that of the value; one that is too long to be kept is trusted."""
        return self._content.lost or bool(jsontext.decode(self._content.whole()) == self._value)

    def _update(self, patch: bytes) -> list[Frame]:
        text, self._waiting = self._waiting.whole(), Text()
        last = max(0, (len(text) - 1) // LONGEST * LONGEST)
        before = [_update(text[at : at + LONGEST], b"", self._listed) for at in range(0, last, LONGEST)]
        self._listed = jsontext.encode(self._patches.complete)
        return [*before, _update(text[last:], patch, self._listed)]


def _update(text: str, patch: bytes, listed: bytes) -> Frame:
    delta = b'"delta":%b,' % jsontext.quote(text) if text else b""
    return Frame(b'{"type":"update",%b"patch":[%b],"complete_fields":%b}' % (delta, patch, listed), "update")


def _frame(kind: str, members: dict[str, Any]) -> Frame:
    return Frame(jsontext.encode({"type": kind, **members}), kind)


def _cited(source: SourcePart) -> dict[str, str]:
    return {"url": source.url, "title": source.title}


def _valueless(reason: FinishReason) -> ResponseFailed:
    """Return the failure that a structured response without a value is."""
    return ResponseFailed("output_invalid", f"the answer ended ({STOP[reason]}) without a whole JSON value")
