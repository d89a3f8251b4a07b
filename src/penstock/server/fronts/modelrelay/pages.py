"""Pages of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from ...endpoint import Asked, number

__all__ = ["PAGES", "paged"]

T = TypeVar("T")

_LARGEST_PAGE: Final = 100

PAGES: Final = {"offset": "How many to pass over.", "limit": "How many to list."}
"""What the API description says of the query of a list."""


def paged(asked: Asked, found: Sequence[T]) -> tuple[Sequence[T], dict[str, Any]]:
    """Return the page of a list that is asked for, and what leads to the next one. Raises: RequestError."""
    offset = number(asked.query, "offset", 0) or 0
    end = offset + (number(asked.query, "limit", 1, _LARGEST_PAGE) or _LARGEST_PAGE)
    return found[offset:end], {"next_cursor": str(end)} if end < len(found) else {}
