"""What is done step by step, without a server: what is sent, and what an answer that got lost means."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET, json

from penstock.client.acts import Verdict, decide, listing, path_of, reviews, say
from penstock.client.asking import Request, Script
from penstock.client.refusals import unreachable
from penstock.client.tries import Tries
from penstock.client.ways import Asked, Name, way
from penstock.errors import (
    Overloaded,
    PenstockError,
    RemoteProtocolError,
    RequestError,
    ReviewDecided,
    StreamBusy,
    UpstreamUnavailable,
)
from penstock.events import ReviewRequested
from penstock.reconnect import Policy

LOST = unreachable("http://x", ConnectionError("cut"))
HI = {"type": "message.added", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
OTHER = {"type": "message.added", "role": "user", "parts": [{"kind": "text", "text": "ho"}]}
REVIEW = ReviewRequested("c1", "send", "d1", {"to": "Ida"})


def played(script: Script[Any], *replies: Any) -> tuple[list[str], Any]:
    """Carry a script out with these answers; return what was asked, and what it came to."""
    asked = []
    try:
        request: Request = next(script)
        for reply in replies:
            asked.append(f"{request.method} {request.path}")
            request = script.throw(reply) if isinstance(reply, Exception) else script.send(reply)
    except StopIteration as stop:
        return asked, stop.value
    except PenstockError as exc:
        return asked, exc
    raise AssertionError(f"it goes on with {request}")


def shown(*turns: Any) -> dict[str, Any]:
    return {"cursor": f"e.{len(turns)}", "turns": list(turns)}


GET, POST = "GET /v1/streams/st_1", "POST /v1/streams/st_1/messages"


@pytest.mark.parametrize(
    ("replies", "asked", "outcome"),
    [
        ([shown(), {}], [GET, POST], "e.0"),
        ([shown(), LOST, shown(HI)], [GET, POST, GET], "e.0"),
        ([shown(), LOST, shown(), {}], [GET, POST, GET, POST], "e.0"),
        ([shown(), LOST, shown(), StreamBusy(), shown(HI)], [GET, POST, GET, POST, GET], "e.0"),
        ([shown(), StreamBusy()], [GET, POST], StreamBusy),
        ([shown(), LOST, shown(OTHER), LOST, shown(OTHER), LOST, shown(OTHER)],
         [GET, POST, GET, POST, GET, POST, GET], UpstreamUnavailable),
    ],
)  # fmt: skip
def test_what_is_said_is_said_once(replies: list[Any], asked: list[str], outcome: Any) -> None:
    found, value = played(say("st_1", "hi"), *replies)
    assert found == asked
    assert value == outcome if isinstance(outcome, str) else isinstance(value, outcome)


def tools(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return shown({"type": "response", "tools": list(events), **more})


ASKED = {"type": "tool.review.requested", "call_id": "c1", "tool": "send", "digest": "d1",
         "arguments": {"to": "Ida"}}  # fmt: skip


def decided(verdict: Verdict) -> dict[str, Any]:
    return {"type": "tool.review.done", "call_id": "c1", "digest": "d1", "verdict": verdict}


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([{}], None),
        ([ReviewDecided(), tools(decided("approved"))], ReviewDecided),
        ([LOST, {}], None),
        ([LOST, ReviewDecided(), tools(decided("approved"), end={})], None),
        ([LOST, ReviewDecided(), tools(decided("rejected"))], ReviewDecided),
        ([LOST, LOST, LOST], UpstreamUnavailable),
    ],
)
def test_a_decision_is_made_once(replies: list[Any], outcome: Any) -> None:
    _, value = played(decide("st_1", REVIEW, "approved", UNSET), *replies)
    assert value is None if outcome is None else isinstance(value, outcome)


def test_what_waits_is_what_was_not_decided() -> None:
    assert played(reviews("st_1"), tools(ASKED))[1] == [REVIEW]
    assert played(reviews("st_1"), tools(ASKED, decided("approved")))[1] == []
    assert played(reviews("st_1"), tools(ASKED, end={}))[1] == []


def test_names_are_spelled_for_paths() -> None:
    assert path_of("a/b?", "c d") == "/v1/streams/a%2Fb%3F/c%20d"
    assert played(listing("a&b"), {"streams": [], "next": None})[0] == ["GET /v1/streams?before=a%26b"]


# -- one request


def test_a_request_is_sent_again_as_often_as_the_policy_has_it() -> None:
    tries = Tries(Request("GET", "/"), Policy(repeats=2))
    assert [tries.failed(LOST, 0.0), tries.failed(LOST, 1.0)] == [0.25, 2.0]
    with pytest.raises(UpstreamUnavailable):
        tries.failed(LOST, 0.0)


def test_a_refusal_is_waited_for_as_long_as_it_says() -> None:
    tries = Tries(Request("POST", "/", again=False), Policy())
    with pytest.raises(Overloaded) as told:
        tries.answered(503, {"retry-after": "3"}, b'{"error":{"code":"overloaded","retryable":true}}')
    assert tries.failed(told.value, 0.5) == 3.0


@pytest.mark.parametrize(("error", "sent"), [(LOST, True), (RequestError("no"), True)])
def test_what_must_not_happen_twice_is_not_sent_twice(error: PenstockError, sent: bool) -> None:
    with pytest.raises(type(error)):
        Tries(Request("POST", "/", again=False), Policy()).failed(error, 0.0, sent=sent)
    assert Tries(Request("POST", "/", again=False), Policy()).failed(LOST, 0.0, sent=False) == 0.25


def test_an_answer_is_json_or_nothing() -> None:
    tries = Tries(Request("GET", "/"), Policy())
    assert tries.answered(200, {}, b'{"a":1}') == {"a": 1} and tries.answered(204, {}, b"") is None
    with pytest.raises(RemoteProtocolError):
        tries.answered(200, {}, b"<html>")


# -- how services are asked

ASKS: dict[Name, dict[str, str]] = {
    "openai-chat": {"last-event-id": "7", "idempotency-key": "k"},
    "opper": {"last-event-id": "7", "idempotency-key": "k"},
    "opper/v3": {"last-event-id": "7", "idempotency-key": "k"},
    "modelrelay": {"x-modelrelay-request-id": "k"},
    "mix": {"last-event-id": "7"},
    "orq": {"last-event-id": "7"},
    "native": {"last-event-id": "7"},
}


@pytest.mark.parametrize("name", ASKS)
def test_the_rest_is_asked_for_as_each_service_wants_it(name: Name) -> None:
    body = {"input": "hi", "model": "m", "agent": "a"}
    _, begun = played(way(name).begin(Asked(body, "k")), {"id": "st_1"}, {})
    first, again = begun.ask("", ""), begun.ask("st_1", "7")
    headers = ("last-event-id", "idempotency-key", "x-modelrelay-request-id")
    assert {key: again.headers[key] for key in headers if key in again.headers} == ASKS[name]
    assert "last-event-id" not in first.headers
    if name == "orq":
        assert (
            json.decode(again.body)["task_id"] == "st_1" and not json.decode(again.body)["message"]["parts"]
        )
    else:
        assert again.body == first.body


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("orq", {"input": "hi"}, "agent"),
        ("mix", {"input": [{"content": "a"}, {"content": "b"}]}, "input"),
        ("mix", {"input": [{"parts": [{"kind": "file", "url": "x"}]}]}, "input"),
        ("orq", {"input": [{"parts": [{"kind": "reasoning", "text": "x"}]}], "agent": "a"}, "input"),
        ("openai-chat", {"input": "hi", "modl": "m"}, "modl"),
    ],
)
def test_what_a_service_cannot_be_asked_is_named(name: str, body: dict[str, Any], field: str) -> None:
    _, error = played(way(name).begin(Asked(body, "k")))
    assert isinstance(error, RequestError) and error.field == field
