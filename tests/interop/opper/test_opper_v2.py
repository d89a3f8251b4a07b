"""The SDKs of v2, PyPI 1.x and npm 3.x: what is streamed is what a call returns."""

from __future__ import annotations

import json
from typing import Any, Final, get_args

import pytest

from interop.opper.leaves import exact, gathered, spelled, without_nothing
from interop.opper.sdks import V2, Colour, Sdk, Seen
from interop.opper.stage import END, Stage, used
from interop.opper.values import TEXT, VALUES
from penstock.names import stream_of_uuid
from serving import Server
from upstream import chunk, sse


def data(seen: Seen) -> list[dict[str, Any]]:
    """Return the data of each event of a stream that was well."""
    return [event["data"] for event in seen.well().events]


def joined(seen: Seen) -> str:
    return "".join(each["delta"] for each in data(seen) if "delta" in each)


# -- text


def test_the_deltas_of_a_text_are_the_message(v2: V2, stage: Stage) -> None:
    model = stage.says(*TEXT)
    seen = v2.ask(
        stage.url, "stream", name="greet", instructions="Greet", input={"guest": "Ida"}, model=model
    )
    called = v2.ask(
        stage.url, "call", name="greet", instructions="Greet", input={"guest": "Ida"}, model=model
    )
    first, *deltas = data(seen)
    assert [*first] == ["span_id"] and stage.text(first["span_id"]) == "".join(TEXT)
    assert deltas == [{"delta": piece, "chunk_type": "text"} for piece in TEXT]
    assert called.well().value["message"] == "".join(TEXT) and called.value["json_payload"] is None
    assert called.value["span_id"] != first["span_id"] and called.value["cached"] is False


def test_the_built_in_model_says_the_same_streamed_and_whole(v2: V2, demo: Server) -> None:
    asked: dict[str, Any] = {"name": "greet", "input": "rivers in 8 words", "model": "demo"}
    streamed, whole = v2.begin(demo.url, "stream", **asked), v2.begin(demo.url, "call", **asked)
    assert joined(v2.seen(streamed)) == v2.seen(whole).well().value["message"] != ""


def test_a_name_is_all_that_a_call_needs(v2: V2, demo: Server) -> None:
    assert joined(v2.ask(demo.url, "stream", name="name-alone", take=3)) != ""


def test_an_empty_answer_is_an_answer(v2: V2, stage: Stage) -> None:
    model = stage.plays(sse(*END))
    assert [*data(v2.ask(stage.url, "stream", name="silence", model=model))[0]] == ["span_id"]
    assert v2.ask(stage.url, "call", name="silence", model=model).well().value["message"] == ""


def test_events_have_ids_and_answers_headers(v2: V2, stage: Stage) -> None:
    seen = v2.ask(stage.url, "stream", name="greet", model=stage.says(*TEXT)).well()
    ids = [event["id"] for event in seen.events]
    assert all(ids) and len(set(ids)) == len(ids)
    assert [event.get("event") for event in seen.events] == [None] * len(ids)
    assert seen.headers["penstock-stream"] == [stream_of_uuid(seen.events[0]["data"]["span_id"])]
    assert seen.headers["content-type"][0].startswith("text/event-stream")
    assert "no-transform" in ",".join(seen.headers["cache-control"])
    assert seen.headers["x-accel-buffering"] == ["no"]


# -- structured


@pytest.mark.parametrize("name", VALUES)
def test_the_leaves_of_a_value_are_the_payload(v2: V2, stage: Stage, name: str) -> None:
    schema, value = VALUES[name]
    asked: dict[str, Any] = {
        "name": "seat",
        "output_schema": schema,
        "model": stage.says(*VALUES[name].pieces()),
    }
    seen = v2.ask(stage.url, "stream", **asked)
    called = v2.ask(stage.url, "call", **asked).well().value
    assert exact(called["json_payload"]) == exact(value) and called["message"] is None
    assert [*data(seen)[0]] == ["span_id"]
    assert exact(without_nothing(gathered(data(seen)))) == exact(without_nothing(value))


