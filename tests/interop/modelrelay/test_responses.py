"""The streams of ``POST /responses``: sections 4 and 5 of the contract, byte by byte."""

from __future__ import annotations

import json
import threading
from typing import Any, Final

import httpx2
import pytest

from interop.modelrelay.reading import SSE, V1, V2, Answer, ask, asked, asking, records, records_v1
from interop.modelrelay.saying import CALLS, PARALLEL, begun, ended, spoken, thought
from interop.opper.stage import END, Stage, after, says, used
from interop.opper.values import TEXT
from serving import Server
from upstream import chunk, sse

NASTY: Final = (*TEXT, "\ud83d", "data: [DONE]\n\nevent: x\r\n\r\n: keepalive\n\n", "\ufeff\x00")
SAID: Final = "".join(NASTY).replace("\ud83d", "\ufffd")


def unframed(answer: Answer) -> Answer:
    """Return an answer in SSE as the one in NDJSON that has its records, and its heartbeats."""
    assert answer.headers["content-type"].startswith(SSE) and answer.body.isascii()
    lines = []
    for block in answer.body.replace(b": keepalive\n\n", b"").replace(b": keepalive\n", b"").split(b"\n\n"):
        if block:
            event, said = block.split(b"\n")
            assert said.startswith(b"data: ") and event == b"event: %b" % kind(said[6:]), block
            lines.append(said[6:] + b"\n")
    return answer._replace(chunks=lines)


def kind(line: bytes) -> bytes:
    """Return the type of a record."""
    return str(json.loads(line)["type"]).encode()


# -- heads


@pytest.mark.parametrize("accept", [V2, V1, SSE, "application/json"])
def test_the_head_comes_before_the_model_says_anything(stage: Stage, accept: str) -> None:
    """And, of a document, so do spaces: the SDKs ask again if there is no head in five seconds."""
    told = threading.Event()
    model = stage.plays(after(told.wait, says("Better ", "late.")))
    with asking(stage.url, asked(model), accept) as reading:
        assert reading.status == 200 and reading.headers["transfer-encoding"] == "chunked"
        assert reading.headers["x-modelrelay-request-id"]
        first = reading.chunk()
        told.set()
        answer = reading.rest()
    if accept == "application/json":
        assert first == b" " and answer.json["output"][0]["content"][0]["text"] == "Better late."
    else:
        assert first and b"start" in first and b"Better" in answer.body and answer.ended


@pytest.mark.parametrize("accept", [V2, "application/x-ndjson", V1, SSE])
def test_the_head_of_a_stream(stage: Stage, accept: str) -> None:
    answer = ask(stage.url, asked("house"), accept, x_modelrelay_request_id="mine 1")
    assert answer.headers["content-type"].startswith(accept.partition(";")[0])
    assert answer.headers["x-modelrelay-request-id"] == "mine 1"
    assert {"content-encoding", "content-length"}.isdisjoint(answer.headers)
    assert "no-transform" in answer.headers["cache-control"]


@pytest.mark.parametrize("accept", [V2, "application/json"])
def test_a_caller_without_an_id_is_given_one(stage: Stage, accept: str) -> None:
    first, second = (ask(stage.url, asked(stage.says("well")), accept) for _ in range(2))
    ids = [answer.headers["x-modelrelay-request-id"] for answer in (first, second)]
    assert all(ids) and ids[0] != ids[1]


# -- text


def test_the_records_of_a_text(stage: Stage) -> None:
    model = stage.plays(sse(chunk("Hello"), chunk(", wörld 🚀"), *END[:1], used(9, 4), *END[1:]))
    start, *updates, completion = records(ask(stage.url, asked(model)))
    ids = {name: start[name] for name in ("request_id", "model", "provider")}
    assert start == {**ids, "type": "start", "stream_mode": "text-delta", "stream_version": "v2"}
    assert all(ids.values()) and ids["model"] == model
    assert updates == [
        {"type": "update", "delta": "Hello"},
        {"type": "update", "delta": ", wörld 🚀"},
    ]
    usage = completion.pop("usage")
    assert completion == {
        **ids, "type": "completion", "content": "Hello, wörld 🚀", "stop_reason": "end_turn"
    }  # fmt: skip
    assert {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}.items() <= usage.items()
    assert usage["observation_basis"] == "exact" and usage["reasoning_tokens"] == 0


def test_usage_that_nobody_counted_is_there_and_not_called_exact(stage: Stage) -> None:
    usage = records(ask(stage.url, asked(stage.says("well"))))[-1]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["observation_basis"] != "exact"


