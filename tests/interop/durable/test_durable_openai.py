"""OpenAI's SDK behind cuts: with the durable transport it sees none of them, without it raises at each."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any, Final

import httpx
import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from interop.durable.callers import COLOURS, Caller
from interop.durable.shears import CUTS, Shears, anywhere
from interop.opper.stage import Stage, says
from upstream import refusal

pytestmark = pytest.mark.cuts

MESSAGES: Final[Any] = [{"role": "user", "content": "Go on"}]
BODY: Final[dict[str, Any]] = {
    "model": "demo",
    "messages": MESSAGES,
    "stream": True,
    "stream_options": {"include_usage": True},
}
EITHER: Final = pytest.mark.parametrize("library", [httpx2, httpx], ids=["httpx2", "httpx"])
BOTH: Final = pytest.mark.parametrize("colour", COLOURS)


def chunks(caller: Caller, url: str, **options: Any) -> list[Any]:
    """Ask for an answer and return its chunks."""
    given: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "any", "max_retries": 0}
    if not caller.is_async:
        client = OpenAI(**given, http_client=caller.http)
        return list(client.chat.completions.create(**BODY, **options))

    async def ask() -> list[Any]:
        client = AsyncOpenAI(**given, http_client=caller.http)
        return [chunk async for chunk in await client.chat.completions.create(**BODY, **options)]

    return list(caller.done(ask()))


def said(found: list[Any]) -> list[str]:
    """Return the pieces of text in chunks."""
    return [text for chunk in found for choice in chunk.choices if (text := choice.delta.content)]


@EITHER
@BOTH
def test_cuts_are_not_seen(stage: Stage, colour: str, library: Any, pieces: list[str]) -> None:
    answers, before = 0, len(stage.bodies("demo"))
    with Shears(stage.url, anywhere(1)) as shears, Caller(library, colour) as caller:
        while shears.cuts < CUTS:
            found = chunks(caller, shears.url)
            assert said(found) == pieces
            assert found[-2].choices[0].finish_reason == "stop" and found[-1].usage
            answers += 1
    assert len(stage.bodies("demo")) == before + answers
    print(f"openai {colour}: {shears.cuts} cuts in {answers} answers, none seen")


@BOTH
def test_without_the_transport_each_cut_raises(stage: Stage, colour: str) -> None:
    raised = 0
    with Shears(stage.url, anywhere(1)) as shears, Caller(httpx2, colour, durably=False) as caller:
        while shears.cuts < CUTS:
            with pytest.raises((openai.APIConnectionError, httpx2.TransportError)):
                chunks(caller, shears.url)
            raised += 1
    assert raised == shears.cuts
    print(f"openai {colour}: {raised} cuts, {raised} errors")


def test_a_cut_near_the_end(stage: Stage) -> None:
    """In the last frames, in ``[DONE]``, in the last chunk of the body."""
    key = {"extra_headers": {"idempotency-key": "near the end"}}
    with Caller(httpx2, "sync") as caller:
        with Shears(stage.url, []) as shears:
            whole = chunks(caller, shears.url, **key)
        with Shears(stage.url, []) as shears:
            assert chunks(caller, shears.url, **key) == whole
        for before in range(1, 80):
            with Shears(stage.url, [shears.said[0] - before]) as cutting:
                assert chunks(caller, cutting.url, **key) == whole
            assert cutting.cuts == 1


def test_an_answer_is_asked_for_with_one_key(stage: Stage) -> None:
    """And with where it was cut off, once there is something to go on from."""
    with (
        Shears(stage.url, chain([0, 20, 1000, 900], repeat(None))) as shears,
        Caller(httpx2, "sync") as caller,
    ):
        chunks(caller, shears.url)
    assert shears.cuts == 4
    heads = [said.lower().partition(b"\r\n\r\n")[0].split(b"\r\n") for said in shears.asked]
    keys = [line for head in heads for line in head if line.startswith(b"idempotency-key: ")]
    assert len(keys) == 5 and len(set(keys)) == 1
    places = [[line for line in head if line.startswith(b"last-event-id: ")] for head in heads]
    assert places[:3] == [[], [], []] and len(places[3]) == len(places[4]) == 1


def test_an_answer_in_one_piece_is_kept_whole(stage: Stage, pieces: list[str]) -> None:
    before = len(stage.bodies("demo"))
    with Shears(stage.url, [0, 100, 2000]) as shears, Caller(httpx2, "sync") as caller:
        client = OpenAI(base_url=f"{shears.url}/v1", api_key="any", max_retries=0, http_client=caller.http)
        answer = client.chat.completions.create(model="demo", messages=MESSAGES)
    assert answer.choices[0].message.content == "".join(pieces)
    assert shears.cuts == 3 and len(stage.bodies("demo")) == before + 1


def test_a_key_that_stands_for_something_else_is_the_sdk_s_own_error(stage: Stage) -> None:
    key = {"extra_headers": {"idempotency-key": "taken"}}
    with Caller(httpx2, "sync") as caller:
        chunks(caller, stage.url, **key)
        with pytest.raises(openai.ConflictError):
            chunks(caller, stage.url, **key, temperature=0.5)


def test_a_model_that_failed_is_asked_again_by_the_sdk(stage: Stage) -> None:
    """Its answer has failed for its key; the SDK's own retry has another."""
    refused = refusal(429, {"error": {"message": "slow down"}}, retry_after="1")
    model = stage.plays(refused, says("There."))
    with Caller(httpx2, "sync") as caller:
        client = OpenAI(base_url=f"{stage.url}/v1", api_key="any", max_retries=0, http_client=caller.http)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=model, messages=MESSAGES)
        again = client.with_options(max_retries=1).chat.completions.create(model=model, messages=MESSAGES)
    assert again.choices[0].message.content == "There."
