"""What happens to streams of v2 while they last: silence, readers that leave, failures, cuts, crowds."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import Any, Final

import pytest

from interop.opper.sdks import V2, Seen
from interop.opper.stage import END, Stage, Tap, after, paused, says
from interop.opper.values import TEXT, VALUES
from serving import Server
from upstream import chunk, refusal, reset, sse

CUT: Final = {"RemoteProtocolError", "TypeError"}
"""What is raised where a connection breaks: of httpx, and of fetch."""
CROWD: Final = 12


def deltas(seen: Seen) -> list[Any]:
    return [event["data"]["delta"] for event in seen.events if "delta" in event["data"]]


def call_of(v2: V2, stage: Stage, way: str, **asked: Any) -> dict[str, Any]:
    """Return a call of the endpoint for names, or of that for ids, for which it stores a function."""
    if way == "by name":
        return {"call": "stream", "name": "life", **asked}
    name = f"life-{asked['model']}-{v2.colour}"
    function = v2.ask(stage.url, "functions.create", name=name, instructions="Go on", **asked).well().value
    return {"call": "functions.stream", "function_id": function["id"]}


# -- silence


@pytest.mark.parametrize("way", ["by name", "by id"])
def test_silence_breaks_nobody(v2: V2, murmuring: Stage, way: str) -> None:
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b": ping\n\n", 3)
        model = murmuring.plays(paused(sse(chunk("so ")), silence, chunk("on"), *END))
        seen = v2.ask(tap.url, **call_of(v2, murmuring, way, model=model)).well()
    assert deltas(seen) == ["so ", "on"] and tap.said.count(b'"delta"') == 2


def test_a_refusal_after_a_silence_is_an_error_event(v2: V2, murmuring: Stage) -> None:
    """Then it is too late for a status."""
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b": ping\n\n")
        model = murmuring.plays(after(silence, refusal(500, {"error": {"message": "no luck"}})))
        seen = v2.ask(tap.url, "stream", name="late", model=model)
    assert seen.raised.kind in CUT
    *_, last = seen.events
    assert last["data"]["chunk_type"] == "error" and "no luck" in last["data"]["error_message"]


# -- readers that leave


def test_a_reader_that_leaves_stops_nothing(v2: V2, stage: Stage) -> None:
    left = Event()
    model = stage.plays(paused(sse(*map(chunk, TEXT[:3])), left.wait, *map(chunk, TEXT[3:]), *END))
    seen = v2.ask(stage.url, "stream", name="leave", model=model, take=3).well()
    assert deltas(seen) == [*TEXT[:2]]
    stage.until_readers(0)  # while the model still speaks
    left.set()
    assert stage.text(seen.events[0]["data"]["span_id"]) == "".join(TEXT)


# -- failures


@pytest.mark.parametrize("way", ["by name", "by id"])
@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(sse(*map(chunk, TEXT)), "truncated", id="it just ends"),
        pytest.param(reset(*map(chunk, TEXT)), "truncated", id="it breaks off"),
        pytest.param(
            sse(*map(chunk, TEXT), b'data: {"error": {"message": "no", "code": "luck"}}\n\n'),
            "luck",
            id="it says so",
        ),
    ],
)
def test_a_failure_is_told_and_raised(v2: V2, stage: Stage, way: str, script: Any, code: str) -> None:
    seen = v2.ask(stage.url, **call_of(v2, stage, way, model=stage.plays(script)))
    assert seen.raised.kind in CUT
    assert deltas(seen) == [*TEXT]
    if way == "by id":
        assert seen.events[-1]["data"] == {}  # what the SDK leaves of an error event
        return
    error = seen.events[-1]["data"]
    assert (error["chunk_type"], error["error_type"]) == ("error", code) and error["error_message"]


def test_the_model_that_fails_on_purpose_does(v2: V2, demo: Server) -> None:
    seen = v2.ask(demo.url, "stream", name="fail", input="rivers", model="demo-fail")
    assert seen.raised.kind in CUT and len(deltas(seen)) == 12
    assert seen.events[-1]["data"]["error_type"] == "upstream"


def test_a_value_that_stays_half_is_told_and_raised(v2: V2, stage: Stage) -> None:
    value = VALUES["nested"]
    pieces = value.pieces()[:-4]
    model = stage.plays(sse(*map(chunk, pieces)))
    seen = v2.ask(stage.url, "stream", name="half", output_schema=value.schema, model=model)
    assert seen.raised.kind in CUT and seen.events[1]["data"]["json_path"] == "host"
    assert [event["data"]["chunk_type"] for event in seen.events[1:]].count("error") == 1
    assert seen.events[-1]["data"]["chunk_type"] == "error"


# -- resuming


def asked_again(v2: V2, stage: Stage, key: str, whole: Seen, **asked: Any) -> None:
    """Ask for the same stream after each of its events: each time it is exactly the rest."""
    events = whole.well().events
    for cut in range(len(events)):
        headers = {"idempotency-key": key, "last-event-id": events[cut]["id"]}
        again = v2.ask(stage.url, headers=headers, **asked).well()
        assert again.events == events[cut + 1 :], cut
        assert again.headers["penstock-stream"] == whole.headers["penstock-stream"]


@pytest.mark.parametrize("way", ["by name", "by id"])
def test_a_text_is_resumed_after_any_event(v2: V2, stage: Stage, way: str) -> None:
    model = stage.says(*TEXT)
    asked, key = call_of(v2, stage, way, model=model), f"{model} {v2.colour}"
    whole = v2.ask(stage.url, headers={"idempotency-key": key}, **asked)
    assert deltas(whole) == [*TEXT]
    asked_again(v2, stage, key, whole, **asked)
    assert len(stage.bodies(model)) == 1


@pytest.mark.parametrize("size", [2, 40])
def test_a_value_is_resumed_after_any_event(v2: V2, stage: Stage, size: int) -> None:
    """Whether a piece of the model's is less than a leaf, or several."""
    value = VALUES["nested"]
    model = stage.says(*value.pieces(size))
    asked: dict[str, Any] = {
        "call": "stream",
        "name": "resume",
        "output_schema": value.schema,
        "model": model,
    }
    whole = v2.ask(stage.url, headers={"idempotency-key": model}, **asked)
    assert len(whole.events) > 5
    asked_again(v2, stage, model, whole, **asked)
    assert len(stage.bodies(model)) == 1


