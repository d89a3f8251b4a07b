"""
Sessions under load, with readers that are cut at random: ``make soak``.

Messages come into every session at random, to answers that speak, think, run tools
and wait for permission, which is given or denied by whichever of the session's
readers is the quicker. Each connection of a reader lives for a random number of
bytes or for a random time, whichever is over first; the reader comes back with the
id of the last whole block, as a browser would.

In the end each reader's transcript is compared with the session's log, as a replay
from its beginning has it. What was found is a :class:`Record`; nothing may have been
lost, and nothing repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import redirect_stderr
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

import httpx2

from penstock.dialects import Wire, get
from penstock.wire import Frame
from serving import Server
from sockets import Ask, Reading

__all__ = ["Plan", "Record", "differences", "soak"]

_MIX: Final[Wire] = get("mix").wire()
_CONTROL: Final = ("connected", "heartbeat")
"""What is of a connection and not of the log."""
_PROMPTS: Final = (
    "rivers in 30 words",
    "think step by step about rivers, in 20 words",
    "use a tool",
    "use the tool that needs approval",
    "fail after 9 words",
)
_FAR: Final = 20_000
"""The most bytes that a connection lives for."""
_GRANTED: Final = 0.7
"""How often a permission is given; else it is denied."""
_PATIENCE: Final = 60.0
"""Seconds for anything to happen, before it is given up."""


class Plan(NamedTuple):
    """How much is to happen. Times are seconds, those of chance are means."""

    sessions: int = 500
    readers: int = 2
    """Of each session."""
    seconds: float = 60.0
    """How long messages are sent and readers cut."""
    messages: int = sys.maxsize
    """After how many messages that ends, if it comes first."""
    seed: int = 0
    between: float = 10.0
    """From one message of a session to the next."""
    life: float = 6.0
    """Of a connection, at most twice that."""
    away: float = 0.5
    """From a cut to the reader's return."""
    deciding: float = 0.5
    """From a permission's being asked for to a reader's answer."""


class Record(NamedTuple):
    """What happened."""

    sessions: int
    readers: int
    messages: int
    refused: int
    """Messages that were not accepted."""
    turns: int
    events: int
    """In the logs."""
    delivered: int
    """To all readers together."""
    decisions: int
    """Permissions given or denied."""
    cuts: int
    torn: int
    """Of the cuts: those after so many bytes, which is mostly within a block."""
    resumes: int
    """Connections that took up where one was cut; one may be cut before its first block."""
    broken: int
    """Connections that the server ended."""
    lost: int
    repeated: int
    wrong: int
    """Events that a reader has otherwise than the log, or at another place."""
    slowest_resume: float
    """Seconds from a reader's return to the first block."""

    @property
    def sound(self) -> bool:
        """Whether every reader has had everything, once, and every message its turn."""
        faults = (self.refused, self.broken, self.lost, self.repeated, self.wrong)
        return self.turns == self.messages and not any(faults)

    def __str__(self) -> str:
        lines = (
            f"{name.replace('_', ' '):>15}  {value:,.3f} s"
            if isinstance(value, float)
            else f"{name:>15}  {value:,}"
            for name, value in self._asdict().items()
        )
        return "\n".join(lines)


async def soak(url: str, plan: Plan) -> Record:
    """Let it all happen to the server at ``url``, which knows the built-in models."""
    limits = httpx2.Limits(max_connections=50)
    async with httpx2.AsyncClient(base_url=url, timeout=_PATIENCE, limits=limits) as http:
        load = _Load(url, http, plan)
        await load.run()
        return load.record()


