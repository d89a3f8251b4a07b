"""
What reading JSON text costs while it is being written, in pieces of four characters.

First the reader alone; then as it is used, from the events of an answer to the
frames that say ``(json_path, delta)``. Beside them: a parser in Rust that takes incomplete text, and reads it
from the beginning with each piece. It is given a hundred beginnings, evenly
spaced, and what all of them would cost is extrapolated: for a long text, hours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from statistics import median
from time import thread_time
from typing import Final

from penstock.dialects.opper import DIALECT
from penstock.events import DataPart, PartDelta, PartStarted, ResponseStarted
from penstock.fields import Fields
from penstock.log import Record

from .machine import BenchError

__all__ = ["SIZES", "figures"]

SIZES: Final = {"1 KB": 1_000, "100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}

_PIECE: Final = 4
_BLOCK: Final = 4_000  # characters that are cut in advance: more would have to come from beyond the caches
_LEAST: Final = 500_000  # characters that are enough to be timed: a shorter text is read again and again
_BEGINNINGS: Final = 100

_WORDS: Final = [
    "the", "river", "ran", "under", "an", "old", "stone", "bridge", "and", "on", "to", "where", "many",
    "boats", "lay", "still",
]  # fmt: skip


def figures() -> dict[str, float]:
    """Return nanoseconds of CPU per character, by reader and size, and the longest's to the shortest's."""
    texts = {name: _text(size) for name, size in SIZES.items()}
    ours = {
        f"{reader} {name}": _incremental(text, begin)
        for reader, begin in (("fields", _reading), ("opper", _speaking))
        for name, text in texts.items()
    }
    theirs = {f"jiter {name}": _from_the_beginning(text) for name, text in texts.items()}
    flat = {
        "flat": ours["fields 10 MB"] / ours["fields 1 KB"],
        "opper flat": ours["opper 10 MB"] / ours["opper 1 KB"],
    }
    return {**ours, **theirs, **flat}


def _text(size: int) -> str:
    """The first ``size`` characters of an answer such as a model gives to a schema: a list of records."""
    random = Random(7)
    parts, length = ['{"title": "report", "items": ['], 0
    while length < size:
        parts.append(json.dumps(_record(len(parts), random), ensure_ascii=False) + ", ")
        length += len(parts[-1])
    return "".join(parts)[:size]


def _record(n: int, random: Random) -> dict[str, object]:
    return {
        "id": n,
        "name": " ".join(random.choices(_WORDS, k=3)),
        "score": round(random.random() * 100, 3),
        "known": n % 2 == 0,
        "tags": ["new", "one\nmore", "café"],
        "body": " ".join(random.choices(_WORDS, k=30)) + ' "quoted"',
        "note": None,
    }


def _reading() -> Callable[[str], object]:
    """Return what takes a text, piece by piece."""
    return Fields().feed


def _speaking() -> Callable[[str], object]:
    encode, write = DIALECT.wire().encoder().encode, DIALECT.framings[0].write
    for event in (ResponseStarted("st_1.1"), PartStarted("p1", DataPart())):
        list(encode(Record(0, 0.0, event)))

    def say(piece: str) -> None:
        for frame in encode(Record(0, 0.0, PartDelta("p1", piece))):
            write(frame)

    return say


def _incremental(text: str, begin: Callable[[], Callable[[str], object]]) -> float:
    rounds = max(1, _LEAST // len(text))
    return median(cost for _ in range(rounds) for cost in _costs(text, begin())) * 1e9


def _costs(text: str, feed: Callable[[str], object]) -> Iterator[float]:
    """Read ``text`` once; yield the seconds per character of each block."""
    for begin in range(0, len(text), _BLOCK):
        block = text[begin : begin + _BLOCK]
        pieces = [block[n : n + _PIECE] for n in range(0, len(block), _PIECE)]
        began = thread_time()
        for piece in pieces:
            feed(piece)
        yield (thread_time() - began) / len(block)


def _from_the_beginning(text: str) -> float:
    """The parser is given each beginning as bytes, ready made: the joining is not counted."""
    try:
        from jiter import from_json
    except ImportError:
        raise BenchError("jiter is missing: pip install -e '.[test]'") from None
    step = max(1, len(text) // _PIECE // _BEGINNINGS)
    beginnings = range(_PIECE, len(text) + 1, _PIECE)[step // 2 :: step]
    rounds, seconds = max(1, _LEAST // len(text)), 0.0
    for length in beginnings:
        data = text[:length].encode()
        began = thread_time()
        for _ in range(rounds):
            from_json(data, partial_mode="trailing-strings")
        seconds += thread_time() - began
    return seconds / rounds / len(beginnings) / _PIECE * 1e9
