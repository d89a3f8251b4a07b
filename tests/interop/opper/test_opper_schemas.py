"""Whatever the schema: what streams field by field is what the call without a stream returns."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interop.opper.leaves import exact, gathered, without_nothing
from serving import Server

SCALARS: Final[list[dict[str, Any]]] = [
    {"type": "string"},
    {"type": "string", "minLength": 30, "maxLength": 90},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": -9, "maximum": 10**12},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["red", "gr\u00fcn", "\u9752", 7, None, True]},
    {"const": "\u2028 and \U0001f30a"},
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    {"$ref": "#/$defs/seat"},
]

KEYS: Final = st.text(string.ascii_letters + string.digits + "_- \u00e9\u6d41", min_size=1, max_size=8)


def _branches(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    members = st.dictionaries(KEYS, inner, max_size=5)
    return st.one_of(
        members.map(lambda them: {"type": "object", "properties": them, "required": list(them)}),
        st.builds(
            lambda item, least: {"type": "array", "items": item, "minItems": least, "maxItems": least + 2},
            inner,
            st.integers(0, 3),
        ),
    )


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    seat = {"type": "object", "properties": {"row": {"type": "integer"}}, "required": ["row"]}
    return {**schema, "$defs": {"seat": seat}}


schemas: Final = st.recursive(st.sampled_from(SCALARS), _branches, max_leaves=10).map(_rooted)


@pytest.fixture(scope="module")
def http(demo: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{demo.url}/v2", timeout=60) as client:
        yield client


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schemas)
def test_what_is_gathered_is_what_is_called(http: httpx2.Client, schema: dict[str, Any]) -> None:
    body = {"name": "any", "input": "rivers", "output_schema": schema, "model": "demo-fast"}
    called = http.post("/call", json=body)
    assert called.status_code == 200, called.text
    streamed = http.post("/call/stream", json=body)
    said = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: ")]
    whole = called.json()["json_payload"]
    assert _joined(said) == {path: exact(leaf) for path, leaf in _leaves(whole, "")}
    if "{}" not in json.dumps(whole) and "[]" not in json.dumps(whole):
        assert exact(without_nothing(gathered(said))) == exact(without_nothing(whole))


def _joined(said: list[dict[str, Any]]) -> dict[str, str]:
    """Return what was said of each path, put together."""
    found: dict[str, Any] = {}
    for data in said:
        if data.get("chunk_type") == "json" and data["delta"] is not None:
            path, delta = data.get("json_path", ""), data["delta"]
            found[path] = found[path] + delta if path in found else delta
    return {path: exact(leaf) for path, leaf in found.items()}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield what is neither null nor a container, with its path (section 2.3 of the contract)."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _leaves(inner, f"{path}.{key}" if path else key)
        case list():
            for n, inner in enumerate(value):
                yield from _leaves(inner, f"{path}[{n}]")
        case None:
            return
        case _:
            yield path, value
