"""Reviews: a human decides about a call, and the turn goes on with that, whoever still watches it."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from interop.opper.stage import says
from interop.orq.sdks import User, seen
from interop.orq.stage import House, Keyed, asks, checked, kinds, of, said, spoken_to
from interop.orq.test_orq_turns import CUT, read

ASKED: Final = "tool.review.requested"
REFUND: Final = ("refund", {"order": 7})
TIMED_OUT: Final = {"ReadTimeout", "RequestTimeoutError", "DOMException", "TimeoutError"}
"""What is raised where a user's patience ends: of httpx, of the SDK, of fetch."""


def refunding(house: House, *more: Any, **settings: Any) -> tuple[str, str]:
    """Define an agent whose one tool needs a review; return its key and its model."""
    model = house.stage.plays(asks(REFUND), says("That ", "was it."), *more)
    tools = [house.workshop.tool("/refund", requires_approval=True, order="number")]
    return house.agent(model=model, tools=tools, **settings), model


def refunds(house: House) -> int:
    return len(house.workshop.of("/refund"))


def told(house: House, model: str) -> Any:
    """Return what the model was told of its call."""
    return json.loads(house.stage.bodies(model)[1]["messages"][-1]["content"])


# -- decisions


@pytest.mark.parametrize("name", ["the call", "the action"])
def test_a_call_is_approved(user: User, house: House, name: str) -> None:
    agent, model = refunding(house)
    before = refunds(house)
    with house.waiting(user, agent) as waiting:
        assert refunds(house) == before and house.stored(agent, waiting.task)["status"] == "in_progress"
        action = house.actions(agent, waiting.task)[0]
        named = {"the call": waiting.call, "the action": action["_id"]}[name]
        answer = house.review(agent, waiting.task, named, "approved", source="a test")
        assert answer.status_code == 200 and answer.json()["success"] is True and answer.json()["message"]
        events = checked(seen(waiting.answer).well().events)
    assert kinds(events) == [
        "response.started", ASKED, "tool.review.done", "tool.started", "tool.done", "response.done",
    ]  # fmt: skip
    asked = of(events, ASKED)
    assert asked["requires_approval"] is True and asked["tool_name"] == "refund"
    assert asked["arguments"] == of(events, "tool.started")["arguments"] == {"order": 7}
    assert of(events, "tool.review.done")["review"] == "approved" and spoken_to(events) == "That was it."
    assert of(events, "tool.done")["result"] == {"done": {"order": 7}} and refunds(house) == before + 1
    assert told(house, model) == {"done": {"order": 7}}
    assert read(user, house, agent, waiting.task)["status"] == "completed"


def test_a_call_is_rejected(user: User, house: House) -> None:
    """The model is told, and finishes; the tool has never begun."""
    agent, model = refunding(house)
    before = refunds(house)
    with house.waiting(user, agent) as waiting:
        house.review(agent, waiting.task, waiting.call, "rejected").raise_for_status()
        events = checked(seen(waiting.answer).well().events)
    assert kinds(events) == ["response.started", ASKED, "tool.review.done", "response.done"]
    assert of(events, "tool.review.done")["review"] == "rejected" and spoken_to(events) == "That was it."
    assert of(events, "response.done")["finish_reason"] == "stop" and refunds(house) == before
    assert "rejected" in str(told(house, model))
    read(user, house, agent, waiting.task)


def test_a_call_is_given_another_output(user: User, house: House) -> None:
    """Which counts as the tool's own; the tool itself is never asked."""
    agent, model = refunding(house)
    before = refunds(house)
    with house.waiting(user, agent) as waiting:
        mock = {"mock_output": {"refunded": [7, "🌊"]}}
        house.review(agent, waiting.task, waiting.call, "approved", **mock).raise_for_status()
        events = checked(seen(waiting.answer).well().events)
    assert kinds(events)[2:5] == ["tool.review.done", "tool.started", "tool.done"]
    assert of(events, "tool.done")["result"] == {"refunded": [7, "🌊"]} and refunds(house) == before
    assert told(house, model) == {"refunded": [7, "🌊"]}
    [action] = house.actions(agent, waiting.task)
    assert action["state"]["executed"] is False and action["state"]["output"] == {"refunded": [7, "🌊"]}


