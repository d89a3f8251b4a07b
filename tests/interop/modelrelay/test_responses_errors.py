"""How ``POST /responses`` fails: sections 5.5, 6.4 and 7 of the contract."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from interop.modelrelay.reading import PATH, SSE, V1, V2, Answer, ask, asked, asking, records, records_v1
from interop.opper.stage import Keyed, Stage, after
from serving import Server
from upstream import Script, Upstream, chunk, hang, refusal, reset, sse

ACCEPTS: Final = (V2, V1, SSE, "application/json", "")


def told(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """Return the body of an error, which must be flat and say this."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json" and answer.body.isascii()
    body: dict[str, Any] = json.loads(answer.body)
    assert body["error"] == body["code"] == code and body["message"]
    assert {*body} <= {"error", "code", "message", "request_id", "fields"}, (
        "nothing else, `issues` least of all"
    )
    for field in body.get("fields", ()):
        assert field["field"] and field["message"]
    return body


# -- before the head

BAD: Final[dict[str, tuple[Any, str]]] = {
    "no JSON": (b"{", ""),
    "no object": (b"[]", ""),
    "no input": ({"model": "house"}, "input"),
    "empty input": ({"model": "house", "input": []}, "input"),
    "odd role": ({"input": [{"type": "message", "role": "king", "content": []}]}, "input[0].role"),
    "odd temperature": (asked("house", temperature="warm"), "temperature"),
    "odd tokens": (asked("house", max_output_tokens=0), "max_output_tokens"),
    "odd format": (asked("house", output_format={"type": "xml"}), "output_format.type"),
    "odd choice": (asked("house", tool_choice={"type": "maybe"}), "tool_choice.type"),
}


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_before_the_head(stage: Stage, name: str, accept: str) -> None:
    body, field = BAD[name]
    said = told(ask(stage.url, body, accept), 400, "VALIDATION_ERROR")
    assert [each["field"] for each in said.get("fields", [])] == [field] * bool(field)


@pytest.mark.parametrize("accept", [V2, ""])
def test_a_server_that_is_asked_too_much(strict: Stage, accept: str) -> None:
    told(ask(strict.url, asked("unheard-of"), accept), 404, "NOT_FOUND")
    told(ask(strict.url, asked("known", "x" * 5000), accept), 413, "INVALID_INPUT")
    with strict.full("endless"):
        told(ask(strict.url, asked("known"), accept), 503, "SERVICE_UNAVAILABLE")


@pytest.mark.parametrize("accept", [V2, ""])
def test_keys_decide_who_may_ask(keyed: Keyed, accept: str) -> None:
    url = keyed.stage.url
    told(ask(url, asked("house"), accept), 401, "UNAUTHORIZED")
    told(ask(url, asked("house"), accept, x_modelrelay_api_key="mr_sk_nobody"), 401, "UNAUTHORIZED")
    told(ask(url, asked("house"), accept, x_modelrelay_api_key=keyed.reading), 403, "FORBIDDEN")


def test_an_error_says_which_request_it_is_about(stage: Stage) -> None:
    """Go reads the body, the others the body first and then the header."""
    answer = ask(stage.url, {"model": "house"}, x_modelrelay_request_id="mine 2")
    assert told(answer, 400, "VALIDATION_ERROR")["request_id"] == "mine 2"
    assert answer.headers["x-modelrelay-request-id"] == "mine 2"


@pytest.mark.parametrize("accept", [V2, ""])
def test_a_state_handle_that_is_not_there(stage: Stage, accept: str) -> None:
    body = asked("house", state_id="6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506")
    told(ask(stage.url, body, accept), 404, "NOT_FOUND")


def test_a_method_that_is_not_allowed(stage: Stage) -> None:
    answer = stage.http("GET", PATH)
    assert answer.status_code == 405 and answer.json()["code"] == "METHOD_NOT_ALLOWED"


def test_pages_may_call(tmp_path: Path) -> None:
    """A browser sends the SDK's headers, and shows it the request's id, if the server says that it may."""
    headers = (
        "x-modelrelay-api-key",
        "x-modelrelay-request-id",
        "x-modelrelay-customer-id",
        "x-modelrelay-client",
    )
    page = {"origin": "https://page.example"}
    asking_first = {
        **page,
        "access-control-request-method": "POST",
        "access-control-request-headers": ",".join(("accept", "authorization", "content-type", *headers)),
    }
    with Server(tmp_path, allowed_origins=[page["origin"]]) as server:
        allowed = httpx2.request("OPTIONS", server.url + PATH, headers=asking_first)
        answer = httpx2.post(server.url + PATH, headers=page, json=asked("demo-fast"))
    assert allowed.status_code == 200, allowed.text
    assert "x-modelrelay-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_nobody_is_sent_elsewhere(stage: Stage) -> None:
    for path in (f"{PATH}/", f"/{PATH}", "/responses/"):
        assert ask(stage.url, asked("house"), path=path).status not in range(300, 400)


