"""
Members of request bodies, with their types checked. Null is as good as absent.

What is wrong is a :class:`RequestError` whose ``field`` is the member's path,
``model[1].name``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ...errors import RequestError

__all__ = ["member", "needed", "strings", "unprocessable", "wrong"]

T = TypeVar("T")

_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string",
    list: "a list",
    dict: "an object",
    bool: "a boolean",
}


def wrong(field: str, what: str) -> RequestError:
    """Return the error that says what ``field`` must be."""
    return RequestError(f"{field!r} must be {what}", field=field)


def member(body: Mapping[str, Any], key: str, kind: type[T], where: str = "") -> T | None:
    """Return a member of type ``kind``. Raises: RequestError."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, kind):
        raise wrong(f"{where}.{key}" if where else key, _TYPE_NAMES[kind])
    return value


def needed(body: Mapping[str, Any], key: str, where: str = "") -> str:
    """Return a member that must be a string with something in it. Raises: RequestError."""
    value = member(body, key, str, where)
    if not value:
        field = f"{where}.{key}" if where else key
        raise RequestError(f"{field!r} is {'missing' if value is None else 'empty'}", field=field)
    return value


def strings(body: Mapping[str, Any], key: str) -> list[str]:
    """Return a member that is a list of strings, none by default. Raises: RequestError."""
    values = member(body, key, list) or []
    for n, value in enumerate(values):
        if not isinstance(value, str):
            raise wrong(f"{key}[{n}]", "a string")
    return values


@contextmanager
def unprocessable() -> Iterator[None]:
    """Give errors the HTTP status that v1 and v2 have for bodies of the wrong shape."""
    try:
        yield
    except RequestError as exc:
        exc.status = 422
        raise