class _Load:
    """Sessions, and what is done to them until it is enough."""

    def __init__(self, url: str, http: httpx2.AsyncClient, plan: Plan) -> None:
        self.url, self.http, self.plan = url, http, plan
        self.enough = asyncio.Event()
        self.messages = self.refused = self.decisions = 0
        self.deciding = asyncio.TaskGroup()
        self.replaying = asyncio.Semaphore(10)
        """So that to look at the logs is not the heaviest load of all."""
        self.sessions: list[_Session] = []

    @property
    def readers(self) -> list[_Reader]:
        return [reader for session in self.sessions for reader in session.readers]

    async def run(self) -> None:
        """Return once every reader has had all that was said in its session, or has waited for too long."""
        self.sessions += await asyncio.gather(*(_begin(self, n) for n in range(self.plan.sessions)))
        async with self.deciding, asyncio.TaskGroup() as group:
            reading = [group.create_task(reader.read()) for reader in self.readers]
            await asyncio.gather(*(reader.there.wait() for reader in self.readers))
            asyncio.get_running_loop().call_later(self.plan.seconds, self.enough.set)
            await asyncio.gather(*(session.talk() for session in self.sessions))
            _, late = await asyncio.wait(reading, timeout=_PATIENCE)
            for task in late:
                task.cancel()  # what it has not had by now is lost

    async def pause(self, chance: random.Random, mean: float) -> bool:
        """Wait for a random time. Return whether it is not enough yet."""
        try:
            async with asyncio.timeout(chance.expovariate(1 / mean)):
                await self.enough.wait()
        except TimeoutError:
            pass
        return not self.enough.is_set()

    def record(self) -> Record:
        readers = self.readers
        found = [differences(reader.log, reader.frames) for reader in readers]
        lost, repeated, wrong = map(sum, zip(*found, strict=True))
        return Record(
            sessions=len(self.sessions),
            readers=len(readers),
            messages=self.messages - self.refused,
            refused=self.refused,
            turns=sum(_turns(session.log) for session in self.sessions),
            events=sum(len(session.log) for session in self.sessions),
            delivered=sum(len(reader.frames) for reader in readers),
            decisions=self.decisions,
            cuts=sum(reader.cuts for reader in readers),
            torn=sum(reader.torn for reader in readers),
            resumes=sum(reader.resumes for reader in readers),
            broken=sum(reader.broken for reader in readers),
            lost=lost,
            repeated=repeated,
            wrong=wrong,
            slowest_resume=max(reader.slowest for reader in readers),
        )


async def _begin(load: _Load, number: int) -> _Session:
    body = {"title": f"{number}", "browserMode": "local-browser-service", "modelId": "demo-fast"}
    made = (await load.http.post("/api/sessions", json=body)).raise_for_status()
    return _Session(load, made.json()["id"], number)


class _Session:
    """A session, who speaks in it, and its readers."""

    def __init__(self, load: _Load, id: str, number: int) -> None:
        self.load, self.id = load, id
        self.over = False
        """Whether nothing more is to come: ``log`` has everything."""
        self.log: list[Frame] = []
        self.readers = [_Reader(self, f"{number} {reader}") for reader in range(load.plan.readers)]
        self._chance = random.Random(f"{load.plan.seed} {number}")

    async def talk(self) -> None:
        """Say something now and then, until it is enough; then see what the log has."""
        load, said = self.load, 0
        while await load.pause(self._chance, load.plan.between):
            load.messages += 1
            if load.messages >= load.plan.messages:
                load.enough.set()
            body = {"text": self._chance.choice(_PROMPTS)}
            sent = await load.http.post(f"/api/sessions/{self.id}/messages", json=body)
            said += sent.status_code == 202
            load.refused += sent.status_code != 202
        async with load.replaying:
            self.log = await self._told(said)
        self.over = True

    async def _told(self, turns: int) -> list[Frame]:
        """Return what a reader is told that begins at the beginning, to the end of so many turns."""
        frames: list[Frame] = []
        try:
            async with asyncio.timeout(_PATIENCE), Reading(self.load.url, self.ask("0"), _MIX) as reading:
                while _turns(frames) < turns:
                    frames += _logged(await reading.frames())
        except TimeoutError:
            pass  # the record says how many turns there were
        return frames

    def ask(self, last: str) -> Ask:
        return Ask(f"/stream?sessionId={self.id}", None, {"last-event-id": last} if last else {})

    async def decide(self, permission: str, chance: random.Random) -> None:
        """Decide about a permission, unless somebody was quicker."""
        await asyncio.sleep(chance.expovariate(1 / self.load.plan.deciding))
        verdict = "grant" if chance.random() < _GRANTED else "deny"
        decided = await self.load.http.post(f"/api/permissions/{permission}/{verdict}")
        assert decided.status_code in (200, 404), decided.text
        self.load.decisions += decided.status_code == 200


