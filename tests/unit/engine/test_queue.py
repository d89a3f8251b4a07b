"""Messages that wait for their turn: the log is the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec import UNSET

from agency import Agents, Model, hello, says
from penstock.engine.upstreams import Models
from penstock.errors import Draining, IdempotencyClash, StreamNotFound
from penstock.events import (
    TERMINAL,
    Custom,
    Event,
    MessageAdded,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    StopRequested,
)
from penstock.log import Head
from penstock.log.memory import MemoryLog
from penstock.requests import Start
from penstock.snapshot import conversation, fold, text_of


class Gate:
    """A round of a model that waits until it is opened."""

    def __init__(self, text: str) -> None:
        self.reached, self.opened, self._text = asyncio.Event(), asyncio.Event(), text

    async def __call__(self) -> Sequence[Event]:
        self.reached.set()
        await self.opened.wait()
        return says(self._text)


Round = Sequence[Event] | Callable[[], Awaitable[Sequence[Event]]]


async def session(*rounds: Round) -> tuple[Agents, str]:
    agents = Agents(Model(*rounds))
    await agents.log.append("s", [Custom("session")])
    return agents, "s"


SETTINGS = Start("m", keep_open=True)


async def send(agents: Agents, text: str, message_id: str = "") -> None:
    await agents.runs.send("s", hello(text, message_id or text), SETTINGS)


def answered(events: Sequence[Event]) -> list[str]:
    """The texts of messages in the order in which answers to them began."""
    found, last = [], ""
    for event in events:
        if isinstance(event, MessageAdded) and not event.request:
            last = event.message_id
        if isinstance(event, ResponseStarted):
            found.append(event.answers.message_id if event.answers else last)
    return found


async def test_messages_are_answered_one_after_the_other_in_order() -> None:
    gate = Gate("1")
    agents, stream = await session(gate, says("2"), says("3"))
    await send(agents, "a")
    await gate.reached.wait()
    await send(agents, "b")
    await send(agents, "c")
    gate.opened.set()
    events = await agents.ended(stream, 3)
    assert answered(events) == ["a", "b", "c"]
    assert [event.response_id for event in events if isinstance(event, ResponseStarted)] == [
        "s.1",
        "s.2",
        "s.3",
    ]
    assert [texts(start.input) for start in agents.model.asked] == [
        ["a"], ["a", "1", "b"], ["a", "1", "b", "2", "c"],
    ]  # fmt: skip
    assert texts(conversation(fold(events))) == ["a", "1", "b", "2", "c", "3"]


def texts(messages: Sequence[MessageAdded]) -> list[str]:
    return [text_of(part) for message in messages for part in message.parts]


async def test_many_devices_send_at_once_and_nothing_is_lost() -> None:
    agents, stream = await session(*(says(str(n)) for n in range(20)))
    await asyncio.gather(*(send(agents, f"m{n}") for n in range(20)))
    events = await agents.ended(stream, 20)
    sent = [event.message_id for event in events if isinstance(event, MessageAdded)]
    assert answered(events) == sent and len(set(sent)) == 20


async def test_a_stop_drops_what_waits() -> None:
    gate = Gate("1")
    agents, stream = await session(gate, says("4"))
    await send(agents, "a")
    await gate.reached.wait()
    await send(agents, "b")
    await send(agents, "c")
    assert await agents.runs.stop(stream, "ada")
    events = await agents.ended(stream)
    [stop] = [event for event in events if isinstance(event, StopRequested)]
    assert stop == StopRequested("ada", ("b", "c"))
    await send(agents, "d")
    events = await agents.ended(stream, 2)
    assert answered(events) == ["a", "d"]
    assert "b" not in str(conversation(fold(events)))


async def test_what_waits_is_answered_by_the_next_process() -> None:
    never = Gate("never")
    agents, stream = await session(never, says("2"), says("3"))
    await send(agents, "a")
    await send(agents, "b")
    await send(agents, "c")
    await never.reached.wait()
    await agents.again()
    events = await agents.ended(stream, 3)
    assert answered(events) == ["a", "b", "c"]
    first = next(event for event in events if isinstance(event, TERMINAL))
    assert isinstance(first, ResponseFailed) and first.code == "interrupted"


async def test_also_if_it_died_between_two_answers() -> None:
    agents, stream = await session(Gate("never"), says("2"), says("3"))
    await send(agents, "a")
    await send(agents, "b")
    await send(agents, "c")
    await agents.runs.aclose()
    b = next(event for event in await agents.events(stream) if getattr(event, "message_id", "") == "b")
    assert isinstance(b, MessageAdded)
    await agents.log.append(
        stream,
        [
            ResponseDone("stop"),
            ResponseStarted("s.2", "m", request={"keep_open": True}, answers=b),
            ResponseDone("stop"),
        ],
    )
    agents.model.rounds = [says("3")]
    await agents.again()
    assert answered(await agents.ended(stream, 3)) == ["a", "b", "c"]


async def test_a_message_is_answered_once_however_often_it_is_sent() -> None:
    gate = Gate("1")
    agents, stream = await session(gate, says("2"))
    await send(agents, "a")
    await gate.reached.wait()
    for _ in range(3):
        await send(agents, "a")
        await send(agents, "b")
    with pytest.raises(IdempotencyClash):
        await send(agents, "something else", "b")
    gate.opened.set()
    assert answered(await agents.ended(stream, 2)) == ["a", "b"]


async def test_a_message_that_cannot_be_answered_fails_and_the_next_is_answered() -> None:
    gate = Gate("1")
    agents, stream = await session(gate, says("3"))
    agents.runs.serve(Models({"test": (agents.model, {"m": "m", "gone": "gone"})}))
    await send(agents, "a")
    await gate.reached.wait()
    await agents.runs.send(stream, hello("b", "b"), Start("gone", keep_open=True))
    await send(agents, "c")
    agents.runs.serve(Models({"test": (agents.model, {"m": "m"})}))
    gate.opened.set()
    ends = [event for event in await agents.ended(stream, 3) if isinstance(event, TERMINAL)]
    assert isinstance(ends[1], ResponseFailed) and ends[1].code == "model_not_found"
    assert isinstance(ends[2], ResponseDone)


async def test_while_draining_nothing_is_accepted_and_what_waits_stays() -> None:
    gate = Gate("1")
    agents, stream = await session(gate, says("2"))
    await send(agents, "a")
    await gate.reached.wait()
    await send(agents, "b")
    draining = asyncio.create_task(agents.runs.drain(20))
    while not agents.runs.draining:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Draining):
        await send(agents, "c")
    gate.opened.set()
    await draining
    assert answered(await agents.events(stream)) == ["a"]
    await agents.again()
    assert answered(await agents.ended(stream, 2)) == ["a", "b"]


async def letting_go(agents: Agents) -> asyncio.Event:
    """Keep what has answered from being let go; return once it would be, and what lets it."""
    reached, gone = asyncio.Event(), asyncio.Event()

    async def closing() -> None:
        reached.set()
        await gone.wait()

    agents.model.closing = closing
    await reached.wait()
    agents.model.closing = None
    return gone


async def test_a_stop_between_two_answers_stops_the_one_that_is_next() -> None:
    gate = Gate("1")
    agents, stream = await session(gate, Gate("2"), says("3"))
    await send(agents, "a")
    await gate.reached.wait()
    await send(agents, "b")
    await send(agents, "c")
    gate.opened.set()
    gone = await letting_go(agents)
    assert await agents.runs.stop(stream, "ada")
    gone.set()
    events = await agents.ended(stream, 2)
    [stop] = [event for event in events if isinstance(event, StopRequested)]
    assert stop == StopRequested("ada", ("c",))
    await over(agents)
    assert answered(await agents.events(stream)) == ["a", "b"]


class Slow(MemoryLog):
    """A log that does something first whenever it is asked a certain thing."""

    def __init__(self) -> None:
        super().__init__()
        self.before_append: Callable[[Sequence[Event]], Awaitable[None]] | None = None
        self.before_origin: Callable[[], Awaitable[None]] | None = None

    async def append(self, stream: str, events: Sequence[Event], **more: Any) -> Head:
        if self.before_append is not None:
            await self.before_append(events)
        return await super().append(stream, events, **more)

    async def origin(self, stream: str, offset: int) -> int:
        if self.before_origin is not None:
            await self.before_origin()
        return await super().origin(stream, offset)


async def over(agents: Agents) -> None:
    """Return once nothing is under way."""
    while len(agents.runs):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_message_that_comes_as_the_answer_before_it_ends_is_answered() -> None:
    log, gate = Slow(), Gate("1")
    agents = Agents(Model(gate, says("2")), log=log)
    stream = await agents.begin()
    await gate.reached.wait()

    async def end_first(events: Sequence[Event]) -> None:
        if any(isinstance(event, MessageAdded) and event.request is not UNSET for event in events):
            gate.opened.set()
            await over(agents)

    log.before_append = end_first
    await agents.runs.send(stream, hello("b", "b"), SETTINGS)
    assert isinstance((await agents.ended(stream, 2))[-1], ResponseDone)


async def test_a_message_that_comes_while_an_answer_is_written_is_accepted() -> None:
    log, gate = Slow(), Gate("1")
    agents = Agents(Model(gate, says("2")), log=log)
    stream = await agents.begin()
    await gate.reached.wait()

    async def go_on() -> None:
        log.before_origin = None
        gate.opened.set()
        await over(agents)

    log.before_origin = go_on
    await agents.runs.send(stream, hello("b", "b"), SETTINGS)
    assert isinstance((await agents.ended(stream, 2))[-1], ResponseDone)


async def test_an_answer_that_begins_as_the_one_before_it_lets_go_is_still_known() -> None:
    gate = Gate("2")
    agents, stream = await session(says("1"), gate)
    await send(agents, "a")
    gone = await letting_go(agents)
    await send(agents, "b")
    await gate.reached.wait()
    gone.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(agents.runs) == 1
    assert await agents.runs.stop(stream)
    end = (await agents.ended(stream, 2))[-1]
    assert isinstance(end, ResponseDone) and end.finish_reason == "cancelled"


async def test_nothing_is_kept_of_a_stream_that_is_not_there() -> None:
    agents, _ = await session()
    with pytest.raises(StreamNotFound):
        await agents.runs.send("nowhere", hello("a", "a"), SETTINGS)
