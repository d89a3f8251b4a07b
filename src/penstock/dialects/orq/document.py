"""
Whole answers, tasks, actions and errors: the bodies that are not streams (sections 5 to 7 of the contract).

An *action* is a call of a tool that the server runs, or asks about. It is known by
an id of its own and by the id of its call, because a stream says only the latter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from msgspec import UNSET

from ...bodies import member, present, wrong
from ...calls import Call, calls
from ...errors import PenstockError, RequestError, ReviewNotFound
from ...events import (
    PRIVATE,
    MessageAdded,
    Part,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
)
from ...requests import Decide
from ...snapshot import Response, spoken
from ...wire import jsontext
from .. import Spoken
from .words import (
    WORKSPACE,
    failure,
    finish_reason,
    moment,
    parsed_arguments,
    run_of,
    write_part,
    write_pending,
    write_usage,
)

__all__ = [
    "Times",
    "action", "action_id", "actions", "answer", "error", "find_action", "read_review", "stored", "task",
    "times",
]  # fmt: skip

# -- answers


def answer(task: str, response: Response) -> dict[str, Any]:
    """Return a response as the body of a call without streaming; one that runs has no ``output`` yet."""
    said = {
        "_id": response.response_id,
        "task_id": task,
        "output": [] if response.end is None else _output(response),
        "created_at": moment(response.at),
        "model": response.model,
    }
    return {**said, **_ended(response)}


def stored(task: str, response: Response) -> dict[str, Any]:
    """Return a response as ``GET /v2/agents/{key}/responses/{task_id}`` has it."""
    failed = failure(response.end)
    status = "in_progress" if response.end is None else "completed" if failed is None else "failed"
    return {**answer(task, response), "status": status, **({} if failed is None else {"error": failed.error})}


def _ended(response: Response) -> dict[str, Any]:
    usage = {} if response.usage is UNSET else {"usage": write_usage(response.usage)}
    if not isinstance(response.end, ResponseDone) or failure(response.end) is not None:
        return usage
    pending = [write_pending(part) for part in _pending(response)]
    asked = {"pending_tool_calls": pending} if pending else {}
    return {**usage, "finish_reason": finish_reason(response.end, pending), **asked}


def _pending(response: Response) -> list[ToolCallPart]:
    """Return the calls that the caller is to run."""
    waits_for = response.end.pending_calls if isinstance(response.end, ResponseDone) else ()
    return [
        part for part in response.content() if isinstance(part, ToolCallPart) and part.call_id in waits_for
    ]


_ROLES: Final = {"assistant": "agent", "developer": "system", "function": "tool"}


def _output(response: Response) -> list[dict[str, Any]]:
    """Return what was said, by the model and by the server's tools, as messages."""
    written = [(message.role, _parts(message.parts)) for message in spoken(response)]
    return [
        {"messageId": f"{response.response_id}-{n}", "role": _ROLES.get(role, role), "parts": parts}
        for n, (role, parts) in enumerate(written)
        if parts
    ]


def _parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [written for part in parts if (written := _part(part)) is not None]


def _part(part: Part) -> dict[str, Any] | None:
    """Return a part of a message; there is no reasoning among them, and no error, as 4.1 knows neither."""
    match part:
        case ToolCallPart(call_id=call_id, tool=tool):
            named = {"kind": "tool_call", "tool_name": tool, "tool_call_id": call_id}
            return {**named, "arguments": parsed_arguments(part)}
        case ToolResultPart(call_id=call_id, result=result):
            return {"kind": "tool_result", "tool_call_id": call_id, "result": result}
        case _:
            return write_part(part)


# -- tasks

_ACTION_TYPE: Final = "tool"
_State = Literal["submitted", "working", "input-required", "completed", "failed", "canceled"]


def task(name: str, response: Response | None, history: Iterable[MessageAdded] = ()) -> dict[str, Any]:
    """
    Return a task as ``GET /v2/agents/{key}/tasks/{task_id}`` has it.

    Args:
        response: its latest one; None: it has not begun.
        history: what was said in the task, as :func:`penstock.snapshot.conversation` tells it.
    """
    messages = [
        {
            "kind": "message",
            "messageId": message.message_id or f"{name}-{n}",
            "role": _ROLES.get(message.role, message.role),
            "parts": parts,
        }
        for n, message in enumerate(history)
        if message.role not in PRIVATE and (parts := _parts(message.parts))
    ]
    status: dict[str, str] = {"state": _state(response)}
    if response is not None:
        status["timestamp"] = moment(response.ended_at or response.at)
    return {"id": name, "contextId": name, "kind": "task", "status": status, "history": messages}


def _state(response: Response | None) -> _State:
    """Return how a task stands, in the words of A2A; it needs an input if a human or the caller is to act."""
    match response:
        case None:
            return "submitted"
        case Response(end=None):
            return "input-required" if any(call.waits for call in calls(response).values()) else "working"
        case Response(end=ResponseDone(finish_reason="cancelled")):
            return "canceled"
        case Response(end=ResponseFailed()):
            return "failed"
        case _:
            return "input-required" if _pending(response) else "completed"


