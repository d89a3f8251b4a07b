"""
The log of a run (section 9 of the contract), as strictly as the TypeScript SDK reads it.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.dialects import get
from penstock.dialects.modelrelay.run import outputs, pending, plan_hash, plan_of, run_of, step_of
from penstock.engine.voice import place
from penstock.events import (
    DataPart,
    Event,
    FinishReason,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolResultPart,
    ToolStarted,
    Usage,
)
from penstock.names import stream_name
from penstock.snapshot import fold, grown
from penstock.wire import jsontext
from streams import SESSION, STREAM, STRUCTURED, WIRES, kept, long_answer, records, spoken

RUN = WIRES["modelrelay-run"]
NAME = stream_name(0x6F1C2A345B6D4E7F8A90B1C2D3E4F506)
UUID = "6f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506"
PLAN = "9b74c9897bac770ffc029102a200c5de9b74c9897bac770ffc029102a200c5de"
ASKED: Final = {"model": "demo-1", "metadata": {"plan_hash": PLAN}}


def said(events: list[Event], **options: Any) -> list[dict[str, Any]]:
    encoder = get("modelrelay/run").wire(**options).encoder()
    return [json.loads(frame.data) for record in records(events) for frame in encoder.encode(record)]


def step(*parts: list[Event], number: int = 1, end: Event | None = None) -> list[Event]:
    begun = ResponseStarted(f"{NAME}.{number}", "demo-1", request=ASKED)
    return [
        begun,
        *(event for events in parts for event in events),
        end or ResponseDone("stop", Usage(9, 2, 4, 1)),
    ]


def part(whole: Part, *deltas: str, key: str = "p1") -> list[Event]:
    begun: Part = whole
    if deltas:
        begun = ToolCallPart(whole.call_id, whole.tool) if isinstance(whole, ToolCallPart) else type(whole)()  # type: ignore[call-arg]
    return [PartStarted(key, begun), *(PartDelta(key, delta) for delta in deltas), PartDone(key, whole)]


# -- what a reader accepts


def text(value: Any) -> None:
    assert isinstance(value, str)


def some(value: Any) -> None:
    assert isinstance(value, str) and value


def count(value: Any) -> None:
    assert type(value) is int and value >= 0


def uuid(value: Any) -> None:
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value)


def digest(value: Any) -> None:
    assert re.fullmatch("[0-9a-f]{64}", value)


def time(value: Any) -> None:
    assert value.endswith("Z") and datetime.fromisoformat(value)


def just(expected: Any) -> Any:
    def check(value: Any) -> None:
        assert value == expected and type(value) is type(expected)

    return check


def one_of(*words: str) -> Any:
    def check(value: Any) -> None:
        assert value in words

    return check


def many(shape: Any) -> Any:
    def check(value: Any) -> None:
        assert value
        for each in value:
            strict(each, shape)

    return check


CALL: Final = {"id": some, "name": some, "arguments": text}
STEP: Final = {"step": count, "request_id": uuid}
ARTIFACT: Final = {
    "artifact_key": some,
    "info": {"bytes": count, "sha256": digest, "included": just(False)},
}
DELTA: Final = {
    "kind": one_of("message_start", "message_delta", "message_stop", "tool_use_start", "tool_use_delta",
                   "tool_use_stop"),
    "text_delta?": text, "response_id?": text, "model?": text,
}  # fmt: skip
LLM_CALL: Final = {
    **STEP, "provider?": text, "model?": text, "response_id?": text, "stop_reason?": text,
    "usage?": {"input_tokens?": count, "output_tokens?": count, "total_tokens?": count},
}  # fmt: skip
WAITING: Final = {**STEP, "reason": just("tool_results"), "pending_tool_calls": many({"tool_call": CALL})}
ERROR: Final = {"code?": text, "message": some}

TYPES: Final[dict[str, dict[str, Any]]] = {
    "run_started": {"plan_hash": digest},
    "run_completed": {"plan_hash": digest, "outputs": ARTIFACT},
    "run_failed": {"plan_hash": digest, "error": ERROR},
    "run_canceled": {"plan_hash": digest, "error": ERROR},
    "node_started": {"node_id": some},
    "node_succeeded": {"node_id": some},
    "node_failed": {"node_id": some, "error": ERROR},
    "node_output_delta": {"node_id": some, "delta": DELTA},
    "node_llm_call": {"node_id": some, "llm_call": LLM_CALL},
    "node_tool_call": {"node_id": some, "tool_call": {**STEP, "tool_call": CALL}},
    "node_tool_result": {"node_id": some,
                         "tool_result": {**STEP, "tool_call": CALL, "output": text, "error?": text}},
    "node_waiting": {"node_id": some, "waiting": WAITING},
}  # fmt: skip
ENVELOPE: Final = {"envelope_version": just("v2"), "run_id": uuid, "seq": count, "ts": time, "type": some}


def strict(value: dict[str, Any], shape: Any) -> None:
    """Every member is known, and none that is needed is missing."""
    if not isinstance(shape, dict):
        shape(value)
        return
    optional = {key.removesuffix("?") for key in shape if key.endswith("?")}
    known = {key.removesuffix("?"): each for key, each in shape.items()}
    assert value.keys() <= known.keys() and known.keys() - optional <= value.keys(), value
    for key, each in value.items():
        strict(each, known[key])


def check(found: list[dict[str, Any]], before: int = 0) -> None:
    for each in found:
        strict(each, {**ENVELOPE, **TYPES[each["type"]]})
    starts = [n for n, each in enumerate(found) if each["seq"] == before + 1]
    for a, b in pairwise([*starts, len(found)]):
        assert [each["seq"] for each in found[a:b]] == list(range(before + 1, before + 1 + b - a)), "no gaps"


def test_the_reader_is_strict() -> None:
    [event] = [each for each in said(step()) if each["type"] == "run_completed"]
    info = {"bytes": 1, "sha256": PLAN, "included": True}
    for wrong in ({**event, "x": 1}, {**event, "type": "task_list_updated"}, {**event, "plan_hash": None},
                  {**event, "outputs": {"artifact_key": "a", "info": info}},
                  {key: each for key, each in event.items() if key != "plan_hash"}):  # fmt: skip
        with pytest.raises((AssertionError, KeyError, TypeError)):
            check([wrong])


# -- the contract's example, and ours


def test_a_run_is_the_contracts() -> None:
    found = said(step(part(TextPart("Hello"), "Hel", "lo")))
    check(found)
    shared = {"envelope_version": "v2", "run_id": UUID, "ts": "2025-11-20T00:53:20.250000Z"}
    assert found[:2] == [
        {**shared, "seq": 1, "type": "run_started", "plan_hash": PLAN},
        {**shared, "seq": 2, "type": "node_started", "node_id": "main"},
    ]
    assert [each["type"] for each in found] == [
        "run_started", "node_started", "node_output_delta", "node_output_delta", "node_output_delta",
        "node_output_delta", "node_llm_call", "node_succeeded", "run_completed",
    ]  # fmt: skip
    assert [each["delta"] for each in found[2:6]] == [
        {"kind": "message_start", "response_id": f"{NAME}.1", "model": "demo-1"},
        {"kind": "message_delta", "text_delta": "Hel"},
        {"kind": "message_delta", "text_delta": "lo"},
        {"kind": "message_stop"},
    ]
    call = found[6]["llm_call"]
    assert (call["step"], call["stop_reason"], call["provider"]) == (0, "end_turn", "penstock")
    assert call["usage"] == {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}


def test_the_outputs_are_those_of_the_whole_answer() -> None:
    for answer in (part(TextPart("Hello 🌊"), "Hello", " 🌊"), part(DataPart({"a": [1]}), '{"a": [1]}'),
                   part(TextPart("abc"), "a"), []):  # fmt: skip
        events = step(answer, part(ReasoningPart("hm"), "hm", key="p2"))
        response = fold(events).response
        assert response is not None
        whole = jsontext.encode(outputs(response.content()))
        info = said(events)[-1]["outputs"]["info"]
        assert info == {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest(), "included": False}
    [item] = outputs([TextPart("Hello")])["result"]["output"]
    assert item == {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello"}]}


CALLS: Final[list[Event]] = [
    *part(ToolCallPart("c1", "tide", '{"port":"Brest"}'), '{"port":', '"Brest"}'),
    *part(ToolCallPart("c2", "moon", ""), key="p2"),
]


def test_a_run_waits_for_its_callers_tools() -> None:
    end = ResponseDone("tool_calls", Usage(1, 0, 2), ("c1", "c2"))
    found = said(step(CALLS, end=end))
    check(found)
    assert [each["type"] for each in found[-4:]] == [
        "node_llm_call",
        "node_tool_call",
        "node_tool_call",
        "node_waiting",
    ]
    waiting = found[-1]["waiting"]
    calls = [{"id": "c1", "name": "tide", "arguments": '{"port":"Brest"}'},
             {"id": "c2", "name": "moon", "arguments": "{}"}]  # fmt: skip
    assert [each["tool_call"] for each in waiting["pending_tool_calls"]] == calls
    assert [each["tool_call"]["tool_call"] for each in found[-3:-1]] == calls
    response = fold(step(CALLS, end=end)).response
    assert response is not None
    assert pending(response.content(), end) == waiting["pending_tool_calls"]
    assert (
        waiting["request_id"] == found[-2]["tool_call"]["request_id"] == found[-4]["llm_call"]["request_id"]
    )


def test_a_later_step_goes_on_counting_and_begins_nothing() -> None:
    first = said(step(CALLS, end=ResponseDone("tool_calls", pending_calls=("c1", "c2"))))
    results: list[Event] = [MessageAdded("tool", (ToolResultPart("c1", "12:40"),))]
    second = said([*results, *step(part(TextPart("At 12:40."), "At 12:40."), number=2)], before=len(first))
    check(second, before=len(first))
    assert [each["seq"] for each in [*first, *second]] == list(range(1, len(first) + len(second) + 1))
    assert [each["type"] for each in second] == [
        "node_output_delta", "node_output_delta", "node_output_delta", "node_llm_call", "node_succeeded",
        "run_completed",
    ]  # fmt: skip
    assert {each["run_id"] for each in [*first, *second]} == {UUID}
    assert second[-1]["plan_hash"] == first[0]["plan_hash"] == PLAN
    steps = [each["llm_call"] for each in [*first, *second] if "llm_call" in each]
    assert [each["step"] for each in steps] == [0, 1]
    assert len({each["request_id"] for each in steps}) == 2


def test_a_run_that_is_stopped_is_canceled() -> None:
    found = said(step(part(TextPart("Well"), "Well"), end=ResponseDone("cancelled")))
    check(found)
    assert found[-1]["type"] == "run_canceled" and "usage" not in found[-2]["llm_call"]
    assert not any(each["type"] in ("node_succeeded", "run_completed") for each in found)


def test_a_run_that_fails_says_so_of_the_node_too() -> None:
    for usage in (Usage(9, 0, 4), UNSET):
        found = said(
            step(part(TextPart("Well"), "Well")[:2], end=ResponseFailed("timeout", "too slow", usage=usage))
        )
        check(found)
        error = {"code": "PROVIDER_ERROR", "message": "too slow"}
        assert [(each["type"], each["error"]) for each in found[-2:]] == [
            ("node_failed", error),
            ("run_failed", error),
        ]
        assert ("node_llm_call" in [each["type"] for each in found]) == isinstance(usage, Usage)


def test_tools_that_the_server_runs_are_in_the_log() -> None:
    executed: list[Event] = [
        ToolStarted("c1", "tide", {"port": "Brest"}), ToolDone("c1", {"at": "12:40"}),
        ToolFailed("c2", "no moon"), ToolStarted("c3", "own"), ToolDone("c3", "done"),
    ]  # fmt: skip
    found = said(step(CALLS, executed))
    check(found)
    started = [each["tool_call"]["tool_call"] for each in found if each["type"] == "node_tool_call"]
    results = [each["tool_result"] for each in found if each["type"] == "node_tool_result"]
    assert started == [{"id": "c1", "name": "tide", "arguments": '{"port":"Brest"}'},
                       {"id": "c3", "name": "own", "arguments": "{}"}]  # fmt: skip
    assert [(each["tool_call"]["name"], each["output"], each.get("error")) for each in results] == [
        ("tide", '{"at":"12:40"}', None), ("moon", "", "no moon"), ("tool", "done", None),
    ]  # fmt: skip


# -- what a run is called


def test_a_run_is_named_after_its_stream() -> None:
    assert run_of(f"{NAME}.1") == run_of(f"{NAME}.7") == UUID
    names = (f"{NAME}.1", f"{NAME}.12", "resp_x", "a.0", "a.00", "a.٣", "")
    assert [step_of(name) for name in names] == [0, 11, 0, 0, 0, 0, 0]


def test_a_plan_is_that_of_the_request_or_the_request_itself() -> None:
    assert plan_of(ASKED) == PLAN
    assert plan_of({"model": "m", "digest": "d"}) == plan_of({"model": "m"}) == plan_hash({"model": "m"})
    assert plan_of({"metadata": {"plan_hash": "short"}}) == plan_hash({"metadata": {"plan_hash": "short"}})
    assert re.fullmatch("[0-9a-f]{64}", plan_of(UNSET))


def test_a_blank_line_is_the_keepalive() -> None:
    assert RUN.framing.keepalive == b"\n" and RUN.framing.media_type == "application/x-ndjson"
    assert not RUN.dialect.failure_breaks, "run_failed is read by all"


# -- any run


@pytest.mark.parametrize("events", [SESSION, STRUCTURED, long_answer(30)])
def test_every_run_is_accepted(events: list[Event]) -> None:
    for before in (0, 17):
        found = said(events, before=before)
        check(found, before)
        firsts = [each for each in found if each["seq"] == before + 1]
        assert len(firsts) == sum(isinstance(event, ResponseStarted) for event in events)


odd_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028🌊\0"))


def kinds(n: int) -> list[Part]:
    return [TextPart(), ReasoningPart(), DataPart(), ToolCallPart(f"c{n}", "")]


REASONS: Final[list[FinishReason]] = ["stop", "length", "cancelled", "content_filter"]


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    calls = []
    for n in range(draw(st.integers(0, 4))):
        whole = draw(odd_texts)
        start = kinds(n)[draw(st.integers(0, 3))]
        calls += [start.call_id] if isinstance(start, ToolCallPart) else []
        key, cut = f"p{n}", draw(st.integers(0, len(whole)))
        events += [PartStarted(key, start), PartDelta(key, whole[:cut]), PartDone(key, grown(start, whole))]
    waits = tuple(call for call in calls if draw(st.booleans()))
    reason: FinishReason = "tool_calls" if waits else draw(st.sampled_from(REASONS))
    ends: list[Event] = [
        ResponseDone(reason, pending_calls=waits), ResponseFailed(draw(odd_texts), draw(odd_texts)),
    ]  # fmt: skip
    return [ResponseStarted(draw(st.sampled_from([f"{NAME}.1", f"{NAME}.2", "x"])), draw(odd_texts)), *events,
            draw(st.sampled_from(ends))]  # fmt: skip


@settings(deadline=None)
@given(runs())
def test_any_run_is_accepted(events: list[Event]) -> None:
    found = said(events)
    check(found)
    assert sum(each["type"].startswith("run_") and each["type"] != "run_started" for each in found) == (
        found[-1]["type"] != "node_waiting"
    )


async def test_what_follows_an_event_is_found_by_its_number() -> None:
    log = await kept(step(part(TextPart("Hello"), "Hel", "lo")))
    frames = await spoken(log, RUN)
    for seq in range(len(frames) + 1):
        rest = await spoken(log, RUN, await place(log, STREAM, RUN, seq))
        assert [json.loads(frame.data)["seq"] for frame in rest] == list(range(seq + 1, len(frames) + 1))
