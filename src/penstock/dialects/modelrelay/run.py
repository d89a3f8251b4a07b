"""
Events to the log of a run (section 9 of the contract): what ``GET /runs/{id}/events`` lists.

A run is a stream of ours with one node in it, called ``main``; each of its
responses is a step. The first one begins the run; one that ends with calls for
the caller leaves it waiting, any other ends it.

The TypeScript SDK refuses what it does not know, so each event has exactly the
members of its type. Events are numbered without gaps through the whole run: how
many there were before a response is told to its encoder, because an encoder
knows nothing of earlier responses.

Lost: reasoning, sources, reviews, pieces of arguments, all choices but the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import UNSET, UnsetType

from ...events import (
    Event,
    Extra,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
    Usage,
)
from ...names import stream_of, uuid_of
from ...wire import Frame, jsontext
from ...wire.times import timestamp
from .. import Spoken
from .answer import message
from .encode import PROVIDER
from .turn import Piece, Turn
from .words import STOP, failure, write_usage

__all__ = ["NODE", "Encoder", "outputs", "pending", "plan_hash", "plan_of", "run_of", "step_of"]

NODE: Final = "main"
_OUTPUT: Final = "result"
_ARTIFACT: Final = "run_outputs.v0"
_HASH: Final = re.compile("[0-9a-f]{64}")
_OF_NODE: Final = b',"node_id":"%b"' % NODE.encode()
_DELTA: Final = _OF_NODE + b',"delta":{"kind":"message_delta","text_delta":%b}'
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")


# -- what a run is called


def run_of(response_id: str) -> str:
    """Return the run that a response belongs to: the UUID of its stream."""
    return uuid_of(stream_of(response_id))


def step_of(response_id: str) -> int:
    """Return which step of its run a response is, from 0."""
    number = response_id.rpartition(".")[2]
    return max(0, int(number) - 1) if number.isascii() and number.isdecimal() else 0


def plan_hash(plan: Any) -> str:
    """Return the hash by which a plan, any JSON value, is known."""
    return hashlib.sha256(jsontext.encode(plan)).hexdigest()


def plan_of(request: Extra) -> str:
    """
    Return the hash of the plan that a response follows, by the settings it was asked for with.

    It is the ``plan_hash`` in their metadata; a request that came without a plan is its own,
    less its ``digest``, which later steps do not have.
    """
    asked = {} if request is UNSET else {key: each for key, each in request.items() if key != "digest"}
    told = asked.get("metadata", {}).get("plan_hash")
    return told if isinstance(told, str) and _HASH.fullmatch(told) else plan_hash(asked)


def outputs(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what a run has come to, as ``GET /runs/{id}`` has it and as ``run_completed`` digests it."""
    return {_OUTPUT: {"output": [message(parts)]}}


def pending(parts: Iterable[Part], end: ResponseDone) -> list[dict[str, Any]]:
    """Return the calls that the caller is to run."""
    return [
        {"tool_call": _call(part.call_id, part.tool, part.arguments)}
        for part in parts
        if isinstance(part, ToolCallPart) and part.call_id in end.pending_calls
    ]


