"""The description of the API is valid, complete and true."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from penstock.server.fronts import fronts


@pytest.fixture
def document(http: httpx2.Client) -> dict[str, Any]:
    described: dict[str, Any] = http.get("/openapi.json").json()
    return described


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_it_has_every_endpoint(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    served = {
        (e.method, e.path.replace(":path}", "}"))
        for front in fronts()
        for e in front.endpoints
        if not e.describes.get("hidden")  # another way to the same
    }
    assert described == served


def test_its_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)


def test_its_events_are_those_that_are_sent(http: httpx2.Client, document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/Event", "components": document["components"]}
    validator = Draft202012Validator(schema)
    body = {"input": "think step by step, in 20 words"}
    lines = http.post("/v1/streams", json=body, headers={"accept": "application/x-ndjson"}).text
    for line in lines.splitlines():
        event = {key: value for key, value in json.loads(line).items() if key not in ("cursor", "at")}
        validator.validate(event)
    assert not validator.is_valid({"type": "part.delta"})