def test_a_reader_that_is_cut_off_goes_on_where_it_stood(v2: V2, stage: Stage) -> None:
    """As it happens: the connection breaks while the model speaks, and the same call is made once more."""
    resumed = Event()
    model = stage.plays(paused(sse(*map(chunk, TEXT[:3])), resumed.wait, *map(chunk, TEXT[3:]), *END))
    asked: dict[str, Any] = {"call": "stream", "name": "cut", "model": model}
    headers = {"idempotency-key": model}
    with Tap(stage.server) as tap:
        answer = v2.begin(tap.url, headers=headers, **asked)
        tap.until(b'"delta"', 3)
        tap.cut()
        before = v2.seen(answer)
    assert before.raised.kind in CUT and deltas(before) == [*TEXT[:3]]
    stage.until_readers(0)
    last = {"last-event-id": before.events[-1]["id"]}
    answer = v2.begin(stage.url, headers={**headers, **last}, **asked)
    stage.until_readers(1)
    resumed.set()
    assert deltas(before) + deltas(v2.seen(answer).well()) == [*TEXT]
    assert len(stage.bodies(model)) == 1


def test_a_failure_is_resumed_as_a_failure(v2: V2, stage: Stage) -> None:
    model = stage.plays(sse(*map(chunk, TEXT)))
    asked: dict[str, Any] = {"call": "stream", "name": "failed", "model": model}
    headers = {"idempotency-key": model}
    whole = v2.ask(stage.url, headers=headers, **asked)
    for cut in range(len(whole.events)):
        last = {"last-event-id": whole.events[cut]["id"]}
        again = v2.ask(stage.url, headers={**headers, **last}, **asked)
        assert again.raised.kind in CUT and again.events == whole.events[cut + 1 :], cut
    assert len(stage.bodies(model)) == 1


