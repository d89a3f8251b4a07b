"""
An agent that uses an MCP server, from its definition to the log: everything in between is real.

The server is ``tests/mcp_server.py``, by the official package. Penstock starts it and speaks to
it over its pipes, or finds it on the network.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

import httpx2
import pytest

from serving import Server

PROGRAM: Final = [sys.executable, str(Path(__file__).parents[1] / "mcp_server.py")]
TRUSTED: Final = "pid"
"""The tool that the settings trust; of another the server says itself that it only reads."""


def settings(**server: Any) -> str:
    said = "\n".join(f"{name} = {json.dumps(value)}" for name, value in server.items())
    return f"[mcp.library]\ntrusted = {json.dumps([TRUSTED])}\n{said}\n"


@pytest.fixture(scope="module", params=["command", "url"])
def penstock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose settings name the MCP server: to be started, or where it is."""
    with ExitStack() as stack:
        if request.param == "command":
            config = settings(command=PROGRAM)
        else:
            library = stack.enter_context(Popen([*PROGRAM, "http", "0"], stdout=PIPE))
            stack.callback(library.kill)
            assert library.stdout is not None
            config = settings(url=f"http://127.0.0.1:{int(library.stdout.readline())}/mcp")
        yield stack.enter_context(Server(tmp_path_factory.mktemp("mcp"), config))


@pytest.fixture
def http(penstock: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=penstock.url, timeout=60) as http:
        yield http


def tool(key: str, **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "tool_id": "library", "key": key, **more}


