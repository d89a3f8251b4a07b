"""SDKs for Node behind cuts: with the durable fetch they see none of them, without it they raise at each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from interop.durable.shears import CUTS, Shears
from interop.opper.sdks import Sdk, Seen
from interop.opper.stage import Stage

pytestmark = pytest.mark.node

NODE: Final = Path(__file__).parents[1] / "node"
PATIENCE: Final = 60.0

BODIES: Final[dict[str, dict[str, Any]]] = {
    "openai": {
        "model": "demo",
        "messages": [{"role": "user", "content": "Go on"}],
        "stream_options": {"include_usage": True},
    },
    "opperai-3": {"name": "durable", "instructions": "Go on.", "input": "rivers", "model": "demo"},
    "orq-4.15": {
        "agentKey": "demo",
        "message": {"role": "user", "parts": [{"kind": "text", "text": "Go on"}]},
        "stream": True,
    },
}


class Driven(NamedTuple):
    """An SDK in a process of its own; see ``node/durable.mjs``."""

    name: str
    process: Sdk

    def ask(
        self, url: str, *, durable: bool = True, leave: str = "end", take: int | None = None, **more: Any
    ) -> Seen:
        """
        Ask for an answer, streamed, and return what the caller sees of it.

        Args:
            url: of the server.
            durable: whether the SDK is handed our fetch.
            leave: how the caller leaves after ``take`` events: by ``break`` or ``abort``.
            more: of the request.
        """
        client, body = {"url": url, "durable": durable}, {**BODIES[self.name], **more}
        return self.process.begin(leave, client=client, args=[body], take=take).result(PATIENCE)


@pytest.fixture(params=BODIES, scope="module")
def sdk(request: pytest.FixtureRequest) -> Iterator[Driven]:
    name: str = request.param
    assert (NODE / "node_modules" / name).is_dir(), f"{name} for Node is not installed: `make test-node`"
    process = Sdk(["node", "durable.mjs", name], NODE)
    try:
        yield Driven(name, process)
    finally:
        process.close()


def anywhere() -> Iterator[int]:
    """Yield after how many bytes the next connection is cut: in the head, in a frame, between two."""
    chance = random.Random(3)
    while True:
        yield chance.randrange(chance.choice((1_500, 8_000)))  # orq's longest frame has the whole answer


def said(seen: Seen) -> list[str]:
    """Return the pieces of text that were streamed, in whichever wire."""
    return [piece for event in seen.events if isinstance(piece := _piece(event), str) and piece]


def _piece(event: dict[str, Any]) -> Any:
    match event:
        case {"choices": choices}:
            return "".join(choice["delta"].get("content") or "" for choice in choices)
        case {"data": {"type": "part.delta", "data": {"delta": delta}}}:
            return delta.get("text")
        case {"data": data}:
            return data.get("delta")
        case _:
            return None


def essence(seen: Seen) -> Any:
    """What the accumulator of the SDK that has one makes of an answer, without its id and time."""
    return seen.value and {**seen.value, "id": "", "created": 0}


def test_cuts_are_not_seen(stage: Stage, sdk: Driven, pieces: list[str]) -> None:
    answers, asked = 0, len(stage.bodies("demo"))
    uncut = sdk.ask(stage.url, durable=False).well()
    assert said(uncut) == pieces
    with Shears(stage.url, anywhere()) as shears:
        while shears.cuts < CUTS:
            seen = sdk.ask(shears.url).well()
            assert said(seen) == pieces and len(seen.events) == len(uncut.events)
            assert essence(seen) == essence(uncut)
            answers += 1
    assert len(stage.bodies("demo")) == asked + 1 + answers
    print(f"{sdk.name}: {shears.cuts} cuts in {answers} answers, none seen")


def test_without_the_durable_fetch_each_cut_raises(stage: Stage, sdk: Driven) -> None:
    raised = 0
    with Shears(stage.url, anywhere()) as shears:
        while shears.cuts < CUTS:
            assert sdk.ask(shears.url, durable=False).raised.message
            raised += 1
            assert raised == shears.cuts
    print(f"{sdk.name}: {raised} cuts, {raised} errors")


def test_an_answer_is_asked_for_once(stage: Stage, sdk: Driven) -> None:
    """However often it is cut off, the model is asked once, and no request lacks the key."""
    before = len(stage.bodies("demo"))
    with Shears(stage.url, chain([0, 20, 700, 900], repeat(None))) as shears:
        sdk.ask(shears.url).well()
    assert shears.cuts == 4 and len(stage.bodies("demo")) == before + 1
    keys = [_header(said, b"idempotency-key") for said in shears.asked]
    assert len(keys) == 5 and len(set(keys)) == 1 and keys[0]
    places = [_header(said, b"last-event-id") for said in shears.asked]
    assert places[:2] == [b"", b""] and all(places[3:])


def _header(request: bytes, name: bytes) -> bytes:
    head = dict(line.partition(b": ")[::2] for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n"))
    return {key.lower(): value for key, value in head.items()}.get(name, b"")


def test_a_cut_near_the_end(stage: Stage, sdk: Driven, pieces: list[str]) -> None:
    """In the last frames, in ``[DONE]``, in the last chunk of the body."""
    with Shears(stage.url, []) as shears:
        whole = sdk.ask(shears.url, durable=False).well()
    for before in range(1, 80, 3):
        with Shears(stage.url, [shears.said[0] - before]) as cutting:
            seen = sdk.ask(cutting.url).well()
        assert said(seen) == pieces and len(seen.events) == len(whole.events)


@pytest.mark.parametrize("leave", ["break", "abort"])
def test_a_caller_that_leaves_closes_its_connection(stage: Stage, sdk: Driven, leave: str) -> None:
    """After it has been cut off, too; it does not come back."""
    with Shears(stage.url, chain([2500], repeat(None))) as shears:
        seen = sdk.ask(shears.url, leave=leave, take=20)
        assert shears.gone.acquire(timeout=PATIENCE) and shears.gone.acquire(timeout=PATIENCE)
    assert sum(map(bool, shears.asked)) == 2  # a connection on which nothing is asked is the runtime's
    if leave == "break":
        assert len(seen.well().events) == 20
    else:
        assert "abort" in seen.raised.message.lower()
