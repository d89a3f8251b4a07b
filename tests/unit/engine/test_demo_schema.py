"""
Values made up for JSON Schemas: the reference implementation finds them valid.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.demo.patterns import texts_for
from penstock.engine.demo.schema import crumbs, json_text, value_for
from penstock.engine.demo.validity import Document
from penstock.errors import RequestError

WORDS = ("tide", "Bergen", "fjørd")

Json = dict[str, Any]


def made(schema: Any, turn: int = 0) -> Any:
    return value_for(schema, WORDS, turn, field="output_schema")


def check(schema: Any, turns: range = range(12)) -> None:
    """Valid by the reference, the same each time, and JSON."""
    reference = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for turn in turns:
        value = made(schema, turn)
        reference.validate(value)
        assert value == made(schema, turn) == json.loads(json_text(value, turn))


def obj(required: bool = True, /, **properties: Any) -> Json:
    """An object as OpenAI's strict mode wants it."""
    names = {"required": list(properties)} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **names}


def optional(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}], "default": None}


STRING, INTEGER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}
NODE = {"$ref": "#/$defs/Node"}
PET = {
    "$defs": {
        "Cat": {
            **obj(kind={"const": "cat", "type": "string"}, lives={"type": "integer", "maximum": 9}),
            "title": "Cat",
        },
        "Dog": {**obj(kind={"const": "dog", "type": "string"}, good={"type": "boolean"}), "title": "Dog"},
    },
    "type": "array",
    "items": {
        "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}},
    },
}

SCHEMAS: dict[str, Json] = {
    "flat": obj(name=STRING, age=INTEGER, score={"type": "number"}, good={"type": "boolean"}),
    "optional members": obj(False, name=STRING, nick=optional(STRING)),
    "literal": obj(unit={"enum": ["C", "F"], "type": "string"}, one={"const": 1}, off={"const": None}),
    "types": obj(
        a={"type": ["string", "null"]}, b={"type": ["null", "integer"]}, c={"type": ["array", "null"]}
    ),
    "nullable enum": obj(a={"type": ["string", "null"], "enum": [None, "x"]}),
    "steps": {
        "$defs": {"Step": obj(explanation=STRING, output=STRING)},
        **obj(steps={"type": "array", "items": {"$ref": "#/$defs/Step"}}, final_answer=STRING),
    },
    "list": {"$defs": {"Node": obj(value=INTEGER, next=optional(NODE))}, **NODE},
    "tree": {"$defs": {"Node": obj(name=STRING, kids={"type": "array", "items": NODE})}, **NODE},
    "root recursion": obj(name=STRING, kids={"type": "array", "items": {"$ref": "#"}}),
    "optional recursion": {"$defs": {"Node": obj(False, name=STRING, next=NODE)}, **NODE},
    "mutual recursion": {
        "definitions": {
            "Expr": {"anyOf": [{"$ref": "#/definitions/Sum"}, {"type": "number"}]},
            "Sum": obj(left={"$ref": "#/definitions/Expr"}, right={"$ref": "#/definitions/Expr"}),
        },
        "$ref": "#/definitions/Expr",
    },
    "pets": PET,
    "nested lists": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "array", "items": INTEGER}},
    },
    "tuple": {
        "type": "array",
        "prefixItems": [STRING, INTEGER, {"type": "boolean"}],
        "minItems": 3,
        "maxItems": 3,
    },
    "tuple and rest": {"type": "array", "prefixItems": [STRING], "items": INTEGER, "minItems": 4},
    "closed tuple": {"type": "array", "prefixItems": [STRING], "items": False},
    "set of few": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    "set of truths": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
    "set of texts": {"type": "array", "items": STRING, "uniqueItems": True, "minItems": 30},
    "set of pairs": {
        "type": "array",
        "uniqueItems": True,
        "minItems": 4,
        "items": obj(a={"type": "boolean"}, b={"enum": [1, 2]}),
    },
    "contains": {"type": "array", "items": INTEGER, "contains": {"minimum": 99}, "minContains": 2},
    "long list": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1}, "minItems": 300},
    "dict": obj(scores={"type": "object", "additionalProperties": {"type": "number"}}),
    "dict of patterns": {
        "type": "object",
        "patternProperties": {"^[a-z]{2}_[A-Z]{2}$": STRING},
        "minProperties": 4,
        "additionalProperties": False,
    },
    "dict by enum": {
        "type": "object",
        "propertyNames": {"enum": ["en", "no"]},
        "additionalProperties": STRING,
    },
    "few members": {**obj(False, a=STRING, b=STRING, c=STRING), "required": ["c"], "maxProperties": 2},
    "more members": {**obj(a=STRING), "additionalProperties": INTEGER, "minProperties": 5},
    "required but unnamed": {"type": "object", "required": ["a"], "additionalProperties": INTEGER},
    "all of": {
        "allOf": [
            obj(a=STRING) | {"additionalProperties": True},
            {"properties": {"a": {"maxLength": 2}, "b": INTEGER}, "required": ["b"]},
        ]
    },
    "all of numbers": {
        "allOf": [{"type": "number", "minimum": 3}, {"type": "integer", "maximum": 5}, {"minimum": 4}]
    },
    "any of twice": {"allOf": [{"anyOf": [STRING, INTEGER]}, {"anyOf": [INTEGER, NULL]}]},
    "one of exactly": {"oneOf": [{"type": "number"}, {"type": "integer"}, {"type": "integer", "minimum": 0}]},
    "not": {"type": "integer", "minimum": 0, "not": {"multipleOf": 2}},
    "if": {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["x"]},
        "else": {"required": ["y"]},
    },
    "described reference": {
        "$defs": {"A": STRING},
        **obj(a={"$ref": "#/$defs/A", "description": "d", "maxLength": 3}),
    },
    "escaped reference": {"$defs": {"a/b~c d": INTEGER}, "$ref": "#/$defs/a~1b~0c%20d"},
    "reference into a list": {"anyOf": [{"type": "integer"}, {"$ref": "#/anyOf/0"}]},
    "examples": {"type": "string", "examples": [7, "an example"], "minLength": 3},
    "bad default": obj(a={"type": "integer", "default": "none", "minimum": 10}),
    "untyped": {"properties": {"n": {"minimum": 5}, "l": {"items": INTEGER}}, "required": ["n"]},
    "anything inside": obj(a={}, b=True),
}

