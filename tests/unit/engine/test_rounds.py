"""The agent loop: rounds, tools, limits, and what the model is told."""

from __future__ import annotations

import asyncio

import pytest

from agency import USAGE, Agents, Model, call, hello, kinds, says, tool, until
from penstock.errors import CallsPending
from penstock.events import (
    ROUND_DONE,
    Custom,
    MessageAdded,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
    Usage,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def test_the_model_is_asked_again_with_what_the_tools_said() -> None:
    agents = Agents(Model(call(("c1", "look", '{"city":"Brest"}')), says("It rains.")), tool("look"))
    events = await agents.ended(await agents.begin())
    assert kinds(events) == [
        "message.added", "response.started", "custom", "tool.started", "tool.done", "response.done",
    ]  # fmt: skip
    assert agents.notes.ran == [("look", {"city": "Brest"})]
    first, second = agents.model.asked
    assert second.input == (
        *first.input,
        MessageAdded("assistant", (ToolCallPart("c1", "look", '{"city":"Brest"}'),)),
        MessageAdded("tool", (ToolResultPart("c1", "look ran"),)),
    )
    assert second.tools == first.tools


async def test_usage_is_that_of_all_rounds() -> None:
    agents = Agents(Model(call(("c1", "look", "")), call(("c2", "look", "")), says("Done.")), tool("look"))
    end = (await agents.ended(await agents.begin()))[-1]
    assert isinstance(end, ResponseDone)
    assert end.usage == Usage(3 * USAGE.input_tokens, 0, 3 * USAGE.output_tokens)


async def test_parts_and_calls_have_names_of_their_own_in_each_round() -> None:
    agents = Agents(Model(call(("c", "look", "")), call(("c", "look", "")), says("Done.")), tool("look"))
    events = await agents.ended(await agents.begin())
    parts = [event.part_id for event in events if isinstance(event, PartStarted)]
    assert len(set(parts)) == len(parts) == 3
    assert [event.call_id for event in events if isinstance(event, ToolDone)] == ["c", "c.2"]
    told = [part for message in agents.model.asked[-1].input for part in message.parts]
    assert [part.call_id for part in told if isinstance(part, ToolResultPart)] == ["c", "c.2"]


async def test_calls_that_stand_together_run_side_by_side() -> None:
    agents = Agents(Model(call(("a", "one", ""), ("b", "two", "")), says("Done.")), tool("one"), tool("two"))
    meeting = asyncio.Barrier(2)
    agents.notes.answers = {"one": meeting.wait, "two": meeting.wait}
    events = await agents.ended(await agents.begin())
    assert {event.call_id for event in events if isinstance(event, ToolDone)} == {"a", "b"}


async def _breaks() -> None:
    raise ValueError("no such city")


async def _long() -> str:
    return "x" * 101


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (("c", "look", '{"city":'), "the arguments are not JSON"),
        (("c", "look", "[1]"), "the arguments are not a JSON object"),
        (("c", "look", '{"city":1}'), "the arguments do not fit the tool's parameters: city"),
        (("c", "peek", "{}"), "there is no tool 'peek'; tools: look"),
        (("c", "look", '{"city":"Brest"}'), "ValueError: no such city"),
    ],
)
async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(
    said: tuple[str, str, str], error: str
) -> None:
    agents = Agents(Model(call(said), says("Sorry.")), tool("look", parameters=CITY))
    agents.notes.answers["look"] = _breaks
    events = await agents.ended(await agents.begin())
    [failed] = [event for event in events if isinstance(event, ToolFailed)]
    assert failed.error.startswith(error)
    assert agents.model.asked[1].input[-1].parts == (ToolResultPart("c", {"error": failed.error}),)
    assert isinstance(events[-1], ResponseDone)


async def test_results_are_cut_with_a_mark() -> None:
    agents = Agents(Model(call(("c", "look", "")), says("Much.")), tool("look"))
    agents.notes.answers["look"] = _long
    [done] = [event for event in await agents.ended(await agents.begin()) if isinstance(event, ToolDone)]
    assert done.result == "x" * 100 + "… [cut: 100 of 101 characters]"


async def test_a_tool_that_takes_too_long_fails() -> None:
    agents = Agents(Model(call(("c", "look", "")), says("Never mind.")), tool("look", max_time=0.01))
    agents.notes.answers["look"] = asyncio.Event().wait
    [failed] = [event for event in await agents.ended(await agents.begin()) if isinstance(event, ToolFailed)]
    assert failed.error == "the tool did not answer within its limit of 0.01 seconds"


