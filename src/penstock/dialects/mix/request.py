"""
Request bodies (section 2 of the contract): what they say, checked.

Members that are not known are ignored, null is as good as absent; what is of the
wrong type is an error that names it. What comes back to a client in a document
is kept as this wire has it, without a member that it could not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from ...bodies import at, items, member, needed, number, present, wrong
from ...errors import RequestError

__all__ = ["Reply", "Sent", "read_callbacks", "read_respond", "read_rewind", "read_send", "read_session"]

_BROWSERS: Final = ("electron-embedded-browser", "local-browser-service", "remote-cdp-websocket")
_BROWSER: Final = "local-browser-service"
"""What older SDKs, which do not ask for any, are said to have asked for."""
_SESSIONS: Final = ("main", "subagent")
_SUBAGENTS: Final = ("general-purpose",)
_PROMPTS: Final = {"default": None, "append": 50 * 1024, "replace": 100 * 1024}
"""What becomes of the caller's prompt, and how many bytes it may have then."""
_THINKING: Final = ("off", "basic", "medium", "maximum")
_CALLBACKS: Final = ("bash_script", "sub_agent", "send_message")
_REPLIES: Final = ("acknowledge", "text", "choice")

_TEXTS: Final = ("cdpUrl", "customSystemPrompt", "modelId", "provider")
_CALLBACK_TEXTS: Final = ("name", "bashCommand", "messageContent", "subAgentPrompt", "subAgentType")
_CALLBACK_FLAGS: Final = ("includeFullHistory", "excludeFromContext")


class Sent(NamedTuple):
    """A message, and how it is to be answered."""

    text: str
    max_steps: int | None
    """How often the model may be asked."""
    thinking_level: str | None
    """How much it is to think: ``off``, ``basic``, ``medium``, ``maximum``."""
    plan_mode: bool
    """Whether it is to plan only, and to do nothing."""


class Reply(NamedTuple):
    """What somebody replied to a notification."""

    type: str
    """``acknowledge``, ``text`` or ``choice``."""
    value: str | None


def read_session(body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Read the body of ``POST /api/sessions``: the facts of a session, under the names they have here.

    There always are ``title``, ``browserMode``, ``sessionType`` and ``promptMode``.

    Raises:
        RequestError: a member is missing, too long or not what it may be; ``field`` names it.
    """
    facts: dict[str, Any] = {
        "title": needed(body, "title", str),
        "browserMode": _one_of(body, "browserMode", _BROWSERS) or _BROWSER,
        "sessionType": _one_of(body, "sessionType", _SESSIONS) or "main",
        "promptMode": _one_of(body, "promptMode", tuple(_PROMPTS)) or "default",
    }
    if subagent := _one_of(body, "subagentType", _SUBAGENTS):
        facts["subagentType"] = subagent
    facts |= {key: text for key in _TEXTS if (text := member(body, key, str))}
    limit = _PROMPTS[facts["promptMode"]]
    if limit is not None and len(facts.get("customSystemPrompt", "").encode(errors="replace")) > limit:
        raise wrong("customSystemPrompt", f"at most {limit} bytes long")
    if callbacks := _callbacks(body):
        facts["callbacks"] = callbacks
    return facts


def read_callbacks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read the body of ``PATCH /api/sessions/{id}/callbacks``; there may be none. Raises: RequestError."""
    present(body, "callbacks", list)
    return _callbacks(body)


def read_send(body: Mapping[str, Any]) -> Sent:
    """Read the body of ``POST /api/sessions/{id}/messages``, the one in snake case. Raises: RequestError."""
    steps = number(body, "max_steps", whole=True)
    return Sent(
        needed(body, "text", str),
        None if steps is UNSET else steps,
        _one_of(body, "thinking_level", _THINKING),
        member(body, "plan_mode", bool) or False,
    )


def read_rewind(body: Mapping[str, Any]) -> str:
    """Read the body of ``POST /api/sessions/{id}/rewind``: the last message to keep. Raises: RequestError."""
    return needed(body, "messageId", str)


def read_respond(body: Mapping[str, Any]) -> Reply:
    """Read the body of ``POST /api/notifications/{id}/respond``. Raises: RequestError."""
    kind = _one_of(body, "type", _REPLIES)
    if kind is None:
        raise RequestError("'type' is missing", field="type")
    return Reply(kind, member(body, "value", str))


def _one_of(body: Mapping[str, Any], key: str, words: tuple[str, ...], where: str = "") -> str | None:
    """Return a member that is one of ``words``; an empty one is none."""
    value = member(body, key, str, where)
    if value and value not in words:
        raise wrong(at(where, key), f"one of {', '.join(words)}")
    return value or None


def _callbacks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_callback(callback, where) for callback, where in items(body, "callbacks")]


def _callback(callback: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind = _one_of(callback, "type", _CALLBACKS, where)
    if kind is None:
        raise RequestError(f"'{where}.type' is missing", field=at(where, "type"))
    kept: dict[str, Any] = {"toolName": needed(callback, "toolName", str, where), "type": kind}
    texts = {key: member(callback, key, str, where) for key in _CALLBACK_TEXTS}
    flags = {key: member(callback, key, bool, where) for key in _CALLBACK_FLAGS}
    limit = callback.get("bashTimeout")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise wrong(at(where, "bashTimeout"), "a number of milliseconds")
    optional = {**texts, **flags, "bashTimeout": limit}
    return kept | {key: value for key, value in optional.items() if value is not None}
