"""Penstock in front of a service that speaks Opper's wires, as the real one does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import pytest

from serving import Server
from upstream import HEAD, Script, Upstream, refusal, sse

SCHEMA: Final = {
    "type": "object",
    "properties": {
        "host": {"type": "string"},
        "guests": {
            "type": "array",
            "minItems": 2,
            "items": {"type": "object", "properties": {"vip": {"type": "boolean"}}, "required": ["vip"]},
        },
        "tables": {"type": "number"},
    },
    "required": ["host", "guests", "tables"],
}


class Chain(NamedTuple):
    """A Penstock that asks another one in Opper's way."""

    back: Server
    front: Server


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with Server(tmp_path_factory.mktemp("back")) as back:
        config = f"""
        [upstreams.two]
        dialect = "opper"
        url = "{back.url}/v2"
        models = {{ two = "demo", two-fails = "demo-fail" }}

        [upstreams.three]
        dialect = "opper/v3"
        url = "{back.url}"
        models = {{ three = "demo", three-fails = "demo-fail" }}
        """
        with Server(tmp_path_factory.mktemp("front"), config) as front:
            yield Chain(back, front)


def events(server: Server, model: str, **members: Any) -> list[dict[str, Any]]:
    body = {"model": model, "input": "rivers in 30 words", **members}
    with httpx2.stream(
        "POST", f"{server.url}/v1/streams", json=body, headers={"accept": "application/x-ndjson"}, timeout=60
    ) as answer:
        assert answer.status_code == 201
        return [json.loads(line) for line in answer.iter_lines() if line]


def done(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["part"] for event in found if event["type"] == "part.done"]


def deltas(found: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in found if event["type"] == "part.delta")


@pytest.mark.parametrize("model", ["two", "three"])
def test_a_text_is_the_same(chain: Chain, model: str) -> None:
    behind, before = events(chain.back, "demo"), events(chain.front, model)
    assert done(before) == [part for part in done(behind) if part["kind"] == "text"]
    assert deltas(before) == done(before)[0]["text"]
    assert before[-1]["type"] == "response.done"


@pytest.mark.parametrize("model", ["two", "three"])
def test_a_value_is_the_same(chain: Chain, model: str) -> None:
    (behind,) = done(events(chain.back, "demo", output_schema=SCHEMA))
    found = events(chain.front, model, output_schema=SCHEMA)
    assert done(found) == [behind]
    assert json.loads(deltas(found)) == behind["value"]


@pytest.mark.parametrize("model", ["two-fails", "three-fails"])
def test_a_failure_in_the_middle_is_one(chain: Chain, model: str) -> None:
    found = events(chain.front, model)
    assert deltas(found)
    assert found[-1]["type"] == "response.failed"
    assert "on purpose" in found[-1]["message"]


def test_usage_comes_along_where_it_is_said(chain: Chain) -> None:
    two, three = (events(chain.front, model)[-1]["usage"] for model in ("two", "three"))
    assert two["source"] == "estimated"
    assert three.get("source", "provider") == "provider"
    assert three["output_tokens"] > 0


# -- as it breaks

V2: Final = (
    b'data: {"span_id": "0f6f2b1c-3a55-4a0e-8a57-2f1f3e0f9b77"}\n\n',
    b'data: {"delta": "Hel", "chunk_type": "text"}\n\n',
    b'data: {"delta": "lo", "chunk_type": "text"}\n\n',
)


def chunked(*pieces: bytes, whole: bool) -> Script:
    """Answer in chunks; unless ``whole``, without the last one."""
    head = HEAD.replace(b"connection: close\r\n", b"transfer-encoding: chunked\r\n")

    def script(connection: socket.socket, attempt: int) -> None:
        connection.sendall(head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))
        if whole:
            connection.sendall(b"0\r\n\r\n")

    return script


@pytest.mark.parametrize(
    ("script", "ending", "text"),
    [
        (chunked(*V2, whole=True), "response.done", "Hello"),
        (chunked(*V2, whole=False), "truncated", "Hello"),
        (sse(*V2), "response.done", "Hello"),
        (refusal(422, {"type": "t", "message": "no such thing", "detail": {}}), "upstream", ""),
        (refusal(401, {"type": "t", "message": "no key", "detail": {}}), "upstream", ""),
    ],
    ids=["a clean end", "cut", "closed", "422", "401"],
)
def test_only_a_clean_end_is_one(tmp_path: Path, script: Script, ending: str, text: str) -> None:
    with Upstream({"m": script}) as upstream:
        config = f'[upstreams.up]\ndialect = "opper"\nurl = "{upstream.url}"\nretries = 0'
        with Server(tmp_path, config) as server:
            found = events(server, "m")
    assert deltas(found) == text
    assert ending in (found[-1]["type"], found[-1].get("code"))