def test_a_leaf_is_said_as_it_comes(v2: V2, stage: Stage) -> None:
    """Strings in the model's own pieces; numbers and booleans whole; null and the empty text too."""
    value = {"host": "Boris", "tables": 12, "open": True, "motto": "", "till": None}
    model = stage.says('{"host": "Bo', 'ris", "tables": 1', '2, "open": tr', 'ue, "motto": "", "till": null}')
    schema = {"type": "object", "properties": {key: {} for key in value}}
    _, *leaves = data(v2.ask(stage.url, "stream", name="seat", output_schema=schema, model=model))
    assert [(each["json_path"], each["delta"]) for each in leaves] == [
        ("host", "Bo"), ("host", "ris"), ("tables", 12), ("open", True), ("motto", ""), ("till", None)
    ]  # fmt: skip
    assert {each["chunk_type"] for each in leaves} == {"json"}


def test_half_a_surrogate_pair_breaks_nobody(v2: V2, stage: Stage) -> None:
    text = stage.says("half: \ud83d", " and on")
    assert joined(v2.ask(stage.url, "stream", name="greet", model=text)) == "half: \ufffd and on"
    assert (
        v2.ask(stage.url, "call", name="greet", model=text).well().value["message"] == "half: \ufffd and on"
    )


def test_half_a_surrogate_pair_in_a_value_breaks_nobody(v2: V2, stage: Stage) -> None:
    asked: dict[str, Any] = {
        "name": "seat",
        "output_schema": {},
        "model": stage.says('{"a": "half: \\ud83d', ' and on"}'),
    }
    assert gathered(data(v2.ask(stage.url, "stream", **asked))) == {"a": "half: \ufffd and on"}
    assert v2.ask(stage.url, "call", **asked).well().value["json_payload"] == {"a": "half: \ufffd and on"}


def test_half_a_surrogate_pair_in_the_input_is_one_character(v2: V2, stage: Stage) -> None:
    """JavaScript's ``slice`` makes one of any emoji."""
    model = stage.says(*TEXT)
    v2.ask(stage.url, "call", name="greet", input="half: \ud83d", model=model).well()
    (body,) = stage.bodies(model)
    assert body["messages"][-1]["content"] == "half: \ufffd"


def test_halves_of_a_surrogate_pair_find_each_other(v2: V2, stage: Stage) -> None:
    assert (
        joined(v2.ask(stage.url, "stream", name="greet", model=stage.says("a \ud83c", "\udf0a!"))) == "a 🌊!"
    )
    asked: dict[str, Any] = {
        "name": "seat",
        "output_schema": {},
        "model": stage.says('{"a": "a \\ud83c', '\\udf0a!"}'),
    }
    assert gathered(data(v2.ask(stage.url, "stream", **asked))) == {"a": "a 🌊!"}


INPUTS: Final = {
    "text": "a\u2028b 🌊",
    "an object": {"guest": "Ida \u2029", "n": [1, 2.5, None, True]},
    "a number": 7,
    "a boolean": False,
    "an array": ["a", []],
}


@pytest.mark.parametrize("name", INPUTS)
def test_the_input_reaches_the_model(v2: V2, stage: Stage, name: str) -> None:
    given, model = INPUTS[name], stage.says("well")
    assert joined(v2.ask(stage.url, "stream", name="echo", input=given, model=model)) == "well"
    [asked] = stage.bodies(model)
    content = asked["messages"][-1]["content"]
    assert content == given if isinstance(given, str) else exact(json.loads(content)) == exact(given)


def test_examples_and_instructions_reach_the_model(v2: V2, stage: Stage) -> None:
    model = stage.says("well")
    examples = [{"input": f"question {n}", "output": f"answer {n}"} for n in range(5)]
    asked: dict[str, Any] = {"instructions": "Be brief", "input": "now", "examples": examples, "model": model}
    assert joined(v2.ask(stage.url, "stream", name="exemplary", **asked)) == "well"
    [body] = stage.bodies(model)
    said = [(message["role"], message["content"]) for message in body["messages"]]
    assert said[0] == ("system", "Be brief") and said[-1] == ("user", "now")
    assert said[1:3] == [("user", "question 0"), ("assistant", "answer 0")] and len(said) == 8


def test_what_is_null_is_as_good_as_absent(v2: V2, stage: Stage) -> None:
    members = ("instructions", "input", "input_schema", "output_schema", "examples", "parent_span_id", "tags")
    asked: dict[str, Any] = dict.fromkeys(members)
    assert joined(v2.ask(stage.url, "stream", name="null", model=stage.says("well"), **asked)) == "well"