LEAVES: dict[str, Json] = {
    **{
        f"format {name}": {"type": "string", "format": name}
        for name in (
            "date-time",
            "date",
            "time",
            "email",
            "uri",
            "uuid",
            "ipv4",
            "ipv6",
            "hostname",
            "duration",
            "odd",
        )
    },
    "between": {"type": "integer", "minimum": 3, "maximum": 4},
    "exclusively between": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "below": {"type": "integer", "maximum": -100},
    "negative": {"type": "number", "exclusiveMaximum": 0},
    "probability": {"type": "number", "minimum": 0, "maximum": 1},
    "narrow": {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.11},
    "point": {"type": "number", "minimum": 2.5, "maximum": 2.5},
    "cents": {"type": "number", "multipleOf": 0.01, "minimum": 1, "maximum": 2},
    "dozens": {"type": "integer", "multipleOf": 12, "minimum": 100},
    "halves of integers": {"type": "integer", "multipleOf": 1.5},
    "huge": {"type": "integer", "minimum": 10**30},
    "float bounds": {"type": "integer", "minimum": 0.5, "maximum": 1.5},
    "short": {"type": "string", "maxLength": 1},
    "empty": {"type": "string", "maxLength": 0},
    "long": {"type": "string", "minLength": 200, "maxLength": 201},
    "exactly": {"type": "string", "minLength": 7, "maxLength": 7},
}

PATTERNS = [
    r"^\d{3}-\d{4}$", r"^[A-Z]{2,4}$", r"^(foo|bar)s?$", r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
    r"^#[0-9a-fA-F]{6}$", r"^v\d+\.\d+\.\d+(-[\w.]+)?$", r"^\+?[1-9]\d{1,14}$", r"^[a-z][a-z0-9_-]*$",
    r"^(?:[01]\d|2[0-3]):[0-5]\d$",
    r"^(?P<year>\d{4})-Q[1-4]$", r"\bword\b", r"^.+$", r"", r"^[\w.-]+/[\w.-]+$", r"^\$\d+(,\d{3})*\.\d{2}$",
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", r"^[]a-]+$", r"^\u00e9\x41$", r"^a{2}?b*?c{,2}$", r"^[^a-z]$",
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_structures(schema: Json) -> None:
    check(schema)


