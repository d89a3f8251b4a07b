"""What all endpoints have in common: how bodies are read, and how errors look in each front."""

from __future__ import annotations

from typing import Any, Final

import httpx2
import pytest

FRONTS: Final = {"native": "/v1/streams", "openai-chat": "/v1/chat/completions"}
BODIES: Final = {
    "cut short": b'{"model": "demo", "input',
    "not JSON": b"model=demo",
    "a list": b"[]",
    "a number": b"7",
    "not UTF-8": b'{"model": "\xff"}',
}


def shown(answer: httpx2.Response) -> dict[str, Any]:
    """Return the error in an answer, in whichever front's shape."""
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_json_object_is_refused(http: httpx2.Client, front: str, body: str) -> None:
    answer = http.post(FRONTS[front], content=BODIES[body])
    assert answer.status_code == 400
    assert "request body" in shown(answer)["message"]
    assert answer.headers["x-should-retry"] == "false" and "retry-after" not in answer.headers


@pytest.mark.parametrize("front", FRONTS)
def test_a_large_body_is_read_to_its_end_and_refused(http: httpx2.Client, front: str) -> None:
    answer = http.post(FRONTS[front], content=b" " * 5_000_000)
    assert answer.status_code == 413
    assert "10000" in shown(answer)["message"]
    assert http.post(FRONTS[front], content=b"{").status_code == 400  # the connection is sound


def test_each_front_has_its_own_errors(http: httpx2.Client) -> None:
    native, chat = (shown(http.post(path, json={"model": "demo"})) for path in FRONTS.values())
    assert native == {
        "code": "invalid_request", "message": "'input' is missing", "field": "input", "retryable": False,
    }  # fmt: skip
    assert chat == {
        "message": "'messages' is missing", "type": "invalid_request_error", "param": "messages",
        "code": "invalid_request",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/", 404), ("PUT", "/v1/streams", 405), ("POST", "/healthz", 405)],
)
def test_what_is_not_there_is_said_in_json(http: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status and path in shown(answer)["message"]


def test_health_and_readiness(http: httpx2.Client) -> None:
    assert http.get("/healthz").json()["status"] == "ok"
    assert http.get("/readyz").json()["status"] == "ready"
