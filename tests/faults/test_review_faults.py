"""
Decisions that race, and a server that is killed at every step of a review's life.

The endpoint of the tool is the judge: each call has a digest, which comes with
every request, so what was executed how often is known from outside. It may be
once, if a human approved, and never else. That is what the log says, too.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Barrier, Event
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx2

from interop.modelrelay.saying import begun, more
from interop.opper.stage import END, paused, says
from interop.orq.stage import House, asks, housed, said
from interop.orq.workshop import Workshop
from penstock.log.sqlite import SQLiteLog
from serving import Server
from upstream import Script, chunk, sse

REVIEWS: Final = 1000
PAIRS: Final = 8
"""Pairs of browsers; in each, one approves of everything and the other of nothing."""
STORM: Final = 24
ASKED: Final = "tool.review.requested"
UNKNOWN: Final = "what it has done is not known"
TERMINAL: Final = ("response.done", "response.failed")
Events = list[dict[str, Any]]


# -- what is in the log


def check(events: Events, executed: int) -> None:
    """The log must say what was executed so often, and never twice; each review was decided once."""
    types = Counter(event["type"] for event in events)
    assert all(types[kind] <= 1 for kind in (ASKED, "tool.review.done", "tool.started")), types
    assert types["tool.done"] + types["tool.failed"] <= 1 and types["response.started"] == 1
    assert sum(types[kind] for kind in TERMINAL) == 1
    decision = next((event for event in events if event["type"] == "tool.review.done"), {})
    outcome = next((event for event in events if event["type"] in ("tool.done", "tool.failed")), {})
    if types["tool.started"]:
        assert decision["verdict"] == "approved" and outcome
    match outcome.get("type"):
        case "tool.done":
            assert executed == ("output" not in decision) and types["tool.started"]
        case "tool.failed" if types["tool.started"]:
            assert executed <= 1 and UNKNOWN in outcome["error"]
        case _:
            assert executed == 0


# -- browsers


class Review(NamedTuple):
    stream: str
    call: str
    digest: str


def review_of(stream: str, events: Events) -> Review:
    [asked] = [event for event in events if event["type"] == ASKED]
    return Review(stream, asked["call_id"], asked["digest"])


Wanted = Callable[[dict[str, Any]], bool]


def never(event: dict[str, Any]) -> bool:
    return False


def asks_a_human(event: dict[str, Any]) -> bool:
    return bool(event["type"] == ASKED)


class Browser:
    """Somebody with one connection to the server."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Return the status and the body of the answer."""
        headers = {"content-type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def follow(self, stream: str, wanted: Wanted = never) -> Events:
        """Return what happens in a stream, to the end of its answer or to an event that is wanted."""
        path = f"/v1/streams/{stream}/events?until=done"
        self._connection.request("GET", path, headers={"accept": "application/x-ndjson"})
        found: Events = []
        with self._connection.getresponse() as answer:
            for line in answer:
                found += [json.loads(line)] if line.strip() else []
                if found and wanted(found[-1]):
                    self.close()  # which the next request opens again
                    break
        return found

    def begin(self, agent: str) -> Review:
        """Begin an answer, and wait until it asks."""
        message = said("Use the tool that needs approval, in 5 words")
        body = {"message": message, "background": True}
        _, begun = self.post(f"/v2/agents/{agent}/responses", body)
        return review_of(begun["task_id"], self.follow(begun["task_id"], asks_a_human))

    def decide(self, agent: str, review: Review, verdict: str, *, native: bool) -> int:
        """Return the status of the answer."""
        stream, call, digest = review
        if native:
            path, body = f"/v1/streams/{stream}/reviews/{call}", {"verdict": verdict, "digest": digest}
        else:
            path, body = f"/v2/agents/{agent}/tasks/{stream}/actions/{call}/review", {"review": verdict}
        return self.post(path, body)[0]


# -- of two decisions one wins


def begun_by(url: str, agent: str, number: int) -> list[Review]:
    with closing(Browser(url)) as browser:
        return [browser.begin(agent) for _ in range(number)]


def decided_by(url: str, agent: str, reviews: list[Review], verdict: str, together: Barrier) -> list[int]:
    """Decide about each review at the moment at which somebody else does, who uses the other wire."""
    statuses = []
    with closing(Browser(url)) as browser:
        for n, review in enumerate(reviews):
            together.wait(60)
            native = (n % 2 == 0) == (verdict == "approved")
            statuses.append(browser.decide(agent, review, verdict, native=native))
    return statuses


def followed_by(url: str, reviews: list[Review]) -> list[Events]:
    with closing(Browser(url)) as browser:
        return [browser.follow(review.stream) for review in reviews]


def test_of_two_decisions_one_wins(tmp_path: Path) -> None:
    with (
        Workshop() as workshop,
        Server(tmp_path, tool_hosts="127.0.0.1") as server,
        ThreadPoolExecutor(2 * PAIRS) as threads,
    ):
        agent, url = define(server.url, workshop, "demo-fast"), server.url
        share = REVIEWS // PAIRS
        begun = [threads.submit(begun_by, url, agent, share) for _ in range(PAIRS)]
        shares = [each.result() for each in begun]
        assert not workshop.jobs
        pairs = [
            [
                threads.submit(decided_by, url, agent, reviews, verdict, together)
                for together in [Barrier(2)]
                for verdict in ("approved", "rejected")
            ]
            for reviews in shares
        ]
        answers = [answer for pair in pairs for answer in zip(*(each.result() for each in pair), strict=True)]
        read = [threads.submit(followed_by, url, reviews) for reviews in shares]
        logs = [events for each in read for events in each.result()]
    reviews = [review for share in shares for review in share]
    judge(reviews, answers, logs, workshop.counts())


def judge(
    reviews: list[Review], answers: list[tuple[int, ...]], logs: list[Events], executed: Counter[str]
) -> None:
    """One of the two was heard; what it said is in the log, and what was done."""
    assert len({review.digest for review in reviews}) == len(answers) == REVIEWS
    won = Counter[str]()
    for review, statuses, events in zip(reviews, answers, logs, strict=True):
        assert sorted(statuses) == [200, 409], statuses
        winner = "approved" if statuses[0] == 200 else "rejected"
        [done] = [event for event in events if event["type"] == "tool.review.done"]
        assert (done["verdict"], done["digest"]) == (winner, review.digest)
        assert executed[review.digest] == (winner == "approved")
        check(events, executed[review.digest])
        assert events[-1]["type"] == "response.done"
        won[winner] += 1
    assert won["approved"] and won["rejected"] and sum(executed.values()) == won["approved"]
    print(f"{REVIEWS} reviews, {dict(won)}, {sum(executed.values())} executions: none twice")


# -- a clerk whose server dies


def define(url: str, workshop: Workshop, model: str, place: str = "/refund") -> str:
    """Define an agent, named after its model, whose one tool is a place in the workshop."""
    key = f"{model}{place}".replace("/", "-")
    body = {
        "key": key, "role": "", "description": "", "instructions": "", "path": "", "model": model,
        "settings": {"tools": [workshop.tool(place, requires_approval=True, order="number")]},
    }  # fmt: skip
    assert httpx2.post(f"{url}/v2/agents", json=body, timeout=60).status_code == 201
    return key


class Desk(NamedTuple):
    """Where an agent is asked that refunds, once in each of its answers, and then says so."""

    house: House
    agent: str

    def begin(self) -> str:
        """Begin a stream, and return its name."""
        return str(self.house.turn(self.agent, background=True)["task_id"])

    def asked(self) -> Review:
        """Begin a stream, and wait until it asks."""
        stream = self.begin()
        return review_of(stream, self.until(stream, asks_a_human))

    def until(self, stream: str, wanted: Wanted = never) -> Events:
        """Return what happens in a stream, to the end of its answer or to an event that is wanted."""
        with closing(Browser(self.house.url)) as browser:
            return browser.follow(stream, wanted)

    def decide(self, review: Review, verdict: str, **output: Any) -> int:
        answer = self.house.review(self.agent, review.stream, review.call, verdict, **output)
        return answer.status_code


def converses(house: House, model: str, asking: Script, telling: Script) -> str:
    """Let a model ask for its tool or, told what became of that, say so; return its name."""

    def script(connection: socket.socket, attempt: int) -> None:
        told = house.stage.bodies(model)[attempt - 1]["messages"][-1]["role"] == "tool"
        (telling if told else asking)(connection, attempt)

    house.stage.scripts[model] = script
    return model


ASKING: Final = asks(("refund", {"order": 7}))
TELLING: Final = says("All ", "done.")


# -- killed at every step


class Life(NamedTuple):
    """An answer that was decided about in one way, to its end."""

    verdict: str
    output: dict[str, Any]
    review: Review
    events: Events

    @property
    def executes(self) -> bool:
        """Whether the decision lets the tool run."""
        return self.verdict == "approved" and not self.output


LIVES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("approved", {}),
    ("approved", {"mock_output": {"mocked": True}}),
    ("rejected", {}),
)


