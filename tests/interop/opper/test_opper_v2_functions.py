"""Stored functions, as the SDKs of v2 make, change, list and call them, by id and by revision."""

from __future__ import annotations

import json
import re
from itertools import count
from typing import Any, Final
from urllib.parse import quote

import pytest

from interop.opper.leaves import exact
from interop.opper.sdks import V2, Seen
from interop.opper.stage import Stage
from interop.opper.values import VALUES

NUMBERS: Final = count()
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
SCHEMA: Final = {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]}


@pytest.fixture
def name() -> str:
    """A name that no other function has."""
    return f"function_{next(NUMBERS)}"


def create(v2: V2, stage: Stage, name: str, **members: Any) -> dict[str, Any]:
    members = {"instructions": "Greet", **members}
    function: dict[str, Any] = v2.ask(stage.url, "functions.create", name=name, **members).well().value
    return function


def joined(seen: Seen) -> str:
    return "".join(event["data"].get("delta", "") for event in seen.well().events)


def instructions(stage: Stage, model: str) -> list[str]:
    """Return what the model was told before anything else, request by request."""
    return [body["messages"][0]["content"] for body in stage.bodies(model)]


# -- the life of a function


def test_what_is_created_is_there(v2: V2, stage: Stage, name: str) -> None:
    told = {"instructions": "Greet", "description": "Greets", "input_schema": SCHEMA, "output_schema": SCHEMA}
    made = create(v2, stage, name, **told, model="some-model")
    assert made["name"] == name and made["id"] and made["revision_id"]
    assert {key: made[key] for key in told} == told and made["model"] == "some-model"
    assert v2.ask(stage.url, "functions.get", function_id=made["id"]).well().value == made
    assert v2.ask(stage.url, "functions.get_by_name", name=name).well().value == made
    ids = {"function_id": made["id"], "revision_id": made["revision_id"]}
    assert v2.ask(stage.url, "functions.get_by_revision", **ids).well().value == made


@pytest.mark.parametrize(
    "model",
    [
        "one",
        {"name": "one", "options": {"temperature": 0.5}},
        ["one", "two"],
        ["one", {"name": "two", "options": {"top_p": 1}}],
    ],
    ids=["name", "with options", "chain", "mixed chain"],
)
def test_a_model_comes_back_as_it_was_given(v2: V2, stage: Stage, name: str, model: Any) -> None:
    made = create(v2, stage, name, model=model)
    assert _without_unset(made["model"]) == model
    listed = v2.ask(stage.url, "functions.list", name=name).well().value["data"][0]
    assert _without_unset(listed["model"]) == model


def _without_unset(model: Any) -> Any:
    """Return a model without the members that SDKs add as nulls."""
    match model:
        case dict():
            return {key: value for key, value in model.items() if value is not None}
        case list():
            return [_without_unset(each) for each in model]
        case _:
            return model


def test_a_name_is_taken_once(v2: V2, stage: Stage, name: str) -> None:
    create(v2, stage, name)
    raised = v2.ask(stage.url, "functions.create", name=name, instructions="Again").raised
    assert (raised.kind, raised.status) == ("ConflictError", 409)
    assert raised.told["type"] == "ConflictError" and name in raised.told["message"]
    assert raised.told["detail"]["code"] == "agent_exists"


def test_a_change_is_a_revision(v2: V2, stage: Stage, name: str) -> None:
    made = create(v2, stage, name, description="Greets", output_schema=SCHEMA)
    ids = {"function_id": made["id"]}
    changed = v2.ask(stage.url, "functions.update", **ids, instructions="Say goodbye").well().value
    assert changed["revision_id"] != made["revision_id"] and changed["id"] == made["id"]
    assert (changed["instructions"], changed["description"]) == ("Say goodbye", "Greets")
    assert changed["output_schema"] == SCHEMA
    revisions = v2.ask(stage.url, "functions.revisions.list", **ids).well().value
    assert revisions["meta"]["total_count"] == 2
    assert {each["id"] for each in revisions["data"]} == {made["revision_id"], changed["revision_id"]}
    earlier = (
        v2.ask(stage.url, "functions.get_by_revision", **ids, revision_id=made["revision_id"]).well().value
    )
    assert earlier["instructions"] == "Greet"


