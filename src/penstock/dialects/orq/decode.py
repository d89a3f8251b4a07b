"""
An agent's stream to events (sections 4 and 5 of the contract), as our client reads it.

The contract says what each event is, and little of their order. So whatever
comes is held against ``grammar``: what is left out and can be known is said in
its place, what cannot come there is passed over, like an event of another type.
Only data that is no event at all is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, field, json

from ...errors import LocalProtocolError, RemoteProtocolError
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
    ReviewDone,
    ReviewRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
    Usage,
)
from ...grammar import Grammar, State
from ...snapshot import grown
from ...wire import Frame, jsontext
from .words import DONE, FINISH, read_file, read_usage

__all__ = ["Decoder"]


class _Piece(Struct, gc=False):
    """What a part may hold, whichever its kind."""

    kind: str = ""
    text: str | None = None
    reasoning: str | None = None
    signature: str | None = None
    data: Any = None
    file: dict[str, Any] | None = None


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Pending(Struct, gc=False):
    id: str
    function: _Function = field(default_factory=_Function)


class _Data(Struct, gc=False, rename="camel"):
    """What the ``data`` of an event may hold, whichever its type."""

    response_id: str | None = None
    task_id: str | None = None
    model: str | None = None
    workflow_run_id: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    pending_tool_calls: list[_Pending] | None = None
    error: str | None = None
    code: int | float | None = None
    tool_id: str | None = None
    tool_name: str | None = None
    tool_call_id: str = ""
    arguments: Any = None
    result: Any = None
    review: str | None = None
    part_id: str = ""
    delta: _Piece = field(default_factory=_Piece)
    part: _Piece = field(default_factory=_Piece)


class _Chunk(Struct, gc=False):
    type: str = ""
    data: _Data = field(default_factory=_Data)


_read: Final = json.Decoder(_Chunk).decode

_CODES: Final = {429: "rate_limit_exceeded", 499: "cancelled", 504: "timeout"}
"""What a failure of that status is called here; any other is the upstream's."""
_RETRYABLE: Final = (429, 502, 503, 504)
_SILENT: Final = "the stream did not say what became of the call"
_REFUSED: Final = "the call was rejected"


class _Open(Struct):
    """A part that has begun and not ended."""

    key: str
    start: Part
    text: StringIO

    def done(self) -> Part:
        return grown(self.start, self.text.getvalue())