# -- the log


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self, *, before: int = 0, provider: str = PROVIDER) -> None:
        """``before``: how many events the run has before the response."""
        self._before, self._provider = before, provider
        self._head = self._plan = b""
        self._number = before
        self._request: dict[str, Any] = {}
        """Which step this is."""
        self._ids: dict[str, str] = {}
        self._turn = Turn()
        self._parts: dict[str, Part] = {}
        """Those of the first choice, in the order in which they began."""

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta and self._turn.says(event):
            return (self._piece(record.at, event.delta),)
        return self._rarely(event, record.at)

    def _rarely(self, event: Event, at: float) -> Iterator[Frame]:
        """Encode anything but a delta of the content."""
        if isinstance(event, ResponseStarted):
            yield from self._start(event, at)
        for told in self._turn.feed(event):
            if isinstance(told, Piece):
                yield self._piece(at, told.text)
        match event:
            case PartStarted(part_id=key, part=part, choice=0):
                self._parts[key] = part
            case PartDone(part_id=key, part=part) if key in self._parts:
                self._parts[key] = part
            case ToolStarted(call_id=key, tool=tool, arguments=arguments):
                yield self._tool_call(at, self._called(key, tool, arguments))
            case ToolDone(call_id=key, result=result):
                yield self._tool_result(at, key, {"output": _as_text(result)})
            case ToolFailed(call_id=key, error=error):
                yield self._tool_result(at, key, {"output": "", "error": error})
            case ResponseDone():
                yield from self._done(event, at)
            case ResponseFailed():
                yield from self._failed(event, at)
            case _:
                pass

    # -- the response

    def _start(self, event: ResponseStarted, at: float) -> Iterator[Frame]:
        self._turn, self._parts, self._number = Turn(event.request), {}, self._before
        self._head = b'{"envelope_version":"v2","run_id":"%b","seq":' % run_of(event.response_id).encode()
        self._plan = b',"plan_hash":"%b"' % plan_of(event.request).encode()
        self._request = {"step": step_of(event.response_id), "request_id": uuid_of(event.response_id)}
        self._ids = {"response_id": event.response_id, "model": event.model}
        if not self._request["step"]:
            yield self._of_run(at, "run_started")
            yield self._of_node(at, "node_started")
        yield self._of_node(at, "node_output_delta", delta={"kind": "message_start", **self._ids})

    def _done(self, event: ResponseDone, at: float) -> Iterator[Frame]:
        reason = STOP[event.finish_reason]
        yield self._of_node(at, "node_output_delta", delta={"kind": "message_stop"})
        yield self._asked(at, event.usage, {"stop_reason": reason})
        parts = list(self._parts.values())
        if waits_for := pending(parts, event):
            yield from self._wait(at, waits_for)
        elif event.finish_reason == "cancelled":
            yield self._of_run(
                at, "run_canceled", error={"code": "CANCELED", "message": "the run was stopped"}
            )
        else:
            yield self._of_node(at, "node_succeeded")
            yield self._of_run(at, "run_completed", outputs=_artifact(outputs(parts)))

    def _failed(self, event: ResponseFailed, at: float) -> Iterator[Frame]:
        failed = failure(event)
        error = {"code": failed["code"], "message": failed["message"]}
        if event.usage is not UNSET:
            yield self._asked(at, event.usage, {})
        yield self._of_node(at, "node_failed", error=error)
        yield self._of_run(at, "run_failed", error=error)

    def _wait(self, at: float, calls: list[dict[str, Any]]) -> Iterator[Frame]:
        for call in calls:
            yield self._tool_call(at, call["tool_call"])
        waiting = {**self._request, "reason": "tool_results", "pending_tool_calls": calls}
        yield self._of_node(at, "node_waiting", waiting=waiting)

    # -- single events

    def _piece(self, at: float, text: str) -> Frame:
        return self._event(at, "node_output_delta", _DELTA % jsontext.quote(text))

    def _asked(self, at: float, usage: Usage | UnsetType, ended: dict[str, str]) -> Frame:
        """A model was asked, and has answered."""
        call = {**self._request, "provider": self._provider, **self._ids, **ended}
        return self._of_node(at, "node_llm_call", llm_call={**call, **_counted(usage)})

    def _tool_call(self, at: float, call: dict[str, str]) -> Frame:
        return self._of_node(at, "node_tool_call", tool_call={**self._request, "tool_call": call})

    def _tool_result(self, at: float, call_id: str, result: dict[str, str]) -> Frame:
        said = {**self._request, "tool_call": self._called(call_id), **result}
        return self._of_node(at, "node_tool_result", tool_result=said)

    def _called(self, call_id: str, tool: str = "", arguments: Any = None) -> dict[str, str]:
        """Return the call of that id as the model said it, or else as it was started."""
        for call in self._turn.calls.values():
            if call.call_id == call_id:
                return _call(call_id, tool or call.tool, call.arguments)
        return _call(call_id, tool, "" if arguments is None else _as_text(arguments))

    def _of_run(self, at: float, kind: str, **members: Any) -> Frame:
        return self._event(at, kind, self._plan + _members(members))

    def _of_node(self, at: float, kind: str, **members: Any) -> Frame:
        return self._event(at, kind, _OF_NODE + _members(members))

    def _event(self, at: float, kind: str, members: bytes) -> Frame:
        self._number += 1
        said = self._head, self._number, timestamp(at).encode(), kind.encode(), members
        return Frame(b'%b%d,"ts":"%b","type":"%b"%b}' % said, kind)


def _members(members: dict[str, Any]) -> bytes:
    return b"".join(b',"%b":%b' % (key.encode(), jsontext.encode(each)) for key, each in members.items())


def _call(call_id: str, tool: str, arguments: str) -> dict[str, str]:
    """Return a call, of which neither the id nor the name may be empty."""
    return {
        "id": call_id or "call",
        "name": tool or "tool",
        "arguments": arguments if arguments.strip() else "{}",
    }


def _counted(usage: Usage | UnsetType) -> dict[str, dict[str, int]]:
    """Return token counts, of which there are three here and no more."""
    counts = write_usage(usage)
    return {} if usage is UNSET else {"usage": {name: counts[name] for name in _COUNTS}}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else jsontext.encode(value).decode()


def _artifact(value: Any) -> dict[str, Any]:
    """Return what is said of a value that is to be fetched elsewhere."""
    data = jsontext.encode(value)
    info = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "included": False}
    return {"artifact_key": _ARTIFACT, "info": info}
