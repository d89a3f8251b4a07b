"""What ends a reading: a server that is killed, a cursor that is none, a reader that has enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from interop.client.readers import AT_ONCE, BASES, Reader, Tally
from interop.client.saying import FIRST, TOOL
from interop.opper.stage import Stage, opened
from penstock import Client, Policy, SyncClient, connect
from penstock.client.ways import Name
from penstock.errors import AnswerFailed, CursorGone, RequestError, StreamNotFound, UpstreamUnavailable
from penstock.events import ResponseDone, ResponseFailed
from upstream import Script, Upstream, hang, reset, sse

pytestmark = pytest.mark.cuts

_SAID = "Roll the dice."


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server that may be killed; its models never come to an end."""
    scripts: dict[str, Script] = {"demo": hang(*FIRST), "words": hang(*FIRST)}
    with Upstream(scripts) as upstream, opened(tmp_path_factory.mktemp("mortal"), upstream, scripts) as stage:
        stage.server.port = int(stage.url.rpartition(":")[2])
        yield stage


def test_a_server_is_killed_and_started_again(
    colour: str, dialect: Name, mortal: Stage, tally: Tally
) -> None:
    model = {} if dialect in ("mix", "orq") else {"model": "words"}
    wanted: dict[str, Any] = {"idempotency_key": str(uuid4()), **model}
    policy = Policy(first=0.01, attempts=100)

    def kill(n: int) -> None:
        if n == 6:
            mortal.server.kill()
            mortal.server.start()

    heard = Reader(colour, dialect, mortal.url, policy).start(_SAID, kill, **wanted)
    whole = Reader(colour, dialect, mortal.url).start(_SAID, **wanted)
    tally.check(heard.events, whole.events, len(heard.cuts))
    assert len(heard.cuts) >= 1
    assert isinstance(heard.events[-1], ResponseFailed)


@pytest.mark.parametrize("dialect", ["native", "mix", "orq"])
def test_every_cursor_leads_to_the_rest(colour: str, dialect: Name, stage: Stage, tally: Tally) -> None:
    reader = Reader(colour, dialect, stage.url)
    wanted: dict[str, Any] = {"model": "words", "tools": [TOOL]} if dialect == "native" else {}
    heard = reader.start(_SAID, **wanted)
    for n, cursor in enumerate(heard.cursors[:-1], 1):
        if dialect == "native":
            rest = reader.follow(heard.stream, cursor)
            tally.check(rest.events, heard.events[n:], 0)
        else:  # the decoder has not heard the beginning: what ends is what matters
            assert reader.follow(heard.stream, cursor).cursors[-1] == heard.cursors[-1]


@pytest.mark.parametrize("dialect", ["native", "mix", "orq"])
def test_a_wrong_cursor_is_an_error(colour: str, dialect: Name, stage: Stage) -> None:
    reader = Reader(colour, dialect, stage.url)
    wanted: dict[str, Any] = {"model": "words"} if dialect == "native" else {}
    heard = reader.start(_SAID, **wanted)
    for cursor in ("nonsense", f"00000000.{len(heard.events)}", f"{heard.cursors[-1].partition('.')[0]}.999"):
        with pytest.raises(CursorGone):
            reader.follow(heard.stream, cursor)


@pytest.mark.parametrize("dialect", ["openai-chat", "opper", "modelrelay", "opper/v3"])
def test_without_a_name_there_is_nothing_to_follow(colour: str, dialect: Name, stage: Stage) -> None:
    with pytest.raises(RequestError):
        Reader(colour, dialect, stage.url).follow("st_1", "3")


def test_a_stream_that_is_not_there_is_an_error(colour: str, stage: Stage) -> None:
    with pytest.raises(StreamNotFound, match="st_1"):
        Reader(colour, "native", stage.url).follow("st_1")


def test_a_service_that_is_gone_is_an_error(colour: str, dialect: Name) -> None:
    reader = Reader(colour, dialect, "http://127.0.0.1:1")
    with pytest.raises(UpstreamUnavailable, match=r"127\.0\.0\.1:1.*penstock serve"):
        reader.start(_SAID, model="m")


