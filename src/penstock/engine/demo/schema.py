"""
A value for a JSON Schema, as a model would make one up.

Propose and check: every kind of schema has a generator of *candidates*, the
best-looking first, and the first that fits is taken. What has none raises
``NoValue``, and whoever can do without -- another case of ``anyOf``, one item
fewer, an optional member left out -- does. That is also how recursion ends: a
reference that was followed twice on the way down counts as having no value.

A schema is a stranger's input: the work on one is bounded, whatever it says.
Long before the end the maker turns *frugal*, and gives only what it must.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from itertools import cycle, islice
from json import dumps
from typing import Any, Final

from ...errors import RequestError
from .flat import NoValue, Schema, flatten
from .leaves import numbers, texts
from .prose import seed_of
from .validity import BrokenSchema, Document, canonical

__all__ = ["crumbs", "json_text", "value_for"]

_GENEROUS = 500  # values made with all their trimmings
_MOST = 20_000  # values made at all
_LAPS = 2  # times that one reference is followed on the way to a value
_TWINS = 24  # tries for an item that is not in the list yet
_CRUMBS = (3, 1, 6, 2, 8, 4, 1, 5, 7)  # characters; a word at most, a single backslash at times

_IMPLIED: Final = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "patternProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "uniqueItems": "array",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}
"""What a schema that names no type is about."""

Trail = tuple[str, ...]


def value_for(schema: Schema, words: Sequence[str], turn: int, *, field: str) -> Any:
    """
    Make up a value that is valid for ``schema``; its free texts are made of ``words``.

    Raises:
        RequestError: no value was found, or the schema is broken. ``field`` is
            what the error calls it.
    """
    try:
        return _Maker(schema, words, turn % len(words)).make(schema)
    except NoValue:
        problem = "the built-in model finds no value that fits the schema"
    except BrokenSchema as broken:
        problem = str(broken)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as broken:
        # A keyword with a value of the wrong type may break anything.
        problem = f"not a sound JSON Schema: {broken!r}"
    raise RequestError(problem, field=field)


def json_text(value: Any, seed: int) -> str:
    """The value as JSON. Half of the seeds escape what is not ASCII, as half of the providers do."""
    return dumps(value, ensure_ascii=bool(seed % 2))


def crumbs(text: str, seed: int) -> Iterator[str]:
    """Cut JSON text into small pieces, without regard to what is in it."""
    sizes = islice(cycle(_CRUMBS), seed % len(_CRUMBS), None)
    at = 0
    while at < len(text):
        size = next(sizes)
        yield text[at : at + size]
        at += size


class _Maker:
    """Makes up the values of one document."""

    def __init__(self, root: Schema, words: Sequence[str], turn: int) -> None:
        self._document = Document(root)
        self._words = words
        self._turns = turn
        self._made = 0

    def make(self, schema: Any, trail: Trail = (), seen: Container[str] = ()) -> Any:
        """Return the first candidate that fits and was not ``seen``. Raises NoValue."""
        self._spend(1)
        flat, trail = flatten(self._document, schema, trail, laps=1 if self._frugal else _LAPS)
        for candidate in self._candidates(flat, trail):
            if self._document.fits(candidate, schema) and not (seen and canonical(candidate) in seen):
                return candidate
        raise NoValue

    @property
    def _frugal(self) -> bool:
        return self._made > _GENEROUS

    def _spend(self, cost: int) -> None:
        self._made += cost
        if self._made > _MOST:
            raise BrokenSchema("the schema is too large for the built-in model")

    def _turn(self) -> int:
        self._turns += 1
        return self._turns - 1

    def _rotated(self, options: Sequence[Any]) -> Sequence[Any]:
        """All of the options, another one first each time; not in turns, or two choices could go in step."""
        first = seed_of(self._turn()) % len(options) if len(options) > 1 else 0
        return [*options[first:], *options[:first]]

    def _candidates(self, flat: Schema, trail: Trail) -> Iterator[Any]:
        if "const" in flat:
            yield flat["const"]
        elif "enum" in flat:
            yield from sorted(self._rotated(flat["enum"]), key=lambda option: option is None)
        else:
            yield from self._suggested(flat)
            key = next((key for key in ("anyOf", "oneOf") if key in flat), None)
            yield from self._cases(flat, key, trail) if key else self._typed(flat, trail)

    def _suggested(self, flat: Schema) -> Iterator[Any]:
        """The schema's own examples, and its default if that says something."""
        yield from self._rotated(flat.get("examples", ()))
        default = flat.get("default")
        if default or default == 0:  # which False is, too
            yield default

    def _cases(self, flat: Schema, key: str, trail: Trail) -> Iterator[Any]:
        """A value for one of several cases; ``null`` is said only for want of better."""
        rest = {name: value for name, value in flat.items() if name not in (key, "examples", "default")}
        for case in sorted(self._rotated(flat[key]), key=self._last):
            others = [other for other in flat[key] if other is not case]
            alone = [{"not": {"anyOf": others}}] if key == "oneOf" else []
            with suppress(NoValue):
                yield self.make({**rest, "allOf": [case, *alone]}, trail)

    def _typed(self, flat: Schema, trail: Trail) -> Iterator[Any]:
        named = flat.get("type") or next((_IMPLIED[key] for key in flat if key in _IMPLIED), "string")
        for name in sorted([named] if isinstance(named, str) else named, key=self._last):
            with suppress(NoValue):
                yield from self._of_type(name, flat, trail)

    def _last(self, option: Any) -> bool:
        """The key that sorts ``null`` behind all else; before it, when frugal."""
        null = option == "null" or (isinstance(option, dict) and option.get("type") == "null")
        return null is not self._frugal

    def _of_type(self, name: str, flat: Schema, trail: Trail) -> Iterator[Any]:
        match name:
            case "object":
                yield self._object(flat, trail)
            case "array":
                yield self._array(flat, trail)
            case "string":
                yield from self._texts(flat)
            case "integer" | "number":
                yield from numbers(flat, self._turn(), whole=name == "integer")
            case "boolean":
                yield from self._rotated((True, False))
            case "null":
                yield None
            case _:
                raise BrokenSchema(f"{name!r} is not a type")

    def _texts(self, flat: Schema) -> Iterator[str]:
        for text in texts(flat, self._words, self._turn()):
            self._spend(len(text) // 50)
            yield text

    def _object(self, flat: Schema, trail: Trail) -> dict[str, Any]:
        members, required = flat.get("properties", {}), flat.get("required", ())
        room = flat.get("maxProperties", _MOST) - len(required)
        value: dict[str, Any] = {}
        for name in dict.fromkeys((*members, *required)):
            if name in required:
                value[name] = self.make(members.get(name, flat.get("additionalProperties", True)), trail)
            elif room > 0 and not self._frugal:
                with suppress(NoValue):
                    value[name] = self.make(members[name], trail)
                    room -= 1
        self._fill(value, flat, trail)
        return value

    def _fill(self, value: dict[str, Any], flat: Schema, trail: Trail) -> None:
        """Add members with names of our own, if they are called for."""
        patterns = flat.get("patternProperties", {})
        names = {"allOf": [{"type": "string"}, flat.get("propertyNames", True)]}
        member = flat.get("additionalProperties", True)
        for pattern, schema in patterns.items():
            names, member = {**names, "pattern": pattern}, schema
        wanted = flat.get("minProperties", 0)
        if not flat.get("properties") and (patterns or flat.get("additionalProperties")):
            wanted = max(wanted, min(2, flat.get("maxProperties", 2)) if not self._frugal else 0)
        seen = set(map(canonical, value))
        with suppress(NoValue):
            while len(value) < wanted:
                value[self._new(names, seen, trail)] = self.make(member, trail)

    def _array(self, flat: Schema, trail: Trail) -> list[Any]:
        """Two items, if nothing else is said; fewer, where no more can be had."""
        item = flat.get("items", True)
        heads = list(flat.get("prefixItems", ()))
        if "contains" in flat:
            heads += [{"allOf": [item, flat["contains"]]}] * flat.get("minContains", 1)
        usual = max(len(heads), 0 if self._frugal else 2)
        wanted = min(max(usual, flat.get("minItems", 0)), flat.get("maxItems", _MOST))
        value: list[Any] = []
        seen = set[str]()
        with suppress(NoValue):
            for n in range(wanted):
                schema = heads[n] if n < len(heads) else item
                value.append(
                    self._new(schema, seen, trail) if flat.get("uniqueItems") else self.make(schema, trail)
                )
        return value

    def _new(self, schema: Any, seen: set[str], trail: Trail) -> Any:
        """A value that was not seen before. One that has to be put together is put together until it is."""
        for _ in range(_TWINS):
            with suppress(NoValue):
                value = self.make(schema, trail, seen)
                seen.add(canonical(value))
                return value
        raise NoValue
