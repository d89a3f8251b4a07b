"""Runs: started here, watched as often as wanted, continued with the results of their tools."""

from __future__ import annotations

from typing import Any, Final

from starlette.types import ASGIApp

from ....bodies import member
from ....dialects.modelrelay import RUN, read_results, read_run
from ....dialects.modelrelay.run import NODE, outputs, plan_of, step_of
from ....errors import RequestError
from ....events import MessageAdded, ToolCallPart, ToolResultPart
from ....names import uuid_of
from ...endpoint import Asked, Endpoint, answer, number
from ...respond import EventStream
from .run import Page, Reading, Run, calls, find, owned, run_of_stream, stream_of_run, tokens
from .sessions import check_session, link

__all__ = ["ENDPOINTS"]


class _Stale(RequestError):
    """The run does not wait for these results, or not any more."""

    code = "stale_step"
    status = 409


async def _start_run(asked: Asked) -> ASGIApp:
    start = owned(read_run(asked.body), asked.owner)
    key = _key(asked.body)
    _boolean(asked.body, "stream")
    session = member(asked.body, "session_id", str)
    if session:
        await check_session(asked, session)
    started = await asked.service.start(start, asked.data, key, asked.owner)
    if session:
        await link(asked, session, started.stream, start.input)
    run = await run_of_stream(asked.service.log, started.stream)
    return answer(_named(run), headers={"penstock-stream": run.stream})


def _key(body: dict[str, Any]) -> str:
    """Return what makes the same request the same run. A line end in it is what no header can hold."""
    key = member(member(body, "options", dict) or {}, "idempotency_key", str, "options")
    return f"modelrelay\nrun {key}" if key else ""


def _boolean(body: dict[str, Any], name: str) -> None:
    """Whether it is set or not changes nothing: the log has the pieces of the answer always."""
    if not isinstance(body.get(name), bool | None):
        raise RequestError(f"{name!r} must be true or false", field=name)


def _named(run: Run) -> dict[str, Any]:
    return {
        "run_id": uuid_of(run.stream),
        "status": run.status,
        "plan_hash": plan_of(run.steps[0].request),
    }


async def _show_run(asked: Asked) -> ASGIApp:
    run = await find(asked)
    used = tokens(run)
    called = sum(isinstance(part, ToolCallPart) for step in run.steps for part in step.content())
    shown = {
        **_named(run),
        "cost_summary": {"total_usd_cents": 0, "line_items": []},
        "summary": {
            "total_steps": len(run.steps),
            "total_llm_calls": len(run.steps),
            "total_tool_calls": called,
            "total_input_tokens": used.input_tokens,
            "total_output_tokens": used.output_tokens,
            "total_cost_cents": 0,
        },
    }
    if run.status == "succeeded":
        shown["outputs"] = outputs(run.step.content())
    return answer(shown, headers={"penstock-stream": run.stream})


# -- its log


async def _run_events(asked: Asked) -> ASGIApp:
    page = _page(asked)
    stream = await stream_of_run(asked)
    log = asked.service.log
    reading = Reading(log, stream, await log.head(stream), page)
    return EventStream(reading, RUN.wire(), asked.service.connections, {"penstock-stream": stream})


def _page(asked: Asked) -> Page:
    """Return which events are asked for. Raises: RequestError."""
    wait = asked.query.get("wait", "1")
    if wait not in _WAITS:
        raise RequestError(f"'wait' must be 0 or 1, not {wait[:64]!r}", field="wait")
    return Page(number(asked.query, "after_seq", 0) or 0, number(asked.query, "limit", 1), _WAITS[wait])


_WAITS: Final = {"0": False, "false": False, "1": True, "true": True}


# -- its tools


async def _pending_tools(asked: Asked) -> ASGIApp:
    run = await find(asked)
    waits = run.status == "waiting"
    pending = [{**_place(run), "tool_calls": calls(run.step)}] if waits else []
    return answer({"run_id": uuid_of(run.stream), "pending": pending})


def _place(run: Run) -> dict[str, Any]:
    """Return where a run waits, as its log says it too."""
    name = run.step.response_id
    return {"node_id": NODE, "step": step_of(name), "request_id": uuid_of(name)}


async def _take_results(asked: Asked) -> ASGIApp:
    results = read_results(asked.body)
    stream = await stream_of_run(asked)
    async with asked.service.turns.of(stream):
        run = await run_of_stream(asked.service.log, stream)
        _check_place(asked.body, run)
        _check_complete(results, run)
        await asked.service.runs.proceed(stream, results)
    run = await run_of_stream(asked.service.log, stream)
    return answer({"accepted": len(results), "status": run.status})


def _check_place(body: dict[str, Any], run: Run) -> None:
    """Raises: RequestError (a member is missing); _Stale (the run waits elsewhere, or not at all)."""
    place = _place(run)
    for name in place:
        if body.get(name) is None:
            raise RequestError(f"{name!r} is missing", field=name)
    if run.status != "waiting":
        raise _Stale(f"the run waits for no results: it is {run.status}")
    for name, here in place.items():
        if body[name] != here:
            raise _Stale(f"the run waits at {name} {here!r}, not at {body[name]!r}", field=name)


def _check_complete(results: tuple[MessageAdded, ...], run: Run) -> None:
    """Raises: RequestError (not each call has one result)."""
    told = [part.call_id for each in results for part in each.parts if isinstance(part, ToolResultPart)]
    wanted = [call["tool_call"]["id"] for call in calls(run.step)]
    faults = {
        "no result for": [name for name in wanted if name not in told],
        "no such call as": [name for name in told if name not in wanted],
        "more than one result for": sorted({name for name in told if told.count(name) > 1}),
    }
    said = [f"{fault} {', '.join(map(repr, names))}" for fault, names in faults.items() if names]
    if said:
        raise RequestError(
            f"'results' must answer each pending call once: {'; '.join(said)}", field="results"
        )


_BODY: Final = {"any_body": True}
_EVENTS: Final = {
    "only_stream": True,
    "query": {
        "after_seq": "The number of the last event received.",
        "limit": "How many events to send at most.",
        "wait": "0: end with what there is; 1 (the default): with the run.",
    },
}

ENDPOINTS: Final = (
    Endpoint("POST", "/runs", "run:write", _start_run, "Start a run.", _BODY),
    Endpoint("GET", "/runs/{run}", "run:read", _show_run, "Show a run."),
    Endpoint("GET", "/runs/{run}/events", "run:read", _run_events, "Follow a run's log.", _EVENTS),
    Endpoint("GET", "/runs/{run}/pending-tools", "run:read", _pending_tools, "List calls to be answered."),
    Endpoint("POST", "/runs/{run}/tool-results", "run:write", _take_results, "Answer them.", _BODY),
)
