"""What clients do besides reading: ask, say more, decide, stop, list, forget; also when answers get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self

import httpx2
import msgspec
import pydantic
import pytest

from interop.client.readers import AT_ONCE
from interop.client.saying import TOOL
from interop.client.shears import Shears, Snip
from interop.opper.stage import Stage
from penstock import Client, SyncClient, connect
from penstock.errors import (
    CallsPending,
    IdempotencyClash,
    NoSuchPlugin,
    OutputInvalid,
    RequestError,
    ReviewDecided,
    StreamNotFound,
    StreamSealed,
)
from penstock.events import MessageAdded, ResponseDone, ReviewRequested, ToolCallPart, ToolResultPart
from serving import Server

pytestmark = pytest.mark.cuts

POSTCARD = "Please send a postcard to Ida."


class User:
    """A client of either colour, whose calls return when they are done."""

    def __init__(self, colour: str, url: str, key: str = "") -> None:
        self.colour = colour
        self._runner = asyncio.Runner() if colour == "async" else None
        make: Any = SyncClient if colour == "sync" else Client
        self._client = make(url, key, policy=AT_ONCE)

    def __call__(self, name: str, *args: Any, **named: Any) -> Any:
        return self.of(self._client, name, *args, **named)

    def of(self, owner: Any, name: str, *args: Any, **named: Any) -> Any:
        """Call a method of something that the client returned."""
        return self.done(getattr(owner, name)(*args, **named))

    def done(self, value: Any) -> Any:
        if self._runner is None:
            return list(value) if hasattr(value, "__next__") else value
        if isinstance(value, Coroutine):
            return self._runner.run(value)
        return self._runner.run(_all(value)) if hasattr(value, "__anext__") else value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._runner is None:
            self._client.close()
        else:
            self._runner.run(self._client.aclose())
            self._runner.close()


async def _all(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.fixture
def user(colour: str, stage: Stage) -> Any:
    with User(colour, stage.url) as user:
        yield user


@pytest.fixture
def guest(colour: str, demo: Server) -> Any:
    """A user of the server with the built-in models."""
    with User(colour, demo.url) as user:
        yield user


# -- asking


def test_a_question_that_is_repeated_is_one_answer(user: User, stage: Stage) -> None:
    one, other = (user("start", "hi", model="words", idempotency_key="k1" + user.colour) for _ in range(2))
    assert one.stream == other.stream
    assert user("start", "hi", model="words").stream != one.stream
    with pytest.raises(IdempotencyClash):
        user("start", "ho", model="words", idempotency_key="k1" + user.colour)


def test_a_mistake_is_named(user: User) -> None:
    with pytest.raises(RequestError, match="did you mean 'temperature'") as told:
        user("start", "hi", temprature=1)
    assert told.value.field == "temprature" and told.value.status == 400


def test_an_answer_that_got_lost_is_not_asked_for_twice(colour: str, stage: Stage) -> None:
    with Shears(stage.url) as shears, User(colour, shears.url) as user:
        shears.unheard = [b"POST", b"POST"]
        before = len(stage.bodies("words"))
        assert isinstance(user.of(user("start", "hi", model="words"), "final").end, ResponseDone)
        assert len(stage.bodies("words")) == before + 1
        assert shears.done == ["unheard POST"] * 2


def test_results_of_tools_go_on(user: User) -> None:
    answer = user("start", "Roll.", model="words", tools=[TOOL])
    final = user.of(answer, "final")
    (call,) = (part for part in final.content() if isinstance(part, ToolCallPart))
    with pytest.raises(CallsPending):
        user("send", answer.stream, "Well?")
    more = user("send", answer.stream, [MessageAdded("tool", (ToolResultPart(call.call_id, 7),))])
    assert more.stream == answer.stream
    texts = user.of(more, "text")
    assert "".join(texts) == "Let me roll them — 🌊 high or low."
    assert len(more.snapshot.responses) == 1


def test_what_was_said_and_got_lost_is_not_said_twice(colour: str, stage: Stage, demo: Server) -> None:
    with Shears(demo.url) as shears, User(colour, shears.url) as user:
        begun = user("start", "rivers in 5 words", model="demo-fast", keep_open=True)
        user.of(begun, "final")
        shears.unheard = [b"POST"]
        more = user("send", begun.stream, "lakes in 5 words")
        assert "lakes" in user.of(more, "final").text()
        assert shears.done == ["unheard POST"]
        shown = httpx2.get(f"{demo.url}/v1/streams/{begun.stream}", trust_env=False).json()
        said = [turn["parts"][0]["text"] for turn in shown["turns"] if turn["type"] == "message.added"]
        assert said == ["rivers in 5 words", "lakes in 5 words"]


def test_a_sealed_stream_takes_no_more(guest: User) -> None:
    answer = guest("start", "rivers in 5 words", model="demo-fast")
    guest.of(answer, "final")
    with pytest.raises(StreamSealed):
        guest("send", answer.stream, "more")


# -- deciding


def test_a_call_is_decided_about_by_another_process(guest: User, colour: str, demo: Server) -> None:
    answer = guest("start", POSTCARD, agent="demo")
    with User(colour, demo.url) as other:
        (review,) = _waited(other, answer.stream)
        assert isinstance(review, ReviewRequested) and review.tool == "send_postcard"
        other("decide", answer.stream, review, "approved", output={"sent": "by hand"})
    guest.of(answer, "final")
    tools = [event.__struct_config__.tag for event in answer.snapshot.response.tools]
    assert tools == ["tool.review.requested", "tool.review.done", "tool.started", "tool.done"]
    assert "by hand" in str(answer.snapshot.response.tools)
    assert guest.of(answer, "reviews") == []
    with pytest.raises(ReviewDecided):
        guest.of(answer, "decide", review, "rejected")


def _waited(user: User, stream: str) -> Any:
    """Return what waits, once something does."""
    while not (found := user("reviews", stream)):
        pass
    return found


def test_a_decision_whose_answer_got_lost_is_not_an_error(colour: str, demo: Server) -> None:
    with Shears(demo.url) as shears, User(colour, shears.url) as user:
        answer = user("start", POSTCARD, agent="demo")
        (review,) = _waited(user, answer.stream)
        shears.unheard = [b"POST"]
        user.of(answer, "decide", review, "approved")
        assert shears.done == ["unheard POST"]
        user.of(answer, "final")


def test_stopping_twice_is_stopping_once(guest: User) -> None:
    answer = guest("start", POSTCARD, agent="demo")
    _waited(guest, answer.stream)
    assert guest.of(answer, "stop") is True
    assert guest("stop", answer.stream) is False
    assert guest.of(answer, "final").end.finish_reason == "cancelled"


# -- streams


def test_streams_are_listed_and_forgotten(guest: User) -> None:
    streams = [guest("start", "hi", model="demo-fast").stream for _ in range(3)]
    listed = [each.id for each in guest("list")]
    assert listed[:3] == streams[::-1]
    guest("delete", streams[0])
    assert streams[0] not in [each.id for each in guest("list")]
    with pytest.raises(StreamNotFound):
        guest("delete", streams[0])


# -- structured output


class Struct(msgspec.Struct):
    title: str
    steps: list[str]
    n: int = 3


@dataclass
class Data:
    title: str
    steps: list[str]
    n: int = 3


class Model(pydantic.BaseModel):
    title: str
    steps: list[str]
    n: int = 3


@pytest.mark.parametrize("kind", [Struct, Data, Model])
def test_a_type_is_filled_as_it_comes(guest: User, kind: Any) -> None:
    asked: dict[str, Any] = {"output_schema": kind, "model": "demo-fast"}
    *drafts, whole = guest.of(guest("start", "a recipe", **asked), "into", kind)
    assert all(isinstance(each, kind) for each in (*drafts, whole))
    assert isinstance(whole.title, str) and isinstance(whole.steps, list)
    titles = [each.title for each in drafts if each.title is not None]
    assert all(whole.title.startswith(title) for title in titles)
    again = guest.of(guest("start", "a recipe", **asked), "value", kind)
    assert again == whole or isinstance(again, kind)


@pytest.mark.parametrize("at", range(0, 24, 3))
def test_fields_come_once_however_they_are_cut(colour: str, demo: Server, at: int) -> None:
    key = f"fields {at} {colour}"
    asked: dict[str, Any] = {"output_schema": Struct, "model": "demo-fast", "idempotency_key": key}
    with Shears(demo.url) as shears, User(colour, shears.url) as user:
        shears.snips = [Snip("reset", at, more=4)]
        said = user.of(user("start", "a recipe", **asked), "fields")
        value = user.of(user("start", "a recipe", **asked), "value", Struct)
        title = "".join(leaf.piece for leaf in said if leaf.path == ("title",))
        assert title == value.title


def test_what_is_no_data_is_none(guest: User) -> None:
    answer = guest("start", "rivers in 5 words", model="demo-fast")
    with pytest.raises(OutputInvalid):
        guest.of(answer, "value", Struct)


# -- connecting


def test_who_cannot_be_asked_is_named() -> None:
    with pytest.raises(NoSuchPlugin, match="did you mean 'opper'"):
        connect("oper", "http://x")  # type: ignore[call-overload]


def test_only_a_native_answer_can_be_acted_upon(stage: Stage) -> None:
    with connect("openai-chat", f"{stage.url}/v1", sync=True) as source:
        answer = source.start("hi", model="words")
        act: Callable[[], Any] = answer.stop
        with pytest.raises(RequestError):
            act()
