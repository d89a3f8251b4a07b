"""
Tools: an agent's list of them, and the stored ones of ``/v2/tools`` (section 8 of the contract).

An agent names its tools by the ``key`` or ``id`` of a stored one; a function or an
HTTP tool may also be described on the spot, as a stored one is. Who runs them:

* ``function``: the caller.
* ``http``: the server; ``setup`` has ``method``, ``url``, ``headers``, perhaps ``query`` and
  ``body``. Places in them, ``{{name}}``, are for what the model says; arguments that it
  is not told of have their values there already.
* ``mcp``: the server; ``setup`` has ``server`` (their ``tool_id``) and ``tool``.

This server runs no other type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ...bodies import at, items, member, needed, present, wrong
from ...errors import RequestError
from ...requests import Tool
from ...wire import jsontext
from .words import WORKSPACE, moment

__all__ = [
    "named_well",
    "patched_tool",
    "read_entries",
    "read_tool",
    "servers",
    "write_entries",
    "write_tool",
]

_KEY: Final = re.compile(r"[A-Za-z0-9._-]+")
_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_WITH_BODY: Final = ("POST", "PUT")


def named_well(key: str, where: str = "key") -> str:
    """Return ``key``, if it may name an agent or a tool. Raises: RequestError."""
    if _KEY.fullmatch(key) is None:
        raise wrong(where, "letters, digits, '.', '_' and '-'")
    return key


# -- stored tools


def read_tool(body: Mapping[str, Any]) -> Tool:
    """Read the body of ``POST /v2/tools``; it is also what is to be stored. Raises: RequestError."""
    needed(body, "path", str)
    needed(body, "description", str)
    member(body, "display_name", str)
    return _described({**body, "key": needed(body, "key", str)}, "")


def patched_tool(stored: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the body of a tool as the body of ``PATCH /v2/tools/{id}`` changes it; null changes nothing.

    Raises:
        RequestError: there would be no such tool, or one of another type.
    """
    changed = {**stored, **{key: value for key, value in body.items() if value is not None}}
    if changed["type"] != stored["type"]:
        raise wrong("type", f"{stored['type']!r}, as it was")
    read_tool(changed)
    return changed


def write_tool(stored: Mapping[str, Any], tool_id: str, created: float, updated: float) -> dict[str, Any]:
    """Return a stored tool, by the body that made it. Nobody who made it is named: null breaks TS 4.4.6."""
    kept = {key: value for key, value in stored.items() if key in _TOLD and value is not None}
    return {
        "_id": tool_id,
        "status": "live",
        **kept,
        **({"http": _written_http(kept["http"])} if "http" in kept else {}),
        "project_id": WORKSPACE,
        "workspace_id": WORKSPACE,
        "created": moment(created),
        "updated": moment(updated),
    }


_TOLD: Final = ("path", "key", "display_name", "description", "status", "type", "function", "http")


