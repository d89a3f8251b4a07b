"""
Request bodies to ``Start`` (sections 3 and 9 of the contract).

Members that are not known are ignored; what is of the wrong type is an error
that names it. The TypeScript SDK sends its objects as it has them, so that some
members come in two spellings: both are read, on every item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType

from ...bodies import at, items, member, needed, number, strings, wrong
from ...errors import RequestError
from ...events import (
    FilePart,
    MessageAdded,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from ...requests import Start, Tool, ToolChoice
from .run import plan_hash

__all__ = ["NAME", "read_request", "read_results", "read_run"]

NAME: Final = "modelrelay"
_ROLES: Final[dict[str, Role]] = {
    "system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_KEPT: Final = ("provider", "state_id")
"""What only another server of this wire understands."""


def read_request(body: Mapping[str, Any]) -> Start:
    """
    Read the body of ``POST /responses``; without a model, the server has its own.

    Raises:
        RequestError: a member is missing or of the wrong type; ``field`` names it.
    """
    schema, name = _schema(member(body, "output_format", dict) or {})
    extra = {key: kept for key in _KEPT if (kept := member(body, key, str))}
    return Start(
        model=member(body, "model", str) or "",
        input=_input(body, "input"),
        tools=_tools(body),
        tool_choice=_tool_choice(member(body, "tool_choice", dict)),
        output_schema=schema,
        output_name=name,
        max_output_tokens=number(body, "max_output_tokens", whole=True),
        temperature=number(body, "temperature"),
        stop=strings(body, "stop"),
        extra=extra or UNSET,
        extra_dialect=NAME if extra else "",
    )


def read_run(body: Mapping[str, Any]) -> Start:
    """
    Read the body of ``POST /runs``: a workflow of one node, which asks a model.

    The plan's hash is kept in the metadata, for the run's log. Raises: RequestError.
    """
    spec = needed(body, "spec", dict)
    nodes = list(items(spec, "nodes", "spec"))
    if len(nodes) != 1 or nodes[0][0].get("type") not in ("llm", "llm.responses"):
        raise wrong("spec.nodes", "one node of type 'llm'")
    node, where = nodes[0]
    models = (
        member(body, "model_override", str),
        member(node, "model", str, where),
        member(spec, "model", str),
    )
    return Start(
        model=next(filter(None, models), ""),
        instructions=member(node, "system", str, where) or "",
        input=_prompt(node, where),
        tools=_tools(node, where),
        metadata={"plan_hash": plan_hash(spec)},
    )


def read_results(body: Mapping[str, Any]) -> tuple[MessageAdded, ...]:
    """Read the results in the body of ``POST /runs/{id}/tool-results``. Raises: RequestError."""
    needed(body, "results", list)
    return tuple(_result(result, where) for result, where in items(body, "results"))


# -- input


def _input(body: Mapping[str, Any], key: str, where: str = "") -> tuple[MessageAdded, ...]:
    needed(body, key, list, where)
    return tuple(_item(item, field) for item, field in items(body, key, where))


def _prompt(node: Mapping[str, Any], where: str) -> tuple[MessageAdded, ...]:
    user = member(node, "user", str, where)
    return (MessageAdded("user", (TextPart(user),)),) if user else _input(node, "input", where)


def _item(item: Mapping[str, Any], where: str) -> MessageAdded:
    kind = member(item, "type", str, where) or "message"
    if kind != "message":
        raise wrong(at(where, "type"), "'message'")
    role = needed(item, "role", str, where)
    if role not in _ROLES:
        raise wrong(at(where, "role"), f"one of {', '.join(_ROLES)}")
    content = [_part(part, field) for part, field in items(item, "content", where)]
    if role == "tool":
        return MessageAdded("tool", (ToolResultPart(_call_id(item, where), _text(content)),))
    calls = tuple(_calls(item, where))
    said = tuple(part for part in content if not (calls and part == TextPart()))
    return MessageAdded(_ROLES[role], (*said, *calls))


def _part(part: Mapping[str, Any], where: str) -> Part:
    match member(part, "type", str, where):
        case "text":
            text = member(part, "text", str, where)
            if text is None:
                raise RequestError(f"'{where}.text' is missing", field=at(where, "text"))
            return TextPart(text)
        case "file":
            return _file(needed(part, "file", dict, where), at(where, "file"))
        case _:
            raise wrong(at(where, "type"), "text or file")


def _file(file: Mapping[str, Any], where: str) -> FilePart:
    return FilePart(
        needed(file, "mime_type", str, where),
        data=needed(file, "data_base64", str, where),
        name=member(file, "filename", str, where) or "",
    )


def _calls(item: Mapping[str, Any], where: str) -> Iterator[Part]:
    spelling = "tool_calls" if item.get("tool_calls") is not None else "toolCalls"
    for call, field in items(item, spelling, where):
        function = member(call, "function", dict, field) or {}
        name = member(function, "name", str, at(field, "function")) or needed(call, "type", str, field)
        arguments = member(function, "arguments", str, at(field, "function"))
        yield ToolCallPart(needed(call, "id", str, field), name, arguments or "")


def _call_id(item: Mapping[str, Any], where: str) -> str:
    return member(item, "toolCallId", str, where) or needed(item, "tool_call_id", str, where)


def _text(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def _result(result: Mapping[str, Any], where: str) -> MessageAdded:
    call = needed(result, "tool_call", dict, where)
    output = member(result, "output", str, where)
    if output is None:
        raise RequestError(f"'{where}.output' is missing", field=at(where, "output"))
    return MessageAdded("tool", (ToolResultPart(needed(call, "id", str, at(where, "tool_call")), output),))


# -- settings


def _schema(wanted: Mapping[str, Any]) -> tuple[dict[str, Any] | UnsetType, str]:
    where = "output_format"
    match member(wanted, "type", str, where) or "text":
        case "text":
            return UNSET, ""
        case "json_schema":
            described, where = needed(wanted, "json_schema", dict, where), f"{where}.json_schema"
            schema = member(described, "schema", dict, where) or {}
            return schema, member(described, "name", str, where) or ""
        case _:
            raise wrong("output_format.type", "text or json_schema")


def _tools(body: Mapping[str, Any], where: str = "") -> tuple[Tool, ...]:
    return tuple(_tool(tool, field) for tool, field in items(body, "tools", where))


def _tool(tool: dict[str, Any], where: str) -> Tool:
    kind = needed(tool, "type", str, where)
    if kind != "function":  # what the upstream runs itself; its configuration is its own business
        return Tool(kind, extra={"raw": tool})
    function, where = needed(tool, "function", dict, where), at(where, "function")
    parameters = member(function, "parameters", dict, where)
    return Tool(
        needed(function, "name", str, where),
        member(function, "description", str, where) or "",
        UNSET if parameters is None else parameters,
    )


def _tool_choice(wanted: Mapping[str, Any] | None) -> ToolChoice | UnsetType:
    if wanted is None:
        return UNSET
    tool = member(wanted, "function", str, "tool_choice")
    match member(wanted, "type", str, "tool_choice"):
        case "required" if tool:
            return ToolChoice("tool", tool)
        case "auto" | "required" | "none" as mode:
            return ToolChoice(mode)
        case _:
            raise wrong("tool_choice.type", "auto, required or none")