async def test_the_callers_tools_end_the_answer_and_its_results_go_on() -> None:
    agents = Agents(
        Model(call(("s", "ours", ""), ("c", "theirs", "")), says("Thanks.")), tool("ours"), tool("theirs", "")
    )
    stream = await agents.begin()
    end = (await agents.ended(stream))[-1]
    assert isinstance(end, ResponseDone) and end.pending_calls == ("c",) and end.finish_reason == "tool_calls"
    for parts, missing in (
        ((TextPart("Well?"),), "no result for 'c'"),
        ((ToolResultPart("x", 1),), "no result for 'c'; no such call as 'x'"),
        ((ToolResultPart("c", 1), ToolResultPart("s", 1)), "no such call as 's'"),
    ):
        with pytest.raises(CallsPending, match=missing):
            await agents.runs.proceed(stream, (MessageAdded("tool", parts),))
    await agents.runs.proceed(stream, (MessageAdded("tool", (ToolResultPart("c", 1),)),))
    await agents.ended(stream, 2)
    told = [part for message in agents.model.asked[-1].input for part in message.parts]
    assert [part.call_id for part in told if isinstance(part, ToolResultPart)] == ["s", "c"]


async def test_there_is_a_limit_to_rounds() -> None:
    agents = Agents(Model(*(call((f"c{n}", "look", "")) for n in range(9))), tool("look"), max_iterations=3)
    end = (await agents.ended(await agents.begin()))[-1]
    assert isinstance(end, ResponseDone) and end.finish_reason == "max_iterations" and not end.pending_calls
    assert len(agents.model.asked) == 3
    assert [name for name, _ in agents.notes.ran] == ["look", "look"], "the last calls are not run"
    agents = Agents(Model(*(call((f"c{n}", "look", "")) for n in range(9))), tool("look"), max_iterations=3)
    await agents.ended(await agents.begin(max_iterations=1))
    assert len(agents.model.asked) == 1 and agents.notes.ran == []


async def test_a_stop_ends_the_tools_that_run() -> None:
    agents = Agents(Model(call(("c", "look", ""))), tool("look"))
    agents.notes.answers["look"] = asyncio.Event().wait
    stream = await agents.begin()
    await until(agents.log, stream, lambda event: isinstance(event, ToolStarted))
    assert await agents.runs.stop(stream, "ada")
    events = await agents.ended(stream)
    assert kinds(events)[-3:] == ["response.stop.requested", "tool.failed", "response.done"]
    assert isinstance(events[-1], ResponseDone) and events[-1].finish_reason == "cancelled"


async def test_a_tool_is_not_run_again_after_the_process_has_died_in_it() -> None:
    agents = Agents(Model(call(("c", "look", "")), says("Who knows.")), tool("look"))
    agents.notes.answers["look"] = asyncio.Event().wait
    stream = await agents.begin()
    await until(agents.log, stream, lambda event: isinstance(event, ToolStarted))
    await agents.again()
    events = await agents.ended(stream)
    [failed] = [event for event in events if isinstance(event, ToolFailed)]
    assert failed.error == "the server died while the tool ran: what it has done is not known"
    assert len(agents.notes.ran) == 1
    assert agents.model.asked[1].input[0] == hello(), "it is asked with the whole conversation"
    assert isinstance(events[-1], ResponseDone)
    assert events[-1].usage == Usage(2 * USAGE.input_tokens, 0, 2 * USAGE.output_tokens)


async def test_an_idempotent_tool_is() -> None:
    agents = Agents(Model(call(("c", "look", "")), says("Rain.")), tool("look", idempotent=True))
    agents.notes.answers["look"] = asyncio.Event().wait
    stream = await agents.begin()
    await until(agents.log, stream, lambda event: isinstance(event, ToolStarted))
    agents.notes.answers = {}
    await agents.again()
    assert [type(event) for event in await agents.ended(stream)].count(ToolDone) == 1
    assert len(agents.notes.ran) == 2


async def test_an_answer_goes_on_between_two_rounds_but_not_within_one() -> None:
    async def never() -> list[PartStarted]:
        await asyncio.Event().wait()
        return []

    agents = Agents(Model(call(("c", "look", "")), never, says("Rain.")), tool("look"))
    stream = await agents.begin()
    await until(agents.log, stream, lambda event: isinstance(event, ToolDone))
    await agents.again()
    assert isinstance((await agents.ended(stream))[-1], ResponseDone)


async def test_a_round_that_the_process_has_died_in_is_the_end() -> None:
    agents = Agents(Model(), tool("look"))
    part = TextPart("Well")
    await agents.log.append(
        "s",
        [
            ResponseStarted("s.1", "m"), Custom(ROUND_DONE, {"usage": {}}),
            PartStarted("p", part), PartDone("p", part),
        ],
    )  # fmt: skip
    await agents.again()
    end = (await agents.ended("s"))[-1]
    assert isinstance(end, ResponseFailed) and end.code == "interrupted"


async def test_stopping_twice_is_stopping_once() -> None:
    agents = Agents(Model(call(("c", "look", ""))), tool("look"))
    agents.notes.answers["look"] = asyncio.Event().wait
    stream = await agents.begin()
    await until(agents.log, stream, lambda event: isinstance(event, ToolStarted))
    await asyncio.gather(agents.runs.stop(stream), agents.runs.stop(stream))
    assert [type(event) for event in await agents.ended(stream)].count(StopRequested) == 1