# -- from the model

MODEL_SAYS: Final[dict[str, tuple[Script, int, str]]] = {
    "400": (refusal(400, {"error": {"message": "no"}}), 400, "VALIDATION_ERROR"),
    "429": (refusal(429, {"error": {"message": "slowly"}}), 429, "RATE_LIMIT"),
    "500": (refusal(500, {"error": {"message": "oh"}}), 502, "PROVIDER_ERROR"),
    "nothing": (sse(), 502, "PROVIDER_ERROR"),
    "half": (sse(chunk("half "), chunk("a word")), 502, "PROVIDER_ERROR"),
    "broken": (reset(chunk("half "), chunk("a word")), 502, "PROVIDER_ERROR"),
}


@pytest.mark.parametrize("name", MODEL_SAYS)
def test_a_failure_ends_a_stream_with_one_record(stage: Stage, name: str) -> None:
    script, status, code = MODEL_SAYS[name]
    body = asked(stage.plays(script))
    found = records(ask(stage.url, body))
    assert "completion" not in [record["type"] for record in found]
    assert (found[-1]["status"], found[-1]["code"]) == (status, code) and found[-1]["message"]


def test_a_model_that_falls_silent(upstream: Upstream, scripts: dict[str, Script], tmp_path: Path) -> None:
    scripts["silent"] = hang()
    with Server(
        tmp_path, f'[upstreams.scripted]\nurl = "{upstream.url}"\nretries = 0', idle_timeout=0.2
    ) as server:
        error = records(ask(server.url, asked("silent")))[-1]
        told(ask(server.url, asked("silent"), ""), 504, "PROVIDER_ERROR")
    assert (error["type"], error["status"], error["code"]) == ("error", 504, "PROVIDER_ERROR")


@pytest.mark.parametrize("name", MODEL_SAYS)
def test_a_failure_breaks_a_stream_of_generation_1(stage: Stage, name: str) -> None:
    """It has no record for errors."""
    answer = ask(stage.url, asked(stage.plays(MODEL_SAYS[name][0])), V1)
    assert not answer.ended and records_v1(answer)[-1]["stop_reason"] == "error"


@pytest.mark.parametrize("name", MODEL_SAYS)
def test_a_document_fails_with_its_status(stage: Stage, name: str) -> None:
    script, status, code = MODEL_SAYS[name]
    told(ask(stage.url, asked(stage.plays(script)), ""), status, code)


def test_a_document_that_fails_late_breaks_the_connection(stage: Stage) -> None:
    """Its status is out: anything else would be a fake success."""
    seen = threading.Event()
    model = stage.plays(after(seen.wait, refusal(500, {"error": {"message": "oh"}})))
    with asking(stage.url, asked(model), "") as reading:
        assert (reading.status, reading.chunk()) == (200, b" ")
        seen.set()
        answer = reading.rest()
    assert not answer.ended and not answer.body.strip()


def test_events_say_it_too(stage: Stage) -> None:
    answer = ask(stage.url, asked(stage.plays(sse(chunk("half")))), SSE)
    *_, last = answer.body.strip().split(b"\n\n")
    assert (
        answer.ended and last.startswith(b"event: error\ndata: ") and answer.body.count(b"event: error") == 1
    )


def test_a_server_that_dies_breaks_the_connection(
    upstream: Upstream, scripts: dict[str, Script], tmp_path: Path
) -> None:
    scripts["dying"] = hang(chunk("half "))
    config = f'[upstreams.scripted]\nurl = "{upstream.url}"'
    with (
        Server(tmp_path, config) as server,
        asking(server.url, asked("dying"), V2) as second,
        asking(server.url, asked("dying"), V1) as first,
    ):
        for reading in (first, second):
            assert reading.chunk() and b"half" in (reading.chunk() or b"")
        server.kill()
        for reading in (first, second):
            assert reading.chunk() is None


def test_the_built_in_failure(demo: Server) -> None:
    found = records(ask(demo.url, asked("demo-fail", "Tell me about rivers in 40 words")))
    assert found[-1]["type"] == "error" and any("delta" in record for record in found)