def test_no_text_breaks_the_lines(stage: Stage) -> None:
    """Nor the chunks: each record is one, and has one line."""
    model = stage.says(*NASTY)
    assert records(ask(stage.url, asked(model)))[-1]["content"] == SAID
    said = records_v1(ask(stage.url, asked(model), V1))
    assert "".join(record.get("text_delta", "") for record in said) == SAID
    assert records(unframed(ask(stage.url, asked(model), SSE)))[-1]["content"] == SAID


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "content_filter")],
)
def test_why_an_answer_ended(stage: Stage, finish: str, reason: str) -> None:
    body = asked(stage.plays(sse(chunk("so"), *ended(finish))))
    assert records(ask(stage.url, body))[-1]["stop_reason"] == reason
    assert records_v1(ask(stage.url, body, V1))[-1]["stop_reason"] == reason
    assert ask(stage.url, body, "").json["stop_reason"] == reason


def test_an_answer_without_text_has_no_content(stage: Stage) -> None:
    """An empty one would be the text for Swift."""
    completion = records(ask(stage.url, asked(stage.plays(sse(*END)))))[-1]
    assert "content" not in completion and completion["usage"]


def test_reasoning_has_records_of_its_own(stage: Stage) -> None:
    model = stage.plays(sse(thought("Well, "), thought("hm."), chunk("So."), *END))
    _, *between, completion = records(ask(stage.url, asked(model)))
    assert [record["type"] for record in between] == ["reasoning_delta", "reasoning_delta", "update"]
    assert "".join(record.get("reasoning_delta", "") for record in between) == "Well, hm."
    assert completion["content"] == "So."


def test_no_record_has_a_mib(stage: Stage) -> None:
    """What is too long for one is said in several; the whole content is left out."""
    large = "🌊" * 300_000
    model = stage.plays(sse(thought(large), chunk(large), *END))
    found = records(ask(stage.url, asked(model)))
    assert "".join(record.get("delta", "") for record in found) == large
    assert "".join(record.get("reasoning_delta", "") for record in found) == large
    assert "content" not in found[-1]


def test_sources_are_cited(stage: Stage) -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "https://sea.example", "title": "Sea"}}
    model = stage.plays(sse(chunk("So they say."), spoken(annotations=[cited]), *END))
    cited = {"url": "https://sea.example", "title": "Sea"}
    assert records(ask(stage.url, asked(model)))[-1]["citations"] == [cited]
    assert ask(stage.url, asked(model), "").json["citations"] == [cited]


# -- tools


def test_calls_side_by_side(stage: Stage) -> None:
    _, *between, completion = records(ask(stage.url, asked(stage.plays(sse(*PARALLEL)))))
    order = [record["tool_call_delta"]["index"] for record in between if "tool_call_delta" in record]
    assert order != sorted(order), "they are told as they come"
    assert completion["tool_calls"] == CALLS
    assert completion["stop_reason"] == "tool_calls" and "content" not in completion
    stopped = [record["tool_calls"] for record in between if record["type"] == "tool_use_stop"]
    assert [call for calls in stopped for call in calls] == CALLS