# -- actions (section 6)


class Times(NamedTuple):
    """When things happened to a call, in seconds since 1970."""

    created: float
    updated: float
    started: float | None = None
    finished: float | None = None


def times(records: Iterable[Spoken]) -> dict[str, Times]:
    """Return when things happened to the calls of the last response in ``records``, by call."""
    found: dict[str, Times] = {}
    for record in records:
        at = record.at
        match record.event:
            case ResponseStarted():
                found = {}
            case ReviewRequested(call_id=key):
                found[key] = Times(at, at)
            case ReviewDone(call_id=key) if key in found:
                found[key] = found[key]._replace(updated=at)
            case ToolStarted(call_id=key):
                found[key] = found.get(key, Times(at, at))._replace(updated=at, started=at)
            case ToolDone(call_id=key) | ToolFailed(call_id=key):
                found[key] = found.get(key, Times(at, at))._replace(updated=at, finished=at)
            case _:
                pass
    return found


def action_id(response_id: str, call: Call) -> str:
    """Return the name of an action: of the answer, and of what its review binds to."""
    return f"{response_id}-{_bound(call)}"


def _bound(call: Call) -> str:
    """Return what tells the action from others of its answer: 20 hexadecimal digits."""
    named = hashlib.sha256(call.call_id.encode()).hexdigest() if call.review is None else call.review.digest
    return named[:20]


def actions(response: Response, at: Mapping[str, Times] | None = None) -> list[dict[str, Any]]:
    """Return the actions of a response in their order: the data of ``GET .../tasks/{task_id}/actions``."""
    acted = _acted(calls(response))
    return [action(response, call, (at or {}).get(key)) for key, call in acted.items()]


def find_action(found: Mapping[str, Call], name: str) -> Call:
    """
    Return the call that an ``{action_id}`` means: the id of an action, or of its call.

    Raises:
        ReviewNotFound: there is none.
    """
    for call in _acted(found).values():
        if name == call.call_id or name.rpartition("-")[2] == _bound(call):
            return call
    raise ReviewNotFound(f"there is no action {name[:64]!r}", field="action_id")


def _acted(found: Mapping[str, Call]) -> dict[str, Call]:
    """Return those calls that the server did something about."""
    return {key: call for key, call in found.items() if call.review or call.started or call.end}


def action(response: Response, call: Call, at: Times | None = None) -> dict[str, Any]:
    """
    Return a call of ``response`` as an action.

    ``at`` says when things happened to it; else it is as old as its answer.
    """
    at = at or Times(response.at, response.ended_at or response.at)
    tool = call.part.tool
    known = {"started": at.started, "finished": at.finished}
    return {
        "_id": action_id(response.response_id, call),
        "agent_tool_call_id": call.call_id,
        "tool": {"id": tool, "display_name": tool, "requires_approval": call.review is not None},
        "created": moment(at.created),
        "updated": moment(at.updated),
        **{key: moment(time) for key, time in known.items() if time is not None},
        "agent_id": response.agent,
        "action_type": _ACTION_TYPE,
        "agent_execution_id": run_of(response.response_id),
        "workspace_id": WORKSPACE,
        "state": _state_of(call),
    }


def _state_of(call: Call) -> dict[str, Any]:
    """Return how a call stands; ``executed`` is false, and there is an output, if that was given instead."""
    decision = call.decision
    verdict = None if decision is None else "approved" if decision.verdict == "approved" else "rejected"
    mocked = decision is not None and decision.output is not UNSET
    by = {"reviewed_by_id": decision.by} if decision is not None and decision.by else {}
    error = {"error": call.end.error} if isinstance(call.end, ToolFailed) else {}
    return {
        "review": verdict,
        **by,
        "executed": call.started is not None and not mocked,
        **error,
        "input": parsed_arguments(call.part),
        "output": _as_object(call.end.result) if isinstance(call.end, ToolDone) else {},
    }


def _as_object(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {"result": result}


def read_review(body: Mapping[str, Any], call: Call) -> Decide:
    """
    Read the body of ``POST .../actions/{action_id}/review``; what it calls ``source`` is who decides.

    Raises:
        RequestError: a member is missing or of the wrong type; the error names it.
    """
    review = present(body, "review", str)
    if review not in ("approved", "rejected"):
        raise wrong("review", "'approved' or 'rejected'")
    source, output = member(body, "source", str), member(body, "mock_output", dict)
    if output is not None and review == "rejected":
        raise RequestError("'mock_output' goes with 'approved' alone", field="mock_output")
    verdict: Literal["approved", "rejected"] = "approved" if review == "approved" else "rejected"
    digest = call.review.digest if call.review else ""
    return Decide(call.call_id, verdict, digest, source or "", UNSET if output is None else output)


# -- errors (section 7)


def error(exc: PenstockError) -> bytes:
    """Return the body of an error: the one shape that all SDKs read; ``code`` is the status, as a string."""
    return jsontext.encode({"code": str(exc.status), "message": exc.message})
