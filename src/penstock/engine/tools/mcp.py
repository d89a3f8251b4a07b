"""
Tools of MCP servers: of processes that are started here, and of servers on the network.

The protocol is the business of the official package ``mcp``, an extra of ours.

Rule 1: a session is opened and closed by one task of its own, when it is first needed
and when it is over; calls are made from whichever task makes them.
Rule 2: a session that broke is not used again: the next call opens another. A call
that was under way is not repeated, as nobody knows whether it was carried out.
Rule 3: what a server says of its tools is a hint; which of them run without a
review, the settings say.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx2
from msgspec import UNSET

from ...config import McpSettings, secret
from ...errors import ConfigError, PenstockError
from ...requests import Tool
from ...wire import jsontext
from . import Asking, ToolFault
from .secrets import Secrets

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client._transport import ReadStream, TransportStreams
    from mcp.types import CallToolResult, ContentBlock
    from mcp.types import Tool as Described

__all__ = ["McpTools"]

_log = logging.getLogger("penstock.tools")

_RUNNER: Final = "mcp"
_OPENING: Final = 60.0
"""Seconds for a server to start and to list its tools: some fetch themselves first."""
_CONNECT: Final = 10.0
_PAGES: Final = 100
_LONGEST: Final = 64
"""Characters that a model's tool names may have: OpenAI's limit, and Anthropic's."""
_CLOSED: Final = -32000
"""The package's code for a connection that closed under a call."""
_UNKNOWN: Final = -32600
"""The package's code for a session that the server does not know any more, among other things."""

_T = TypeVar("_T")

_Opening = Callable[[Callable[[], None]], "AbstractAsyncContextManager[Client]"]
"""Opens a session; what it is given is called if the session ends by itself."""


class McpTools:
    """
    Runs tools of MCP servers.

    A tool's ``setup`` says ``server``, the name in the settings, and ``tool``, the
    server's own name for it. See :class:`penstock.engine.tools.Toolbox`.
    """

    def __init__(
        self, servers: Mapping[str, McpSettings], secrets: Secrets, environ: Mapping[str, str] = os.environ
    ) -> None:
        """
        Raises:
            ConfigError: a secret is not where the settings say or not for the server, or
                there are servers but not the package that speaks to them.
        """
        if servers:
            _check_package()
        self._servers = dict(servers)
        self._secrets = secrets
        self._openings = {name: _opening(name, entry, secrets, environ) for name, entry in servers.items()}
        self._sessions: dict[str, _Session] = {}
        self._open: set[_Session] = set()
        """All whose tasks run, those that are retired too."""
        self._closed = False

    async def tools(self, server: str) -> tuple[Tool, ...]:
        """
        Return the tools of ``server``, named so that any model takes the names.

        Raises: ToolFault (there is no such server, or it does not answer).
        """
        try:
            async with asyncio.timeout(_OPENING):
                found = await self._use(server, _listed)
        except TimeoutError as exc:
            raise ToolFault(f"the MCP server {server!r} does not say which tools it has") from exc
        named: dict[str, Tool] = {}
        for described in found:
            name = _name(server, described.name, named)
            named[name] = _tool(name, server, described, self._servers[server])
        return tuple(named.values())

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        match tool.setup:
            case {"server": str(server), "tool": str(name)}:
                result = await self._use(server, lambda client: client.call_tool(name, arguments))
                value = jsontext.decode(self._secrets.hide(jsontext.encode(_value(result))))
                if result.is_error:
                    raise ToolFault(str(value) or "the tool failed and does not say why")
                return value
            case _:
                raise ToolFault("the setup of an MCP tool has a `server` and a `tool`")

    async def aclose(self) -> None:
        self._closed = True
        for session in self._open:
            session.end()
        if self._open:
            await asyncio.wait([session.task for session in self._open])

    async def _use(self, server: str, ask: Callable[[Client], Awaitable[_T]]) -> _T:
        """Ask a server; whatever goes wrong is a ToolFault that shows no secret."""
        session = self._session(server)
        try:
            with session.used():
                return await ask(await session.client())
        except PenstockError:
            raise
        except Exception as exc:
            code = getattr(exc, "code", 0)
            if code in (_CLOSED, _UNKNOWN):
                session.retire()
            doubt = "; whether the call was carried out is not known" if code == _CLOSED else ""
            raise ToolFault(f"the MCP server {server!r}: {self._secrets.said(exc)}{doubt}") from exc

    def _session(self, server: str) -> _Session:
        """Return the session with a server, a new one if there is none that can be used."""
        if server not in self._openings or self._closed:
            raise ToolFault(f"there is no MCP server {server!r}")
        session = self._sessions.get(server)
        if session is None or session.over:
            session = _Session(server, self._openings[server], self._secrets)
            self._sessions[server] = session
            self._open.add(session)
            session.task.add_done_callback(lambda _: self._open.discard(session))
        return session


