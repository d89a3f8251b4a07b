"""
The built-in agent: each sort of tool, and answers that follow from the call alone.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest

from penstock.agents import ask, decode_agent, encode_agent
from penstock.engine.demo import MODELS, answer
from penstock.engine.demo.agent import AGENT, RUNNER, DemoTools
from penstock.engine.schemas import compiled
from penstock.engine.tools import Asking, ToolFault, Tools
from penstock.events import PartDone, ToolCallPart
from penstock.requests import Tool

TOOLS = {tool.name: tool for tool in AGENT.tools}
ASKING = Asking("a stream", "st_1.1", "call_1", "d1")


def calls(prompt: str) -> list[ToolCallPart]:
    events = chain.from_iterable(step.events for step in answer(ask(AGENT, prompt)))
    done = [event.part for event in events if isinstance(event, PartDone)]
    return [part for part in done if isinstance(part, ToolCallPart)]


async def run(name: str, asking: Asking = ASKING, **arguments: Any) -> Any:
    return await Tools({RUNNER: DemoTools()}).run(TOOLS[name], arguments, asking)


def test_it_can_be_stored_and_asks_a_model_that_there_is() -> None:
    assert decode_agent(encode_agent(AGENT)) == AGENT
    assert {candidate.model for candidate in AGENT.models} <= set(MODELS)


def test_it_has_one_tool_of_each_sort() -> None:
    sorts = {(bool(tool.runner), tool.needs_review, tool.idempotent) for tool in AGENT.tools}
    assert sorts == {(True, False, True), (True, True, False), (False, False, False)}
    assert {tool.runner for tool in AGENT.tools} == {RUNNER, ""}


@pytest.mark.parametrize(
    ("prompt", "tool"),
    [
        ("roll the dice", "roll_dice"),
        ("roll_dice", "roll_dice"),
        ("send a postcard to Ida", "send_postcard"),
        ("What is the weather in Oslo?", "get_weather"),
        ("use a tool", "roll_dice"),
        ("call the function", "get_weather"),
        ("use the tool that needs approval", "send_postcard"),
    ],
)
async def test_each_prompt_has_its_tool_and_arguments_that_it_takes(prompt: str, tool: str) -> None:
    (call,) = calls(prompt)
    assert call.tool == tool
    arguments = json.loads(call.arguments)
    parameters = TOOLS[tool].parameters
    assert isinstance(parameters, dict)
    assert compiled(parameters, "parameters").fault(arguments) is None
    if TOOLS[tool].runner:
        await run(tool, **arguments)


@pytest.mark.parametrize("prompt", ["Rock and roll", "Hello", "What tools do you have?"])
def test_other_prompts_have_none(prompt: str) -> None:
    assert not calls(prompt)


def test_the_postcard_goes_to_whom_the_prompt_says() -> None:
    assert json.loads(calls("send a postcard to Ida")[0].arguments)["to"] == "Ida"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("roll_dice", {"dice": 10, "sides": 100}), ("send_postcard", {"to": "Ida", "text": "流 \ud800"})],
)
async def test_an_answer_is_a_function_of_arguments_and_digest(name: str, arguments: dict[str, Any]) -> None:
    first = await run(name, **arguments)
    assert await run(name, Asking("another", "st_2.1", "call_2", "d1"), **arguments) == first
    assert await run(name, ASKING._replace(digest="d2"), **arguments) != first


async def test_dice_show_what_dice_can() -> None:
    rolls = [await run("roll_dice", ASKING._replace(digest=str(n)), dice=10) for n in range(30)]
    shown = list(chain.from_iterable(roll["shown"] for roll in rolls))
    assert set(shown) == {1, 2, 3, 4, 5, 6} and len(shown) == 300
    assert all(roll["total"] == sum(roll["shown"]) for roll in rolls)


async def test_a_postcard_is_not_sent() -> None:
    answered = await run("send_postcard", to="Ida", text="Hello")
    assert answered["sent"] is False and "Ida" in answered["note"] and answered["text"] == "Hello"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("roll_dice", {"dice": 11}),
        ("roll_dice", {"dice": "two"}),
        ("roll_dice", {"dice": 1, "sides": 1}),
        ("send_postcard", {"to": "Ida"}),
    ],
)
async def test_arguments_that_do_not_fit_are_a_fault(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolFault, match="do not fit"):
        await run(name, **arguments)


async def test_it_runs_no_other_tool() -> None:
    with pytest.raises(ToolFault, match="no tool 'get_weather'"):
        await DemoTools().run(TOOLS["get_weather"], {"city": "Oslo"}, ASKING)
    with pytest.raises(ToolFault, match="no tool 'rm'"):
        await DemoTools().run(Tool("rm", runner=RUNNER), {}, ASKING)
