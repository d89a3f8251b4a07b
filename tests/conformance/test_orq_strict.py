"""
What the strictest of the SDKs refuses (section 5 of the contract).

That nothing is let through which one of them does not read was found out with
all four, by leaving out, renaming and retyping each member of every event.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dialects.orq.strict import checked
from penstock.dialects.orq.words import moment
from penstock.errors import LocalProtocolError

TOOL = {"toolId": "t", "toolCallId": "c"}
TRACE = {"trace_id": "a", "span_id": "b"}
STARTED = {"responseId": "r", "taskId": "t", "model": "m", "workflowRunId": "w"}
USAGE = {
    "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 1, "cache_creation_tokens": 0, "audio_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": None},
}  # fmt: skip
PENDING = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"finishReason": "function_call", "pendingToolCalls": [PENDING]}
PARTS: list[dict[str, Any]] = [
    {"kind": "text", "text": "x"},
    {"kind": "reasoning", "_id": "i", "reasoning": "x", "signature": "s", "metadata": {}},
    {"kind": "file", "file": {"bytes": "AA==", "mimeType": "image/png", "name": "a"}, "metadata": {}},
    {"kind": "file", "file": {"uri": "u"}},
    {"kind": "data", "data": {"a": 1}, "metadata": {}},
]

READ: list[tuple[str, dict[str, Any]]] = [
    ("response.started", STARTED),
    ("response.started", {**STARTED, "userMessageId": "u", "assistantMessageId": "a", "telemetry": TRACE}),
    ("response.done", {**CALLED, "usage": USAGE, "telemetry": TRACE}),
    ("response.done", {"finishReason": "max_time"}),
    ("response.failed", {"error": "e", "code": 500}),
    ("tool.started", {**TOOL, "toolName": "n", "arguments": {"a": 1}}),
    ("tool.done", {**TOOL, "result": None}),
    ("tool.done", TOOL),
    ("tool.failed", {**TOOL, "error": "e"}),
    ("tool.review.requested", {**TOOL, "toolName": "n", "arguments": {}, "requiresApproval": True}),
    ("tool.review.done", {**TOOL, "review": "approved"}),
    *(("part.delta", {"partId": "p", "delta": part}) for part in PARTS),
    *(("part.done", {"partId": "p", "part": part}) for part in PARTS),
]


def event(kind: str, data: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": "2026-01-05T09:30:00.120Z", "data": data}


def part(whole: dict[str, Any]) -> dict[str, Any]:
    return event("part.done", {"partId": "p", "part": whole})


FINE = event("tool.done", TOOL)
REFUSED: dict[str, dict[str, Any]] = {
    "a type that is not of the ten": event("ping", {}),
    "no type": {"timestamp": FINE["timestamp"], "data": TOOL},
    "a second envelope": {"data": FINE},
    "a member too many": {**FINE, "id": "1"},
    "no time": {"type": "tool.done", "data": TOOL},
    "a time that is a number": {**FINE, "timestamp": 1767605400},
    "a time in another form": {**FINE, "timestamp": "2026-01-05T09:30:00Z"},
    "null for a member that may be missing": event(
        "tool.started", {**TOOL, "arguments": {}, "toolName": None}
    ),
    "null for usage": event("response.done", {"finishReason": "stop", "usage": None}),
    "null for telemetry": event("response.started", {**STARTED, "telemetry": None}),
    "a name in snake case": event("tool.done", {"tool_id": "t", "tool_call_id": "c"}),
    "usage in camel case": event("response.done", {"finishReason": "stop", "usage": {"totalTokens": 1}}),
    "no taskId, although deprecated": event("response.started", {**STARTED, "taskId": None}),
    "an unknown reason": event("response.done", {"finishReason": "cancelled"}),
    "a function_call without calls": event("response.done", {"finishReason": "function_call"}),
    "calls without function_call": event("response.done", {**CALLED, "finishReason": "stop"}),
    "no calls in the list": event("response.done", {**CALLED, "pendingToolCalls": []}),
    "arguments of a pending call as an object": event(
        "response.done", {**CALLED, "pendingToolCalls": [{**PENDING, "function": {"arguments": {}}}]}
    ),
    "a code as a string": event("response.failed", {"error": "e", "code": "500"}),
    "a code that is no error": event("response.failed", {"error": "e", "code": 200}),
    "arguments as text": event("tool.started", {**TOOL, "arguments": "{}"}),
    "no arguments": event("tool.started", TOOL),
    "a review without its flag": event("tool.review.requested", {**TOOL, "arguments": {}}),
    "an unknown verdict": event("tool.review.done", {**TOOL, "review": "expired"}),
    "an error that is no text": event("tool.failed", {**TOOL, "error": {"message": "e"}}),
    "reasoning without an id": part({"kind": "reasoning", "reasoning": "x"}),
    "data that is no object": part({"kind": "data", "data": []}),
    "a file that is nowhere": part({"kind": "file", "file": {}}),
    "a file in two places": part({"kind": "file", "file": {"uri": "u", "bytes": "AA"}}),
    "a tool call": part({"kind": "tool_call", "tool_name": "f", "tool_call_id": "c", "arguments": {}}),
    "an error part": part({"kind": "error", "error": "e"}),
    "a part without its kind": part({"text": "x"}),
}


@pytest.mark.parametrize(("kind", "data"), READ)
def test_what_is_read(kind: str, data: dict[str, Any]) -> None:
    told = json.dumps(event(kind, data)).encode()
    assert checked(told) is told


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="an event that the SDKs refuse"):
        checked(json.dumps(REFUSED[name]).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[DONE]", b'{"type":"tool.done"}{}', b"[" * 100_000])
def test_what_is_no_event(data: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        checked(data)


@given(st.floats(0, 4e9))
def test_times_have_milliseconds(at: float) -> None:
    text = moment(at)
    assert len(text) == len("2026-01-05T09:30:00.120Z")
    assert datetime.fromisoformat(text).astimezone(UTC).timestamp() == pytest.approx(at, abs=0.0011)
