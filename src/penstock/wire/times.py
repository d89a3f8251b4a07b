"""Times, as wires write them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = ["timestamp"]

_MONTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def timestamp(at: float) -> str:
    """Return a time, seconds since 1970, as RFC 3339 in UTC, to the microsecond."""
    seconds, micros = divmod(round(at * 1_000_000), 1_000_000)
    days, second = divmod(seconds, 86_400)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{micros:06}"
    return f"{_date(days)}T{clock}Z"


@lru_cache(maxsize=256)
def _date(days: int) -> str:
    """Return the day that comes ``days`` after the first of January 1970."""
    year = 1970
    while days >= _length(year):
        days -= _length(year)
        year += 1
    month = 0
    while days >= (length := _MONTHS[month] + (month == 1 and _length(year) == 366)):
        days -= length
        month += 1
    return f"{year:04}-{month + 1:02}-{days + 1:02}"


def _length(year: int) -> int:
    return 366 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 365
