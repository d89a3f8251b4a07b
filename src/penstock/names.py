"""
How streams and responses are named, and what a name leads to.

A stream of ours is called ``st_`` and 26 digits of base 32: 128 bits. Written as
a UUID the same bits are what Opper calls a span, so that a stream and its span
lead to each other without a table. A response is named after its stream and its
number in it. Where the bits come from is the business of ``engine.ids``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from .errors import StreamNotFound

__all__ = ["next_response", "response_name", "stream_name", "stream_of", "stream_of_uuid", "uuid_of"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_LENGTH: Final = 26
_OURS: Final = re.compile(f"st_([0-7][{_ALPHABET}]{{{_LENGTH - 1}}})")
_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def stream_name(number: int) -> str:
    """Return the name of the stream that the 128 bits of ``number`` stand for."""
    return "st_" + "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))


def response_name(stream: str, number: int) -> str:
    """Return the name of the ``number``-th response (from 1) of ``stream``."""
    return f"{stream}.{number}"


def next_response(name: str) -> str:
    """Return the name of the response that follows the one called ``name`` in its stream."""
    stream, _, number = name.partition(".")
    return response_name(stream, int(number) + 1)


def stream_of(name: str) -> str:
    """Return the stream that ``name``, a stream's or a response's, belongs to."""
    return name.partition(".")[0]


def uuid_of(stream: str) -> str:
    """
    Return the UUID of ``stream``: its own 128 bits.

    A name of another shape gets one by hashing, which always is the same but
    leads nowhere.
    """
    digits = f"{_number(stream):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def stream_of_uuid(text: str) -> str:
    """
    Return the stream of ours whose UUID ``text`` is, in whichever case it is written.

    Raises:
        StreamNotFound: ``text`` is not a UUID.
    """
    if _UUID.fullmatch(text) is None:
        raise StreamNotFound(f"{text[:64]!r} is not a UUID")
    return stream_name(int(text.replace("-", ""), 16))


def _number(stream: str) -> int:
    found = _OURS.fullmatch(stream)
    if found is None:
        return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:16])
    number = 0
    for digit in found[1]:
        number = number << 5 | _ALPHABET.index(digit)
    return number
