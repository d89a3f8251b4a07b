"""Agents and tools: made, shown, listed, changed and forgotten through the SDKs, and what they then do."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

import pytest

from interop.opper.stage import says
from interop.orq.sdks import User, seen
from interop.orq.stage import House, Keyed, asks, checked, kinds, of, said, spoken_to

NUMBERS: Final = count()
ASKED: Final = "tool.review.requested"


def named(what: str) -> str:
    return f"{what}-{next(NUMBERS)}"


def described(key: str, **more: Any) -> dict[str, Any]:
    """Return the arguments that define an agent."""
    return {
        "key": key, "role": "tester", "description": "For tests.", "instructions": "Go on.",
        "path": "Default/tests", "model": "any", "settings": {}, **more,
    }  # fmt: skip


def a_function(key: str) -> dict[str, Any]:
    """Return the body of a stored function."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {
        "type": "function", "path": "Default/tests", "key": key, "description": "Looks out of the window.",
        "function": {"name": key, "description": "Looks out.", "parameters": parameters},
    }  # fmt: skip


# -- agents


def test_an_agent_s_life(user: User, house: House) -> None:
    key = named("life")
    made = user.ask(house.url, "agents.create", **described(key)).well().value
    assert (made["key"], made["role"], made["instructions"]) == (key, "tester", "Go on.")
    assert made["path"] == "Default/tests" and made["id"] and made["status"] == "live"
    assert made["model"]["id"] == "any" and made["settings"]["tool_approval_required"] == "respect_tool"
    shown = user.ask(house.url, "agents.retrieve", agent_key=key).well().value
    assert (shown["id"], shown["key"], shown["created"]) == (made["id"], key, made["created"])
    change = {"instructions": "Stop.", "settings": {"max_iterations": 3}}
    changed = user.ask(house.url, "agents.update", agent_key=key, **change).well().value
    assert (changed["id"], changed["instructions"], changed["role"]) == (made["id"], "Stop.", "tester")
    assert changed["settings"]["max_iterations"] == 3 and changed["updated"] >= made["updated"]
    page = user.ask(house.url, "agents.list", limit=5).well().value
    assert page["object"] == "list" and page["data"][0]["key"] == key  # the youngest is the first
    assert user.ask(house.url, "agents.delete", agent_key=key).well().value is None
    for call in ("agents.retrieve", "agents.delete"):
        raised = user.ask(house.url, call, agent_key=key).raised
        assert raised.status == 404 and "OrqError" in raised.kinds and key in raised.message


def test_a_key_is_taken_once(user: User, house: House) -> None:
    key = named("once")
    user.ask(house.url, "agents.create", **described(key)).well()
    raised = user.ask(house.url, "agents.create", **described(key, instructions="Stop.")).raised
    assert raised.status == 409 and raised.body["code"] == "409" and "OrqError" in raised.kinds
    assert house.http("GET", f"/v2/agents/{key}").json()["instructions"] == "Go on."


def test_agents_are_listed_in_pages(user: User, house: House) -> None:
    keys = [named("page") for _ in range(3)]
    made = [user.ask(house.url, "agents.create", **described(key)).well().value for key in keys]
    first = user.ask(house.url, "agents.list", limit=2).well().value
    assert [each["key"] for each in first["data"]] == [keys[2], keys[1]] and first["has_more"] is True
    after = {"limit": 1, "starting_after": made[1]["id"]}
    [third] = user.ask(house.url, "agents.list", **after).well().value["data"]
    assert third["key"] == keys[0]
    before = {"limit": 1, "ending_before": made[0]["id"]}
    [second] = user.ask(house.url, "agents.list", **before).well().value["data"]
    assert second["key"] == keys[1]


