"""Schemas: what they find, and that they reach nowhere."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from penstock.engine.schemas import compiled
from penstock.errors import RequestError


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        ({"type": "integer"}, 1, None),
        ({"type": "integer"}, "x", ("", '"x" is not of type "integer"')),
        (
            {"properties": {"a": {"items": {"properties": {"b": {"type": "null"}}}}}},
            {"a": [{"b": None}, {"b": 1}]},
            ("a[1].b", '1 is not of type "null"'),
        ),
        (
            {"$defs": {"n": {"minimum": 3}}, "items": {"$ref": "#/$defs/n"}},
            [3, 2],
            ("[1]", "2 is less than the minimum of 3"),
        ),
        ({"required": ["a"]}, {}, ("", '"a" is a required property')),
        ({"minimum": 0}, 10**400, None),
        (True, {"anything": "goes"}, None),
    ],
)
def test_the_first_fault_is_named(schema: Any, value: Any, fault: tuple[str, str] | None) -> None:
    assert compiled(schema, "output_schema").fault(value) == fault


@pytest.mark.parametrize(
    "schema",
    [{"type": "nope"}, {"$ref": "#/nowhere"}, {"pattern": "(a"}, {"properties": 7}, {"minimum": "three"}],
)
def test_what_is_no_schema_is_the_callers_fault(schema: Any) -> None:
    with pytest.raises(RequestError, match="'input_schema' is not a JSON Schema") as told:
        compiled(schema, "input_schema")
    assert (told.value.status, told.value.field) == (422, "input_schema")


def test_a_reference_makes_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(RequestError):
            compiled({"$ref": url}, "output_schema")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_pattern_gives_up() -> None:
    schema = compiled({"pattern": "^(a|a)*(?=b)c$"}, "output_schema")
    fault = schema.fault("a" * 5000)
    assert fault is not None  # in no time, or not at all: the limit for a test is two minutes
