"""
JSON text that is still being written, as patches of a document (section 5.4).

The document starts as ``{}``; a patch is operations of RFC 6902, and of those
only what readers need: ``add`` of what is new, ``replace`` of a string that has
grown, ``remove`` where an answer takes a member back. Nothing is put under a
parent that is not there, and the root is left alone unless it is no object.

RFC 6902 cannot append to a string: whenever it is said to have grown, it is said
again as a whole. Paths are said again, too, and the list of fields that are
complete. That all of it stays linear is a matter of credit: a patch is *due*
once the text since the last one pays for what it says again; the end of a string
is free, for it comes but once. A document that cannot pay is said whole at its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, json

from ...errors import InvalidJson
from ...fields import Fields, Leaf, Path, Tree, spelled
from ...wire import jsontext
from .text import Text

__all__ = ["Patches"]

_EACH: Final = 256
"""Bytes of credit for each piece of text: what a chunk of a chat wire weighs."""
_CHARACTER: Final = 8
"""Bytes of credit for each character: with this, a string is said again once it has grown by an eighth."""
_OPERATION: Final = 36
"""Bytes of an operation beside its path and its value."""


class _Operation(Struct):
    """What is to be done at a path; the value grows until it is said."""

    verb: str
    path: Path
    value: Tree


class Patches:
    """
    Reads the text of one value, in pieces of any size, and says what becomes of the document.

    Text that turns out not to be JSON is read up to the mistake.
    """

    __slots__ = (
        "_complete", "_cost", "_credit", "_depth", "_fields", "_known", "_listed", "_operations", "_read",
        "_replaces", "_said", "_string", "_within",
    )  # fmt: skip

    def __init__(self) -> None:
        self._fields = Fields(ends=True)
        self._operations: list[_Operation] = []
        """What is to be said next."""
        self._said: set[Path] = set()
        """Members of the root that readers have; ``()`` if the root was replaced."""
        self._depth = 0
        """How many containers are open."""
        self._known: int | None = None
        """How many of them readers have; None before the first leaf."""
        self._within: int | None = None
        """The depth of the container, new in the last operation, that all leaves now belong to."""
        self._string: tuple[Path, Text] | None = None
        """The string that goes on."""
        self._replaces = 0
        """Characters of it that readers have."""
        self._complete: dict[str, None] = {}
        self._credit = self._cost = self._listed = 0
        """Bytes: earned, to be paid for operations, and for the list of fields."""
        self._read = 0
        """Characters."""

    @property
    def complete(self) -> list[str]:
        """Fields that are complete: members of objects, and of objects in them, but of nothing in arrays."""
        return list(self._complete)

    @property
    def due(self) -> bool:
        """Whether the next patch is paid for."""
        return self._price() <= self._credit

    def feed(self, text: str) -> None:
        """Read on."""
        self._read += len(text)
        self._credit += _EACH + _CHARACTER * len(text)
        try:
            self._take_all(self._fields.feed(text))
        except InvalidJson:
            pass

    def close(self) -> bool:
        """Take it that the text has ended; return whether it was one whole value."""
        try:
            self._take_all(self._fields.close())
        except InvalidJson:
            return False
        return True

    def patch(self) -> bytes:
        """Return the operations, separated by commas, that bring readers to where the text is."""
        self._credit -= self._price()
        if self._string is not None:
            path, text = self._string
            if text.size > self._replaces:
                self._put(Leaf(path, "string", text.whole(), False))
                self._replaces = text.size
        said = b",".join(_operation(each.verb, each.path, each.value.value) for each in self._operations)
        self._said.update(each.path[:1] for each in self._operations)
        self._operations, self._cost, self._within = [], 0, None
        self._known = None if self._known is None else self._depth
        return said

    def replacement(self, value: Any) -> bytes:
        """Return the operations that make ``value`` of the document, whatever readers have."""
        spelled_out = Patches()
        spelled_out.feed(json.encode(value).decode())
        self._complete = spelled_out._complete
        if () in self._said or not isinstance(value, dict):
            return _operation("add", (), value)
        removed = [_operation("remove", path) for path in sorted(self._said) if path[0] not in value]
        return b",".join([*removed, *(_operation("add", (key,), each) for key, each in value.items())])

    # -- reading

    def _take_all(self, leaves: Iterable[Leaf]) -> None:
        for leaf in leaves:
            if self._known is None:
                self._known = 1 if leaf.path and isinstance(leaf.path[0], str) else 0
            self._depth = len(leaf.path)
            self._take(leaf)
            if leaf.last and leaf.path and all(isinstance(step, str) for step in leaf.path):
                self._list(_scrubbed(spelled(leaf.path)))

    def _take(self, leaf: Leaf) -> None:
        match leaf:
            case Leaf(path=path, kind="string", piece=piece):
                self._grow(path, str(piece), leaf.last)
            case Leaf(kind="end"):
                self._leave(leaf)
            case Leaf(path=(), kind="object"):
                pass  # the document was that from the beginning
            case _:
                self._put(leaf)

    def _grow(self, path: Path, piece: str, last: bool) -> None:
        _, text = self._string = self._string or (path, Text())
        text.add(piece)
        if last:
            self._string = None
            if text.size > self._replaces or not text.size:
                self._put(Leaf(path, "string", text.whole(), True))
            self._replaces = 0

    def _leave(self, leaf: Leaf) -> None:
        """A container has ended."""
        if self._within is not None:
            self._add_to_last(leaf)
            self._within = None if len(leaf.path) == self._within else self._within
        self._known = min(self._known or 0, len(leaf.path))

    def _put(self, leaf: Leaf) -> None:
        """Let a value be said, with the containers on the way to it that are new."""
        if self._within is None:
            path = leaf.path[: self._known]
            self._operations.append(_Operation("replace" if self._replaces else "add", path, Tree()))
            self._cost += _OPERATION + _length(path)
            self._within = len(path) if len(path) < len(leaf.path) else None
        self._add_to_last(leaf)

    def _add_to_last(self, leaf: Leaf) -> None:
        last = self._operations[-1]
        last.value.apply(leaf._replace(path=leaf.path[len(last.path) :]))

    def _list(self, field: str) -> None:
        """Count a field as complete, if its name, which repeats all before its last dot, is paid for."""
        size = self._listed + len(field) + 3
        if field and field not in self._complete and size <= _CHARACTER * self._read:
            self._complete[field] = None
            self._listed = size

    def _price(self) -> int:
        """Return the bytes of the next update that are no news."""
        price = self._cost + self._listed
        if self._string is not None and self._within is None:
            price += _OPERATION + _length(self._string[0]) + self._replaces
        return price


def _length(path: Path) -> int:
    return sum(len(str(step)) + 1 for step in path)


def _operation(verb: str, path: Path, *value: Any) -> bytes:
    said = {
        "op": verb,
        "path": _pointer(path, append=verb == "add"),
        **({"value": value[0]} if value else {}),
    }
    try:
        return jsontext.encode(said)
    except UnicodeEncodeError:  # half a surrogate pair
        return jsontext.encode(jsontext.scrub(said))


def _pointer(path: Path, *, append: bool) -> str:
    """Return ``path`` as RFC 6901 has it; a new element of an array is at its end."""
    steps = [step if isinstance(step, str) else str(step) for step in path]
    if append and path and isinstance(path[-1], int):
        steps[-1] = "-"
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def _scrubbed(text: str) -> str:
    scrubbed: str = text if text.isascii() else jsontext.scrub(text)
    return scrubbed
