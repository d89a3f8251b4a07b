"""
Records of ``responses-stream/v2`` to events (section 10 of the contract).

The first ``completion`` or ``error`` is the end; an end of the body before it is
a truncation. What is not known is skipped; ids may stand on any record; the
completion is right where it and the deltas disagree.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from ...events import DataPart, Event, ReasoningPart, TextPart
from ...wire import Frame
from .document import Document
from .heard import Heard
from .record import Record, is_whole, read_record
from .words import read_usage

__all__ = ["Decoder"]

_IDLE = ("keepalive", "ping", "")


class Decoder:
    """See :class:`penstock.dialects.Decoder`."""

    def __init__(self, *, structured: bool = False) -> None:
        """``structured``: the content is the JSON of a data part."""
        self._content: TextPart | DataPart = DataPart() if structured else TextPart()
        self._heard = Heard()
        self._document = Document()
        self._spelled = self._patched = False
        """Whether data comes as text, or as patches that have no text beside them."""

    def decode(self, frame: Frame) -> Iterator[Event]:
        if self._heard.ended:
            return
        record = read_record(frame.data)
        if record.type in _IDLE:
            return
        if record.type == "start" and record.stream_mode == "structured-patch":
            self._content = DataPart()
        yield from self._heard.start(record.request_id, record.model)
        yield from self._record(record)

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if unfinished is not None and is_whole(unfinished.data):
            yield from self.decode(unfinished)
        if not self._heard.ended:
            yield from self._heard.cut("completion")

    def _record(self, record: Record) -> Iterator[Event]:
        heard = self._heard
        match record.type:
            case "update":
                yield from self._update(record)
            case "reasoning_delta" if record.reasoning_delta:
                yield from heard.say(ReasoningPart(), record.reasoning_delta)
            case "tool_use_start" | "tool_use_delta" if record.tool_call_delta is not None:
                yield from heard.call(record.tool_call_delta)
            case "tool_use_stop":
                calls = record.tool_calls or ([record.tool_call] if record.tool_call else [])
                yield from heard.finish(calls, record.tool_result)
            case "completion":
                yield from self._complete(record)
            case "error":
                message = record.message or "the upstream reported an error"
                yield from heard.fail(record.code or "upstream", message, record.status or 502)
            case _:
                pass

    def _update(self, record: Record) -> Iterator[Event]:
        text = ""
        if record.delta and not self._patched:
            self._spelled, text = True, record.delta
        elif record.patch and not self._spelled:
            self._patched, text = True, self._document.patch(record.patch)
        if text:
            yield from self._heard.say(self._content, text)

    def _complete(self, record: Record) -> Iterator[Event]:
        heard, calls = self._heard, record.tool_calls or ()
        whole: TextPart | DataPart | None
        if self._patched:
            yield from heard.say(self._content, self._document.close())
        if isinstance(self._content, TextPart):
            whole = TextPart(record.content) if record.content else None
        else:
            value = self._document.value if self._patched and record.payload is UNSET else record.payload
            instead = value == {} and bool(calls)  # nothing was asked for but calls: it stands for no value
            whole = None if value is UNSET or (instead and not heard.spoken) else DataPart(value)
        if whole is not None:
            yield from heard.settle(whole, record.content or "")
        elif record.content and not heard.spoken:
            yield from heard.say(self._content, record.content)
        yield from heard.finish(calls)
        for source in record.citations or ():
            yield from heard.cite(source.get("url"), source.get("title"))
        yield from heard.end(record.stop_reason or "", read_usage(record.usage))