@pytest.mark.parametrize("schema", LEAVES.values(), ids=LEAVES)
def test_leaves(schema: Json) -> None:
    check(schema)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str) -> None:
    check({"type": "string", "pattern": pattern})


def test_a_pattern_has_several_texts_and_lengths() -> None:
    texts = {made({"type": "string", "pattern": "^[A-Z]{3}[0-9]+$", "minLength": 8}, n) for n in range(3)}
    assert len(texts) == 3 and all(len(text) >= 8 for text in texts)


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(", r"(?i)a", "^[a", r"\p{L}+", "((a{900}){900}){900}", "((^{9}){999}){999}"]
)
def test_a_pattern_beyond_it_is_done_without(pattern: str) -> None:
    assert isinstance(made({"type": "string", "pattern": pattern}), str)


@pytest.mark.parametrize("pattern", ["(a+)+b", "x(a|aa)+$"])
def test_a_pattern_is_never_run(pattern: str) -> None:
    assert all(len(text) < 1001 for text in texts_for(pattern, 0))


class TestTaste:
    def test_optional_members_and_values_are_given(self) -> None:
        assert made(SCHEMAS["optional members"]) == {"name": "tide", "nick": 'fjørd: "tide", é 流 🌊'}

    def test_recursion_goes_down_and_ends(self) -> None:
        value = made(SCHEMAS["list"])
        assert value["next"]["next"] is None
        assert made(SCHEMAS["tree"])["kids"][0]["kids"] == []

    def test_cases_take_turns(self) -> None:
        assert {pet["kind"] for turn in range(3) for pet in made(PET, turn)} == {"cat", "dog"}

    def test_examples_and_defaults_are_used(self) -> None:
        assert made(SCHEMAS["examples"]) == "an example"
        assert made(obj(a={"type": "integer", "default": 0}, b={"type": "string", "default": "x"})) == {
            "a": 0,
            "b": "x",
        }
        assert made({"type": "string", "default": ""}) == "tide"

    def test_addresses_are_nobodys(self) -> None:
        assert made({"type": "string", "format": "email"}).endswith("@example.com")


UNSATISFIABLE: dict[str, Any] = {
    "bounds crossed": {"type": "integer", "minimum": 5, "maximum": 4},
    "lengths crossed": {"type": "string", "minLength": 5, "maxLength": 4},
    "no options": {"enum": []},
    "false": obj(a=False),
    "endless": {"$defs": {"Node": obj(next=NODE)}, **NODE},
    "itself": {"$defs": {"Node": NODE}, **NODE},
    "not itself": {"type": "string", "not": {"type": "string"}},
    "both types": {"allOf": [STRING, INTEGER]},
    "too few": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
    "closed": {"type": "object", "required": ["a"], "additionalProperties": False},
    "too long": {"type": "string", "minLength": 10**12},
    "too many": {"type": "array", "minItems": 10**12},
    "too wide": {"type": "object", "minProperties": 10**12},
}
BROKEN: dict[str, Any] = {
    "nowhere": {"$ref": "#/$defs/Gone"},
    "elsewhere": {"$ref": "https://example.com/schema"},
    "anchor": {"$ref": "#name"},
    "unknown type": {"type": "strin"},
    "properties": {"type": "object", "properties": 5},
    "items": {"type": "array", "items": "string"},
    "grid": {"type": "number", "multipleOf": 0},
    "limit": {"type": "integer", "minimum": "three"},
    "a list of types": {"type": [["string"]]},
    "a number": {"anyOf": [5]},
}


@pytest.mark.parametrize("schema", [*UNSATISFIABLE.values(), *BROKEN.values()], ids=[*UNSATISFIABLE, *BROKEN])
def test_what_cannot_be_met_is_refused(schema: Json) -> None:
    with pytest.raises(RequestError) as caught:
        made(schema)
    assert caught.value.field == "output_schema"


def laughs(keyword: str) -> Json:
    """A short schema that says the same thing a million times over."""
    last: Json = {"not": {}} if keyword == "anyOf" else STRING
    levels = {f"L{n}": {keyword: [{"$ref": f"#/$defs/L{n + 1}"}] * 2} for n in range(30)}
    return {"$defs": {**levels, "L30": last}, "$ref": "#/$defs/L0"}


NAMES = [f"T{n}" for n in range(12)]
WEB = {
    "$defs": {
        name: obj(**{other: optional({"$ref": f"#/$defs/{other}"}) for other in NAMES}) for name in NAMES
    },
    "$ref": "#/$defs/T0",
}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_billion_laughs_are_refused(keyword: str) -> None:
    began = time.monotonic()
    with pytest.raises(RequestError):
        made(laughs(keyword))
    assert time.monotonic() - began < 5


def test_a_web_of_types_gets_a_frugal_answer() -> None:
    check(WEB, range(1))


def test_a_deep_schema_is_refused_or_met() -> None:
    schema: Json = STRING
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(RequestError):
        made(schema)


def test_the_check_agrees_with_the_reference() -> None:
    """On values that were made for another schema, too; names apart, which it takes on trust."""
    values = [made(schema) for schema in (SCHEMAS | LEAVES).values()]
    for name, schema in SCHEMAS.items():
        reference = jsonschema.Draft202012Validator(schema)
        for value in values:
            if schema.keys().isdisjoint({"patternProperties", "propertyNames"}):
                assert Document(schema).fits(value, schema) == reference.is_valid(value), (name, value)


def leaf_schemas() -> st.SearchStrategy[Json]:
    low, size = st.integers(-50, 50), st.integers(0, 20)
    return st.one_of(
        st.sampled_from([STRING, INTEGER, NULL, {"type": "boolean"}, {"type": "number"}, {}]),
        st.builds(lambda a, b: {"type": "integer", "minimum": a, "maximum": a + b}, low, size),
        st.builds(lambda a, b: {"type": "number", "exclusiveMinimum": a, "maximum": a + b + 1}, low, size),
        st.builds(lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b}, size, size),
        st.builds(lambda a: {"type": "integer", "multipleOf": a + 1}, size),
        st.lists(st.one_of(st.text(), st.integers(), st.none(), st.booleans()), min_size=1).map(
            lambda a: {"enum": a}
        ),
        st.sampled_from(PATTERNS[:9]).map(lambda pattern: {"type": "string", "pattern": pattern}),
    )


