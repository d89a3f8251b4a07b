"""Errors of v2, by the classes of its SDKs: section 6 of the contract, as far as each can be provoked."""

from __future__ import annotations

from threading import Event
from typing import Any, Final, NamedTuple

import pytest

from interop.opper.sdks import V2, Failure
from interop.opper.stage import Keyed, Stage, after, says
from upstream import Script, refusal, sse

CALLS: Final = ("stream", "call")
INPUT: Final = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def check(raised: Failure, kind: str, status: int, code: str) -> None:
    """What is raised must be of this class, and say to its reader what the server said."""
    assert (raised.kind, raised.status) == (kind, status) and "OpperError" in raised.kinds
    said = raised.body
    assert said["message"] and said["detail"]["code"] == code
    if kind != "APIError":
        assert said["type"] == kind
        assert {key: raised.told[key] for key in ("type", "message", "detail")} == said


# -- what the caller does wrong


class Wrong(NamedTuple):
    """A call that is refused."""

    body: dict[str, Any]
    kind: str
    status: int
    code: str
    field: str | None = None


INVALID: Final = ("RequestValidationError", 422, "invalid_request")
WRONG: Final = {
    "no such model": Wrong({"model": "no-such"}, "NotFoundError", 404, "model_not_found", "model"),
    "no second model": Wrong({"model": ["known", "x"]}, "NotFoundError", 404, "model_not_found", "model"),
    "not the input": Wrong({"input": {"n": "many"}, "input_schema": INPUT}, *INVALID, "input.n"),
    "no input": Wrong({"input_schema": INPUT}, *INVALID, "input"),
    "no schema": Wrong({"output_schema": {"type": "nonsense"}}, *INVALID, "output_schema"),
    "a schema that leads out": Wrong(
        {"output_schema": {"$ref": "http://127.0.0.1:9/schema"}}, *INVALID, "output_schema"
    ),
    "an option that is none": Wrong(
        {"model": {"name": "known", "options": {"messages": []}}}, *INVALID, "model.options.messages"
    ),
    "an empty name": Wrong({"name": ""}, *INVALID, "name"),
    "too much": Wrong({"input": "x" * 5000}, "APIError", 413, "request_too_large"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", WRONG)
def test_what_the_caller_does_wrong(v2: V2, strict: Stage, call: str, name: str) -> None:
    body, kind, status, code, field = WRONG[name]
    raised = v2.ask(strict.url, call, **{"name": "wrong", "model": "known", **body}).raised
    check(raised, kind, status, code)
    assert raised.body["detail"].get("field") == field


def test_an_unknown_function_is_not_found(v2: V2, strict: Stage) -> None:
    for unknown in ("2c7c3e6e-7f0e-4a44-9d2b-0d6f0f8f7a10", "nonsense"):
        for call in ("functions.get", "functions.stream", "functions.call"):
            check(
                v2.ask(strict.url, call, function_id=unknown).raised, "NotFoundError", 404, "agent_not_found"
            )
    raised = v2.ask(strict.url, "functions.get_by_name", name="nobody").raised
    check(raised, "NotFoundError", 404, "agent_not_found")


def test_an_unknown_span_is_not_found(v2: V2, strict: Stage) -> None:
    for unknown in ("2c7c3e6e-7f0e-4a44-9d2b-0d6f0f8f7a10", "nonsense"):
        check(
            v2.ask(strict.url, "spans.get", span_id=unknown).raised, "NotFoundError", 404, "stream_not_found"
        )
        check(
            v2.ask(strict.url, "traces.get", trace_id=unknown).raised,
            "NotFoundError",
            404,
            "stream_not_found",
        )


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_is_full_says_so(v2: V2, strict: Stage, call: str) -> None:
    with strict.full("known"):
        raised = v2.ask(strict.url, call, name="full", model="known").raised
    check(raised, "APIError", 503, "overloaded")


def test_nobody_is_there(v2: V2, strict: Stage) -> None:
    kind = "ConnectionError" if v2.colour is None else "ConnectError"
    assert v2.ask("http://127.0.0.1:9", "stream", name="nobody").raised.kind == kind


# -- keys


def test_keys_decide_who_may_call(v2: V2, keyed: Keyed) -> None:
    stage = keyed.stage
    model = stage.says("well")
    for call in CALLS:
        raised = v2.ask(stage.url, call, key="penstock_live_no_key", name="who", model=model).raised
        check(raised, "UnauthorizedError", 401, "invalid_api_key")
        raised = v2.ask(stage.url, call, key=keyed.reading, name="who", model=model).raised
        check(raised, "APIError", 403, "forbidden")
        v2.ask(stage.url, call, key=keyed.writing, name="who", model=model).well()
    check(v2.ask(stage.url, "functions.list").raised, "UnauthorizedError", 401, "invalid_api_key")
    assert v2.ask(stage.url, "functions.list", key=keyed.reading).well().value["data"]
    assert len(stage.bodies(model)) == 2


def test_a_run_key_is_its_owner_s(v2: V2, keyed: Keyed) -> None:
    """Somebody else's same key is another call."""
    stage, model = keyed.stage, keyed.stage.says("well")
    asked: dict[str, Any] = {
        "call": "stream",
        "name": "mine",
        "model": model,
        "headers": {"idempotency-key": model},
    }
    streams = [
        v2.ask(stage.url, key=key, **asked).well().headers["penstock-stream"]
        for key in (keyed.writing, keyed.other)
    ]
    assert streams[0] != streams[1] and len(stage.bodies(model)) == 2


# -- what the model does wrong, before its first word


class Refused(NamedTuple):
    script: Script
    kind: str
    status: int
    code: str


NO: Final = {"error": {"message": "no, thank you"}}
REFUSED: Final = {
    "400": Refused(refusal(400, NO), "BadRequestError", 400, "upstream"),
    "401": Refused(refusal(401, NO), "APIError", 502, "upstream"),
    "404": Refused(refusal(404, NO), "NotFoundError", 404, "upstream"),
    "422": Refused(refusal(422, NO), "RequestValidationError", 422, "upstream"),
    "429": Refused(refusal(429, NO), "APIError", 429, "rate_limit_exceeded"),
    "500": Refused(refusal(500, NO), "APIError", 502, "upstream"),
    "503": Refused(refusal(503, NO), "APIError", 502, "upstream"),
    "504": Refused(refusal(504, NO), "APIError", 504, "timeout"),
    "nothing": Refused(sse(), "APIError", 502, "truncated"),
    "not SSE's JSON": Refused(sse(b"data: {oops}\n\n"), "APIError", 502, "bad_upstream"),
}


@pytest.mark.parametrize("call", [*CALLS, "functions.stream", "functions.call"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_the_model_refuses(v2: V2, stage: Stage, call: str, name: str) -> None:
    script, kind, status, code = REFUSED[name]
    model = stage.plays(script)
    asked: dict[str, Any] = {"name": "refused", "model": model}
    if call.startswith("functions."):
        function = {"name": f"refused_{model}", "instructions": "Go on", "model": model}
        asked = {"function_id": v2.ask(stage.url, "functions.create", **function).well().value["id"]}
    raised = v2.ask(stage.url, call, **asked).raised
    check(raised, kind, status, code)
    assert len(stage.bodies(model)) == 1


def test_a_refusal_that_passes_is_tried_again_by_the_sdk(v2: V2, stage: Stage) -> None:
    """It waits as long as ``Retry-After`` says; without, it would wait too long for this test."""
    model = stage.plays(refusal(503, NO), says("well"))
    long = {"initial_interval": 600_000, "max_interval": 600_000, "max_elapsed_time": 600_000}
    times = {**long, "exponent": 1.1}
    seen = v2.ask(stage.url, "stream", retries=times, name="again", model=model).well()
    assert [event["data"].get("delta") for event in seen.events] == [None, "well"]
    assert len(stage.bodies(model)) == 2


# -- after errors


def test_errors_leave_the_sdk_well(v2: V2, stage: Stage) -> None:
    """None of them ends a Node process, or takes a connection with it."""
    over, model = Event(), stage.says("well")
    waiting = stage.plays(after(over.wait, says("well")))
    slow = v2.begin(stage.url, "stream", name="slow", model=waiting)
    for script, *_ in REFUSED.values():
        assert v2.ask(stage.url, "stream", name="refused", model=stage.plays(script)).failure
    assert v2.ask(stage.url, "call", name="well", model=model).well().value["message"] == "well"
    over.set()
    assert [event["data"].get("delta") for event in v2.seen(slow).well().events] == [None, "well"]