def test_text_comes_before_a_call_without_arguments(stage: Stage) -> None:
    model = stage.plays(sse(chunk("Let me see."), begun(0, "now"), *ended("tool_calls")))
    *_, completion = found = records(ask(stage.url, asked(model)))
    assert [record["type"] for record in found[1:3]] == ["update", "tool_use_start"]
    assert completion["content"] == "Let me see."
    assert completion["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_the_first_delta_of_a_call_says_all_that_rust_needs(stage: Stage) -> None:
    found = records(ask(stage.url, asked(stage.plays(sse(*PARALLEL)))))
    first = next(record for record in found if record["type"] == "tool_use_start")
    assert first["tool_call_delta"] == {
        "index": 0, "id": "call_tide", "type": "function", "function": {"name": "tide", "arguments": ""}
    }  # fmt: skip


# -- the other framings


def test_generation_1(stage: Stage) -> None:
    """Every record is checked by the vendor's schema: see ``records_v1``."""
    model = stage.plays(sse(chunk("So "), chunk("be it"), *END[:1], used(9, 4), *END[1:]))
    answer = ask(stage.url, asked(model), V1)
    start, *between, stop = records_v1(answer)
    assert start == {"event": "message_start", "response_id": start["response_id"], "model": model}
    assert between == [{"event": "message_delta", "text_delta": text} for text in ("So ", "be it")]
    assert stop == {
        "event": "message_stop",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
    }


def test_calls_in_generation_1(stage: Stage) -> None:
    _, *between, stop = records_v1(ask(stage.url, asked(stage.plays(sse(*PARALLEL))), V1))
    assert (stop["stop_reason"], stop["tool_calls"]) == ("tool_calls", CALLS)
    pieces = ["", ""]
    for record in between:
        if record["event"] == "tool_use_delta":
            call = record["tool_call_delta"]
            pieces[call["index"]] += call["function"]["arguments"]
    assert pieces == [call["function"]["arguments"] for call in CALLS]
    assert [call for record in between for call in record.get("tool_calls", ())] == CALLS


def test_a_state_handle_is_told_again_in_generation_1(stage: Stage) -> None:
    handle = stage.http("POST", "/api/v1/state-handles", json={}).json()["id"]
    body = asked(stage.says("well"), state_id=handle)
    assert records_v1(ask(stage.url, body, V1))[0]["state_id"] == handle


def test_server_sent_events_are_the_same_records(stage: Stage) -> None:
    body = asked(stage.plays(sse(chunk("see "), *PARALLEL)))
    lines, events = records(ask(stage.url, body)), records(unframed(ask(stage.url, body, SSE)))
    assert [anonymous(record) for record in events] == [anonymous(record) for record in lines]


def anonymous(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "request_id"}


# -- which answer


WHICH: Final = {
    V2: "v2",
    "application/x-ndjson": "v2",
    "application/x-ndjson; profile=responses-stream/v2": "v2",
    "application/json, application/x-ndjson": "v2",
    V1: "v1",
    "application/x-ndjson; profile=responses-stream/v1": "v1",
    "text/event-stream": "sse",
    "application/json": "document",
    "*/*": "document",
    "": "document",
}


@pytest.mark.parametrize("accept", WHICH)
def test_the_accept_header_alone_decides(stage: Stage, accept: str) -> None:
    answer = ask(stage.url, asked("house", stream=True), accept)
    kind = answer.headers["content-type"].partition(";")[0]
    match WHICH[accept]:
        case "v2":
            assert kind == "application/x-ndjson" and records(answer)[-1]["content"] == "At home."
        case "v1":
            assert kind == "application/x-ndjson" and records_v1(answer)[1]["text_delta"] == "At home."
        case "sse":
            assert records(unframed(answer))[-1]["content"] == "At home."
        case _:
            assert answer.json["output"][0]["content"][0]["text"] == "At home."


@pytest.mark.parametrize("prefix", ["/api/v1", "", "/v7", "/deep/down/api/v1"])
def test_any_prefix_will_do(stage: Stage, prefix: str) -> None:
    path = f"{prefix}/responses"
    assert records(ask(stage.url, asked("house"), path=path))[-1]["content"] == "At home."
    batch = {"requests": [{"id": "1", **asked("house")}]}
    assert ask(stage.url, batch, "", f"{path}/batch").json["usage"]["successful_requests"] == 1


def test_models_are_described(demo: Server) -> None:
    models = httpx2.get(f"{demo.url}/api/v1/models").raise_for_status().json()["models"]
    assert "demo" in [model["model_id"] for model in models]
    texts = ("model_id", "provider", "display_name", "description", "training_cutoff", "deprecation_message")
    numbers = ("input_cost_per_million_cents", "output_cost_per_million_cents")
    for model in models:
        assert all(isinstance(model[name], str) for name in texts)
        assert all(isinstance(model[name], int) for name in numbers)
        assert model["context_window"] > 0 and model["max_output_tokens"] > 0
        assert isinstance(model["capabilities"], list) and model["deprecated"] is False


def test_the_built_in_model_answers_in_all_its_ways(demo: Server) -> None:
    tool = {"type": "function", "function": {"name": "get_tide", "parameters": {"type": "object"}}}
    ways: dict[str, dict[str, Any]] = {
        "end_turn": asked("demo-fast", "Tell me about rivers in 20 words"),
        "tool_calls": asked("demo-fast", "The tide?", tools=[tool], tool_choice={"type": "required"}),
        "max_tokens": asked("demo-fast", "Tell me about rivers in 20 words", max_output_tokens=5),
    }
    for reason, body in ways.items():
        completion = records(ask(demo.url, body))[-1]
        assert completion["stop_reason"] == reason and completion["usage"]["output_tokens"] > 0


def test_a_silent_model_is_no_reason_for_a_late_head(demo: Server) -> None:
    with asking(demo.url, asked("demo-silent")) as reading:
        assert reading.status == 200 and reading.chunk()


def test_a_refusal_is_text(stage: Stage) -> None:
    model = stage.plays(sse(spoken(refusal="I will not."), *END))
    assert records(ask(stage.url, asked(model)))[-1]["content"] == "I will not."
