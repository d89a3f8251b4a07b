"""The SDK of v1, npm 2.x, which hands over bytes: what a caller's own small reader finds in them."""

from __future__ import annotations

import json
from functools import partial
from threading import Event
from typing import Any, Final

import pytest

from interop.opper.leaves import exact
from interop.opper.sdks import V1, Failure, Seen
from interop.opper.stage import END, Keyed, Stage, Tap, paused
from interop.opper.values import TEXT, VALUES
from serving import Server
from upstream import Script, chunk, refusal, reset, sse

NO: Final = {"error": {"message": "no, thank you"}}
CROWD: Final = 12


def blocks(seen: Seen) -> list[dict[str, Any]]:
    """Return the data of each block, as strict as the SDK's own parser: one line, a space after the colon."""
    *found, rest = seen.value.split("\n\n")
    assert rest == "", "every block ends in an empty line"
    told = [block for block in found if not block.startswith(":")]
    assert all(block.startswith("data: {") and block.isascii() and "\n" not in block for block in told)
    return [json.loads(block.removeprefix("data: ")) for block in told]


def joined(seen: Seen) -> str:
    return "".join(each["delta"] for each in blocks(seen.well()) if "delta" in each)


# -- answers


def test_the_blocks_of_a_text(v1: V1, stage: Stage) -> None:
    asked: dict[str, Any] = {
        "name": "greet",
        "instructions": "Greet",
        "input": {"guest": "Ida"},
        "model": stage.says(*TEXT),
    }
    first, *deltas = blocks(v1.ask(stage.url, "call", **asked, stream=True).well())
    assert [*first] == ["span_id"] and stage.text(first["span_id"]) == "".join(TEXT)
    assert deltas == [{"delta": piece} for piece in TEXT]
    called = v1.ask(stage.url, "call", **asked).well().value
    assert called["message"] == "".join(TEXT) and called["span_id"] != first["span_id"]


def test_the_built_in_model_says_the_same_streamed_and_whole(v1: V1, demo: Server) -> None:
    asked: dict[str, Any] = {"name": "greet", "input": "rivers in 8 words", "model": "demo"}
    streamed, whole = v1.begin(demo.url, "call", **asked, stream=True), v1.begin(demo.url, "call", **asked)
    assert joined(streamed.result()) == whole.result().well().value["message"] != ""


@pytest.mark.parametrize("name", VALUES)
def test_the_deltas_of_a_value_are_its_json(v1: V1, stage: Stage, name: str) -> None:
    schema, value = VALUES[name]
    asked: dict[str, Any] = {
        "name": "seat",
        "input": "x",
        "output_schema": schema,
        "model": stage.says(*VALUES[name].pieces()),
    }
    assert exact(json.loads(joined(v1.ask(stage.url, "call", **asked, stream=True)))) == exact(value)
    called = v1.ask(stage.url, "call", **asked).well().value
    assert exact(called["json_payload"]) == exact(value) == exact(json.loads(called["message"]))


def test_a_stream_that_does_not_say_so_is_a_call(v1: V1, stage: Stage) -> None:
    """``functions.stream`` sends no ``stream: true``; the answer is handed over as bytes all the same."""
    asked: dict[str, Any] = {"name": "greet", "input": "x", "model": stage.says(*TEXT)}
    whole = json.loads(v1.ask(stage.url, "functions.stream", **asked).well().value)
    assert whole["message"] == "".join(TEXT)
    assert joined(v1.ask(stage.url, "functions.stream", **asked, stream=True)) == "".join(TEXT)


def test_configuration_and_examples_reach_the_model(v1: V1, stage: Stage) -> None:
    model = stage.says("well")
    examples = [{"input": f"question {n}", "output": f"answer {n}"} for n in range(3)]
    configuration = {"invocation": {"few_shot": {"count": 2}}, "model_parameters": {"temperature": 0.5}}
    asked: dict[str, Any] = {
        "name": "set",
        "input": "now",
        "model": model,
        "examples": examples,
        "configuration": configuration,
    }
    assert joined(v1.ask(stage.url, "call", **asked, stream=True)) == "well"
    [body] = stage.bodies(model)
    assert body["temperature"] == 0.5
    assert [message["content"] for message in body["messages"]] == [
        "question 0", "answer 0", "question 1", "answer 1", "now"
    ]  # fmt: skip


# -- silence, readers that leave, failures


def test_silence_breaks_nobody(v1: V1, murmuring: Stage) -> None:
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b": ping\n\n", 3)
        model = murmuring.plays(paused(sse(chunk("so ")), silence, chunk("on"), *END))
        seen = v1.ask(tap.url, "call", name="silent", input="hi", model=model, stream=True).well()
    assert joined(seen) == "so on" and seen.value.count(": ping\n\n") >= 3


