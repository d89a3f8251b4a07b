"""
The figures as tables: medians, ratios, and the floors, met or missed.

They go to the terminal. Those of which everything was measured, and not in haste, go
into README.md, each between its two marks.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from . import comparison
from .fields import SIZES
from .machine import HERE
from .scenarios import SCENARIOS, Figures

__all__ = ["NOTES", "Results", "show", "write"]

Row = tuple[str, ...]
Results = Mapping[str, Mapping[str, Sequence[Figures]]]
"""By scenario and target, the figures of each run."""

_TARGETS: Final = ("direct", "nginx", "penstock")
_HEADINGS: Final = ("", "direct", "nginx", "Penstock", "to nginx", "floor")
_BEGIN: Final = "<!-- {}: written by `make bench` -->"
_END: Final = "<!-- end of {} -->"

_TOOLS_FULL: Final = 0.93
_SERVER_IDLE: Final = 0.9
_DISTURBED: Final = 0.08
_OF_SERVER: Final = ("cpu", "cpu_all", "per_stream", "server_busy")

NOTES: Final = """\
`*` the load tools were at their end, not the server: its own limit is higher.
`~` not all streams had begun when the measurement began: it is of fewer, and of their beginning."""


class Floor(NamedTuple):
    """What a figure, or its ratio to nginx, must not pass."""

    words: str
    holds: Callable[[float], bool]
    of_ratio: bool = False


class Line(NamedTuple):
    """One figure of a scenario, as it is shown."""

    figure: str
    label: str
    form: str = ",.0f"
    floor: Floor | None = None
    limited: bool = False
    """Whether it says nothing about the server when the load tools are at their end."""
    steady: bool = False
    """Whether it says nothing unless all streams had begun when it was taken."""
    compared: bool = True
    """Whether its ratio to nginx is of interest."""


_BUSY: Final = (
    Line("server_busy", "server's share of its core", ".0%", compared=False),
    Line("tools_busy", "load tools' share of theirs", ".0%", compared=False),
)
_FOREIGN: Final = Line("foreign", "others' share of the server's core", ".0%", compared=False)
_TIMES: Final = (
    Line("p50", "latency p50, ms", ",.2f", steady=True, compared=False),
    Line("p99", "latency p99, ms", ",.2f", steady=True, compared=False),
    Line("p99_all", "latency p99 with the first 40 %, ms", ",.2f", compared=False),
    Line("first50", "first event p50, ms", ",.0f", compared=False),
    Line("first99", "first event p99, ms", ",.0f", compared=False),
)
_RATE: Final = Line("rate", "events/s", limited=True)
_CPU: Final = Line("cpu", "CPU us per event", ".1f", steady=True)
_CPU_ALL: Final = Line("cpu_all", "CPU us per event, from connecting to the end", ".1f")
_PACED: Final = (_RATE, _CPU, _CPU_ALL, *_TIMES, *_BUSY)


def _at_most(limit: float, unit: str = "", *, ratio: bool = False) -> Floor:
    words = f"<= {limit:g} x nginx" if ratio else f"<= {limit:g}{unit}"
    return Floor(words, lambda value: value <= limit, ratio)


_SHOWN: Final[dict[str, tuple[Line, ...]]] = {
    "one": (_RATE, *_BUSY),
    "eager": (
        _RATE._replace(floor=Floor(">= 0.8 x nginx", lambda ratio: ratio >= 0.8, of_ratio=True)),
        _CPU_ALL,
        *_BUSY,
    ),
    "paced": (
        _RATE,
        _CPU._replace(floor=_at_most(2.5, ratio=True)),
        _CPU_ALL,
        _TIMES[0],
        _TIMES[1]._replace(floor=_at_most(15, " ms")),
        *_TIMES[2:],
        *_BUSY,
    ),
    "paced50": _PACED,
    "few": (_CPU, *_TIMES),
    "short": (
        Line("streams_rate", "streams/s", limited=True),
        Line("per_stream", "CPU us per stream", ",.0f"),
        *_BUSY,
    ),
    "fanout": (Line("cpu", "CPU us per delivery", ".1f"), *_TIMES[:2], *_BUSY),
    "flat": (
        Line("cpu_early", "CPU us per event, 100th to 7,600th", ".1f"),
        Line("cpu_late", "CPU us per event, 46,000th to 53,500th", ".1f"),
        Line("late_to_early", "late to early", ".2f", _at_most(1.15)),
    ),
    "memory": (
        Line("base_mb", "resident before, MB", ",.1f"),
        Line("per_stream_kb", "kB per active stream", ",.1f"),
    ),
    "idle": (Line("per_reader_kb", "kB per idle reader", ",.1f"),),
    "replay": (
        Line("native_rate", "native, one reader, events/s"),
        Line("chat_rate", "openai-chat, one reader, events/s"),
        Line("many_rate", "native, ten readers, events/s"),
    ),
    "log": (
        Line("log_bytes", "bytes on disk per event, server running", ",.0f"),
        Line("log_bytes_after", "bytes on disk per event, server ended", ",.0f"),
    ),
    "start": (
        Line("start_ms", "to the first answer of /healthz, ms"),
        Line("help_ms", "`penstock --help`, ms", ",.0f", _at_most(200, " ms")),
    ),
    "fields": (
        *(Line(f"fields {size}", f"{size}, ns per character") for size in SIZES),
        Line("flat", "10 MB to 1 KB", ".2f", _at_most(1.25)),
        *(Line(f"opper {size}", f"{size}, spoken as Opper's v2 wire") for size in SIZES),
        Line("opper flat", "10 MB to 1 KB, spoken", ".2f", _at_most(1.25)),
        *(Line(f"jiter {size}", f"{size}, jiter from the beginning (extrapolated)") for size in SIZES),
    ),
}


def _rows(results: Results) -> Iterator[Row]:
    """Yield a scenario's title alone, then its figures."""
    for name in filter(_SHOWN.__contains__, results):
        by_target = results[name]
        yield (SCENARIOS[name].title, *[""] * (len(_HEADINGS) - 1))
        if "penstock" not in by_target:
            yield ("  FAILED", *[""] * (len(_HEADINGS) - 1))
        medians = {target: _medians(runs) for target, runs in by_target.items()}
        for line in _SHOWN[name]:
            yield _row(line, medians)
        if any(figures.get("foreign", 0) > _DISTURBED for figures in medians.values()):
            yield _row(_FOREIGN, medians)


