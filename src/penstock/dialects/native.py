"""
Our own wire: the events as they are. PROTOCOL.md describes it.

A frame's data is one event as JSON, with ``at`` (milliseconds since 1970) in
front. Over SSE the type is repeated as ``event:`` and the cursor travels as
``id:``; over NDJSON the cursor is the first member of the line.

What is the server's own business stays there: the settings of a request, and
messages of the roles ``system`` and ``developer``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, convert, json
from msgspec.structs import fields, replace

from ..errors import PenstockError, RemoteProtocolError, RequestError
from ..events import (
    PRIVATE,
    TERMINAL,
    Event,
    MessageAdded,
    Part,
    PartDelta,
    ResponseFailed,
    ResponseStarted,
    Role,
    TextPart,
)
from ..requests import MAX_ATTEMPTS, MAX_CHOICES, Candidate, Decide, Start, Tool, ToolChoice
from ..wire import Frame, Framing, jsontext, ndjson
from ..wire.sse import SSE
from . import Dialect, Spoken

__all__ = [
    "DIALECT",
    "NDJSON",
    "Begin",
    "Continue",
    "Decision",
    "Decoder",
    "Encoder",
    "Message",
    "cursor_of",
    "read_decision",
    "read_message",
    "read_request",
]


class Encoder:
    """See :class:`penstock.dialects.Encoder`. It has no state: every event stands for itself."""

    def encode(self, record: Spoken) -> Iterator[Frame]:
        event, at = record.event, int(record.at * 1000)
        match event:
            case PartDelta(part_id=key, delta=delta) if event.extra is UNSET:
                said = (at, jsontext.quote(key), jsontext.quote(delta))
                yield Frame(b'{"at":%d,"type":"part.delta","part_id":%b,"delta":%b}' % said, "part.delta")
            case MessageAdded(role=role) if role in PRIVATE:
                return
            case MessageAdded(request=dict()):
                yield _frame(at, replace(event, request=UNSET))
            case ResponseStarted(answers=MessageAdded() as message):
                yield _frame(at, replace(event, request=UNSET, answers=replace(message, request=UNSET)))
            case ResponseStarted():
                yield _frame(at, replace(event, request=UNSET))
            case _:
                yield _frame(at, event)


def _frame(at: int, event: Event) -> Frame:
    tag = event.__struct_config__.tag
    return Frame(b'{"at":%d,%b' % (at, jsontext.encode(event)[1:]), str(tag))


class Decoder:
    """See :class:`penstock.dialects.Decoder`. Reads what :class:`Encoder` wrote, one response or many."""

    def __init__(self, *, structured: bool = False) -> None:
        self._open = False
        self._ended = False

    def decode(self, frame: Frame) -> Iterator[Event]:
        try:
            event = _decode_event(frame.data)
        except (DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise RemoteProtocolError(f"not a native event: {exc}") from exc
        self._open = isinstance(event, ResponseStarted) or (self._open and not isinstance(event, TERMINAL))
        self._ended = self._ended or isinstance(event, TERMINAL)
        yield event

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if self._open:
            yield ResponseFailed("truncated", "the stream ended before its response did", retryable=True)
        elif not self._ended:
            yield ResponseStarted("")
            yield ResponseFailed("truncated", "the stream ended before its response began", retryable=True)
        self._open, self._ended = False, True


_decode_event = json.Decoder(Event).decode


class _Placed(Struct):
    cursor: str = ""


_decode_cursor = json.Decoder(_Placed).decode


def cursor_of(frame: Frame) -> str:
    """Return the cursor after ``frame``, whichever framing it came in; empty if it has none."""
    return frame.id or _decode_cursor(frame.data).cursor


def _write_line(frame: Frame) -> bytes:
    if not frame.id:
        return ndjson.write(frame)
    return ndjson.write(Frame(b'{"cursor":%b,%b' % (jsontext.quote(frame.id), frame.data[1:])))


NDJSON: Final = Framing(
    "ndjson", ndjson.NDJSON.media_type, ndjson.NDJSONReader, _write_line, ndjson.NDJSON.keepalive
)


# -- requests


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a request's input: ``content`` is short for one text part."""

    role: Role = "user"
    parts: tuple[Part, ...] | UnsetType = UNSET
    content: str | UnsetType = UNSET


