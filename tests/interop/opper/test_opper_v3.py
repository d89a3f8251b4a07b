"""The SDK of v3, PyPI 2.x: chunks, the final value, errors, and what it can do about cuts."""

from __future__ import annotations

import json
from functools import partial
from threading import Event
from typing import Any, Final

import pytest

from interop.opper.leaves import exact
from interop.opper.sdks import V3, Failure, Seen
from interop.opper.stage import END, Keyed, Stage, Tap, after, paused, used
from interop.opper.values import TEXT, VALUES
from serving import Server
from upstream import Script, chunk, refusal, reset, sse

NO: Final = {"error": {"message": "no, thank you"}}
META: Final = {
    "function_name": str, "script_cached": bool, "execution_ms": int, "llm_calls": int, "tts_calls": int,
    "image_gen_calls": int,
}  # fmt: skip
"""What ``meta`` must say, and of which type."""
CROWD: Final = 12


def content(seen: Seen) -> list[str]:
    return [each["delta"] for each in seen.events if each["type"] == "content"]


def kinds(seen: Seen) -> list[str]:
    """Return the chunks' classes without repetitions."""
    found = [each["class"] for each in seen.events]
    return [kind for n, kind in enumerate(found) if kind not in found[n - 1 : n]]


# -- answers


def test_the_chunks_of_a_text(v3: V3, stage: Stage) -> None:
    model = stage.plays(sse(*map(chunk, TEXT), chunk(finish="stop"), used(9, 4), END[-1]))
    seen = v3.ask(
        stage.url, "stream", "greet", instructions="Greet", input={"guest": "Ida"}, model=model
    ).well()
    assert kinds(seen) == ["ContentChunk", "DoneChunk", "CompleteChunk"] and content(seen) == [*TEXT]
    done, complete = seen.events[-2:]
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (9, 4)
    assert complete["data"] == "".join(TEXT)
    meta = complete["meta"]
    assert {key: type(meta[key]) for key in META} == META and meta["function_name"] == "greet"
    assert stage.text(meta["trace_uuid"]) == "".join(TEXT)
    called = v3.ask(stage.url, "call", "greet", instructions="Greet", input={"guest": "Ida"}, model=model)
    assert called.well().value["data"] == "".join(TEXT)
    assert {key: type(called.value["meta"][key]) for key in META} == META
    [first, second] = stage.bodies(model)
    assert first["messages"] == second["messages"] and first["messages"][0]["content"] == "Greet"


def test_the_built_in_model_says_the_same_streamed_and_whole(v3: V3, demo: Server) -> None:
    asked: dict[str, Any] = {"input": "rivers in 8 words", "model": "demo"}
    streamed, whole = (
        v3.begin(demo.url, "stream", "greet", **asked),
        v3.begin(demo.url, "call", "greet", **asked),
    )
    text = whole.result().well().value["data"]
    assert "".join(content(streamed.result().well())) == text == streamed.result().events[-1]["data"] != ""


@pytest.mark.parametrize("name", VALUES)
def test_the_content_of_a_value_is_its_json(v3: V3, stage: Stage, name: str) -> None:
    schema, value = VALUES[name]
    model = stage.says(*VALUES[name].pieces())
    seen = v3.ask(stage.url, "stream", "seat", input="x", output_schema=schema, model=model).well()
    assert exact(json.loads("".join(content(seen)))) == exact(value) == exact(seen.events[-1]["data"])
    called = v3.ask(stage.url, "call", "seat", input="x", output_schema=schema, model=model).well().value
    assert exact(called["data"]) == exact(value)


def test_an_empty_answer_is_an_answer(v3: V3, stage: Stage) -> None:
    seen = v3.ask(stage.url, "stream", "silence", input=None, model=stage.plays(sse(*END))).well()
    assert kinds(seen) == ["DoneChunk", "CompleteChunk"] and seen.events[-1]["data"] == ""


def test_half_a_surrogate_pair_breaks_nobody(v3: V3, stage: Stage) -> None:
    model = stage.says("half: \ud83d", " and on")
    seen = v3.ask(stage.url, "stream", "greet", input="x", model=model).well()
    assert "".join(content(seen)) == seen.events[-1]["data"] == "half: \ufffd and on"


