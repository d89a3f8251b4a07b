"""Penstock in front of a service that speaks ModelRelay's wires, as the real one does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from serving import Server

SCHEMA: Final = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "tags": {"type": "array", "minItems": 2, "items": {"type": "string"}},
        "depth": {"type": "number"},
    },
    "required": ["title", "tags", "depth"],
}
TOOL: Final = {"name": "get_tide", "parameters": {"type": "object", "properties": {"port": {}}}}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("behind")) as server:
        yield server


@pytest.fixture(scope="module")
def before(behind: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = "".join(
        f"""
        [upstreams.{name}]
        dialect = "{dialect}"
        url = "{behind.url}/api/v1"
        models = {{ {name} = "demo", {name}-fails = "demo-fail" }}
        """
        for name, dialect in (("new", "modelrelay"), ("old", "modelrelay/v1"))
    )
    with Server(tmp_path_factory.mktemp("before"), config) as server:
        yield server


def events(server: Server, model: str, **members: Any) -> list[dict[str, Any]]:
    body = {"model": model, "input": "rivers in 20 words", **members}
    headers = {"accept": "application/x-ndjson"}
    answer = httpx2.post(f"{server.url}/v1/streams", json=body, headers=headers, timeout=60)
    return [json.loads(line) for line in answer.text.splitlines() if line]


def content(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The whole parts, as far as this wire has a word for them, without the ids of calls."""
    parts = [event["part"] for event in found if event["type"] == "part.done"]
    kinds = ("text", "data", "tool_call")
    return [{**part, "call_id": ""} for part in parts if part["kind"] in kinds]


@pytest.mark.parametrize("model", ["new", "old"])
@pytest.mark.parametrize(
    "members",
    [{}, {"output_schema": SCHEMA}, {"tools": [TOOL], "tool_choice": {"mode": "required"}}],
    ids=["text", "a value", "a call"],
)
def test_what_is_said_is_the_same(
    behind: Server, before: Server, model: str, members: dict[str, Any]
) -> None:
    found = events(before, model, **members)
    assert content(found) == content(events(behind, "demo", **members)) != []
    assert found[-1]["type"] == "response.done"


@pytest.mark.parametrize("model", ["new-fails", "old-fails"])
def test_a_failure_in_the_middle_is_one(before: Server, model: str) -> None:
    found = events(before, model)
    assert any(event["type"] == "part.delta" for event in found)
    assert found[-1]["type"] == "response.failed"