def _tables(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """Yield each table that has figures, its headings first, by its name in README.md."""
    if not _SHOWN.keys().isdisjoint(results):
        yield "figures", [_HEADINGS, *_rows(results)]
    for name, tables in comparison.TABLES.items():
        if runs := results.get(name, {}).get("penstock"):
            yield from tables(_medians(runs)).items()


def show(results: Results) -> str:
    """Return the tables for a terminal."""
    return "\n\n".join(_aligned_table(table) for _, table in _tables(results))


def write(results: Results, cores: int, runs: int) -> None:
    """Put the tables of which everything was measured into README.md."""
    readme = HERE / "README.md"
    made = f"{cores} cores, Python {platform.python_version()}, medians of {runs} runs."
    text = readme.read_text()
    for name, table in _tables(results):
        if name == "figures" and not _SHOWN.keys() <= results.keys():
            continue
        notes = [NOTES.replace("\n", "  \n"), ""] if name == "figures" else []
        text = _between(text, name, "\n".join(["", made, "", *_markdown(table), "", *notes, ""]))
    readme.write_text(text)


def _between(text: str, name: str, new: str) -> str:
    begin, end = _BEGIN.format(name), _END.format(name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + new + end + after


def _markdown(table: Sequence[Row]) -> Iterator[str]:
    headings, *rows = table
    last = "---" if headings == _HEADINGS else "--:"
    yield "| " + " | ".join(headings) + " |"
    yield "|---|" + "--:|" * (len(headings) - 2) + f"{last}|"
    for first, *others in rows:
        title = first if any(others) else f"**{first.strip()}**"
        yield "| " + " | ".join([title, *others]) + " |"


def _aligned_table(table: Sequence[Row]) -> str:
    columns = range(len(table[0]))
    widths = [max((len(row[n]) for row in table if any(row[1:]) or n), default=0) for n in columns]
    return "\n".join(_aligned(row, widths) for row in table)


def _medians(runs: Sequence[Figures]) -> Figures:
    return {name: median(figures[name] for figures in runs) for name in runs[0]}


def _row(line: Line, medians: Mapping[str, Figures]) -> tuple[str, ...]:
    cells = [_cell(line, target, medians.get(target, {})) for target in _TARGETS]
    theirs, ours = (medians.get(target, {}).get(line.figure) for target in ("nginx", "penstock"))
    ratio = ours / theirs if ours is not None and theirs else None
    shown = "" if ratio is None or not line.compared else f"{ratio:.2f} x"
    return (f"  {line.label}", *cells, shown, _verdict(line, medians, ours, ratio))


def _cell(line: Line, target: str, figures: Figures) -> str:
    if line.figure not in figures or (target == "direct" and line.figure in _OF_SERVER):
        return ""
    full = line.limited and figures["tools_busy"] > _TOOLS_FULL and figures["server_busy"] < _SERVER_IDLE
    unsteady = line.steady and figures.get("unsteady")
    return format(figures[line.figure], line.form) + ("*" if full else "") + ("~" if unsteady else "")


def _verdict(line: Line, medians: Mapping[str, Figures], value: float | None, ratio: float | None) -> str:
    floor = line.floor
    judged = ratio if floor is not None and floor.of_ratio else value
    if floor is None or judged is None:
        return ""
    servers = [medians[target] for target in ("nginx", "penstock") if target in medians]
    unsteady = line.steady and any(figures.get("unsteady") for figures in servers)
    disturbed = any(figures.get("foreign", 0) > _DISTURBED for figures in servers)
    doubts = [word for word, is_so in (("unsteady", unsteady), ("disturbed", disturbed)) if is_so]
    found = "met" if floor.holds(judged) else "MISSED"
    return f"{floor.words}: {found}" + (f" ({', '.join(doubts)})" if doubts else "")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others, last = row
    cells = [
        first.ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(others, widths[1:-1], strict=True)),
    ]
    return "  ".join([*cells, last]).rstrip()
