"""The HTTP status that v1 and v2 have for bodies of the wrong shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import RequestError

__all__ = ["unprocessable"]


@contextmanager
def unprocessable() -> Iterator[None]:
    """Give errors that status: 422."""
    try:
        yield
    except RequestError as exc:
        exc.status = 422
        raise