def test_dead_after_any_event(tmp_path: Path) -> None:
    """
    A server finds what one left that died after any event of an answer: the first one, the first two, ...

    Whole answers are made, and cut off by hand: between two appends no process can
    be killed from outside for certain.
    """
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with housed(first) as house:
        model = converses(house, "clerk", ASKING, TELLING)
        desk = Desk(house, define(house.url, house.workshop, model))
        lives = [(life, kept) for way in LIVES for life, kept in copies(desk, *way)]
        house.stage.server.kill()
        asyncio.run(cut_off(first, second, {life.review.stream: kept for life, kept in lives}))
        executed = house.workshop.counts()
        with Server(second, (first / "penstock.toml").read_text(), tool_hosts="127.0.0.1") as server:
            later = desk._replace(house=house._replace(stage=house.stage._replace(server=server)))
            fates = [fate(later, life, kept, executed) for life, kept in lives]
    assert {*fates} == {*FATES.values()}
    print(Counter(fates))


def copies(desk: Desk, verdict: str, output: dict[str, Any]) -> Iterator[tuple[Life, int]]:
    """Yield as many answers, decided about so, as they have events, and how many each is to keep."""
    life = ended(desk, verdict, output)
    yield life, len(life.events)
    for kept in range(2, len(life.events)):  # the message and the beginning of its answer are one append
        yield ended(desk, verdict, output), kept


