"""What is said in sessions: messages are accepted at once, and answered in their order."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from msgspec import UNSET
from msgspec.structs import replace
from starlette.types import ASGIApp

from ....agents import Agent, tell
from ....dialects.mix import Sent, read_send, rows
from ....engine.ids import keyed_stream
from ....engine.reading import history
from ....errors import StreamNotFound
from ....events import MessageAdded, TextPart
from ....names import uuid_of
from ....requests import Start, ToolChoice
from ....snapshot import fold
from ...endpoint import Asked, Endpoint, answer, number
from ...shelf import Thing
from .sessions import SHELF, find

__all__ = ["ENDPOINTS"]

_EFFORTS: Final = {"off": "none", "basic": "low", "medium": "medium", "maximum": "high"}
"""How much a model is to think: this wire's words to those of OpenAI's."""
_PLANNING: Final = "Make a plan only. Do not carry anything of it out."
_PAGE: Final = 50
_LARGEST_PAGE: Final = 1000


async def _send(asked: Asked) -> ASGIApp:
    sent = read_send(asked.body)
    thing = await find(asked)
    service = asked.service
    agent = await service.agent(service.settings.mix_agent)
    message = MessageAdded("user", (TextPart(sent.text),), _message_id(asked, thing))
    await service.runs.send(thing.stream, message, _start(agent, thing.facts, sent))
    return answer({"sessionId": thing.id, "status": "processing"}, 202)


def _message_id(asked: Asked, thing: Thing) -> str:
    """Return a new id, or the one that the caller's Idempotency-Key stands for in this session."""
    key = asked.headers.get("idempotency-key")
    return uuid_of(keyed_stream(asked.owner, f"{thing.stream}\n{key}")) if key else str(uuid4())


def _start(agent: Agent, facts: dict[str, Any], sent: Sent) -> Start:
    """Return how a message is to be answered: by the agent, as the session and the message want it."""
    start = tell(agent, ())
    instructions = [start.instructions] if facts["promptMode"] != "replace" else []
    if facts["promptMode"] != "default":
        instructions.append(facts.get("customSystemPrompt", ""))
    if sent.plan_mode:
        instructions.append(_PLANNING)
    effort = _EFFORTS.get(sent.thinking_level or "")
    return replace(
        start,
        model=facts.get("modelId") or start.model,
        instructions="\n\n".join(filter(None, instructions)),
        tools=tuple(tool for tool in start.tools if tool.runner),  # nobody else is there to run one
        tool_choice=ToolChoice("none") if sent.plan_mode else UNSET,
        max_iterations=_least(start.max_iterations or None, sent.max_steps),
        extra={**(start.extra or {}), "reasoning_effort": effort} if effort else start.extra,
        keep_open=True,
    )


def _least(*limits: int | None) -> Any:
    """Return the least of those limits that there are."""
    return min((limit for limit in limits if limit is not None), default=UNSET)


async def _list(asked: Asked) -> ASGIApp:
    thing = await find(asked)
    return answer(rows(thing.id, await history(asked.service.log, thing.stream)))


async def _history(asked: Asked) -> ASGIApp:
    limit = number(asked.query, "limit", 0, _LARGEST_PAGE)
    skip = number(asked.query, "offset", 0) or 0
    said = sorted(await _said(asked), key=lambda row: row[0], reverse=True)
    page = said[skip : skip + (_PAGE if limit is None else limit)]
    return answer([row for _, row in page])


async def _said(asked: Asked) -> list[tuple[float, dict[str, Any]]]:
    """Return what the caller has said in all sessions, and when."""
    found: list[tuple[float, dict[str, Any]]] = []
    for thing in await SHELF.list(asked):
        with suppress(StreamNotFound):  # forgotten by age, or by another front
            records = await asked.service.records(thing.stream)
            times = {
                record.event.message_id: record.at
                for record in records
                if isinstance(record.event, MessageAdded)
            }
            shown = rows(thing.id, fold(record.event for record in records))
            found += [(times[row["id"]], row) for row in shown if row["role"] == "user"]
    return found


async def _cancel(asked: Asked) -> ASGIApp:
    thing = await find(asked)
    return answer({"cancelled": await asked.service.runs.stop(thing.stream, asked.owner)})


_PAGES: Final = {"query": {"limit": "Messages to a page.", "offset": "Messages to pass over."}}

ENDPOINTS: Final = (
    Endpoint(
        "POST", "/api/sessions/{session}/messages", "run:write", _send, "Say something in a session.",
        {"any_body": True, "status": 202, "name": "send_message"},
    ),
    Endpoint(
        "GET", "/api/sessions/{session}/messages", "run:read", _list, "Show what was said in a session.",
        {"name": "list_messages"},
    ),
    Endpoint(
        "GET", "/api/messages/history", "run:read", _history, "Show what was said in all sessions.", _PAGES
    ),
    Endpoint("POST", "/api/sessions/{session}/cancel", "run:cancel", _cancel, "End the answer under way."),
)  # fmt: skip