class Begin(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/streams``; see PROTOCOL.md, section 6."""

    input: str | list[Message]
    model: str = ""
    agent: str = ""
    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType = UNSET
    output_name: str = ""
    choices: int = 1
    max_output_tokens: int | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    stop: tuple[str, ...] = ()
    keep_open: bool | UnsetType = UNSET
    max_time: float | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET
    fallbacks: tuple[Candidate, ...] = ()
    attempts: int = 0
    max_iterations: int | UnsetType = UNSET


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/streams/{stream}/reviews/{call}``."""

    verdict: Literal["approved", "rejected"]
    digest: str
    """The one that the review was requested with."""
    output: Any = UNSET
    """With ``approved``: what counts as the tool's result, instead of running it."""


class Continue(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/streams/{stream}/messages``."""

    input: str | list[Message]


def read_request(body: Mapping[str, Any]) -> Start:
    """
    Read the body of a request to start a stream.

    Raises:
        RequestError: a member is missing, unknown or of the wrong type.
    """
    asked = _converted(body, Begin)
    if not 1 <= asked.choices <= MAX_CHOICES:
        raise RequestError(f"'choices' must be from 1 to {MAX_CHOICES}", field="choices")
    if not 0 <= asked.attempts <= MAX_ATTEMPTS:
        raise RequestError(f"'attempts' must be from 0 to {MAX_ATTEMPTS}", field="attempts")
    for name in ("max_output_tokens", "max_time", "max_iterations"):
        value = getattr(asked, name)
        if value is not UNSET and value <= 0:
            raise RequestError(f"{name!r} must be more than 0", field=name)
    for n, tool in enumerate(asked.tools):
        if tool.runner:
            where = f"tools[{n}].runner"
            raise RequestError(f"{where!r}: the server's own tools are those of agents", field=where)
    given = {field.name: getattr(asked, field.name) for field in fields(asked) if field.name != "input"}
    return Start(**given, input=_messages(asked.input))


def read_message(body: Mapping[str, Any]) -> tuple[MessageAdded, ...]:
    """Read the body of a request to continue a stream. Raises: RequestError."""
    return _messages(_converted(body, Continue).input)


def read_decision(body: Mapping[str, Any], call_id: str, by: str) -> Decide:
    """Read the body of a decision about a call. Raises: RequestError."""
    said = _converted(body, Decision)
    if not said.digest:
        raise RequestError("'digest' is empty: it says what is decided about", field="digest")
    if said.output is not UNSET and said.verdict != "approved":
        raise RequestError("'output' goes with 'approved' only", field="output")
    return Decide(call_id, said.verdict, said.digest, by, said.output)


def _messages(given: str | list[Message]) -> tuple[MessageAdded, ...]:
    if not given:
        raise RequestError("'input' is empty: there is nothing to answer", field="input")
    if isinstance(given, str):
        return (MessageAdded("user", (TextPart(given),)),)
    return tuple(_message(message, n) for n, message in enumerate(given))


def _message(message: Message, n: int) -> MessageAdded:
    where = f"input[{n}]"
    match message.parts, message.content:
        case tuple() as parts, UnsetType():
            return MessageAdded(message.role, parts)
        case UnsetType(), str() as text:
            return MessageAdded(message.role, (TextPart(text),))
        case _:
            raise RequestError(f"'{where}' must have either 'parts' or 'content'", field=where)


_T = TypeVar("_T", bound=Struct)
_WHERE: Final = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`")
_MISSING: Final = re.compile(r"missing required field `(.*?)`")


def _converted(body: Mapping[str, Any], kind: type[_T]) -> _T:
    try:
        return convert(body, kind)
    except ValidationError as exc:
        raise _explained(str(exc), kind) from exc


def _explained(message: str, kind: type[Struct]) -> RequestError:
    """Turn msgspec's complaint into ours: the field by its path, and the name that may be meant."""
    found = _WHERE.search(message)
    path = found[1] if found else ""
    text = message[: found.start()] if found else message
    if unknown := _UNKNOWN.search(text):
        known = fields(Message if path else kind)  # nothing else inside of a request is that strict
        path = f"{path}.{unknown[1]}" if path else unknown[1]
        near = get_close_matches(unknown[1], [field.name for field in known], n=1)
        return RequestError(
            f"{path!r} is not known" + (f"; did you mean {near[0]!r}?" if near else ""), field=path
        )
    if missing := _MISSING.search(text):
        path = f"{path}.{missing[1]}" if path else missing[1]
        return RequestError(f"{path!r} is missing", field=path)
    return RequestError(f"{path!r}: {text}" if path else text, field=path or None)


def _error(error: PenstockError) -> bytes:
    described = {
        "code": error.code,
        "message": error.message,
        "field": error.field,
        "retryable": error.retryable,
    }
    return jsontext.encode({"error": {key: value for key, value in described.items() if value is not None}})


DIALECT: Final = Dialect(
    name="native",
    framings=(SSE, NDJSON),
    decoder=Decoder,
    encoder=Encoder,
    read_request=read_request,
    error=_error,
    ids=True,
)