def ended(desk: Desk, verdict: str, output: dict[str, Any]) -> Life:
    review = desk.asked()
    assert desk.decide(review, verdict, **output) == 200
    return Life(verdict, output, review, desk.until(review.stream))


async def cut_off(first: Path, second: Path, kept: dict[str, int]) -> None:
    """Copy the log of one folder into another, of each of these streams so many events."""
    (second / "penstock-data").mkdir()
    source = await SQLiteLog.open(first / "penstock-data" / "penstock.db")
    target = await SQLiteLog.open(second / "penstock-data" / "penstock.db")
    for info in await source.streams(limit=1000):
        events = [record.event async for record in source.read(info.name)]
        head = await source.head(info.name)
        await target.append(info.name, events[: kept.get(info.name, len(events))], seal=head.sealed)
    await source.aclose()
    await target.aclose()


FATES: Final = {
    "response.started": "interrupted",
    "part.started": "interrupted",
    "part.delta": "interrupted",
    "part.done": "interrupted",
    "custom": "asked",
    ASKED: "asked",
    "tool.review.done": "executed",
    "tool.started": "unknown",
    "tool.done": "told",
    "tool.failed": "told",
    "response.done": "ended",
}
"""What the next process makes of an answer, by the last event that the dead one wrote."""


def plain(events: Events) -> Events:
    """Return events without their places and times, which are new in a copy."""
    return [{key: value for key, value in event.items() if key not in ("cursor", "at")} for event in events]


def fate(desk: Desk, life: Life, kept: int, before: Counter[str]) -> str:
    """Return what has become of an answer that had ``kept`` events; it must be what the laws allow."""
    review, fate = life.review, FATES[life.events[kept - 1]["type"]]
    if fate == "asked":
        assert review_of(review.stream, desk.until(review.stream, asks_a_human)) == review
        assert desk.decide(review, life.verdict, **life.output) == 200
    events = desk.until(review.stream)
    assert plain(events[:kept]) == plain(life.events[:kept])
    executed = desk.house.workshop.counts()[review.digest] - before[review.digest]
    assert executed == (life.executes and fate in ("asked", "executed"))
    was_executed = life.executes and any(event["type"] == "tool.started" for event in life.events[:kept])
    check(events, executed + was_executed)
    said = [event["type"] for event in events[kept:]]
    match fate:
        case "interrupted":
            assert said == ["response.failed"] and events[-1]["code"] == "interrupted"
        case "unknown":
            assert UNKNOWN in events[kept]["error"] and said[-1] == "response.done"
        case "ended":
            assert not said
        case _:
            assert said[-1] == "response.done"
    return fate


