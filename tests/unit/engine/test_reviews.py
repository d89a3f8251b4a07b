"""Reviews: bound to what was asked, decided once, durable, expiring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec import UNSET

from agency import Agents, Model, call, kinds, says, tool, until
from penstock.calls import digest
from penstock.cursor import Cursor
from penstock.errors import ReviewDecided, ReviewNotFound
from penstock.events import (
    Event,
    ResponseDone,
    ReviewDone,
    ReviewRequested,
    StopRequested,
    ToolDone,
    ToolFailed,
    ToolStarted,
)
from penstock.log import Head, Record
from penstock.log.memory import MemoryLog
from penstock.requests import Decide

PAY = tool("pay", needs_review=True)


def paying(*tools: Any, **limits: Any) -> Agents:
    return Agents(
        Model(call(("c", "pay", '{"to":"Ida","sum":3}')), says("Well.")), *(tools or (PAY,)), **limits
    )


async def asked(agents: Agents, stream: str, times: int = 1) -> list[ReviewRequested]:
    """Return what humans are asked in a stream, once it is so often."""
    events = await until(agents.log, stream, lambda event: isinstance(event, ReviewRequested), times)
    return [event for event in events if isinstance(event, ReviewRequested)]


def approved(**more: Any) -> Decide:
    return Decide("c", "approved", by="ada", **more)


async def test_an_approved_call_is_made_with_what_was_approved() -> None:
    agents = paying()
    stream = await agents.begin()
    [review] = await asked(agents, stream)
    assert agents.notes.ran == []
    assert review.arguments == {"to": "Ida", "sum": 3}
    assert review.digest == digest(stream, f"{stream}.1", "c", "pay", {"sum": 3, "to": "Ida"})
    assert isinstance(review.expires_at, float) and review.expires_at > time.time() + 80_000
    await agents.runs.decide(stream, approved(digest=review.digest))
    assert kinds(await agents.ended(stream))[3:] == [
        "tool.review.requested", "tool.review.done", "tool.started", "tool.done", "response.done",
    ]  # fmt: skip
    assert agents.notes.ran == [("pay", {"to": "Ida", "sum": 3})]


async def test_a_rejected_call_is_not_made_and_the_model_is_told() -> None:
    agents = paying()
    stream = await agents.begin()
    await asked(agents, stream)
    await agents.runs.decide(stream, Decide("c", "rejected", by="bob"))
    events = await agents.ended(stream)
    assert kinds(events)[3:] == [
        "tool.review.requested", "tool.review.done", "tool.failed", "response.done",
    ]  # fmt: skip
    assert agents.notes.ran == []
    told = agents.model.asked[1].input[-1].parts[0]
    assert "rejected by a human" in str(told)


async def test_an_approval_may_say_what_the_tool_would_have() -> None:
    agents = paying()
    stream = await agents.begin()
    await asked(agents, stream)
    await agents.runs.decide(stream, approved(output={"paid": False}))
    [done] = [event for event in await agents.ended(stream) if isinstance(event, ToolDone)]
    assert done.result == {"paid": False} and agents.notes.ran == []


@pytest.mark.parametrize(
    ("policy", "needs", "asks"),
    [
        ("none", True, False), ("none", False, False),
        ("respect_tool", True, True), ("respect_tool", False, False),
        ("all", True, True), ("all", False, True),
    ],
)  # fmt: skip
async def test_who_is_asked_is_a_policy(policy: Any, needs: bool, asks: bool) -> None:
    agents = paying(tool("pay", needs_review=needs))
    stream = await agents.begin(review=policy)
    if asks:
        await asked(agents, stream)
        await agents.runs.decide(stream, approved())
    events = await agents.ended(stream)
    assert any(isinstance(event, ReviewRequested) for event in events) == asks
    assert len(agents.notes.ran) == 1


async def test_a_decision_is_about_one_call_and_nothing_else() -> None:
    agents = paying()
    stream = await agents.begin()
    [review] = await asked(agents, stream)
    with pytest.raises(ReviewNotFound):
        await agents.runs.decide(stream, Decide("d", "approved"))
    with pytest.raises(ReviewDecided, match="digest"):
        await agents.runs.decide(stream, approved(digest=review.digest[:-1] + "x"))
    assert agents.notes.ran == []
    await agents.runs.decide(stream, approved())
    with pytest.raises(ReviewDecided, match="was approved before"):
        await agents.runs.decide(stream, Decide("c", "rejected"))
    await agents.ended(stream)
    with pytest.raises(ReviewDecided):
        await agents.runs.decide(stream, approved())
    assert len(agents.notes.ran) == 1


async def test_a_forged_approval_runs_nothing() -> None:
    """Whoever can write to the log without asking can still not have one thing approved and another run."""
    agents = paying()
    stream = await agents.begin()
    await asked(agents, stream)
    await agents.log.append(stream, [ReviewDone("c", "of something else", "approved")])
    await agents.again()
    [failed] = [event for event in await agents.ended(stream) if isinstance(event, ToolFailed)]
    assert failed.error == "what was approved is not what the call says" and agents.notes.ran == []


async def test_of_two_decisions_at_once_one_wins() -> None:
    agents = paying()
    stream = await agents.begin()
    await asked(agents, stream)
    outcomes = await asyncio.gather(
        *(agents.runs.decide(stream, Decide("c", verdict)) for verdict in ("approved", "rejected")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), ReviewDecided]
    events = await agents.ended(stream)
    assert [event.verdict for event in events if isinstance(event, ReviewDone)] == ["approved"]


async def test_a_run_that_waits_for_humans_is_let_go() -> None:
    agents = paying()
    stream = await agents.begin()
    await asked(agents, stream)
    while len(agents.runs):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await agents.runs.decide(stream, approved())
    assert isinstance((await agents.ended(stream))[-1], ResponseDone)


async def test_a_decision_while_another_tool_runs_is_heeded_at_once() -> None:
    agents = paying(PAY, tool("look"))
    agents.model.rounds[0] = call(("c", "pay", "{}"), ("l", "look", "{}"))
    paid = asyncio.Event()

    async def look() -> None:
        await paid.wait()

    async def pay() -> None:
        paid.set()

    agents.notes.answers = {"look": look, "pay": pay}
    stream = await agents.begin()
    await until(agents.log, stream, lambda event: isinstance(event, ToolStarted))
    await asked(agents, stream)
    await agents.runs.decide(stream, approved())
    events = await agents.ended(stream)
    assert {event.call_id for event in events if isinstance(event, ToolDone)} == {"c", "l"}


async def test_reviews_expire() -> None:
    agents = paying(review_time=0.01)
    stream = await agents.begin()
    watch = asyncio.create_task(agents.runs.watch(0.005))
    events = await agents.ended(stream)
    watch.cancel()
    assert [event.verdict for event in events if isinstance(event, ReviewDone)] == ["expired"]
    assert agents.notes.ran == []
    assert "not approved in time" in str(agents.model.asked[1].input[-1])


async def test_one_that_has_expired_cannot_be_approved() -> None:
    agents = paying(review_time=0.0001)
    stream = await agents.begin()
    [review] = await asked(agents, stream)
    assert review.expires_at is not UNSET
    while time.time() <= review.expires_at:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(ReviewDecided, match="has expired"):
        await agents.runs.decide(stream, approved())


async def test_a_stop_resolves_what_is_pending() -> None:
    agents = paying()
    stream = await agents.begin()
    await asked(agents, stream)
    assert await agents.runs.stop(stream, "ada")
    assert kinds(await agents.ended(stream))[-4:] == [
        "response.stop.requested", "tool.review.done", "tool.failed", "response.done",
    ]  # fmt: skip
    assert not await agents.runs.stop(stream)
    with pytest.raises(ReviewDecided):
        await agents.runs.decide(stream, approved())


async def test_a_review_survives_the_process_and_is_answered_in_the_next() -> None:
    agents = paying()
    stream = await agents.begin()
    before = await asked(agents, stream)
    await agents.again()
    await agents.again()
    assert await asked(agents, stream) == before, "it is not asked again"
    await agents.runs.decide(stream, approved())
    assert isinstance((await agents.ended(stream))[-1], ResponseDone)
    assert len(agents.notes.ran) == 1


async def test_a_decision_survives_the_process() -> None:
    agents = paying()
    stream = await agents.begin()
    [review] = await asked(agents, stream)
    await agents.runs.aclose()
    await agents.log.append(stream, [ReviewDone("c", review.digest, "approved")])  # and then it dies
    await agents.again()
    await agents.ended(stream)
    assert len(agents.notes.ran) == 1


async def test_a_review_that_expired_while_nobody_was_there_expires_in_the_next() -> None:
    agents = paying(review_time=0.01)
    stream = await agents.begin()
    await asked(agents, stream)
    await agents.again()
    watch = asyncio.create_task(agents.runs.watch(0.005))
    events = await agents.ended(stream)
    watch.cancel()
    assert [event.verdict for event in events if isinstance(event, ReviewDone)] == ["expired"]


async def test_the_same_call_in_the_next_answer_is_another() -> None:
    agents = paying()
    agents.model.rounds += [call(("c", "pay", '{"to":"Ida","sum":3}')), says("Again.")]
    stream = await agents.begin()
    [first] = await asked(agents, stream)
    await agents.runs.decide(stream, approved(digest=first.digest))
    await agents.ended(stream)
    await agents.runs.proceed(stream, agents.start("again").input)
    _, second = await asked(agents, stream, 2)
    assert second.digest != first.digest
    with pytest.raises(ReviewDecided):
        await agents.runs.decide(stream, approved(digest=first.digest))
    assert len(agents.notes.ran) == 1


class Slow(MemoryLog):
    """A log that takes its time when a run looks, after it has asked a human, what there is left to do."""

    def __init__(self) -> None:
        super().__init__()
        self.looking, self.looked = asyncio.Event(), asyncio.Event()
        self.before_stop: Callable[[], Awaitable[None]] | None = None
        self._asked = False

    async def batch(self, stream: str, cursor: Cursor | None, limit: int = 1000) -> list[Record]:
        found = await super().batch(stream, cursor, limit)
        if self._asked:
            self._asked = False
            self.looking.set()
            await self.looked.wait()
        return found

    async def append(self, stream: str, events: Sequence[Event], **more: Any) -> Head:
        if self.before_stop is not None and isinstance(events[0], StopRequested):
            await self.before_stop()
        self._asked = any(isinstance(event, ReviewRequested) for event in events)
        return await super().append(stream, events, **more)


async def looking() -> tuple[Agents, Slow, str]:
    """Return a run that is about to find that it waits for humans only."""
    log = Slow()
    agents = Agents(Model(call(("c", "pay", '{"to":"Ida","sum":3}'))), PAY, log=log)
    stream = await agents.begin()
    await log.looking.wait()
    return agents, log, stream


async def test_a_stop_ends_a_run_that_is_about_to_be_let_go() -> None:
    agents, log, stream = await looking()
    assert await agents.runs.stop(stream, "ada")
    log.looked.set()
    end = (await agents.ended(stream))[-1]
    assert isinstance(end, ResponseDone) and end.finish_reason == "cancelled"


async def test_a_stop_ends_an_answer_whose_run_was_let_go_meanwhile() -> None:
    agents, log, stream = await looking()

    async def let_go() -> None:
        log.looked.set()
        while len(agents.runs):  # noqa: ASYNC110
            await asyncio.sleep(0)

    log.before_stop = let_go
    assert await agents.runs.stop(stream, "ada")
    events = await agents.ended(stream)
    assert isinstance(events[-1], ResponseDone) and events[-1].finish_reason == "cancelled"
    assert [type(event) for event in events].count(StopRequested) == 1