def test_all_that_an_agent_may_say_comes_back(user: User, house: House) -> None:
    key = named("all")
    more = {
        "display_name": "All of it", "system_prompt": "Be kind.", "memory_stores": ["one"],
        "knowledge_bases": [{"knowledge_id": "k1"}], "team_of_agents": [{"key": "demo", "role": "helper"}],
        "variables": {"camelCase_kept": 1},
        "model": {"id": "first", "parameters": {"temperature": 0.5}},
        "fallback_models": ["second"],
        "settings": {"max_iterations": 4, "max_execution_time": 30, "tool_approval_required": "all"},
    }  # fmt: skip
    user.ask(house.url, "agents.create", **described(key, **more)).well()
    shown = user.ask(house.url, "agents.retrieve", agent_key=key).well().value
    for name in ("display_name", "system_prompt", "memory_stores", "variables"):
        assert shown[name] == more[name], name
    assert shown["knowledge_bases"][0]["knowledge_id"] == "k1" and shown["team_of_agents"][0]["key"] == "demo"
    settings = {"max_iterations": 4, "max_execution_time": 30, "tool_approval_required": "all"}
    assert {name: shown["settings"][name] for name in settings} == settings
    assert shown["model"]["id"] == "first" and shown["model"]["fallback_models"] == ["second"]


def test_the_program_s_own_agent_is_shown(user: User, house: House) -> None:
    shown = user.ask(house.url, "agents.retrieve", agent_key="demo").well().value
    assert [tool["key"] for tool in shown["settings"]["tools"]] == [
        "roll_dice",
        "send_postcard",
        "get_weather",
    ]


def test_an_agent_that_was_changed_answers_so(user: User, house: House) -> None:
    """A task keeps the settings that it was begun with, as a human may have approved of them."""
    model = house.stage.plays(says("One."), says("Two."), says("Three."))
    agent = house.agent(model=model)
    asked = {"agent_key": agent, "message": said("Go on")}
    task = user.ask(house.url, "agents.responses.create", **asked).well().value["task_id"]
    user.ask(house.url, "agents.update", agent_key=agent, instructions="Stop.").well()
    user.ask(house.url, "agents.responses.create", **asked).well()
    user.ask(house.url, "agents.responses.create", task_id=task, **asked).well()
    told = [body["messages"][0]["content"] for body in house.stage.bodies(model)]
    assert told == ["Go on.", "Stop.", "Go on."]


# -- which calls a human is asked about


@pytest.mark.parametrize(
    ("policy", "asked"),
    [("all", ["free", "guarded"]), ("respect_tool", ["guarded"]), ("none", []), (None, ["guarded"])],
)
def test_the_policy_decides_what_is_reviewed(
    user: User, house: House, policy: str | None, asked: list[str]
) -> None:
    """As an agent that was defined through the SDK has it; the default respects the tools."""
    names = {each: named(each) for each in ("free", "guarded")}
    key, model = (
        named("policy"),
        house.stage.plays(asks(*((name, {}) for name in names.values())), says("Well.")),
    )
    entries = [
        {"type": "http", "id": house.tool(name), "requires_approval": each == "guarded"}
        for each, name in names.items()
    ]
    settings = {} if policy is None else {"tool_approval_required": policy}
    loses = user.release == "4.4"  # the keys and ids of tools, says section 8 of the contract
    made = described(key, model=model, settings=settings if loses else {**settings, "tools": entries})
    user.ask(house.url, "agents.create", **made).well()
    if loses:
        house.http("PATCH", f"/v2/agents/{key}", json={"settings": {"tools": entries}}).raise_for_status()
    answer = user.begin(
        house.url,
        "agents.responses.create",
        agent_key=key,
        message=said("Go on"),
        stream=True,
        take=1 + bool(asked),
    )
    task = of(seen(answer).well().events, "response.started")["task_id"]
    if asked:
        house.until_asked(key, task)
    waiting = [each for each in house.actions(key, task) if each["tool"]["requires_approval"]]
    assert [each["tool"]["id"] for each in waiting] == [names[each] for each in asked]
    for each in waiting:
        house.review(key, task, each["_id"], "approved").raise_for_status()
    events = checked(seen(house.attached(user, key, task)).well().events)
    assert kinds(events).count("tool.done") == 2 and spoken_to(events) == "Well."


# -- tools