class _Reader:
    """One who follows a session, and is cut again and again."""

    def __init__(self, session: _Session, name: str) -> None:
        self.frames: list[Frame] = []
        self.cuts = self.torn = self.resumes = self.broken = 0
        self.slowest = 0.0
        self.there = asyncio.Event()
        """Whether it has been greeted once: what is said from now on it must have."""
        self._session, self._plan = session, session.load.plan
        self._last = ""
        """The id of the last whole block."""
        self._chance = random.Random(f"{session.load.plan.seed} {name}")

    @property
    def log(self) -> list[Frame]:
        """What it should have had in the end."""
        return self._session.log

    @property
    def _done(self) -> bool:
        return self._session.over and len(self.frames) >= len(self.log)

    async def read(self) -> None:
        """Read, cut by cut, until there is nothing more to come."""
        while not self._done:
            limit = self._chance.randrange(1, _FAR)
            ask = self._session.ask(self._last)
            async with Reading(self._session.load.url, ask, _MIX, limit) as reading:
                await self._connection(reading)
            self.cuts += not self._done
            self.torn += reading.cut
            await asyncio.sleep(self._chance.expovariate(1 / self._plan.away))

    async def _connection(self, reading: Reading) -> None:
        """Read until the cut."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._chance.uniform(0, 2 * self._plan.life)):
                first = await reading.frames()
                self._greeted(time.monotonic() - begun)
                self._take(first)
                while not self._done:
                    self._take(await reading.frames())
        except TimeoutError:
            pass
        except ConnectionError:
            self.broken += not reading.cut

    def _greeted(self, after: float) -> None:
        if self.there.is_set():
            self.resumes += 1
            self.slowest = max(self.slowest, after)
        self.there.set()

    def _take(self, frames: list[Frame]) -> None:
        if not frames:
            raise ConnectionResetError("a session's stream has no end")
        self._last = frames[-1].id
        for frame in _logged(frames):
            self.frames.append(frame)
            if frame.event == "permission":
                decision = self._session.decide(json.loads(frame.data)["id"], self._chance)
                self._session.load.deciding.create_task(decision)


def _logged(frames: Iterable[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.event not in _CONTROL]


def _turns(frames: Iterable[Frame]) -> int:
    return sum(frame.event == "complete" for frame in frames)


def differences(log: list[Frame], had: list[Frame]) -> tuple[int, int, int]:
    """Return how many frames of a log a reader lacks, has twice, has otherwise or at another place."""
    logged, seen = {frame.id for frame in log}, {frame.id for frame in had}
    both = logged & seen
    once = dict.fromkeys(frame for frame in had if frame.id in both)
    known = [frame for frame in log if frame.id in both]
    others = sum(ours != theirs for ours, theirs in zip_longest(once, known))
    return len(logged - seen), len(had) - len(seen), len(seen - logged) + others


def main() -> int:
    """Run a server and let it all happen to it; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(
        prog="make soak", description="Sessions whose readers are cut at random."
    )
    parser.add_argument("--seconds", type=float, default=Plan().seconds)
    parser.add_argument("--sessions", type=int, default=Plan().sessions)
    parser.add_argument("--readers", type=int, default=Plan().readers, help="of each session")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    plan = Plan()._replace(**vars(parser.parse_args()))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stderr(StringIO()),  # the server has a line for each answer
        Server(Path(folder)) as server,
    ):
        record = asyncio.run(soak(server.url, plan))
    complaints = [line for line in server.log.splitlines() if " ERROR " in line or "Traceback" in line]
    print(record, *complaints, sep="\n")
    return 0 if record.sound and not complaints else 1


if __name__ == "__main__":
    sys.exit(main())
