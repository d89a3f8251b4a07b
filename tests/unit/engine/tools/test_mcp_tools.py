"""MCP servers as toolboxes, with a real one (``tests/mcp_server.py``) over pipes and over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from msgspec import UNSET

from mcp_server import LONG
from penstock.config import McpSettings, SecretSettings
from penstock.engine.tools import Asking, ToolFault, Tools
from penstock.engine.tools.mcp import McpTools
from penstock.engine.tools.secrets import Secrets
from penstock.errors import ConfigError
from penstock.requests import Tool

ASKING = Asking("st_1", "st_1.1", "call_1", "d1")
SERVER = str(Path(__file__).parents[3] / "mcp_server.py")
STARTED = McpSettings(command=(sys.executable, SERVER))
HUSH = Secrets({"key": SecretSettings(value="env:KEY", hosts=("127.0.0.1",))}, {"KEY": "s3cret"})


@contextmanager
def served(port: int = 0) -> Iterator[tuple[int, Popen[bytes]]]:
    """A server over HTTP; yields its port and its process."""
    with Popen([sys.executable, SERVER, "http", str(port)], stdout=PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


def at(port: int, **more: Any) -> McpSettings:
    return McpSettings(url=f"http://127.0.0.1:{port}/mcp", **more)


@asynccontextmanager
async def box_of(server: McpSettings, environ: dict[str, str] | None = None) -> AsyncIterator[McpTools]:
    box = McpTools({"s": server}, HUSH, environ or {})
    try:
        yield box
    finally:
        await box.aclose()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as (port, _):
        yield port


@pytest.fixture
async def box(port: int) -> AsyncIterator[McpTools]:
    """A box with one server, ``s``, over HTTP."""
    async with box_of(at(port)) as box:
        yield box


@pytest.fixture(params=["pipes", "http"])
async def either(request: pytest.FixtureRequest, port: int) -> AsyncIterator[McpTools]:
    """A box with one server, ``s``, over either transport."""
    async with box_of(STARTED if request.param == "pipes" else at(port)) as box:
        yield box


@pytest.fixture
def key() -> str:
    """What a call that hangs is known by: the server over HTTP is the same for all tests."""
    return uuid.uuid4().hex


async def call(box: McpTools, name: str, /, **arguments: Any) -> Any:
    return await box.run(Tool("t", runner="mcp", setup={"server": "s", "tool": name}), arguments, ASKING)


# -- what there is


async def test_the_tools_of_a_server_are_tools(either: McpTools) -> None:
    tools = {tool.setup["tool"]: tool for tool in await either.tools("s")}
    assert tools["pid"] == Tool(
        "s_pid",
        "Tell which process this is.",
        {"type": "object", "properties": {}, "title": "pidArguments"},
        runner="mcp",
        setup={"server": "s", "tool": "pid"},
        needs_review=True,
        idempotent=True,
    )
    assert tools["fs.env"].parameters == {
        "type": "object", "required": ["name"], "title": "envArguments",
        "properties": {"name": {"title": "Name", "type": "string"}},
    }  # fmt: skip
    assert tools[LONG].description == "A long name"
    assert {name for name, tool in tools.items() if tool.idempotent} == {"pid", "fs.env"}


async def test_their_names_are_such_as_models_take_and_differ(box: McpTools) -> None:
    tools = {tool.setup["tool"]: tool.name for tool in await box.tools("s")}
    assert tools["fs.env"] == "s_fs_env"
    assert tools["fs_env"].startswith("s_fs_env_")
    assert tools[LONG].startswith("s_long_xxx") and len(tools[LONG]) == 64
    assert len(set(tools.values())) == len(tools)
    assert tools == {tool.setup["tool"]: tool.name for tool in await box.tools("s")}, "the next time too"


@pytest.mark.parametrize(
    ("trusted", "free"), [((), set()), (("pid", "nope"), {"pid"}), (("*",), {"pid", "fs.env", "crash"})]
)
async def test_tools_need_a_review_unless_the_settings_trust_them(
    port: int, trusted: tuple[str, ...], free: set[str]
) -> None:
    async with box_of(at(port, trusted=trusted, max_time=5.0)) as box:
        tools = await box.tools("s")
    assert {tool.setup["tool"] for tool in tools if not tool.needs_review} & {
        "pid",
        "fs.env",
        "crash",
    } == free
    assert {tool.max_time for tool in tools} == {5.0}


async def test_without_a_limit_of_its_own_a_servers_tools_have_none(box: McpTools) -> None:
    assert {tool.max_time for tool in await box.tools("s")} == {UNSET}


# -- calls


async def test_a_structured_result_is_a_value(either: McpTools) -> None:
    answer = await call(either, "pid")
    assert answer.keys() == {"result"} and isinstance(answer["result"], int)


async def test_content_is_text_and_what_is_no_text_is_described(box: McpTools) -> None:
    assert await call(box, "many") == "one\n[image/png, 4 bytes]\ntwo\n[resource book: lib://book]\nthree"


async def test_a_tool_that_fails_is_a_fault(either: McpTools) -> None:
    with pytest.raises(ToolFault, match="no such row"):
        await call(either, "fail", why="no such row")
    assert await call(either, "fs_env") == "twin"


async def test_what_the_server_refuses_is_a_fault(box: McpTools) -> None:
    with pytest.raises(ToolFault, match="name"):
        await call(box, "fs.env")
    with pytest.raises(ToolFault, match="nope"):
        await call(box, "nope")


async def test_one_session_serves_all_calls_at_once(either: McpTools, key: str) -> None:
    hanging = asyncio.create_task(call(either, "hang", key=key))
    assert await call(either, "wait", key=key, what="hanging") == {"result": "hanging"}
    first, second = await asyncio.gather(call(either, "pid"), call(either, "pid"))
    assert first == second
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await call(either, "wait", key=key, what="cancelled") == {"result": "cancelled"}, (
        "the server is told"
    )
    assert await call(either, "pid") == first


async def test_the_limit_of_time_costs_the_call_and_not_the_session(either: McpTools, key: str) -> None:
    pid = await call(either, "pid")
    hang = Tool("t", runner="mcp", setup={"server": "s", "tool": "hang"}, max_time=0.1)
    with pytest.raises(ToolFault, match="did not answer within its limit"):
        await Tools({"mcp": either}).run(hang, {"key": key}, ASKING)
    assert await call(either, "pid") == pid


@pytest.mark.parametrize("setup", [{}, {"server": "s"}, {"server": "s", "tool": 1}])
async def test_a_setup_that_says_too_little_is_a_fault(setup: dict[str, Any]) -> None:
    with pytest.raises(ToolFault, match="has a `server` and a `tool`"):
        await McpTools({}, HUSH).run(Tool("t", runner="mcp", setup=setup), {}, ASKING)


async def test_a_server_that_the_settings_do_not_name_is_a_fault() -> None:
    with pytest.raises(ToolFault, match="there is no MCP server 's'"):
        await call(McpTools({}, HUSH), "pid")
    with pytest.raises(ToolFault, match="there is no MCP server 's'"):
        await McpTools({}, HUSH).tools("s")


# -- sessions that break


async def test_a_call_under_which_the_server_dies_is_not_repeated(tmp_path: Path) -> None:
    note = tmp_path / "note"
    async with box_of(STARTED) as box:
        before = await call(box, "pid")
        with pytest.raises(ToolFault, match="whether the call was carried out is not known"):
            await call(box, "crash", note=str(note))
        assert await call(box, "pid") != before, "the next call has a new server"
    assert note.read_text() == "called\n"


async def test_a_server_that_died_between_calls_costs_no_call() -> None:
    async with box_of(STARTED) as box:
        before = await call(box, "pid")
        (session,) = box._sessions.values()
        os.kill(before["result"], 9)
        await asyncio.wait_for(session.task, 30)
        assert await call(box, "pid") != before


async def test_a_server_on_the_network_that_dies_is_found_again(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with served() as (port, first):
        async with box_of(at(port)) as box:
            before = await call(box, "pid")
            with pytest.raises(ToolFault, match="whether the call was carried out is not known"):
                await call(box, "crash", note=str(note))
            assert first.wait(30) == 3
            with pytest.raises(ToolFault):
                await call(box, "pid")
            with pytest.raises(ToolFault, match="the MCP server 's' does not answer: "):
                await call(box, "pid")
            with served(port):
                assert await call(box, "pid") != before
    assert note.read_text() == "called\n"


async def test_a_session_that_the_server_has_forgotten_is_given_up(key: str) -> None:
    async with box_of(STARTED) as box:
        before = await call(box, "pid")
        hanging = asyncio.create_task(call(box, "hang", key=key))
        await call(box, "wait", key=key, what="hanging")
        with pytest.raises(ToolFault, match="Session terminated"):
            await call(box, "refuse", code=-32600)
        assert await call(box, "pid") != before, "the next call has a new session"
        assert not hanging.done(), "calls of the old one go on"
    with pytest.raises(ToolFault, match="whether the call was carried out is not known"):
        await hanging


async def test_other_errors_leave_the_session_as_it_is(box: McpTools) -> None:
    before = await call(box, "pid")
    with pytest.raises(ToolFault, match="Session terminated"):
        await call(box, "refuse", code=-32603)
    assert await call(box, "pid") == before


NOBODY: dict[str, tuple[McpSettings, str]] = {
    "no such command": (McpSettings(command=("/no/such/server",)), "No such file"),
    "a command that ends": (McpSettings(command=(sys.executable, "-c", "")), "Connection closed"),
    "nobody listens": (McpSettings(url="http://127.0.0.1:1/mcp"), "connection attempts failed"),
}


@pytest.mark.parametrize(("server", "why"), NOBODY.values(), ids=list(NOBODY))
async def test_a_server_that_does_not_answer_is_a_fault_each_time(server: McpSettings, why: str) -> None:
    async with box_of(server) as box:
        for _ in range(2):
            with pytest.raises(ToolFault, match=f"the MCP server 's' does not answer: .*{why}"):
                await call(box, "pid")


# -- closing


async def test_closing_ends_the_server() -> None:
    async with box_of(STARTED) as box:
        pid = (await call(box, "pid"))["result"]
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await box.aclose()
    with pytest.raises(ToolFault, match="there is no MCP server"):
        await call(box, "pid")


async def test_closing_ends_a_call_under_way(either: McpTools, key: str) -> None:
    hanging = asyncio.create_task(call(either, "hang", key=key))
    await call(either, "wait", key=key, what="hanging")
    await either.aclose()
    with pytest.raises(ToolFault, match="whether the call was carried out is not known"):
        await hanging


async def test_closing_does_not_wait_for_a_server_to_start() -> None:
    mute = McpSettings(command=(sys.executable, "-c", "import sys; sys.stdin.read()"))
    async with box_of(mute) as box:
        task = asyncio.create_task(call(box, "pid"))
        await asyncio.sleep(0)
        await box.aclose()
        with pytest.raises(ToolFault, match="does not answer: it is closed"):
            await task


# -- settings


async def test_a_started_server_gets_its_own_environment_and_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OURS", "hush")
    server = McpSettings(command=STARTED.command, env={"PLAIN": "p", "LOOKED_UP": "env:THERE"})
    async with box_of(server, {"THERE": "t"}) as box:
        said = [await call(box, "fs.env", name=name) for name in ("PLAIN", "LOOKED_UP", "OURS")]
    assert said == ["p", "t", ""]


async def test_a_header_carries_a_secret_and_no_answer_does(port: int) -> None:
    async with box_of(at(port, headers={"X-Key": "Bearer secret:key", "X-Plain": "p"})) as box:
        assert await call(box, "header", name="x-plain") == {"x-plain": "p"}
        assert await call(box, "header", name="x-key") == {"x-key": "Bearer ***"}
        with pytest.raises(ToolFault, match=r"no \*\*\* here") as caught:
            await call(box, "fail", why="no s3cret here")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "field"),
    [
        (McpSettings(command=("x",), env={"K": "env:NONE"}), "mcp.s.env.K"),
        (McpSettings(url="http://x.example/", headers={"K": "secret:key"}), "mcp.s.headers.K"),
        (McpSettings(url="http://127.0.0.1/", headers={"K": "secret:lock"}), "mcp.s.headers.K"),
    ],
)
def test_a_setting_that_leads_nowhere_is_an_error_at_once(server: McpSettings, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        McpTools({"s": server}, HUSH, {})
    assert caught.value.field == field
    assert "s3cret" not in caught.value.message


def test_without_the_package_servers_are_an_error_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    McpTools({}, HUSH)
    with pytest.raises(ConfigError, match=r"need the extra `penstock\[mcp\]`"):
        McpTools({"s": STARTED}, HUSH)
