"""
Chat request bodies to ``Start`` and back.

What the canonical model does not name travels in ``extra`` and is written again
as it was: vendors rely on extras (section 1 of the contract). Errors name the
field the way this API does: ``messages[2].content``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from msgspec import UNSET

from ...bodies import member, number, present, wrong
from ...errors import RequestError
from ...events import (
    DataPart,
    Extra,
    FilePart,
    MessageAdded,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from ...requests import MAX_CHOICES, Start, Tool, ToolChoice
from ...wire import jsontext

__all__ = ["read_request", "write_request"]

_NAME: Final = "openai-chat"
_ROLES: Final = get_args(Role)

_NOT_EXTRA: Final = frozenset((
    "model", "messages", "stream", "stream_options", "n", "tools", "tool_choice",
    "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop",
))  # fmt: skip


# -- reading


def read_request(body: Mapping[str, Any]) -> Start:
    """
    Read a request body.

    Raises:
        RequestError: a member is missing or of the wrong type; ``field`` names it.
    """
    messages = present(body, "messages", list)
    if not messages:
        raise RequestError("'messages' is empty: there is nothing to answer", field="messages")
    schema, name = _schema(body)
    limit = number(body, "max_completion_tokens", whole=True)
    return Start(
        model=present(body, "model", str),
        input=tuple(_message(message, f"messages[{n}]") for n, message in enumerate(messages)),
        tools=tuple(_tool(tool, f"tools[{n}]") for n, tool in enumerate(member(body, "tools", list) or ())),
        tool_choice=_tool_choice(body.get("tool_choice")),
        output_schema=schema,
        output_name=name,
        choices=_choices(body),
        max_output_tokens=limit if limit is not UNSET else number(body, "max_tokens", whole=True),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        stop=_stop(body.get("stop")),
        metadata=member(body, "metadata", dict) or UNSET,
        extra={key: value for key, value in body.items() if key not in _NOT_EXTRA} or UNSET,
        extra_dialect=_NAME,
    )


def _choices(body: Mapping[str, Any]) -> int:
    choices = number(body, "n", whole=True)
    if choices is UNSET:
        return 1
    if choices > MAX_CHOICES:
        raise RequestError(f"'n' must be at most {MAX_CHOICES}", field="n")
    return int(choices)


def _stop(value: Any) -> tuple[str, ...]:
    match value:
        case None:
            return ()
        case str():
            return (value,)
        case list() if all(isinstance(text, str) for text in value):
            return tuple(value)
        case _:
            raise RequestError("'stop' must be a string or a list of strings", field="stop")


def _schema(body: Mapping[str, Any]) -> tuple[Any, str]:
    wanted = member(body, "response_format", dict) or {}
    match wanted.get("type", "text"):
        case "text":
            return UNSET, ""
        case "json_object":
            return {}, ""
        case "json_schema":
            where = "response_format.json_schema"
            described = present(wanted, "json_schema", dict, "response_format")
            return (
                member(described, "schema", dict, where) or {},
                member(described, "name", str, where) or "",
            )
        case other:
            message = f"'response_format.type' must be text, json_object or json_schema, not {other!r}"
            raise RequestError(message, field="response_format.type")


def _tool(raw: Any, where: str) -> Tool:
    if not isinstance(raw, dict):
        raise wrong(where, "an object")
    if raw.get("type", "function") != "function":  # a hosted tool: the upstream's own business
        kind = present(raw, "type", str, where)
        return Tool(member(raw, "name", str, where) or kind, extra={"raw": raw})
    function = present(raw, "function", dict, where)
    parameters = member(function, "parameters", dict, f"{where}.function")
    strict = member(function, "strict", bool, f"{where}.function")
    rest = {key: value for key, value in function.items()
            if key not in ("name", "description", "parameters", "strict")}  # fmt: skip
    return Tool(
        present(function, "name", str, f"{where}.function"),
        member(function, "description", str, f"{where}.function") or "",
        UNSET if parameters is None else parameters,
        UNSET if strict is None else strict,
        rest or UNSET,
    )


def _tool_choice(value: Any) -> Any:
    match value:
        case None:
            return UNSET
        case "none" | "auto" | "required":
            return ToolChoice(value)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice("tool", name)
        case _:
            message = "'tool_choice' must be none, auto, required, or an object that names a function"
            raise RequestError(message, field="tool_choice")


def _message(raw: Any, where: str) -> MessageAdded:
    if not isinstance(raw, dict):
        raise wrong(where, "an object")
    role: Any = present(raw, "role", str, where)
    if role not in _ROLES:
        raise RequestError(f"'{where}.role' must be one of {', '.join(_ROLES)}", field=f"{where}.role")
    rest = {key: value for key, value in raw.items() if key not in _MESSAGE and value is not None}
    if role == "tool":
        call_id = present(raw, "tool_call_id", str, where)
        return MessageAdded(role, (ToolResultPart(call_id, raw.get("content")),), extra=rest or UNSET)
    parts = (*_reasoning(raw, where), *_content(raw.get("content"), f"{where}.content"), *_calls(raw, where))
    return MessageAdded(role, parts, extra=rest or UNSET)


_MESSAGE: Final = (
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "reasoning_content",
    "reasoning_details",
    "refusal",
)


def _reasoning(raw: Mapping[str, Any], where: str) -> Iterator[Part]:
    thought = member(raw, "reasoning_content", str, where)
    details = member(raw, "reasoning_details", list, where)
    if thought or details:
        extra: Extra = {"reasoning_details": details} if details else UNSET
        yield ReasoningPart(thought or "", extra=extra)
    if refusal := member(raw, "refusal", str, where):
        yield RefusalPart(refusal)


def _content(content: Any, where: str) -> Iterator[Part]:
    match content:
        case None:
            return
        case str():
            yield TextPart(content)
        case list():
            for n, piece in enumerate(content):
                yield _piece(piece, f"{where}[{n}]")
        case _:
            raise RequestError(f"'{where}' must be a string, null or a list of parts", field=where)


def _piece(piece: Any, where: str) -> Part:
    match piece:
        case {"type": "text", "text": str(text)}:
            return TextPart(text, _rest(piece, "text"))
        case {"type": "refusal", "refusal": str(text)}:
            return RefusalPart(text, _rest(piece, "refusal"))
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return FilePart("image/*", url, extra={"raw": piece})
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}}:
            return FilePart(f"audio/{form}", data=data)
        case {"type": "file", "file": {**file}}:
            return FilePart(
                "application/octet-stream",
                data=str(file.get("file_data") or ""),
                file_id=str(file.get("file_id") or ""),
                name=str(file.get("filename") or ""),
                extra={"raw": piece},
            )
        case {"type": "text" | "refusal" | "image_url" | "input_audio" | "file" as kind}:
            raise RequestError(f"'{where}' is not a well-formed part of type {kind!r}", field=where)
        case {"type": str()}:  # a vendor's own kind of part
            return FilePart(extra={"raw": piece})
        case _:
            raise RequestError(f"'{where}' must be an object with a 'type'", field=where)


def _rest(piece: Mapping[str, Any], name: str) -> Extra:
    return {key: value for key, value in piece.items() if key not in ("type", name)} or UNSET


def _calls(raw: Mapping[str, Any], where: str) -> Iterator[Part]:
    for n, call in enumerate(member(raw, "tool_calls", list, where) or ()):
        match call:
            case {"id": str(call_id), "function": {"name": str(name)}}:
                at = f"{where}.tool_calls[{n}].function"
                arguments = member(call["function"], "arguments", str, at)
                yield ToolCallPart(call_id, name, arguments or "")
            case _:
                field = f"{where}.tool_calls[{n}]"
                raise RequestError(f"'{field}' must have an 'id' and a 'function' with a 'name'", field=field)


# -- writing


def write_request(start: Start) -> dict[str, Any]:
    """Write ``start``, its input being the whole conversation, for an upstream; always as a stream."""
    extra = start.extra if start.extra is not UNSET and start.extra_dialect in ("", _NAME) else {}
    optional = {
        "n": start.choices if start.choices > 1 else UNSET,
        "max_completion_tokens": start.max_output_tokens,
        "temperature": start.temperature,
        "top_p": start.top_p,
        "stop": list(start.stop) or UNSET,
        "tools": [_write_tool(tool) for tool in start.tools] or UNSET,
        "tool_choice": _write_choice(start),
        "response_format": _write_format(start),
    }
    return {
        **{key: value for key, value in optional.items() if value is not UNSET},
        **extra,
        "model": start.model,
        "messages": [
            *_write_instructions(start),
            *(written for message in start.input for written in _write_messages(message)),
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _write_instructions(start: Start) -> Iterator[dict[str, Any]]:
    if start.instructions:
        yield {"role": "system", "content": start.instructions}


def _write_tool(tool: Tool) -> dict[str, Any]:
    extra = {} if tool.extra is UNSET else tool.extra
    if "raw" in extra:
        return dict(extra["raw"])
    described = {"name": tool.name, "description": tool.description or UNSET,
                 "parameters": tool.parameters, "strict": tool.strict, **extra}  # fmt: skip
    return {"type": "function", "function": {k: v for k, v in described.items() if v is not UNSET}}


def _write_choice(start: Start) -> Any:
    if start.tool_choice is UNSET:
        return UNSET
    if start.tool_choice.mode == "tool":
        return {"type": "function", "function": {"name": start.tool_choice.tool}}
    return start.tool_choice.mode


def _write_format(start: Start) -> Any:
    if start.output_schema is UNSET:
        return UNSET
    if not start.output_schema:
        return {"type": "json_object"}
    named = {"name": start.output_name or "answer", "schema": start.output_schema}
    return {"type": "json_schema", "json_schema": named}


def _write_messages(message: MessageAdded) -> Iterator[dict[str, Any]]:
    """Yield a message, or one for each tool result in it: this wire takes them one by one."""
    extra = {} if message.extra is UNSET else message.extra
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    for part in results:
        content = part.result if isinstance(part.result, str | list) else _json(part.result)
        yield {"role": "tool", "tool_call_id": part.call_id, "content": content, **extra}
    if len(results) < len(message.parts) or not results:
        content = _write_content(message.parts)
        yield {"role": message.role, "content": content, **dict(_write_beside(message.parts)), **extra}


def _write_beside(parts: Iterable[Part]) -> Iterator[tuple[str, Any]]:
    """Yield the members of an assistant's message that stand beside its content."""
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    if calls:
        yield "tool_calls", [_write_call(call) for call in calls]
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    if thought := "".join(part.text for part in thoughts):
        yield "reasoning_content", thought
    kept = [part.extra for part in thoughts if part.extra is not UNSET]
    if details := [detail for extra in kept for detail in extra.get("reasoning_details", ())]:
        yield "reasoning_details", details
    if refusal := "".join(part.text for part in parts if isinstance(part, RefusalPart)):
        yield "refusal", refusal


