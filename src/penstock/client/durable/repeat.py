"""
Which requests may be made again, and how: pure.

What only reads may be repeated. A ``POST`` may, if the server takes a second one
with its key for the first: those are named here. What the server would do twice
is never repeated; but a turn of one of orq.ai's tasks, once it is under way, can
be watched, by the same request without its message.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, Struct, json

__all__ = ["KEY", "RELAY_KEY", "Repeat", "repeat"]

KEY: Final = "idempotency-key"
RELAY_KEY: Final = "x-modelrelay-request-id"
"""What ModelRelay's wire has for a key."""

_KEYED: Final = re.compile(
    r"/(?:v1/streams|chat/completions|call(?:/stream)?(?:/[^/]+)?|v3/functions/.+/(?:stream|call)"
    r"|api/sessions(?:/[^/]+/messages)?|responses)"
)
"""How the paths end to which the server takes a key; before it may stand where it is mounted."""


class Repeat(NamedTuple):
    """How a request is made again."""

    safe: bool
    """Whether it may be, when nothing is known of what became of it."""
    keys: tuple[str, ...] = ()
    """Headers that are to hold its key."""
    watch: bytes | None = None
    """The body that watches what it has begun, instead of beginning it again."""


class _Body(Struct):
    """What a body may say about its key, and about what it goes on with."""

    tags: Any = None
    options: Any = None
    task_id: Any = None
    message: Any = None


def repeat(method: str, path: str, body: bytes) -> Repeat:
    """Return how a request may be made again."""
    if method in ("GET", "HEAD"):
        return Repeat(True)
    found = _KEYED.search(path) if method == "POST" else None
    if found is None or found.end() != len(path):
        return Repeat(False)
    told = _told(body)
    if told.task_id and "/agents/" in path:
        return Repeat(False, watch=_without_message(body)) if _says_something(told) else Repeat(True)
    if any(isinstance(each, dict) and each.get("idempotency_key") for each in (told.tags, told.options)):
        return Repeat(True)  # a key of the caller's own, where an SDK can put one
    relayed = path.endswith("/responses") and "/agents/" not in path
    return Repeat(True, (KEY, RELAY_KEY) if relayed else (KEY,))


def _told(body: bytes) -> _Body:
    try:
        return json.decode(body, type=_Body)
    except DecodeError:
        return _Body()


def _says_something(told: _Body) -> bool:
    return isinstance(told.message, dict) and bool(told.message.get("parts"))


def _without_message(body: bytes) -> bytes:
    members: dict[str, Any] = json.decode(body)
    return json.encode({**members, "message": {"role": "user", "parts": []}})
