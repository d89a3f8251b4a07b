"""Turns: what an agent says, what its tools do, what the caller does for it, and how a task goes on."""

from __future__ import annotations

from threading import Barrier, Event
from typing import Any, Final

import pytest

from interop.modelrelay.saying import ended, thought
from interop.opper.stage import END, Tap, paused, says, used
from interop.orq.sdks import User, seen
from interop.orq.stage import House, asks, checked, function, given, kinds, of, said, spoken_to
from upstream import chunk, refusal, reset, sse

TEXT: Final = ("Welcome, ", "Ida! ", "流 é 🌊", "\u2028\x85", 'data: "x"\n\n', "Bye\r\n.")
CUT: Final = {"RemoteProtocolError", "TypeError"}
"""What is raised where a connection breaks: of httpx, and of fetch."""
CROWD: Final = 8
WEATHER: Final = function("get_weather", city={"type": "string"})
TIDE: Final = function("get_tide", port={"type": "string"})
CALLED: Final = ("get_weather", {"city": "Bergen 🌊"})


def turn(user: User, house: House, agent: str, **more: Any) -> list[dict[str, Any]]:
    """Let a user have a turn streamed; return its events."""
    asked = {"message": said("Go on"), "stream": True, **more}
    url = asked.pop("url", house.url)
    return checked(user.ask(url, "agents.responses.create", agent_key=agent, **asked).well().events)


def whole(user: User, house: House, agent: str, **more: Any) -> dict[str, Any]:
    """Let a user have a turn in one piece."""
    asked = {"message": said("Go on"), **more}
    answer = user.ask(house.url, "agents.responses.create", agent_key=agent, **asked).well().value
    assert isinstance(answer, dict)
    return answer


def read(user: User, house: House, agent: str, task: str) -> dict[str, Any]:
    """Let a user read a task's latest turn, with the SDK if it can; return it as it is on the wire."""
    on_the_wire = house.stored(agent, task)
    if user.reads_answers:
        value = user.ask(house.url, "agents.responses.get", agent_key=agent, task_id=task).well().value
        assert (value["status"], value["task_id"]) == (on_the_wire["status"], task)
        assert value["id"] == on_the_wire["_id"] and value.get("error") == on_the_wire.get("error")
        assert len(value["output"]) == len(on_the_wire["output"])
    return on_the_wire


# -- what an agent says


def test_a_text(user: User, house: House) -> None:
    agent = house.agent(sse(*map(chunk, TEXT), chunk(finish="stop"), used(7, 5), END[1]))
    events = turn(user, house, agent)
    assert kinds(events) == ["response.started", "response.done"]
    assert spoken_to(events) == "".join(TEXT)
    assert len([event for event in events if event["type"] == "part.delta"]) == len(TEXT)
    started, done = of(events, "response.started"), of(events, "response.done")
    assert started["response_id"].startswith(started["task_id"]) and started["model"]
    assert started["workflow_run_id"] != started["task_id"] and done["finish_reason"] == "stop"
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert {key: done["usage"][key] for key in usage} == usage


def test_reasoning(user: User, house: House) -> None:
    agent = house.agent(sse(thought("First "), thought("this."), chunk("So "), chunk("be it."), *END))
    events = turn(user, house, agent)
    assert spoken_to(events, "reasoning") == "First this." and spoken_to(events) == "So be it."
    deltas = [event["data"] for event in events if event["type"] == "part.delta"]
    thoughts = [data for data in deltas if data["delta"]["kind"] == "reasoning"]
    assert {data["delta"]["id"] for data in thoughts} == {thoughts[0]["part_id"]}


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_short(user: User, house: House, reason: str) -> None:
    agent = house.agent(sse(chunk("So "), *ended(reason)))
    assert of(turn(user, house, agent), "response.done")["finish_reason"] == reason


def test_an_answer_in_one_piece(user: User, house: House) -> None:
    agent = house.agent(says(*TEXT))
    answer = whole(user, house, agent)
    [message] = answer["output"]
    assert message["role"] == "agent" and message["parts"] == [{"kind": "text", "text": "".join(TEXT)}]
    assert answer["finish_reason"] == "stop" if "finish_reason" in answer else user.release == "4.1.3"
    stored = read(user, house, agent, answer["task_id"])
    assert stored["status"] == "completed" and stored["_id"] == answer["id"]


