"""Runs over HTTP: started, followed, cut, continued with the results of tools, against a real server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from penstock.wire import jsontext
from serving import Server, create_key

TOOLS: Final = ("get_tide", "get_moon")
UNKNOWN: Final = "6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506"
OVER: Final = ("run_completed", "run_failed", "run_canceled")


def plan(text: str = "rivers in 20 words", *tools: str, model: str = "demo-fast") -> dict[str, Any]:
    """Return the body that the TypeScript SDK's remote session sends."""
    node: dict[str, Any] = {
        "id": "main",
        "type": "llm",
        "input": [{"type": "message", "role": "user", "content": [{"type": "text", "text": text}]}],
    }
    if tools:
        node["tools"] = [{"type": "function", "function": {"name": name}} for name in tools]
        node["tool_execution"] = {"mode": "client"}
    outputs = [{"name": "result", "from": "main"}]
    return {
        "spec": {"kind": "workflow", "name": "n", "model": model, "nodes": [node], "outputs": outputs},
        "stream": True,
    }


def asking(*tools: str) -> dict[str, Any]:
    return plan(f"use {' and '.join(tools)}", *tools)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("runs"), keepalive=0.3) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as http:
        yield http


def client(server: Server, key: str = "") -> httpx2.Client:
    headers = {"x-modelrelay-api-key": f"mr_sk_{key}"} if key else {}
    return httpx2.Client(base_url=f"{server.url}/api/v1", timeout=60, headers=headers)


