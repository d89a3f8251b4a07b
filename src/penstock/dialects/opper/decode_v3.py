"""
Chunks of v3 to events (section 5 of the contract).

``event: complete`` is authoritative over the deltas before it. A stream that
ends with neither it nor ``[DONE]`` was cut, however cleanly it was closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any, Final, get_args

from msgspec import UNSET, Struct, UnsetType

from ...errors import RemoteProtocolError
from ...events import (
    DataPart,
    Event,
    FinishReason,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    Usage,
)
from ...snapshot import grown
from ...wire import Frame
from .chunk import DONE, is_whole, read_chunk

__all__ = ["Decoder"]

_REASONS: Final = get_args(FinishReason)


class Chunk(Struct, gc=False):
    """What the data of a frame may hold; a frame of ``event: complete`` has ``data`` and ``meta``."""

    type: str = ""
    delta: str | None = None
    tool_call_index: int = 0
    tool_call_id: str | None = None
    tool_call_name: str | None = None
    tool_call_args: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    data: Any = None
    meta: dict[str, Any] | None = None


class _Open(Struct):
    """A part that has begun and not ended."""

    part_id: str
    start: Part
    text: StringIO

    def done(self) -> Part:
        return grown(self.start, self.text.getvalue())


class Decoder:
    """See :class:`penstock.dialects.Decoder`."""

    def __init__(self, *, structured: bool = False) -> None:
        """``structured``: the content is the JSON of a data part."""
        self._structured = structured
        self._content: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self._call_ids: list[str] = []
        self._parts = 0
        self._usage: Usage | UnsetType = UNSET
        self._started = self._ended = False

    def decode(self, frame: Frame) -> Iterator[Event]:
        if self._ended:
            return
        if not self._started:
            self._started = True
            yield ResponseStarted("")
        if frame.data == DONE:
            yield from self._finish({})
            return
        chunk = read_chunk(frame.data, Chunk)
        if frame.event == "complete":
            yield from self._complete(chunk)
        else:
            yield from self._chunk(chunk)

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if unfinished is not None and is_whole(unfinished.data):
            yield from self.decode(unfinished)
        if self._ended:
            return
        if not self._started:
            yield ResponseStarted("")
        self._started = self._ended = True
        message = "the upstream closed the connection before it said 'complete'"
        yield ResponseFailed("truncated", message, retryable=True, usage=self._usage)

    def _chunk(self, chunk: Chunk) -> Iterator[Event]:
        match chunk.type:
            case "content" if chunk.delta:
                if self._content is None:
                    self._content = self._open(DataPart() if self._structured else TextPart())
                    yield PartStarted(self._content.part_id, self._content.start)
                yield self._more(self._content, chunk.delta)
            case "tool_call_start":
                yield from self._begin_call(chunk)
            case "tool_call_delta" if chunk.tool_call_args:
                call = self._calls.get(chunk.tool_call_index)
                if call is None:
                    raise RemoteProtocolError(
                        f"arguments for a call {chunk.tool_call_index} that did not begin"
                    )
                yield self._more(call, chunk.tool_call_args)
            case "done":
                self._usage = _usage(chunk.usage)
            case "error":
                self._ended = True
                message = chunk.error if isinstance(chunk.error, str) else "the upstream reported an error"
                yield ResponseFailed("upstream", message, usage=self._usage, extra={"error": chunk.error})
            case _:
                pass

    def _begin_call(self, chunk: Chunk) -> Iterator[Event]:
        if (before := self._calls.pop(chunk.tool_call_index, None)) is not None:
            yield PartDone(before.part_id, before.done())
        call_id = chunk.tool_call_id or f"call_{len(self._call_ids) + 1}"
        self._call_ids.append(call_id)
        call = self._calls[chunk.tool_call_index] = self._open(
            ToolCallPart(call_id, chunk.tool_call_name or "")
        )
        yield PartStarted(call.part_id, call.start)

    def _open(self, start: Part) -> _Open:
        self._parts += 1
        return _Open(f"p{self._parts}", start, StringIO())

    def _more(self, part: _Open, text: str) -> Event:
        part.text.write(text)
        return PartDelta(part.part_id, text)

    def _complete(self, chunk: Chunk) -> Iterator[Event]:
        """Take the final value for the content, also where no delta came before it."""
        whole = _whole(chunk.data, self._structured)
        if self._content is None and whole is not None:
            self._content = self._open(type(whole)())
            yield PartStarted(self._content.part_id, self._content.start)
        if self._content is not None and type(whole) is type(self._content.start):
            yield PartDone(self._content.part_id, whole)
            self._content = None
        meta = chunk.meta or {}
        if self._usage is UNSET:
            self._usage = _usage(meta.get("usage"))
        yield from self._finish(meta)

    def _finish(self, meta: Mapping[str, Any]) -> Iterator[Event]:
        self._ended = True
        for part in [*([self._content] if self._content else []), *self._calls.values()]:
            yield PartDone(part.part_id, part.done())
        reason: FinishReason = "tool_calls" if self._call_ids else "stop"
        if meta.get("finish_reason") in _REASONS:  # ours say so
            reason = meta["finish_reason"]
        pending = tuple(self._call_ids) if reason == "tool_calls" else ()
        yield ResponseDone(reason, self._usage, pending, extra={"meta": dict(meta)} if meta else UNSET)


def _whole(data: Any, structured: bool) -> TextPart | DataPart | None:
    """Return the part that ``complete`` says was meant; None if it says nothing."""
    match data:
        case None:
            return None
        case str() if not structured:
            return TextPart(data) if data else None
        case _:
            return DataPart(data)


def _usage(raw: Any) -> Usage | UnsetType:
    if not isinstance(raw, dict):
        return UNSET

    def count(name: str) -> int:
        value = raw.get(name)
        return int(value) if isinstance(value, int | float) else 0

    return Usage(
        count("input_tokens"),
        count("cache_read_tokens"),
        count("output_tokens"),
        count("reasoning_tokens"),
        extra=dict(raw),
    )