def test_a_dataclass_is_a_schema_and_comes_back(v3: V3, demo: Server) -> None:
    asked: dict[str, Any] = {"input": "dinner", "output_schema": {"class": "Seating"}, "model": "demo-fast"}
    streamed, whole = (
        v3.begin(demo.url, "stream", "seat", **asked),
        v3.begin(demo.url, "call", "seat", **asked),
    )
    rebuilt = whole.result().well().value["data"]
    assert rebuilt.pop("class") == "Seating" and {*rebuilt} == {"host", "guests", "tables"}
    assert streamed.result().well().events[-1]["data"] == rebuilt


TOOL: Final = {
    "name": "get_tide",
    "description": "The tide",
    "parameters": {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]},
}


def test_tools_are_called(v3: V3, demo: Server) -> None:
    seen = v3.ask(demo.url, "stream", "tide", input="get_tide for Brest", tools=[TOOL], model="demo").well()
    assert kinds(seen) == ["ToolCallStartChunk", "ToolCallDeltaChunk", "DoneChunk", "CompleteChunk"]
    start = seen.events[0]
    assert (start["tool_call_index"], start["tool_call_name"]) == (0, "get_tide") and start["tool_call_id"]
    pieces = [each["tool_call_args"] for each in seen.events if each["type"] == "tool_call_delta"]
    assert len(pieces) > 1 and {*json.loads("".join(pieces))} == {"port"}


def test_effort_and_options_reach_the_model(v3: V3, stage: Stage) -> None:
    model = stage.says("well")
    chosen = {"name": model, "options": {"temperature": 0.5}}
    v3.ask(stage.url, "stream", "think", input="hi", model=chosen, reasoning_effort="low").well()
    [body] = stage.bodies(model)
    assert (body["temperature"], body["reasoning_effort"]) == (0.5, "low")


# -- silence, readers that leave, failures


def test_silence_breaks_nobody(v3: V3, murmuring: Stage) -> None:
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b": ping\n\n", 3)
        model = murmuring.plays(paused(sse(chunk("so ")), silence, chunk("on"), *END))
        seen = v3.ask(tap.url, "stream", "silent", input="hi", model=model).well()
    assert content(seen) == ["so ", "on"] and seen.events[-1]["data"] == "so on"


def test_a_reader_that_leaves_stops_nothing(v3: V3, stage: Stage) -> None:
    left = Event()
    model = stage.plays(paused(sse(*map(chunk, TEXT[:3])), left.wait, *map(chunk, TEXT[3:]), *END))
    seen = v3.ask(stage.url, "stream", "leave", input="hi", model=model, take=2).well()
    assert content(seen) == [*TEXT[:2]]
    stage.until_readers(0)  # while the model still speaks
    left.set()
    assert stage.text(stage.newest()) == "".join(TEXT)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(sse(*map(chunk, TEXT)), id="it just ends"),
        pytest.param(reset(*map(chunk, TEXT)), id="it breaks off"),
        pytest.param(sse(*map(chunk, TEXT), b'data: {"error": {"message": "luck"}}\n\n'), id="it says so"),
    ],
)
def test_a_failure_is_a_chunk_and_nothing_is_complete(v3: V3, stage: Stage, script: Script) -> None:
    seen = v3.ask(stage.url, "stream", "fail", input="hi", model=stage.plays(script)).well()
    assert kinds(seen) == ["ContentChunk", "ErrorChunk"] and content(seen) == [*TEXT]
    assert seen.events[-1]["error"]


def test_the_model_that_fails_on_purpose_does(v3: V3, demo: Server) -> None:
    seen = v3.ask(demo.url, "stream", "fail", input="rivers", model="demo-fail").well()
    assert kinds(seen) == ["ContentChunk", "ErrorChunk"] and len(content(seen)) == 12


def test_a_refusal_after_a_silence_is_an_error_chunk(v3: V3, murmuring: Stage) -> None:
    with Tap(murmuring.server) as tap:
        model = murmuring.plays(after(partial(tap.until, b": ping\n\n"), refusal(500, NO)))
        seen = v3.ask(tap.url, "stream", "late", input="hi", model=model).well()
    assert kinds(seen) == ["ErrorChunk"] and "no, thank you" in seen.events[0]["error"]


