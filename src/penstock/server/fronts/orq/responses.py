"""
Turns: begun, continued, watched again, read afterwards.

Rule 1: an error says that no turn was begun; its SDKs may be told to ask again.
Rule 2: whether a turn streams, its body says; what these SDKs write into ``Accept`` means nothing.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from starlette.types import ASGIApp

from ....agents import tell
from ....cursor import Cursor
from ....dialects.orq import DIALECT, Turn, answer, kept, read_turn, rendered, stored
from ....engine.reading import latest
from ....engine.runs import Started
from ....errors import AnswerFailed, CallsPending, RequestError
from ....events import ToolResultPart
from ....requests import Start
from ...endpoint import Asked, Endpoint
from ...endpoint import answer as answered
from .task import find, owned

__all__ = ["ENDPOINTS"]

_FAILED: Final = 424
"""The status of a turn that was begun, and failed: not one that is asked again for."""


class _TurnFailed(RequestError):
    """The turn failed."""

    code = "turn_failed"
    status = _FAILED


async def _create(asked: Asked) -> ASGIApp:
    turn = read_turn(asked.body)
    if turn.task_id and not turn.messages:
        return await _attach(asked, turn)
    if not turn.messages:
        raise RequestError("'message.parts' is empty: there is nothing to answer", field="message.parts")
    if turn.task_id:
        return await _continue(asked, turn)
    _check_new(turn)
    started = await asked.service.start(
        await _start(asked, turn), asked.data, asked.headers.get("idempotency-key", ""), asked.owner
    )
    return await _answered(asked, turn, started, None)


def _check_new(turn: Turn) -> None:
    """Raises: CallsPending (the turn has results of calls, and a new task has made none)."""
    parts = [part for message in turn.messages for part in message.parts]
    told = [repr(part.call_id) for part in parts if isinstance(part, ToolResultPart)]
    if told:
        raise CallsPending(f"a new task has no such call as {', '.join(told)}", field="message.parts")


async def _start(asked: Asked, turn: Turn) -> Start:
    agent = await asked.service.agent(asked.path["agent"])
    start = tell(agent, turn.messages)
    known = kept(agent)
    variables = {**(known.get("variables") or {}), **turn.variables}
    instructions = rendered(start.instructions, variables, turn.engine or known.get("engine") or "")
    return owned(replace(start, instructions=instructions), asked.owner, turn.extra)


async def _continue(asked: Asked, turn: Turn) -> ASGIApp:
    task = await find(asked, turn.task_id)
    after = (await asked.service.log.head(task.name)).cursor
    started = await asked.service.runs.proceed(task.name, turn.messages)
    return await _answered(asked, turn, started, after)


async def _answered(asked: Asked, turn: Turn, started: Started, after: Cursor | None) -> ASGIApp:
    if turn.stream:
        wire = DIALECT.wire()
        cursor = await asked.service.cursor(started.stream, wire, asked.headers, "") or after
        return await asked.service.stream(started.stream, wire, cursor, until_terminal=True)
    if turn.background:
        return answered(answer(started.stream, await latest(asked.service.log, started.stream)))
    try:
        response = await asked.service.whole(started)
    except AnswerFailed as exc:
        raise _TurnFailed(f"task {started.stream}: {exc.message}") from exc
    return answered(answer(started.stream, response))


async def _attach(asked: Asked, turn: Turn) -> ASGIApp:
    """Watch the latest turn of a task, from its beginning or from where a reader of ours was cut off."""
    task = await find(asked, turn.task_id)
    if not turn.stream:
        return answered(answer(task.name, task.response))
    log, wire = asked.service.log, DIALECT.wire()
    cursor = await asked.service.cursor(task.name, wire, asked.headers, "")
    if cursor is None:
        end = (await log.head(task.name)).cursor
        cursor = end._replace(offset=await log.origin(task.name, end.offset))
    return await asked.service.stream(task.name, wire, cursor, until_terminal=True)


async def _show(asked: Asked) -> ASGIApp:
    task = await find(asked, asked.path["task"])
    return answered(stored(task.name, task.response))


_TURN: Final = {"any_body": True, "streams": True}

ENDPOINTS: Final = (
    Endpoint(
        "POST", "/v2/agents/{agent}/responses", "run:write", _create,
        "Say something to an agent, in a new task or in one that there is.", _TURN,
    ),
    Endpoint(
        "GET", "/v2/agents/{agent}/responses/{task}", "run:read", _show, "Show the latest turn of a task.",
        {"name": "show_response"},
    ),
)  # fmt: skip