def test_the_second_decision_loses(user: User, house: House) -> None:
    agent, _ = refunding(house)
    before = refunds(house)
    with house.waiting(user, agent) as waiting:
        house.review(agent, waiting.task, waiting.call, "approved").raise_for_status()
        for verdict in ("rejected", "approved"):
            late = house.review(agent, waiting.task, waiting.call, verdict)
            assert late.status_code == 409 and late.json()["code"] == "409"
        events = checked(seen(waiting.answer).well().events)
    assert house.review(agent, waiting.task, waiting.call, "rejected").status_code == 409  # nor later
    assert of(events, "tool.review.done")["review"] == "approved" and refunds(house) == before + 1


def test_several_calls_are_decided_one_by_one(user: User, house: House) -> None:
    """In any order, each by itself; the model goes on when the last one is."""
    calls = {"refund": {"order": 7}, "cancel": {"order": 8}, "notify": {"order": 9}}
    tools = [house.workshop.tool(f"/{name}", requires_approval=True, order="number") for name in calls]
    model = house.stage.plays(asks(*calls.items()), says("All done."))
    agent = house.agent(model=model, tools=tools)
    with house.waiting(user, agent) as waiting:
        waiting.tap.until(b'"tool.review.requested"', 3)
        for name, verdict in {"notify": "approved", "refund": "rejected", "cancel": "approved"}.items():
            assert len(house.stage.bodies(model)) == 1
            house.review(agent, waiting.task, f"call_{name}", verdict).raise_for_status()
        events = checked(seen(waiting.answer).well().events)
    decided = [event["data"]["tool_id"] for event in events if event["type"] == "tool.review.done"]
    assert decided == ["notify", "refund", "cancel"]
    ran = {event["data"]["tool_id"] for event in events if event["type"] == "tool.done"}
    assert ran == {"notify", "cancel"} and spoken_to(events) == "All done."


# -- whoever still watches


def test_approved_after_the_client_s_connection_timed_out(user: User, house: House) -> None:
    """With the SDK's own limit, which is shorter than the human's. The turn is there, and so is its end."""
    agent, _ = refunding(house)
    before = refunds(house)
    with house.waiting(user, agent, timeout_ms=1000) as waiting:
        timed_out = seen(waiting.answer)
    assert timed_out.raised.kind in TIMED_OUT, timed_out.raised
    house.stage.until_readers(0)
    assert read(user, house, agent, waiting.task)["status"] == "in_progress"
    house.review(agent, waiting.task, waiting.call, "approved").raise_for_status()
    house.ended(user, agent, waiting.task)
    stored = read(user, house, agent, waiting.task)
    assert stored["status"] == "completed" and refunds(house) == before + 1
    assert stored["output"][-1]["parts"] == [{"kind": "text", "text": "That was it."}]


def test_approved_after_the_reader_has_left(user: User, house: House) -> None:
    agent, _ = refunding(house)
    early = user.ask(
        house.url, "agents.responses.create", agent_key=agent, message=said("Go on"), stream=True, take=2
    ).well()
    asked = of(early.events, ASKED)
    task = of(early.events, "response.started")["task_id"]
    house.review(agent, task, asked["tool_call_id"], "approved").raise_for_status()
    assert house.ended(user, agent, task)["output"][-1]["parts"][0]["text"] == "That was it."


def test_watched_again_while_a_human_is_asked(user: User, house: House) -> None:
    """By a message without parts: the turn from its beginning, the question included, then live."""
    agent, model = refunding(house)
    with house.waiting(user, agent) as waiting:
        waiting.tap.cut()
        before = seen(waiting.answer)
    assert before.raised.kind in CUT and kinds(before.events) == ["response.started", ASKED]
    house.stage.until_readers(0)
    again = house.attached(user, agent, waiting.task)
    house.stage.until_readers(1)
    house.review(agent, waiting.task, waiting.call, "rejected").raise_for_status()
    events = checked(seen(again).well().events)
    assert events[:2] == before.events and spoken_to(events) == "That was it."
    assert len(house.stage.bodies(model)) == 2


