"""
Records of generation 1 to events (section 1a of the contract).

``message_stop`` is the end, and a failure if that is its reason; an end of the
body before it is a truncation. Data comes as pieces of JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...events import DataPart, Event, TextPart
from ...wire import Frame
from .heard import Heard
from .record import Record, is_whole, read_record
from .words import read_usage

__all__ = ["Decoder"]

_IDLE: Final = ("keepalive", "ping", "")


class Decoder:
    """See :class:`penstock.dialects.Decoder`."""

    def __init__(self, *, structured: bool = False) -> None:
        """``structured``: the content is the JSON of a data part."""
        self._content: TextPart | DataPart = DataPart() if structured else TextPart()
        self._heard = Heard()

    def decode(self, frame: Frame) -> Iterator[Event]:
        if self._heard.ended:
            return
        record = read_record(frame.data)
        if record.event not in _IDLE:
            yield from self._heard.start(record.response_id, record.model)
            yield from self._record(record)

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if unfinished is not None and is_whole(unfinished.data):
            yield from self.decode(unfinished)
        if not self._heard.ended:
            yield from self._heard.cut("message_stop")

    def _record(self, record: Record) -> Iterator[Event]:
        heard = self._heard
        match record.event:
            case "message_delta" if record.text_delta:
                yield from heard.say(self._content, record.text_delta)
            case "tool_use_start" | "tool_use_delta" if record.tool_call_delta is not None:
                yield from heard.call(record.tool_call_delta)
            case "tool_use_stop":
                yield from heard.finish(record.tool_calls or ())
            case "message_stop" if record.stop_reason == "error":
                message = "the upstream says that the answer failed, not why"
                yield from heard.fail("upstream", message, usage=read_usage(record.usage))
            case "message_stop":
                yield from heard.finish(record.tool_calls or ())
                yield from heard.end(record.stop_reason or "", read_usage(record.usage))
            case _:
                pass