# -- errors


def check(raised: Failure, kind: str, status: int, code: str) -> None:
    """What is raised must be of this class, and say to its reader what the server said."""
    assert (raised.kind, raised.status) == (kind, status) and "ApiError" in raised.kinds
    told = raised.fields["error"]
    assert told["code"] == code and told["message"] == raised.body["error"]["message"] != ""
    assert raised.fields["status_text"]


WRONG: Final[dict[str, tuple[dict[str, Any], str, int, str]]] = {
    "no input": ({}, "BadRequestError", 400, "invalid_request"),
    "a wrong type": ({"input": "x", "tools": "all"}, "BadRequestError", 400, "invalid_request"),
    "no such model": ({"input": "x", "model": "no-such"}, "NotFoundError", 404, "model_not_found"),
    "not the input": (
        {"input": "x", "input_schema": {"type": "integer"}}, "ApiError", 422, "invalid_request"
    ),
    "not a schema": ({"input": "x", "output_schema": {"type": "no"}}, "ApiError", 422, "invalid_request"),
    "too much": ({"input": "x" * 5000}, "ApiError", 413, "request_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("call", ["stream", "run"])
@pytest.mark.parametrize("name", WRONG)
def test_what_the_caller_does_wrong(v3: V3, strict: Stage, call: str, name: str) -> None:
    body, kind, status, code = WRONG[name]
    check(
        v3.ask(strict.url, f"functions.{call}", "wrong", {"model": "known", **body}).raised,
        kind,
        status,
        code,
    )


@pytest.mark.parametrize("call", ["stream", "call"])
def test_a_server_that_is_full_says_so(v3: V3, strict: Stage, call: str) -> None:
    with strict.full("known"):
        raised = v3.ask(strict.url, call, "full", input="x", model="known").raised
    check(raised, "ApiError", 503, "overloaded")


REFUSED: Final = {
    "400": (refusal(400, NO), "BadRequestError", 400, "upstream"),
    "404": (refusal(404, NO), "NotFoundError", 404, "upstream"),
    "429": (refusal(429, NO), "RateLimitError", 429, "rate_limit_exceeded"),
    "500": (refusal(500, NO), "ApiError", 502, "upstream"),
    "504": (refusal(504, NO), "ApiError", 504, "timeout"),
    "nothing": (sse(), "ApiError", 502, "truncated"),
}


@pytest.mark.parametrize("call", ["stream", "call"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_the_model_refuses(v3: V3, stage: Stage, call: str, name: str) -> None:
    script, kind, status, code = REFUSED[name]
    raised = v3.ask(stage.url, call, "refused", input="x", model=stage.plays(script)).raised
    check(raised, kind, status, code)


@pytest.mark.parametrize("call", ["stream", "call"])
def test_keys_decide_who_may_call(v3: V3, keyed: Keyed, call: str) -> None:
    url, asked = keyed.stage.url, {"input": "x", "model": keyed.stage.says("well")}
    raised = v3.ask(url, call, "who", **asked, key="penstock_live_no_key").raised
    check(raised, "AuthenticationError", 401, "invalid_api_key")
    check(v3.ask(url, call, "who", **asked, key=keyed.reading).raised, "ApiError", 403, "forbidden")
    assert v3.ask(url, call, "who", **asked, key=keyed.writing).well()


# -- run keys: as much of resuming as this SDK can do


@pytest.mark.parametrize("way", ["tag", "header"])
def test_the_same_key_is_the_same_stream_from_its_beginning(v3: V3, stage: Stage, way: str) -> None:
    model = stage.says(*TEXT)
    body: dict[str, Any] = {"input": "hi", "model": model}
    asked: dict[str, Any] = {}
    if way == "tag":
        body["tags"] = {"idempotency_key": model}
    else:
        asked["options"] = {"headers": {"Idempotency-Key": model}}
    first, again = (v3.ask(stage.url, "functions.stream", "once", body, **asked).well() for _ in range(2))
    assert again.events == first.events and content(again) == [*TEXT]
    assert len(stage.bodies(model)) == 1
    raised = v3.ask(stage.url, "functions.stream", "once", {**body, "input": "other"}, **asked).raised
    check(raised, "ApiError", 409, "idempotency_clash")
    raised = v3.ask(stage.url, "functions.stream", "another", body, **asked).raised
    check(raised, "ApiError", 409, "idempotency_clash")


def test_a_key_before_the_end_joins_the_stream(v3: V3, stage: Stage) -> None:
    joins = Event()
    model = stage.plays(paused(sse(*map(chunk, TEXT[:3])), joins.wait, *map(chunk, TEXT[3:]), *END))
    body = {"input": "hi", "model": model, "tags": {"idempotency_key": model}}
    assert content(v3.ask(stage.url, "functions.stream", "join", body, take=2).well()) == [*TEXT[:2]]
    answer = v3.begin(stage.url, "functions.stream", "join", body)
    joins.set()
    assert content(answer.result().well()) == [*TEXT] and len(stage.bodies(model)) == 1


def test_with_headers_a_stream_is_resumed_by_the_number_of_chunks(v3: V3, stage: Stage) -> None:
    model = stage.says(*TEXT)
    body, headers = {"input": "hi", "model": model}, {"Idempotency-Key": model}
    whole = v3.ask(stage.url, "functions.stream", "count", body, options={"headers": headers}).well().events
    for cut in range(1, len(whole)):
        again = {"headers": {**headers, "Last-Event-ID": str(cut)}}
        assert (
            v3.ask(stage.url, "functions.stream", "count", body, options=again).well().events == whole[cut:]
        )
    assert len(stage.bodies(model)) == 1


# -- functions, spans, addresses


@pytest.mark.parametrize("name", ["plain", "with/slash", "with a space", "é 🌊?#%", "a/stream", "a/call"])
def test_functions_go_by_their_names(v3: V3, stage: Stage, name: str) -> None:
    name = f"{v3.colour} {name}"
    model, schema = stage.says('{"n": 1}'), {"type": "object", "properties": {"n": {"type": "integer"}}}
    seen = v3.ask(stage.url, "stream", name, input="hi", output_schema=schema, model=model).well()
    assert seen.events[-1]["meta"]["function_name"] == name
    details = v3.ask(stage.url, "functions.get", name).well().value
    assert (details["name"], details["output_schema"]) == (name, schema)
    assert v3.ask(stage.url, "functions.delete", name).well().value is None
    check(v3.ask(stage.url, "functions.get", name).raised, "NotFoundError", 404, "agent_not_found")


def test_all_functions_are_listed(v3: V3, stage: Stage) -> None:
    """However many there are: this SDK has no word for a page."""
    names = [f"listed-{v3.colour}-{n}" for n in range(101)]
    for name in names:
        stage.http("POST", "/v2/functions", json={"name": name, "instructions": "Go on"}).raise_for_status()
    listed = {each["name"]: each for each in v3.ask(stage.url, "functions.list").well().value}
    assert {*names} <= {*listed}
    details = v3.ask(stage.url, "functions.get", names[0]).well().value
    assert listed[names[0]]["schema_hash"] == details["schema_hash"]


def test_a_call_within_a_trace(pypi2: Any, stage: Stage) -> None:
    seen = V3(pypi2, "sync").ask(stage.url, "trace", "pipeline", input="hi", model=stage.says("well")).well()
    assert seen.value["span"] and seen.value["trace"] and seen.value["answer"]["data"] == "well"


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_address_may_end_in_a_slash(v3: V3, stage: Stage, slash: str) -> None:
    model = stage.says("well")
    assert content(v3.ask(stage.url + slash, "stream", "slash", input="hi", model=model).well()) == ["well"]
    assert v3.ask(stage.url + slash, "models.list").well()


# -- crowds


def test_streams_side_by_side_stay_apart(v3: V3, stage: Stage) -> None:
    models = stage.crowd(CROWD)
    answers = [v3.begin(stage.url, "stream", "crowd", input="hi", model=model) for model in models]
    crowd = [answer.result().well() for answer in answers]
    assert [content(seen) for seen in crowd] == [*models.values()]
    assert [seen.events[-1]["data"] for seen in crowd] == ["".join(said) for said in models.values()]
