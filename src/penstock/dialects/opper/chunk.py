"""The data of a frame, whichever generation it is of, as tolerant as may be."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar

from msgspec import DecodeError, Struct, ValidationError, json

from ...errors import RemoteProtocolError
from ...wire import jsontext

__all__ = ["DONE", "is_whole", "read_chunk", "read_string"]

DONE: Final = b"[DONE]"

T = TypeVar("T", bound=Struct)


def read_chunk(data: bytes, kind: type[T]) -> T:
    """Return the JSON object in ``data``. Raises: RemoteProtocolError."""
    try:
        chunk: T = _decoder(kind).decode(data)
    except (ValidationError, RecursionError) as exc:
        raise _not_a_chunk(exc) from exc
    except (DecodeError, UnicodeDecodeError):  # half a surrogate pair is all that may be forgiven
        return _odd_chunk(data, kind)
    return chunk


def _odd_chunk(data: bytes, kind: type[T]) -> T:
    try:
        plain = jsontext.encode(jsontext.scrub(jsontext.decode(data)))
        chunk: T = _decoder(kind).decode(plain)
    except ValueError as exc:
        raise _not_a_chunk(exc) from exc
    return chunk


def read_string(data: bytes) -> str:
    """Return the JSON string in ``data``, half surrogate pairs replaced. Raises: RemoteProtocolError."""
    try:
        text: str = jsontext.decode(data)
    except ValueError as exc:
        raise _not_a_chunk(exc) from exc
    if not text.isascii():
        text = jsontext.scrub(text)
    return text


def _not_a_chunk(exc: Exception) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a chunk of Opper's: {exc}")


def is_whole(data: bytes) -> bool:
    """Whether a block that no empty line ended says all that it was to say."""
    try:
        return data == DONE or isinstance(jsontext.decode(data), dict)
    except ValueError:
        return False


@cache
def _decoder(kind: type[Any]) -> json.Decoder[Any]:
    return json.Decoder(kind)
