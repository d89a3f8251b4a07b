"""Tasks, and the actions in them: what tools were asked to do, and what a human says to that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from starlette.types import ASGIApp

from ....calls import calls
from ....dialects.orq import Times, action_id, actions, find_action, read_review, task, times
from ....errors import ReviewNotFound
from ....events import ResponseStarted
from ....log import Record
from ....snapshot import conversation
from ...endpoint import Asked, Endpoint, answer
from .task import Task, find

__all__ = ["ENDPOINTS"]


async def _show(asked: Asked) -> ASGIApp:
    found = await find(asked, asked.path["task"])
    return answer(task(found.name, found.response, conversation(found.snapshot)))


async def _list_actions(asked: Asked) -> ASGIApp:
    data = await _actions(asked, await find(asked, asked.path["task"]))
    return answer({"object": "list", "data": data, "has_more": False})


async def _show_action(asked: Asked) -> ASGIApp:
    name = asked.path["action"]
    found = await _actions(asked, await find(asked, asked.path["task"]))
    for each in reversed(found):  # a call's id may come again in a later turn
        if name in (each["_id"], each["agent_tool_call_id"]):
            return answer(each)
    raise ReviewNotFound(f"there is no action {name[:64]!r}")


async def _actions(asked: Asked, found: Task) -> list[dict[str, Any]]:
    """Return the actions of all turns of a task."""
    records = await asked.service.records(found.name)
    turns = zip(found.snapshot.responses, _times(records), strict=False)
    return [each for response, at in turns for each in actions(response, at)]


def _times(records: list[Record]) -> Iterator[dict[str, Times]]:
    """Yield when things happened to calls, answer by answer."""
    begun = [n for n, record in enumerate(records) if isinstance(record.event, ResponseStarted)]
    for begin, end in zip(begun, [*begun[1:], len(records)], strict=True):
        yield times(records[begin:end])


async def _review(asked: Asked) -> ASGIApp:
    found = await find(asked, asked.path["task"])
    call = find_action(calls(found.response), asked.path["action"])
    decision = read_review(asked.body, call)
    if call.review is None:
        raise ReviewNotFound(f"the call {call.call_id!r} needs no review")
    await asked.service.runs.decide(found.name, decision)
    said = f"action {action_id(found.response.response_id, call)} is {decision.verdict}"
    return answer({"success": True, "message": said})


_BODY: Final = {"any_body": True}
_TASK: Final = "/v2/agents/{agent}/tasks/{task}"

ENDPOINTS: Final = (
    Endpoint("GET", _TASK, "run:read", _show, "Show a task.", {"name": "show_task"}),
    Endpoint("GET", f"{_TASK}/actions", "run:read", _list_actions, "List a task's actions."),
    Endpoint("GET", f"{_TASK}/actions/{{action}}", "run:read", _show_action, "Show an action."),
    Endpoint("POST", f"{_TASK}/actions/{{action}}/review", "run:review", _review, "Decide about one.", _BODY),
)
