"""Remote sessions and state handles over HTTP, against a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx2
import pytest

from serving import Server, create_key

UNKNOWN: Final = "6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506"
PICTURE: Final = {"type": "file", "file": {"data_base64": "aGk=", "mime_type": "image/png", "size_bytes": 2}}
PATIENCE: Final = 30.0
"""Seconds for something to come about."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("sessions")) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as http:
        yield http


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Server]:
    """A server that keeps nothing of other tests."""
    with Server(tmp_path) as server:
        yield server


def client(server: Server, key: str = "") -> httpx2.Client:
    headers = {"x-modelrelay-api-key": f"mr_sk_{key}"} if key else {}
    return httpx2.Client(base_url=f"{server.url}/api/v1", timeout=60, headers=headers)


def posted(http: httpx2.Client, path: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def session(http: httpx2.Client, **body: Any) -> str:
    return str(posted(http, "/sessions", body)["id"])


def content(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


def say(http: httpx2.Client, id: str, text: str, role: str = "user", **members: Any) -> dict[str, Any]:
    return posted(http, f"/sessions/{id}/messages", {"role": role, "content": content(text), **members})


def run(http: httpx2.Client, id: str, *said: str, model: str = "demo-fast") -> str:
    """Run to its end what the SDK makes of a session's history, and return the run."""
    items = [{"type": "message", "role": "user", "content": content(text)} for text in said]
    node = {"id": "main", "type": "llm", "input": items}
    spec = {"kind": "workflow", "model": model, "nodes": [node], "outputs": [{"name": "r", "from": "main"}]}
    started = posted(http, "/runs", {"spec": spec, "session_id": id}, 200)["run_id"]
    assert http.get(f"/runs/{started}/events").status_code == 200
    return str(started)


def shown(http: httpx2.Client, id: str) -> dict[str, Any]:
    answer = http.get(f"/sessions/{id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def lines(http: httpx2.Client, id: str) -> list[tuple[str, str]]:
    """Return who said what, answers as the number of their run."""
    found = shown(http, id)["messages"]
    assert [message["seq"] for message in found] == [*range(1, len(found) + 1)]
    assert len({message["id"] for message in found}) == len(found)
    return [(m["role"], m.get("run_id") or m["content"][0]["text"]) for m in found]


def error(answer: httpx2.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert body["error"] == body["code"] and body["message"]
    return answer.status_code, body["code"], body.get("fields", [{"field": ""}])[0]["field"]


# -- sessions


def test_a_session_is_begun_and_shown(http: httpx2.Client) -> None:
    begun = posted(http, "/sessions", {"metadata": {"name": "née"}, "customer_id": UNKNOWN})
    assert set(begun) == {
        "id", "project_id", "customer_id", "metadata", "message_count", "created_at", "updated_at",
    }  # fmt: skip
    assert UUID(begun["id"]) and UUID(begun["project_id"])
    assert (begun["metadata"], begun["customer_id"], begun["message_count"]) == ({"name": "née"}, UNKNOWN, 0)
    assert datetime.fromisoformat(begun["created_at"]).tzinfo
    assert shown(http, begun["id"]) == {**begun, "messages": []}
    bare = posted(http, "/sessions", {})
    assert bare["metadata"] == {} and "customer_id" not in bare


def test_what_is_said_is_kept_as_it_was(http: httpx2.Client) -> None:
    id = session(http)
    body = {"role": "user", "content": [*content("Здравствуйте"), PICTURE], "run_id": UNKNOWN}
    said = posted(http, f"/sessions/{id}/messages", body)
    assert {name: said[name] for name in body} == body and said["seq"] == 1 and UUID(said["id"])
    second = say(http, id, "done", "tool")
    found = shown(http, id)
    assert found["messages"] == [said, second] and second["seq"] == found["message_count"] == 2
    assert found["updated_at"] == second["created_at"] > found["created_at"]


def test_many_may_speak_at_once(http: httpx2.Client) -> None:
    id = session(http)
    with ThreadPoolExecutor(8) as pool:
        said = [*pool.map(lambda n: say(http, id, str(n)), range(20))]
    assert sorted(message["seq"] for message in said) == [*range(1, 21)]
    assert shown(http, id)["messages"] == sorted(said, key=lambda message: int(message["seq"]))


def test_a_session_is_forgotten(http: httpx2.Client) -> None:
    id = session(http)
    deleted = http.delete(f"/sessions/{id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for answer in (http.get(f"/sessions/{id}"), http.delete(f"/sessions/{id}")):
        assert error(answer)[:2] == (404, "NOT_FOUND")
    assert id not in {each["id"] for each in http.get("/sessions").json()["sessions"]}


def test_sessions_are_listed_in_pages(alone: Server) -> None:
    with client(alone) as http:
        assert http.get("/sessions").json() == {"sessions": []}
        ids = [session(http, **({"customer_id": UNKNOWN} if n % 2 else {})) for n in range(5)]
        say(http, ids[0], "hi")
        listed = http.get("/sessions").json()["sessions"]
        assert [each["id"] for each in listed] == ids[::-1]
        assert [each["message_count"] for each in listed] == [0, 0, 0, 0, 1]
        found, query = [], "limit=2"
        while query:
            page = http.get(f"/sessions?{query}").json()
            found.append([each["id"] for each in page["sessions"]])
            query = f"limit=2&offset={page['next_cursor']}" if "next_cursor" in page else ""
        assert found == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
        theirs = http.get(f"/sessions?customer_id={UNKNOWN}").json()["sessions"]
        assert [each["id"] for each in theirs] == [ids[3], ids[1]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "limit=x"])
@pytest.mark.parametrize("path", ["/sessions", "/state-handles"])
def test_a_malformed_page_is_refused(http: httpx2.Client, path: str, query: str) -> None:
    assert error(http.get(f"{path}?{query}")) == (400, "VALIDATION_ERROR", query.partition("=")[0])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"content": []}, "role"),
        ({"role": "nobody", "content": []}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": "text"}, "content"),
        ({"role": "user", "content": [{"text": "no type"}]}, "content[0]"),
        ({"role": "user", "content": [], "run_id": "r"}, "run_id"),
    ],
)
def test_a_wrong_message_is_refused(http: httpx2.Client, body: dict[str, Any], field: str) -> None:
    id = session(http)
    assert error(http.post(f"/sessions/{id}/messages", json=body)) == (400, "VALIDATION_ERROR", field)
    assert shown(http, id)["messages"] == []


def test_a_wrong_session_is_refused(http: httpx2.Client) -> None:
    assert error(http.post("/sessions", json={"metadata": []}))[2] == "metadata"
    assert error(http.post("/sessions", json={"customer_id": 1}))[2] == "customer_id"


def test_unknown_sessions_are_not_found(http: httpx2.Client) -> None:
    handle = posted(http, "/state-handles", {})["id"]
    for id in (UNKNOWN, "no-uuid", handle):
        message = {"role": "user", "content": content("hi")}
        assert error(http.get(f"/sessions/{id}"))[:2] == (404, "NOT_FOUND")
        assert error(http.post(f"/sessions/{id}/messages", json=message))[:2] == (404, "NOT_FOUND")
        body = {"spec": {"nodes": [{"type": "llm", "user": "hi"}]}, "session_id": id}
        assert error(http.post("/runs", json=body))[:2] == (404, "NOT_FOUND")


# -- what runs say in them


def test_an_answer_follows_the_prompt_that_comes_after_its_run(http: httpx2.Client) -> None:
    """As the TypeScript SDK does it: the run first, then the prompt."""
    id = session(http)
    first = run(http, id, "rivers")
    assert say(http, id, "rivers")["seq"] == 1
    second = run(http, id, "rivers", "lakes")
    assert say(http, id, "lakes")["seq"] == 3
    listed = {each["id"]: each["message_count"] for each in http.get("/sessions").json()["sessions"]}
    assert listed[id] == 4, "a list does not look, but the prompt has brought the answer"
    told = [("user", "rivers"), ("assistant", first), ("user", "lakes"), ("assistant", second)]
    assert lines(http, id) == told == lines(http, id)
    (item,) = http.get(f"/runs/{first}").json()["outputs"]["result"]["output"]
    assert shown(http, id)["messages"][1]["content"] == item["content"]


def test_an_answer_follows_the_prompt_that_was_there(http: httpx2.Client) -> None:
    id = session(http)
    say(http, id, "rivers")
    first = run(http, id, "rivers")
    say(http, id, "lakes")
    second = run(http, id, "rivers", "lakes")
    told = [("user", "rivers"), ("assistant", first), ("user", "lakes"), ("assistant", second)]
    assert lines(http, id) == told


def test_an_answer_is_there_for_those_who_look(http: httpx2.Client) -> None:
    id = session(http)
    first = run(http, id, "rivers")
    assert lines(http, id) == [("assistant", first)]
    say(http, id, "rivers")
    assert lines(http, id) == [("assistant", first), ("user", "rivers")]


def test_a_run_that_fails_says_nothing(http: httpx2.Client) -> None:
    id = session(http)
    run(http, id, "rivers", model="demo-fail")  # the SDK keeps its prompt for later
    second = run(http, id, "rivers", "lakes")
    say(http, id, "rivers")
    say(http, id, "lakes")
    assert lines(http, id) == [("user", "rivers"), ("user", "lakes"), ("assistant", second)]


def test_an_answer_that_the_caller_says_is_not_said_twice(http: httpx2.Client) -> None:
    id = session(http)
    say(http, id, "rivers")
    first = run(http, id, "rivers")
    say(http, id, "in my words", "assistant", run_id=first)
    assert lines(http, id) == [("user", "rivers"), ("assistant", first)]
    assert shown(http, id)["messages"][1]["content"] == content("in my words")


def test_a_retried_run_answers_once(http: httpx2.Client) -> None:
    id = session(http)
    spec = {"model": "demo-fast", "nodes": [{"type": "llm", "user": "rivers"}]}
    body = {"spec": spec, "session_id": id, "options": {"idempotency_key": id}}
    (first,) = {posted(http, "/runs", body, 200)["run_id"] for _ in range(3)}
    http.get(f"/runs/{first}/events")
    assert lines(http, id) == [("assistant", first)]


# -- state handles


def asking(state: str) -> dict[str, Any]:
    items = [{"type": "message", "role": "user", "content": content("rivers in 5 words")}]
    return {"model": "demo-fast", "input": items, "state_id": state}


def handles(http: httpx2.Client) -> list[str]:
    return [handle["id"] for handle in http.get("/state-handles").json()["state_handles"]]


def test_a_state_handle_lives_until_it_is_forgotten(http: httpx2.Client) -> None:
    handle = posted(http, "/state-handles", {"ttl_seconds": 3600})
    assert set(handle) == {"id", "project_id", "created_at", "expires_at"}
    times = [datetime.fromisoformat(handle[name]) for name in ("created_at", "expires_at")]
    assert (times[1] - times[0]).total_seconds() == 3600
    lasting = posted(http, "/state-handles", {})
    assert "expires_at" not in lasting
    assert http.get("/state-handles?limit=2").json()["state_handles"] == [lasting, handle]
    assert http.post("/responses", json=asking(handle["id"])).status_code == 200
    deleted = http.delete(f"/state-handles/{handle['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert handle["id"] not in handles(http) and lasting["id"] in handles(http)
    assert error(http.post("/responses", json=asking(handle["id"]))) == (404, "NOT_FOUND", "state_id")
    assert error(http.delete(f"/state-handles/{handle['id']}"))[:2] == (404, "NOT_FOUND")
    assert http.post("/responses", json=asking(lasting["id"])).status_code == 200


def test_a_state_handle_expires(http: httpx2.Client) -> None:
    handle = posted(http, "/state-handles", {"ttl_seconds": 1})["id"]
    until = time.monotonic() + PATIENCE
    while handle in handles(http):
        assert time.monotonic() < until, "it lives on"
    assert error(http.post("/responses", json=asking(handle)))[:2] == (404, "NOT_FOUND")
    assert error(http.delete(f"/state-handles/{handle}"))[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize("state", [UNKNOWN, "no-uuid"])
def test_an_unknown_state_is_not_found(http: httpx2.Client, state: str) -> None:
    streaming = {"accept": 'application/x-ndjson; profile="responses-stream/v2"'}
    answer = http.post("/responses", json=asking(state), headers=streaming)
    assert error(answer) == (404, "NOT_FOUND", "state_id")


def test_an_unknown_state_fails_its_own_request_of_a_batch(http: httpx2.Client) -> None:
    known = posted(http, "/state-handles", {})["id"]
    requests = [{"id": "a", **asking(known)}, {"id": "b", **asking(UNKNOWN)}]
    first, second = http.post("/responses/batch", json={"requests": requests}).json()["results"]
    assert (first["status"], second["status"], second["error"]["status"]) == ("success", "error", 404)


@pytest.mark.parametrize("seconds", [0, -1, 31_536_001, "1", 1.5, True])
def test_a_wrong_time_to_live_is_refused(http: httpx2.Client, seconds: Any) -> None:
    answer = http.post("/state-handles", json={"ttl_seconds": seconds})
    assert error(answer) == (400, "VALIDATION_ERROR", "ttl_seconds")


# -- both


def test_they_survive_a_restart(alone: Server) -> None:
    with client(alone) as http:
        id, gone = session(http, metadata={"n": 1}), session(http)
        http.delete(f"/sessions/{gone}")
        say(http, id, "rivers")
        first = run(http, id, "rivers")
        handle = posted(http, "/state-handles", {"ttl_seconds": 3600})
    alone.kill()
    alone.start()
    with client(alone) as http:
        assert lines(http, id) == [("user", "rivers"), ("assistant", first)]
        before = shown(http, id)
        assert [each["id"] for each in http.get("/sessions").json()["sessions"]] == [id]
        assert http.get("/state-handles").json() == {"state_handles": [handle]}
        assert http.post("/responses", json=asking(handle["id"])).status_code == 200
    alone.stop()
    alone.start()
    with client(alone) as http:
        assert shown(http, id) == before
        assert say(http, id, "lakes")["seq"] == 3


def test_they_are_their_callers_alone(tmp_path: Path) -> None:
    mine, yours = (create_key(tmp_path, "run:write", "run:read") for _ in range(2))
    with Server(tmp_path) as server, client(server, mine) as me, client(server, yours) as you:
        id, handle = session(me), posted(me, "/state-handles", {})["id"]
        say(me, id, "hi")
        body = {"spec": {"nodes": [{"type": "llm", "user": "hi"}]}, "session_id": id}
        for answer in (
            you.get(f"/sessions/{id}"),
            you.delete(f"/sessions/{id}"),
            you.post(f"/sessions/{id}/messages", json={"role": "user", "content": content("hi")}),
            you.post("/runs", json=body),
            you.post("/responses", json=asking(handle)),
            you.delete(f"/state-handles/{handle}"),
        ):
            assert error(answer)[:2] == (404, "NOT_FOUND")
        assert you.get("/sessions").json() == {"sessions": []} and handles(you) == []
        assert lines(me, id) == [("user", "hi")] and handles(me) == [handle]
        assert shown(me, id)["project_id"] != posted(you, "/sessions", {})["project_id"]
