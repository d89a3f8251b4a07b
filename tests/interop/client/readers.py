"""Readers of either colour, of every dialect, told of as one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from penstock import Policy, connect
from penstock.client.client import Answer
from penstock.client.following import Cut
from penstock.client.sync import SyncAnswer
from penstock.client.ways import Name
from penstock.events import TERMINAL, Event, encode_event

__all__ = ["AT_ONCE", "BASES", "COLOURS", "DIALECTS", "Heard", "Reader", "Tally"]

BASES: Final[dict[Name, str]] = {
    "native": "",
    "openai-chat": "/v1",
    "opper": "/v2",
    "opper/v3": "",
    "modelrelay": "/api/v1",
    "mix": "",
    "orq": "",
}
"""Where each dialect's services are, below a server's URL."""
DIALECTS: Final = tuple(BASES)
COLOURS: Final = ("sync", "async")

AT_ONCE: Final = Policy(longest=0.0, silence=20.0)
"""Nobody waits between two tries."""


class Heard(NamedTuple):
    """What came of one answer."""

    events: list[Event]
    cursors: list[str]
    """After each of them."""
    cuts: list[Cut]
    stream: str


class Tally:
    """What all readers had, in numbers."""

    def __init__(self) -> None:
        self.answers = self.events = self.cuts = self.lost = self.repeated = 0

    def __str__(self) -> str:
        return (
            f"{self.answers} answers read, {self.events} events, {self.cuts} cuts: "
            f"{self.lost} lost, {self.repeated} repeated"
        )

    def check(self, heard: list[Event], whole: list[Event], cuts: int) -> None:
        """Count what was heard, and hold it against what was to be."""
        had, had_been = (Counter(map(encode_event, events)) for events in (heard, whole))
        self.answers += 1
        self.events += len(whole)
        self.cuts += cuts
        self.lost += sum((had_been - had).values())
        self.repeated += sum((had - had_been).values())
        assert heard == whole


class Reader:
    """Reads answers of one dialect, in one colour."""

    def __init__(self, colour: str, dialect: Name, url: str, policy: Policy = AT_ONCE) -> None:
        self._colour, self._dialect, self._url, self._policy = colour, dialect, url + BASES[dialect], policy

    def start(self, said: str, on_event: Callable[[int], object] = lambda n: None, **wanted: Any) -> Heard:
        """Ask, and hear the answer; ``on_event`` is told how many events there were, after each."""
        if self._dialect == "orq":
            wanted["agent"] = "demo"
        return self._heard(lambda source: source.start(said, **wanted), on_event)

    def follow(self, stream: str, cursor: str = "") -> Heard:
        """Hear the rest of an answer, to its end."""
        agent = {"agent": "demo"} if self._dialect == "orq" else {}
        return self._heard(lambda source: source.follow(stream, cursor, **agent), lambda n: None)

    def _heard(self, begin: Callable[[Any], Any], on_event: Callable[[int], object]) -> Heard:
        heard = Heard([], [], [], "")
        if self._colour == "sync":
            return self._hear(begin, heard, on_event)
        return asyncio.run(self._hear_async(begin, heard, on_event))

    def _hear(
        self, begin: Callable[[Any], SyncAnswer], heard: Heard, on_event: Callable[[int], object]
    ) -> Heard:
        options: Any = {"policy": self._policy, "on_cut": heard.cuts.append}
        with connect(self._dialect, self._url, sync=True, **options) as source:
            with begin(source) as answer:
                for event in answer:
                    _note(heard, answer, event, on_event)
                    if isinstance(event, TERMINAL):
                        break
            return heard._replace(stream=answer.stream)

    async def _hear_async(
        self, begin: Callable[[Any], Any], heard: Heard, on_event: Callable[[int], object]
    ) -> Heard:
        options: Any = {"policy": self._policy, "on_cut": heard.cuts.append}
        async with connect(self._dialect, self._url, **options) as source:
            begun = begin(source)
            answer: Answer = await begun if isinstance(begun, Coroutine) else begun
            async with answer:
                async for event in answer:
                    _note(heard, answer, event, on_event)
                    if isinstance(event, TERMINAL):
                        break
            return heard._replace(stream=answer.stream)


def _note(heard: Heard, answer: Answer | SyncAnswer, event: Event, on_event: Callable[[int], object]) -> None:
    heard.events.append(event)
    heard.cursors.append(answer.cursor)
    on_event(len(heard.events))
