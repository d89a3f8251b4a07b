"""
Members of request bodies, with their types checked. Null is as good as absent.

What is wrong is a :class:`RequestError` whose ``field`` is the member's path,
``input[1].content[0].text``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from msgspec import UNSET, UnsetType

from .errors import RequestError

__all__ = ["at", "items", "member", "needed", "number", "present", "strings", "wrong"]

T = TypeVar("T", str, list[Any], dict[str, Any], bool)

_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string",
    list: "a list",
    dict: "an object",
    bool: "a boolean",
}


def at(where: str, key: str) -> str:
    """Return the path of a member."""
    return f"{where}.{key}" if where else key


def wrong(field: str, what: str) -> RequestError:
    """Return the error that says what ``field`` must be."""
    return RequestError(f"{field!r} must be {what}", field=field)


def member(body: Mapping[str, Any], key: str, kind: type[T], where: str = "") -> T | None:
    """Return a member of type ``kind``. Raises: RequestError."""
    value = body.get(key)
    if value is None or isinstance(value, kind):
        return value
    raise wrong(at(where, key), _TYPE_NAMES[kind])


def present(body: Mapping[str, Any], key: str, kind: type[T], where: str = "") -> T:
    """Return a member that may not be missing. Raises: RequestError."""
    value = member(body, key, kind, where)
    if value is None:
        raise RequestError(f"{at(where, key)!r} is missing", field=at(where, key))
    return value


def needed(body: Mapping[str, Any], key: str, kind: type[T], where: str = "") -> T:
    """Return a member that may not be missing, nor be empty. Raises: RequestError."""
    value = present(body, key, kind, where)
    if not value:
        raise RequestError(f"{at(where, key)!r} is empty", field=at(where, key))
    return value


def items(body: Mapping[str, Any], key: str, where: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the objects in a list, none by default, each with its path. Raises: RequestError."""
    for n, value in enumerate(member(body, key, list, where) or ()):
        field = f"{at(where, key)}[{n}]"
        if not isinstance(value, dict):
            raise wrong(field, "an object")
        yield value, field


def strings(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a member that is a list of strings, none by default. Raises: RequestError."""
    values = member(body, key, list) or []
    for n, value in enumerate(values):
        if not isinstance(value, str):
            raise wrong(f"{key}[{n}]", "a string")
    return tuple(values)


def number(body: Mapping[str, Any], key: str, *, whole: bool = False) -> Any | UnsetType:
    """Return a number; a ``whole`` one is 1 at least. Raises: RequestError."""
    value = body.get(key)
    if value is None:
        return UNSET
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise wrong(key, "an integer" if whole else "a number")
    if whole and value < 1:
        raise wrong(key, "at least 1")
    return value