def test_a_reader_that_leaves_stops_nothing(v1: V1, stage: Stage) -> None:
    """This SDK does not even tell the server that its reader has gone."""
    left = Event()
    model = stage.plays(paused(sse(*map(chunk, TEXT[:3])), left.wait, *map(chunk, TEXT[3:]), *END))
    seen = v1.ask(stage.url, "call", name="leave", input="hi", model=model, stream=True, take=2).well()
    span = blocks(seen)[0]["span_id"]
    left.set()
    assert stage.text(span) == "".join(TEXT)
    stage.until_readers(0)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(sse(*map(chunk, TEXT)), id="it just ends"),
        pytest.param(reset(*map(chunk, TEXT)), id="it breaks off"),
        pytest.param(sse(*map(chunk, TEXT), b'data: {"error": {"message": "luck"}}\n\n'), id="it says so"),
    ],
)
def test_a_failure_is_a_block_and_raises(v1: V1, stage: Stage, script: Script) -> None:
    seen = v1.ask(stage.url, "call", name="fail", input="hi", model=stage.plays(script), stream=True)
    assert seen.raised.kind == "TypeError"
    *before, last = blocks(seen)
    assert [each["delta"] for each in before[1:]] == [*TEXT]
    assert last["chunk_type"] == "error" and last["error_type"] and last["error_message"]


def test_the_model_that_fails_on_purpose_does(v1: V1, demo: Server) -> None:
    seen = v1.ask(demo.url, "call", name="fail", input="rivers", model="demo-fail", stream=True)
    assert seen.raised.kind == "TypeError" and len(blocks(seen)) == 14
    assert blocks(seen)[-1]["error_type"] == "upstream"


# -- errors


def check(raised: Failure, status: int) -> None:
    """The SDK names its class ``APIError``, but what is published calls itself so."""
    assert (raised.kind, raised.kinds[-1], raised.status) == ("_APIError", "Error", status)
    assert str(status) in raised.message


WRONG: Final[dict[str, tuple[dict[str, Any], int, str]]] = {
    "no such model": ({"model": "no-such"}, 404, "NotFoundError"),
    "not the input": (
        {"input": {"n": "x"}, "input_schema": {"type": "string"}},
        422,
        "RequestValidationError",
    ),
    "a wrong type": ({"fallback_models": "known"}, 422, "RequestValidationError"),
    "too much": ({"input": "x" * 5000}, 413, "request_too_large"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_caller_does_wrong(v1: V1, strict: Stage, name: str) -> None:
    """A call raises; a stream hands over the error's body, which says so, as if it were the stream."""
    body, status, kind = WRONG[name]
    asked: dict[str, Any] = {"name": "wrong", "input": "x", "model": "known", **body}
    check(v1.ask(strict.url, "call", **asked).raised, status)
    [error] = json.loads(v1.ask(strict.url, "call", **asked, stream=True).well().value)["errors"]
    assert error["type"] == kind and error["message"] and error["detail"]


def test_what_the_model_refuses(v1: V1, stage: Stage) -> None:
    asked: dict[str, Any] = {"name": "refused", "input": "x", "model": stage.plays(refusal(429, NO))}
    check(v1.ask(stage.url, "call", **asked).raised, 429)
    [error] = json.loads(v1.ask(stage.url, "call", **asked, stream=True).well().value)["errors"]
    assert "no, thank you" in error["message"]


@pytest.mark.parametrize("bearer", [False, True], ids=["own header", "Authorization"])
def test_keys_decide_who_may_call(v1: V1, keyed: Keyed, bearer: bool) -> None:
    url, model = keyed.stage.url, keyed.stage.says("well")
    asked: dict[str, Any] = {"name": "who", "input": "x", "model": model, "bearer": bearer}
    check(v1.ask(url, "call", **asked, key="penstock_live_no_key").raised, 401)
    check(v1.ask(url, "call", **asked, key=keyed.reading).raised, 403)
    handed = v1.ask(url, "call", **asked, key="penstock_live_no_key", stream=True).well().value
    assert json.loads(handed)["errors"][0]["type"] == "UnauthorizedError"
    assert v1.ask(url, "call", **asked, key=keyed.writing).well().value["message"] == "well"
    assert joined(v1.ask(url, "call", **asked, key=keyed.writing, stream=True)) == "well"


# -- run keys: as much of resuming as this SDK can do


def test_the_same_tag_is_the_same_stream_from_its_beginning(v1: V1, stage: Stage) -> None:
    model = stage.says(*TEXT)
    asked: dict[str, Any] = {
        "name": "once",
        "input": "hi",
        "model": model,
        "tags": {"idempotency_key": model},
        "stream": True,
    }
    first, again = (v1.ask(stage.url, "call", **asked).well().value for _ in range(2))
    assert again == first and first.count('"delta"') == len(TEXT)
    assert len(stage.bodies(model)) == 1
    clash = json.loads(v1.ask(stage.url, "call", **{**asked, "input": "other"}).well().value)
    assert clash["errors"][0]["detail"]["code"] == "idempotency_clash"
    assert len(stage.bodies(model)) == 1


# -- spans


def test_a_call_within_a_trace(v1: V1, stage: Stage) -> None:
    seen = v1.ask(stage.url, "trace", name="pipeline", input="hi", model=stage.says("well")).well()
    assert seen.value["trace"] and seen.value["answer"]["message"] == "well"


# -- crowds


def test_streams_side_by_side_stay_apart(v1: V1, stage: Stage) -> None:
    models = stage.crowd(CROWD)
    asked: dict[str, Any] = {"name": "crowd", "input": "hi", "stream": True}
    answers = [v1.begin(stage.url, "call", **asked, model=model) for model in models]
    assert [joined(answer.result()) for answer in answers] == ["".join(said) for said in models.values()]
