"""
Bodies of the three Opper generations, in and out: calls, functions, whole answers, errors
(sections 2.1, 2.4 and 3 to 6 of the contract).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, convert, to_builtins
from msgspec.structs import replace

from penstock.agents import Agent, Example, Revision
from penstock.dialects import get
from penstock.dialects.opper import (
    Call,
    answer,
    answer_v1,
    answer_v3,
    begin,
    patched,
    read_call,
    read_call_v1,
    read_call_v3,
    read_function,
    read_input,
    write_details_v3,
    write_function,
    write_listed,
    write_listed_v3,
    write_request,
    write_request_v3,
    write_revision,
)
from penstock.errors import Overloaded, PenstockError, RequestError, StreamNotFound, Unauthorized
from penstock.events import (
    ATTEMPT_FAILED,
    Custom,
    DataPart,
    Event,
    MessageAdded,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from penstock.requests import Candidate, Start, Tool
from penstock.snapshot import Response, Snapshot, apply
from penstock.wire.times import timestamp
from streams import SEATED, STRUCTURED, WIRES, records

SCHEMA = {
    "type": "object",
    "properties": {"host": {"$ref": "#/$defs/Host"}},
    "$defs": {"Host": {"type": "string"}},
}

# -- section 2.1

FULL: dict[str, Any] = {
    "name": "seating",
    "instructions": "Seat the guests",
    "input": {"guest": "Ida"},
    "input_schema": {"type": "object"},
    "output_schema": SCHEMA,
    "model": "openai/gpt",
    "examples": [
        {"input": "a", "output": {"host": "b"}, "comment": "mind the gap"},
        {"input": 1, "output": None},
    ],
    "parent_span_id": "5a1d0c7e-6f0e-4a44-9d2b-0d6f0f8f7a10",
    "tags": {"team": "north"},
    "configuration": {
        "invocation.few_shot.count": 1,
        "invocation.structured_generation.max_attempts": 2,
        "invocation.cache.ttl": 0,
        "beta.invocation.input_validation.enabled": False,
    },
    "unknown": 1,
}


def test_a_call() -> None:
    assert read_call(FULL) == Call(
        Agent(
            "seating",
            instructions="Seat the guests",
            models=(Candidate("openai/gpt"),),
            input_schema={"type": "object"},
            output_schema=SCHEMA,
            attempts=2,
            examples=1,
            extra={"model": "openai/gpt", "configuration": FULL["configuration"]},
        ),
        {"guest": "Ida"},
        (Example("a", {"host": "b"}, "mind the gap"), Example(1, None)),
        {"team": "north"},
        FULL["parent_span_id"],
    )


def test_a_call_is_a_request() -> None:
    start = begin(read_call(FULL))
    assert start == get("opper").read_request(FULL)  # type: ignore[misc]
    assert (start.model, start.agent, start.output_schema, start.attempts) == (
        "openai/gpt",
        "seating",
        SCHEMA,
        2,
    )
    assert start.instructions.startswith("Seat the guests\n\n")
    assert [message.role for message in start.input] == ["user", "assistant", "user"], (
        "one example was asked for"
    )
    assert start.input[-1].parts == (TextPart('{"guest":"Ida"}'),)
    assert start.metadata == {"team": "north", "parent_span_id": FULL["parent_span_id"]}


def test_a_name_is_all_that_a_call_needs() -> None:
    nothing = dict.fromkeys([key for key in FULL if key != "name"])
    for body in ({"name": "t"}, {"name": "t", **nothing}):
        call = read_call(body)
        assert call == Call(Agent("t", attempts=5, examples=3))
        start = begin(call)
        assert (start.model, start.extra, start.metadata, start.output_schema) == ("", UNSET, UNSET, UNSET)


@pytest.mark.parametrize(
    ("model", "candidates"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("a", (Candidate("a"),)),
        ({"name": "a"}, (Candidate("a"),)),
        ({"name": "a", "options": None, "extra_headers": {"x": "y"}}, (Candidate("a"),)),
        ({"model": "a", "options": {"temperature": 1}}, (Candidate("a", {"temperature": 1}),)),
        (
            ["a", {"name": "b", "options": {"temperature": 1}}],
            (Candidate("a"), Candidate("b", {"temperature": 1})),
        ),
    ],
)
def test_models(model: Any, candidates: tuple[Candidate, ...]) -> None:
    call = read_call({"name": "t", "model": model})
    assert call.agent.models == candidates
    assert call.agent.extra == (UNSET if model is None else {"model": model}), "kept as it came"


def test_options_go_with_their_model() -> None:
    start = begin(read_call({"name": "t", "model": [{"name": "a", "options": {"x": 1}}, "b"]}))
    assert (start.model, start.extra, start.extra_dialect) == ("a", {"x": 1}, "")
    assert start.fallbacks == (Candidate("b"),)


@pytest.mark.parametrize(
    ("configuration", "examples", "attempts"),
    [
        ({}, 3, 5),
        ({"invocation.few_shot.count": 0}, 0, 5),
        ({"invocation.few_shot.count": None, "invocation": {"few_shot": {"count": 2}}}, 2, 5),
        ({"invocation": {"structured_generation": {"max_attempts": 1}}}, 3, 1),
        ({"invocation": 7, "beta.evaluation": {"enabled": True}}, 3, 5),
    ],
)
def test_configuration(configuration: dict[str, Any], examples: int, attempts: int) -> None:
    agent = read_call({"name": "t", "configuration": configuration}).agent
    assert (agent.examples, agent.attempts) == (examples, attempts)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": 1}, "name"),
    ({"instructions": 1}, "instructions"),
    ({"input_schema": "s"}, "input_schema"),
    ({"output_schema": []}, "output_schema"),
    ({"model": 1}, "model"),
    ({"model": {"options": {}}}, "model.name"),
    ({"model": ["a", {"name": 1}]}, "model[1].name"),
    ({"model": ["a", ""]}, "model[1]"),
    ({"model": [["a"]]}, "model[0]"),
    ({"model": {"name": "a", "options": []}}, "model.options"),
    ({"model": ["a", {"name": "b", "options": {"model": "c"}}]}, "model[1].options.model"),
    ({"model": {"name": "b", "options": {"messages": []}}}, "model.options.messages"),
    ({"examples": {}}, "examples"),
    ({"examples": [1]}, "examples[0]"),
    ({"examples": [{"input": 1, "output": 2}, {"input": 1}]}, "examples[1].output"),
    ({"examples": [{"input": 1, "output": 2, "comment": 3}]}, "examples[0].comment"),
    ({"tags": []}, "tags"),
    ({"tags": {"a": 1}}, "tags.a"),
    ({"parent_span_id": 1}, "parent_span_id"),
    ({"configuration": []}, "configuration"),
    ({"configuration": {"invocation.few_shot.count": -1}}, "configuration.invocation.few_shot.count"),
    ({"configuration": {"invocation.few_shot.count": True}}, "configuration.invocation.few_shot.count"),
    ({"configuration": {"invocation.structured_generation.max_attempts": 0}},
     "configuration.invocation.structured_generation.max_attempts"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "field"), WRONG, ids=[field for _, field in WRONG])
def test_what_is_wrong_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_call({"name": "t", **wrong})
    assert caught.value.field == field and repr(field) in caught.value.message
    assert caught.value.status == 422, "what the SDKs call a RequestValidationError"


def test_a_call_by_id_says_only_what_it_is_called_with() -> None:
    agent = Agent("t", instructions="Greet", output_schema=SCHEMA)
    body = {"input": 7, "tags": {"a": "b"}, "examples": [{"input": 1, "output": 2}], "parent_span_id": "p",
            "instructions": "Do not", "name": 1}  # fmt: skip
    assert read_input(agent, body) == Call(agent, 7, (Example(1, 2),), {"a": "b"}, "p")
    assert read_input(agent, {}) == Call(agent)
    with pytest.raises(RequestError) as caught:
        read_input(agent, {"tags": 1})
    assert caught.value.status == 422


# -- section 4

V1_BODY: dict[str, Any] = {
    "name": "greet",
    "input": "Ida",
    "model": "a",
    "fallback_models": ["b", "c"],
    "output_schema": SCHEMA,
    "output_type": SCHEMA,
    "parent_span_uuid": "p",
    "stream": True,
    "configuration": {"invocation": {"few_shot": {"count": 1}}, "model_parameters": {"temperature": 0.5}},
    "tags": {"a": "b"},
}


def test_a_call_of_v1() -> None:
    call = read_call_v1(V1_BODY)
    assert call.agent.models == (Candidate("a"), Candidate("b"), Candidate("c"))
    assert (call.agent.examples, call.agent.attempts, call.stream, call.parent_span_id) == (1, 5, True, "p")
    assert call.agent.extra == {"model": ["a", "b", "c"], "configuration": V1_BODY["configuration"]}
    start = get("opper/v1").read_request(V1_BODY)  # type: ignore[misc]
    assert start.extra == {"temperature": 0.5}
    assert start.fallbacks == (Candidate("b", {"temperature": 0.5}), Candidate("c", {"temperature": 0.5}))


def test_v1_streams_only_if_asked_to() -> None:
    for body in ({"name": "t"}, {"name": "t", "stream": False}, {"name": "t", "stream": None}):
        assert read_call_v1(body) == Call(Agent("t", attempts=5))
    assert read_call_v1({"name": "t", "fallback_models": ["b"]}).agent.models == (Candidate("b"),)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": None}, "name"),
        ({"stream": 1}, "stream"),
        ({"model": ["a"]}, "model"),
        ({"fallback_models": "b"}, "fallback_models"),
        ({"fallback_models": ["b", 1]}, "fallback_models[1]"),
        ({"parent_span_uuid": 1}, "parent_span_uuid"),
        ({"configuration": {"model_parameters": 1}}, "configuration.model_parameters"),
        ({"configuration": {"model_parameters": {"model": "c"}}}, "configuration.model_parameters.model"),
    ],
)
def test_what_is_wrong_in_v1_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_call_v1({"name": "t", **wrong})
    assert (caught.value.field, caught.value.status) == (field, 422)


# -- section 5

V3_BODY: dict[str, Any] = {
    "input": "Ida",
    "instructions": "Greet",
    "model": ["a", {"name": "b", "options": {"reasoning_effort": "low"}}],
    "tools": [{"name": "tide", "description": "when", "parameters": {"type": "object"}, "type": "function"},
              {"name": "moon"}],
    "reasoning_effort": "high",
    "reasoning_summary": "auto",
    "stream": True,
    "configuration": 7,
}  # fmt: skip


def test_a_call_of_v3() -> None:
    call = read_call_v3({**V3_BODY, "name": "other"}, "a/b")
    assert call.agent.name == "a/b", "the path's name is meant"
    assert call.agent.tools == (Tool("tide", "when", {"type": "object"}), Tool("moon"))
    assert read_call_v3({**V3_BODY, "name": "other"}).agent.name == "other"
    start = get("opper/v3").read_request({**V3_BODY, "name": "other"})  # type: ignore[misc]
    assert start.extra == {"reasoning_effort": "high"}
    assert start.fallbacks == (Candidate("b", {"reasoning_effort": "low"}),)
    body = {**V3_BODY, "name": "other", "model": V3_BODY["model"][1]}
    assert begin(read_call_v3(body)).extra == {"reasoning_effort": "low"}, "a model's own options come first"
    assert start.tools == call.agent.tools


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "t"}, "input"),
        ({"input": 1}, "name"),
        ({"name": "t", "input": None, "tools": [{"description": "x"}]}, "tools[0].name"),
        ({"name": "t", "input": None, "tools": ["x"]}, "tools[0]"),
        ({"name": "t", "input": None, "reasoning_effort": 1}, "reasoning_effort"),
    ],
)
def test_what_is_wrong_in_v3_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_call_v3(body)
    assert (caught.value.field, caught.value.status) == (field, 400), "what P2 calls a BadRequestError"


# -- section 3: functions

CREATE: dict[str, Any] = {
    "name": "seating_2",
    "instructions": "Seat",
    "description": "who sits where",
    "input_schema": {"type": "string"},
    "output_schema": SCHEMA,
    "model": ["a", {"name": "b", "extra_headers": {"x": "y"}}],
    "configuration": {"invocation.few_shot.count": 1, "beta.evaluation": {"enabled": True}},
}


KEPT = {"model": CREATE["model"], "configuration": CREATE["configuration"]}


def revision(agent: Agent) -> Revision:
    return Revision("i-d", "r-d", 2, 1767323045.0, 1767323046.123456, agent)


def test_a_function_is_given_back_as_it_was_made() -> None:
    agent = read_function(CREATE)
    assert (agent.name, agent.description, agent.examples, agent.attempts) == (
        "seating_2",
        "who sits where",
        1,
        5,
    )
    stored = convert(json.loads(json.dumps(to_builtins(agent))), Agent)
    assert write_function(revision(stored)) == {
        **CREATE,
        "id": "i-d",
        "revision_id": "r-d",
        "dataset_id": None,
        "observer_enabled": False,
        "created_at": "2026-01-02T03:04:05.000000Z",
        "updated_at": "2026-01-02T03:04:06.123456Z",
    }


def test_what_may_not_be_null_is_left_out_or_filled() -> None:
    bare = write_function(revision(read_function({"name": "t", "instructions": "i", "model": None})))
    assert "model" not in bare and bare["observer_enabled"] is False
    nullable = {"description", "input_schema", "output_schema", "configuration", "dataset_id"}
    assert {key for key, value in bare.items() if value is None} == nullable
    watched = read_function({"name": "t", "instructions": "i", "observer_enabled": True})
    assert write_function(revision(watched))["observer_enabled"] is True


def test_a_function_made_elsewhere_has_its_models_in_the_shortest_form() -> None:
    models = (Candidate("a"), Candidate("b", {"x": 1}))
    assert write_listed(revision(Agent("t", models=models)))["model"] == [
        "a",
        {"name": "b", "options": {"x": 1}},
    ]
    assert write_listed(revision(Agent("t", models=models[:1])))["model"] == "a"
    assert "model" not in write_listed(revision(Agent("t")))


def test_lists() -> None:
    stored = revision(read_function(CREATE))
    assert write_listed(stored) == {
        "id": "i-d", "name": "seating_2", "revision_id": "r-d", "description": "who sits where",
        "instructions": "Seat", "model": CREATE["model"],
    }  # fmt: skip
    assert write_revision(stored) == {
        "id": "r-d", "configuration": CREATE["configuration"],
        "created_at": "2026-01-02T03:04:06.123456Z", "updated_at": "2026-01-02T03:04:06.123456Z",
    }  # fmt: skip
    assert write_revision(revision(Agent("t")))["configuration"] == {}, "never null"


def test_functions_of_v3() -> None:
    stored = revision(read_function(CREATE))
    listed = write_listed_v3(stored, 7)
    assert listed == {
        "name": "seating_2", "schema_hash": listed["schema_hash"], "hit_count": 7, "has_script": False,
        "generated_at": "2026-01-02T03:04:06.123456Z",
    }  # fmt: skip
    assert write_details_v3(stored, 7) == {
        **listed, "source": "", "input_schema": {"type": "string"}, "output_schema": SCHEMA,
    }  # fmt: skip
    assert write_listed_v3(revision(Agent("t")))["schema_hash"] != listed["schema_hash"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "né"}, "name"),
        ({"instructions": None}, "instructions"),
        ({"instructions": ""}, "instructions"),
        ({"description": 1}, "description"),
        ({"observer_enabled": "yes"}, "observer_enabled"),
        ({"model": ["a", {}]}, "model[1].name"),
    ],
)
def test_a_function_that_cannot_be_made(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_function({**CREATE, **wrong})
    assert (caught.value.field, caught.value.status) == (field, 422)


@pytest.mark.parametrize(
    ("patch", "changes"),
    [
        ({}, {}),
        ({"unknown": 1}, {}),
        ({"name": "other"}, {"name": "other"}),
        ({"name": None, "instructions": None, "observer_enabled": None}, {}),
        ({"instructions": "Stand"}, {"instructions": "Stand"}),
        ({"description": None}, {"description": ""}),
        ({"output_schema": None}, {"output_schema": UNSET}),
        ({"model": "c"}, {"models": (Candidate("c"),), "extra": {**KEPT, "model": "c"}}),
        ({"model": None}, {"models": (), "extra": {"configuration": KEPT["configuration"]}}),
        ({"configuration": {"invocation.few_shot.count": 9}},
         {"examples": 9, "extra": {**KEPT, "configuration": {"invocation.few_shot.count": 9}}}),
        ({"configuration": None}, {"examples": 3, "extra": {"model": CREATE["model"]}}),
    ],
)  # fmt: skip
def test_a_patch_changes_what_it_names(patch: dict[str, Any], changes: dict[str, Any]) -> None:
    agent = replace(read_function(CREATE), tools=(Tool("tide"),))
    assert patched(agent, patch) == replace(agent, **changes)


def test_a_patch_may_keep_a_name_that_could_not_be_given() -> None:
    agent = Agent("a/b")
    assert patched(agent, {"name": "a/b", "instructions": "i"}) == Agent("a/b", instructions="i")
    for wrong in ({"name": "a/c"}, {"name": ""}, {"instructions": 1}):
        with pytest.raises(RequestError) as caught:
            patched(agent, wrong)
        assert (caught.value.field, caught.value.status) == (next(iter(wrong)), 422)


@given(st.floats(0, 4e9))
def test_times_are_rfc_3339_in_utc(at: float) -> None:
    expected = datetime.fromtimestamp(0, UTC).timestamp() + round(at * 1e6) / 1e6
    assert datetime.fromisoformat(timestamp(at)).timestamp() == pytest.approx(expected, abs=1e-6)
    assert timestamp(at).endswith("Z") and len(timestamp(at)) == len("2026-01-02T03:04:05.123456Z")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951782400, "2000-02-29T00:00:00.000000Z"),
        (951868799.9999999, "2000-03-01T00:00:00.000000Z"),
        (4107542400, "2100-03-01T00:00:00.000000Z"),
        (1767225599.5, "2025-12-31T23:59:59.500000Z"),
    ],
)
def test_odd_days(at: float, text: str) -> None:
    assert timestamp(at) == text


# -- whole answers


def response(events: list[Event]) -> Response:
    snapshot = Snapshot()
    for record in records(events):
        apply(snapshot, record.event, record.at)
    assert snapshot.response is not None
    return snapshot.response


def done(*parts: Any, usage: Any = UNSET) -> Response:
    said = [
        event
        for n, part in enumerate(parts)
        for event in (PartStarted(f"p{n}", part), PartDone(f"p{n}", part))
    ]
    return response([ResponseStarted("st_1.1", "demo", "greet"), *said, ResponseDone("stop", usage)])


SPAN = "1a186161-dcca-3fbb-e225-12d9f706de6f"


def test_a_whole_answer() -> None:
    assert answer(done(ReasoningPart("hm"), TextPart("Hi"), usage=Usage(9, 2, 4, 1))) == {
        "span_id": SPAN,
        "message": "Hi",
        "json_payload": None,
        "cached": False,
        "usage": {
            "input_tokens": 9, "output_tokens": 4, "total_tokens": 13,
            "input_tokens_details": {"cached_tokens": 2}, "output_tokens_details": {"reasoning_tokens": 1},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "message", "payload"),
    [
        ([], "", None),
        ([DataPart({"a": 1})], None, {"a": 1}),
        ([DataPart([])], None, []),
        ([DataPart(None)], None, None),
        ([DataPart(text='{"a":')], '{"a":', None),
        ([TextPart("Here: "), DataPart({"a": 1})], "Here: ", {"a": 1}),
        ([ToolCallPart("c", "f", "{}")], "", None),
    ],
)
def test_text_is_the_message_and_data_the_payload(parts: list[Any], message: Any, payload: Any) -> None:
    whole = answer(done(*parts))
    assert (whole["message"], whole["json_payload"], whole["usage"]) == (message, payload, None)


def test_a_whole_answer_of_v1() -> None:
    assert answer_v1(done(TextPart("Hi"))) == {"span_id": SPAN, "message": "Hi", "cached": False}
    assert answer_v1(done(DataPart({"a": "é"}))) == {
        "span_id": SPAN, "message": '{"a":"é"}', "json_payload": {"a": "é"}, "cached": False,
    }  # fmt: skip


def test_a_whole_answer_of_v3() -> None:
    failed = Custom(ATTEMPT_FAILED, {"model": "m", "code": "c", "message": "no"})
    answered = done(DataPart({"a": 1}), usage=Usage(9, 2, 4, 1))
    answered.ended_at, answered.customs = answered.at + 1.5, [failed]
    whole = answer_v3(answered)
    assert whole == {
        "data": {"a": 1},
        "meta": {
            "function_name": "greet", "script_cached": False, "execution_ms": 1500, "llm_calls": 2,
            "tts_calls": 0, "image_gen_calls": 0, "trace_uuid": SPAN, "finish_reason": "stop",
            "usage": {"input_tokens": 9, "output_tokens": 4, "reasoning_tokens": 1, "cache_read_tokens": 2},
            "models_used": ["demo"],
        },
    }  # fmt: skip


def test_the_whole_answer_is_what_the_stream_said() -> None:
    whole = response(STRUCTURED)
    said: dict[str, list[Any]] = {}
    for name, wire in WIRES.items():
        encoder = wire.encoder()
        said[name] = [frame for record in records(STRUCTURED) for frame in encoder.encode(record)]

    def joined(name: str, **like: Any) -> str:
        chunks = [json.loads(frame.data) for frame in said[name] if frame.data.startswith(b'{"')]
        return "".join(each["delta"] for each in chunks if "delta" in each and like.items() <= each.items())

    assert joined("opper", chunk_type="text") == answer(whole)["message"]
    assert answer(whole)["json_payload"] == SEATED
    assert joined("opper-v1") == joined("opper-v3", type="content")
    [complete] = [json.loads(frame.data) for frame in said["opper-v3"] if frame.event == "complete"]
    assert complete == answer_v3(whole)


# -- section 6

ERRORS: list[tuple[PenstockError, int, str]] = [
    (RequestError("no"), 400, "BadRequestError"),
    (Unauthorized("no"), 401, "UnauthorizedError"),
    (StreamNotFound("no"), 404, "NotFoundError"),
    (Overloaded("no"), 503, "overloaded"),
]


@pytest.mark.parametrize(("error", "status", "kind"), ERRORS, ids=[kind for *_, kind in ERRORS])
def test_errors_have_the_shape_of_their_generation(error: PenstockError, status: int, kind: str) -> None:
    assert error.status == status
    body = {"type": kind, "message": "no", "detail": {"code": error.code}}
    assert errors("opper", error) == body
    assert errors("opper/v1", error) == {"errors": [body]}
    assert errors("opper/v3", error) == {"error": {"code": error.code, "message": "no"}}


def errors(name: str, error: PenstockError) -> Any:
    write: Callable[[PenstockError], bytes] | None = get(name).error
    assert write is not None
    return json.loads(write(error))


def test_the_field_is_in_the_detail() -> None:
    with pytest.raises(RequestError) as caught:
        read_call({"name": "t", "model": ["a", {"name": 1}]})
    assert errors("opper", caught.value) == {
        "type": "RequestValidationError",
        "message": "'model[1].name' must be a string",
        "detail": {"code": "invalid_request", "field": "model[1].name"},
    }
    assert errors("opper/v3", caught.value)["error"]["details"] == {"field": "model[1].name"}


# -- as an upstream

ASKED = MessageAdded("user", (TextPart("When is the tide?"),))


def test_a_request_to_an_upstream() -> None:
    start = Start("a", input=(ASKED,), instructions="Be terse.", agent="tides", output_schema=SCHEMA)
    expected = {"name": "tides", "instructions": "Be terse.", "input": "When is the tide?",
                "output_schema": SCHEMA, "model": "a"}  # fmt: skip
    assert write_request(start) == write_request_v3(start) == expected
    assert read_call(write_request(start)).agent.output_schema == SCHEMA
    assert write_request(Start("", input=(ASKED,))) == {"name": "penstock", "input": "When is the tide?"}
    assert write_request(Start("")) == {"name": "penstock", "input": ""}


def test_earlier_messages_travel_with_the_input() -> None:
    start = Start("a", input=(
        ASKED,
        MessageAdded("assistant", (TextPart("Let me see."), ToolCallPart("c", "tide", '{"port":"Brest"}'))),
        MessageAdded("tool", (ToolResultPart("c", {"at": "12:40"}),)),
        MessageAdded("assistant", (DataPart({"at": "12:40"}), ReasoningPart("hm"))),
        MessageAdded("user", (TextPart("And"), TextPart("tomorrow?"))),
    ))  # fmt: skip
    assert write_request(start)["input"] == {
        "conversation": [
            {"role": "user", "content": "When is the tide?"},
            {"role": "assistant", "content": 'Let me see.\ntide({"port":"Brest"})'},
            {"role": "tool", "content": '{"at":"12:40"}'},
            {"role": "assistant", "content": '{"at":"12:40"}'},
        ],
        "message": "And\ntomorrow?",
    }


def test_options_go_to_the_model() -> None:
    start = Start(
        "a", input=(ASKED,), temperature=0.5, max_output_tokens=9, top_p=0.1, stop=("x",), extra={"seed": 1}
    )
    options = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.1, "stop": ["x"], "seed": 1}
    assert write_request(start)["model"] == {"name": "a", "options": options}
    assert write_request(replace(start, extra_dialect="opper"))["model"]["options"] == options
    foreign = write_request(replace(start, extra_dialect="openai-chat"))
    assert "seed" not in foreign["model"]["options"], "another dialect's extras stay away"
    effort = replace(
        start, extra={"reasoning_effort": "low"}, tools=(Tool("f", "does", {"type": "object"}), Tool("g"))
    )
    body = write_request_v3(effort)
    assert body["reasoning_effort"] == "low" and "reasoning_effort" not in body["model"]["options"]
    assert body["tools"] == [
        {"name": "f", "description": "does", "parameters": {"type": "object"}},
        {"name": "g"},
    ]
    assert "tools" not in write_request(effort)


def test_where_upstreams_take_requests() -> None:
    assert get("opper").request_path == "/call/stream", "below /v2, which the SDK's base URL has"
    assert get("opper/v3").request_path == "/v3/call/stream"
