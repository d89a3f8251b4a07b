"""
JSON in ASCII.

Every wire of ours escapes what is not ASCII: raw U+2028, U+2029 and U+0085 are
line ends to some clients, and a lone surrogate cannot be UTF-8 at all.
"""

from __future__ import annotations

import re
from json import loads
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any, Final, NoReturn

from msgspec import DecodeError, json

__all__ = ["decode", "encode", "quote", "scrub"]

_encode = json.Encoder().encode
_decode = json.Decoder().decode
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


def quote(text: str) -> bytes:
    """Return ``text`` as a JSON string in ASCII."""
    return encode_basestring_ascii(text).encode("ascii")


def encode(value: Any) -> bytes:
    """Return ``value`` (plain or msgspec types) as JSON in ASCII."""
    data = _encode(value)
    if data.isascii():
        return data
    return _NOT_ASCII.sub(_escaped, data.decode()).encode("ascii")


def decode(data: bytes | str) -> Any:
    """
    Return the value of a JSON text; a lone surrogate in it is kept as it is.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return _decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return loads(data, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError) as exc:
            raise ValueError(str(exc)) from exc


def scrub(value: Any) -> Any:
    """Return a plain value with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [scrub(each) for each in value]
        case dict():
            return {scrub(key): scrub(each) for key, each in value.items()}
        case _:
            return value


def _escaped(found: re.Match[str]) -> str:
    return encode_basestring_ascii(found[0])[1:-1]


def _finite(number: str) -> float:
    value = float(number)
    return value if isfinite(value) else _refuse(number)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
