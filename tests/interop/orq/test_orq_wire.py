"""The bytes themselves, which no SDK shows: sections 4 and 11 of the contract, framing and rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from interop.modelrelay.saying import thought
from interop.opper.stage import END, says
from interop.orq.stage import House, asks, function, said
from upstream import chunk, reset, sse

NASTY: Final = (
    "流 é 🌊",
    "\u2028\u2029\x85",
    "\ud83d",
    "data: [DONE]\n\nevent: x\nid: 1\r\n\r\n: ping\n\n",
    "\ufeff\x00",
)
ACCEPTS: Final = (
    "application/json;q=1, text/event-stream;q=0",
    "text/event-stream",
    "application/json",
    "*/*",
    "text/html",
)
FRAME: Final = re.compile(rb"id: [0-9a-f]+\.\d+(?:\.\d+)?\ndata: (\{[\x20-\x7e]*\}|\[DONE\])")
TYPES: Final = {
    "response.started", "response.done", "response.failed", "tool.started", "tool.done", "tool.failed",
    "tool.review.requested", "tool.review.done", "part.delta", "part.done",
}  # fmt: skip


def asked(house: House, agent: str, accept: str = ACCEPTS[0], **more: Any) -> httpx2.Response:
    """Have a turn streamed, as bytes; broken off, it raises."""
    body = {"message": said("Go on"), "stream": True, **more}
    headers = {"accept": accept, "cookie": "", "accept-encoding": "gzip, deflate"}
    return house.stage.http("POST", f"/v2/agents/{agent}/responses", json=body, headers=headers)


def frames(body: bytes) -> list[bytes]:
    """Return the frames of a stream; comments stand on lines of their own, before one."""
    assert body.endswith(b"\n\n")
    lines = [line for line in body.split(b"\n") if not line.startswith(b":")]
    return b"\n".join(lines).removesuffix(b"\n\n").split(b"\n\n")


def check(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream whose every frame has data, and whose last is ``[DONE]``."""
    found = frames(body)
    assert all(FRAME.fullmatch(frame) for frame in found), found
    data = [frame.partition(b"data: ")[2] for frame in found]
    assert data[-1] == b"[DONE]" and data.count(b"[DONE]") == 1
    events: list[dict[str, Any]] = [json.loads(each) for each in data[:-1]]
    for event in events:
        assert {*event} == {"type", "timestamp", "data"} and event["type"] in TYPES
        assert isinstance(event["timestamp"], str) and None not in _values(event, event["type"])
    assert events[0]["type"] == "response.started"
    assert [event["type"] for event in events].index(events[-1]["type"]) == len(events) - 1
    return events


def _values(value: Any, kind: str) -> Iterator[Any]:
    """Yield all that an event says, but for what is the caller's or a tool's."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from () if key in ("result", "arguments") else _values(inner, kind)
        case list():
            for inner in value:
                yield from _values(inner, kind)
        case _:
            yield value


def test_the_bytes_of_a_turn(house: House) -> None:
    tools = [house.workshop.tool("/measure", depth="number"), function("look")]
    agent = house.agent(
        sse(thought("Hm."), *map(chunk, NASTY), *END),
        asks(("measure", {"depth": 7}), ("look", {})),
        tools=tools,
    )
    answer = asked(house, agent)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers and "no-transform" in answer.headers["cache-control"]
    assert answer.content.isascii() and b"\r" not in answer.content
    events = check(answer.content)
    deltas = [event["data"]["delta"] for event in events if event["type"] == "part.delta"]
    text = "".join(delta["text"] for delta in deltas if delta["kind"] == "text")
    assert text == "".join(NASTY).replace("\ud83d", "\ufffd")
    task = events[0]["data"]["taskId"]
    again = check(asked(house, agent, task_id=task).content)
    assert again[0]["data"]["taskId"] == task and again[-1]["data"]["finishReason"] == "function_call"


@pytest.mark.parametrize("accept", ACCEPTS)
def test_whether_it_streams_the_body_says(house: House, accept: str) -> None:
    agent = house.agent(says("Hi."), says("Hi."), says("Hi."))
    for stream, kind in ((True, "text/event-stream"), (False, "application/json")):
        answer = asked(house, agent, accept, stream=stream)
        assert answer.status_code == 200 and answer.headers["content-type"].partition(";")[0] == kind
    answer = asked(house, agent, accept, background=True, stream=False)
    assert answer.headers["content-type"] == "application/json" and answer.json()["output"] == []


def test_a_failure_is_followed_by_the_last_frame_too(house: House) -> None:
    events = check(asked(house, house.agent(reset(chunk("half ")))).content)
    assert events[-1]["type"] == "response.failed" and isinstance(events[-1]["data"]["code"], int)


def test_silence_is_filled_with_comments_while_a_human_is_asked(murmuring: House) -> None:
    house, body = murmuring, b""
    tool = house.workshop.tool("/refund", requires_approval=True, order="number")
    agent = house.agent(asks(("refund", {"order": 7})), says("Done."), tools=[tool])
    path = f"{house.url}/v2/agents/{agent}/responses"
    decided = False
    with httpx2.stream("POST", path, json={"message": said("Go on"), "stream": True}, timeout=60) as answer:
        for data in answer.iter_raw():
            body += data
            if body.partition(b"review.requested")[2].count(b"\n: ka\n") >= 3 and not decided:
                task = json.loads(FRAME.fullmatch(frames(body + b"\n")[0])[1])["data"]["taskId"]  # type: ignore[index]
                decided = house.review(agent, task, "call_refund", "approved").status_code == 200
    kinds = [event["type"] for event in check(body) if not event["type"].startswith("part.")]
    assert kinds[1:] == [
        "tool.review.requested", "tool.review.done", "tool.started", "tool.done", "response.done",
    ]  # fmt: skip


def test_a_reader_of_ours_resumes_by_the_ids(house: House) -> None:
    """Frames carry ids beside their data, that no SDK minds; who sends the last one back gets the rest."""
    agent = house.agent(sse(*(chunk(f"{n} ") for n in range(5)), *END))
    whole = asked(house, agent).content
    task = json.loads(frames(whole)[0].partition(b"data: ")[2])["data"]["taskId"]
    body = {"message": {"role": "user", "parts": []}, "stream": True, "task_id": task}
    path, found = f"/v2/agents/{agent}/responses", frames(whole)
    assert house.stage.http("POST", path, json=body).content == whole
    for n, frame in enumerate(found[:-1]):
        id = frame.partition(b"\n")[0].removeprefix(b"id: ").decode()
        rest = house.stage.http("POST", path, json=body, headers={"last-event-id": id}).content
        assert frames(rest) == found[n + 1 :]
