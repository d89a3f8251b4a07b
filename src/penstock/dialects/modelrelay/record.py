"""The data of a frame, of either generation, as tolerant as may be."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, json

from ...errors import RemoteProtocolError
from ...wire import jsontext

__all__ = ["Call", "Function", "Record", "is_whole", "read_record"]


class Function(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class Call(Struct, gc=False):
    """A tool call, or a piece of one."""

    index: int = 0
    id: str | None = None
    type: str | None = None
    function: Function | None = None


class Record(Struct):
    """What a record may hold; those of generation 1 have ``event`` for ``type``."""

    type: str = ""
    event: str = ""
    request_id: str | None = None
    response_id: str | None = None
    model: str | None = None
    stream_mode: str | None = None
    delta: str | None = None
    text_delta: str | None = None
    reasoning_delta: str | None = None
    patch: list[Any] | None = None
    tool_call_delta: Call | None = None
    tool_call: Call | None = None
    tool_calls: list[Call] | None = None
    tool_result: Any = UNSET
    content: str | None = None
    payload: Any | UnsetType = UNSET
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None
    citations: list[dict[str, Any]] | None = None
    code: str | None = None
    message: str | None = None
    status: int | None = None
    detail: Any = None


_decode: Final = json.Decoder(Record).decode


def read_record(data: bytes) -> Record:
    """Return the record in ``data``. Raises: RemoteProtocolError."""
    try:
        return _decode(data)
    except (ValidationError, RecursionError) as exc:
        raise _not_a_record(exc) from exc
    except (DecodeError, UnicodeDecodeError):  # half a surrogate pair is all that may be forgiven
        return _odd_record(data)


def _odd_record(data: bytes) -> Record:
    try:
        return _decode(jsontext.encode(jsontext.scrub(jsontext.decode(data))))
    except ValueError as exc:
        raise _not_a_record(exc) from exc


def _not_a_record(exc: Exception) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a record of ModelRelay's: {exc}")


def is_whole(data: bytes) -> bool:
    """Whether a frame that its framing would discard says all that it was to say."""
    try:
        return isinstance(jsontext.decode(data), dict)
    except ValueError:
        return False
