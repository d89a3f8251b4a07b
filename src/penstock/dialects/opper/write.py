"""
Requests for an Opper that is our upstream: a ``Start`` as the body of ``/call/stream``, v2 and v3.

That API takes an input, not a conversation: the last message is the input, and
messages before it travel with it as an object of two members.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET

from ...events import DataPart, MessageAdded, Part, RefusalPart, TextPart, ToolCallPart, ToolResultPart
from ...requests import Start, Tool
from ...wire import jsontext

__all__ = ["write_request", "write_request_v3"]

_NAME: Final = "penstock"
"""The function's name in a request that comes from no agent."""


def write_request(start: Start) -> dict[str, Any]:
    """Write ``start`` for v2."""
    return _written(start, _options(start, "opper"))


def write_request_v3(start: Start) -> dict[str, Any]:
    """Write ``start`` for v3, its function named in the body."""
    options = _options(start, "opper/v3")
    effort = options.pop("reasoning_effort", None)
    return {
        **_written(start, options),
        **({"tools": [_tool(tool) for tool in start.tools]} if start.tools else {}),
        **({"reasoning_effort": effort} if effort else {}),
    }


def _written(start: Start, options: dict[str, Any]) -> dict[str, Any]:
    model = {"name": start.model, "options": options} if options else start.model
    optional = {
        "instructions": start.instructions or UNSET,
        "output_schema": start.output_schema,
        "model": model if start.model else UNSET,
    }
    return {
        "name": start.agent or _NAME,
        "input": _input(start.input),
        **{key: value for key, value in optional.items() if value is not UNSET},
    }


def _options(start: Start, dialect: str) -> dict[str, Any]:
    """Return what is the model's own business."""
    extra = start.extra if start.extra is not UNSET and start.extra_dialect in ("", dialect) else {}
    named = {
        "max_tokens": start.max_output_tokens,
        "temperature": start.temperature,
        "top_p": start.top_p,
        "stop": list(start.stop) or UNSET,
    }
    return {**{key: value for key, value in named.items() if value is not UNSET}, **extra}


def _input(messages: tuple[MessageAdded, ...]) -> Any:
    if not messages:
        return ""
    *earlier, last = messages
    if not earlier:
        return _text(last.parts)
    return {"conversation": [_message(message) for message in earlier], "message": _text(last.parts)}


def _message(message: MessageAdded) -> dict[str, str]:
    return {"role": message.role, "content": _text(message.parts)}


def _text(parts: Iterable[Part]) -> str:
    return "\n".join(said for part in parts if (said := _said(part)))


def _said(part: Part) -> str:
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return text
        case DataPart(value=value, text=text):
            return text if value is UNSET else _json(value)
        case ToolCallPart(tool=tool, arguments=arguments):
            return f"{tool}({arguments})"
        case ToolResultPart(result=str(result)):
            return result
        case ToolResultPart(result=result):
            return _json(result)
        case _:
            return ""


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"name": tool.name, "description": tool.description or UNSET, "parameters": tool.parameters}
    return {key: value for key, value in described.items() if value is not UNSET}


def _json(value: Any) -> str:
    return jsontext.encode(value).decode()