# -- what its tools do


def test_a_tool_that_the_server_runs(user: User, house: House) -> None:
    tool = house.workshop.tool("/measure", depth="number", unit="string")
    agent = house.agent(asks(("measure", {"depth": 7, "unit": "m"})), says("Seven."), tools=[tool])
    before = len(house.workshop.of("/measure"))
    events = turn(user, house, agent)
    assert kinds(events) == ["response.started", "tool.started", "tool.done", "response.done"]
    started, done = of(events, "tool.started"), of(events, "tool.done")
    assert started["arguments"] == {"depth": 7, "unit": "m"}
    assert started["tool_name"] == started["tool_id"] == done["tool_id"] == "measure"
    assert done["result"] == {"done": {"depth": 7, "unit": "m"}} and spoken_to(events) == "Seven."
    assert len(house.workshop.of("/measure")) == before + 1
    stored = read(user, house, agent, of(events, "response.started")["task_id"])
    parts = [part for message in stored["output"] for part in message["parts"]]
    assert [part["kind"] for part in parts] == ["tool_call", "tool_result", "text"]
    assert [message["role"] for message in stored["output"]] == ["agent", "tool", "agent"]


def test_a_tool_that_fails(user: User, house: House) -> None:
    house.workshop.works["/refuse"] = lambda job: (500, {"oh": "no"})
    agent = house.agent(
        asks(("refuse", {}), ("nobody", {})), says("Well."), tools=[house.workshop.tool("/refuse")]
    )
    events = turn(user, house, agent)
    failed = [event["data"] for event in events if event["type"] == "tool.failed"]
    assert {data["tool_id"] for data in failed} == {"refuse", "nobody"}
    assert any('{"oh":"no"}' in data["error"] for data in failed) and spoken_to(events) == "Well."


# -- what the caller does


def test_a_function_of_the_caller_s(user: User, house: House) -> None:
    """The turn ends; the caller tells the result in the next, which is of the same task."""
    model = house.stage.plays(asks(CALLED), says("It ", "rains."))
    agent = house.agent(model=model, tools=[WEATHER])
    first = turn(user, house, agent)
    done, started = of(first, "response.done"), of(first, "response.started")
    assert kinds(first) == ["response.started", "response.done"] and done["finish_reason"] == "function_call"
    [pending] = done["pending_tool_calls"]
    assert pending["id"] == "call_get_weather" and pending["type"] == "function"
    assert pending["function"] == {"name": "get_weather", "arguments": '{"city": "Bergen \\ud83c\\udf0a"}'}
    task = started["task_id"]
    second = turn(user, house, agent, task_id=task, message=given(get_weather={"rain": True}))
    again = of(second, "response.started")
    assert again["task_id"] == task and spoken_to(second) == "It rains."
    assert {again[key] for key in again}.isdisjoint({started["response_id"], started["workflow_run_id"]})
    *_, told = house.stage.bodies(model)[1]["messages"]
    assert (told["role"], told["tool_call_id"], told["content"]) == (
        "tool",
        "call_get_weather",
        '{"rain":true}',
    )


def test_a_function_in_one_piece(user: User, house: House) -> None:
    """Pending calls are told twice, as users look for them in either place; None is a result as well."""
    agent = house.agent(asks(CALLED), says("Well."), tools=[WEATHER])
    task = whole(user, house, agent)["task_id"]
    stored = read(user, house, agent, task)
    [pending], [message] = stored["pending_tool_calls"], stored["output"]
    [part] = message["parts"]
    assert stored["finish_reason"] == "function_call" and stored["status"] == "completed"
    assert part["tool_call_id"] == pending["id"] and part["arguments"] == {"city": "Bergen 🌊"}
    answer = whole(user, house, agent, task_id=task, message=given(get_weather=None))
    assert answer["task_id"] == task and answer["output"][0]["parts"][0]["text"] == "Well."


