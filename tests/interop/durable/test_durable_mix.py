"""Mix's SDK follows a session through cuts: a GET that never ends, resumed by the ids of its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import httpx
import httpx2
import pytest
from mix_python_sdk import Mix, utils

from interop.durable.callers import COLOURS, Caller
from interop.durable.shears import CUTS, Shears, anywhere
from interop.mix.users import BROWSER
from interop.opper.stage import Stage

pytestmark = pytest.mark.cuts

NEVER: Final = utils.RetryConfig("none", utils.BackoffStrategy(1, 1, 1.0, 1), False)
GREETING: Final = "connected"
LONGEST: Final = 6000
"""Bytes a connection may bring at most: the last event repeats the whole answer."""


@pytest.fixture(scope="module")
def direct(stage: Stage) -> Iterator[httpx2.Client]:
    """A way to the server on which nothing is cut."""
    with httpx2.Client(base_url=stage.url, verify=False, timeout=60.0) as client:
        yield client


def begun(direct: httpx2.Client) -> str:
    """Begin a session and return its id."""
    body = {"title": "t", "browserMode": BROWSER, "modelId": "demo"}
    return str(direct.post("/api/sessions", json=body).raise_for_status().json()["id"])


def following(caller: Caller, url: str) -> Mix:
    """Return the SDK; it wants clients in both colours, and makes what it is not given."""
    client: Any = caller.http
    return Mix(server_url=url, **({"async_client": client} if caller.is_async else {"client": client}))


def turn(direct: httpx2.Client, caller: Caller, mix: Mix) -> list[Any]:
    """Follow a session, say something once the greeting has come, and return all up to the turn's end."""
    session = begun(direct)
    asked: dict[str, Any] = {"session_id": session, "retries": NEVER}
    heard: list[Any] = []

    def is_last(event: Any) -> bool:
        heard.append(event)
        if event.event == GREETING:
            direct.post(f"/api/sessions/{session}/messages", json={"text": "Go on"}).raise_for_status()
        return bool(event.event == "complete")

    async def follow() -> None:
        events: Any = (await mix.streaming.stream_events_async(**asked)).result
        async with events:
            async for event in events:
                if is_last(event):
                    return

    if caller.is_async:
        caller.done(follow())
        return heard
    events: Any = mix.streaming.stream_events(**asked).result
    with events:
        for event in events:
            if is_last(event):
                break
    return heard


def said(events: list[Any]) -> list[str]:
    return [event.data.content for event in events if event.event == "content"]


@pytest.mark.parametrize("colour", COLOURS)
def test_cuts_are_not_seen(stage: Stage, direct: httpx2.Client, colour: str, pieces: list[str]) -> None:
    turns = 0
    with Shears(stage.url, anywhere(3, LONGEST)) as shears, Caller(httpx, colour) as caller:
        mix = following(caller, shears.url)
        while shears.cuts < CUTS:
            events = turn(direct, caller, mix)
            assert said(events) == pieces
            assert [event.event for event in events].count(GREETING) == 1
            ids = [event.id for event in events]
            assert len(set(ids)) == len(ids)
            turns += 1
    print(f"mix {colour}: {shears.cuts} cuts in {turns} turns, none seen")


@pytest.mark.parametrize("colour", COLOURS)
def test_without_the_transport_each_cut_raises(stage: Stage, direct: httpx2.Client, colour: str) -> None:
    with (
        Shears(stage.url, anywhere(3, LONGEST)) as shears,
        Caller(httpx, colour, durably=False) as caller,
    ):
        mix = following(caller, shears.url)
        while shears.cuts < CUTS:
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                turn(direct, caller, mix)
    assert shears.connections == shears.cuts
    print(f"mix {colour}: {shears.cuts} cuts, {shears.connections} errors")
