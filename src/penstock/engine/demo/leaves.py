"""
Candidates for the leaves of a value: texts and numbers, the best-looking first.

A *turn* is a number that goes up; another turn gives another candidate, so that
a list does not say the same thing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

from .patterns import texts_for

__all__ = ["numbers", "texts"]

_LONGEST = 20_000  # characters of a text that somebody wants long
_TRIES = 24  # neighbouring numbers; enough to step off an excluded bound
_EXACT = 2**63  # beyond, JSON numbers are floats in most languages

_FORMATS: Final = {
    "date-time": "2026-03-{n:02}T09:26:53Z",
    "date": "2026-03-{n:02}",
    "time": "09:{n:02}:53Z",
    "duration": "PT{n}M",
    "email": "reader{n}@example.com",
    "idn-email": "leser{n}@example.com",
    "hostname": "host{n}.example.com",
    "idn-hostname": "host{n}.example.com",
    "ipv4": "192.0.2.{n}",
    "ipv6": "2001:db8::{n}",
    "uri": "https://example.com/{n}",
    "uri-reference": "/{n}",
    "url": "https://example.com/{n}",
    "iri": "https://example.com/{n}",
    "uuid": "5f0c9a52-7d1e-4b6a-9c3f-2e8d10b7a6{n:02}",
    "json-pointer": "/{n}",
    "regex": "^{n}$",
    "byte": "cGVuc3RvY2s=",
    "binary": "penstock",
}
"""Addresses are those that the RFCs set aside for examples."""


def texts(schema: dict[str, Any], words: Sequence[str], turn: int) -> Iterator[str]:
    """Texts of the right format, pattern and length, made of ``words`` where they are free."""
    if template := _FORMATS.get(schema.get("format", "")):
        yield template.format(n=turn % 28 + 1)
    if pattern := schema.get("pattern"):
        yield from texts_for(pattern, turn)
    fewest, most = ceil(schema.get("minLength", 0)), floor(schema.get("maxLength", _LONGEST))
    if fewest <= min(most, _LONGEST):
        phrase = _phrase(words, turn)
        long = phrase if fewest <= len(phrase) else f"{phrase} " * ceil(fewest / len(phrase))
        yield long[: most if len(phrase) >= fewest else fewest]


def numbers(schema: dict[str, Any], turn: int, *, whole: bool) -> Iterator[float]:
    """Numbers between the bounds, and on the grid if there is one."""
    low = _bound(schema, ("minimum", "exclusiveMinimum"), max)
    high = _bound(schema, ("maximum", "exclusiveMaximum"), min)
    grid = Fraction(str(schema.get("multipleOf", 0)))
    if whole:
        yield from _on_grid(low, high, Fraction(grid.numerator or 1), turn)
    elif grid:
        yield from _on_grid(low, high, grid, turn)
    else:
        yield from _between(low, high, turn)


def _phrase(words: Sequence[str], turn: int) -> str:
    """A word, two words, two words with all that makes JSON hard to cut; numbered when they run out."""
    lap, place = divmod(turn // len(words), len(words) - 1)
    one, other = words[turn % len(words)], words[(turn + 1 + place) % len(words)]
    number = f" {lap + 1}" if lap else ""
    return (one, f"{one} {other}", f'{one}: "{other}", é 流 🌊')[turn % 3] + number


def _bound(schema: dict[str, Any], keys: Sequence[str], choose: Any) -> Fraction | None:
    limits = [Fraction(str(schema[key])) for key in keys if key in schema]
    return choose(limits) if limits else None


def _on_grid(low: Fraction | None, high: Fraction | None, step: Fraction, turn: int) -> Iterator[float]:
    if low is None:
        low = step if high is None else high - 40 * step
    first = ceil(low / step)
    size = 40 if high is None else floor(high / step) - first + 1
    for offset in range(min(size, _TRIES)):
        yield _json((first + (turn + offset) % size) * step)


def _between(low: Fraction | None, high: Fraction | None, turn: int) -> Iterator[float]:
    if low is None:
        low = Fraction(0) if high is None else high - 50
    span = 50 if high is None else high - low
    for part in range(3):
        yield float(low + span * Fraction((turn + part) % 19 + 1, 20))
    yield float(low)


def _json(number: Fraction) -> float:
    whole = number.denominator == 1 and abs(number) < _EXACT
    return int(number) if whole else float(number)
