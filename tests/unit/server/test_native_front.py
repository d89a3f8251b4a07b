"""The native front: every verb, over HTTP, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from penstock.dialects.native import cursor_of
from penstock.wire import Frame
from serving import Server
from sockets import LINES, NATIVE, Ask, Reading, read_until_cut

SHORT: Final = {"model": "demo", "input": "rivers in 20 words"}
OPEN: Final = {**SHORT, "keep_open": True}
SILENT: Final = {"model": "demo-silent", "input": "rivers"}
"""An answer that falls silent for a minute after four deltas."""
SSE: Final = {"accept": "text/event-stream"}


def begin(http: httpx2.Client, body: dict[str, Any], **headers: str) -> str:
    """Start an answer and return its stream."""
    answer = http.post("/v1/streams", json=body, headers=headers)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def read(http: httpx2.Client, stream: str, query: str = "until=done", **headers: str) -> list[Frame]:
    """Return the frames of a stream."""
    answer = http.get(f"/v1/streams/{stream}/events?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return NATIVE.framing.reader().feed(answer.content)


def events(frames: list[Frame]) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in frames]


def types(frames: list[Frame]) -> list[str]:
    return [event["type"] for event in events(frames)]


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# -- starting


def test_an_answer_is_begun_and_found(http: httpx2.Client) -> None:
    answer = http.post("/v1/streams", json=SHORT)
    begun = answer.json()
    stream = begun["id"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/streams/{stream}"
    assert answer.headers["penstock-stream"] == stream
    assert begun == {"id": stream, "response": f"{stream}.1", "events": f"/v1/streams/{stream}/events"}
    told = types(read(http, stream))
    assert told[:3] == ["message.added", "response.started", "part.started"]
    assert told[-2:] == ["part.done", "response.done"]


@pytest.mark.parametrize("wire", [NATIVE, LINES], ids=["sse", "ndjson"])
def test_an_answer_is_begun_and_followed(http: httpx2.Client, wire: Any) -> None:
    media_type = wire.framing.media_type
    answer = http.post("/v1/streams", json=SHORT, headers={"accept": media_type})
    assert answer.status_code == 201
    assert answer.headers["content-type"] == media_type
    stream = answer.headers["penstock-stream"]
    assert answer.headers["location"] == f"/v1/streams/{stream}"
    frames = wire.framing.reader().feed(answer.content)
    assert types(frames)[-1] == "response.done"
    again = http.get(f"/v1/streams/{stream}/events", headers={"accept": media_type})
    assert again.content == answer.content


def test_what_the_server_was_told_stays_there(http: httpx2.Client) -> None:
    body = {**SHORT, "instructions": "a secret", "input": [
        {"role": "system", "content": "another secret"}, {"content": "rivers in 20 words"},
    ]}  # fmt: skip
    stream = begin(http, body)
    told = http.get(f"/v1/streams/{stream}/events").text
    assert "secret" not in told and "instructions" not in told


# -- the same request, once


def test_a_key_stands_for_one_answer(http: httpx2.Client) -> None:
    key = {"idempotency-key": "one answer"}
    first = http.post("/v1/streams", json=SHORT, headers=key)
    second = http.post("/v1/streams", json=SHORT, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert error(http.post("/v1/streams", json=OPEN, headers=key)) == (409, "idempotency_clash")


async def test_a_key_stands_for_one_answer_among_twenty_at_once(server: Server) -> None:
    async with httpx2.AsyncClient(base_url=server.url, timeout=60) as http:
        key = {"idempotency-key": "twenty at once"}
        answers = await asyncio.gather(
            *(http.post("/v1/streams", json=SHORT, headers=key) for _ in range(20))
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.text for answer in answers}) == 1


def test_a_key_survives_a_restart(tmp_path: Path) -> None:
    key = {"idempotency-key": "survivor"}
    with Server(tmp_path) as server:
        first = httpx2.post(f"{server.url}/v1/streams", json=SHORT, headers=key)
        server.stop()
        server.start()
        second = httpx2.post(f"{server.url}/v1/streams", json=SHORT, headers=key)
        other = httpx2.post(f"{server.url}/v1/streams", json=OPEN, headers=key)
    assert second.status_code == 200 and second.json() == first.json()
    assert error(other) == (409, "idempotency_clash")


# -- reading


@pytest.fixture(scope="module")
def told(server: Server) -> Iterator[tuple[str, list[Frame]]]:
    """A finished stream, and its frames."""
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        stream = begin(http, SHORT)
        yield stream, read(http, stream)


@pytest.mark.parametrize("way", ["query", "header"])
def test_a_reader_goes_on_after_any_frame(
    http: httpx2.Client, told: tuple[str, list[Frame]], way: str
) -> None:
    stream, frames = told
    for n, frame in enumerate(frames[:-1], 1):
        if way == "query":
            assert read(http, stream, f"cursor={frame.id}") == frames[n:]
        else:
            assert read(http, stream, **{"last-event-id": frame.id}) == frames[n:]


CURSORS: Final = {
    "foreign": "0000dead.3",
    "malformed": "rubbish",
    "empty offset": "{epoch}.",
    "negative": "{epoch}.-1",
    "ahead": "{epoch}.99999",
    "ahead by a frame": "{epoch}.{end}.1",
}


@pytest.mark.parametrize("name", CURSORS)
def test_a_cursor_that_leads_nowhere_is_an_error(
    http: httpx2.Client, told: tuple[str, list[Frame]], name: str
) -> None:
    stream, frames = told
    epoch, _, end = frames[-1].id.partition(".")
    cursor = CURSORS[name].format(epoch=epoch, end=end)
    path = f"/v1/streams/{stream}/events"
    assert error(http.get(path, params={"cursor": cursor})) == (410, "cursor_gone")
    assert error(http.get(path, headers={"last-event-id": cursor})) == (410, "cursor_gone")


@pytest.mark.parametrize("count", ["9999", "-1", "one"])
def test_a_count_of_frames_that_leads_nowhere_is_an_error(
    http: httpx2.Client, told: tuple[str, list[Frame]], count: str
) -> None:
    path = f"/v1/streams/{told[0]}/events?dialect=openai-chat&cursor={count}"
    assert error(http.get(path)) == (410, "cursor_gone")


def test_a_stream_is_read_in_another_dialect(http: httpx2.Client, told: tuple[str, list[Frame]]) -> None:
    whole = http.get(f"/v1/streams/{told[0]}/events?dialect=openai-chat").text
    blocks = whole.removesuffix("\n\n").split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    rest = http.get(f"/v1/streams/{told[0]}/events?dialect=openai-chat&cursor=3").text
    assert rest == "".join(block + "\n\n" for block in blocks[3:])


def test_an_unknown_dialect_is_named(http: httpx2.Client, told: tuple[str, list[Frame]]) -> None:
    answer = http.get(f"/v1/streams/{told[0]}/events?dialect=openai-chad")
    assert error(answer) == (400, "no_such_plugin")
    assert "'openai-chat'" in answer.json()["error"]["message"]


async def test_until_says_where_reading_ends(server: Server, http: httpx2.Client) -> None:
    stream = begin(http, OPEN)
    done = read(http, stream, "until=done")
    async with Reading(server.url, Ask(f"/v1/streams/{stream}/events", headers=SSE), NATIVE) as reading:
        frames: list[Frame] = []
        while len(frames) < len(done):
            frames += await reading.frames()
        begin_again = http.post(f"/v1/streams/{stream}/messages", json={"input": "lakes in 20 words"})
        assert begin_again.status_code == 201
        while types(frames).count("response.done") < 2:
            frames += await reading.frames()
    assert frames[: len(done)] == done
    assert read(http, stream, f"until=done&cursor={done[-1].id}") == frames[len(done) :]
    assert error(http.get(f"/v1/streams/{stream}/events?until=never")) == (400, "invalid_request")


# -- the stream as it stands


async def test_a_snapshot_is_continued_by_its_cursor(server: Server, http: httpx2.Client) -> None:
    body = {"model": "demo-slow", "input": "rivers in 8 words"}
    async with Reading(server.url, Ask("/v1/streams", body, SSE), NATIVE) as reading:
        frames: list[Frame] = []
        while len(frames) < 5:
            frames += await reading.frames()
        stream = reading.headers["penstock-stream"]
        snapshot = http.get(f"/v1/streams/{stream}").json()
        frames += await reading.rest()
    assert not snapshot["sealed"] and snapshot["turns"][1]["status"] == "open"
    after = read(http, stream, f"cursor={snapshot['cursor']}")
    assert len(after) < len(frames) and frames[-len(after) :] == after
    said = "".join(part["text"] for part in snapshot["turns"][1]["parts"])
    said += "".join(event["delta"] for event in events(after) if event["type"] == "part.delta")
    whole = http.get(f"/v1/streams/{stream}").json()
    assert whole["sealed"] and whole["cursor"] == frames[-1].id
    assert said == whole["turns"][1]["parts"][0]["text"]


def test_streams_are_listed_page_by_page(tmp_path: Path) -> None:
    with Server(tmp_path) as server, httpx2.Client(base_url=server.url, timeout=60) as http:
        begun = [begin(http, SHORT) for _ in range(5)]
        listed, path = [], "/v1/streams?limit=2"
        while path:
            page = http.get(path).json()
            assert len(page["streams"]) <= 2
            listed += [entry["id"] for entry in page["streams"]]
            path = page["next"] and f"/v1/streams?limit=2&before={page['next']}"
        assert listed == begun[::-1]
        for limit in ("0", "1001", "many"):
            assert error(http.get(f"/v1/streams?limit={limit}")) == (400, "invalid_request")
        answer = http.get("/v1/streams?limits=2")
        assert error(answer) == (400, "invalid_request") and "'limit'" in answer.json()["error"]["message"]


# -- going on


def test_a_conversation_goes_on(http: httpx2.Client) -> None:
    stream = begin(http, OPEN)
    first = read(http, stream)
    answer = http.post(f"/v1/streams/{stream}/messages", json={"input": "lakes in 20 words"}, headers=SSE)
    assert answer.status_code == 201 and answer.headers["penstock-stream"] == stream
    second = NATIVE.framing.reader().feed(answer.content)
    assert types(second)[:2] == ["message.added", "response.started"]
    assert events(second)[1]["response_id"] == f"{stream}.2"
    assert read(http, stream, f"until=done&cursor={first[-1].id}") == second


def test_results_of_tools_go_back(http: httpx2.Client) -> None:
    tool = {"name": "get_tide", "parameters": {"type": "object"}}
    stream = begin(http, {**SHORT, "tools": [tool], "tool_choice": {"mode": "required"}})
    [call] = events(read(http, stream))[-1]["pending_calls"]
    result = {"kind": "tool_result", "call_id": call, "result": "4.2 metres"}
    body = {"input": [{"role": "tool", "parts": [result]}]}
    assert http.post(f"/v1/streams/{stream}/messages", json=body).status_code == 201
    turns = http.get(f"/v1/streams/{stream}").json()["turns"]
    assert [turn["type"] for turn in turns] == ["message.added", "response"] * 2
    assert "4.2 metres" in str(events(read(http, stream, f"until=done&cursor={cursor(http, stream, 2)}")))


def cursor(http: httpx2.Client, stream: str, response: int) -> str:
    """Return the cursor before the answer with this number."""
    with http.stream("GET", f"/v1/streams/{stream}/events", headers=SSE) as answer:
        reader, before = NATIVE.framing.reader(), ""
        for data in answer.iter_bytes():
            for frame in reader.feed(data):
                if json.loads(frame.data).get("response_id") == f"{stream}.{response}":
                    return before
                before = cursor_of(frame)
    raise AssertionError(f"there is no answer {response}")


def test_a_finished_stream_takes_no_messages(http: httpx2.Client, told: tuple[str, list[Frame]]) -> None:
    answer = http.post(f"/v1/streams/{told[0]}/messages", json={"input": "more"})
    assert error(answer) == (409, "sealed")


def test_a_busy_stream_takes_no_messages(http: httpx2.Client) -> None:
    stream = begin(http, {**SILENT, "keep_open": True})
    answer = http.post(f"/v1/streams/{stream}/messages", json={"input": "more"})
    assert error(answer) == (409, "stream_busy")


# -- ending


async def test_stop_ends_an_answer_at_once(server: Server, http: httpx2.Client) -> None:
    async with Reading(server.url, Ask("/v1/streams", SILENT, SSE), NATIVE) as reading:
        frames: list[Frame] = []
        while len(frames) < 7:  # all that comes before the silence
            frames += await reading.frames()
        stream = reading.headers["penstock-stream"]
        first = http.post(f"/v1/streams/{stream}/stop").json()
        async with asyncio.timeout(10):  # of a silence of sixty seconds
            frames += await reading.rest()
        second = http.post(f"/v1/streams/{stream}/stop").json()
    assert (first["stopping"], second["stopping"]) == (True, False)
    assert types(frames)[-3:] == ["response.stop.requested", "part.done", "response.done"]
    assert events(frames)[-1]["finish_reason"] == "cancelled"
    assert types(read(http, stream)).count("response.stop.requested") == 1


async def test_stopping_from_many_places_is_stopping_once(server: Server, http: httpx2.Client) -> None:
    stream = begin(http, SILENT)
    async with httpx2.AsyncClient(base_url=server.url, timeout=60) as ahttp:
        answers = await asyncio.gather(*(ahttp.post(f"/v1/streams/{stream}/stop") for _ in range(10)))
    assert all(answer.status_code == 200 for answer in answers)
    told = types(read(http, stream))
    assert told.count("response.stop.requested") == told.count("response.done") == 1


async def test_delete_breaks_readers_off(server: Server, http: httpx2.Client) -> None:
    async with Reading(server.url, Ask("/v1/streams", SILENT, SSE), NATIVE) as reading:
        frames = await reading.frames()
        stream = reading.headers["penstock-stream"]
        assert http.delete(f"/v1/streams/{stream}").status_code == 204
        async with asyncio.timeout(10):
            await read_until_cut(reading, frames)
        assert not reading.ended
    for answer in (
        http.delete(f"/v1/streams/{stream}"),
        http.get(f"/v1/streams/{stream}"),
        http.get(f"/v1/streams/{stream}/events"),
        http.post(f"/v1/streams/{stream}/stop"),
        http.post(f"/v1/streams/{stream}/messages", json={"input": "more"}),
        http.post(f"/v1/streams/{stream}/reviews/c", json={"verdict": "approved", "digest": "d"}),
    ):
        assert error(answer) == (404, "stream_not_found")


def test_there_is_no_review_to_decide(http: httpx2.Client, told: tuple[str, list[Frame]]) -> None:
    answer = http.post(f"/v1/streams/{told[0]}/reviews/call_1", json={"verdict": "approved", "digest": "d"})
    assert error(answer) == (404, "review_not_found")


# -- requests that cannot be


WRONG: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "no input": ({"model": "demo"}, "input", "missing"),
    "empty input": ({"input": ""}, "input", "empty"),
    "no messages": ({"input": []}, "input", "empty"),
    "number as input": ({"input": 3}, "input", "`int`"),
    "unknown field": ({"input": "hi", "imput": "hi"}, "imput", "'input'"),
    "unknown field within": ({"input": [{"contents": "hi"}]}, "input[0].contents", "not known"),
    "both content and parts": (
        {"input": [{"content": "hi", "parts": []}]}, "input[0]", "either",
    ),
    "wrong role": ({"input": [{"role": "boss", "content": "hi"}]}, "input[0].role", "boss"),
    "wrong type": ({"input": "hi", "choices": "two"}, "choices", "`str`"),
    "no choices": ({"input": "hi", "choices": 0}, "choices", "from 1"),
    "no time": ({"input": "hi", "max_time": -1}, "max_time", "more than 0"),
    "tool without name": ({"input": "hi", "tools": [{}]}, "tools[0].name", "missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_request_that_cannot_be_names_the_field(http: httpx2.Client, name: str) -> None:
    body, field, hint = WRONG[name]
    answer = http.post("/v1/streams", json=body)
    told = answer.json()["error"]
    assert error(answer) == (400, "invalid_request")
    assert told["field"] == field and hint in told["message"], told
    assert told["retryable"] is False


def test_messages_that_come_at_once_find_one_answer_each(server: Server) -> None:
    """Whatever is on its way to the disk meanwhile, each is answered, or told that another one is."""
    with httpx2.Client(base_url=server.url, timeout=30) as http:
        begun = http.post("/v1/streams", json={**OPEN, "model": "demo-fast"}).json()["id"]
        http.get(f"/v1/streams/{begun}/events?until=done")
        with ThreadPoolExecutor(8) as crowd:
            said = list(
                crowd.map(
                    lambda n: http.post(f"/v1/streams/{begun}/messages", json={"input": f"{n}"}).status_code,
                    range(32),
                )
            )
        assert {*said} <= {201, 409}
        assert 201 in said
        assert http.get("/healthz").status_code == 200
        until = http.get(f"/v1/streams/{begun}").json()["turns"]
    assert sum(turn["type"] == "response" for turn in until) == 1 + said.count(201)
