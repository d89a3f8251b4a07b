"""``POST /responses/batch``: section 8 of the contract."""

from __future__ import annotations

import socket
import threading
from typing import Any, Final

import pytest

from interop.modelrelay.reading import PATH, ask, asked, asking
from interop.opper.stage import END, Keyed, Stage, after, says, used
from upstream import Script, chunk, hang, refusal, sse

BATCH: Final = f"{PATH}/batch"
ONE: Final = {"id": "1", **asked("house")}


def batch(url: str, requests: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Ask, and return the answer, in which there must be one result for each request."""
    answer = ask(url, {"requests": requests, **({"options": options} if options else {})}, "", BATCH)
    assert answer.status == 200 and answer.body.isascii() and b"null" not in answer.body
    found: dict[str, Any] = answer.json
    assert found["id"] and [each["id"] for each in found["results"]] == [each["id"] for each in requests]
    return found


def said(result: dict[str, Any]) -> str:
    """Return the text of a result that is well."""
    assert result["status"] == "success", result
    [message] = result["response"]["output"]
    return str(message["content"][0]["text"])


def failure(result: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a result that is none."""
    assert result["status"] == "error" and {*result} == {"id", "status", "error"}, result
    error: dict[str, Any] = result["error"]
    assert error["message"] and {*error} <= {"status", "message", "code", "detail"}
    return error


def test_each_request_has_its_answer_and_all_is_counted(stage: Stage) -> None:
    requests = [
        {"id": str(n), **asked(stage.plays(sse(chunk(f"answer {n}"), *END[:1], used(10 * n, n), *END[1:])))}
        for n in range(1, 8)
    ]
    found = batch(stage.url, requests)
    assert [said(each) for each in found["results"]] == [f"answer {n}" for n in range(1, 8)]
    assert found["usage"] == {
        "total_input_tokens": 280, "total_output_tokens": 28, "total_requests": 7,
        "successful_requests": 7, "failed_requests": 0,
    }  # fmt: skip
    whole = found["results"][0]["response"]
    assert (
        whole["id"]
        and whole["model"]
        and whole["provider"]
        and whole["usage"]["observation_basis"] == "exact"
    )


def test_one_failure_is_its_own(stage: Stage) -> None:
    requests = [
        {"id": "well", **asked("house")},
        {"id": "no input", "model": "house"},
        {"id": "busy", **asked(stage.plays(refusal(429, {"error": {"message": "slowly"}})))},
        {"id": "half", **asked(stage.plays(sse(chunk("half"))))},
        {"id": "well too", **asked("house")},
    ]
    found = batch(stage.url, requests, fail_fast=False)
    assert [each["status"] for each in found["results"]] == ["success", "error", "error", "error", "success"]
    errors = [failure(each) for each in found["results"][1:4]]
    assert [(error["status"], error["code"]) for error in errors] == [
        (400, "VALIDATION_ERROR"), (429, "RATE_LIMIT"), (502, "PROVIDER_ERROR")
    ]  # fmt: skip
    assert (found["usage"]["successful_requests"], found["usage"]["failed_requests"]) == (2, 3)
    assert said(found["results"][4]) == "At home."


def test_no_more_at_once_than_allowed(stage: Stage) -> None:
    """Two by two: each waits for another, and sees how many there are."""
    pair, lock, inside, most = threading.Barrier(2), threading.Lock(), 0, 0

    def script(connection: socket.socket, attempt: int) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        pair.wait()
        for _ in range(5):
            stage.http("GET", "/readyz")  # meanwhile the server could ask more, if it would
        with lock:
            inside -= 1
        says("well")(connection, attempt)

    requests = [{"id": str(n), **asked(stage.plays(script))} for n in range(8)]
    found = batch(stage.url, requests, max_concurrent=2)
    assert found["usage"]["successful_requests"] == 8 and most == 2


@pytest.mark.parametrize("fail_fast", [True, False])
def test_after_a_failure_the_rest_is_asked_or_not(stage: Stage, fail_fast: bool) -> None:
    scripts: list[Script] = [refusal(500, {"error": {"message": "oh"}}), says("well"), says("well")]
    models = [stage.plays(script) for script in scripts]
    requests = [{"id": model, **asked(model)} for model in models]
    found = batch(stage.url, requests, max_concurrent=1, fail_fast=fail_fast)
    assert failure(found["results"][0])["code"] == "PROVIDER_ERROR"
    assert [len(stage.bodies(model)) for model in models] == [1, not fail_fast, not fail_fast]
    assert found["usage"]["failed_requests"] == (3 if fail_fast else 1)
    for result in found["results"][1:]:
        assert failure(result)["status"] >= 400 if fail_fast else said(result) == "well"


def test_an_answer_that_takes_too_long_is_a_failure(stage: Stage) -> None:
    requests = [{"id": "slow", **asked(stage.plays(hang(chunk("so "))))}, {"id": "well", **asked("house")}]
    slow, well = batch(stage.url, requests, timeout_ms=300, max_concurrent=1)["results"]
    assert failure(slow)["status"] == 504 and said(well) == "At home."


def test_the_head_does_not_wait_for_the_answers(stage: Stage) -> None:
    told = threading.Event()
    requests = [{"id": "1", **asked(stage.plays(after(told.wait, says("late"))))}]
    with asking(stage.url, {"requests": requests}, "", BATCH) as reading:
        assert (reading.status, reading.chunk()) == (200, b" ")
        told.set()
        assert said(reading.rest().json["results"][0]) == "late"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "requests"),
        ({"requests": []}, "requests"),
        ({"requests": ["x"]}, "requests[0].id"),
        ({"requests": [asked("house")]}, "requests[0].id"),
        ({"requests": [ONE], "options": "fast"}, "options"),
        ({"requests": [ONE], "options": {"max_concurrent": 0}}, "options.max_concurrent"),
        ({"requests": [ONE], "options": {"timeout_ms": "1"}}, "options.timeout_ms"),
    ],
)  # fmt: skip
def test_a_batch_that_makes_no_sense(stage: Stage, body: Any, field: str) -> None:
    answer = ask(stage.url, body, "", BATCH)
    assert answer.status == 400 and answer.json["code"] == "VALIDATION_ERROR"
    assert [each["field"] for each in answer.json["fields"]] == [field]


def test_ids_are_told_apart(stage: Stage) -> None:
    """There is one result per id, so an id cannot stand for two requests."""
    requests = [{"id": "same", **asked("house")}, {"id": "same", **asked("house", "something else")}]
    answer = ask(stage.url, {"requests": requests}, "", BATCH)
    assert answer.status == 400 and answer.json["code"] == "VALIDATION_ERROR"


def test_a_batch_needs_a_key(keyed: Keyed) -> None:
    body = {"requests": [{"id": "1", **asked("house")}]}
    refused = ask(keyed.stage.url, body, "", BATCH, x_modelrelay_api_key=keyed.reading)
    assert (refused.status, refused.json["code"]) == (403, "FORBIDDEN")
    taken = ask(keyed.stage.url, body, "", BATCH, x_modelrelay_api_key=f"mr_sk_{keyed.writing}")
    assert said(taken.json["results"][0]) == "At home."