def define(http: httpx2.Client, name: str, *tools: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Define an agent and return its tools as they are shown."""
    described = {"role": "R", "description": "D", "instructions": "I", "path": "Default"}
    body = {"key": name, "model": "demo-fast", **described, "settings": {"tools": tools, **more}}
    answer = http.post("/v2/agents", json=body)
    assert answer.status_code == 201, answer.text
    shown: list[dict[str, Any]] = answer.json()["settings"]["tools"]
    return shown


def begun(http: httpx2.Client, agent: str, text: str) -> str:
    answer = http.post("/v1/streams", json={"agent": agent, "input": text})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def events(http: httpx2.Client, stream: str, last: str = "response.done") -> list[dict[str, Any]]:
    """Return the events of a stream, those of parts left out, up to the first one of a type."""
    found: list[dict[str, Any]] = []
    path, accept = f"/v1/streams/{stream}/events", {"accept": "application/x-ndjson"}
    with http.stream("GET", path, headers=accept) as answer:
        for line in filter(None, answer.iter_lines()):
            event = json.loads(line)
            found += [] if event["type"].startswith("part.") else [event]
            if event["type"] == last:
                return found
    raise AssertionError(f"no {last} in {found}")


def tools_of(found: list[dict[str, Any]]) -> list[str]:
    """Return what happened to calls."""
    return [event["type"].removeprefix("tool.") for event in found if event["type"].startswith("tool.")]


def decide(http: httpx2.Client, stream: str, review: dict[str, Any], verdict: str) -> int:
    body = {"verdict": verdict, "digest": review["digest"]}
    return http.post(f"/v1/streams/{stream}/reviews/{review['call_id']}", json=body).status_code


REVIEWED: Final = ["review.requested", "review.done", "started", "done"]


def test_a_trusted_tool_runs_at_once(http: httpx2.Client) -> None:
    (shown,) = define(http, "trusting", tool(TRUSTED))
    assert (shown["key"], shown["requires_approval"]) == ("library_pid", False)
    found = events(http, begun(http, "trusting", "Use library_pid."))
    assert tools_of(found) == ["started", "done"]
    (done,) = (event for event in found if event["type"] == "tool.done")
    assert isinstance(done["result"]["result"], int), "the process says which one it is"
    assert found[-1]["finish_reason"] == "stop"


def test_another_one_waits_for_a_human(http: httpx2.Client) -> None:
    """The server says that it is harmless; that is a hint, and no more."""
    (shown,) = define(http, "careful", tool("fs.env"))
    assert (shown["key"], shown["requires_approval"]) == ("library_fs_env", True)
    stream = begun(http, "careful", "Use library_fs_env.")
    *before, review = events(http, stream, "tool.review.requested")
    assert review["tool"] == "library_fs_env" and review["arguments"].keys() == {"name"}
    assert "started" not in tools_of(before)
    assert decide(http, stream, {**review, "digest": "0" * 64}, "approved") == 409
    assert decide(http, stream, review, "approved") == 200
    found = events(http, stream)
    assert tools_of(found) == REVIEWED
    started, done = (event for event in found if event["type"] in ("tool.started", "tool.done"))
    assert started["arguments"] == review["arguments"], "what was approved is what ran"
    assert done["result"] == ""
    assert decide(http, stream, review, "rejected") == 409


def test_a_rejected_call_is_not_made(http: httpx2.Client) -> None:
    """The tool would write a line and die."""
    define(http, "rejected", tool("crash"))
    define(http, "telling", tool(TRUSTED))
    first = _pid(http, "telling")
    stream = begun(http, "rejected", "Use library_crash.")
    review = events(http, stream, "tool.review.requested")[-1]
    assert decide(http, stream, review, "rejected") == 200
    found = events(http, stream)
    assert tools_of(found) == ["review.requested", "review.done", "failed"]
    assert _pid(http, "telling") == first, "the server has not died"


def _pid(http: httpx2.Client, agent: str) -> int:
    found = events(http, begun(http, agent, "Use library_pid."))
    (done,) = (event for event in found if event["type"] == "tool.done")
    return int(done["result"]["result"])


def test_a_definition_cannot_take_a_review_away(http: httpx2.Client) -> None:
    (shown,) = define(http, "loose", tool("fs.env", requires_approval=False))
    assert shown["requires_approval"] is True
    stream = begun(http, "loose", "Use library_fs_env.")
    review = events(http, stream, "tool.review.requested")[-1]
    assert decide(http, stream, review, "approved") == 200
    assert tools_of(events(http, stream)) == REVIEWED
    loosened = {"settings": {"tools": [tool("fs.env", requires_approval=False)]}}
    (shown,) = http.patch("/v2/agents/loose", json=loosened).json()["settings"]["tools"]
    assert shown["requires_approval"] is True


def test_a_definition_can_ask_for_one(http: httpx2.Client) -> None:
    define(http, "strict", tool(TRUSTED, requires_approval=True))
    define(http, "stricter", tool(TRUSTED), tool_approval_required="all")
    for agent in ("strict", "stricter"):
        stream = begun(http, agent, "Use library_pid.")
        review = events(http, stream, "tool.review.requested")[-1]
        assert decide(http, stream, review, "approved") == 200
        assert tools_of(events(http, stream)) == REVIEWED


def test_both_in_one_round(http: httpx2.Client) -> None:
    """The trusted call does not wait for the human that the other one waits for."""
    define(http, "both", tool(TRUSTED), tool("fs.env"))
    stream = begun(http, "both", "Use library_pid and library_fs_env.")
    found = events(http, stream, "tool.done")
    assert sorted(tools_of(found)) == ["done", "review.requested", "started"]
    (review,) = (event for event in found if event["type"] == "tool.review.requested")
    assert decide(http, stream, review, "approved") == 200
    found = events(http, stream)
    assert sum(event["type"] == "tool.done" for event in found) == 2
    assert [event["name"] for event in found if event["type"] == "custom"] == ["round.done"]


def test_what_went_wrong_is_for_the_model_to_know(http: httpx2.Client) -> None:
    define(http, "failing", tool("fail"))
    stream = begun(http, "failing", "Use library_fail.")
    review = events(http, stream, "tool.review.requested")[-1]
    assert decide(http, stream, review, "approved") == 200
    found = events(http, stream)
    (failed,) = (event for event in found if event["type"] == "tool.failed")
    assert failed["error"] and found[-1]["finish_reason"] == "stop"


def test_a_review_outlives_the_server(http: httpx2.Client, penstock: Server) -> None:
    define(http, "patient", tool("fs.env"))
    stream = begun(http, "patient", "Use library_fs_env.")
    review = events(http, stream, "tool.review.requested")[-1]
    penstock.kill()
    penstock.start()
    with httpx2.Client(base_url=penstock.url, timeout=60) as again:
        assert decide(again, stream, review, "approved") == 200
        found = events(again, stream)
    assert tools_of(found) == REVIEWED and found[-1]["finish_reason"] == "stop"
