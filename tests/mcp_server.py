"""A real MCP server for tests, by the official package: over its pipes, or HTTP if told ``http PORT``."""

from __future__ import annotations

import os
import socket
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp import MCPError
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import EmbeddedResource, ResourceLink, TextContent, TextResourceContents, ToolAnnotations

__all__ = ["LONG"]

LONG = "long." + "x" * 80

server = MCPServer("test")
reached: dict[tuple[str, str], anyio.Event] = defaultdict(anyio.Event)
"""How far each ``hang`` has got."""


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def pid() -> int:
    """Tell which process this is."""
    return os.getpid()


@server.tool(name="fs.env", annotations=ToolAnnotations(idempotent_hint=True), structured_output=False)
def env(name: str) -> str:
    """Read a variable of the environment."""
    return os.environ.get(name, "")


@server.tool(name=LONG, title="A long name", structured_output=False)
def long() -> str:
    return "long"


@server.tool(name="fs_env", structured_output=False)
def twin() -> str:
    return "twin"


@server.tool()
def header(name: str, ctx: Context[Any]) -> dict[str, str]:
    return {name: (ctx.headers or {}).get(name, "")}


@server.tool(structured_output=False)
def many() -> list[Any]:
    return [
        "one",
        Image(data=b"\x89PNG", format="png"),
        TextContent(text="two"),
        ResourceLink(name="book", uri="lib://book"),
        EmbeddedResource(resource=TextResourceContents(uri="lib://page", text="three")),
    ]


@server.tool()
def fail(why: str) -> str:
    raise ToolError(why)


@server.tool()
def refuse(code: int) -> str:
    raise MCPError(code, "Session terminated")


@server.tool()
def crash(note: str) -> str:
    """Write a line and die."""
    with Path(note).open("a") as file:
        file.write("called\n")
    os._exit(3)


@server.tool()
async def hang(key: str) -> str:
    reached[key, "hanging"].set()
    try:
        await anyio.sleep_forever()
    finally:
        reached[key, "cancelled"].set()
    return ""


@server.tool()
async def wait(key: str, what: str) -> str:
    """Return once the ``hang`` of that key has got so far."""
    await reached[key, what].wait()
    return what


def main() -> None:
    if sys.argv[1:2] != ["http"]:
        return server.run()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    print(listener.getsockname()[1], flush=True)
    app = server.streamable_http_app()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])
    return None


if __name__ == "__main__":
    main()