@pytest.mark.parametrize("broken", [True, False])
def test_elsewhere_a_cut_is_the_end(colour: str, broken: bool) -> None:
    """A service that cannot resume is not asked twice: its second answer is not the rest of the first."""
    script = (reset if broken else sse)(*FIRST)
    with Upstream({"m": script}) as upstream:
        url = upstream.url.removesuffix(BASES["openai-chat"])
        heard = Reader(colour, "openai-chat", url).start(_SAID, model="m")
        assert len(upstream.requests["m"]) == 1
    *_, end = heard.events
    assert isinstance(end, ResponseFailed) and end.code == "truncated"


def test_elsewhere_what_was_not_begun_is_asked_again(colour: str) -> None:
    def shut(connection: object, attempt: int) -> None: ...

    scripts = {"m": lambda connection, n: (shut if n < 3 else sse(*FIRST))(connection, n)}
    with Upstream(scripts) as upstream:
        url = upstream.url.removesuffix(BASES["openai-chat"])
        heard = Reader(colour, "openai-chat", url).start(_SAID, model="m")
        assert len(upstream.requests["m"]) == 3 and len(heard.cuts) == 2
        with pytest.raises(UpstreamUnavailable):
            Reader(colour, "openai-chat", url, Policy(longest=0.0, repeats=0)).start(_SAID, model="n")


# -- connections


def readers(url: str) -> int:
    """How many readers the server has."""
    return int(httpx2.get(f"{url}/readyz", trust_env=False).json()["readers"])


def test_who_breaks_out_of_a_loop_lets_go(mortal: Stage) -> None:
    with SyncClient(mortal.url) as client:
        answer = client.start(_SAID, model="words")
        for piece in answer.text():
            assert piece == "Let "
            assert readers(mortal.url) == 1
            break
        mortal.until_readers(0)
        assert "".join(islice(answer.text(), 3)) == "me roll them — "
        mortal.until_readers(0)
        again = client.follow(answer.stream)
        with again:
            loop = iter(again)
            next(loop)
            assert readers(mortal.url) == 1
        mortal.until_readers(0)
        assert list(loop) == []
        answer.stop()


async def _until_nobody_reads(url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        while (await http.get(f"{url}/readyz")).json()["readers"]:
            pass


async def test_who_breaks_out_of_an_async_loop_lets_go(mortal: Stage) -> None:
    async with Client(mortal.url) as client:
        answer = await client.start(_SAID, model="words")
        async for piece in answer.text():
            assert piece == "Let "
            break
        await _until_nobody_reads(mortal.url)
        async with client.follow(answer.stream) as again:
            async for _ in again:
                assert await asyncio.to_thread(readers, mortal.url) == 1
                break
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await _until_nobody_reads(mortal.url)
        await answer.stop()


async def test_who_is_cancelled_lets_go(mortal: Stage) -> None:
    async with Client(mortal.url) as client:
        answer = await client.start(_SAID, model="words")
        said = asyncio.Event()

        async def read() -> None:
            async for _ in answer.text():
                said.set()

        task = asyncio.create_task(read())
        await said.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until_nobody_reads(mortal.url)
        assert (await client.stop(answer.stream)) is True
        assert isinstance((await answer.final()).end, ResponseDone)


async def test_a_loop_that_never_began_holds_nothing(mortal: Stage) -> None:
    async with Client(mortal.url) as client:
        answer = await client.start(_SAID, model="words")
        unused: AsyncIterator[str] = answer.text()
        assert await asyncio.to_thread(readers, mortal.url) == 0
        await client.stop(answer.stream)
        del unused


def test_a_failed_answer_is_not_half_of_one(colour: str, mortal: Stage) -> None:
    """Events say that it failed; whoever asks for the whole is told by an error."""
    with (
        Upstream({"m": reset(*FIRST)}) as upstream,
        connect("openai-chat", upstream.url, sync=True, policy=AT_ONCE) as source,
    ):
        answer = source.start(_SAID, model="m")
        with pytest.raises(AnswerFailed) as told:
            list(answer.text())
        assert told.value.code == "truncated" and told.value.retryable
        with pytest.raises(AnswerFailed):
            answer.final()