def test_a_tool_s_life(user: User, house: House) -> None:
    key = named("window").replace("-", "_")
    made = user.ask(house.url, "tools.create", request=a_function(key)).well().value
    assert (made["key"], made["type"], made["path"]) == (key, "function", "Default/tests")
    assert made["function"]["name"] == key and made["function"]["parameters"]["required"] == ["city"]
    shown = user.ask(house.url, "tools.retrieve", tool_id=made["id"]).well().value
    assert (shown["id"], shown["key"], shown["created"]) == (made["id"], key, made["created"])
    change = {"type": "function", "description": "Looks harder.", "path": "Default/tests", "key": key}
    changed = user.ask(house.url, "tools.update", tool_id=made["id"], request_body=change).well().value
    assert changed["description"] == "Looks harder." and changed["function"] == shown["function"]
    page = user.ask(house.url, "tools.list", limit=5).well().value
    assert page["data"][0]["key"] == key
    user.ask(house.url, "tools.delete", tool_id=made["id"]).well()
    assert user.ask(house.url, "tools.retrieve", tool_id=made["id"]).raised.status == 404


def test_a_stored_tool_is_an_agent_s(user: User, house: House) -> None:
    """Named by its key: a function is asked of the caller, who goes on in the same task."""
    name = named("lookout").replace("-", "_")
    user.ask(house.url, "tools.create", request=a_function(name)).well()
    model = house.stage.plays(asks((name, {"city": "Bergen"})), says("It rains."))
    agent = house.agent(model=model, tools=[{"type": "function", "key": name}])
    asked = {"agent_key": agent, "message": said("Go on"), "stream": True}
    events = checked(user.ask(house.url, "agents.responses.create", **asked).well().events)
    [pending] = of(events, "response.done")["pending_tool_calls"]
    assert pending["function"]["name"] == name
    [told] = house.stage.bodies(model)[0]["tools"]
    assert told["function"]["name"] == name and told["function"]["parameters"]["required"] == ["city"]


def test_an_http_tool_is_stored_and_run(user: User, house: House) -> None:
    """What the model is not told of is the definition's to say."""
    key = named("probe").replace("-", "_")
    body = {
        "type": "http", "path": "Default", "key": key, "description": "Measures.",
        "http": {
            "blueprint": {
                "url": f"{house.workshop.url}/{key}", "method": "POST", "headers": {"x-one": "1"},
                "body": {"depth": "{{depth}}", "unit": "{{unit}}"},
            },
            "arguments": {
                "depth": {"type": "number", "description": "How deep."},
                "unit": {"type": "string", "description": "", "send_to_model": False, "default_value": "m"},
            },
        },
    }  # fmt: skip
    made = user.ask(house.url, "tools.create", request=body).well().value
    assert made["type"] == "http" and made["http"]["blueprint"]["method"] == "POST"
    model = house.stage.plays(asks((key, {"depth": 7})), says("Seven."))
    agent = house.agent(model=model, tools=[{"type": "http", "id": made["id"]}])
    asked = {"agent_key": agent, "message": said("Go on"), "stream": True}
    events = checked(user.ask(house.url, "agents.responses.create", **asked).well().events)
    [job] = house.workshop.of(f"/{key}")
    assert job.body == {"depth": 7, "unit": "m"} and of(events, "tool.done")["result"] == {"done": job.body}
    [told] = house.stage.bodies(model)[0]["tools"]
    assert list(told["function"]["parameters"]["properties"]) == ["depth"]


# -- who may define


def test_defining_takes_the_scope_admin(user: User, keyed: Keyed) -> None:
    """Whoever defines an agent says what it may do without asking anybody."""
    house, key = keyed.house, named("keyed")
    for asking in (keyed.asking, keyed.trusted):
        for call, arguments in {
            "agents.create": described(key),
            "agents.update": {"agent_key": "demo", "instructions": "Stop."},
            "agents.delete": {"agent_key": "demo"},
            "tools.create": {"request": a_function(key.replace("-", "_"))},
        }.items():
            raised = user.ask(house.url, call, api_key=asking, **arguments).raised
            assert raised.status == 403 and "OrqError" in raised.kinds, call
    user.ask(house.url, "agents.create", api_key=keyed.defining, **described(key)).well()
    for call in ("agents.list", "tools.list"):
        user.ask(house.url, call, api_key=keyed.asking).well()
    assert (
        user.ask(house.url, "agents.retrieve", api_key=keyed.asking, agent_key=key).well().value["key"] == key
    )
