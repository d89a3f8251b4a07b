"""
Permissions: reviews, as this wire asks for them (section 3).

A permission's id is all that comes back with the answer to it. It names the
answer that waits and what is asked about: the beginning of the review's digest.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import json

from ...errors import ReviewNotFound
from ...events import ReviewRequested
from ...names import stream_of
from ...wire import jsontext

__all__ = ["permission_id", "permission_members", "permission_of"]

_DIGITS: Final = 20
"""Of the digest: 80 bits, which nobody guesses."""
_ID: Final = re.compile(rf"([\w.-]+)-([0-9a-f]{{{_DIGITS}}})", re.ASCII)
_PATHS: Final = ("path", "file_path")
_LONGEST: Final = 2000
"""Characters that a human may be expected to look through."""
_MOST: Final = 32 * 1024
"""Bytes of arguments that are said beside the description; SDKs discard them."""


def permission_id(response_id: str, digest: str) -> str:
    """Return what a review of a call in that answer is called; it needs no escaping in a URL."""
    return f"{response_id}-{digest[:_DIGITS]}"


def permission_of(id: str) -> tuple[str, str]:
    """
    Return the answer that a permission belongs to, and how the digest of its review begins.

    Raises:
        ReviewNotFound: no review is called so.
    """
    found = _ID.fullmatch(id)
    if found is None:
        raise ReviewNotFound(f"there is no permission {id[:64]!r}")
    return found[1], found[2]


def permission_members(response_id: str, review: ReviewRequested) -> dict[str, Any]:
    """Return a review as the members of a ``permission`` event."""
    arguments = review.arguments if isinstance(review.arguments, dict) else {}
    path = next((path for key in _PATHS if isinstance(path := arguments.get(key), str)), None)
    return {
        "id": permission_id(response_id, review.digest),
        "sessionId": stream_of(response_id),
        "toolName": review.tool,
        "description": _description(review),
        "action": "execute",
        **({} if path is None else {"path": path}),
        **({"params": arguments} if arguments and len(jsontext.encode(arguments)) <= _MOST else {}),
    }


def _description(review: ReviewRequested) -> str:
    """Return what a human has to know: all that SDKs hand on is this, the action and the path."""
    if not review.arguments:
        return f"Run {review.tool}"
    said = review.arguments if isinstance(review.arguments, str) else _json(review.arguments)
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]}… (the first {_LONGEST} of {len(said)} characters)"
    return f"Run {review.tool} with {said}"


def _json(value: Any) -> str:
    return json.encode(value).decode()  # not escaped to ASCII: it is a human who reads it
