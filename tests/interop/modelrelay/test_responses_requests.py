"""What callers may say to ``POST /responses``, and the document they get: the contract's sections 3 and 8."""

from __future__ import annotations

from typing import Any, Final

import pytest

from interop.modelrelay.reading import V2, ask, asked, records
from interop.modelrelay.saying import CALLS, PARALLEL
from interop.opper.stage import END, Keyed, Stage, used
from upstream import chunk, sse

CALLED: Final = {"id": "call_a", "type": "function", "function": {"name": "tide", "arguments": '{"a":1}'}}
SPELLINGS: Final = {"TypeScript": ("toolCalls", "toolCallId"), "the others": ("tool_calls", "tool_call_id")}


def item(role: str, *parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts), **members}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize("accept", [V2, ""])
@pytest.mark.parametrize("sdk", SPELLINGS)
def test_a_conversation_with_tools_in_either_spelling(stage: Stage, sdk: str, accept: str) -> None:
    calls, call_id = SPELLINGS[sdk]
    conversation = [
        item("system", text("Be brief.")),
        item("user", text("The tide?")),
        item("assistant", text(""), **{calls: [CALLED]}),
        item("tool", text("Error: no port"), **{call_id: "call_a"}),
    ]
    model = stage.says("High.")
    assert ask(stage.url, {"model": model, "input": conversation}, accept).ended
    [body] = stage.bodies(model)
    system, user, assistant, tool = body["messages"]
    assert (system["role"], system["content"]) == ("system", "Be brief.")
    assert (user["role"], user["content"]) == ("user", "The tide?")
    assert assistant["role"] == "assistant" and not assistant.get("content")
    assert assistant["tool_calls"] == [CALLED]
    assert tool == {"role": "tool", "tool_call_id": "call_a", "content": "Error: no port"}


def test_settings_reach_the_model(stage: Stage) -> None:
    schema = {"type": "object", "properties": {"port": {"type": "string"}}}
    function = {"name": "tide", "description": "Tells it.", "parameters": schema}
    model = stage.says("{}")
    members: dict[str, Any] = {
        "max_output_tokens": 5, "temperature": 0.5, "stop": ["END"],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "required", "function": "tide"},
        "output_format": {"type": "json_schema", "json_schema": {"name": "made", "schema": schema}},
    }  # fmt: skip
    assert ask(stage.url, asked(model, **members)).ended
    [body] = stage.bodies(model)
    assert 5 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert (body["temperature"], body["stop"]) == (0.5, ["END"])
    assert body["tools"][0]["function"].items() >= function.items()
    assert body["tool_choice"] == {"type": "function", "function": {"name": "tide"}}
    described = body["response_format"]["json_schema"]
    assert (described["name"], described["schema"]) == ("made", schema)


@pytest.mark.parametrize("mode", ["auto", "required", "none"])
def test_how_tools_are_chosen(stage: Stage, mode: str) -> None:
    model = stage.says("well")
    tool = {"type": "function", "function": {"name": "tide"}}
    assert ask(stage.url, asked(model, tools=[tool], tool_choice={"type": mode})).ended
    assert stage.bodies(model)[0]["tool_choice"] == mode


def test_what_is_not_known_is_ignored(stage: Stage) -> None:
    model = stage.says("well")
    body = asked(model, reasoning_effort="low", session_id="s", stream=False, unheard_of={"of": None})
    assert records(ask(stage.url, body))[-1]["content"] == "well"
    assert "unheard_of" not in stage.bodies(model)[0]


def test_null_is_as_good_as_absent(stage: Stage) -> None:
    names = ("provider", "state_id", "max_output_tokens", "temperature", "stop", "output_format", "tools")
    body = asked(stage.says("well"), tool_choice=None, **dict.fromkeys(names))
    assert records(ask(stage.url, body))[-1]["content"] == "well"


def test_a_file_reaches_the_model(stage: Stage) -> None:
    model = stage.says("A pixel.")
    file = {"data_base64": "iVBORw0KGgo=", "mime_type": "image/png", "filename": "a.png", "size_bytes": 8}
    body = {"model": model, "input": [item("user", text("What is it?"), {"type": "file", "file": file})]}
    assert ask(stage.url, body).ended
    [asking] = stage.bodies(model)
    assert "data:image/png;base64,iVBORw0KGgo=" in str(asking["messages"])


@pytest.mark.parametrize("accept", [V2, ""])
def test_a_customer_s_call_needs_no_model(stage: Stage, accept: str) -> None:
    body = {"input": [item("user", text("hi"))]}
    answer = ask(stage.url, body, accept, x_modelrelay_customer_id="customer 1")
    said = records(answer)[-1] if accept else answer.json
    assert said["model"] == "house" and b"At home." in answer.body


# -- the document


def test_the_document(stage: Stage) -> None:
    model = stage.plays(sse(chunk("Hel"), chunk("lo"), *END[:1], used(9, 4), *END[1:]))
    answer = ask(stage.url, asked(model), "").json
    usage = answer.pop("usage")
    assert answer == {
        "id": answer["id"], "model": model, "provider": answer["provider"], "stop_reason": "end_turn",
        "output": [item("assistant", text("Hello"))],
    }  # fmt: skip
    assert answer["id"] and answer["provider"]
    assert {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}.items() <= usage.items()
    assert usage["observation_basis"] == "exact" and usage["reasoning_tokens"] == 0


def test_calls_are_in_the_document_in_both_spellings(stage: Stage) -> None:
    answer = ask(stage.url, asked(stage.plays(sse(*PARALLEL))), "application/json").json
    [message] = answer["output"]
    assert message["tool_calls"] == message["toolCalls"] == CALLS
    assert answer["stop_reason"] == "tool_calls"


def test_the_document_is_ascii_without_nulls(stage: Stage) -> None:
    answer = ask(stage.url, asked(stage.plays(sse(chunk("🌊 é"), *PARALLEL))), "")
    assert answer.body.isascii() and b"null" not in answer.body


# -- credentials


@pytest.mark.parametrize("accept", [V2, ""])
@pytest.mark.parametrize("prefix", ["", "mr_sk_"])
@pytest.mark.parametrize("way", ["api key", "bearer", "both", "stranger's token"])
def test_a_key_is_taken_wherever_sdks_put_it(keyed: Keyed, way: str, prefix: str, accept: str) -> None:
    stage, key = keyed.stage, prefix + keyed.writing
    credentials = {
        "api key": {"x_modelrelay_api_key": key},
        "bearer": {"authorization": f"Bearer {key}"},
        "both": {"x_modelrelay_api_key": key, "authorization": f"Bearer {key}"},
        "stranger's token": {"x_modelrelay_api_key": key, "authorization": "Bearer customer-token"},
    }
    answer = ask(stage.url, asked("house"), accept, **credentials[way])
    assert answer.status == 200 and b"At home." in answer.body
