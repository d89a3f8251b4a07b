"""Numbers in queries, and pages of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from ....errors import RequestError
from ...endpoint import Asked

__all__ = ["PAGES", "number", "paged"]

T = TypeVar("T")

_DIGITS: Final = 15
"""Of a number: more than any log has events."""
_LARGEST_PAGE: Final = 100

PAGES: Final = {"offset": "How many to pass over.", "limit": "How many to list."}
"""What the API description says of the query of a list."""


def number(asked: Asked, name: str, least: int, most: int | None = None) -> int | None:
    """Return a number in the query, if it is there. Raises: RequestError."""
    text = asked.query.get(name)
    if text is None:
        return None
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else -1
    if value < least or (most is not None and value > most):
        said = f"from {least} on" if most is None else f"from {least} to {most}"
        raise RequestError(f"{name!r} must be a number {said}, not {text[:64]!r}", field=name)
    return value


def paged(asked: Asked, found: Sequence[T]) -> tuple[Sequence[T], dict[str, Any]]:
    """Return the page of a list that is asked for, and what leads to the next one. Raises: RequestError."""
    offset = number(asked, "offset", 0) or 0
    end = offset + (number(asked, "limit", 1, _LARGEST_PAGE) or _LARGEST_PAGE)
    return found[offset:end], {"next_cursor": str(end)} if end < len(found) else {}
