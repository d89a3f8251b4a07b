"""Chains of models, and answers that do not fit: what is asked again, and what readers see of it."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from interop.opper.leaves import gathered
from interop.opper.sdks import V1, V2, V3, Failure, Seen
from interop.opper.stage import END, Stage, Tap, paused, says
from upstream import chunk, refusal, reset, sse

NO: Final = {"error": {"message": "no, thank you"}}
SCHEMA: Final = {
    "type": "object",
    "properties": {"host": {"type": "string"}, "tables": {"type": "integer"}},
    "required": ["host", "tables"],
    "additionalProperties": False,
}
GOOD: Final = says('{"host": "Bo', 'ris", "tables": 12}')
VALUE: Final = {"host": "Boris", "tables": 12}
PROSE: Final = says("Certainly! ", "Here is your seating plan.")
UNFIT: Final = says('{"tables": "twelve", ', '"host": "Boris"}')
"""Its first leaf is well; that it does not fit shows later."""
BROKEN: Final = {
    "refuses": refusal(503, NO),
    "says nothing": sse(),
    "hangs up": reset(),
    "says an error": sse(b'data: {"error": {"message": "no", "code": "luck"}}\n\n'),
}


def data(seen: Seen) -> list[dict[str, Any]]:
    return [event["data"] for event in seen.well().events]


# -- chains


@pytest.mark.parametrize("script", BROKEN)
def test_the_next_model_is_asked_if_one_fails_before_its_first_word(
    v2: V2, stage: Stage, script: str
) -> None:
    broken, good = stage.plays(BROKEN[script]), stage.says("well ", "said")
    seen = v2.ask(stage.url, "stream", name="chain", model=[broken, good])
    first, *deltas = data(seen)
    assert [each["delta"] for each in deltas] == ["well ", "said"]
    [told] = stage.failed(first["span_id"])
    assert told["model"] == broken and told["code"] and told["message"]
    called = v2.ask(stage.url, "call", name="chain", model=[broken, good]).well().value
    assert called["message"] == "well said" and len(stage.failed(called["span_id"])) == 1
    assert len(stage.bodies(broken)) == len(stage.bodies(good)) == 2


def test_each_model_of_a_chain_has_options_of_its_own(v2: V2, stage: Stage) -> None:
    first, second, third = stage.plays(refusal(500, NO)), stage.plays(refusal(429, NO)), stage.says("well")
    chain: list[Any] = [
        {"name": first, "options": {"temperature": 0.1}},
        second,
        {"name": third, "options": {"temperature": 0.3}},
    ]
    seen = v2.ask(stage.url, "stream", name="chain", model=chain)
    assert [told["model"] for told in stage.failed(data(seen)[0]["span_id"])] == [first, second]
    asked = [stage.bodies(model)[0].get("temperature") for model in (first, second, third)]
    assert asked == [0.1, None, 0.3]


def test_the_last_model_s_failure_is_that_of_the_chain(v2: V2, stage: Stage) -> None:
    chain = [stage.plays(refusal(500, NO)), stage.plays(refusal(429, NO))]
    for call in ("stream", "call"):
        raised = v2.ask(stage.url, call, name="chain", model=chain).raised
        assert (raised.kind, raised.status) == ("APIError", 429)


def test_a_model_that_has_spoken_is_not_replaced(v2: V2, stage: Stage) -> None:
    broken, good = stage.plays(sse(chunk("half "), chunk("a word"))), stage.says("well")
    seen = v2.ask(stage.url, "stream", name="chain", model=[broken, good])
    assert seen.raised and [event["data"].get("delta") for event in seen.events] == [
        None,
        "half ",
        "a word",
        None,
    ]
    assert seen.events[-1]["data"]["chunk_type"] == "error"
    assert stage.bodies(good) == []


def test_a_caller_who_waits_for_all_sees_no_half_answer(v2: V2, stage: Stage) -> None:
    broken, good = stage.plays(sse(chunk("half "), chunk("a word"))), stage.says("well")
    called = v2.ask(stage.url, "call", name="chain", model=[broken, good]).well().value
    assert called["message"] == "well"
    assert [told["code"] for told in stage.failed(called["span_id"])] == ["truncated"]


def test_a_stored_chain_is_one_too(v2: V2, stage: Stage) -> None:
    broken, good = stage.plays(refusal(503, NO)), stage.says("well")
    function = {"name": f"chain_{good}", "instructions": "Go on", "model": [broken, good]}
    function_id = v2.ask(stage.url, "functions.create", **function).well().value["id"]
    seen = v2.ask(stage.url, "functions.stream", function_id=function_id)
    assert [each.get("delta") for each in data(seen)] == [None, "well"]
    assert v2.ask(stage.url, "functions.call", function_id=function_id).well().value["message"] == "well"


def test_a_reader_may_be_cut_off_while_the_chain_is_tried(v2: V2, stage: Stage) -> None:
    """What is retried leaves no trace in the frames, so that a resumed stream is the same."""
    broken, good = stage.plays(refusal(503, NO)), stage.says("well ", "said")
    asked: dict[str, Any] = {"call": "stream", "name": "chain", "model": [broken, good]}
    whole = v2.ask(stage.url, headers={"idempotency-key": good}, **asked).well().events
    for cut in range(len(whole)):
        headers = {"idempotency-key": good, "last-event-id": whole[cut]["id"]}
        assert v2.ask(stage.url, headers=headers, **asked).well().events == whole[cut + 1 :]


# -- answers that do not fit


@pytest.mark.parametrize("call", ["stream", "call"])
def test_prose_is_asked_again_before_anybody_sees_it(v2: V2, stage: Stage, call: str) -> None:
    model = stage.plays(PROSE, PROSE, GOOD)
    seen = v2.ask(stage.url, call, name="fit", output_schema=SCHEMA, model=model).well()
    assert (seen.value["json_payload"] if call == "call" else gathered(data(seen))) == VALUE
    span = seen.value["span_id"] if call == "call" else data(seen)[0]["span_id"]
    assert [told["code"] for told in stage.failed(span)] == ["output_invalid"] * 2
    assert len(stage.bodies(model)) == 3


def test_what_was_seen_cannot_be_taken_back(v2: V2, stage: Stage) -> None:
    with Tap(stage.server) as tap:
        seen_by_all = partial(tap.until, b"twelve")
        script = paused(sse(chunk('{"tables": "twelve", ')), seen_by_all, chunk('"host": "Boris"}'), *END)
        model = stage.plays(script)
        seen = v2.ask(tap.url, "stream", name="fit", output_schema=SCHEMA, model=model)
    assert seen.raised and seen.events[1]["data"]["delta"] == "twelve"
    error = seen.events[-1]["data"]
    assert (error["chunk_type"], error["error_type"]) == ("error", "output_invalid")
    assert "tables" in error["error_message"] and len(stage.bodies(model)) == 1


def test_a_caller_who_waits_for_all_sees_only_what_fits(v2: V2, stage: Stage) -> None:
    model = stage.plays(UNFIT, PROSE, GOOD)
    called = v2.ask(stage.url, "call", name="fit", output_schema=SCHEMA, model=model).well().value
    assert called["json_payload"] == VALUE
    assert [told["code"] for told in stage.failed(called["span_id"])] == ["output_invalid"] * 2


@pytest.mark.parametrize("attempts", [1, 2, None])
def test_attempts_are_counted(v2: V2, stage: Stage, attempts: int | None) -> None:
    """As many as the caller says, five if nothing is said; then the failure is an error."""
    expected = 5 if attempts is None else attempts
    model = stage.plays(*[UNFIT] * expected)
    configuration = {"invocation_structured_generation_max_attempts": attempts}
    asked: dict[str, Any] = {"configuration": configuration} if attempts else {}
    raised = v2.ask(stage.url, "call", name="fit", output_schema=SCHEMA, model=model, **asked).raised
    check_unfit(raised)
    assert len(stage.bodies(model)) == expected


def check_unfit(raised: Failure) -> None:
    assert (raised.kind, raised.status) == ("APIError", 502)
    assert raised.body["detail"]["code"] == "output_invalid" and "tables" in raised.body["message"]


def test_attempts_of_a_stored_function_are_counted(v2: V2, stage: Stage) -> None:
    model = stage.plays(PROSE, PROSE)
    function = v2.ask(
        stage.url, "functions.create", name=f"fit_{model}", instructions="Seat", output_schema=SCHEMA,
        model=model, configuration={"invocation_structured_generation_max_attempts": 2},
    ).well().value  # fmt: skip
    raised = v2.ask(stage.url, "functions.stream", function_id=function["id"]).raised
    assert (raised.kind, raised.status) == ("APIError", 502)
    assert len(stage.bodies(model)) == 2


def test_a_chain_goes_on_where_attempts_end(v2: V2, stage: Stage) -> None:
    """A model that is out of attempts has answered: only failures lead to the next one."""
    never, good = stage.plays(PROSE), stage.plays(GOOD)
    configuration = {"invocation_structured_generation_max_attempts": 1}
    asked: dict[str, Any] = {"output_schema": SCHEMA, "model": [never, good], "configuration": configuration}
    assert v2.ask(stage.url, "call", name="fit", **asked).raised.status == 502
    assert stage.bodies(good) == []


# -- the same, in the other generations


def test_chains_in_v3(v3: V3, stage: Stage) -> None:
    broken, good = stage.plays(refusal(503, NO)), stage.says("well ", "said")
    seen = v3.ask(stage.url, "stream", "chain", input="hi", model=[broken, {"name": good}]).well()
    assert [each["delta"] for each in seen.events if each["type"] == "content"] == ["well ", "said"]
    assert seen.events[-1]["data"] == "well said"
    assert (
        v3.ask(stage.url, "call", "chain", input="hi", model=[broken, good]).well().value["data"]
        == "well said"
    )
    assert [told["model"] for told in stage.failed(seen.events[-1]["meta"]["trace_uuid"])] == [broken]


def test_answers_that_do_not_fit_in_v3(v3: V3, stage: Stage) -> None:
    model = stage.plays(PROSE, GOOD, UNFIT, GOOD)
    asked: dict[str, Any] = {"input": "hi", "output_schema": SCHEMA, "model": model}
    assert v3.ask(stage.url, "stream", "fit", **asked).well().events[-1]["data"] == VALUE
    assert v3.ask(stage.url, "call", "fit", **asked).well().value["data"] == VALUE
    never = stage.plays(*[PROSE] * 5)
    raised = v3.ask(stage.url, "stream", "fit", **{**asked, "model": never}).raised
    assert (raised.kind, raised.status) == ("ApiError", 502)


def test_chains_in_v1(v1: V1, stage: Stage) -> None:
    broken, good = stage.plays(refusal(503, NO)), stage.says("well ", "said")
    asked: dict[str, Any] = {"name": "chain", "input": "hi", "model": broken, "fallback_models": [good]}
    assert v1.ask(stage.url, "call", **asked).well().value["message"] == "well said"
    assert v1.ask(stage.url, "call", **asked, stream=True).well().value.count('"delta"') == 2
    assert len(stage.bodies(broken)) == len(stage.bodies(good)) == 2