def _write_call(call: ToolCallPart) -> dict[str, Any]:
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.tool, "arguments": call.arguments},
    }


def _write_content(parts: Iterable[Part]) -> Any:
    pieces = [piece for part in parts if (piece := _write_piece(part)) is not None]
    if not pieces:
        return None
    if all(piece.keys() == {"type", "text"} and piece["type"] == "text" for piece in pieces):
        return pieces[0]["text"] if len(pieces) == 1 else pieces
    return pieces


def _write_piece(part: Part) -> dict[str, Any] | None:
    match part:
        case TextPart(text=text, extra=extra):
            return {"type": "text", "text": text, **({} if extra is UNSET else extra)}
        case DataPart(value=value, text=text):
            return {"type": "text", "text": text if value is UNSET else _json(value)}
        case FilePart(extra=extra) if extra is not UNSET and "raw" in extra:
            return dict(extra["raw"])
        case FilePart(mime=mime, data=data) if mime.startswith("audio/"):
            return {"type": "input_audio", "input_audio": {"data": data, "format": mime[6:]}}
        case FilePart(mime=mime, url=url, data=data) if mime.startswith("image/"):
            return {"type": "image_url", "image_url": {"url": url or f"data:{mime};base64,{data}"}}
        case FilePart(name=name, data=data, file_id=file_id):
            named = {"filename": name, "file_data": data, "file_id": file_id}
            return {"type": "file", "file": {key: value for key, value in named.items() if value}}
        case _:
            return None


def _json(value: Any) -> str:
    return jsontext.encode(value).decode()