def begun(http: httpx2.Client, body: dict[str, Any]) -> str:
    answer = http.post("/runs", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


def log(http: httpx2.Client, run: str, **query: Any) -> bytes:
    answer = http.get(f"/runs/{run}/events", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return answer.content.replace(b"\n\n", b"\n").lstrip(b"\n")  # heartbeats are blank lines


@contextmanager
def following(http: httpx2.Client, run: str, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """Follow a run's log as its events come."""
    with http.stream("GET", f"/runs/{run}/events", params=query) as answer:
        yield (json.loads(line) for line in answer.iter_lines() if line)


def up_to(events: Iterator[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    found = []
    for event in events:
        found.append(event)
        if event["type"] == kind:
            return found
    raise AssertionError(f"the log ended without {kind}: {found}")


def told(data: bytes) -> list[dict[str, Any]]:
    assert data.isascii() and (not data or data.endswith(b"\n"))
    return [json.loads(line) for line in data.splitlines()]


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def text(events: list[dict[str, Any]]) -> str:
    return "".join(event.get("delta", {}).get("text_delta", "") for event in events)


def gapless(events: list[dict[str, Any]]) -> bool:
    return [event["seq"] for event in events] == [*range(1, len(events) + 1)]


def resumes_everywhere(http: httpx2.Client, run: str) -> bytes:
    """Check that the log of a run that is over goes on at each of its events, and return it."""
    whole = log(http, run)
    lines = whole.splitlines(keepends=True)
    for cut in range(len(lines) + 1):
        assert log(http, run, after_seq=cut) == b"".join(lines[cut:])
    assert gapless(told(whole)) and told(whole)[-1]["type"] in OVER
    return whole


def waiting(http: httpx2.Client, run: str) -> dict[str, Any]:
    """Wait until the run waits, and return for what."""
    with following(http, run) as events:
        up_to(events, "node_waiting")
    (pending,) = http.get(f"/runs/{run}/pending-tools").json()["pending"]
    return dict(pending)


def results(pending: dict[str, Any], output: str = "high") -> dict[str, Any]:
    place = {name: pending[name] for name in ("node_id", "step", "request_id")}
    calls = [call["tool_call"] for call in pending["tool_calls"]]
    given = [{"tool_call": {"id": c["id"], "name": c["name"]}, "output": output} for c in calls]
    return {**place, "results": given}


def error(answer: httpx2.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert body["error"] == body["code"] and body["message"]
    return answer.status_code, body["code"], body.get("fields", [{"field": ""}])[0]["field"]


# -- its log


def test_a_run_is_started_read_and_shown(http: httpx2.Client) -> None:
    answer = http.post("/runs", json=plan())
    started = answer.json()
    assert set(started) == {"run_id", "status", "plan_hash"} and len(started["plan_hash"]) == 64
    run = started["run_id"]
    events = told(log(http, run))
    assert types(events)[:2] == ["run_started", "node_started"] and gapless(events)
    assert {event["run_id"] for event in events} == {run}
    shown = http.get(f"/runs/{run}").json()
    assert {name: shown[name] for name in started} == {**started, "status": "succeeded"}
    assert shown["cost_summary"] == {"total_usd_cents": 0, "line_items": []}
    (item,) = shown["outputs"]["result"]["output"]
    assert item["content"] == [{"type": "text", "text": text(events)}] and text(events)
    *_, ended = events
    data = jsontext.encode(shown["outputs"])
    digest = hashlib.sha256(data).hexdigest()
    assert ended["outputs"]["info"] == {"bytes": len(data), "sha256": digest, "included": False}
    used = next(event["llm_call"]["usage"] for event in events if event["type"] == "node_llm_call")
    assert shown["summary"]["total_output_tokens"] == used["output_tokens"] > 0
    assert shown["summary"]["total_steps"] == 1


def test_it_resumes_at_every_event(http: httpx2.Client) -> None:
    run = begun(http, plan())
    assert resumes_everywhere(http, run) == resumes_everywhere(http, run)


def test_live_it_is_what_it_is_later(http: httpx2.Client) -> None:
    run = begun(http, plan(model="demo"))
    live = log(http, run)
    assert told(live)[-1]["type"] == "run_completed"
    assert live == log(http, run)


@pytest.mark.parametrize("limit", [1, 3, 10_000])
def test_a_limit_ends_it_early(http: httpx2.Client, limit: int) -> None:
    run = begun(http, plan())
    lines = log(http, run).splitlines(keepends=True)
    assert log(http, run, after_seq=2, limit=limit) == b"".join(lines[2 : 2 + limit])


def test_without_waiting_it_is_what_there_is(http: httpx2.Client) -> None:
    run = begun(http, plan(model="demo-silent"))
    with following(http, run) as events:
        assert next(events)["seq"] == 1
    there = log(http, run, wait=0)
    assert types(told(there))[0] == "run_started" and not set(types(told(there))) & set(OVER)
    assert log(http, run, wait=0, after_seq=10_000) == b""
    assert http.get(f"/runs/{run}").json()["status"] == "running"


def test_the_head_comes_at_once_and_silence_is_blank_lines(http: httpx2.Client) -> None:
    run = begun(http, plan(model="demo-silent"))
    with http.stream("GET", f"/runs/{run}/events?after_seq=10000") as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        assert (next(pieces), next(pieces)) == (b"\n", b"\n")


def test_a_run_that_is_over_has_nothing_after_its_end(http: httpx2.Client) -> None:
    run = begun(http, plan())
    last = told(log(http, run))[-1]["seq"]
    assert log(http, run, after_seq=last) == log(http, run, after_seq=last + 5) == b""


def test_a_run_is_a_stream(server: Server, http: httpx2.Client) -> None:
    answer = http.post("/runs", json=plan())
    stream = answer.headers["penstock-stream"]
    said = text(told(log(http, answer.json()["run_id"])))
    lines = httpx2.get(f"{server.url}/v1/streams/{stream}/events", headers={"accept": "application/x-ndjson"})
    assert "".join(event.get("delta", "") for event in map(json.loads, lines.text.splitlines())) == said


def test_below_any_prefix(server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        run = begun(http, plan())
        assert log(http, run) and http.get(f"/any/where/runs/{run}").json()["run_id"] == run


# -- how it ends otherwise


def test_a_failure_is_the_end(http: httpx2.Client) -> None:
    run = begun(http, plan(model="demo-fail"))
    *_, node, ended = told(resumes_everywhere(http, run))
    assert (node["type"], ended["type"]) == ("node_failed", "run_failed") and ended["error"]["message"]
    shown = http.get(f"/runs/{run}").json()
    assert shown["status"] == "failed" and "outputs" not in shown


def test_a_stop_cancels_it(server: Server, http: httpx2.Client) -> None:
    answer = http.post("/runs", json=plan(model="demo-silent"))
    run, stream = answer.json()["run_id"], answer.headers["penstock-stream"]
    with following(http, run) as events:
        next(events)
        assert httpx2.post(f"{server.url}/v1/streams/{stream}/stop").json()["stopping"]
        up_to(events, "run_canceled")
        assert next(events, None) is None
    resumes_everywhere(http, run)
    assert http.get(f"/runs/{run}").json()["status"] == "canceled"


def test_what_comes_after_its_end_is_no_part_of_it(server: Server, http: httpx2.Client) -> None:
    answer = http.post("/runs", json=plan("just talk", *TOOLS))  # with tools, the stream stays open
    run, stream = answer.json()["run_id"], answer.headers["penstock-stream"]
    whole, shown = log(http, run), http.get(f"/runs/{run}").json()
    more = httpx2.post(
        f"{server.url}/v1/streams/{stream}/messages",
        json={"input": "and then?"},
        headers={"accept": "text/event-stream"},
    )
    assert more.status_code == 201 and "response.done" in more.text
    assert log(http, run) == whole
    assert http.get(f"/runs/{run}").json() == shown


# -- tools


def test_a_tool_loop_is_one_log(http: httpx2.Client) -> None:
    run = begun(http, asking(*TOOLS))
    with following(http, run) as events:
        first = up_to(events, "node_waiting")
        assert http.get(f"/runs/{run}").json()["status"] == "waiting"
        answer = http.get(f"/runs/{run}/pending-tools").json()
        (pending,) = answer["pending"]
        assert answer["run_id"] == run
        told_of = {**first[-1]["waiting"], "node_id": first[-1]["node_id"]}
        assert told_of.pop("reason") == "tool_results"
        told_of["tool_calls"] = told_of.pop("pending_tool_calls")
        assert told_of == pending
        assert [call["tool_call"]["name"] for call in pending["tool_calls"]] == [*TOOLS]
        accepted = http.post(f"/runs/{run}/tool-results", json=results(pending, "very high"))
        assert (accepted.status_code, accepted.json()["accepted"]) == (200, 2)
        second = up_to(events, "run_completed")
        assert next(events, None) is None
    assert gapless([*first, *second]) and "very high" in text(second)
    assert told(resumes_everywhere(http, run)) == [*first, *second]
    assert [e["llm_call"]["step"] for e in [*first, *second] if "llm_call" in e] == [0, 1]
    shown = http.get(f"/runs/{run}").json()
    assert (shown["status"], shown["summary"]["total_steps"]) == ("succeeded", 2)
    assert shown["summary"]["total_tool_calls"] == 2
    assert http.get(f"/runs/{run}/pending-tools").json() == {"run_id": run, "pending": []}


def test_results_are_taken_once(http: httpx2.Client) -> None:
    run = begun(http, asking(*TOOLS))
    body = results(waiting(http, run))
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: http.post(f"/runs/{run}/tool-results", json=body), range(8))]
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    log(http, run)
    assert error(http.post(f"/runs/{run}/tool-results", json=body))[:2] == (409, "CONFLICT")
    assert http.get(f"/runs/{run}").json()["summary"]["total_steps"] == 2


WRONG: Final[dict[str, tuple[Callable[[dict[str, Any]], Any], int, str]]] = {
    "another step": (lambda body: body.update(step=1), 409, "step"),
    "another request": (lambda body: body.update(request_id=UNKNOWN), 409, "request_id"),
    "another node": (lambda body: body.update(node_id="other"), 409, "node_id"),
    "no step": (lambda body: body.pop("step"), 400, "step"),
    "no results": (lambda body: body.pop("results"), 400, "results"),
    "a result too few": (lambda body: body["results"].pop(), 400, "results"),
    "a result twice": (lambda body: body["results"].append(body["results"][0]), 400, "results"),
    "an unknown call": (lambda body: body["results"][0]["tool_call"].update(id="zz"), 400, "results"),
    "no output": (lambda body: body["results"][1].pop("output"), 400, "results[1].output"),
}


def test_wrong_results_change_nothing(http: httpx2.Client) -> None:
    run = begun(http, asking(*TOOLS))
    pending = waiting(http, run)
    before = log(http, run, wait=0)
    for name, (spoil, status, field) in WRONG.items():
        body = results(pending)
        spoil(body)
        answer = http.post(f"/runs/{run}/tool-results", json=body)
        assert (answer.status_code, error(answer)[2]) == (status, field), name
    assert log(http, run, wait=0) == before
    assert waiting(http, run) == pending


def test_what_is_wrong_with_results_is_said(http: httpx2.Client) -> None:
    run = begun(http, asking(*TOOLS))
    pending = waiting(http, run)
    body = results(pending)
    body["results"][0]["tool_call"]["id"] = "zz"
    said = http.post(f"/runs/{run}/tool-results", json=body).json()["message"]
    assert "'zz'" in said and pending["tool_calls"][0]["tool_call"]["id"] in said
    assert pending["tool_calls"][1]["tool_call"]["id"] not in said


# -- the same request, once


def keyed(key: str, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "options": {"idempotency_key": key}}


def test_a_key_stands_for_one_run(http: httpx2.Client) -> None:
    body = keyed("one", plan())
    with ThreadPoolExecutor(8) as pool:
        runs = {*pool.map(lambda _: begun(http, body), range(8))}
    assert len(runs) == 1 and begun(http, body) in runs
    assert error(http.post("/runs", json=keyed("one", plan("lakes"))))[:2] == (409, "CONFLICT")
    assert begun(http, plan()) != begun(http, plan())


# -- what is wrong


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after_seq=-1", "after_seq"),
        ("after_seq=x", "after_seq"),
        ("after_seq=", "after_seq"),
        ("after_seq=%C2%B2", "after_seq"),
        (f"after_seq={'9' * 5000}", "after_seq"),
        ("limit=0", "limit"),
        ("wait=maybe", "wait"),
    ],
)
def test_a_malformed_query_is_refused(http: httpx2.Client, query: str, field: str) -> None:
    run = begun(http, plan())
    assert error(http.get(f"/runs/{run}/events?{query}")) == (400, "VALIDATION_ERROR", field)


@pytest.mark.parametrize("run", [UNKNOWN, "no-uuid"])
@pytest.mark.parametrize("what", ["", "/events", "/pending-tools"])
def test_an_unknown_run_is_not_found(http: httpx2.Client, run: str, what: str) -> None:
    assert error(http.get(f"/runs/{run}{what}"))[:2] == (404, "NOT_FOUND")
    body = {"node_id": "main", "step": 0, "request_id": UNKNOWN}
    body |= {"results": [{"tool_call": {"id": "a"}, "output": "b"}]}
    assert error(http.post(f"/runs/{run}/tool-results", json=body))[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "spec"),
        ({**plan(), "stream": "yes"}, "stream"),
        ({**plan(), "options": []}, "options"),
        ({**plan(), "options": {"idempotency_key": 7}}, "options.idempotency_key"),
        ({**plan(), "session_id": 7}, "session_id"),
    ],
    ids=["no spec", "stream", "options", "key", "session"],
)
def test_a_wrong_plan_is_refused(http: httpx2.Client, body: dict[str, Any], field: str) -> None:
    assert error(http.post("/runs", json=body)) == (400, "VALIDATION_ERROR", field)


# -- restarts


def test_runs_survive_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with client(server) as http:
            done, pending_run = begun(http, keyed("kept", plan())), begun(http, asking(*TOOLS))
            whole, pending = log(http, done), waiting(http, pending_run)
            part = log(http, pending_run, wait=0)
        server.kill()
        server.start()
        with client(server) as http:
            assert log(http, done) == whole and begun(http, keyed("kept", plan())) == done
            assert error(http.post("/runs", json=keyed("kept", plan("lakes"))))[0] == 409
            assert log(http, pending_run, wait=0) == part
            assert waiting(http, pending_run) == pending
            assert http.post(f"/runs/{pending_run}/tool-results", json=results(pending)).status_code == 200
            again = resumes_everywhere(http, pending_run)
            assert again.startswith(part) and told(again)[-1]["type"] == "run_completed"


def test_a_run_cut_by_the_end_of_its_server_fails(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with client(server) as http:
            run = begun(http, plan(model="demo-silent"))
            with following(http, run) as events:
                seen = up_to(events, "node_output_delta")
                while not text(seen):
                    seen.append(next(events))
        server.kill()
        server.start()
        with client(server) as http:
            whole = told(resumes_everywhere(http, run))
            assert whole[: len(seen)] == seen
            assert whole[-1]["type"] == "run_failed"
            assert http.get(f"/runs/{run}").json()["status"] == "failed"


def test_a_reader_is_cut_when_its_server_goes(tmp_path: Path) -> None:
    """The log of a run that is not over never ends cleanly."""
    with Server(tmp_path, drain_time=0.0) as server:
        with client(server) as http:
            run = begun(http, asking(*TOOLS))
            with following(http, run) as events:
                up_to(events, "node_waiting")
                server.signal()
                with pytest.raises(httpx2.RemoteProtocolError):
                    next(events, None)
        assert server.wait() == 0


# -- whose it is


def test_it_is_its_callers_alone(tmp_path: Path) -> None:
    mine, yours = (create_key(tmp_path, "run:write", "run:read") for _ in range(2))
    with Server(tmp_path) as server, client(server, mine) as me, client(server, yours) as you:
        run = begun(me, keyed("k", asking(*TOOLS)))
        body = results(waiting(me, run))
        for what in ("", "/events", "/pending-tools"):
            assert error(you.get(f"/runs/{run}{what}"))[:2] == (404, "NOT_FOUND")
        assert error(you.post(f"/runs/{run}/tool-results", json=body))[:2] == (404, "NOT_FOUND")
        assert begun(you, keyed("k", asking(*TOOLS))) != run
        assert me.post(f"/runs/{run}/tool-results", json=body).json()["accepted"] == 2
        assert told(log(me, run))[-1]["type"] == "run_completed"