def test_in_the_background(user: User, house: House) -> None:
    """Somebody who begins a turn so, and looks for actions, needs no stream at all."""
    agent, _ = refunding(house)
    asked = {"agent_key": agent, "message": said("Go on"), "background": True}
    task = user.ask(house.url, "agents.responses.create", **asked).well().value["task_id"]
    house.until_asked(agent, task)
    assert house.task(agent, task)["status"]["state"] == "input-required"
    [action] = house.actions(agent, task)
    house.review(agent, task, action["_id"], "approved").raise_for_status()
    assert house.ended(user, agent, task)["status"] == "completed"
    assert house.task(agent, task)["status"]["state"] == "completed"


def test_a_turn_in_one_piece_waits_for_the_human(user: User, house: House) -> None:
    agent, _ = refunding(house)
    answer = user.begin(house.url, "agents.responses.create", agent_key=agent, message=said("Go on"))
    task = house.until_begun(agent)
    house.until_asked(agent, task)
    house.review(agent, task, "call_refund", "approved").raise_for_status()
    value = seen(answer).well().value
    assert value["task_id"] == task and value["output"][-1]["parts"][0]["text"] == "That was it."


def test_nothing_is_said_in_between(user: User, house: House) -> None:
    """While a human is asked the task is under way: it takes no message, but to be watched."""
    agent, _ = refunding(house)
    with house.waiting(user, agent) as waiting:
        busy = user.ask(
            house.url, "agents.responses.create", agent_key=agent, task_id=waiting.task, message=said("And?")
        ).raised
        assert busy.status == 409
        house.review(agent, waiting.task, waiting.call, "rejected").raise_for_status()
        checked(seen(waiting.answer).well().events)


def test_silence_is_filled_while_a_human_is_asked(user: User, murmuring: House) -> None:
    agent, _ = refunding(murmuring)
    with murmuring.waiting(user, agent) as waiting:
        waiting.tap.until(b": ka\n", 3)
        murmuring.review(agent, waiting.task, waiting.call, "approved").raise_for_status()
        events = checked(seen(waiting.answer).well().events)
    assert kinds(events)[-3:] == ["tool.started", "tool.done", "response.done"]


def test_the_server_dies_while_a_human_is_asked(user: User, mortal: House) -> None:
    """The next process has the question, takes the decision, and goes on with the turn."""
    agent, model = refunding(mortal)
    server, before = mortal.stage.server, refunds(mortal)
    with mortal.waiting(user, agent) as waiting:
        server.kill()
        assert seen(waiting.answer).raised.kind in CUT
    server.start()
    assert read(user, mortal, agent, waiting.task)["status"] == "in_progress"
    mortal.review(agent, waiting.task, waiting.call, "approved").raise_for_status()
    mortal.ended(user, agent, waiting.task)
    stored = read(user, mortal, agent, waiting.task)
    assert stored["status"] == "completed" and refunds(mortal) == before + 1
    assert stored["output"][-1]["parts"][0]["text"] == "That was it."
    assert len(mortal.stage.bodies(model)) == 2


# -- actions, as the last SDK that knew them lists them, and bare