def test_a_schema_may_be_taken_away(v2: V2, stage: Stage, name: str) -> None:
    made = create(v2, stage, name, output_schema=SCHEMA, model=stage.says("plain"))
    v2.ask(stage.url, "functions.update", function_id=made["id"], output_schema=None).well()
    assert joined(v2.ask(stage.url, "functions.stream", function_id=made["id"])) == "plain"


def test_what_is_deleted_is_gone(v2: V2, stage: Stage, name: str) -> None:
    made = create(v2, stage, name)
    assert v2.ask(stage.url, "functions.delete", function_id=made["id"]).well().value is None
    for call, arguments in (
        ("functions.get", {"function_id": made["id"]}),
        ("functions.get_by_name", {"name": name}),
        ("functions.delete", {"function_id": made["id"]}),
        ("functions.stream", {"function_id": made["id"], "input": "hi"}),
        ("functions.call", {"function_id": made["id"], "input": "hi"}),
    ):
        raised = v2.ask(stage.url, call, **arguments).raised
        assert (raised.kind, raised.status) == ("NotFoundError", 404), call
    assert create(v2, stage, name)["id"] != made["id"]


def test_functions_are_listed_in_pages(v2: V2, stage: Stage, name: str) -> None:
    names = [f"{name}_{letter}" for letter in "cab"]
    for each in names:
        create(v2, stage, each)

    def listed(**query: Any) -> list[str]:
        page = v2.ask(stage.url, "functions.list", name=name + "_", **query).well().value
        assert page["meta"]["total_count"] == 3
        return [item["name"].removeprefix(name + "_") for item in page["data"]]

    assert listed() == listed(sort="name") == ["a", "b", "c"]
    assert listed(sort="-name") == ["c", "b", "a"]
    assert listed(sort="created_at") == ["c", "a", "b"] and listed(sort="-created_at") == ["b", "a", "c"]
    assert listed(offset=1, limit=1) == ["b"] and listed(offset=3) == []
    assert v2.ask(stage.url, "functions.list", name=f"no {name}").well().value == {
        "meta": {"total_count": 0},
        "data": [],
    }


@pytest.mark.parametrize("looser", ["{}/part/two", "{} with a space", "{}/é 🌊?#%", "{}..", "by-name/{}"])
def test_calls_make_functions_under_looser_names(v2: V2, stage: Stage, name: str, looser: str) -> None:
    full, model = looser.format(name), stage.says("well")
    if v2.colour is not None:  # Python's SDK puts the name into the path as it is, but for what httpx escapes
        full = full.replace("?#%", "")
    v2.ask(stage.url, "stream", name=full, instructions="First", model=model).well()
    found = v2.ask(stage.url, "functions.get_by_name", name=full).well().value
    assert (found["name"], found["instructions"], found["model"]) == (full, "First", model)
    assert joined(v2.ask(stage.url, "functions.stream", function_id=found["id"], input="hi")) == "well"


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "é"])
def test_created_functions_have_plain_names(v2: V2, stage: Stage, bad: str) -> None:
    raised = v2.ask(stage.url, "functions.create", name=bad, instructions="Greet").raised
    assert (raised.kind, raised.status) == ("RequestValidationError", 422)
    assert raised.told["detail"]["field"] == "name"


# -- calls by id and by revision


def test_a_text_by_id_is_the_message(v2: V2, stage: Stage, name: str) -> None:
    pieces = ("Welcome, ", "流 🌊\u2028 ", "Ida!")
    model = stage.says(*pieces)
    ids = {"function_id": create(v2, stage, name, instructions="Greet the guest", model=model)["id"]}
    seen = v2.ask(stage.url, "functions.stream", **ids, input={"guest": "Ida"}).well()
    first, *deltas = (event["data"] for event in seen.events)
    assert [*first] == ["span_id"] and deltas == [{"delta": piece} for piece in pieces]
    assert all(event["id"] for event in seen.events) and seen.headers["penstock-stream"]
    called = v2.ask(stage.url, "functions.call", **ids, input={"guest": "Ida"}).well().value
    assert (called["message"], called["json_payload"]) == ("".join(pieces), None)
    assert instructions(stage, model) == ["Greet the guest"] * 2
    assert json.loads(stage.bodies(model)[-1]["messages"][-1]["content"]) == {"guest": "Ida"}


