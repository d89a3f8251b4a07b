"""
Data that comes leaf by leaf, made whole: what ``json_path`` is for (section 2.3 of the contract).

The leaves make JSON text as they come, as long as they come depth-first.
Whatever their order, they make a value in the end. What nobody sends is filled
in where a place is known: a position that is left out in an array is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import takewhile
from typing import Any, Final

from ...errors import InvalidJson, RemoteProtocolError
from ...fields import JsonText, Kind, Leaf, Path, number

__all__ = ["Gathering", "path_of"]

_DEEPEST: Final = 512
"""Steps in a path, as many as ``fields`` goes down."""
_GAP: Final = 100
"""Positions that may be left out in an array before the first leaf; with each leaf it may be one more."""
_POSITIONS: Final = re.compile(r"(?:[0-9]{1,9}\]\[)*[0-9]{1,9}\]")


def path_of(text: str) -> Path:
    """
    Return the path that ``text`` spells: ``a.b[0].c``; the empty one is the root.

    Nothing is escaped in it, so that a key with a dot in it is taken for two.
    Raises: RemoteProtocolError (it is too deep).
    """
    path: list[str | int] = []
    for n, segment in enumerate(text.split(".") if text else ()):
        key, bracket, rest = segment.partition("[")
        positions = _POSITIONS.fullmatch(rest) if bracket else None
        if positions is None:
            path.append(segment)
        else:
            path += [key] if key or n else []
            path += map(int, rest[:-1].split("]["))
    if len(path) > _DEEPEST:
        raise RemoteProtocolError(f"a json_path of {len(path)} steps")
    return tuple(path)


class Gathering:
    """The leaves of one value."""

    __slots__ = ("_json", "_leaves", "_path", "_spelled")

    def __init__(self) -> None:
        self._json: JsonText | None = JsonText()
        """None once a leaf came out of order."""
        self._leaves: dict[Path, Any] = {}
        """Strings as buffers, because a list would keep every piece alive."""
        self._spelled: str | None = None
        self._path: Path = ()
        """Of the latest leaf, and how it was spelled."""

    def take(self, spelled: str, kind: Kind, piece: str | bool | None) -> str:
        """
        Take a leaf or a piece of one; return the JSON text that it adds, if that still can be said.

        ``kind`` and ``piece`` are those of a :class:`Leaf`. Raises: RemoteProtocolError.
        """
        before = self._path
        if spelled != self._spelled:
            self._path, self._spelled = self._reached(path_of(spelled)), spelled
        leaf = Leaf(self._path, kind, piece, kind != "string")
        self._keep(leaf)
        if self._json is None:
            return ""
        try:
            return "".join(map(self._json.feed, (*_left_out(before, leaf.path), leaf)))
        except InvalidJson:
            self._json = None
            return ""

    def close(self) -> str:
        """Return the JSON text that closes what is open."""
        return self._json.close() if self._json is not None else ""

    @property
    def value(self) -> Any:
        """The value of all leaves."""
        holder: dict[Any, Any] = {}
        for path, leaf in self._leaves.items():
            node, step = holder, None
            for deeper in path:
                inner = node.get(step)
                if not isinstance(inner, dict):
                    inner = node[step] = {}
                node, step = inner, deeper
            node[step] = leaf.getvalue() if isinstance(leaf, StringIO) else leaf
        return _shaped(holder.get(None))

    def _reached(self, path: Path) -> Path:
        furthest = len(self._leaves) + _GAP
        if any(isinstance(step, int) and step > furthest for step in path):
            raise RemoteProtocolError("a json_path leaves out too many positions of an array")
        return path

    def _keep(self, leaf: Leaf) -> None:
        match leaf:
            case Leaf(kind="string", piece=str(piece)):
                known = self._leaves.get(leaf.path)
                if not isinstance(known, StringIO):
                    known = self._leaves[leaf.path] = StringIO()
                known.write(piece)
            case Leaf(kind="number", piece=str(digits)):
                self._leaves[leaf.path] = number(digits)
            case _:
                self._leaves[leaf.path] = leaf.piece


def _left_out(before: Path, path: Path) -> Iterator[Leaf]:
    """Yield nulls for the array positions between two leaves."""
    same = sum(1 for _ in takewhile(lambda steps: steps[0] == steps[1], zip(before, path, strict=False)))
    for depth in range(same, len(path)):
        step = path[depth]
        old = before[depth] if depth == same and depth < len(before) else -1
        if isinstance(step, int) and isinstance(old, int):
            for position in range(old + 1, step):
                yield Leaf((*path[:depth], position), "null", None, True)


def _shaped(node: Any) -> Any:
    """Return what a tree of steps is: an array if they are positions."""
    if not isinstance(node, dict):
        return node
    if all(isinstance(step, int) for step in node):
        return [_shaped(node.get(position)) for position in range(max(node) + 1)]
    return {str(step): _shaped(inner) for step, inner in node.items()}
