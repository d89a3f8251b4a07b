"""
Several schemas that all apply, as one.

``$ref`` and ``allOf`` say that a value must fit this *and* that. A generator
wants to read one schema, so they are merged, keyword by keyword: of two minima
the higher one counts, of two types what they share, of two members of one name
both. ``if`` becomes the two cases that it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import product
from typing import Any, Final

from .validity import Document

__all__ = ["NoValue", "Schema", "flatten"]

Schema = dict[str, Any]


class NoValue(Exception):
    """Nothing fits here, or nothing that was found. Somebody above may know another way."""


def flatten(
    document: Document, schema: Any, trail: tuple[str, ...], laps: int
) -> tuple[Schema, tuple[str, ...]]:
    """
    Resolve ``$ref`` and ``allOf``; return the merged schema and the references followed.

    Raises:
        NoValue: the schema is ``false``, or leads for more than ``laps`` times
            through a reference that is on the ``trail`` already.
    """
    layers = list(_layers(document, schema, trail, laps))
    followed = dict.fromkeys(ref for _, seen in layers for ref in seen[len(trail) :])
    return reduce(_merge, (layer for layer, _ in layers), {}), (*trail, *followed)


def _merge(one: Schema, other: Schema) -> Schema:
    """The schema that both are; where a keyword cannot be both, ``one`` has it."""
    both = {key: _MERGED[key](one[key], other[key]) for key in one.keys() & other.keys() & _MERGED.keys()}
    return {**other, **one, **both}


def _layers(
    document: Document, schema: Any, trail: tuple[str, ...], laps: int
) -> Iterator[tuple[Schema, tuple[str, ...]]]:
    """The schemas that apply at once, the outermost first."""
    if schema is False:
        raise NoValue
    if schema is True:
        return
    document.look()
    yield _cased({key: value for key, value in schema.items() if key not in ("$ref", "allOf")}), trail
    if ref := schema.get("$ref"):
        if trail.count(ref) >= laps:
            raise NoValue
        yield from _layers(document, document.find(ref), (*trail, ref), laps)
    for part in schema.get("allOf", ()):
        yield from _layers(document, part, trail, laps)


def _cased(schema: Schema) -> Schema:
    """Write ``if``/``then``/``else`` as two cases, and draft 7's tuples as today's."""
    if "if" in schema:
        cases = [{"allOf": [schema.pop("if"), schema.pop("then", {})]}, schema.pop("else", {})]
        schema = _merge(schema, {"anyOf": cases})
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
    return schema


def _both(one: Any, other: Any) -> Schema:
    return {"allOf": [one, other]}


def _members(one: Schema, other: Schema) -> Schema:
    shared = {name: _both(one[name], other[name]) for name in one.keys() & other.keys()}
    return {**one, **other, **shared}


def _cases(one: list[Any], other: list[Any]) -> list[Any]:
    return [_both(*pair) for pair in product(one, other)]


def _union(one: list[Any], other: list[Any]) -> list[Any]:
    return list(dict.fromkeys((*one, *other)))


def _shared(one: list[Any], other: list[Any]) -> list[Any]:
    return [value for value in one if value in other]


def _types(one: Any, other: Any) -> list[str]:
    ours, theirs = (set([names] if isinstance(names, str) else names) for names in (one, other))
    both = ours & theirs
    if "number" in ours ^ theirs:  # one has numbers, the other may have whole ones only
        both |= (ours | theirs) & {"integer"}
    return sorted(both)


_MERGED: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "properties": _members,
    "patternProperties": _members,
    "required": _union,
    "type": _types,
    "enum": _shared,
    "anyOf": _cases,
    "oneOf": _cases,
    "items": _both,
    "contains": _both,
    "additionalProperties": _both,
    "propertyNames": _both,
    "multipleOf": lambda one, other: one if one % other == 0 else one * other,
    "uniqueItems": lambda one, other: one or other,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
