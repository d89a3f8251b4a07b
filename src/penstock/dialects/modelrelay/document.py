"""
A document that patches make (section 5.4), and its JSON text as it grows.

Text can be told only while the patches write the document from its beginning to
its end, as a model does. What comes in another order is in the value alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, UnsetType

from ...errors import InvalidJson
from ...fields import JsonText, Leaf, Path
from ...wire import jsontext

__all__ = ["Document"]

_NOTHING: Final = object()


class Document:
    """The state of a structured stream."""

    __slots__ = ("_text", "value")

    def __init__(self) -> None:
        self.value: Any | UnsetType = {}
        """UNSET once a patch could not be applied."""
        self._text: _Text | None = _Text()
        """None once something came out of order."""

    def patch(self, operations: Iterable[Any]) -> str:
        """Apply a patch; return the text that it adds."""
        return "".join(map(self._apply, operations))

    def close(self) -> str:
        """Return the text that closes what is open."""
        return "" if self._text is None else self._text.close()

    def _apply(self, operation: Any) -> str:
        if self.value is UNSET:
            return ""
        try:
            leaves = self._changed(operation)
            if leaves is not None and self._text is not None:
                return "".join(map(self._text.feed, leaves))
        except InvalidJson:
            pass
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            self.value = UNSET
        self._text = None
        return ""

    def _changed(self, operation: Any) -> Iterable[Leaf] | None:
        """
        Apply an operation; return the leaves that it adds, None if it does not only add.

        Raises: LookupError, TypeError, ValueError, AttributeError (it cannot be applied).
        """
        path, parent = self._found(operation["path"].split("/")[1:])
        match operation["op"]:
            case "remove":
                del parent[path[-1]]
                return None
            case "add" | "replace" as verb:
                value = operation["value"]
                before = self._put(verb, path, parent, value)
            case verb:
                raise ValueError(verb)
        if isinstance(before, str) and isinstance(value, str) and value.startswith(before):
            return (Leaf(path, "string", value[len(before) :], False),)
        return _leaves(path, value) if before is _NOTHING else None

    def _found(self, steps: list[str]) -> tuple[Path, Any]:
        """Return the path that ``steps`` are, and the container at its last step."""
        path: list[str | int] = []
        parent: Any = None
        node: Any = self.value
        for step in steps:
            if path:
                node = node[path[-1]]
            parent = node
            key = step.replace("~1", "/").replace("~0", "~")
            match node:
                case list():
                    path.append(len(node) if step == "-" else int(step))
                case dict():
                    path.append(key)
                case _:
                    raise TypeError(step)
        return tuple(path), parent

    def _put(self, verb: str, path: Path, parent: Any, value: Any) -> Any:
        """Put a value in its place; return what was there: nothing, before it began."""
        if not path:
            before, self.value = self.value, value
            return before if before != {} else _NOTHING
        place = path[-1]
        if isinstance(parent, dict):
            before = parent.get(place, _NOTHING)
            parent[place] = value
            return before
        before = parent[place] if verb == "replace" or place != len(parent) else _NOTHING
        if verb == "replace":
            parent[place] = value
        else:
            parent.insert(place, value)
        return before


class _Text:
    """The text of leaves; an empty container is told only when it is clear that it stays so."""

    __slots__ = ("_empty", "_json")

    def __init__(self) -> None:
        self._json = JsonText()
        self._empty: Leaf | None = None

    def feed(self, leaf: Leaf) -> str:
        """Raises: InvalidJson (it comes out of order)."""
        empty, self._empty = self._empty, None
        text = ""
        if empty is not None and leaf.path[: len(empty.path)] != empty.path:
            text = self._json.feed(empty)
        if leaf.kind in ("object", "array"):
            self._empty = leaf
            return text
        return text + self._json.feed(leaf)

    def close(self) -> str:
        text = "" if self._empty is None else self._json.feed(self._empty)
        self._empty = None
        return text + self._json.close()


def _leaves(path: Path, value: Any) -> Iterator[Leaf]:
    """Yield the leaves of a value; the last of its strings may go on."""
    match value:
        case dict() if value:
            for key, each in value.items():
                yield from _leaves((*path, key), each)
        case list() if value:
            for n, each in enumerate(value):
                yield from _leaves((*path, n), each)
        case dict() | list():
            yield Leaf(path, "object" if isinstance(value, dict) else "array", None, True)
        case str():
            yield Leaf(path, "string", value, False)
        case None:
            yield Leaf(path, "null", None, True)
        case bool():
            yield Leaf(path, "boolean", value, True)
        case _:
            yield Leaf(path, "number", jsontext.encode(value).decode(), True)
