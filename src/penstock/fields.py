"""
JSON text that is still being written, as the leaves of the value it is going to be.

:class:`Fields` reads text, in pieces of any size; :class:`Tree` makes a value
of the leaves, :class:`JsonText` makes them text again. Rules:

1. What is accepted is a JSON text as RFC 8259 defines it, and nothing else: one
   value, no byte order mark, no ``NaN``, no last comma. Depth alone has a limit
   of ours. Half of a surrogate pair is a character, as the grammar has it, but
   two escapes that make a pair are never taken apart.
2. Where the text is cut makes no difference: the pieces of a leaf, joined, are
   the same, and so is the error.
3. A character costs the same at the end of a long text as at its beginning.
   Kept are the path, and a key or number that is not whole yet.
4. Nothing recurses, and all state is plain: it may be copied at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from json import JSONDecoder
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Final, Literal, NamedTuple

from msgspec import UNSET

from .errors import InvalidJson

__all__ = ["Fields", "JsonText", "Kind", "Leaf", "Path", "Tree", "number", "spelled"]

Path = tuple[str | int, ...]
"""Keys of objects and positions in arrays, from the root; ``()`` is the root."""

Kind = Literal["string", "number", "boolean", "null", "object", "array", "end"]
"""``object`` and ``array`` are empty; ``end`` is the end of one that is not."""


class Leaf(NamedTuple):
    """A value that has no others in it, or a piece of it."""

    path: Path
    kind: Kind
    piece: str | bool | None
    """
    Some more characters of a string (there may be none in its last piece); a
    number as it is written; true, false or null itself; else None.
    """
    last: bool
    """Whether the value at ``path`` is complete with this."""


_leaf: Final[Callable[[tuple[Path, Kind, str | bool | None, bool]], Leaf]] = partial(tuple.__new__, Leaf)
"""``Leaf``, without the Python function in front of a named tuple: in a third of the time."""

# -- what is expected next, in the words of the error

_VALUE: Final = "a value"
_ELEMENT: Final = "a value or ']'"
_MEMBER: Final = "a key or '}'"
_KEY: Final = "a key"
_COLON: Final = "':'"
_IN_ARRAY: Final = "',' or ']'"
_IN_OBJECT: Final = "',' or '}'"
_END: Final = "nothing more"
_MORE_STRING: Final = "more of a string"
_MORE_KEY: Final = "more of a key"
_MORE_NUMBER: Final = "a digit"

# -- what is regular in the grammar

_HIGH: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LOW_IS_CUT: Final = r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z"
_CHARACTERS: Final = re.compile(
    rf"""(?: [^"\\\x00-\x1f]+
           | \\["\\/bfnrt]
           | {_HIGH} (?: {_LOW} | (?!{_LOW_IS_CUT}) )
           | (?!{_HIGH}) \\u[0-9a-fA-F]{{4}}
         ){{,500}}""",
    re.VERBOSE,
)
"""
Of a string, what can be decoded now: half of a surrogate pair only if the other half does not follow.

Bounded, because the engine keeps some 150 bytes of each repetition until it has the last.
"""
_CUT_ESCAPE: Final = re.compile(rf"(?:{_HIGH})?(?:\\(?:u[0-9a-fA-F]{{,3}})?)?")

_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE][-+]?[0-9]*)?)?|[eE][-+]?[0-9]*)?)?")
"""A number as far as it has come. It is whole if it ends in a digit, and may still go on."""
_MORE_DIGITS: Final = re.compile(r"(?<=[0-9])[0-9]+")
_AFTER_NUMBER: Final = frozenset(" \t\n\r,]}")

_WORDS: Final[dict[str, tuple[str, Kind, bool | None]]] = {
    "t": ("true", "boolean", True),
    "f": ("false", "boolean", False),
    "n": ("null", "null", None),
}

_WRITTEN: Final[dict[tuple[Kind, str | bool | None], str]] = {
    **{(kind, value): word for word, kind, value in _WORDS.values()},
    ("object", None): "{}",
    ("array", None): "[]",
}

_HALF: Final = re.compile(r"[\ud800-\udfff]").search

_decode: Final = JSONDecoder().raw_decode


class Fields:
    """Reads one JSON text: what ``feed`` and ``close`` return is its leaves, in their order."""

    __slots__ = (
        "_course", "_depth", "_ends", "_error", "_expects", "_held", "_path", "_read", "_steps", "_then",
        "_whole",
    )  # fmt: skip

    def __init__(self, *, depth: int = 512, ends: bool = False) -> None:
        """
        Args:
            depth: how many containers may be open, one within the other.
            ends: whether to report the ``end`` of containers, too; ``last`` is then said of
                every path that becomes complete.
        """
        self._depth = depth
        self._ends = ends
        self._expects = _VALUE
        self._then = _END
        """What is expected after the next value."""
        self._steps: list[str | int] = []
        """Where we are in each open container: a position, or a key (an empty one before the first)."""
        self._path: Path = ()
        """Of the string or number that is being read."""
        self._held = ""
        """Characters that mean nothing without those that follow: at most eleven."""
        self._whole: StringIO | None = None
        """A key or number that was cut; a buffer, because a list would keep every piece alive."""
        self._course = ""
        """Such a number, with a digit for several: all that decides how it may go on."""
        self._read = 0
        """How many characters came before those that are held."""
        self._error = ""

    @property
    def complete(self) -> bool:
        """Whether a whole value has been read. A lone number ends only before a space, or in ``close``."""
        return self._expects == _END and not self._error

    def feed(self, text: str) -> list[Leaf]:
        """
        Read on; return what leaves, and pieces of leaves, are in ``text``.

        If some come before a mistake, they are returned, and the next call raises.

        Raises:
            InvalidJson: no JSON text goes on like this. Every later call says so again.
        """
        plain = self._expects == _MORE_STRING and text and not self._held and text.isprintable()
        if plain and '"' not in text and "\\" not in text:
            self._read += len(text)
            return [_leaf((self._path, "string", text, False))]
        if self._error:
            raise InvalidJson(self._error)
        if self._held:
            text, self._held = self._held + text, ""
        leaves: list[Leaf] = []
        at, end = 0, len(text)
        try:
            if (more := _MORE.get(self._expects)) is not None:
                at = more(self, text, at, leaves)
            while at < end:
                step = _GRAMMAR[self._expects].get(text[at])
                if isinstance(step, str):
                    self._expects = step
                    at += 1
                elif step is not None:
                    at = step(self, text, at, leaves)
                else:
                    raise self._unexpected(text, at)
        except InvalidJson as exc:
            self._fail(exc.message)
            if not leaves:
                raise
        self._read += end - len(self._held)
        return leaves

    def close(self) -> list[Leaf]:
        """
        Take it that the text has ended; return the number that ends with it, if it is one.

        Raises:
            InvalidJson: it is not one whole value.
        """
        if self._error:
            raise InvalidJson(self._error)
        leaves: list[Leaf] = []
        if self._expects == _MORE_NUMBER and self._course[-1].isdigit():
            leaves.append(_leaf((self._path, "number", self._taken(""), True)))
            self._expects = self._then
        if self._expects != _END:
            position = self._read + len(self._held)
            self._fail(f"expected {self._expects}, but the text ends at character {position}")
            raise InvalidJson(self._error)
        return leaves

    def _fail(self, message: str) -> None:
        self._expects, self._error = _END, message

    def _unexpected(self, text: str, at: int, expected: str = "") -> InvalidJson:
        expected = expected or self._expects
        return InvalidJson(f"expected {expected}, found {text[at]!r} at character {self._read + at}")

    def _hold(self, text: str, at: int) -> int:
        self._held = text[at:]
        return len(text)

    # -- each of these reads what begins, or goes on, at a position, and returns where it ends

    def _open(self, text: str, at: int, leaves: list[Leaf]) -> int:
        if len(self._steps) == self._depth:
            raise InvalidJson(f"nested deeper than {self._depth} at character {self._read + at}")
        if text[at] == "[":
            self._steps.append(0)
            self._expects, self._then = _ELEMENT, _IN_ARRAY
        else:
            self._steps.append("")
            self._expects, self._then = _MEMBER, _IN_OBJECT
        return at + 1

    def _shut(self, text: str, at: int, leaves: list[Leaf]) -> int:
        del self._steps[-1]
        kind = _EMPTY.get(self._expects, "end")
        if kind != "end" or self._ends:
            leaves.append(_leaf((tuple(self._steps), kind, None, True)))
        self._expects = self._then = _after_value(self._steps)
        return at + 1

    def _next_element(self, text: str, at: int, leaves: list[Leaf]) -> int:
        self._steps[-1] = int(self._steps[-1]) + 1
        self._expects = _VALUE
        return at + 1

    def _word(self, text: str, at: int, leaves: list[Leaf]) -> int:
        word, kind, value = _WORDS[text[at]]
        stop = at + len(word)
        if text[at:stop] != word:
            return self._cut_word(word, text, at)
        leaves.append(_leaf((tuple(self._steps), kind, value, True)))
        self._expects = self._then
        return stop

    def _cut_word(self, word: str, text: str, at: int) -> int:
        stop = at + _shared(word, text[at : at + len(word)])
        if stop < len(text):
            raise self._unexpected(text, stop, word)
        return self._hold(text, at)

    def _string(self, text: str, at: int, leaves: list[Leaf]) -> int:
        self._path = tuple(self._steps)
        self._expects = _MORE_STRING
        at += 1
        return self._more_string(text, at, leaves) if at < len(text) else at

    def _more_string(self, text: str, at: int, leaves: list[Leaf]) -> int:
        piece, stop = _decoded(text, at)
        over = stop < len(text) and text[stop] == '"'
        if piece or over:
            leaves.append(_leaf((self._path, "string", piece, over)))
        if over:
            self._expects = self._then
            return stop + 1
        return stop if stop == len(text) else self._cut_escape(text, stop)

    def _key(self, text: str, at: int, leaves: list[Leaf]) -> int:
        self._expects = _MORE_KEY
        at += 1
        return self._more_key(text, at, leaves) if at < len(text) else at

    def _more_key(self, text: str, at: int, leaves: list[Leaf]) -> int:
        piece, stop = _decoded(text, at)
        if stop < len(text) and text[stop] == '"':
            self._steps[-1] = self._taken(piece)
            self._expects = _COLON
            return stop + 1
        self._keep(piece)
        return stop if stop == len(text) else self._cut_escape(text, stop)

    def _cut_escape(self, text: str, at: int) -> int:
        stop = _stop(_CUT_ESCAPE, text, at)
        if stop < len(text):
            raise self._unexpected(text, stop)
        return self._hold(text, at)

    def _number(self, text: str, at: int, leaves: list[Leaf]) -> int:
        self._path = tuple(self._steps)
        stop = _stop(_NUMBER, text, at)
        if stop < len(text):
            return self._end_number(text[at:stop], text, stop, leaves)
        self._keep(text[at:])
        self._course = _MORE_DIGITS.sub("", text[at:])
        self._expects = _MORE_NUMBER
        return stop

    def _more_number(self, text: str, at: int, leaves: list[Leaf]) -> int:
        course = self._course + text
        stop = _stop(_NUMBER, course, 0) - len(self._course)
        if stop < len(text):
            return self._end_number(self._taken(text[:stop]), text, stop, leaves)
        self._keep(text)
        self._course = _MORE_DIGITS.sub("", course)
        return stop

    def _end_number(self, whole: str, text: str, at: int, leaves: list[Leaf]) -> int:
        if not whole[-1].isdigit():
            raise self._unexpected(text, at, _MORE_NUMBER)
        self._expects = self._then
        if text[at] not in _AFTER_NUMBER:
            raise self._unexpected(text, at)
        leaves.append(_leaf((self._path, "number", whole, True)))
        return at

    def _keep(self, piece: str) -> None:
        if self._whole is None:
            self._whole = StringIO()
        self._whole.write(piece)

    def _taken(self, rest: str) -> str:
        if self._whole is None:
            return rest
        whole, self._whole = self._whole.getvalue() + rest, None
        return whole


_Step = str | Callable[[Fields, str, int, list[Leaf]], int]
"""What is expected after a character, or who reads what begins with it."""


def _steps(steps: dict[str, _Step], *, space: str) -> dict[str, _Step]:
    """Spell a table out: a key stands for each of its characters, and spaces change nothing."""
    spelled_out = {character: step for characters, step in steps.items() for character in characters}
    return {**dict.fromkeys(" \t\n\r", space), **spelled_out}


_ANY_VALUE: Final[dict[str, _Step]] = {
    "{[": Fields._open,
    '"': Fields._string,
    "-0123456789": Fields._number,
    "tfn": Fields._word,
}
_TABLE: Final[dict[str, dict[str, _Step]]] = {
    _VALUE: _ANY_VALUE,
    _ELEMENT: {**_ANY_VALUE, "]": Fields._shut},
    _MEMBER: {'"': Fields._key, "}": Fields._shut},
    _KEY: {'"': Fields._key},
    _COLON: {":": _VALUE},
    _IN_ARRAY: {",": Fields._next_element, "]": Fields._shut},
    _IN_OBJECT: {",": _KEY, "}": Fields._shut},
    _END: {},
}
_GRAMMAR: Final = {expected: _steps(table, space=expected) for expected, table in _TABLE.items()}
_MORE: Final = {
    _MORE_STRING: Fields._more_string,
    _MORE_KEY: Fields._more_key,
    _MORE_NUMBER: Fields._more_number,
}
_EMPTY: Final[dict[str, Kind]] = {_ELEMENT: "array", _MEMBER: "object"}


def _after_value(steps: Sequence[str | int]) -> str:
    if not steps:
        return _END
    return _IN_ARRAY if isinstance(steps[-1], int) else _IN_OBJECT


def _decoded(text: str, at: int) -> tuple[str, int]:
    """Return what can be decoded of a string from ``at`` on, and where that stops."""
    stop = text.find('"', at)
    plain = text[at:] if stop < 0 else text[at:stop]
    if plain.isprintable() and "\\" not in plain:  # what is not printable may be a control character
        return plain, at + len(plain)
    pieces = []
    while (stop := _stop(_CHARACTERS, text, at)) > at:
        pieces.append(_decode(f'"{text[at:stop]}"')[0])
        at = stop
    return "".join(pieces), at


def _stop(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where ``pattern``, one that needs nothing to match, stops matching."""
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _shared(one: Sequence[str | int], other: Sequence[str | int]) -> int:
    """Return how many items both begin with."""
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n


# -- what leaves become


def number(text: str) -> int | float:
    """
    Return the value of a JSON number, as ``json.loads`` does.

    An integer of more digits than Python reads (4,300, if nobody has set another
    limit) is a float, not an error: an infinite one, like ``1e999``.
    """
    if text.lstrip("-").isdigit():
        try:
            return int(text)
        except ValueError:
            pass
    return float(text)


def spelled(path: Path) -> str:
    """Return ``path`` as people write it: ``a.b[0].c``. Nothing is escaped; the root is empty."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


class Tree:
    """
    The value that leaves belong to, as far as they have come.

    It equals what ``json.loads`` returns once they are all there. For that they
    must be those of ``Fields(ends=True)`` if a key may come twice: without ends,
    a second object of the same path looks like more of the first.
    """

    __slots__ = ("_containers", "_path", "_root", "_text")

    def __init__(self) -> None:
        self._root: Any = UNSET
        self._path: Path = ()
        """Of the latest leaf."""
        self._containers: list[Any] = []
        """Those that are open, from the root on."""
        self._text: StringIO | None = None
        """The string at the end of the path, while more of it may come."""

    @property
    def value(self) -> Any:
        """
        The value so far; UNSET before the first leaf.

        A string that is still growing is joined for each look. The containers
        are the tree's own, and change.
        """
        if self._text is not None:
            self._set(self._text.getvalue())
        return self._root

    def apply(self, leaf: Leaf) -> None:
        """Fold one leaf into the value."""
        path, kind, piece, last = leaf
        match kind:
            case "string":
                self._grow(path, str(piece), last)
            case "number":
                self._put(path, number(str(piece)))
            case "object" | "array":
                self._put(path, {} if kind == "object" else [])
            case "end":
                del self._containers[len(path) :]
            case _:
                self._put(path, piece)

    def _grow(self, path: Path, piece: str, last: bool) -> None:
        if self._text is None:
            self._put(path, "")
            self._text = StringIO()
        self._text.write(piece)
        if last:
            self._set(self._text.getvalue())
            self._text = None

    def _put(self, path: Path, value: Any) -> None:
        """Place a value, and the containers on the way to it that are not open."""
        del self._containers[min(len(path), _shared(path, self._path) + 1) :]
        for depth in range(len(self._containers), len(path)):
            container: Any = [] if isinstance(path[depth], int) else {}
            self._path = path[:depth]
            self._set(container)
            self._containers.append(container)
        self._path = path
        self._set(value)

    def _set(self, value: Any) -> None:
        if not self._path:
            self._root = value
            return
        container, step = self._containers[-1], self._path[-1]
        if isinstance(container, list) and step == len(container):
            container.append(value)
        else:
            container[step] = value


class JsonText:
    """
    JSON text, written leaf by leaf: the pieces that ``feed`` and ``close`` return.

    Leaves come depth-first, as from :class:`Fields`, but neither an ``end`` nor
    ``last`` is needed: a leaf with another path says as much. Characters are
    written as they are if JSON lets them; halves of surrogate pairs, which have
    no UTF-8, as escapes.
    """

    __slots__ = ("_open", "_path", "_quote")

    def __init__(self) -> None:
        self._path: Path | None = None
        """Of the latest leaf, or of the container that ended after it."""
        self._open: list[int | set[str]] = []
        """The containers on this path: an array's next position, the keys that an object has by now."""
        self._quote = ""
        """What ends the string that the latest leaf is a piece of."""

    def feed(self, leaf: Leaf) -> str:
        """
        Return the text that ``leaf`` adds.

        Raises:
            InvalidJson: in no text does it stand here: it comes again, it is within something
                that is complete, or a position is left out. Nothing can follow.
        """
        path, kind, piece, last = leaf
        if kind == "end":
            return self._end(path)
        goes_on = self._quote and kind == "string" and path == self._path
        text = "" if goes_on else self._go_to(path)
        if kind != "string":
            return text + (_WRITTEN.get((kind, piece)) or str(piece))
        opening, self._quote = "" if goes_on else '"', "" if last else '"'
        return text + opening + _escaped(str(piece)) + ('"' if last else "")

    def close(self) -> str:
        """Return what closes all that is open: nothing, if there was no leaf."""
        if self._path is None:
            return ""
        here, self._path = self._path, ()
        return self._leave(here, 0)

    def _end(self, path: Path) -> str:
        here = self._path or ()
        if len(path) >= len(here) or path != here[: len(path)]:
            raise self._misplaced(path)
        self._path = path
        return self._leave(here, len(path))

    def _go_to(self, path: Path) -> str:
        here, text, same = self._path, "", 0
        if here is not None:
            same = _shared(path, here)
            if same == len(path) or same == len(here):
                raise self._misplaced(path)
            text = self._leave(here, same + 1) + ","
        for depth in range(same, len(path)):
            text += self._enter(path, depth)
        self._path = path
        return text

    def _leave(self, here: Path, depth: int) -> str:
        """Close what is open beyond the first containers."""
        quote, self._quote = self._quote, ""
        del self._open[depth:]
        return quote + "".join("]" if isinstance(step, int) else "}" for step in reversed(here[depth:]))

    def _enter(self, path: Path, depth: int) -> str:
        """Begin a member or an element, and its container, if that is not open."""
        text, step = "", path[depth]
        if depth == len(self._open):
            self._open.append(0 if isinstance(step, int) else set())
            text = "[" if isinstance(step, int) else "{"
        match self._open[depth], step:
            case int(position), int() if step == position:
                self._open[depth] = position + 1
                return text
            case set(keys), str() if step not in keys:
                keys.add(step)
                return f'{text}"{_escaped(step)}":'
            case _:
                raise self._misplaced(path)

    def _misplaced(self, path: Path) -> InvalidJson:
        before = "the beginning" if self._path is None else repr(spelled(self._path))
        self._path, self._open, self._quote = (), [], ""
        return InvalidJson(f"{spelled(path)!r} cannot follow {before}")


def _escaped(text: str) -> str:
    return (encode_basestring_ascii if _HALF(text) else encode_basestring)(text)[1:-1]
