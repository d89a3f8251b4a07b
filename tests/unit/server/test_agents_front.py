"""Agents and decisions over our own wire, in a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serving import Server, create_key

SEND = "Please send a postcard to Ida."


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with Server(tmp_path_factory.mktemp("agents")) as server, httpx2.Client(base_url=server.url) as client:
        yield client


def begun(http: httpx2.Client, text: str, **more: Any) -> str:
    body = {"agent": "demo", "model": "demo-fast", "input": text, **more}
    answer = http.post("/v1/streams", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def events(http: httpx2.Client, stream: str, last: str) -> list[dict[str, Any]]:
    """Return the events of a stream up to the first one of a type."""
    found: list[dict[str, Any]] = []
    path, accept = f"/v1/streams/{stream}/events", {"accept": "application/x-ndjson"}
    with http.stream("GET", path, headers=accept) as answer:
        for line in answer.iter_lines():
            if line:
                found.append(httpx2.Response(200, text=line).json())
            if found and found[-1]["type"] == last:
                return found
    raise AssertionError(f"no {last} in {found}")


def decide(http: httpx2.Client, stream: str, call_id: str, **body: Any) -> tuple[int, str]:
    answer = http.post(f"/v1/streams/{stream}/reviews/{call_id}", json=body)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_the_servers_tools_are_run(http: httpx2.Client) -> None:
    found = events(http, begun(http, "Roll the dice."), "response.done")
    kinds = [event["type"] for event in found]
    assert kinds.count("tool.started") == kinds.count("tool.done") == 1
    assert "review" not in str(kinds) and found[-1]["finish_reason"] == "stop"


def test_a_call_is_decided_about_with_its_digest(http: httpx2.Client) -> None:
    stream = begun(http, SEND)
    review = events(http, stream, "tool.review.requested")[-1]
    call, digest = review["call_id"], review["digest"]
    assert review["arguments"].keys() == {"to", "text"}
    assert decide(http, stream, call, verdict="approved") == (400, "invalid_request")
    assert decide(http, stream, call, verdict="maybe", digest=digest) == (400, "invalid_request")
    assert decide(http, stream, call, verdict="rejected", digest=digest, output=1) == (400, "invalid_request")
    assert decide(http, stream, call, verdict="approved", digest="0" * 64) == (409, "review_decided")
    assert decide(http, stream, "other", verdict="approved", digest=digest) == (404, "review_not_found")
    assert decide(http, stream, call, verdict="approved", digest=digest) == (200, "")
    assert decide(http, stream, call, verdict="rejected", digest=digest) == (409, "review_decided")
    found = events(http, stream, "response.done")
    assert [event["type"] for event in found if event["type"].startswith("tool.")] == [
        "tool.review.requested", "tool.review.done", "tool.started", "tool.done",
    ]  # fmt: skip


def test_what_the_caller_says_goes_before_what_the_agent_is(http: httpx2.Client) -> None:
    found = events(http, begun(http, "Roll the dice.", max_iterations=1), "response.done")
    assert found[-1]["finish_reason"] == "max_iterations"
    refused = http.post("/v1/streams", json={"agent": "demo", "input": "", "review": "none"})
    assert refused.status_code == 400, "but whether a human is asked is not the caller's to say"
    taken = {"agent": "demo", "input": "hi", "tools": [{"name": "send_postcard"}]}
    refused = http.post("/v1/streams", json=taken)
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "tools[0].name")


def test_the_callers_calls_must_be_answered(http: httpx2.Client) -> None:
    stream = begun(http, "What is the weather in Brest?")
    [call_id] = events(http, stream, "response.done")[-1]["pending_calls"]
    answer = http.post(f"/v1/streams/{stream}/messages", json={"input": "Well?"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "calls_pending" and call_id in answer.json()["error"]["message"]
    result = {"role": "tool", "parts": [{"kind": "tool_result", "call_id": call_id, "result": "rain"}]}
    assert http.post(f"/v1/streams/{stream}/messages", json={"input": [result]}).status_code == 201


def test_there_is_no_such_agent(http: httpx2.Client) -> None:
    answer = http.post("/v1/streams", json={"agent": "nobody", "input": "hi"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "agent_not_found")


def test_tools_of_the_server_are_those_of_agents(http: httpx2.Client) -> None:
    body = {"input": "hi", "tools": [{"name": "x", "runner": "http", "setup": {"url": "http://127.0.0.1/"}}]}
    answer = http.post("/v1/streams", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "tools[0].runner")


def test_deciding_takes_a_scope_of_its_own(tmp_path: Path) -> None:
    writing = create_key(tmp_path, "run:write", "run:read")
    reviewing = create_key(tmp_path, "run:review")
    with Server(tmp_path) as server, httpx2.Client(base_url=server.url) as client:
        client.headers["authorization"] = f"Bearer {writing}"
        stream = begun(client, SEND)
        review = events(client, stream, "tool.review.requested")[-1]
        body = {"verdict": "approved", "digest": review["digest"]}
        assert decide(client, stream, review["call_id"], **body) == (403, "forbidden")
        client.headers["authorization"] = f"Bearer {reviewing}"
        assert decide(client, stream, review["call_id"], **body) == (200, "")