@pytest.mark.parametrize("value", VALUES)
def test_a_value_by_id_is_json_in_pieces(v2: V2, stage: Stage, name: str, value: str) -> None:
    model = stage.says(*VALUES[value].pieces())
    ids = {"function_id": create(v2, stage, name, output_schema=VALUES[value].schema, model=model)["id"]}
    seen = v2.ask(stage.url, "functions.stream", **ids)
    assert all(isinstance(event["data"].get("delta", ""), str) for event in seen.events)
    assert exact(json.loads(joined(seen))) == exact(VALUES[value].value)
    called = v2.ask(stage.url, "functions.call", **ids).well().value
    assert exact(called["json_payload"]) == exact(VALUES[value].value)


def test_an_older_revision_answers_as_it_was(v2: V2, stage: Stage, name: str) -> None:
    model = stage.says('{"host": "Boris"}')
    old = create(v2, stage, name, instructions="Old", output_schema=SCHEMA, model=model)
    function_id = {"function_id": old["id"]}
    changes = {"instructions": "New", "output_schema": None, "description": "Changed"}
    new = v2.ask(stage.url, "functions.update", **function_id, **changes).well().value
    for revision_id, told, structured in (
        (old["revision_id"], "Old", True),
        (new["revision_id"], "New", False),
        (None, "New", False),
    ):
        suffix = "_revision" if revision_id else ""
        ids = {**function_id, **({"revision_id": revision_id} if revision_id else {})}
        assert joined(v2.ask(stage.url, f"functions.stream{suffix}", **ids, input="x")) == '{"host": "Boris"}'
        called = v2.ask(stage.url, f"functions.call{suffix}", **ids, input="x").well().value
        assert called["json_payload"] == ({"host": "Boris"} if structured else None)
        assert instructions(stage, model)[-2:] == [told, told]
        assert all(("response_format" in body) == structured for body in stage.bodies(model)[-2:])


def test_a_revision_that_never_was_is_not_found(v2: V2, stage: Stage, name: str) -> None:
    made, other = create(v2, stage, name), create(v2, stage, name + "_other")
    for revision_id in (other["revision_id"], "nonsense"):
        ids = {"function_id": made["id"], "revision_id": revision_id}
        for call in ("functions.stream_revision", "functions.call_revision", "functions.get_by_revision"):
            raised = v2.ask(stage.url, call, **ids).raised
            assert (raised.kind, raised.status) == ("NotFoundError", 404), call


def test_a_call_by_name_does_not_change_what_is_stored(v2: V2, stage: Stage, name: str) -> None:
    model = stage.says("well")
    made = create(v2, stage, name, instructions="Stored", model=model)
    v2.ask(stage.url, "stream", name=name, instructions="Passing", model=model).well()
    assert v2.ask(stage.url, "functions.get", function_id=made["id"]).well().value == made
    assert joined(v2.ask(stage.url, "functions.stream", function_id=made["id"])) == "well"
    assert instructions(stage, model) == ["Passing", "Stored"]


# -- what the SDKs do not show


def test_nothing_is_null_that_must_not_be(stage: Stage, name: str) -> None:
    """Section 3 of the contract: npm's SDK refuses these, and times without a zone."""
    made = stage.http("POST", "/v2/functions", json={"name": name, "instructions": "Greet"})
    function = made.json()
    assert made.status_code == 201 and "model" not in function and function["observer_enabled"] is False
    assert function["description"] is function["input_schema"] is function["output_schema"] is None
    [listed] = stage.http("GET", f"/v2/functions?name={name}").json()["data"]
    assert "model" not in listed
    address = f"/v2/functions/{function['id']}"
    [revision] = stage.http("GET", f"{address}/revisions").json()["data"]
    for time in (function["created_at"], function["updated_at"], revision["created_at"]):
        assert TIME.fullmatch(time), time
    assert revision["configuration"] == {}
    stage.http("PATCH", address, json={"model": stage.says("well")}).raise_for_status()
    called = stage.http("POST", f"{address}/call", json={}).json()
    assert called["cached"] is False and isinstance(called["span_id"], str)
    gone = stage.http("DELETE", address)
    assert (gone.status_code, gone.content) == (204, b"")


@pytest.mark.parametrize("spelling", ["a/b c", "a%2Fb c", quote("a/b c", safe="")])
def test_a_name_in_a_path_may_be_escaped_or_not(stage: Stage, name: str, spelling: str) -> None:
    stage.http("POST", "/v2/call", json={"name": f"{name}/a/b c", "model": stage.says("well")})
    found = stage.http("GET", f"/v2/functions/by-name/{name}/{spelling}")
    assert found.status_code == 200 and found.json()["name"] == f"{name}/a/b c"