def _written_http(http: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stored HTTP tool is, with what its type makes necessary in an answer."""
    blueprint = http["blueprint"]
    headers = {
        name: {"encrypted": False, **value} if isinstance(value, dict) else value
        for name, value in (blueprint.get("headers") or {}).items()
    }
    arguments = {
        name: {"description": "", "send_to_model": True, **{k: v for k, v in said.items() if v is not None}}
        for name, said in (http.get("arguments") or {}).items()
    }
    return {
        "blueprint": {**blueprint, **({"headers": headers} if headers else {})},
        **({"arguments": arguments} if arguments else {}),
    }


# -- descriptions


def _described(body: Mapping[str, Any], where: str) -> Tool:
    """Return the tool that a body describes, as it is asked for by an agent or stored."""
    kind = needed(body, "type", str, where)
    if kind not in _DESCRIBED:
        raise _never_run(kind, where)
    return _DESCRIBED[kind](body, where)


def _function(body: Mapping[str, Any], where: str) -> Tool:
    function, place = present(body, "function", dict, where), at(where, "function")
    parameters, strict = member(function, "parameters", dict, place), member(function, "strict", bool, place)
    name, said = _key(body, where), member(body, "description", str, where)
    return Tool(
        member(function, "name", str, place) or name,
        member(function, "description", str, place) or said or "",
        UNSET if parameters is None else parameters,
        UNSET if strict is None else strict,
    )


def _http(body: Mapping[str, Any], where: str) -> Tool:
    http, place = present(body, "http", dict, where), at(where, "http")
    blueprint, drawn = present(http, "blueprint", dict, place), at(place, "blueprint")
    method = needed(blueprint, "method", str, drawn)
    if method not in _METHODS:
        raise wrong(f"{drawn}.method", f"one of {', '.join(_METHODS)}")
    setup = {
        "method": method,
        "url": needed(blueprint, "url", str, drawn),
        "headers": _headers(blueprint, drawn),
        "body": member(blueprint, "body", dict, drawn),
    }
    told, constant = _arguments(member(http, "arguments", dict, place) or {}, f"{place}.arguments")
    return Tool(
        _key(body, where),
        member(body, "description", str, where) or "",
        _parameters(told),
        runner="http",
        setup=_settled({key: value for key, value in setup.items() if value is not None}, constant),
        max_time=_seconds(blueprint, drawn),
    )


_DESCRIBED: Final[dict[str, Callable[[Mapping[str, Any], str], Tool]]] = {
    "function": _function,
    "http": _http,
}


def _headers(blueprint: Mapping[str, Any], where: str) -> dict[str, str]:
    headers, place = member(blueprint, "headers", dict, where) or {}, f"{where}.headers"
    return {
        name: present(value, "value", str, f"{place}.{name}") if isinstance(value, dict)
        else present(headers, name, str, place)
        for name, value in headers.items()
    }  # fmt: skip


def _arguments(arguments: Mapping[str, Any], where: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the arguments that the model is told of, and the values of those that it is not."""
    told, constant = {}, {}
    for name in arguments:
        said = present(arguments, name, dict, where)
        if member(said, "send_to_model", bool, f"{where}.{name}") is not False:
            told[name] = said
        elif said.get("default_value") is None:
            field = f"{where}.{name}.default_value"
            raise RequestError(f"{field!r} is missing: nobody else says the value", field=field)
        else:
            constant[name] = said["default_value"]
    return told, constant


def _parameters(told: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a JSON Schema for arguments. All are required: a default is for the model to say."""
    names = {"type": "type", "description": "description", "default_value": "default"}
    return {
        "type": "object",
        "properties": {
            argument: {ours: said[key] for key, ours in names.items() if said.get(key) not in (None, "")}
            for argument, said in told.items()
        },
        "required": list(told),
    }


_PLACE: Final = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")


def _settled(setup: dict[str, Any], constant: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setup in which ``constant`` arguments have their values, also those without a place in it."""
    mentioned = set(_PLACE.findall(jsontext.encode(setup).decode()))
    settled: dict[str, Any] = _filled(setup, constant)
    if rest := {name: value for name, value in constant.items() if name not in mentioned}:
        key = "body" if setup["method"] in _WITH_BODY else "query"
        settled[key] = {**settled.get(key, {}), **rest}
    return settled


def _filled(value: Any, constant: Mapping[str, Any]) -> Any:
    match value:
        case dict():
            return {key: _filled(each, constant) for key, each in value.items()}
        case list():
            return [_filled(each, constant) for each in value]
        case str() if (whole := _PLACE.fullmatch(value)) and whole[1] in constant:
            return constant[whole[1]]
        case str():
            return _PLACE.sub(lambda found: _text(constant.get(found[1], found[0])), value)
        case _:
            return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else jsontext.encode(value).decode()


def _seconds(body: Mapping[str, Any], where: str) -> float | UnsetType:
    value = body.get("timeout")
    if value is None:
        return UNSET
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise wrong(at(where, "timeout"), "a number of seconds, more than 0")
    return value


# -- an agent's tools


def read_entries(settings: Mapping[str, Any], known: Mapping[str, Tool], where: str) -> tuple[Tool, ...]:
    """
    Read the ``tools`` of an agent's settings.

    Args:
        known: the stored tools, by key and by id; those of MCP servers as ``server/tool``.
        where: the path of ``settings``.

    Raises:
        RequestError: one is not known, is described wrongly, or is none that this server runs.
    """
    tools = tuple(_entry(raw, known, place) for raw, place in items(settings, "tools", where))
    names = [tool.name for tool in tools]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise RequestError(f"there are two tools called {name!r}", field=f"{where}.tools[{n}].key")
    return tools


def _entry(raw: Mapping[str, Any], known: Mapping[str, Tool], where: str) -> Tool:
    kind = needed(raw, "type", str, where)
    if kind == "mcp":
        tool = _mcp(raw, known, where)
    elif kind not in _DESCRIBED:
        raise _never_run(kind, where)
    elif raw.get(kind) is not None:
        tool = _described(raw, where)
    else:
        tool = _looked_up(raw, known, where)
    limit = _seconds(raw, where)
    return replace(
        tool,
        needs_review=bool(member(raw, "requires_approval", bool, where)) or tool.needs_review,
        max_time=tool.max_time if limit is UNSET else limit,
    )


def servers(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the MCP servers that an agent's body names; what is wrong with it is for its reader to say."""
    settings = body.get("settings")
    tools = settings.get("tools") if isinstance(settings, dict) else None
    for raw in tools if isinstance(tools, list) else ():
        if isinstance(raw, dict) and raw.get("type") == "mcp" and isinstance(raw.get("tool_id"), str):
            yield raw["tool_id"]


def _mcp(raw: Mapping[str, Any], known: Mapping[str, Tool], where: str) -> Tool:
    server, key = needed(raw, "tool_id", str, where), _key(raw, where)
    stored = known.get(f"{server}/{key}")
    if stored is None:
        raise RequestError(
            f"there is no MCP server {server!r} with a tool {key!r}", field=at(where, "tool_id")
        )
    return stored


def _looked_up(raw: Mapping[str, Any], known: Mapping[str, Tool], where: str) -> Tool:
    key = _key(raw, where)
    runner = "" if raw["type"] == "function" else raw["type"]
    stored = known.get(key)
    if stored is None or stored.runner != runner:
        raise RequestError(f"there is no {raw['type']} tool {key!r}", field=f"{where}.key")
    return stored


def _key(raw: Mapping[str, Any], where: str) -> str:
    """Return how a tool is named, and may be found. TS 4.4.6 loses the key of a function."""
    key = member(raw, "key", str, where) or member(raw, "id", str, where)
    if not key:
        raise RequestError(f"{at(where, 'key')!r} is missing", field=at(where, "key"))
    return named_well(key, at(where, "key"))


def _never_run(kind: str, where: str) -> RequestError:
    field = at(where, "type")
    return RequestError(f"{field!r}: this server does not run tools of the type {kind!r}", field=field)


def write_entries(tools: tuple[Tool, ...]) -> list[dict[str, Any]]:
    """Return an agent's tools as its settings list them."""
    return [
        {
            "id": tool.name,
            "key": tool.name,
            "action_type": tool.runner or "function",
            "display_name": tool.name,
            "description": tool.description,
            "requires_approval": tool.needs_review,
            "conditions": [],
        }
        for tool in tools
    ]
