"""What holds for tools of every kind: limits, and errors that a model can be told."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import UNSET, Struct

from penstock.engine.tools import Asking, ToolFault, Tools
from penstock.requests import Tool

ASKING = Asking("st_1", "st_1.1", "call_1", "d1")
TOOL = Tool("t", runner="box")

Answer = Callable[[Tool, dict[str, Any], Asking], Awaitable[Any]]


class Box:
    """A toolbox of which a test says how it answers."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.closed = answer, 0

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        return await self.answer(tool, arguments, asking)

    async def aclose(self) -> None:
        self.closed += 1


def saying(value: Any) -> Box:
    async def answer(*_: object) -> Any:
        return value

    return Box(answer)


def failing(error: BaseException) -> Box:
    async def answer(*_: object) -> Any:
        raise error

    return Box(answer)


async def run(box: Box, tool: Tool = TOOL, **limits: Any) -> Any:
    return await Tools({"box": box}, **limits).run(tool, {"a": 1}, ASKING)


async def test_a_tool_is_run_by_the_toolbox_it_names() -> None:
    asked: list[Any] = []

    async def answer(*given: Any) -> str:
        asked.append(given)
        return "done"

    tools = Tools({"box": Box(answer), "other": failing(AssertionError())})
    assert await tools.run(TOOL, {"a": 1}, ASKING) == "done"
    assert asked == [(TOOL, {"a": 1}, ASKING)]
    assert "box" in tools and "fax" not in tools


async def test_what_nothing_runs_is_a_fault() -> None:
    with pytest.raises(ToolFault, match="nothing that runs tools of the kind 'fax'"):
        await run(saying(1), Tool("t", runner="fax"))


@pytest.mark.parametrize(
    ("tool_limit", "limit"),
    [(None, 0.01), (0.01, 60.0), (60.0, 0.01)],
    ids=["the server's", "the tool's", "the tool's is longer"],
)
async def test_a_tool_that_takes_too_long_is_cancelled(tool_limit: float | None, limit: float) -> None:
    cancelled = asyncio.Event()

    async def answer(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tool = Tool("t", runner="box", max_time=UNSET if tool_limit is None else tool_limit)
    with pytest.raises(ToolFault, match=r"did not answer within its limit of 0\.01 seconds"):
        await run(Box(answer), tool, max_time=limit)
    assert cancelled.is_set()


async def test_a_tools_own_timeout_is_not_the_limit() -> None:
    with pytest.raises(ToolFault, match=r"^TimeoutError: the database$"):
        await run(failing(TimeoutError("the database")))


async def test_being_cancelled_is_no_fault() -> None:
    entered = asyncio.Event()

    async def answer(*_: object) -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run(Box(answer)))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ToolFault("say this"), "say this"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
        (ExceptionGroup("two", [OSError(), ValueError()]), "ExceptionGroup: two (2 sub-exceptions)"),
    ],
)
async def test_what_a_tool_raises_is_told(error: Exception, told: str) -> None:
    with pytest.raises(ToolFault) as caught:
        await run(failing(error))
    assert caught.value.message == told


async def test_the_log_is_told_of_a_surprise_and_not_of_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    for error in (ToolFault("as it is meant to"), ZeroDivisionError("a bug")):
        with pytest.raises(ToolFault):
            await run(failing(error))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("penstock.tools", logging.WARNING)
    assert "st_1.1" in record.getMessage() and record.exc_info is not None


class Point(Struct):
    x: int


@dataclass
class Place:
    name: str


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (None, None),
        ("text", "text"),
        ({"a": [1, 2.5, True]}, {"a": [1, 2.5, True]}),
        (Point(1), {"x": 1}),
        ([Place("Ulm")], [{"name": "Ulm"}]),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ("\ud83d\ude00 \ud800", "😀 \ufffd"),
    ],
)
async def test_a_result_becomes_a_plain_value(result: Any, value: Any) -> None:
    assert await run(saying(result)) == value


@pytest.mark.parametrize("result", [object(), {"a": lambda: 1}, {1, object()}])
async def test_what_is_not_json_is_a_fault(result: Any) -> None:
    with pytest.raises(ToolFault, match="what the tool answered is not JSON"):
        await run(saying(result))


async def test_a_value_that_contains_itself_is_a_fault() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ToolFault, match="what the tool answered is not JSON"):
        await run(saying(endless))


async def test_a_result_of_just_the_limit_is_whole() -> None:
    assert await run(saying("x" * 300), max_result=300) == "x" * 300
    assert await run(saying(["x" * 296]), max_result=300) == ["x" * 296]


async def test_more_than_the_limit_is_cut_and_says_so() -> None:
    assert await run(saying("x" * 301), max_result=300) == "x" * 300 + "… [cut: 300 of 301 characters]"
    assert (
        await run(saying(["x" * 297]), max_result=300) == '["' + "x" * 297 + '"… [cut: 300 of 301 characters]'
    )


async def test_closing_closes_every_box() -> None:
    boxes = [saying(1), saying(2)]
    await Tools(dict(zip("ab", boxes, strict=True))).aclose()
    assert [box.closed for box in boxes] == [1, 1]
