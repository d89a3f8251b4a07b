"""Whole answers, tasks, actions, errors (sections 5 to 7 of the contract)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET

from penstock.calls import calls
from penstock.dialects import orq
from penstock.errors import (
    PenstockError,
    RequestError,
    ReviewNotFound,
    StreamBusy,
    StreamNotFound,
    Unauthorized,
)
from penstock.events import (
    ROUND_DONE,
    Custom,
    DataPart,
    Event,
    FilePart,
    MessageAdded,
    Part,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    SourcePart,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
    Usage,
)
from penstock.log import Record
from penstock.names import uuid_of
from penstock.snapshot import Response, Snapshot, apply

BEGUN = ResponseStarted("task_1.2", "builtin/echo", "clerk")


def part(whole: Part) -> list[Event]:
    key = f"p{id(whole)}"
    return [PartStarted(key, whole), PartDone(key, whole)]


def spoken(*parts: Part) -> list[Event]:
    return [event for each in parts for event in part(each)]


def recorded(events: list[Event]) -> list[Record]:
    return [Record(n, float(n), event) for n, event in enumerate(events)]


def response(*events: Event) -> Response:
    snapshot = Snapshot()
    for record in recorded([BEGUN, *events]):
        apply(snapshot, record.event, record.at)
    assert snapshot.response is not None
    return snapshot.response


HEAD = {
    "_id": "task_1.2",
    "task_id": "task_1",
    "created_at": "1970-01-01T00:00:00.000Z",
    "model": "builtin/echo",
}
CALL = ToolCallPart("call_3", "refund", '{"order":7}')
ROUND: list[Event] = [*spoken(ReasoningPart("hm"), TextPart("One moment."), CALL), Custom(ROUND_DONE)]
ASKED = ReviewRequested("call_3", "refund", "d" * 64, {"order": 7})
RUN: list[Event] = [ToolStarted("call_3", "refund", {"order": 7}), ToolDone("call_3", {"paid": True})]
TOOL_CALL = {"kind": "tool_call", "tool_name": "refund", "tool_call_id": "call_3", "arguments": {"order": 7}}


def message(n: int, role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"messageId": f"task_1.2-{n}", "role": role, "parts": list(parts)}


# -- answers


def test_a_whole_answer() -> None:
    parts = spoken(
        TextPart("Paid."), DataPart({"a": 1}), RefusalPart("No."), SourcePart("u"), FilePart(url="u")
    )
    usage = Usage(5, 0, 2)
    assert orq.answer("task_1", response(*ROUND, *RUN, *parts, ResponseDone("stop", usage))) == {
        **HEAD,
        "output": [
            message(0, "agent", {"kind": "text", "text": "One moment."}, TOOL_CALL),
            message(1, "tool", {"kind": "tool_result", "tool_call_id": "call_3", "result": {"paid": True}}),
            message(2, "agent", {"kind": "text", "text": "Paid."}, {"kind": "data", "data": {"a": 1}},
                    {"kind": "text", "text": "No."}, {"kind": "file", "file": {"uri": "u"}}),
        ],
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }  # fmt: skip


def test_calls_for_the_caller_are_in_both_places() -> None:
    end = ResponseDone("tool_calls", pending_calls=("call_3",))
    answer = orq.answer("task_1", response(*spoken(CALL), end))
    assert answer == {
        **HEAD,
        "output": [message(0, "agent", TOOL_CALL)],
        "finish_reason": "function_call",
        "pending_tool_calls": [
            {"id": "call_3", "type": "function", "function": {"name": "refund", "arguments": '{"order":7}'}}
        ],
    }


def test_what_failed_is_a_result_and_no_error_part() -> None:
    answer = orq.answer("task_1", response(*ROUND, ToolFailed("call_3", "gone"), ResponseDone("stop")))
    assert answer["output"][1]["parts"] == [
        {"kind": "tool_result", "tool_call_id": "call_3", "result": {"error": "gone"}}
    ]


def test_an_answer_of_reasoning_alone_is_empty() -> None:
    assert orq.answer("task_1", response(*spoken(ReasoningPart("hm")), ResponseDone("stop")))["output"] == []


def test_an_answer_that_runs_has_no_output() -> None:
    assert orq.answer("task_1", response(*ROUND, *RUN)) == {**HEAD, "output": []}


ENDS: list[tuple[list[Event], str, dict[str, Any]]] = [
    ([], "in_progress", {}),
    ([StopRequested("ada")], "in_progress", {}),
    ([ResponseDone("stop")], "completed", {}),
    ([ResponseFailed("upstream", "gone")], "failed", {"error": "gone"}),
    ([StopRequested("ada"), ResponseDone("cancelled")], "failed", {"error": "the response was cancelled"}),
]


@pytest.mark.parametrize(("end", "status", "more"), ENDS)
def test_a_stored_answer(end: list[Event], status: str, more: dict[str, Any]) -> None:
    whole = response(*spoken(TextPart("Well")), *end)
    assert orq.stored("task_1", whole) == {**orq.answer("task_1", whole), "status": status, **more}
    assert (orq.stored("task_1", whole)["output"] == []) is (status == "in_progress")
    assert ("finish_reason" in orq.stored("task_1", whole)) is (status == "completed")


# -- tasks

STATES: dict[str, list[Event]] = {
    "working": [*ROUND, ASKED, ReviewDone("call_3", "d" * 64, "approved")],
    "completed": [ResponseDone("stop")],
    "failed": [ResponseFailed("upstream", "gone")],
    "canceled": [ResponseDone("cancelled")],
}


@pytest.mark.parametrize("state", STATES)
def test_states_of_a_task(state: str) -> None:
    assert orq.task("task_1", response(*STATES[state]))["status"]["state"] == state


OTHER: list[Event] = [*spoken(ToolCallPart("call_4", "refund", "{}")), ToolStarted("call_4", "refund", {})]


@pytest.mark.parametrize(
    "events",
    [[*OTHER, *ROUND, ASKED], [*spoken(CALL), ResponseDone("tool_calls", pending_calls=("call_3",))]],
)
def test_a_task_that_waits_for_somebody(events: list[Event]) -> None:
    assert orq.task("task_1", response(*events))["status"]["state"] == "input-required"


def test_a_task() -> None:
    said = [
        MessageAdded("system", (TextPart("Hush."),)),
        MessageAdded("user", (TextPart("Pay."),), "m_1"),
        MessageAdded("assistant", (ReasoningPart("hm"), CALL)),
        MessageAdded("tool", (ToolResultPart("call_3", None),)),
    ]
    assert orq.task("task_1", response(ResponseDone("stop")), said) == {
        "id": "task_1", "contextId": "task_1", "kind": "task",
        "status": {"state": "completed", "timestamp": "1970-01-01T00:00:01.000Z"},
        "history": [
            {"kind": "message", "messageId": "m_1", "role": "user",
             "parts": [{"kind": "text", "text": "Pay."}]},
            {"kind": "message", "messageId": "task_1-2", "role": "agent", "parts": [TOOL_CALL]},
            {"kind": "message", "messageId": "task_1-3", "role": "tool",
             "parts": [{"kind": "tool_result", "tool_call_id": "call_3", "result": None}]},
        ],
    }  # fmt: skip
    assert orq.task("task_1", None)["status"] == {"state": "submitted"}


# -- actions


def acted(*events: Event) -> tuple[Response, dict[str, orq.Times]]:
    whole = [*ROUND, *events]
    return response(*whole), orq.times(recorded([BEGUN, *whole]))


def test_an_action() -> None:
    found = acted(ASKED, ReviewDone("call_3", "d" * 64, "approved", "ada"), *RUN)
    assert orq.actions(*found) == [
        {
            "_id": f"task_1.2-{'d' * 20}",
            "agent_tool_call_id": "call_3",
            "tool": {"id": "refund", "display_name": "refund", "requires_approval": True},
            "created": "1970-01-01T00:00:08.000Z",
            "updated": "1970-01-01T00:00:11.000Z",
            "started": "1970-01-01T00:00:10.000Z",
            "finished": "1970-01-01T00:00:11.000Z",
            "agent_id": "clerk",
            "action_type": "tool",
            "agent_execution_id": uuid_of("task_1.2"),
            "workspace_id": "default",
            "state": {
                "review": "approved", "reviewed_by_id": "ada", "executed": True,
                "input": {"order": 7}, "output": {"paid": True},
            },
        }
    ]  # fmt: skip


MOCK = ReviewDone("call_3", "d" * 64, "approved", output={"paid": 0})
ACTIONS: dict[str, tuple[list[Event], dict[str, Any]]] = {
    "waits": ([ASKED], {"review": None, "executed": False, "output": {}}),
    "mocked": (
        [ASKED, MOCK, RUN[0], ToolDone("call_3", {"paid": 0})],
        {"review": "approved", "executed": False, "output": {"paid": 0}},
    ),
    "expired": (
        [ASKED, ReviewDone("call_3", "d" * 64, "expired"), ToolFailed("call_3", "expired")],
        {"review": "rejected", "executed": False, "error": "expired", "output": {}},
    ),
    "not asked about": ([RUN[0], ToolDone("call_3", "ok")],
                        {"review": None, "executed": True, "output": {"result": "ok"}}),
    "runs": ([RUN[0]], {"review": None, "executed": True, "output": {}}),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIONS)
def test_states_of_an_action(name: str) -> None:
    events, state = ACTIONS[name]
    [action] = orq.actions(*acted(*events))
    assert action["state"] == {"input": {"order": 7}, **state}
    assert action["tool"]["requires_approval"] is (ASKED in events)
    assert ("started" in action, "finished" in action) == (
        RUN[0] in events, any(isinstance(event, ToolDone | ToolFailed) for event in events),
    )  # fmt: skip


@pytest.mark.parametrize("events", [[ASKED], RUN])
def test_an_action_is_found_by_its_id_and_by_that_of_its_call(events: list[Event]) -> None:
    other = ToolCallPart("call_4", "refund", "{}")
    whole = response(*ROUND, *events, *spoken(other), ToolStarted("call_4", "refund", {}))
    found = calls(whole)
    for name, action in zip(("call_3", "call_4"), orq.actions(whole), strict=True):
        assert orq.find_action(found, name) is orq.find_action(found, action["_id"]) is found[name]


def test_a_call_of_which_nothing_became_is_no_action() -> None:
    whole = response(*spoken(CALL))
    assert orq.actions(whole) == []
    for name in ("call_3", "", "task_1.2-", "nope"):
        with pytest.raises(ReviewNotFound):
            orq.find_action(calls(whole), name)


def test_times_are_those_of_the_last_answer() -> None:
    events: list[Event] = [
        BEGUN,
        ASKED,
        ReviewDone("call_3", "d", "expired"),
        ToolFailed("call_3", "x"),
        ResponseDone("stop"),
    ]
    again = [*events, ResponseStarted("task_1.3"), *RUN]
    assert orq.times(recorded(events)) == {"call_3": orq.Times(1, 3, None, 3)}
    assert orq.times(recorded(again)) == {"call_3": orq.Times(6, 7, 6, 7)}
    assert orq.action(response(*ROUND, ASKED), calls(response(*ROUND, ASKED))["call_3"])["created"] == (
        "1970-01-01T00:00:00.000Z"
    )


# -- errors

ERRORS: list[tuple[PenstockError, str]] = [
    (RequestError("no"), "400"),
    (Unauthorized("no"), "401"),
    (StreamNotFound("no"), "404"),
    (StreamBusy("no"), "409"),
    (PenstockError("no"), "500"),
]


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_errors_have_the_one_shape_that_all_read(error: PenstockError, code: str) -> None:
    assert json.loads(orq.error(error)) == {"code": code, "message": "no"}


def test_why_there_is_no_answer() -> None:
    assert orq.failure(ResponseFailed("upstream", "gone", extra={"status": 502})) == ("gone", 502)
    assert orq.failure(ResponseDone("cancelled", UNSET)) == ("the response was cancelled", 499)
    assert orq.failure(ResponseDone("stop")) is orq.failure(None) is None
