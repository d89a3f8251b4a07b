"""Errors by the classes of the SDKs: section 7 of the contract, as far as each can be provoked."""

from __future__ import annotations

from typing import Any, Final

import pytest

from interop.opper.stage import Tap, says
from interop.orq.sdks import User, seen
from interop.orq.stage import House, Keyed, said
from upstream import hang

NOBODY: Final = "st_01aaaaaaaaaaaaaaaaaaaaaaaa"
NEWEST: Final = "4.17.13"
GENERAL: Final = {"4.1.3": "APIError", "4.17.13": "APIDefaultError", "4.4": "APIError", "4.15": "APIError"}
"""The class of errors that have none of their own."""
UNREACHABLE: Final = {"ConnectError", "ConnectionError"}
REFUSED: Final = {"ValidationError", "SDKValidationError"}
"""What is raised for input that an SDK does not send: of pydantic, and of npm's."""


def asked(agent: str, **more: Any) -> dict[str, Any]:
    return {"call": "agents.responses.create", "agent_key": agent, "message": said("Go on"), **more}


def check(user: User, raised: Any, status: int, kind: str | None = None) -> None:
    """What is raised must be of this class, and say to its reader what the server said."""
    assert (raised.kind, raised.status) == (kind or GENERAL[user.release], status), raised
    assert "OrqError" in raised.kinds
    assert raised.body["code"] == str(status) and raised.body["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_no_such_agent(user: User, house: House, stream: bool) -> None:
    check(user, user.ask(house.url, **asked("nobody", stream=stream)).raised, 404)


@pytest.mark.parametrize("stream", [False, True])
def test_no_such_task(user: User, house: House, stream: bool) -> None:
    """Nor is another agent's task there; nor can it be watched."""
    agent, other = house.agent(says("Hi.")), house.agent(says("Hi."))
    task = user.ask(house.url, **asked(agent)).well().value["task_id"]
    nothing = {"role": "user", "parts": []}
    for name, named in ((agent, NOBODY), (agent, "nonsense"), (other, task)):
        for message in (said("And?"), nothing):
            raised = user.ask(house.url, **asked(name, task_id=named, message=message, stream=stream)).raised
            check(user, raised, 404)


def test_no_such_answer(user: User, house: House) -> None:
    if not user.reads_answers:
        assert house.http("GET", f"/v2/agents/demo/responses/{NOBODY}").status_code == 404
        return
    raised = user.ask(house.url, "agents.responses.get", agent_key="demo", task_id=NOBODY).raised
    check(user, raised, 404, "HonoAPIError" if user.colour else "HonoApiError")
    assert raised.body["message"] in raised.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_is_none(user: User, keyed: Keyed, stream: bool) -> None:
    """The newest of Python's has a class for that; it can read ours."""
    kind = "ErrorResponse" if user.release == NEWEST else None
    for key in ("penstock_live_no_key", None):
        raised = user.ask(keyed.house.url, api_key=key, **asked("demo", stream=stream)).raised
        check(user, raised, 401, kind)
        assert "key" in raised.message or user.release != NEWEST
    check(user, user.ask(keyed.house.url, "agents.list", api_key=None).raised, 401)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_to_answer(user: User, house: House, stream: bool) -> None:
    nothing = {"role": "user", "parts": []}
    check(user, user.ask(house.url, **asked("demo", message=nothing, stream=stream)).raised, 400)


def test_results_that_nobody_waits_for(user: User, house: House) -> None:
    agent = house.agent(says("Hi."))
    task = user.ask(house.url, **asked(agent)).well().value["task_id"]
    message = {"role": "tool", "parts": [{"kind": "tool_result", "tool_call_id": "call_1", "result": 1}]}
    raised = user.ask(house.url, **asked(agent, task_id=task, message=message)).raised
    check(user, raised, 400)
    assert "call_1" in raised.body["message"]
    raised = user.ask(house.url, **asked(agent, message=message)).raised  # nor in a new task
    check(user, raised, 400)
    assert "call_1" in raised.body["message"]


def test_what_an_sdk_does_not_send(user: User, house: House) -> None:
    message = {"role": "user", "parts": [{"kind": "reasoning", "reasoning": "Hm."}]}
    raised = user.ask(house.url, **asked("demo", message=message)).raised
    assert raised.kind in REFUSED and raised.status is None


def test_nobody_is_there(user: User) -> None:
    assert user.ask("http://127.0.0.1:9", **asked("demo")).raised.kind in UNREACHABLE


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_is_full_began_nothing(user: User, narrow: House, stream: bool) -> None:
    model = narrow.stage.plays(says("Hi."))
    agent = narrow.agent(model=model)
    with narrow.stage.full(narrow.stage.plays(hang())):
        check(user, user.ask(narrow.url, **asked(agent, stream=stream)).raised, 503)
    assert narrow.stage.bodies(model) == []


def test_the_sdk_tries_again_where_nothing_was_begun(user: User, narrow: House) -> None:
    """If it is told to: then a 5xx leads to one task, not to two."""
    model = narrow.stage.plays(says("Hi."))
    agent = narrow.agent(model=model)
    times = {"initial_interval": 1, "max_interval": 1, "exponent": 1.0, "max_elapsed_time": 60_000}
    with Tap(narrow.stage.server) as tap:
        with narrow.stage.full(narrow.stage.plays(hang())):
            answer = user.begin(tap.url, retries=times, **asked(agent))
            tap.until(b" 503 ")
        assert seen(answer).well().value["output"]
    assert len(narrow.stage.bodies(model)) == 1


def test_too_much_is_said_so(user: User, narrow: House) -> None:
    check(user, user.ask(narrow.url, **asked("demo", message=said("x" * 5000))).raised, 413)


def test_errors_are_json_whatever_was_asked_for(house: House) -> None:
    for accept in ("text/event-stream", "application/json;q=1, text/event-stream;q=0", "*/*"):
        headers = {"accept": accept, "content-type": "application/json"}
        for path, data, status in (
            ("/v2/agents/demo/responses", b"{", 400),
            ("/v2/agents/demo/responses", b"[]", 400),
            ("/v2/agents/demo/responses", b'{"stream": true}', 400),
            ("/v2/agents/demo/responses", b'{"message": {"role": "system", "parts": []}}', 400),
            ("/v2/agents/nobody/responses", b'{"message": {"role": "user", "parts": []}}', 400),
            ("/v2/agents", b"{}", 400),
            ("/v2/tools", b"{}", 400),
        ):
            answer = house.stage.http("POST", path, content=data, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), path
            assert answer.json()["code"] == str(status) and answer.json()["message"]