def test_several_functions_are_answered_in_one_message(user: User, house: House) -> None:
    """All of them: what is missing, and what was not asked, the error names; nothing is lost by it."""
    model = house.stage.plays(asks(CALLED, ("get_tide", {"port": "Brest"})), says("Both."))
    agent = house.agent(model=model, tools=[WEATHER, TIDE])
    first = turn(user, house, agent)
    task = of(first, "response.started")["task_id"]
    pending = of(first, "response.done")["pending_tool_calls"]
    assert [call["id"] for call in pending] == ["call_get_weather", "call_get_tide"]
    wrong = {
        "call_get_tide": given(get_weather=1),
        "call_get_weather": said("Never mind"),
        "call_nobody": given(get_weather=1, get_tide=2, nobody=3),
    }
    for name, message in wrong.items():
        for stream in (False, True):
            raised = user.ask(
                house.url,
                "agents.responses.create",
                agent_key=agent,
                task_id=task,
                message=message,
                stream=stream,
            ).raised
            assert raised.status == 400 and name in raised.body["message"]
    events = turn(user, house, agent, task_id=task, message=given(get_tide="high", get_weather="wet"))
    assert spoken_to(events) == "Both." and len(house.stage.bodies(model)) == 2


def test_functions_and_tools_side_by_side(user: User, house: House) -> None:
    """The server runs what is its own first; only then the caller is asked."""
    model = house.stage.plays(asks(CALLED, ("count", {"upto": 3})), says("All."))
    agent = house.agent(model=model, tools=[WEATHER, house.workshop.tool("/count", upto="number")])
    first = turn(user, house, agent)
    assert kinds(first) == ["response.started", "tool.started", "tool.done", "response.done"]
    [pending] = of(first, "response.done")["pending_tool_calls"]
    assert pending["id"] == "call_get_weather"
    task = of(first, "response.started")["task_id"]
    assert spoken_to(turn(user, house, agent, task_id=task, message=given(get_weather="wet"))) == "All."


def test_a_conversation(user: User, house: House) -> None:
    model = house.stage.plays(says("One."), says("Two."), says("Three."))
    agent = house.agent(model=model)
    task = of(turn(user, house, agent, message=said("first")), "response.started")["task_id"]
    turn(user, house, agent, task_id=task, message=said("second"))
    assert whole(user, house, agent, task_id=task, message=said("third"))["task_id"] == task
    told = [message["content"] for message in house.stage.bodies(model)[2]["messages"]]
    assert told[-5:] == ["first", "One.", "second", "Two.", "third"]


def test_variables_are_for_the_instructions(user: User, house: House) -> None:
    model = house.stage.plays(says("Hi."))
    agent = house.agent(model=model)
    house.http("PATCH", f"/v2/agents/{agent}", json={"instructions": "Greet {{name}}."}).raise_for_status()
    turn(user, house, agent, variables={"name": "Ida"}, thread={"id": "t"}, memory={"entity_id": "m"})
    assert house.stage.bodies(model)[0]["messages"][0]["content"] == "Greet Ida."