class _Session:
    """A session with a server, and the task that holds it open."""

    def __init__(self, server: str, opening: _Opening, secrets: Secrets) -> None:
        self._server, self._opening, self._secrets = server, opening, secrets
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._calls = 0
        self.over = False
        """Whether no further call may use it."""
        self.task = asyncio.create_task(self._hold())

    async def client(self) -> Client:
        """Raises: ToolFault (the server could not be reached)."""
        return await asyncio.shield(self._client)

    @contextmanager
    def used(self) -> Iterator[None]:
        """A call is under way."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._settle()

    def retire(self) -> None:
        """Take no further calls; end with the last one that is under way."""
        self.over = True
        self._settle()

    def end(self) -> None:
        """End at once, also if it is still being opened."""
        self._break()
        if not self._client.done():
            self._fail("it is closed")
            self.task.cancel()

    def _break(self) -> None:
        self.over = True
        self._ended.set()

    def _settle(self) -> None:
        if self.over and not self._calls:
            self._ended.set()

    async def _hold(self) -> None:
        try:
            async with self._opening(self._break) as client:
                self._client.set_result(client)
                await self._ended.wait()
        except Exception as exc:
            self._fail(self._secrets.said(exc))
        finally:
            self.over = True

    def _fail(self, why: str) -> None:
        if self._client.done():
            _log.warning("the session with the MCP server %r broke: %s", self._server, why)
        else:
            self._client.set_exception(ToolFault(f"the MCP server {self._server!r} does not answer: {why}"))
            self._client.exception()  # whoever waited for it may have left


# -- opening sessions


def _check_package() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as exc:
        raise ConfigError("MCP servers need the extra `penstock[mcp]`", field="mcp") from exc


def _opening(server: str, entry: McpSettings, secrets: Secrets, environ: Mapping[str, str]) -> _Opening:
    env = {name: _value_of(text, environ, f"mcp.{server}.env.{name}") for name, text in entry.env.items()}
    headers = {
        name: _header(text, entry.url, secrets, f"mcp.{server}.headers.{name}")
        for name, text in entry.headers.items()
    }

    @asynccontextmanager
    async def opening(ended: Callable[[], None]) -> AsyncIterator[Client]:
        from mcp import Client

        transport = _process(entry.command, env, ended) if entry.command else _network(entry.url, headers)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(_OPENING):
                client = await stack.enter_async_context(Client(transport))
                # Else the package asks for the list amid the first call, whose result could be lost by it.
                await _listed(client)
            yield client

    return opening


def _value_of(text: str, environ: Mapping[str, str], field: str) -> str:
    return secret(text, environ, field) if text.startswith(("env:", "file:")) else text


def _header(text: str, url: str, secrets: Secrets, field: str) -> str:
    where = httpx2.URL(url)
    try:
        return secrets.filled(text, where.host, where.port or (443 if where.scheme == "https" else 80))
    except ToolFault as exc:
        raise ConfigError(f"{field}: {exc}", field=field) from exc


@asynccontextmanager
async def _process(
    command: Sequence[str], env: dict[str, str], ended: Callable[[], None]
) -> AsyncIterator[TransportStreams]:
    """A server that is started; of our own environment it gets what is harmless, PATH and HOME say."""
    from mcp import StdioServerParameters, stdio_client

    program, *rest = command
    started = StdioServerParameters(command=program, args=rest, env=env)
    async with stdio_client(started, errlog=sys.stderr) as (read, write):
        yield _Watched(read, ended), write


@asynccontextmanager
async def _network(url: str, headers: dict[str, str]) -> AsyncIterator[TransportStreams]:
    from mcp.client.streamable_http import streamable_http_client

    context = await asyncio.to_thread(ssl.create_default_context)
    timeout = httpx2.Timeout(_CONNECT, read=None)  # how long a call may take is not the connection's business
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, verify=context, trust_env=False) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


class _Watched:
    """A stream from a server that says when it has ended: the package tells only who waits for an answer."""

    def __init__(self, stream: ReadStream[Any], ended: Callable[[], None]) -> None:
        self._stream, self._ended = stream, ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


# -- what servers say


async def _listed(client: Client) -> list[Described]:
    """Return the tools of a server, as it lists them now."""
    page = await client.list_tools(cache_mode="refresh")
    found = list(page.tools)
    for _ in range(_PAGES):
        if page.next_cursor is None:
            break
        page = await client.list_tools(cursor=page.next_cursor)
        found += page.tools
    return found


def _tool(name: str, server: str, described: Described, entry: McpSettings) -> Tool:
    hints = described.annotations
    return Tool(
        name,
        described.description or described.title or "",
        described.input_schema,
        runner=_RUNNER,
        setup={"server": server, "tool": described.name},
        needs_review={"*", described.name}.isdisjoint(entry.trusted),
        idempotent=bool(hints and (hints.idempotent_hint or hints.read_only_hint)),
        max_time=entry.max_time or UNSET,
    )


def _name(server: str, tool: str, taken: Container[str]) -> str:
    """Return what a model calls a tool: letters, digits, _ and -, and different from those ``taken``."""
    plain = re.sub("[^A-Za-z0-9_-]", "_", f"{server}_{tool}")
    if len(plain) <= _LONGEST and plain not in taken:
        return plain
    mark = hashlib.sha256(f"{server} {tool}".encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST - 9]}_{mark}"


def _value(result: CallToolResult) -> Any:
    """Return what a tool answered: the value, if it has a structure and is no error, else text."""
    if result.structured_content is not None and not result.is_error:
        return result.structured_content
    return "\n".join(map(_shown, result.content))


def _shown(block: ContentBlock) -> str:
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            size = len(block.data.rstrip("=")) * 3 // 4  # it is in base 64
            return f"[{block.mime_type}, {size} bytes]"
        case "resource_link":
            return f"[resource {block.name}: {block.uri}]"
        case "resource":
            text = getattr(block.resource, "text", None)
            return text if isinstance(text, str) else f"[resource {block.resource.uri}]"