@pytest.mark.parametrize("name", VALUES)
def test_all_deltas_are_strings_if_the_server_is_told_so(v2: V2, stringly: Stage, name: str) -> None:
    schema, value = VALUES[name]
    asked: dict[str, Any] = {
        "name": "seat",
        "output_schema": schema,
        "model": stringly.says(*VALUES[name].pieces()),
    }
    seen = v2.ask(stringly.url, "stream", **asked)
    assert all(isinstance(each["delta"], str) for each in data(seen)[1:])
    read = without_nothing(gathered(data(seen)))
    assert _as_numbers(read) == _as_numbers(spelled(without_nothing(value)))
    called = v2.ask(stringly.url, "call", **asked).well().value
    assert exact(called["json_payload"]) == exact(value)


def _as_numbers(value: Any) -> Any:
    """Return strings that are numbers as such: 1e-9 and 1e-09 are one."""
    match value:
        case dict():
            return {key: _as_numbers(inner) for key, inner in value.items()}
        case list():
            return [_as_numbers(each) for each in value]
        case _:
            try:
                return float(value)
            except ValueError:
                return value


# -- a model with options, schemas from classes


def test_a_model_may_have_options(v2: V2, stage: Stage) -> None:
    model = stage.says("well")
    asked: dict[str, Any] = {"name": model, "options": {"temperature": 0.5, "reasoning_effort": "low"}}
    assert joined(v2.ask(stage.url, "stream", name="greet", model=asked)) == "well"
    [body] = stage.bodies(model)
    assert (body["model"], body["temperature"], body["reasoning_effort"]) == (model, 0.5, "low")


@pytest.mark.parametrize("colour", get_args(Colour))
def test_a_class_is_a_schema(pypi1: Sdk, demo: Server, colour: Colour) -> None:
    """Such a schema has references, alternatives with null, defaults. Only Python's SDK takes classes."""
    v2 = V2(pypi1, colour)
    schema = {"class": "Seating"}
    asked: dict[str, Any] = {"name": "class", "input": "x", "output_schema": schema, "model": "demo-fast"}
    streamed, whole = v2.begin(demo.url, "stream", **asked), v2.begin(demo.url, "call", **asked)
    value = v2.seen(whole).well().value["json_payload"]
    assert {"host", "guests", "mood"} <= value.keys() and value["mood"] in ("calm", "merry")
    assert exact(without_nothing(gathered(data(v2.seen(streamed))))) == exact(without_nothing(value))


# -- spans and traces: where the agent libraries look for usage


def test_usage_is_found_after_a_stream(v2: V2, stage: Stage) -> None:
    model = stage.plays(sse(chunk("well"), chunk(finish="stop"), used(9, 4), END[-1]))
    for call in ("stream", "call"):
        seen = v2.ask(stage.url, call, name="greet", model=model).well()
        span_id = seen.events[0]["data"]["span_id"] if seen.events else seen.value["span_id"]
        span = v2.ask(stage.url, "spans.get", span_id=span_id).well().value
        assert (span["id"], span["name"]) == (span_id, "greet")
        trace = v2.ask(stage.url, "traces.get", trace_id=span["trace_id"]).well().value
        [own] = [each for each in trace["spans"] if each["id"] == span_id]
        assert own["data"]["total_tokens"] == trace["total_tokens"] == 13
    assert seen.value["usage"]["total_tokens"] == 13


def test_spans_may_be_made_and_renamed(v2: V2, stage: Stage) -> None:
    made = v2.ask(stage.url, "spans.create", name="session").well().value
    assert made["id"] and made["trace_id"]
    seen = v2.ask(stage.url, "stream", name="greet", model=stage.says("hi"), parent_span_id=made["id"])
    span_id = data(seen)[0]["span_id"]
    assert v2.ask(stage.url, "spans.update", span_id=span_id, name="renamed").well().value["id"] == span_id


# -- addresses


@pytest.mark.parametrize("path", ["/v2", "/v2/", "", "/"])
def test_the_address_may_be_spelled_in_several_ways(v2: V2, stage: Stage, path: str) -> None:
    model = stage.says("well")
    assert joined(v2.ask(stage.url, "stream", path=path, name="greet", model=model)) == "well"
    assert v2.ask(stage.url, "call", path=path, name="greet", model=model).well().value["message"] == "well"
    assert v2.ask(stage.url, "functions.list", path=path).well().value["meta"]["total_count"] > 0
    found = v2.ask(stage.url, "functions.get_by_name", path=path, name="greet").well().value
    assert v2.ask(stage.url, "functions.get", path=path, function_id=found["id"]).well().value == found
