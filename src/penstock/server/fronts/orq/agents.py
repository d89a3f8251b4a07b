"""
Agents and their tools: made, shown, listed, changed and forgotten.

Whoever defines an agent says what it may do without asking anybody, so that takes
the scope ``admin``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ....agents import Agent, Revision
from ....dialects.orq import patched, patched_tool, read_agent, read_tool, servers, write_agent, write_tool
from ....engine.tools.endpoint import endpoint
from ....errors import AgentNotFound, RequestError, Unprocessable
from ....names import uuid_of
from ....requests import Tool
from ...endpoint import Asked, Endpoint, answer, number
from ...shelf import Shelf, Thing

__all__ = ["ENDPOINTS"]

_TOOLS: Final = Shelf("orq.tool")
_PAGE: Final = 10
_LARGEST_PAGE: Final = 200


async def _create(asked: Asked) -> ASGIApp:
    agent = _runnable(read_agent(asked.body, await _known(asked)))
    return answer(write_agent(await asked.service.catalog.create(agent)), 201)


async def _list(asked: Asked) -> ASGIApp:
    catalog, found = asked.service.catalog, list[Revision]()
    while True:
        page, count = await catalog.list(sort="-created_at", offset=len(found), limit=_LARGEST_PAGE)
        found += page
        if not page or len(found) >= count:
            return answer(_page(asked, [write_agent(revision) for revision in found]))


def _page(asked: Asked, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return those of a list that the query asks for: after one of them, or before one of them."""
    limit = number(_whole(asked.query), "limit", 1, _LARGEST_PAGE) or _PAGE
    ids = [each["_id"] for each in found]
    after, before = asked.query.get("starting_after"), asked.query.get("ending_before")
    begin = ids.index(after) + 1 if after in ids else 0
    end = ids.index(before) if before in ids else len(ids)
    page = found[max(begin, end - limit) : end] if before in ids else found[begin : begin + limit]
    more = begin < end - limit if before in ids else begin + limit < len(found)
    return {"object": "list", "data": page, "has_more": more}


def _whole(query: Mapping[str, str]) -> dict[str, str]:
    """Return a query whose numbers are written as integers: Python's SDK writes ``5.0``."""
    return {name: text.removesuffix(".0") for name, text in query.items()}


async def _show(asked: Asked) -> ASGIApp:
    return answer(write_agent(await _revision(asked, asked.path["agent"])))


async def _revision(asked: Asked, key: str) -> Revision:
    """Return an agent as it is stored, or the program's own. Raises: AgentNotFound."""
    try:
        return await asked.service.catalog.by_name(key)
    except AgentNotFound:
        agent = await asked.service.agent(key)
        return Revision(uuid_of(f"agent {key}"), uuid_of(f"revision {key}"), 1, 0.0, 0.0, agent)


async def _change(asked: Asked) -> ASGIApp:
    catalog, known = asked.service.catalog, await _known(asked)
    found = await catalog.by_name(asked.path["agent"])

    def change(agent: Agent) -> Agent:
        return _runnable(patched(agent, asked.body, known))

    return answer(write_agent(await catalog.update(found.id, change)))


def _runnable(agent: Agent) -> Agent:
    """Return ``agent``, if its tools can be run. Raises: RequestError."""
    for tool in agent.tools:
        _check(tool)
    return agent


def _check(tool: Tool) -> None:
    """Raises: RequestError (it is an HTTP tool that cannot be asked)."""
    if tool.runner == "http":
        try:
            endpoint(tool.setup)
        except Unprocessable as exc:
            raise RequestError(
                f"the tool {tool.name!r} cannot be run: {exc.message}", field=exc.field
            ) from exc


async def _delete(asked: Asked) -> ASGIApp:
    catalog = asked.service.catalog
    await catalog.delete((await catalog.by_name(asked.path["agent"])).id)
    return Response(status_code=204)


# -- tools


async def _known(asked: Asked) -> dict[str, Tool]:
    """Return the tools that an agent may have: stored ones, and those of MCP servers that the body names."""
    known: dict[str, Tool] = {}
    for thing in await _TOOLS.list(asked):
        tool = read_tool(thing.facts)
        known |= {tool.name: tool, thing.id: tool}
    for server in servers(asked.body):
        if server in asked.service.settings.mcp:
            tools = await asked.service.mcp.tools(server)
            known |= {f"{server}/{tool.setup['tool']}": tool for tool in tools}
    return known


async def _create_tool(asked: Asked) -> ASGIApp:
    tool = read_tool(asked.body)
    _check(tool)
    if tool.name in await _known(asked):
        raise RequestError(f"there is a tool {tool.name!r} already", field="key")
    return answer(_written(await _TOOLS.put(asked, dict(asked.body))))


async def _list_tools(asked: Asked) -> ASGIApp:
    return answer(_page(asked, [_written(thing) for thing in await _TOOLS.list(asked)]))


async def _show_tool(asked: Asked) -> ASGIApp:
    return answer(_written(await _TOOLS.find(asked, asked.path["tool"])))


async def _change_tool(asked: Asked) -> ASGIApp:
    thing = await _TOOLS.find(asked, asked.path["tool"])
    changed = patched_tool(thing.facts, asked.body)
    _check(read_tool(changed))
    return answer(_written(await _TOOLS.change(asked, thing, changed)))


async def _delete_tool(asked: Asked) -> ASGIApp:
    await _TOOLS.take(asked, await _TOOLS.find(asked, asked.path["tool"]))
    return answer({})  # to the SDKs a 204 would be an error here; it is for agents that it is not


def _written(thing: Thing) -> dict[str, Any]:
    created = thing.facts["created_at"]
    return write_tool(thing.facts, thing.id, created, created)


_BODY: Final = {"any_body": True}
_MADE: Final = {"any_body": True, "status": 201}
_GONE: Final = {"status": 204}
_PAGES: Final = {
    "query": {
        "limit": "How many to a page.",
        "starting_after": "The id of the last one of the page before.",
        "ending_before": "The id of the first one of the page after.",
    }
}
_HIDDEN: Final = {**_PAGES, "hidden": True}

ENDPOINTS: Final = (
    Endpoint("POST", "/v2/agents", "admin", _create, "Define an agent.", {**_MADE, "name": "create_agent"}),
    Endpoint("GET", "/v2/agents", "run:read", _list, "List agents.", {**_PAGES, "name": "list_agents"}),
    Endpoint("GET", "/v2/agents/", "run:read", _list, "List agents.", _HIDDEN),  # SDKs up to 4.1
    Endpoint("GET", "/v2/agents/{agent}", "run:read", _show, "Show an agent.", {"name": "show_agent"}),
    Endpoint(
        "PATCH", "/v2/agents/{agent}", "admin", _change, "Change one.", {**_BODY, "name": "change_agent"}
    ),
    Endpoint(
        "DELETE", "/v2/agents/{agent}", "admin", _delete, "Forget one.", {**_GONE, "name": "delete_agent"}
    ),
    Endpoint("POST", "/v2/tools", "admin", _create_tool, "Store a tool.", _BODY),
    Endpoint("GET", "/v2/tools", "run:read", _list_tools, "List stored tools.", _PAGES),
    Endpoint("GET", "/v2/tools/{tool}", "run:read", _show_tool, "Show a stored tool."),
    Endpoint("PATCH", "/v2/tools/{tool}", "admin", _change_tool, "Change a stored tool.", _BODY),
    Endpoint("DELETE", "/v2/tools/{tool}", "admin", _delete_tool, "Forget a stored tool."),
)