@pytest.mark.parametrize("call", ["stream", "call"])
def test_a_refusal_is_not_asked_for_twice(v2: V2, stage: Stage, call: str) -> None:
    """A run key stands for the call, whatever came of it."""
    model = stage.plays(refusal(500, {"error": {"message": "no luck"}}))
    asked: dict[str, Any] = {"name": "refused", "model": model, "headers": {"idempotency-key": model}}
    first, again = (v2.ask(stage.url, call, **asked).raised for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body) and "no luck" in first.body["message"]
    assert len(stage.bodies(model)) == 1


def test_a_key_of_the_body_does_what_a_header_does(v2: V2, stage: Stage) -> None:
    model = stage.says(*TEXT)
    asked: dict[str, Any] = {
        "call": "stream",
        "name": "tagged",
        "model": model,
        "tags": {"idempotency_key": model, "team": "a"},
    }
    first, again = (v2.ask(stage.url, **asked).well() for _ in range(2))
    assert again.events == first.events and deltas(again) == [*TEXT]
    assert len(stage.bodies(model)) == 1


def test_a_key_stands_for_one_call(v2: V2, stage: Stage) -> None:
    model = stage.says(*TEXT)
    headers = {"idempotency-key": model}
    asked: dict[str, Any] = {"name": "clash", "model": model, "headers": headers}
    assert deltas(v2.ask(stage.url, "stream", input="one", **asked).well()) == [*TEXT]
    raised = v2.ask(stage.url, "stream", input="two", **asked).raised
    assert (raised.kind, raised.status) == ("APIError", 409)
    assert raised.body["detail"]["code"] == "idempotency_clash"
    assert len(stage.bodies(model)) == 1


def test_a_call_is_not_made_twice_either(v2: V2, stage: Stage) -> None:
    model = stage.says(*TEXT)
    asked: dict[str, Any] = {
        "call": "call",
        "name": "once",
        "model": model,
        "headers": {"idempotency-key": model},
    }
    first, again = (v2.ask(stage.url, **asked).well().value for _ in range(2))
    assert again == first and again["message"] == "".join(TEXT)
    assert len(stage.bodies(model)) == 1


@pytest.mark.parametrize("cursor", ["nonsense", "ffffffff.3"])
def test_a_place_that_never_was_is_an_error(v2: V2, stage: Stage, cursor: str) -> None:
    model = stage.says(*TEXT)
    asked: dict[str, Any] = {"call": "stream", "name": "lost", "model": model}
    v2.ask(stage.url, headers={"idempotency-key": model}, **asked).well()
    lost = v2.ask(stage.url, headers={"idempotency-key": model, "last-event-id": cursor}, **asked)
    assert (lost.raised.kind, lost.raised.status) == ("APIError", 410)


# -- crowds


def test_streams_side_by_side_stay_apart(v2: V2, stage: Stage) -> None:
    models = stage.crowd(CROWD)
    answers = [v2.begin(stage.url, "stream", name="crowd", model=model) for model in models]
    crowd = [v2.seen(answer).well() for answer in answers]
    assert [deltas(seen) for seen in crowd] == [*models.values()]
    assert len({seen.events[0]["data"]["span_id"] for seen in crowd}) == CROWD


def test_streams_and_calls_side_by_side_stay_apart(v2: V2, stage: Stage) -> None:
    models = [stage.plays(says(f"text {n}")) for n in range(CROWD)]
    calls = [v2.begin(stage.url, "call", name=f"crowd-{n}", model=model) for n, model in enumerate(models)]
    streams = [
        v2.begin(stage.url, "stream", name=f"crowd-{n}", model=model) for n, model in enumerate(models)
    ]
    for n, (call, stream) in enumerate(zip(calls, streams, strict=True)):
        assert v2.seen(call).well().value["message"] == f"text {n}"
        assert deltas(v2.seen(stream).well()) == [f"text {n}"]
