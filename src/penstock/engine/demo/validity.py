"""
Whether a value fits a JSON Schema.

The generator proposes, this disposes: a table of keywords, each with the check
that it stands for. It covers what the generator can satisfy, in the words of
draft 2020-12. Patterns and formats are not checked, so that a text for an
exotic one may be the best that was found; unknown keywords assert nothing, as
the standard says.
"""

from __future__ import annotations

from collections.abc import Callable
from json import dumps
from typing import Any, Final
from urllib.parse import unquote

__all__ = ["BrokenSchema", "Document", "canonical"]


_PATIENCE = 100_000  # schemas looked into: less than a second


class BrokenSchema(ValueError):
    """The schema makes no sense: a reference leads nowhere, a type has no meaning."""


class Document:
    """A schema that references resolve against."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self._patience = _PATIENCE

    def find(self, ref: str) -> Any:
        """Follow a reference into this document; other documents are out of reach."""
        path, sharp, pointer = ref.partition("#")
        here: Any = self.root
        try:
            if path or not sharp or pointer[:1] not in ("", "/"):
                raise KeyError(ref)
            for step in unquote(pointer).split("/")[1:]:
                name = step.replace("~1", "/").replace("~0", "~")
                here = here[int(name) if isinstance(here, list) else name]
        except (LookupError, TypeError, ValueError):
            raise BrokenSchema(f"$ref {ref!r} leads nowhere") from None
        return here

    def look(self) -> None:
        """Count one look into a schema; references can make a short one take for ever."""
        self._patience -= 1
        if self._patience < 0:
            raise BrokenSchema("the schema is too intricate for the built-in model")

    def fits(self, value: Any, schema: Any) -> bool:
        """Whether ``value`` is valid for ``schema``, a part of this document."""
        if isinstance(schema, bool):
            return schema
        self.look()
        return all(
            _CHECKS[keyword](self, value, wanted, schema)
            for keyword, wanted in schema.items()
            if keyword in _CHECKS
        )


def _fits_type(value: Any, name: str) -> bool:
    """Whether a JSON value is of the type of that name."""
    if name not in _TYPES:
        raise BrokenSchema(f"{name!r} is not a type")
    if isinstance(value, bool):
        return name == "boolean"
    kinds: tuple[type, ...] = _TYPES[name]
    return isinstance(value, kinds) or (name == "integer" and _whole(value))


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}

_Check = Callable[[Document, Any, Any, dict[str, Any]], bool]
"""(document, value, the keyword's value, the schema it is in) -> whether it fits"""


def _whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def canonical(value: Any) -> str:
    """One text for all ways to write a JSON value."""
    match value:
        case list():
            return f"[{','.join(map(canonical, value))}]"
        case dict():
            return f"{{{','.join(f'{dumps(key)}:{canonical(value[key])}' for key in sorted(value))}}}"
        case _:
            return dumps(int(value) if _whole(value) else value)


def _sized(
    kind: type[str] | type[list[Any]] | type[dict[str, Any]], allowed: Callable[[int, Any], bool]
) -> _Check:
    """A limit to the size of one kind of value."""
    return lambda doc, value, limit, schema: not isinstance(value, kind) or allowed(len(value), limit)


def _number(allowed: Callable[[float, Any], bool]) -> _Check:
    """A limit to a number."""
    return lambda doc, value, limit, schema: not _fits_type(value, "number") or allowed(value, limit)


def _multiple(value: float, of: float) -> bool:
    return value % of == 0 if isinstance(value, int) and isinstance(of, int) else (value / of) % 1 == 0


def _type(doc: Document, value: Any, names: Any, schema: dict[str, Any]) -> bool:
    return any(_fits_type(value, name) for name in (names if isinstance(names, list) else [names]))


def _conditional(doc: Document, value: Any, condition: Any, schema: dict[str, Any]) -> bool:
    return doc.fits(value, schema.get("then" if doc.fits(value, condition) else "else", True))


def _properties(doc: Document, value: Any, members: dict[str, Any], schema: dict[str, Any]) -> bool:
    return not isinstance(value, dict) or all(
        doc.fits(value[name], member) for name, member in members.items() if name in value
    )


def _additional(doc: Document, value: Any, member: Any, schema: dict[str, Any]) -> bool:
    """With patterns for names about, any other name may be one of theirs."""
    if not isinstance(value, dict) or "patternProperties" in schema:
        return True
    named = schema.get("properties", {})
    return all(doc.fits(value[name], member) for name in value if name not in named)


def _items(doc: Document, value: Any, member: Any, schema: dict[str, Any]) -> bool:
    if isinstance(member, list):  # as draft 7 wrote tuples
        return _prefix(doc, value, member, schema)
    first = len(schema.get("prefixItems", ()))
    return not isinstance(value, list) or all(doc.fits(item, member) for item in value[first:])


def _prefix(doc: Document, value: Any, members: list[Any], schema: dict[str, Any]) -> bool:
    return not isinstance(value, list) or all(map(doc.fits, value, members))


def _contains(doc: Document, value: Any, member: Any, schema: dict[str, Any]) -> bool:
    if not isinstance(value, list):
        return True
    found = sum(doc.fits(item, member) for item in value)
    return bool(schema.get("minContains", 1) <= found <= schema.get("maxContains", found))


def _unique(doc: Document, value: Any, wanted: Any, schema: dict[str, Any]) -> bool:
    return not (wanted and isinstance(value, list)) or len(set(map(canonical, value))) == len(value)


_CHECKS: Final[dict[str, _Check]] = {
    "$ref": lambda doc, value, ref, schema: doc.fits(value, doc.find(ref)),
    "type": _type,
    "const": lambda doc, value, wanted, schema: canonical(value) == canonical(wanted),
    "enum": lambda doc, value, options, schema: canonical(value) in map(canonical, options),
    "allOf": lambda doc, value, parts, schema: all(doc.fits(value, part) for part in parts),
    "anyOf": lambda doc, value, parts, schema: any(doc.fits(value, part) for part in parts),
    "oneOf": lambda doc, value, parts, schema: sum(doc.fits(value, part) for part in parts) == 1,
    "not": lambda doc, value, part, schema: not doc.fits(value, part),
    "if": _conditional,
    "minLength": _sized(str, lambda size, limit: size >= limit),
    "maxLength": _sized(str, lambda size, limit: size <= limit),
    "minItems": _sized(list, lambda size, limit: size >= limit),
    "maxItems": _sized(list, lambda size, limit: size <= limit),
    "minProperties": _sized(dict, lambda size, limit: size >= limit),
    "maxProperties": _sized(dict, lambda size, limit: size <= limit),
    "minimum": _number(lambda value, limit: bool(value >= limit)),
    "maximum": _number(lambda value, limit: bool(value <= limit)),
    "exclusiveMinimum": _number(lambda value, limit: bool(value > limit)),
    "exclusiveMaximum": _number(lambda value, limit: bool(value < limit)),
    "multipleOf": _number(_multiple),
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda doc, value, names, schema: (
        not isinstance(value, dict) or all(n in value for n in names)
    ),
    "prefixItems": _prefix,
    "items": _items,
    "contains": _contains,
    "uniqueItems": _unique,
}
