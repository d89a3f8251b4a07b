"""What a client sends: requests as values, and the body that says what is to be answered."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, NamedTuple, TypedDict, TypeVar

from msgspec import Struct, json, to_builtins

from ..events import MessageAdded
from ..requests import Tool
from ..wire import jsontext

__all__ = ["Request", "Said", "Schema", "Script", "Wanted", "body_of", "messages_of", "posted", "schema_of"]

Said = str | Sequence[MessageAdded] | Sequence[Mapping[str, Any]]
"""What is said: a text, messages, or messages as PROTOCOL.md, 6.1 has them."""

Schema = Mapping[str, Any] | type
"""A JSON Schema, or a msgspec struct, dataclass or pydantic model that stands for one."""


class Request(NamedTuple):
    """A request, below the URL of the server."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    again: bool = True
    """Whether it may be sent again if nobody knows whether it arrived."""


_T = TypeVar("_T")
Script = Generator[Request, Any, _T]
"""
Something to do, step by step: it yields requests, and is sent their answers as plain values.

What goes wrong is thrown into it.
"""


def posted(path: str, body: Mapping[str, Any], *, again: bool = True, **headers: str) -> Request:
    """Return a POST of JSON; underscores in the names of headers stand for hyphens."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items() if value}
    content = {"content-type": "application/json"}
    return Request("POST", path, {**content, **spelled}, jsontext.encode(body), again)


class Wanted(TypedDict, total=False):
    """How something is to be answered; PROTOCOL.md, 6.1 says what each member means."""

    model: str
    agent: str
    instructions: str
    tools: Sequence[Tool | Mapping[str, Any]]
    tool_choice: Mapping[str, Any]
    output_schema: Schema
    output_name: str
    choices: int
    max_output_tokens: int
    temperature: float
    top_p: float
    stop: Sequence[str]
    keep_open: bool
    max_time: float
    metadata: Mapping[str, Any]
    extra: Mapping[str, Any]
    fallbacks: Sequence[Mapping[str, Any]]
    attempts: int
    max_iterations: int
    idempotency_key: str
    """The same key means the same answer; without one, each call has its own."""


def body_of(said: Said, wanted: Wanted) -> dict[str, Any]:
    """Return the body of a request to begin a stream."""
    body = {"input": messages_of(said), **wanted}
    body.pop("idempotency_key", None)
    if "tools" in wanted:
        body["tools"] = [to_builtins(tool) for tool in wanted["tools"]]
    if "output_schema" in wanted:
        body["output_schema"] = schema_of(wanted["output_schema"])
    return body


def messages_of(said: Said) -> str | list[Any]:
    """Return what is said as a request has it."""
    return said if isinstance(said, str) else [_message(each) for each in said]


def _message(message: MessageAdded | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(message, MessageAdded):
        return {"role": message.role, "parts": to_builtins(message.parts)}
    return message


def schema_of(schema: Schema) -> dict[str, Any]:
    """
    Return ``schema`` as a JSON Schema whose root is an object, not a reference to one.

    Raises:
        TypeError: it is a type that has no schema.
    """
    if isinstance(schema, Mapping):
        return dict(schema)
    if hasattr(schema, "model_json_schema"):
        found: dict[str, Any] = schema.model_json_schema()
    elif is_dataclass(schema) or issubclass(schema, Struct):
        found = json.schema(schema)
    else:
        raise TypeError(f"{schema.__name__} is no msgspec struct, dataclass or pydantic model")
    return _unreferred(found)


def _unreferred(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    if not reference.startswith("#/$defs/"):
        return schema
    name = reference.removeprefix("#/$defs/")
    others = {key: value for key, value in schema["$defs"].items() if key != name}
    root: dict[str, Any] = schema["$defs"][name]
    recursive = reference in json.encode(schema["$defs"]).decode()
    kept = schema["$defs"] if recursive else others
    return {**root, **({"$defs": kept} if kept else {})}
