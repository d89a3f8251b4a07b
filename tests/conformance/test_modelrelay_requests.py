"""
Bodies of ModelRelay that are no streams (sections 3, 7, 8 and 9 of the contract): requests, answers, errors.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from msgspec import UNSET

from penstock import errors
from penstock.dialects import get
from penstock.dialects.modelrelay import (
    answer,
    batch,
    error,
    read_request,
    read_results,
    read_run,
    write_failure,
    write_model,
    write_request,
    write_result,
)
from penstock.dialects.modelrelay.run import plan_hash
from penstock.errors import OutputInvalid, PenstockError, RequestError, UpstreamRateLimited
from penstock.events import (
    DataPart,
    FilePart,
    MessageAdded,
    Part,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseStarted,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from penstock.requests import Start, Tool, ToolChoice
from penstock.snapshot import Response, Snapshot, apply

USER: Final = {"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]}
HI: Final = MessageAdded("user", (TextPart("hi"),))


def body(**members: Any) -> dict[str, Any]:
    return {"model": "m", "input": [USER], **members}


# -- reading


def test_the_request_that_the_typescript_sdk_sends() -> None:
    captured = (
        '{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"text","text":"hi"}]}],'
        '"max_output_tokens":5,"stop":["END"]}'
    )
    assert read_request(json.loads(captured)) == Start("m", (HI,), max_output_tokens=5, stop=("END",))


def test_a_whole_request() -> None:
    asked = body(
        provider="anthropic", state_id="6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506", temperature=0.5,
        output_format={"type": "json_schema", "json_schema":
            {"name": "sea", "description": "d", "schema": {"type": "object"}, "strict": True}},
        tools=[{"type": "function", "function": {"name": "tide", "description": "d", "parameters": {"a": 1}}},
               {"type": "function", "function": {"name": "moon"}},
               {"type": "x_search", "xSearch": {"handles": ["a"]}}],
        tool_choice={"type": "required", "function": "tide"},
    )  # fmt: skip
    assert read_request(asked) == Start(
        "m", (HI,), temperature=0.5, output_schema={"type": "object"}, output_name="sea",
        tools=(Tool("tide", "d", {"a": 1}), Tool("moon"),
               Tool("x_search", extra={"raw": {"type": "x_search", "xSearch": {"handles": ["a"]}}})),
        tool_choice=ToolChoice("tool", "tide"),
        extra={"provider": "anthropic", "state_id": "6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506"},
        extra_dialect="modelrelay",
    )  # fmt: skip


@pytest.mark.parametrize(
    "members",
    [
        {"reasoning_effort": "low", "session_id": "s", "stream": True, "whatever": {"a": None}},
        {"output_format": {"type": "text"}},
        {"output_format": None, "tools": None, "stop": None, "temperature": None, "provider": None},
        {"tools": [], "stop": []},
    ],
)
def test_what_is_not_known_or_says_nothing_is_ignored(members: dict[str, Any]) -> None:
    assert read_request(body(**members)) == Start("m", (HI,))


def test_a_request_may_leave_the_model_to_the_server() -> None:
    assert read_request({"input": [USER]}).model == ""


CALL: Final = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"a":1}'}}


@pytest.mark.parametrize(("calls", "call_id"), [("tool_calls", "tool_call_id"), ("toolCalls", "toolCallId")])
def test_both_spellings_are_read(calls: str, call_id: str) -> None:
    conversation = [
        USER,
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": ""}], calls: [CALL]},
        {"type": "message", "role": "tool", call_id: "c1", "content": [{"type": "text", "text": "12:40"}]},
    ]
    assert read_request(body(input=conversation)).input == (
        HI,
        MessageAdded("assistant", (ToolCallPart("c1", "tide", '{"a":1}'),)),
        MessageAdded("tool", (ToolResultPart("c1", "12:40"),)),
    )


def test_items_of_all_kinds() -> None:
    file = {"data_base64": "AA==", "mime_type": "image/png", "filename": "a.png", "size_bytes": 1}
    said = [
        {"role": "system", "content": [{"type": "text", "text": "Be terse."}]},
        {"type": "message", "role": "user",
         "content": [{"type": "file", "file": file}, {"type": "text", "text": ""}]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hm"}], "tool_calls": [
            {"id": "c1", "type": "x_search"}]},
        {"type": "message", "role": "assistant", "content": []},
    ]  # fmt: skip
    assert read_request(body(input=said)).input == (
        MessageAdded("system", (TextPart("Be terse."),)),
        MessageAdded("user", (FilePart("image/png", data="AA==", name="a.png"), TextPart(""))),
        MessageAdded("assistant", (TextPart("Hm"), ToolCallPart("c1", "x_search"))),
        MessageAdded("assistant"),
    )


WRONG: Final[list[tuple[str, dict[str, Any]]]] = [
    ("input", {"input": None}),
    ("input", {"input": []}),
    ("input", {"input": "hi"}),
    ("input[0]", {"input": ["hi"]}),
    ("input[0].type", {"input": [{"type": "image", "role": "user"}]}),
    ("input[0].role", {"input": [{"content": []}]}),
    ("input[0].role", {"input": [{"role": "developer"}]}),
    ("input[0].role", {"input": [{"role": 1}]}),
    ("input[1].content", {"input": [USER, {"role": "user", "content": "hi"}]}),
    ("input[0].content[0]", {"input": [{"role": "user", "content": ["hi"]}]}),
    ("input[0].content[0].type", {"input": [{"role": "user", "content": [{"text": "hi"}]}]}),
    ("input[0].content[0].text", {"input": [{"role": "user", "content": [{"type": "text"}]}]}),
    ("input[0].content[0].text", {"input": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}),
    ("input[0].content[0].file", {"input": [{"role": "user", "content": [{"type": "file"}]}]}),
    ("input[0].content[0].file.mime_type",
     {"input": [{"role": "user", "content": [{"type": "file", "file": {"data_base64": "AA=="}}]}]}),
    ("input[0].tool_call_id", {"input": [{"role": "tool", "content": []}]}),
    ("input[0].tool_calls", {"input": [{"role": "assistant", "tool_calls": {}}]}),
    ("input[0].toolCalls[0].id", {"input": [{"role": "assistant", "toolCalls": [{"type": "function"}]}]}),
    ("input[0].tool_calls[0].type", {"input": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}),
    ("input[0].tool_calls[0].function.arguments", {"input": [{"role": "assistant", "tool_calls": [
        {"id": "c", "function": {"name": "f", "arguments": {}}}]}]}),
    ("model", {"model": 1}),
    ("provider", {"provider": ["x"]}),
    ("state_id", {"state_id": 7}),
    ("max_output_tokens", {"max_output_tokens": "5"}),
    ("max_output_tokens", {"max_output_tokens": 0}),
    ("max_output_tokens", {"max_output_tokens": True}),
    ("temperature", {"temperature": "hot"}),
    ("stop", {"stop": "END"}),
    ("stop[1]", {"stop": ["END", 1]}),
    ("output_format", {"output_format": "json"}),
    ("output_format.type", {"output_format": {"type": "yaml"}}),
    ("output_format.json_schema", {"output_format": {"type": "json_schema"}}),
    ("output_format.json_schema.schema", {"output_format": {"type": "json_schema",
                                                            "json_schema": {"name": "a", "schema": []}}}),
    ("tools[0].type", {"tools": [{"function": {"name": "f"}}]}),
    ("tools[0].function", {"tools": [{"type": "function"}]}),
    ("tools[0].function.name", {"tools": [{"type": "function", "function": {"name": ""}}]}),
    ("tools[0].function.parameters", {"tools": [{"type": "function",
                                                 "function": {"name": "f", "parameters": "x"}}]}),
    ("tool_choice", {"tool_choice": "auto"}),
    ("tool_choice.type", {"tool_choice": {"type": "any"}}),
    ("tool_choice.function", {"tool_choice": {"type": "required", "function": {"name": "f"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "members"), WRONG)
def test_what_is_wrong_is_named(field: str, members: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(body(**members))
    assert caught.value.field == field and field in caught.value.message
    refused = json.loads(error(caught.value))
    assert (refused["code"], caught.value.status) == ("VALIDATION_ERROR", 400)
    assert refused["fields"] == [{"field": field, "message": caught.value.message}]


@pytest.mark.parametrize("mode", ["auto", "required", "none"])
def test_tool_choice(mode: Any) -> None:
    assert read_request(body(tool_choice={"type": mode})).tool_choice == ToolChoice(mode)


# -- runs

SPEC: Final[dict[str, Any]] = {
    "kind": "workflow", "name": "session-1-turn-2", "model": "demo",
    "nodes": [{"id": "main", "type": "llm", "input": [USER], "tool_execution": {"mode": "client"},
               "tools": [{"type": "function", "function": {"name": "tide"}}]}],
    "outputs": [{"name": "result", "from": "main"}],
}  # fmt: skip


def test_the_run_that_a_remote_session_begins() -> None:
    assert read_run({"spec": SPEC, "session_id": "s"}) == Start(
        "demo", (HI,), tools=(Tool("tide"),), metadata={"plan_hash": plan_hash(SPEC)}
    )
    assert read_run({"spec": SPEC, "model_override": "other"}).model == "other"
    node = {"id": "a", "type": "llm", "model": "own", "system": "Be terse.", "user": "hi"}
    assert read_run({"spec": {"model": "demo", "nodes": [node]}}) == Start(
        "own", (HI,), "Be terse.", metadata={"plan_hash": plan_hash({"model": "demo", "nodes": [node]})}
    )


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("spec", {"plan_hash": "x"}),
        ("spec.nodes", {"spec": {"nodes": []}}),
        ("spec.nodes", {"spec": {"nodes": [{"type": "join.all"}]}}),
        ("spec.nodes", {"spec": {"nodes": [{"type": "llm"}, {"type": "llm"}]}}),
        ("spec.nodes[0].input", {"spec": {"nodes": [{"type": "llm"}]}}),
        (
            "spec.nodes[0].tools[0]",
            {"spec": {"nodes": [{"type": "llm", "input": [USER], "tools": ["tide"]}]}},
        ),
    ],
)
def test_a_run_that_cannot_be_is_an_error(field: str, asked: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        read_run(asked)
    assert caught.value.field == field


def test_results_of_tools() -> None:
    results = [{"tool_call": {"id": "c1", "name": "tide"}, "output": "12:40"},
               {"tool_call": {"id": "c2", "name": "moon"}, "output": ""}]  # fmt: skip
    assert read_results({"node_id": "main", "step": 0, "request_id": "r", "results": results}) == (
        MessageAdded("tool", (ToolResultPart("c1", "12:40"),)),
        MessageAdded("tool", (ToolResultPart("c2", ""),)),
    )


@pytest.mark.parametrize(
    ("field", "results"),
    [
        ("results", None),
        ("results", []),
        ("results[0].tool_call", [{"output": ""}]),
        ("results[0].output", [{"tool_call": {"id": "c1"}}]),
        ("results[0].tool_call.id", [{"tool_call": {"x": 1}, "output": ""}]),
    ],
)
def test_results_that_are_wrong(field: str, results: Any) -> None:
    with pytest.raises(RequestError) as caught:
        read_results({"results": results})
    assert caught.value.field == field


# -- writing


def test_a_request_for_an_upstream() -> None:
    start = Start(
        "m",
        (
            MessageAdded("developer", (TextPart("Now."),)),
            MessageAdded("user", (TextPart("hi"), FilePart("image/png", data="AA==", name="a.png"))),
            MessageAdded("assistant", (ReasoningPart("hm"), ToolCallPart("c1", "tide", ""))),
            MessageAdded("tool", (ToolResultPart("c1", "12:40"), ToolResultPart("c2", {"a": 1}))),
            MessageAdded("assistant", (RefusalPart("No."), DataPart({"a": 1}))),
        ),
        instructions="Be terse.",
        tools=(Tool("tide", "d", {"a": 1}), Tool("web", extra={"raw": {"type": "web"}})),
        tool_choice=ToolChoice("tool", "tide"), output_schema={"type": "object"}, max_output_tokens=5,
        temperature=0.5, top_p=0.1, stop=("END",), extra={"provider": "x", "model": "sneaky"},
        extra_dialect="modelrelay",
    )  # fmt: skip
    text = {"type": "text", "text": "hi"}
    file = {"data_base64": "AA==", "mime_type": "image/png", "filename": "a.png"}
    named = {"name": "answer", "schema": {"type": "object"}}
    assert write_request(start) == {
        "provider": "x",
        "model": "m",
        "input": [
            item("system", "Be terse."),
            item("system", "Now."),
            {"type": "message", "role": "user", "content": [text, {"type": "file", "file": file}]},
            {**item("assistant", ""), "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}]},
            {**item("tool", "12:40"), "tool_call_id": "c1"},
            {**item("tool", '{"a":1}'), "tool_call_id": "c2"},
            {"type": "message", "role": "assistant", "content": [
                {"type": "text", "text": "No."}, {"type": "text", "text": '{"a":1}'}]},
        ],
        "max_output_tokens": 5,
        "temperature": 0.5,
        "stop": ["END"],
        "output_format": {"type": "json_schema", "json_schema": named},
        "tools": [
            {"type": "function", "function": {"name": "tide", "description": "d", "parameters": {"a": 1}}},
            {"type": "web"},
        ],
        "tool_choice": {"type": "required", "function": "tide"},
    }  # fmt: skip


def item(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}


def test_what_another_dialect_said_is_not_passed_on() -> None:
    start = Start("", (HI,), extra={"seed": 1}, extra_dialect="openai-chat")
    assert write_request(start) == {"input": [USER]}
    assert write_request(Start("", (HI,), extra={"provider": "x"})) == {"provider": "x", "input": [USER]}


@pytest.mark.parametrize("name", ["modelrelay", "modelrelay/v1"])
def test_what_was_written_is_read(name: str) -> None:
    dialect = get(name)
    assert dialect.write_request is not None and dialect.read_request is not None
    assert dialect.request_path == "/responses"
    start = Start(
        "m",
        (HI, MessageAdded("assistant", (TextPart("Hm"), ToolCallPart("c1", "tide", '{"a":1}'))),
         MessageAdded("tool", (ToolResultPart("c1", "12:40"),))),
        tools=(Tool("tide", "d", {"a": 1}), Tool("web", extra={"raw": {"type": "web", "web": {"a": 1}}})),
        tool_choice=ToolChoice("required"), output_schema={"type": "object"}, output_name="sea",
        max_output_tokens=5, temperature=0.5, stop=("END",), extra={"provider": "x"},
        extra_dialect="modelrelay",
    )  # fmt: skip
    assert dialect.read_request(dialect.write_request(start)) == start
    assert not has_null(dialect.write_request(start))


def has_null(value: Any) -> bool:
    match value:
        case dict():
            return any(map(has_null, value.values()))
        case list():
            return any(map(has_null, value))
        case _:
            return value is None


# -- whole answers


def response(*parts: Part, end: ResponseDone | None = None) -> Response:
    snapshot = Snapshot()
    apply(snapshot, ResponseStarted("resp_7f3a", "demo-1"), 1.0)
    for n, part in enumerate(parts):
        apply(snapshot, PartStarted(f"p{n}", part))
        apply(snapshot, PartDone(f"p{n}", part))
    apply(snapshot, end or ResponseDone("stop", Usage(9, output_tokens=4)), 2.0)
    assert snapshot.response is not None
    return snapshot.response


COUNTS: Final = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "reasoning_tokens": 0,
                 "cached_tokens": 0, "observation_basis": "exact"}  # fmt: skip


def test_a_whole_answer_is_the_contracts() -> None:
    assert answer(response(ReasoningPart("hm"), TextPart("Hel"), TextPart("lo")), "builtin") == {
        "id": "resp_7f3a",
        "model": "demo-1",
        "provider": "builtin",
        "stop_reason": "end_turn",
        "output": [item("assistant", "Hello")],
        "usage": COUNTS,
    }


def test_calls_come_under_both_names() -> None:
    whole = answer(
        response(ToolCallPart("c1", "tide", ""), end=ResponseDone("tool_calls", pending_calls=("c1",)))
    )
    calls = [{"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}]
    assert whole["output"] == [{**item("assistant", ""), "tool_calls": calls, "toolCalls": calls}]
    assert whole["stop_reason"] == "tool_calls" and whole["usage"]["observation_basis"] == "unavailable"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((DataPart({"a": "🌊"}),), '{"a":"🌊"}'),
        ((TextPart("So: "), DataPart([1]), TextPart("!")), "[1]"),  # it is parsed as JSON
        ((DataPart(UNSET, '{"a'),), '{"a'),
        ((RefusalPart("No."),), "No."),
    ],
)
def test_an_answers_text(parts: tuple[Part, ...], text: str) -> None:
    assert answer(response(*parts))["output"] == [item("assistant", text)]


def test_sources_are_citations() -> None:
    cited = answer(response(TextPart("a"), SourcePart("https://tides.example", "Tides")))["citations"]
    assert cited == [{"url": "https://tides.example", "title": "Tides"}]


def test_a_batch() -> None:
    done = write_result("a", response(TextPart("Hello")))
    failed = write_failure("b", UpstreamRateLimited("slow down"))
    described = {"status": 429, "message": "slow down", "code": "RATE_LIMIT", "detail": "rate_limit_exceeded"}
    assert failed == {"id": "b", "status": "error", "error": described}
    assert done == {"id": "a", "status": "success", "response": answer(response(TextPart("Hello")))}
    assert batch("batch_1", [done, failed, done]) == {
        "id": "batch_1",
        "results": [done, failed, done],
        "usage": {"total_input_tokens": 18, "total_output_tokens": 8, "total_requests": 3,
                  "successful_requests": 2, "failed_requests": 1},
    }  # fmt: skip


def test_a_model_has_every_member() -> None:
    model = write_model("demo", "builtin", context_window=1000)
    assert (model["model_id"], model["provider"], model["context_window"]) == ("demo", "builtin", 1000)
    assert model.keys() == {
        "model_id", "provider", "display_name", "description", "capabilities", "context_window",
        "max_output_tokens", "training_cutoff", "deprecated", "deprecation_message",
        "input_cost_per_million_cents", "output_cost_per_million_cents",
    }  # fmt: skip
    assert not has_null(model) and write_model("demo")["context_window"] > 0, "SDKs refuse a window of 0"


# -- errors

CODES: Final = {400: "VALIDATION_ERROR", 401: "UNAUTHORIZED", 402: "PAYMENT_REQUIRED", 403: "FORBIDDEN",
                404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 409: "CONFLICT", 422: "VALIDATION_ERROR",
                429: "RATE_LIMIT", 500: "INTERNAL_ERROR", 502: "PROVIDER_ERROR", 503: "SERVICE_UNAVAILABLE",
                504: "PROVIDER_ERROR", 410: "INVALID_INPUT", 413: "INVALID_INPUT",
                501: "INTERNAL_ERROR"}  # fmt: skip


@pytest.mark.parametrize(("status", "code"), CODES.items())
def test_an_error_is_flat_and_has_the_code_of_its_status(status: int, code: str) -> None:
    exc = PenstockError("Nò")
    exc.status = status
    assert json.loads(error(exc)) == {"error": code, "code": code, "message": "Nò"}
    assert error(exc).isascii()


def test_every_error_of_ours_has_a_code_of_theirs() -> None:
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PenstockError)
    ]
    assert len(kinds) > 25
    for kind in kinds:
        exc = kind("c", "m") if kind is errors.AnswerFailed else kind()
        assert json.loads(error(exc))["code"] in CODES.values()


def test_an_error_names_the_request_if_it_is_told_to() -> None:
    exc = OutputInvalid("no", field="a.b")
    exc.request_id = "req_1"
    assert json.loads(error(exc)) == {
        "error": "PROVIDER_ERROR", "code": "PROVIDER_ERROR", "message": "no", "request_id": "req_1",
        "fields": [{"field": "a.b", "message": "no"}],
    }  # fmt: skip
    assert all(get(name).error is error for name in ("modelrelay", "modelrelay/v1", "modelrelay/run"))
