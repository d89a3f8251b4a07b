"""Silence, readers that leave, readers that do not read: section 6 of the contract."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from interop.modelrelay.reading import SSE, V1, V2, ask, asked, asking, records
from interop.opper.stage import END, Stage, Tap, paused
from penstock.config import Settings
from penstock.names import uuid_of
from serving import Server
from upstream import Script, Upstream, chunk, hang, sse

KEEPALIVES: Final = {
    V2: b'{"type":"keepalive"}\n',
    V1: b'{"event":"keepalive"}\n',
    SSE: b": keepalive\n",
}


@pytest.mark.parametrize("accept", KEEPALIVES)
def test_silence_is_filled_with_keepalives_and_nothing_else(murmuring: Stage, accept: str) -> None:
    keepalive = KEEPALIVES[accept]
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, keepalive, 3)
        model = murmuring.plays(paused(sse(chunk("so ")), silence, chunk("on"), *END))
        answer = ask(tap.url, asked(model), accept)
    assert answer.ended and answer.body.count(keepalive) >= 3
    assert answer.body.count(b"keepalive") == answer.chunks.count(keepalive), "each in a chunk of its own"
    said = b"".join(each for each in answer.chunks if each != keepalive)
    assert said.index(b'"so "') < said.index(b'"on"')
    assert len(said.strip().split(b"\n\n" if accept == SSE else b"\n")) == 4
    assert answer.chunks[-1] != keepalive


def test_a_keepalive_comes_at_least_every_15_seconds() -> None:
    assert Settings().keepalive <= 15


@pytest.mark.parametrize("accept", [V2, V1, SSE])
def test_a_reader_that_does_not_read_is_dropped_and_the_answer_goes_on(impatient: Stage, accept: str) -> None:
    dropped = threading.Event()
    pieces = ["x" * 64_000] * 200
    model = impatient.plays(paused(sse(*map(chunk, pieces)), dropped.wait, *END))
    with asking(impatient.url, asked(model), accept, buffer=4096) as reading:
        impatient.until_readers(0)
        dropped.set()
        assert not reading.rest().ended
    assert impatient.text(uuid_of(reading.headers["penstock-stream"])) == "".join(pieces)


def test_an_answer_goes_on_when_its_reader_leaves(stage: Stage) -> None:
    left = threading.Event()
    model = stage.plays(paused(sse(chunk("so ")), left.wait, chunk("on"), *END))
    with asking(stage.url, asked(model)) as reading:
        assert reading.chunk()
    left.set()
    assert stage.text(uuid_of(reading.headers["penstock-stream"])) == "so on"


@pytest.mark.parametrize("accept", [V2, SSE])
def test_an_answer_that_is_stopped_is_incomplete(stage: Stage, accept: str) -> None:
    model = stage.plays(hang(chunk("so ")))
    with asking(stage.url, asked(model), accept) as reading:
        assert reading.chunk() and b'"so "' in (reading.chunk() or b"")
        stream = reading.headers["penstock-stream"]
        stage.http("POST", f"/v1/streams/{stream}/stop").raise_for_status()
        answer = reading.rest()
    assert answer.ended and b'"stop_reason":"incomplete"' in answer.chunks[-1]


def test_a_server_that_goes_away_says_so(
    upstream: Upstream, scripts: dict[str, Script], tmp_path: Path
) -> None:
    """The SDKs do not know it, so a stream of the second generation ends in an error like any other."""
    scripts["going"] = hang(chunk("so "))
    config = f'[upstreams.scripted]\nurl = "{upstream.url}"'
    with (
        Server(tmp_path, config, drain_time=0) as server,
        asking(server.url, asked("going")) as reading,
        asking(server.url, asked("going"), V1) as old,
    ):
        begun = [reading.chunk() or b"" for _ in range(2)]
        assert old.chunk() and old.chunk()
        server.stop()
        answer = reading.rest()
        error = records(answer._replace(chunks=[*begun, *answer.chunks]))[-1]
        assert not old.rest().ended
    assert (error["type"], error["code"], error["status"]) == ("error", "SERVICE_UNAVAILABLE", 503)
