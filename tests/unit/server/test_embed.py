"""Penstock in a program of one's own: in Python, and mounted in real applications under a real server."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock import Agent, Penstock, Tool
from penstock.errors import (
    AgentNotFound,
    CallsPending,
    ConfigError,
    CursorGone,
    IdempotencyClash,
    LogUnavailable,
    RequestError,
    ReviewDecided,
    StreamBusy,
    StreamSealed,
)
from penstock.events import (
    TERMINAL,
    Event,
    MessageAdded,
    PartDelta,
    ResponseDone,
    ResponseStarted,
    ReviewRequested,
    ToolDone,
    ToolFailed,
    ToolResultPart,
)

SENT: list[str] = []
"""The letters that were sent."""


@penstock.tool
def count_boats(port: str) -> dict[str, Any]:
    """Count the boats in a port."""
    return {"port": port, "boats": 3}


@penstock.tool(name="count_gulls")
async def gulls(port: str, asking: penstock.Asking) -> str:
    await asyncio.sleep(0)
    return f"{asking.call_id} counted"


@penstock.tool(needs_review=True)
def send_letter(to: str) -> str:
    SENT.append(to)
    return "sent"


CLERK = Agent("clerk", instructions="Be brief.", models="demo-fast", tools=(count_boats, gulls, send_letter))
SLOW = Agent("slow", models=("demo-silent",))
LETTER = "Use send_letter."


def new(data: str | Path = ":memory:", *agents: Agent, **settings: Any) -> Penstock:
    return Penstock(agents or (CLERK, SLOW), data=data, drain_time=0.0, **settings)


@pytest.fixture
async def ai() -> AsyncIterator[Penstock]:
    SENT.clear()
    async with new() as ai:
        yield ai


async def events(answer: penstock.Answer) -> list[Event]:
    return [event async for event in answer]


async def heard(
    ai: Penstock, stream: str, last: type[Event] | tuple[type[Event], ...]
) -> list[penstock.Told]:
    """Return what a stream has, up to the first event of a type."""
    found: list[penstock.Told] = []
    async for told in ai.follow(stream):
        found.append(told)
        if isinstance(told.event, last):
            break
    return found


# -- answers


async def test_an_answer_is_told_from_its_start_to_its_end(ai: Penstock) -> None:
    answer = ai.run("clerk", "Tell me about tides.")
    assert answer.stream == ""
    said = await events(answer)
    assert isinstance(said[0], ResponseStarted) and said[0].agent == "clerk"
    assert said[0].response_id == answer.response_id == f"{answer.stream}.1"
    assert isinstance(said[-1], ResponseDone) and said[-1].finish_reason == "stop"
    assert [event for event in said if isinstance(event, TERMINAL)] == [said[-1]]
    assert await events(answer) == said, "whoever asks again is told the same"


async def test_functions_are_run_with_what_the_model_says(ai: Penstock) -> None:
    said = await events(ai.run("clerk", "Use count_boats and count_gulls."))
    results = {event.call_id: event.result for event in said if isinstance(event, ToolDone)}
    boats, gulls = results.values()
    assert boats["boats"] == 3 and isinstance(boats["port"], str)
    assert gulls == f"{list(results)[1]} counted"


async def test_an_answer_is_begun_once_however_many_wait_for_it(ai: Penstock) -> None:
    answer = ai.run("clerk", "Tell me about tides.")

    async def begun() -> penstock.Answer:
        return await answer

    one, other = await asyncio.gather(begun(), begun())
    assert one is other is answer and answer.stream
    assert isinstance((await events(answer))[-1], ResponseDone)
    told = [told.event async for told in ai.follow(answer.stream)]
    assert sum(isinstance(event, ResponseStarted) for event in told) == 1


async def test_nobody_is_asked_who_is_not_there(ai: Penstock) -> None:
    with pytest.raises(AgentNotFound):
        await ai.run("nobody", "hello")
    with pytest.raises(RequestError, match="nothing was said"):
        ai.run("clerk", "")


async def test_leaving_stops_nothing(ai: Penstock) -> None:
    answer = ai.run("clerk", "Tell me about tides in 300 words.")
    async for event in answer:
        if isinstance(event, PartDelta):
            break
    *_, last = [told.event async for told in ai.follow(answer.stream)]
    assert isinstance(last, ResponseDone) and last.finish_reason == "stop"


async def test_stopping_does(ai: Penstock) -> None:
    answer = ai.run("slow", "Tell me about tides.")
    async for event in answer:
        if isinstance(event, PartDelta):
            assert await ai.stop(answer.stream, "ada")
            break
    *_, last = await events(answer)
    assert isinstance(last, ResponseDone) and last.finish_reason == "cancelled"
    assert not await ai.stop(answer.stream), "there is nothing left to stop"


async def test_a_stream_is_followed_from_any_cursor(ai: Penstock) -> None:
    answer = await ai.run("clerk", "Tell me about tides in 5 words.")
    whole = [told async for told in ai.follow(answer.stream)]
    assert isinstance(whole[0].event, MessageAdded)
    for n, told in enumerate(whole, 1):
        assert [rest async for rest in ai.follow(answer.stream, told.cursor)] == whole[n:]
    with pytest.raises(CursorGone):
        await anext(ai.follow(answer.stream, "elsewhere.1"))


async def test_a_stream_is_continued(ai: Penstock) -> None:
    first = ai.run("clerk", "Tell me about tides.", keep_open=True)
    assert isinstance((await events(first))[-1], ResponseDone)
    second = ai.proceed(first.stream, "And about moons?")
    said = await events(second)
    assert second.stream == first.stream and second.response_id == f"{first.stream}.2"
    assert isinstance(said[0], ResponseStarted) and said[0].response_id == second.response_id
    assert isinstance(said[-1], ResponseDone)
    closed = ai.run("clerk", "Tell me about tides.")
    await events(closed)
    with pytest.raises(StreamSealed):
        await ai.proceed(closed.stream, "And about moons?")
    busy = await ai.run("slow", "Tell me about tides.")
    with pytest.raises(StreamBusy):
        await ai.proceed(busy.stream, "And about moons?")


async def test_a_key_means_one_answer(ai: Penstock) -> None:
    one = await ai.run("clerk", "hello", idempotency_key="k")
    again = await ai.run("clerk", "hello", idempotency_key="k")
    assert (again.stream, await events(again)) == (one.stream, await events(one))
    assert (await ai.run("clerk", "hello")).stream != one.stream
    for agent, said in (("clerk", "good bye"), ("slow", "hello")):
        with pytest.raises(IdempotencyClash):
            await ai.run(agent, said, idempotency_key="k")


async def test_a_tool_without_a_function_is_the_callers() -> None:
    window = Tool("get_weather", "Look out of the window.")
    async with new(":memory:", Agent("asker", models="demo-fast", tools=(window, count_boats))) as ai:
        asked = ai.run("asker", "Use get_weather.")
        *_, end = await events(asked)
        assert isinstance(end, ResponseDone) and end.finish_reason == "tool_calls"
        [call_id] = end.pending_calls
        with pytest.raises(CallsPending):
            await ai.proceed(asked.stream, "Well?")
        said = await events(
            ai.proceed(asked.stream, [MessageAdded("tool", (ToolResultPart(call_id, "fog"),))])
        )
        assert "fog" in "".join(event.delta for event in said if isinstance(event, PartDelta))


# -- reviews


async def test_a_call_is_decided_about(ai: Penstock) -> None:
    answer = ai.run("clerk", LETTER)
    async for event in answer:
        if isinstance(event, ReviewRequested):
            assert SENT == []
            with pytest.raises(ReviewDecided):
                await ai.decide(answer.stream, event.call_id, "approved", "0" * 64)
            await ai.decide(answer.stream, event.call_id, "approved", event.digest, by="ada")
            with pytest.raises(ReviewDecided):
                await ai.decide(answer.stream, event.call_id, "rejected", event.digest)
    said = await events(answer)
    assert [event.result for event in said if isinstance(event, ToolDone)] == ["sent"]
    assert len(SENT) == 1


async def test_a_call_that_is_rejected_is_not_made(ai: Penstock) -> None:
    answer = ai.run("clerk", LETTER)
    async for event in answer:
        if isinstance(event, ReviewRequested):
            await ai.decide(answer.stream, event.call_id, "rejected", event.digest)
    assert any(isinstance(event, ToolFailed) for event in await events(answer))
    assert SENT == []


async def test_a_review_outlives_the_program(tmp_path: Path) -> None:
    SENT.clear()
    async with new(tmp_path) as ai:
        answer = await ai.run("clerk", LETTER)
        [*_, (_, review)] = await heard(ai, answer.stream, ReviewRequested)
    assert isinstance(review, ReviewRequested)
    async with new(tmp_path) as ai:
        await ai.decide(answer.stream, review.call_id, "approved", review.digest)
        told = await heard(ai, answer.stream, TERMINAL)
    assert isinstance(told[-1].event, ResponseDone) and told[-1].event.finish_reason == "stop"
    assert len(SENT) == 1


async def test_what_runs_without_a_review_on_an_mcp_server_the_settings_say() -> None:
    server = Path(__file__).parents[2] / "mcp_server.py"
    entry = {"command": (sys.executable, str(server)), "trusted": ("pid",)}
    tools = [
        Tool(name, runner="mcp", setup={"server": "library", "tool": tool})
        for name, tool in (("tell_pid", "pid"), ("read_twin", "fs_env"))
    ]
    async with new(":memory:", Agent("a", models="demo-fast", tools=tools), mcp={"library": entry}) as ai:
        (pid,) = [
            event for event in await events(ai.run("a", "Use tell_pid.")) if isinstance(event, ToolDone)
        ]
        assert isinstance(pid.result["result"], int)
        answer = ai.run("a", "Use read_twin.")
        kinds = []
        async for event in answer:
            kinds.append(type(event))
            if isinstance(event, ReviewRequested):
                await ai.decide(answer.stream, event.call_id, "approved", event.digest)
        assert ReviewRequested in kinds and ToolDone in kinds


# -- in an application


def alone(ai: Penstock) -> Any:
    return ai


def in_starlette(ai: Penstock) -> Starlette:
    return Starlette(routes=[Mount("/ai", ai)], lifespan=ai.lifespan)


def in_fastapi(ai: Penstock) -> FastAPI:
    app = FastAPI(lifespan=ai.lifespan)
    app.mount("/ai", ai)
    return app


def by_async_with(ai: Penstock) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        async with ai:
            yield {"own": "state"}

    app = FastAPI(lifespan=lifespan)
    app.mount("/ai", ai)
    return app


@asynccontextmanager
async def serving(app: Any, prefix: str = "", **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve an application; yields a client of what is under ``prefix``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", **options))
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}"
        try:
            async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
                yield http
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize(
    ("app", "prefix", "options"),
    [
        (alone, "", {}),
        (alone, "", {"root_path": "/ai"}),
        (in_starlette, "/ai", {}),
        (in_fastapi, "/ai", {}),
        (in_fastapi, "/ai", {"root_path": "/outer"}),
        (by_async_with, "/ai", {}),
    ],
)
async def test_it_is_an_application(app: Callable[[Penstock], Any], prefix: str, options: Any) -> None:
    ai = new()
    async with serving(app(ai), prefix, **options) as http:
        assert (await http.get("/readyz")).json()["status"] == "ready"
        begun = await http.post("/v1/streams", json={"agent": "clerk", "input": "Use count_boats."})
        assert begun.status_code == 201, begun.text
        stream = begun.json()["id"]
        followed = await http.get(f"/v1/streams/{stream}/events")
        assert "event: tool.done" in followed.text and "event: response.done" in followed.text
        assert (await http.get("/v1/nothing")).json()["error"]["code"] == "not_found"
        inside = [told.event async for told in ai.follow(stream)]
        assert isinstance(inside[-1], ResponseDone), "what was begun over HTTP is followed in Python"


async def test_a_call_is_decided_about_over_http_while_the_program_listens() -> None:
    SENT.clear()
    ai = new()
    async with serving(in_starlette(ai), "/ai") as http:
        assert (await http.get("/readyz")).status_code == 200
        answer, kinds = ai.run("clerk", LETTER), []
        async for event in answer:
            kinds.append(type(event).__name__)
            if isinstance(event, ReviewRequested):
                path = f"/v1/streams/{answer.stream}/reviews/{event.call_id}"
                body = {"verdict": "approved", "digest": event.digest}
                assert (await http.post(path, json=body)).status_code == 200
        order = [kinds.index(kind) for kind in ("ReviewRequested", "ReviewDone", "ToolDone", "ResponseDone")]
        assert order == sorted(order) and len(SENT) == 1


async def test_it_says_that_nobody_has_opened_it() -> None:
    ai = new()
    app = Starlette(routes=[Mount("/ai", ai)])  # without its lifespan
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as http:
        with pytest.raises(RuntimeError, match="give its `lifespan` to the application"):
            await http.get("/ai/healthz")
    with pytest.raises(RuntimeError, match="is not open"):
        ai.run("clerk", "hello")
    async with ai:
        with pytest.raises(RuntimeError, match="open already"):
            await ai.__aenter__()
        assert (await events(ai.run("clerk", "hello")))[-1], "the other lifespan goes on"


async def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    one, other = new(tmp_path), new(tmp_path)
    async with one:
        with pytest.raises(LogUnavailable, match="owns it"):
            await other.__aenter__()
        answer = one.run("clerk", "hello")
        said = await events(answer)
    async with other:
        found = [told.event async for told in other.follow(answer.stream)]
        assert found[1:] == said, "and the next owner finds what was said"


# -- what cannot be


def test_what_is_wrong_is_said_when_it_is_written() -> None:
    def plain(text: str) -> str:
        return text

    def twin(port: str) -> str:
        return port

    twin.__name__ = "count_boats"
    penstock.tool(twin)
    with pytest.raises(TypeError, match="decorate it with `tool`"):
        Agent("a", tools=(plain,))
    with pytest.raises(ValueError, match="count_boats"):
        Agent("a", tools=(count_boats, Tool("count_boats")))
    with pytest.raises(RequestError):
        Agent("")
    with pytest.raises(ValueError, match="two agents of the name 'clerk'"):
        Penstock([CLERK, CLERK])
    with pytest.raises(ValueError, match="count_boats"):
        Penstock([CLERK, Agent("b", tools=(twin,))])
    Penstock([CLERK, Agent("b", tools=(count_boats,))])  # agents may share a function
    with pytest.raises(ConfigError, match="did you mean 'max_runs'"):
        Penstock(max_run=1)


def test_settings_come_from_where_they_always_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text("max_runs = 1\nkeepalive = 2.0\nreview_time = 3.0\n")
    monkeypatch.setenv("PENSTOCK_KEEPALIVE", "4")
    monkeypatch.setenv("PENSTOCK_REVIEW_TIME", "5")
    settings = Penstock(config=file, data=tmp_path, review_time=6.0).settings
    assert (settings.max_runs, settings.keepalive, settings.review_time) == (1, 4.0, 6.0)
    assert settings.data == str(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Penstock(config=tmp_path / "none.toml")


# -- names


def test_the_package_is_small_until_it_is_used() -> None:
    lines = (
        "import sys, penstock",
        "assert not {'msgspec', 'asyncio', 'starlette'} & sys.modules.keys()",
        "sys.modules['starlette'] = None",
        "assert penstock.tool and penstock.Tool and penstock.PenstockError",
        "try: penstock.Penstock",
        "except ImportError as exc: assert 'penstock[server]' in str(exc)",
        "else: raise AssertionError",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=60)


def test_the_names_are_those_that_type_checkers_see() -> None:
    stub = Path(penstock.__file__).with_suffix(".pyi").read_text()
    typed = set(re.findall(r"import \w+ as (\w+)$", stub, re.MULTILINE))
    assert typed == {name for name in dir(penstock) if name in penstock._PLACES}  # type: ignore[attr-defined]
    assert f'"{penstock.__version__}"' in stub
    for name in typed:
        assert getattr(penstock, name).__module__.startswith("penstock.")
    with pytest.raises(AttributeError):
        penstock.nothing  # type: ignore[attr-defined]  # noqa: B018
