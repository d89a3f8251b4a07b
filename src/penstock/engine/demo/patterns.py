"""
A text for a regular expression.

Enough of the grammar for the patterns that people put into schemas: literals,
classes, groups, alternatives, counted repeats. Anchors, word boundaries and
look-around count as nothing, so that the text for a pattern that leans on them
is a best effort. It is never searched with the pattern: a stranger's pattern,
run on a text that does not match, may take for ever.

A pattern is read once, into a *writer*: a function that writes a text, another
one each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

__all__ = ["texts_for"]

_GROWTH = (1, 0, 2, 3, 5, 8, 13, 21, 34, 55)
"""How often to repeat what may be repeated, beyond what must be; best looks first."""

_MOST = 1000  # repeats and characters in all; a longer text is nothing to show
_VISIBLE = "".join(map(chr, range(32, 127)))
_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

_CLASSES: Final = {
    "d": _DIGITS,
    "w": _LETTERS + _DIGITS,
    "s": " ",
    "D": _LETTERS,
    "W": "-",
    "S": _LETTERS + _DIGITS,
}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_CODED: Final = {"x": 2, "u": 4}  # digits of a character's number
_PLACES = "bBAZz"  # escapes that match a place, not a character
_REPEATS: Final = {"*": (0, _MOST), "+": (1, _MOST), "?": (0, 1)}
_COUNTED = re.compile(r"\{(\d*)(,?)(\d*)\}")
_GROUP = re.compile(r"\?(?:P?<\w+>|:|(?P<look><?[=!]))|(?!\?)")


class _Pen:
    """What a writer writes with: another choice each time, and ink for so much."""

    def __init__(self, turn: int, growth: int) -> None:
        self.growth = growth
        self._first = self._turn = turn

    def turn(self) -> int:
        self._turn += 1
        if self._turn - self._first > _MOST:
            raise ValueError("too long")
        return self._turn


_Writer = Callable[[_Pen], str]


def texts_for(pattern: str, turn: int) -> Iterator[str]:
    """Propose texts that match ``pattern``, other ones each ``turn``; none where it is beyond this."""
    with suppress(re.error, ValueError, IndexError):
        re.compile(pattern)
        write = _Reader(pattern).read()
        for growth in _GROWTH:
            yield write(_Pen(turn, growth))


class _Reader:
    """Recursive descent through one pattern, which the standard library found sound."""

    def __init__(self, pattern: str) -> None:
        self._rest = pattern

    def read(self) -> _Writer:
        write = self._alternatives()
        if self._rest:
            raise ValueError(f"not understood: {self._rest}")
        return write

    def _take(self) -> str:
        char, self._rest = self._rest[0], self._rest[1:]
        return char

    def _skip(self, text: str) -> bool:
        found = self._rest.startswith(text)
        self._rest = self._rest.removeprefix(text)
        return found

    def _alternatives(self) -> _Writer:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        if len(options) == 1:
            return options[0]
        return lambda pen: options[pen.turn() % len(options)](pen)

    def _sequence(self) -> _Writer:
        writers = []
        while self._rest and self._rest[0] not in "|)":
            writers.append(self._repeated(self._atom()))
        return lambda pen: "".join(write(pen) for write in writers)

    def _atom(self) -> _Writer:
        match self._take():
            case "(":
                return self._group()
            case "[":
                return _one_of(self._set())
            case "^" | "$":
                return _one_of("")
            case ".":
                return _one_of(_LETTERS)
            case "\\":
                return _one_of(self._escaped())
            case char:
                return _one_of(char)

    def _group(self) -> _Writer:
        head = _GROUP.match(self._rest)
        if not head:
            raise ValueError("flags and comments are not understood")
        self._rest = self._rest[head.end() :]
        write = self._alternatives()
        self._take()
        return _one_of("") if head["look"] else write

    def _repeated(self, write: _Writer) -> _Writer:
        low, high = self._repeats()
        self._skip("?")  # lazy or not, the text matches
        if low == high == 1:
            return write

        def repeat(pen: _Pen) -> str:
            times = min(low + pen.growth, high)
            return "".join(write(pen) for _ in range(times) if pen.turn())

        return repeat

    def _repeats(self) -> tuple[int, int]:
        if counted := _COUNTED.match(self._rest):
            self._rest = self._rest[counted.end() :]
            low, comma, high = counted.groups()
            return int(low or 0), int(high or _MOST) if comma else int(low)
        if self._rest[:1] in _REPEATS:
            return _REPEATS[self._take()]
        return 1, 1

    def _escaped(self) -> str:
        """What an escape stands for: one of these characters."""
        char = self._take()
        if digits := _CODED.get(char):
            code, self._rest = self._rest[:digits], self._rest[digits:]
            return chr(int(code, 16))
        if char in _PLACES:
            return ""
        if char.isdecimal() and char != "0":
            raise ValueError("back references are not understood")
        return _CLASSES.get(char) or _CONTROLS.get(char, char)

    def _set(self) -> str:
        """The characters of ``[...]``, whose opening bracket is behind us."""
        negated, chars = self._skip("^"), ""
        while not chars or self._rest[0] != "]":
            first = self._member()
            if self._rest[0] == "-" and self._rest[1] != "]":
                self._take()
                first = "".join(map(chr, range(ord(first), ord(self._member()) + 1)))
            chars += first
        self._take()
        if not negated:
            return chars
        return _without(_LETTERS + _DIGITS, chars) or _without(_VISIBLE, chars)

    def _member(self) -> str:
        char = self._take()
        return self._escaped() if char == "\\" else char


def _one_of(chars: str) -> _Writer:
    return lambda pen: chars[pen.turn() % len(chars)] if chars else ""


def _without(chars: str, others: str) -> str:
    return "".join(char for char in chars if char not in others)