def test_killed_at_each_step_that_takes_time(tmp_path: Path) -> None:
    """While the model asks, while the human thinks, while the tool runs, while the model tells; and after."""
    go_on = Event()
    with housed(tmp_path) as house:
        house.workshop.works["/slow"] = lambda job: (200 if go_on.wait(60) else 500, job.body)
        half, word = sse(begun(0, "refund"), more(0, '{"or')), sse(chunk("All "))
        models = {
            "asking": (paused(half, go_on.wait), TELLING, "/refund"),
            "pending": (ASKING, TELLING, "/refund"),
            "running": (asks(("slow", {"order": 7})), TELLING, "/slow"),
            "telling": (ASKING, paused(word, go_on.wait, *END), "/refund"),
            "over": (ASKING, TELLING, "/refund"),
        }
        desks = {
            name: Desk(house, define(house.url, house.workshop, converses(house, name, *scripts), place))
            for name, (*scripts, place) in models.items()
        }
        begun_to_ask = desks["asking"].begin()
        desks["asking"].until(begun_to_ask, lambda event: event["type"] == "part.delta")
        reviews = {name: desk.asked() for name, desk in desks.items() if name != "asking"}
        for name in ("running", "telling", "over"):
            assert desks[name].decide(reviews[name], "approved") == 200
        house.workshop.until(1, "/slow")
        desks["telling"].until(reviews["telling"].stream, lambda event: event.get("delta") == "All ")
        over = desks["over"].until(reviews["over"].stream)
        house.stage.server.kill()
        go_on.set()
        house.stage.server.start()
        logs = {name: desks[name].until(reviews[name].stream) for name in ("running", "telling", "over")}
        logs["asking"] = desks["asking"].until(begun_to_ask)
        [action] = house.actions(desks["pending"].agent, reviews["pending"].stream)
        assert action["state"]["review"] is None and not house.workshop.counts()[reviews["pending"].digest]
        assert desks["pending"].decide(reviews["pending"], "approved") == 200
        logs["pending"] = desks["pending"].until(reviews["pending"].stream)
        for name in ("running", "telling", "over", "pending"):
            assert desks[name].decide(reviews[name], "rejected") == 409
    executed = house.workshop.counts()
    for name, review in reviews.items():
        assert executed[review.digest] == 1
        check(logs[name], 1)
    check(logs["asking"], 0)
    ends = {name: events[-1].get("code", "done") for name, events in logs.items()}
    broken_off = {name for name, end in ends.items() if end == "interrupted"}
    assert broken_off == {"asking", "telling"} and {*ends.values()} == {"interrupted", "done"}
    assert logs["over"] == over and not any(event["type"] == ASKED for event in logs["asking"])
    [failed] = [event for event in logs["running"] if event["type"] == "tool.failed"]
    assert UNKNOWN in failed["error"]


def test_killed_in_a_storm_of_decisions(tmp_path: Path) -> None:
    """What was answered with 200 is decided; what was not may be; in no case is anything executed twice."""
    with housed(tmp_path) as house, ThreadPoolExecutor(8) as threads:
        model = converses(house, "clerk", ASKING, TELLING)
        desk = Desk(house, define(house.url, house.workshop, model))
        reviews = [desk.asked() for _ in range(STORM)]
        decisions = [threads.submit(decided, desk, review) for review in reviews]
        house.workshop.until(1, "/refund")
        house.stage.server.kill()
        before = {review: decision.result() for review, decision in zip(reviews, decisions, strict=True)}
        house.stage.server.start()
        after = {review: house.actions(desk.agent, review.stream)[0]["state"]["review"] for review in reviews}
        for review, verdict in after.items():
            assert verdict == "approved" or not before[review]
            assert verdict or desk.decide(review, "approved") == 200
        logs = [desk.until(review.stream) for review in reviews]
    executed = house.workshop.counts()
    for review, events in zip(reviews, logs, strict=True):
        check(events, executed[review.digest])
    answered = sum(before.values())
    print(f"{STORM} decisions, {answered} answered, {sum(executed.values())} executions: none twice")


def decided(desk: Desk, review: Review) -> bool:
    """Approve; return whether that was confirmed before the server died."""
    try:
        return desk.decide(review, "approved") == 200
    except httpx2.HTTPError:
        return False
