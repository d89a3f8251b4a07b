"""
The tables of what is compared with other clients, without a server: readers of bodies, and imports.

Frames per second are of CPU time; the ratio is to the fastest of the others, turn by turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from .client import IMPORTS
from .parsers import BODIES, CUTS, ENDS, LINE_READERS, OURS, SSE_READERS

__all__ = ["TABLES"]

Figures = Mapping[str, float]
Row = tuple[str, ...]


def _parsers(figures: Figures) -> dict[str, list[Row]]:
    return {
        "SSE readers": list(_readers(figures, SSE_READERS)),
        "NDJSON readers": list(_readers(figures, LINE_READERS)),
    }


def _readers(figures: Figures, readers: Iterable[str]) -> Iterable[Row]:
    _, *others = readers
    headings = ("thousand frames/s", OURS, "MB/s", *others, "to the fastest other")
    yield headings
    for body in BODIES:
        for ends in ENDS:
            rows = [f"{body}, {ends}, {cut}, " for cut in CUTS]
            if f"{rows[0]}{others[0]}" not in figures:
                continue
            yield (f"{body}, {ends}", *[""] * (len(headings) - 1))
            for cut, row in zip(CUTS, rows, strict=True):
                yield (f"  {cut}", *_speeds(figures, row, others))


def _speeds(figures: Figures, row: str, others: list[str]) -> Row:
    ours, size = figures[row + OURS], figures[f"{row}size"]
    theirs = [figures[row + other] for other in others]
    speeds = [f"{speed / 1000:,.0f}" if speed > 1e5 else f"{speed / 1000:,.1f}" for speed in (ours, *theirs)]
    return (speeds[0], f"{ours * size / 1e6:,.0f}", *speeds[1:], f"{figures[f'{row}lead']:.2f} x")


def _client(figures: Figures) -> dict[str, list[Row]]:
    alone = figures["python"]
    return {
        "the client": [
            ("", "Penstock"),
            ("`pip install penstock`: distributions, itself included", f"{figures['distributions']:.0f}"),
            ("  MB on disk, byte code included", f"{figures['megabytes']:.1f}"),
            ("  MB of them Penstock's own", f"{figures['our megabytes']:.1f}"),
            ("Python that imports nothing, ms", f"{alone:.0f}"),
            *((f"`{name}`, ms more", f"{figures[name] - alone:.0f}") for name in [*IMPORTS][1:]),
        ]
    }


TABLES: Final[dict[str, Callable[[Figures], dict[str, list[Row]]]]] = {"parsers": _parsers, "client": _client}
"""By scenario; each table by its name in README.md."""
