"""Bodies that begin a turn, decide a review, make a tool or an agent: sections 3, 6 and 8 of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec import UNSET, convert, to_builtins
from msgspec.structs import replace

from penstock.agents import Agent, Revision
from penstock.calls import Call
from penstock.dialects import orq
from penstock.engine.tools.endpoint import endpoint
from penstock.errors import RequestError
from penstock.events import (
    DataPart,
    FilePart,
    MessageAdded,
    ReviewRequested,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.requests import Candidate, Decide, Tool

# -- section 3: a turn


def body(*parts: Any, role: str = "user", **members: Any) -> dict[str, Any]:
    return {"message": {"role": role, "parts": list(parts)}, "background": False, "stream": False, **members}


HI = {"kind": "text", "text": "hi"}
RESULT = {"kind": "tool_result", "tool_call_id": "call_1", "result": {"temp": 1}}


def test_a_captured_turn() -> None:
    captured = (
        '{"message":{"role":"tool","parts":[{"kind":"tool_result","tool_call_id":"call_1","result":{"temp":1}}]},'
        '"task_id":"task_9","background":false,"stream":true}'
    )
    results = MessageAdded("tool", (ToolResultPart("call_1", {"temp": 1}),))
    assert orq.read_turn(json.loads(captured)) == ((results,), "task_9", True, False, {}, "", {})


PARTS: list[tuple[dict[str, Any], Any]] = [
    (HI, TextPart("hi")),
    ({"kind": "text", "text": ""}, TextPart("")),
    ({"kind": "file", "file": {"bytes": "AA==", "mimeType": "image/png", "name": "a"}},
     FilePart("image/png", data="AA==", name="a")),
    ({"kind": "file", "file": {"uri": "https://a.example"}, "metadata": {"x": 1}},
     FilePart(url="https://a.example", extra={"metadata": {"x": 1}})),
    ({"kind": "error", "error": "no"}, DataPart({"error": "no"})),
    ({"kind": "error", "error": "no", "code": 404}, DataPart({"error": "no", "code": 404})),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "part"), PARTS)
def test_parts(raw: dict[str, Any], part: Any) -> None:
    assert orq.read_turn(body(raw)).messages == (MessageAdded("user", (part,)),)


def test_a_message_without_parts_is_none() -> None:
    for role in ("user", "tool"):
        assert orq.read_turn(body(role=role)).messages == ()


def test_a_result_that_is_missing_is_null() -> None:
    raw = {"kind": "tool_result", "tool_call_id": "c", "metadata": {"x": 1}}
    [message] = orq.read_turn(body(raw, role="tool")).messages
    assert message.parts == (ToolResultPart("c", None, {"metadata": {"x": 1}}),)


def test_results_come_before_what_is_said_beside_them() -> None:
    mixed = body(HI, RESULT)
    mixed["message"]["messageId"] = "m_1"
    assert orq.read_turn(mixed).messages == (
        MessageAdded("tool", (ToolResultPart("call_1", {"temp": 1}),)),
        MessageAdded("user", (TextPart("hi"),), "m_1"),
    )


def test_what_else_a_body_may_say() -> None:
    said = {
        "variables": {"port": "Brest"}, "engine": "mustache", "thread": {"id": "t", "tags": ["a"]},
        "memory": {"entity_id": "e"}, "metadata": {"x": 1}, "configuration": {"blocking": True},
        "conversation": {"id": "c"}, "task_id": None, "unheard_of": 1,
    }  # fmt: skip
    turn = orq.read_turn({**body(HI), **said, "contact": {"id": "ada"}, "background": True})
    assert (turn.variables, turn.engine, turn.task_id, turn.background) == (
        {"port": "Brest"},
        "mustache",
        "",
        True,
    )
    kept = ("thread", "memory", "metadata", "configuration", "conversation")
    assert turn.extra == {"identity": {"id": "ada"}, **{key: said[key] for key in kept}}
    both = orq.read_turn(body(HI, contact={"id": "old"}, identity={"id": "new"}))
    assert both.extra == {"identity": {"id": "new"}}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "message"),
        ({"message": "hi"}, "message"),
        ({"message": {"parts": []}}, "message.role"),
        ({"message": {"role": "agent", "parts": []}}, "message.role"),
        ({"message": {"role": "user"}}, "message.parts"),
        ({"message": {"role": "user", "parts": ["hi"]}}, "message.parts[0]"),
        (body({}), "message.parts[0].kind"),
        (body(HI, {"kind": "reasoning", "reasoning": "x"}), "message.parts[1].kind"),
        (body({"kind": "text"}), "message.parts[0].text"),
        (body({"kind": "file", "file": {}}), "message.parts[0].file"),
        (body({"kind": "file", "file": {"uri": "u", "bytes": "AA"}}), "message.parts[0].file"),
        (body({"kind": "file", "file": {"uri": 1}}), "message.parts[0].file.uri"),
        (body({"kind": "error", "error": "x", "code": "1"}), "message.parts[0].code"),
        (body({"kind": "tool_result"}, role="tool"), "message.parts[0].tool_call_id"),
        (body({"kind": "tool_result", "tool_call_id": ""}, role="tool"), "message.parts[0].tool_call_id"),
        (body(RESULT, HI, role="tool"), "message.parts[1].kind"),
        (body(HI, stream="yes"), "stream"),
        (body(HI, task_id=1), "task_id"),
        (body(HI, variables=[]), "variables"),
        (body(HI, engine="erb"), "engine"),
        (body(HI, identity={"email": "x"}), "identity.id"),
        (body(HI, memory={"id": "x"}), "memory.entity_id"),
        (body(HI, metadata="x"), "metadata"),
    ],
)
def test_what_is_wrong_in_a_turn_is_named(wrong: dict[str, Any], field: str) -> None:
    assert refused(orq.read_turn, wrong) == field


def refused(read: Callable[..., object], *args: Any) -> str | None:
    with pytest.raises(RequestError) as caught:
        read(*args)
    assert caught.value.status == 400
    return caught.value.field


# -- templates

VALUES = {"name": "Ada", "user": {"age": 36, "ports": ["Brest", {"x": None}]}, "odd": "{{name}}", "a.b": True,
          "naïve": "é"}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hi {{name}}, {{ name }}, {{{name}}}, {{{ name }}}.", "Hi Ada, Ada, Ada, Ada."),
        ("{{user.age}} {{user.ports}}", '36 ["Brest",{"x":null}]'),
        ("{{user.ports.0}} {{user.ports.1.x}}|", "Brest |"),
        ("{{odd}}", "{{name}}"),
        ("{{a.b}} {{naïve}}", "true é"),
        ("{{who}} {{user.who}} {{user.ports.7}} {{name.x}}", None),
        ("{name} {{}} {{ }} {{name {{#user}} {{/user}} {{> name}} {{&name}}", None),
        ("{{ name | upper }} {{ name.upper() }} {{ 1 + 1 }} {% if name %} {{user['age']}}", None),
        ("{{user.__class__}} {{name.__len__}} {{ports.-1}}", None),
        ("{{{name}} {{name}}}", "{Ada Ada}"),
    ],
)
@pytest.mark.parametrize("engine", ["text", "jinja", "mustache"])
def test_names_are_filled_in_and_nothing_is_run(template: str, text: str | None, engine: str) -> None:
    assert orq.rendered(template, VALUES, engine) == (template if text is None else text)


# -- section 6: a review

CALL = Call(ToolCallPart("call_3", "refund"), review=ReviewRequested("call_3", "refund", "d"))


def test_reviews() -> None:
    assert orq.read_review({"review": "rejected"}, CALL) == Decide("call_3", "rejected", "d")
    mocked = {"review": "approved", "mock_output": {"paid": 0}, "source": "ada"}
    assert orq.read_review(mocked, CALL) == Decide("call_3", "approved", "d", "ada", {"paid": 0})
    assert orq.read_review({"review": "approved", "mock_output": None}, CALL).output is UNSET


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "review"),
        ({"review": "maybe"}, "review"),
        ({"review": "approved", "mock_output": "x"}, "mock_output"),
        ({"review": "rejected", "mock_output": {}}, "mock_output"),
        ({"review": "approved", "source": 1}, "source"),
    ],
)
def test_what_is_wrong_in_a_review_is_named(wrong: dict[str, Any], field: str) -> None:
    assert refused(orq.read_review, wrong, CALL) == field


# -- section 8: tools

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: dict[str, Any] = {
    "path": "Default", "key": "get_weather", "description": "The weather", "type": "function",
    "function": {"name": "get_weather", "strict": True, "parameters": PARAMETERS},
}  # fmt: skip
HTTP: dict[str, Any] = {
    "path": "Default", "key": "tide.now", "display_name": "Tide", "description": "The tide", "type": "http",
    "status": "live",
    "http": {
        "blueprint": {"url": "https://tides.example/{{port}}", "method": "POST", "timeout": 5,
                      "headers": {"X-Key": {"value": "k"}, "Accept": "text/plain"},
                      "body": {"p": "{{port}}"}},
        "arguments": {
            "port": {"type": "string", "description": "Which port"},
            "unit": {"type": "string", "description": "", "default_value": "m"},
            "token": {"type": "string", "description": "", "send_to_model": False, "default_value": "t"},
        },
    },
}  # fmt: skip
WEATHER = Tool("get_weather", "The weather", PARAMETERS, True)
TIDE = Tool(
    "tide.now",
    "The tide",
    {"type": "object",
     "properties": {"port": {"type": "string", "description": "Which port"},
                    "unit": {"type": "string", "default": "m"}},
     "required": ["port", "unit"]},
    runner="http",
    setup={"method": "POST", "url": "https://tides.example/{{port}}",
           "headers": {"X-Key": "k", "Accept": "text/plain"}, "body": {"p": "{{port}}", "token": "t"}},
    max_time=5,
)  # fmt: skip


def test_stored_tools() -> None:
    assert orq.read_tool(FUNCTION) == WEATHER
    assert orq.read_tool(HTTP) == TIDE


def test_stored_tools_are_given_back() -> None:
    written = orq.write_tool(FUNCTION, "i-d", 0, 1.5)
    assert written == {
        **FUNCTION, "_id": "i-d", "status": "live", "project_id": "default", "workspace_id": "default",
        "created": "1970-01-01T00:00:00.000Z", "updated": "1970-01-01T00:00:01.500Z",
    }  # fmt: skip
    http = orq.write_tool(HTTP, "i-d", 0, 0)["http"]
    assert http["blueprint"]["headers"]["X-Key"] == {"value": "k", "encrypted": False}
    assert http["arguments"]["port"]["send_to_model"] is True
    assert orq.read_tool({**HTTP, "http": http}) == TIDE


def test_what_the_model_is_not_told_is_in_its_place() -> None:
    arguments = {
        name: {"type": "string", "description": "", "send_to_model": False, "default_value": value}
        for name, value in {"n": 7, "t": "é", "rest": True}.items()
    }
    drawn = {"url": "https://a.example/{{n}}/{{who}}", "method": "GET", "headers": {"X": "{{ t }} {{n}}"},
             "body": {"n": "{{n}}", "deep": [{"t": "{{t}}!"}, "{{who}}", None]}}  # fmt: skip
    told = {"who": {"type": "string", "description": "Who"}}
    tool = orq.read_tool({**HTTP, "http": {"blueprint": drawn, "arguments": {**arguments, **told}}})
    assert tool.setup == {
        "method": "GET", "url": "https://a.example/7/{{who}}", "headers": {"X": "é 7"},
        "body": {"n": 7, "deep": [{"t": "é!"}, "{{who}}", None]}, "query": {"rest": True},
    }  # fmt: skip
    assert tool.parameters == {"type": "object", "properties": {"who": told["who"]}, "required": ["who"]}


def test_what_is_read_can_be_run() -> None:
    for tool in (TIDE, orq.read_tool(http(method="GET", headers=None, body=None, timeout=None))):
        endpoint(tool.setup)


def test_a_patched_tool() -> None:
    changed = orq.patched_tool(FUNCTION, {"description": "Rain?", "display_name": None, "type": "function"})
    assert changed == {**FUNCTION, "description": "Rain?"}
    assert refused(orq.patched_tool, FUNCTION, {"type": "http"}) == "type"
    assert refused(orq.patched_tool, FUNCTION, {"key": "a b"}) == "key"


def http(**blueprint: Any) -> dict[str, Any]:
    return {**HTTP, "http": {"blueprint": {**HTTP["http"]["blueprint"], **blueprint}}}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({**FUNCTION, "path": None}, "path"),
        ({**FUNCTION, "key": "a/b"}, "key"),
        ({**FUNCTION, "description": ""}, "description"),
        ({**FUNCTION, "type": None}, "type"),
        ({**FUNCTION, "type": "code"}, "type"),
        ({**FUNCTION, "type": "mcp"}, "type"),
        ({**FUNCTION, "function": None}, "function"),
        ({**FUNCTION, "function": {"parameters": []}}, "function.parameters"),
        ({**HTTP, "http": {}}, "http.blueprint"),
        (http(url=""), "http.blueprint.url"),
        (http(method="BREW"), "http.blueprint.method"),
        (http(headers={"X": 1}), "http.blueprint.headers.X"),
        (http(headers={"X": {}}), "http.blueprint.headers.X.value"),
        (http(timeout=0), "http.blueprint.timeout"),
        ({**HTTP, "http": {**HTTP["http"], "arguments": {"a": 1}}}, "http.arguments.a"),
        (
            {**HTTP, "http": {**HTTP["http"], "arguments": {"a": {"send_to_model": False}}}},
            "http.arguments.a.default_value",
        ),
    ],
)
def test_what_is_wrong_in_a_tool_is_named(wrong: dict[str, Any], field: str) -> None:
    assert refused(orq.read_tool, wrong) == field


# -- section 8: agents

ROUTE = Tool("maps_route", "A route", PARAMETERS, runner="mcp", setup={"server": "maps", "tool": "route"})
KNOWN = {"get_weather": WEATHER, "tool_1": WEATHER, "tide.now": TIDE, "maps/route": ROUTE}
CREATE: dict[str, Any] = {
    "key": "harbour.master_1", "role": "Harbour master", "description": "Knows the sea",
    "instructions": "Answer {{name}}.", "path": "Default/agents", "model": "builtin/echo",
    "settings": {"max_iterations": 5, "max_execution_time": 30, "tool_approval_required": "all", "tools": [
        {"type": "function", "key": "get_weather", "requires_approval": True},
        {"type": "http", "key": "tide.now", "requires_approval": False, "timeout": 2},
        {"type": "mcp", "tool_id": "maps", "key": "route"},
    ]},
}  # fmt: skip
MADE = Agent(
    "harbour.master_1",
    "Knows the sea",
    "Answer {{name}}.",
    (Candidate("builtin/echo"),),
    tools=(
        replace(WEATHER, needs_review=True),
        replace(TIDE, max_time=2),
        ROUTE,
    ),
    review="all",
    max_iterations=5,
    max_time=30,
    extra={
        "orq": {"role": "Harbour master", "path": "Default/agents", "model": "builtin/echo", "settings": {}}
    },
)


def make(**changes: Any) -> Agent:
    return orq.read_agent({**CREATE, **changes}, KNOWN)


def test_an_agent() -> None:
    assert make() == MADE
    assert make(unheard_of=[1]).extra == {"orq": {**orq.kept(MADE), "unheard_of": [1]}}


def test_defaults_of_an_agent() -> None:
    agent = make(settings={})
    assert (agent.review, agent.max_iterations, agent.max_time, agent.tools) == (
        "respect_tool",
        UNSET,
        UNSET,
        (),
    )


def test_a_tool_of_an_mcp_server_is_described_where_it_is_known() -> None:
    assert list(orq.servers(CREATE)) == ["maps"]
    asks = replace(ROUTE, needs_review=True)
    assert orq.read_agent(CREATE, {**KNOWN, "maps/route": asks}).tools[2] == asks, "it need not be said twice"
    with pytest.raises(RequestError, match="no MCP server 'maps' with a tool 'route'"):
        orq.read_agent(CREATE, {"get_weather": WEATHER, "tide.now": TIDE, "other/route": ROUTE})


@pytest.mark.parametrize(
    "settings", [None, [], {}, {"tools": {}}, {"tools": [1, {"type": "mcp"}, {"tool_id": "x"}]}]
)
def test_a_body_that_names_no_mcp_server(settings: Any) -> None:
    assert list(orq.servers({"settings": settings})) == []


def test_tools_described_on_the_spot() -> None:
    inline = {
        "type": "function",
        "key": "f",
        "function": {"name": "g", "description": "d", "parameters": PARAMETERS},
    }
    by_id = {"type": "function", "id": "tool_1"}
    agent = make(settings={"tools": [inline, by_id, {**HTTP, "key": "here", "requires_approval": True}]})
    assert agent.tools == (
        Tool("g", "d", PARAMETERS), WEATHER, replace(TIDE, name="here", needs_review=True),
    )  # fmt: skip


RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "seat", "schema": PARAMETERS}}
MODEL = {
    "id": "a", "retry": {"count": 2},
    "parameters": {"temperature": 0, "max_tokens": None, "cache": {"type": "exact_match"},
                   "response_format": RESPONSE_FORMAT},
}  # fmt: skip


def test_models() -> None:
    agent = make(model=MODEL, fallback_models=["b", {"id": "c", "parameters": {"top_p": 1}}])
    assert agent.models == (Candidate("a", {"temperature": 0}), Candidate("b"), Candidate("c", {"top_p": 1}))
    assert agent.output_schema == PARAMETERS
    assert make(model={**MODEL, "fallback_models": ["d"]}).models[1:] == (Candidate("d"),)
    text = {"id": "a", "parameters": {"response_format": {"type": "text"}}}
    assert make(model=text).output_schema is UNSET
    text["parameters"] = {"response_format": {"type": "json_object"}}
    assert make(model=text).output_schema == {}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"key": None}, "key"),
        ({"key": "a b"}, "key"),
        ({"key": "a/b"}, "key"),
        ({"role": None}, "role"),
        ({"instructions": 1}, "instructions"),
        ({"path": None}, "path"),
        ({"model": None}, "model"),
        ({"model": {"parameters": {}}}, "model.id"),
        ({"model": {"id": "a", "parameters": {"messages": []}}}, "model.parameters"),
        (
            {"model": {"id": "a", "parameters": {"response_format": {"type": "xml"}}}},
            "model.parameters.response_format.type",
        ),
        ({"fallback_models": [1]}, "fallback_models[0]"),
        ({"model": {"id": "a", "fallback_models": [{}]}}, "model.fallback_models[0].id"),
        ({"settings": None}, "settings"),
        ({"settings": {"max_iterations": 0}}, "settings.max_iterations"),
        ({"settings": {"max_iterations": 1.5}}, "settings.max_iterations"),
        ({"settings": {"max_execution_time": 0}}, "settings.max_execution_time"),
        ({"settings": {"tool_approval_required": "some"}}, "settings.tool_approval_required"),
        ({"settings": {"guardrails": [{"id": "x"}]}}, "settings.guardrails[0].execute_on"),
        (
            {"settings": {"guardrails": [{"id": "x", "execute_on": "both"}]}},
            "settings.guardrails[0].execute_on",
        ),
        ({"settings": {"tools": [{}]}}, "settings.tools[0].type"),
        ({"settings": {"tools": [{"type": "google_search"}]}}, "settings.tools[0].type"),
        ({"settings": {"tools": [{"type": "current_date"}]}}, "settings.tools[0].type"),
        ({"settings": {"tools": [{"type": "code", "key": "x"}]}}, "settings.tools[0].type"),
        ({"settings": {"tools": [{"type": "function"}]}}, "settings.tools[0].key"),
        ({"settings": {"tools": [{"type": "function", "key": "nope"}]}}, "settings.tools[0].key"),
        ({"settings": {"tools": [{"type": "http", "key": "get_weather"}]}}, "settings.tools[0].key"),
        ({"settings": {"tools": [{"type": "mcp", "key": "x"}]}}, "settings.tools[0].tool_id"),
        (
            {"settings": {"tools": [{"type": "function", "key": "x", "function": 1}]}},
            "settings.tools[0].function",
        ),
        ({"settings": {"tools": [{"type": "function", "key": "get_weather"}] * 2}}, "settings.tools[1].key"),
        (
            {"settings": {"tools": [{"type": "http", "key": "tide.now", "timeout": "x"}]}},
            "settings.tools[0].timeout",
        ),
        ({"memory_stores": [1]}, "memory_stores[0]"),
        ({"team_of_agents": [{}]}, "team_of_agents[0].key"),
        ({"knowledge_bases": [{"id": "x"}]}, "knowledge_bases[0].knowledge_id"),
        ({"engine": "erb"}, "engine"),
        ({"source": "elsewhere"}, "source"),
    ],
)
def test_what_is_wrong_in_an_agent_is_named(wrong: dict[str, Any], field: str) -> None:
    assert refused(make_from, {**CREATE, **wrong}) == field


def make_from(given: Mapping[str, Any]) -> Agent:
    return orq.read_agent(given, KNOWN)


def test_a_type_that_is_not_run_is_told() -> None:
    with pytest.raises(RequestError, match="this server does not run tools of the type 'web_scraper'"):
        make(settings={"tools": [{"type": "web_scraper"}]})


# -- a patch


@pytest.mark.parametrize(
    ("patch", "changes"),
    [
        ({}, {}),
        ({"description": None, "version_increment": "minor"}, {}),
        ({"key": "other"}, {"name": "other"}),
        ({"instructions": ""}, {"instructions": ""}),
        ({"settings": {"max_iterations": 7}}, {"max_iterations": 7}),
        ({"settings": {"tools": []}}, {"tools": ()}),
        ({"settings": {"tool_approval_required": "none", "tools": None}}, {"review": "none"}),
        ({"model": "b"}, {"models": (Candidate("b"),), "extra": {"orq": {**orq.kept(MADE), "model": "b"}}}),
        ({"fallback_models": ["b"]},
         {"models": (Candidate("builtin/echo"), Candidate("b")),
          "extra": {"orq": {**orq.kept(MADE), "fallback_models": ["b"]}}}),
        ({"role": "Pilot"}, {"extra": {"orq": {**orq.kept(MADE), "role": "Pilot"}}}),
        ({"settings": {"max_cost": 1}}, {"extra": {"orq": {**orq.kept(MADE), "settings": {"max_cost": 1}}}}),
    ],
)  # fmt: skip
def test_a_patch_changes_what_it_names(patch: dict[str, Any], changes: dict[str, Any]) -> None:
    assert orq.patched(MADE, patch, {}) == replace(MADE, **changes)


def test_models_that_were_changed_elsewhere_stay_until_a_patch_names_them() -> None:
    agent = replace(MADE, models=(Candidate("other"),))
    assert orq.patched(agent, {"role": "Pilot"}, {}).models == (Candidate("other"),)
    assert orq.patched(agent, {"model": "third"}, {}).models == (Candidate("third"),)


def test_a_patch_of_an_agent_that_was_made_elsewhere() -> None:
    agent = Agent("a/b", models=(Candidate("m", {"x": 1}),), extra={"opper": 1})
    changed = orq.patched(agent, {"fallback_models": ["n"], "display_name": "A"}, {})
    assert changed.name == "a/b" and changed.models == (Candidate("m", {"x": 1}), Candidate("n"))
    assert changed.extra == {
        "opper": 1, "orq": {"fallback_models": ["n"], "display_name": "A", "settings": {}},
    }  # fmt: skip
    assert refused(orq.patched, agent, {"key": "a/c"}, {}) == "key"


# -- an agent, written


def revision(agent: Agent) -> Revision:
    return Revision("i-d", "r-d", 2, 0, 1.5, convert(json.loads(json.dumps(to_builtins(agent))), Agent))


def entry(key: str, action_type: str, description: str, *, approval: bool = False) -> dict[str, Any]:
    return {"id": key, "key": key, "action_type": action_type, "display_name": key,
            "description": description, "requires_approval": approval, "conditions": []}  # fmt: skip


def test_an_agent_is_given_back_as_it_was_made() -> None:
    kept = {"system_prompt": "Be brief.", "variables": {"name": "x"}, "team_of_agents": [{"key": "pilot"}],
            "engine": "mustache", "skills": None}  # fmt: skip
    agent = make(**kept, model=MODEL, fallback_models=["b"], settings={**CREATE["settings"], "max_cost": 1})
    assert orq.write_agent(revision(agent)) == {
        "_id": "i-d", "key": "harbour.master_1", "display_name": "harbour.master_1",
        "workspace_id": "default", "project_id": "default", "created": "1970-01-01T00:00:00.000Z",
        "updated": "1970-01-01T00:00:01.500Z", "created_by_id": None, "updated_by_id": None,
        "status": "live", "version": "2", "role": "Harbour master", "type": "internal",
        "description": "Knows the sea", "instructions": "Answer {{name}}.", "system_prompt": "Be brief.",
        "path": "Default/agents", "memory_stores": [], "team_of_agents": [{"key": "pilot"}], "skills": [],
        "knowledge_bases": [], "variables": {"name": "x"}, "metrics": {"total_cost": 0}, "source": "internal",
        "engine": "mustache",
        "model": {**MODEL, "integration_id": None, "fallback_models": ["b"]},
        "settings": {
            "max_iterations": 5, "max_execution_time": 30, "max_cost": 1, "tool_approval_required": "all",
            "evaluators": [], "guardrails": [],
            "tools": [entry("get_weather", "function", "The weather", approval=True),
                      entry("tide.now", "http", "The tide"), entry("maps_route", "mcp", "A route")],
        },
    }  # fmt: skip


def test_null_is_only_where_every_sdk_accepts_it() -> None:
    for agent in (
        make(),
        Agent("t"),
        Agent("t", models=(Candidate("a", {"x": 1}), Candidate("b")), max_time=1.5),
    ):
        written = orq.write_agent(revision(agent))
        assert {key for key, value in written.items() if value is None} == {"created_by_id", "updated_by_id"}
        assert {key for key, value in written["model"].items() if value is None} <= {
            "integration_id", "fallback_models",
        }  # fmt: skip
        assert all(type(written["settings"][key]) is int for key in ("max_iterations", "max_execution_time"))
    assert written["model"]["fallback_models"] == [{"id": "b", "parameters": {}}]