def test_files_and_what_else_a_message_may_have(user: User, house: House) -> None:
    model = house.stage.plays(says("Nice."))
    agent = house.agent(model=model)
    picture = {"kind": "file", "file": {"uri": "https://example.com/a.png", "mime_type": "image/png"}}
    sketch = {"kind": "file", "file": {"bytes": "aGk=", "mime_type": "image/png", "name": "b.png"}}
    message = {**said("Look"), "message_id": "m1", "parts": [*said("Look")["parts"], picture, sketch]}
    turn(user, house, agent, message=message, metadata={"camelCase": 1}, conversation={"id": "c"})
    content = house.stage.bodies(model)[0]["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert urls == ["https://example.com/a.png", "data:image/png;base64,aGk="]


def test_there_is_an_end_to_asking(user: User, house: House) -> None:
    tool = house.workshop.tool("/again")
    agent = house.agent(asks(("again", {})), asks(("again", {})), tools=[tool], max_iterations=1)
    events = turn(user, house, agent)
    assert of(events, "response.done")["finish_reason"] == "max_iterations"


# -- what goes wrong


def test_a_failure_is_typed(user: User, house: House) -> None:
    agent = house.agent(reset(chunk("half "), chunk("a word")))
    events = turn(user, house, agent)
    failed = of(events, "response.failed")
    assert failed["error"] and failed["code"] >= 400 and not spoken_to(events)
    stored = read(user, house, agent, of(events, "response.started")["task_id"])
    assert stored["status"] == "failed" and stored["error"] == failed["error"]


def test_a_failure_in_one_piece_is_no_reason_to_try_again(user: User, house: House) -> None:
    """A 5xx would mean that no task was begun, so that an SDK with retries would begin another."""
    model = house.stage.plays(refusal(500, {"error": {"message": "no luck"}}))
    agent = house.agent(model=model)
    times = {"initial_interval": 1, "max_interval": 1, "exponent": 1.0, "max_elapsed_time": 60_000}
    raised = user.ask(
        house.url, "agents.responses.create", agent_key=agent, message=said("Go on"), retries=times
    ).raised
    assert raised.status == 424 and "OrqError" in raised.kinds and "no luck" in raised.body["message"]
    assert len(house.stage.bodies(model)) == 1


def test_a_task_goes_on_after_a_failure(user: User, house: House) -> None:
    agent = house.agent(sse(chunk("half ")), says("Whole."))
    task = of(turn(user, house, agent), "response.started")["task_id"]
    assert spoken_to(turn(user, house, agent, task_id=task, message=said("Again"))) == "Whole."


# -- in the background, and after the reader has gone


def test_in_the_background(user: User, house: House) -> None:
    go_on = Event()
    agent = house.agent(paused(sse(chunk("So ")), go_on.wait, chunk("be it."), *END))
    answer = whole(user, house, agent, background=True)
    task = answer["task_id"]
    assert answer["output"] == [] and read(user, house, agent, task)["status"] == "in_progress"
    busy = user.ask(
        house.url, "agents.responses.create", agent_key=agent, task_id=task, message=said("And?")
    ).raised
    assert busy.status == 409 and busy.body["code"] == "409"
    go_on.set()
    house.ended(user, agent, task)
    stored = read(user, house, agent, task)
    assert stored["status"] == "completed" and stored["output"][0]["parts"][0]["text"] == "So be it."


def test_a_reader_that_leaves_stops_nothing(user: User, house: House) -> None:
    left = Event()
    agent = house.agent(paused(sse(*map(chunk, TEXT[:3])), left.wait, *map(chunk, TEXT[3:]), *END))
    early = user.ask(
        house.url, "agents.responses.create", agent_key=agent, message=said("Go on"), stream=True, take=3
    ).well()
    assert len(early.events) == 3
    house.stage.until_readers(0)  # while the model still speaks
    left.set()
    task = early.events[0]["data"]["task_id"]
    assert house.ended(user, agent, task)["output"][0]["parts"][0]["text"] == "".join(TEXT)


def test_a_turn_that_is_cut_off_is_watched_again(user: User, house: House) -> None:
    """From its beginning, and live from where it stands; or it is read, once it has ended."""
    go_on = Event()
    model = house.stage.plays(paused(sse(*map(chunk, TEXT[:3])), go_on.wait, *map(chunk, TEXT[3:]), *END))
    agent = house.agent(model=model)
    with Tap(house.stage.server) as tap:
        answer = user.begin(
            tap.url, "agents.responses.create", agent_key=agent, message=said("Go on"), stream=True
        )
        tap.until(b'"part.delta"', 3)
        tap.cut()
        before = seen(answer)
    assert before.raised.kind in CUT and len(before.events) == 4
    house.stage.until_readers(0)
    task = before.events[0]["data"]["task_id"]
    again = house.attached(user, agent, task)
    house.stage.until_readers(1)
    go_on.set()
    events = checked(seen(again).well().events)
    assert events[:4] == before.events and spoken_to(events) == "".join(TEXT)
    assert read(user, house, agent, task)["output"][0]["parts"][0]["text"] == "".join(TEXT)
    assert seen(house.attached(user, agent, task)).well().events == events  # after its end as well
    assert len(house.stage.bodies(model)) == 1


def test_streams_side_by_side_stay_apart(user: User, house: House) -> None:
    together = Barrier(CROWD)
    agents = [
        house.agent(paused(sse(chunk(f"{n} ")), together.wait, chunk(f"and {n}"), *END)) for n in range(CROWD)
    ]
    answers = [
        user.begin(house.url, "agents.responses.create", agent_key=agent, message=said("Go on"), stream=True)
        for agent in agents
    ]
    crowd = [checked(seen(answer).well().events) for answer in answers]
    assert [spoken_to(events) for events in crowd] == [f"{n} and {n}" for n in range(CROWD)]
    assert len({of(events, "response.started")["task_id"] for events in crowd}) == CROWD
