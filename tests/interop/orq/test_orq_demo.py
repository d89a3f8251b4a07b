"""The built-in agent: what it shows is what these SDKs expect, without a key, a network or a definition."""

from __future__ import annotations

from typing import Final

from interop.orq.sdks import User, seen
from interop.orq.stage import House, checked, kinds, of, said, spoken_to

ASKED: Final = "tool.review.requested"
FEW: Final = "in 10 words"


def test_all_that_it_shows(user: User, demo: House) -> None:
    """Text, reasoning, tools of the server and of the caller, a review, a failure: side by side."""
    prompts = {
        "text": f"Tell me of rivers {FEW}",
        "reasoning": f"Think step by step about rivers, {FEW}",
        "server": f"Use a tool that the server runs, {FEW}",
        "caller": f"Call a function of mine, {FEW}",
        "failure": "Fail after 3 words",
    }
    begun = {
        name: user.begin(
            demo.url, "agents.responses.create", agent_key="demo", message=said(prompt), stream=True
        )
        for name, prompt in prompts.items()
    }
    turns = {name: checked(seen(answer).well().events) for name, answer in begun.items()}
    assert spoken_to(turns["text"]) and spoken_to(turns["reasoning"], "reasoning")
    assert kinds(turns["server"])[1:] == ["tool.started", "tool.done", "response.done"]
    assert of(turns["failure"], "response.failed")["error"]
    [pending] = of(turns["caller"], "response.done")["pending_tool_calls"]
    assert pending["function"]["name"] == "get_weather"
    task = of(turns["caller"], "response.started")["task_id"]
    part = {"kind": "tool_result", "tool_call_id": pending["id"], "result": {"sky": "blue"}}
    message = {"role": "tool", "parts": [part]}
    again = user.ask(
        demo.url, "agents.responses.create", agent_key="demo", task_id=task, message=message, stream=True
    )
    assert spoken_to(checked(again.well().events))


def test_it_asks_a_human(user: User, demo: House) -> None:
    with demo.waiting(user, "demo", message=said(f"Use the tool that needs approval, {FEW}")) as waiting:
        demo.review("demo", waiting.task, waiting.call, "approved").raise_for_status()
        turn = checked(seen(waiting.answer).well().events)
    assert kinds(turn)[1:] == [ASKED, "tool.review.done", "tool.started", "tool.done", "response.done"]
    assert of(turn, "tool.done")["result"]["sent"] is False and spoken_to(turn)