class Decoder:
    """See :class:`penstock.dialects.Decoder`."""

    def __init__(self, *, structured: bool = False) -> None:
        """``structured``: the text is the JSON of a data part."""
        self._structured = structured
        self._grammar = Grammar()
        self._open: dict[str, _Open] = {}
        """Parts, by their ``partId``."""
        self._parts = 0
        self._started = self._ended = False

    def decode(self, frame: Frame) -> Iterator[Event]:
        if self._ended:
            return
        if frame.data == DONE:
            yield from self.close()
            return
        chunk = _chunk(frame.data)
        for event in self._events(chunk.type, chunk.data):
            yield from self._legal(event)

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if unfinished is not None and _is_whole(unfinished.data):
            yield from self.decode(unfinished)
        if not self._ended:
            message = "the stream ended before its response did"
            yield from self._legal(ResponseFailed("truncated", message, retryable=True))

    # -- what may come

    def _legal(self, event: Event) -> Iterator[Event]:
        """Yield ``event`` if it may come here, and before it what was left out."""
        if not self._started and not isinstance(event, ResponseStarted):
            yield from self._legal(ResponseStarted(""))
        try:
            self._grammar = self._grammar.after((event,))
        except LocalProtocolError:
            return
        self._started = True
        self._ended = isinstance(event, ResponseDone | ResponseFailed)
        yield event

    def _state(self, call_id: str) -> State:
        return self._grammar.tools.get(call_id, State.IDLE)

    # -- what is said

    def _events(self, kind: str, data: _Data) -> Iterable[Event]:
        match kind:
            case "part.delta":
                return self._delta(data.part_id, data.delta)
            case "part.done":
                return self._done(data.part_id, data.part)
            case "response.started":
                told = {"taskId": data.task_id, "workflowRunId": data.workflow_run_id}
                extra = {key: value for key, value in told.items() if value}
                return (ResponseStarted(data.response_id or "", data.model or "", extra=extra or UNSET),)
            case "response.done":
                return self._finish(data)
            case "response.failed":
                return (_failure(data),)
            case _ if data.tool_call_id:
                return self._tool(kind, data.tool_call_id, data)
            case _:
                return ()

    def _delta(self, part_id: str, piece: _Piece) -> Iterator[Event]:
        text = piece.reasoning if piece.kind == "reasoning" else piece.text
        if text is None:
            return  # data and files come whole
        part = self._open.get(part_id)
        if part is None:
            start: Part = ReasoningPart() if piece.kind == "reasoning" else self._text()
            part = self._begin(part_id, start)
            yield PartStarted(part.key, start)
        part.text.write(text)
        yield PartDelta(part.key, text)

    def _text(self, text: str = "") -> Part:
        return grown(DataPart(), text) if self._structured else TextPart(text)

    def _begin(self, part_id: str, start: Part) -> _Open:
        self._parts += 1
        part = self._open[part_id] = _Open(f"p{self._parts}", start, StringIO())
        return part

    def _done(self, part_id: str, piece: _Piece) -> Iterator[Event]:
        whole, part = self._whole(piece), self._open.pop(part_id, None)
        if part is not None:
            yield PartDone(part.key, whole if type(whole) is type(part.start) else part.done())
        elif whole is not None:
            yield from self._at_once(whole)

    def _at_once(self, whole: Part) -> Iterator[Event]:
        self._parts += 1
        yield PartStarted(f"p{self._parts}", whole)
        yield PartDone(f"p{self._parts}", whole)

    def _whole(self, piece: _Piece) -> Part | None:
        match piece.kind:
            case "text":
                return self._text(piece.text or "")
            case "reasoning":
                return ReasoningPart(piece.reasoning or "", piece.signature or "")
            case "data":
                return DataPart(piece.data)
            case "file":
                return read_file(piece.file or {})
            case _:
                return None

    # -- tools

    def _tool(self, kind: str, call_id: str, data: _Data) -> Iterator[Event]:
        named = data.tool_name or data.tool_id or ""
        unstarted = self._state(call_id) in (State.IDLE, State.DECIDED)
        match kind:
            case "tool.review.requested":
                yield ReviewRequested(call_id, named, "", data.arguments)
            case "tool.review.done" if data.review == "approved":
                yield ReviewDone(call_id, "", "approved")
            case "tool.review.done":  # and no more is said of it
                yield ReviewDone(call_id, "", "rejected")
                yield ToolFailed(call_id, _REFUSED)
            case "tool.started":
                yield ToolStarted(call_id, named, data.arguments)
            case "tool.done":
                if unstarted:
                    yield ToolStarted(call_id, named, {})
                yield ToolDone(call_id, data.result)
            case "tool.failed":
                yield ToolFailed(call_id, data.error or "the tool failed")
            case _:
                pass

    # -- the end

    def _finish(self, data: _Data) -> Iterator[Event]:
        for part in self._open.values():
            yield PartDone(part.key, part.done())
        for call_id, state in self._grammar.tools.items():
            if state is State.WAITING:
                yield ReviewDone(call_id, "", "expired")
            if state is not State.DONE:
                yield ToolFailed(call_id, _SILENT)
        pending = data.pending_tool_calls or []
        for call in pending:
            function = call.function
            yield from self._at_once(ToolCallPart(call.id, function.name or "", function.arguments or ""))
        usage: Usage | UnsetType = read_usage(data.usage)
        reason = FINISH.get(data.finish_reason or "", "stop")
        yield ResponseDone(reason, usage, tuple(call.id for call in pending))


def _failure(data: _Data) -> ResponseFailed:
    status = int(data.code or 500)
    message = data.error or "the upstream reported an error"
    return ResponseFailed(
        _CODES.get(status, "upstream"), message, status in _RETRYABLE, extra={"status": status}
    )


def _chunk(data: bytes) -> _Chunk:
    """Return the event in ``data``. Raises: RemoteProtocolError."""
    try:
        return _read(data)
    except (ValidationError, RecursionError) as exc:
        raise RemoteProtocolError(f"not an event of an agent's stream: {exc}") from exc
    except (DecodeError, UnicodeDecodeError):  # half a surrogate pair is all that may be forgiven
        return _odd(data)


def _odd(data: bytes) -> _Chunk:
    try:
        return _read(jsontext.encode(jsontext.scrub(jsontext.decode(data))))
    except ValueError as exc:
        raise RemoteProtocolError(f"not an event of an agent's stream: {exc}") from exc


def _is_whole(data: bytes) -> bool:
    """Whether a block that no empty line ended says all that it was to say."""
    try:
        return data == DONE or isinstance(jsontext.decode(data), dict)
    except ValueError:
        return False