def test_actions_are_listed(house: House) -> None:
    agent, _ = refunding(house)
    begun = house.turn(agent, background=True)
    task = begun["task_id"]
    house.until_asked(agent, task)
    listed = house.http("GET", f"/v2/agents/{agent}/tasks/{task}/actions").json()
    assert (listed["object"], listed["has_more"]) == ("list", False)
    [action] = listed["data"]
    assert action["agent_tool_call_id"] == "call_refund" and action["agent_id"] == agent
    assert action["tool"]["requires_approval"] is True and action["tool"]["display_name"] == "refund"
    assert action["state"]["review"] is None and action["state"]["input"] == {"order": 7}
    for name in (action["_id"], "call_refund"):
        shown = house.http("GET", f"/v2/agents/{agent}/tasks/{task}/actions/{name}")
        assert shown.status_code == 200 and shown.json() == action
    house.review(agent, task, action["_id"], "approved", source="a test").raise_for_status()
    house.until_ended(agent, task)
    [after] = house.actions(agent, task)
    assert after["_id"] == action["_id"] and after["started"] <= after["finished"]
    assert after["state"]["review"] == "approved" and after["state"]["executed"] is True
    assert after["state"]["output"] == {"done": {"order": 7}}


def test_what_is_not_there_cannot_be_decided_about(house: House) -> None:
    agent, _ = refunding(house)
    task = house.turn(agent, background=True)["task_id"]
    house.until_asked(agent, task)
    [action] = house.actions(agent, task)
    other = house.agent(says("Hi."))
    for a, t, name in (
        (agent, task, "nobody"),
        (agent, "st_nobody", action["_id"]),
        (other, task, action["_id"]),
    ):
        answer = house.review(a, t, name, "approved")
        assert answer.status_code == 404 and answer.json()["code"] == "404"
        assert house.http("GET", f"/v2/agents/{a}/tasks/{t}/actions/{name}").status_code == 404
    for wrong in ({"review": "maybe"}, {}, {"review": "approved", "mock_output": "text"}):
        path = f"/v2/agents/{agent}/tasks/{task}/actions/{action['_id']}/review"
        answer = house.http("POST", path, json=wrong)
        assert answer.status_code == 400 and answer.json()["code"] == "400"
    house.review(agent, task, action["_id"], "rejected").raise_for_status()


def test_the_last_sdk_that_lists_actions_reads_them(reviewer: User, house: House) -> None:
    agent, _ = refunding(house)
    task = house.turn(agent, background=True)["task_id"]
    house.until_asked(agent, task)
    asked = {"agent_key": agent, "task_id": task}
    [action] = reviewer.ask(house.url, "agents.listActions", **asked).well().value["data"]
    assert action["agent_tool_call_id"] == "call_refund" and action["tool"]["requires_approval"] is True
    one = reviewer.ask(house.url, "agents.retrieveAction", action_id=action["id"], **asked).well().value
    assert one == action
    shown = reviewer.ask(house.url, "agents.retrieveTask", **asked).well().value
    assert shown["id"] == task and shown["status"]["state"] == "input-required"
    house.review(agent, task, action["id"], "approved").raise_for_status()
    house.until_ended(agent, task)
    one = reviewer.ask(house.url, "agents.retrieveAction", action_id=action["id"], **asked).well().value
    assert one["state"]["review"] == "approved" and one["state"]["executed"] is True
    shown = reviewer.ask(house.url, "agents.retrieveTask", **asked).well().value
    assert shown["status"]["state"] == "completed" and shown["history"]


# -- keys


def test_deciding_takes_a_scope_of_its_own(user: User, keyed: Keyed) -> None:
    """And the task has to be one's own: somebody else does not learn that it is there."""
    house, before = keyed.house, refunds(keyed.house)
    for key, other, status in ((keyed.asking, keyed.asking, 403), (keyed.trusted, keyed.defining, 404)):
        agent, _ = refunding(house, key=keyed.defining)
        with house.waiting(user, agent, api_key=key) as waiting:
            refused = house.review(agent, waiting.task, waiting.call, "approved", key=other)
            assert (refused.status_code, refused.json()["code"]) == (status, str(status))
            assert house.stored(agent, waiting.task, key=key)["status"] == "in_progress"
            waiting.tap.cut()
            seen(waiting.answer)
    house.review(agent, waiting.task, waiting.call, "approved", key=keyed.trusted).raise_for_status()
    events = checked(seen(house.attached(user, agent, waiting.task, api_key=keyed.trusted)).well().events)
    assert of(events, "tool.review.done")["review"] == "approved" and refunds(house) == before + 1