def branch_schemas(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    members = st.dictionaries(st.text(max_size=5), inner, max_size=4)
    return st.one_of(
        members.map(lambda properties: obj(**properties)),
        members.map(lambda properties: {"type": "object", "properties": properties}),
        st.builds(
            lambda item, low: {"type": "array", "items": item, "minItems": low}, inner, st.integers(0, 4)
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        st.builds(lambda one: {"allOf": [one, {"title": "x"}]}, inner),
        inner.map(lambda member: {"type": "object", "additionalProperties": member}),
    )


@settings(max_examples=200, deadline=None)
@given(st.recursive(leaf_schemas(), branch_schemas, max_leaves=12))
def test_any_satisfiable_schema_is_met(schema: Json) -> None:
    check(schema, range(2))


KEYWORDS = (
    "type enum const items properties required minimum multipleOf minLength pattern format $ref allOf anyOf"
    " oneOf"
    " not if then default examples prefixItems uniqueItems minItems additionalProperties patternProperties"
)
NONSENSE = st.dictionaries(
    st.sampled_from(re.findall(r"\S+", KEYWORDS)),
    st.recursive(
        st.sampled_from([None, True, 0, -1.5, "", "#", "string", "object", [], {}]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(re.findall(r"\S+", KEYWORDS)), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(NONSENSE)
def test_nonsense_is_met_or_refused(schema: Any) -> None:
    with suppress(RequestError):
        made(schema)


@given(st.text(), st.integers(0, 99))
def test_crumbs_add_up(text: str, seed: int) -> None:
    pieces = list(crumbs(text, seed))
    assert "".join(pieces) == text and all(pieces)


def test_json_is_escaped_every_other_time() -> None:
    assert [bool(re.search(r"\\u", json_text("流", seed))) for seed in (0, 1)] == [False, True]
