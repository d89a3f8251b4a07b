"""What models answer: a text in pieces, and values, each with a schema that it fits."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

__all__ = ["TEXT", "VALUES", "Value"]

TEXT: Final = (
    "Welcome, ",
    "Ida! ",
    "流 é 🌊",
    "\u2028\u2029\x85",
    'data: "quoted"\n\n',
    "Enjoy\r\nthe evening.",
)
"""A text in pieces, with all that breaks readers of lines."""


class Value(NamedTuple):
    schema: dict[str, Any]
    value: Any

    def pieces(self, size: int = 3) -> list[str]:
        """Return the JSON text, cut without regard to what it says."""
        text = json.dumps(self.value, ensure_ascii=False)
        return [text[at : at + size] for at in range(0, len(text), size)]


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members)}


_TEXT: Final = {"type": "string"}
_ANY: Final[dict[str, Any]] = {}

VALUES: Final = {
    "flat": Value(_object(host=_TEXT, tables={"type": "integer"}), {"host": "Boris", "tables": 12}),
    "nested": Value(
        _object(host=_TEXT, guests={"type": "array", "items": _object(name=_TEXT, vip={"type": "boolean"})}),
        {"host": "Boris", "guests": [{"name": "Ida", "vip": True}, {"name": "Ole", "vip": False}]},
    ),
    "deep": Value(_object(a=_ANY), {"a": {"b": {"c": [{"d": [[1, 2], [{"e": "f"}]]}]}}}),
    "numbers": Value(
        _object(numbers={"type": "array", "items": {"type": "number"}}),
        {"numbers": [0, -1, 7.25, 1e-9, 1.5e300, 2**53 - 1, 100.0, -0.5]},
    ),
    "unicode": Value(
        _object(line=_TEXT, paragraph=_TEXT, next=_TEXT, wave=_TEXT, quoted=_TEXT),
        {
            "line": "a\u2028b", "paragraph": "\u2029", "next": "\x85", "wave": "流 é 🌊👩‍👩‍👧",
            "quoted": 'data: "\\"\r\n\n\tevent: x\x00',
        },
    ),
    "nothing": Value(
        _object(name=_TEXT, nickname=_ANY, friends={"type": "array"}, notes={"type": "object"}, motto=_TEXT),
        {"name": "Ida", "nickname": None, "friends": [], "notes": {}, "motto": ""},
    ),
    "odd keys": Value(_object(), {"a b": 1, "ключ": "🌊", "0": "digit"}),
    "an array": Value({"type": "array"}, [{"a": "one"}, {"a": "two"}, "three", 4, False]),
    "a text": Value(_TEXT, "Ida"),
    "a number": Value({"type": "number"}, 3.5),
    "a boolean": Value({"type": "boolean"}, True),
}  # fmt: skip
