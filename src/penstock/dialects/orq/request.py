"""
A turn, read: the body of ``POST /v2/agents/{agent_key}/responses`` (section 3 of the contract).

The body names no agent, the path does. Members are in snake case, but for
``messageId`` and ``mimeType``. What a newer SDK may send beyond that is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from msgspec import UNSET, json
from msgspec.structs import replace

from ...bodies import items, member, needed, present, wrong
from ...events import DataPart, Extra, MessageAdded, Part, TextPart, ToolResultPart
from .words import read_file

__all__ = ["ENGINES", "Turn", "read_turn", "rendered"]

ENGINES: Final = ("text", "jinja", "mustache")
"""What a template may call itself; see :func:`rendered`."""


class Turn(NamedTuple):
    """What is said to an agent, and how it is to answer."""

    messages: tuple[MessageAdded, ...]
    """None if the message has no parts. Results come before what was said beside them."""
    task_id: str
    """The task that it continues; empty: a new one."""
    stream: bool
    background: bool
    variables: dict[str, Any]
    """Values for the names in the agent's instructions."""
    engine: str
    """One of :data:`ENGINES`; empty: the agent's own."""
    extra: dict[str, Any]
    """What the body tells of ``identity``, ``thread``, ``memory``, ``metadata`` and the like, as it came."""


def read_turn(body: Mapping[str, Any]) -> Turn:
    """
    Read the body of a turn.

    Raises:
        RequestError: a member is missing or of the wrong type; the error names it.
    """
    return Turn(
        _messages(present(body, "message", dict)),
        member(body, "task_id", str) or "",
        bool(member(body, "stream", bool)),
        bool(member(body, "background", bool)),
        member(body, "variables", dict) or {},
        _engine(body),
        _extra(body),
    )


def _engine(body: Mapping[str, Any]) -> str:
    engine = member(body, "engine", str) or ""
    if engine and engine not in ENGINES:
        raise wrong("engine", f"one of {', '.join(ENGINES)}")
    return engine


_NAMED: Final = {"identity": "id", "contact": "id", "thread": "id", "memory": "entity_id"}
"""What each must say, if it is there."""
_EXTRA: Final = (*_NAMED, "metadata", "configuration", "conversation")


def _extra(body: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key in _EXTRA if (value := member(body, key, dict)) is not None}
    for key, value in given.items():
        if key in _NAMED:
            needed(value, _NAMED[key], str, key)
    contact = given.pop("contact", None)  # the old name of it
    return given if contact is None else {"identity": contact, **given}


# -- the message


def _messages(message: dict[str, Any]) -> tuple[MessageAdded, ...]:
    role = present(message, "role", str, "message")
    if role not in ("user", "tool"):
        raise wrong("message.role", "'user' or 'tool'")
    message_id = member(message, "messageId", str, "message") or ""
    present(message, "parts", list, "message")
    parts = [_part(raw, where) for raw, where in items(message, "parts", "message")]
    results = tuple(part for part in parts if isinstance(part, ToolResultPart))
    said = tuple(part for part in parts if not isinstance(part, ToolResultPart))
    if role == "tool" and said:
        raise wrong(f"message.parts[{parts.index(said[0])}].kind", "'tool_result', as the role is 'tool'")
    added = [each for each in (MessageAdded("tool", results), MessageAdded("user", said)) if each.parts]
    return (*added[:-1], *(replace(last, message_id=message_id) for last in added[-1:]))


def _part(raw: dict[str, Any], where: str) -> Part:
    kind = present(raw, "kind", str, where)
    if kind not in _READ:
        raise wrong(f"{where}.kind", f"one of {', '.join(_READ)}")
    return _READ[kind](raw, where)


def _text(raw: Mapping[str, Any], where: str) -> Part:
    return TextPart(present(raw, "text", str, where))


def _file(raw: Mapping[str, Any], where: str) -> Part:
    file, field = present(raw, "file", dict, where), f"{where}.file"
    for key in ("bytes", "uri", "mimeType", "name"):
        member(file, key, str, field)
    read = read_file(file)
    if bool(read.data) == bool(read.url):
        raise wrong(field, "an object with either 'bytes' or 'uri'")
    return replace(read, extra=_metadata(raw, where))


def _result(raw: Mapping[str, Any], where: str) -> Part:
    """Read what a tool answered. The Python SDK drops a result that is None."""
    return ToolResultPart(needed(raw, "tool_call_id", str, where), raw.get("result"), _metadata(raw, where))


def _error(raw: Mapping[str, Any], where: str) -> Part:
    """Read an error that the caller tells of: the model is shown it as it is."""
    error, code = present(raw, "error", str, where), raw.get("code")
    if code is not None and (isinstance(code, bool) or not isinstance(code, int | float)):
        raise wrong(f"{where}.code", "a number")
    return DataPart({"error": error} if code is None else {"error": error, "code": code})


def _metadata(raw: Mapping[str, Any], where: str) -> Extra:
    metadata = member(raw, "metadata", dict, where)
    return {"metadata": metadata} if metadata else UNSET


_READ: Final[dict[str, Callable[[Mapping[str, Any], str], Part]]] = {
    "text": _text,
    "file": _file,
    "tool_result": _result,
    "error": _error,
}


# -- templates

_NAME: Final = re.compile(r"\{\{(\{)?\s*([^\W\d][\w-]*(?:\.[\w-]+)*)\s*(?(1)\}\}\}|\}\})")


def rendered(instructions: str, variables: Mapping[str, Any], engine: str = "") -> str:
    """
    Return an agent's instructions with the values of ``variables`` in them.

    ``{{name}}`` and ``{{{name}}}`` stand for a value; a dotted name for one within
    another, ``{{user.name}}``, ``{{ports.0}}``. Text goes in as it is, null as nothing,
    any other value as JSON. A name that has no value stays as it is, and what goes in
    is not read again. That is all, whichever ``engine`` is asked for: no filters, no
    sections, no expressions of Jinja or Mustache, because no code of a caller runs here.
    """
    return _NAME.sub(lambda found: _value(found, variables), instructions) if variables else instructions


def _value(found: re.Match[str], variables: Mapping[str, Any]) -> str:
    value: Any = variables
    for step in (found[2],) if found[2] in variables else found[2].split("."):
        match value:
            case dict() if step in value:
                value = value[step]
            case list() if step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            case _:
                return found[0]
    return "" if value is None else value if isinstance(value, str) else json.encode(value).decode()
