"""Requests for a server of this wire that is our upstream: a ``Start`` as a body (section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET

from ...events import FilePart, MessageAdded, Part, Role, TextPart, ToolCallPart, ToolResultPart
from ...requests import Start, Tool
from ...snapshot import text_of
from ...wire import jsontext
from .request import NAME
from .turn import CONTENT
from .words import write_call

__all__ = ["write_request"]

_ROLES: Final[dict[Role, str]] = {"developer": "system", "function": "tool"}
"""Ours to theirs, where they differ."""


def write_request(start: Start) -> dict[str, Any]:
    """
    Write ``start``, its input being the whole conversation.

    Whether the answer is a stream is up to the Accept header.
    """
    extra = start.extra if start.extra is not UNSET and start.extra_dialect in ("", NAME) else {}
    optional = {
        "model": start.model or UNSET,
        "max_output_tokens": start.max_output_tokens,
        "temperature": start.temperature,
        "stop": list(start.stop) or UNSET,
        "output_format": _format(start),
        "tools": [_tool(tool) for tool in start.tools] or UNSET,
        "tool_choice": _choice(start),
    }
    said = [MessageAdded("system", (TextPart(start.instructions),))] if start.instructions else []
    return {
        **extra,
        "input": [item for message in (*said, *start.input) for item in _items(message)],
        **{key: value for key, value in optional.items() if value is not UNSET},
    }


def _items(message: MessageAdded) -> Iterator[dict[str, Any]]:
    """Yield a message, or one for each tool result in it: this wire takes them one by one."""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    for part in results:
        output = part.result if isinstance(part.result, str) else _json(part.result)
        yield {"type": "message", "role": "tool", "tool_call_id": part.call_id, "content": [_text(output)]}
    if len(results) < len(message.parts) or not results:
        calls = [write_call(part) for part in message.parts if isinstance(part, ToolCallPart)]
        yield {
            "type": "message",
            "role": _ROLES.get(message.role, message.role),
            "content": list(_content(message.parts)) or [_text("")],
            **({"tool_calls": calls} if calls else {}),
        }


def _content(parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        match part:
            case FilePart(mime=mime, data=data, name=name) if data:
                named = {"filename": name} if name else {}
                yield {"type": "file", "file": {"data_base64": data, "mime_type": mime, **named}}
            case _ if isinstance(part, CONTENT):
                yield _text(text_of(part))
            case _:
                pass


def _text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def _format(start: Start) -> Any:
    if start.output_schema is UNSET:
        return UNSET
    named = {"name": start.output_name or "answer", "schema": start.output_schema}
    return {"type": "json_schema", "json_schema": named}


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.extra is not UNSET and "raw" in tool.extra:
        return dict(tool.extra["raw"])
    described = {"name": tool.name, "description": tool.description or UNSET, "parameters": tool.parameters}
    return {
        "type": "function",
        "function": {key: value for key, value in described.items() if value is not UNSET},
    }


def _choice(start: Start) -> Any:
    if start.tool_choice is UNSET:
        return UNSET
    if start.tool_choice.mode == "tool":
        return {"type": "required", "function": start.tool_choice.tool}
    return {"type": start.tool_choice.mode}


def _json(value: Any) -> str:
    return jsontext.encode(value).decode()
