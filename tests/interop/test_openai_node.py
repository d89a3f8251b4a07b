"""The official ``openai`` client for Node, whose accumulator is the stricter one, against a real server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from serving import Server

pytestmark = pytest.mark.node

NODE: Final = Path(__file__).with_name("node")
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
        },
    }
    for name, key in (("get_tide", "port"), ("get_weather", "city"))
]
SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def asked(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": text}], **members}


SHAPES: Final = {
    "text": asked("rivers in 50 words"),
    "reasoning": asked("rivers in 50 words", reasoning_effort="low"),
    "required tool": asked("The tide in Brest?", tools=TOOLS, tool_choice="required"),
    "parallel tools": asked("get_tide and get_weather, please", tools=TOOLS),
    "schema": asked(
        "A person",
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}},
    ),
    "two choices": asked("rivers in 50 words", n=2),
    "limit": asked("rivers", max_tokens=7),
    "usage": asked("rivers in 50 words", stream_options={"include_usage": True}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that sends keepalives between any two deltas."""
    assert (NODE / "node_modules" / "openai").is_dir(), "openai for Node is not installed: `make test-node`"
    with Server(tmp_path_factory.mktemp("node"), keepalive=0.005) as server:
        yield server


def final(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the client's accumulator makes of the streamed answer."""
    done = subprocess.run(
        ["node", "final.mjs", f"{server.url}/v1"],
        cwd=NODE, input=json.dumps(body), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def essence(completion: dict[str, Any]) -> list[dict[str, Any]]:
    """What a completion says, without its ids and times."""
    return [
        {
            "index": choice["index"],
            "content": _value(choice["message"]["content"] or ""),
            "tool_calls": [_call(call) for call in choice["message"].get("tool_calls") or ()],
            "finish_reason": choice["finish_reason"],
        }
        for choice in completion["choices"]
    ]


def _value(text: str) -> Any:
    """Return what JSON stands for, since a value may be spelled in several ways, and other text as it is."""
    return json.loads(text) if text.startswith("{") else text


def _call(call: dict[str, Any]) -> tuple[str, str, str]:
    return call["id"], call["function"]["name"], call["function"]["arguments"]


@pytest.mark.parametrize("name", SHAPES)
def test_the_accumulated_answer_is_the_whole_one(server: Server, name: str) -> None:
    whole = {key: value for key, value in SHAPES[name].items() if key != "stream_options"}
    expected = httpx2.post(f"{server.url}/v1/chat/completions", json=whole, timeout=60).json()
    accumulated = final(server, SHAPES[name])["completion"]
    assert essence(accumulated) == essence(expected)
    if name == "usage":
        assert accumulated["usage"] == expected["usage"]


def test_a_failure_in_mid_stream_raises(server: Server) -> None:
    error = final(server, {**asked("rivers"), "model": "demo-fail"})["error"]
    assert error["kind"] == "APIError" and error["code"]


def test_a_bad_request_raises(server: Server) -> None:
    error = final(server, asked("rivers", temperature="warm"))["error"]
    assert (error["kind"], error["status"]) == ("BadRequestError", 400)
