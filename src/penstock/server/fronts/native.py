"""Our own surface: streams by name, in our own wire or, to read them, in any other."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...agents import engaged
from ...cursor import Cursor
from ...dialects import Wire, get
from ...dialects.native import DIALECT, read_decision, read_message, read_request
from ...engine.ids import stream_of
from ...engine.runs import Started
from ...errors import RequestError
from ...log import Lists, StreamInfo
from ...snapshot import Snapshot, apply, view
from ...wire import Framing
from ..endpoint import Asked, Endpoint, Front, answer, check_query, number

__all__ = ["FRONTS"]

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000


async def _start(asked: Asked) -> ASGIApp:
    check_query(asked.query, ())
    service = asked.service
    start = read_request(asked.body)
    if start.agent:
        start = engaged(await service.agent(start.agent), start)
    key = asked.headers.get("idempotency-key", "")
    started = await service.start(start, asked.data, key, asked.owner)
    return await _begun(asked, started)


async def _proceed(asked: Asked) -> ASGIApp:
    check_query(asked.query, ())
    stream = stream_of(asked.path["stream"])
    after = (await asked.service.log.head(stream)).cursor
    started = await asked.service.runs.proceed(stream, read_message(asked.body))
    return await _begun(asked, started, after)


async def _begun(asked: Asked, started: Started, after: Cursor | None = None) -> ASGIApp:
    """Answer with the stream itself if it was asked for, else with where to find it."""
    framing = _framing(asked, default=None)
    mounted, _, _ = asked.address.rpartition("/v1/streams")
    location = f"{mounted}/v1/streams/{started.stream}"
    status = 201 if started.created else 200
    if framing is not None:
        wire = DIALECT.wire(framing)
        cursor = await asked.service.cursor(started.stream, wire, asked.headers, "") or after
        headers = {"location": location}
        return await asked.service.stream(
            started.stream, wire, cursor, until_terminal=True, headers=headers, status=status
        )
    begun = {"id": started.stream, "response": started.response_id, "events": f"{location}/events"}
    return answer(begun, status, {"location": location, "penstock-stream": started.stream})


async def _events(asked: Asked) -> ASGIApp:
    check_query(asked.query, ("cursor", "dialect", "until"))
    stream = stream_of(asked.path["stream"])
    until = asked.query.get("until", "sealed")
    if until not in ("sealed", "done"):
        raise RequestError(f"'until' must be 'sealed' or 'done', not {until!r}", field="until")
    wire = _wire(asked)
    cursor = await asked.service.cursor(stream, wire, asked.headers, asked.query.get("cursor", ""))
    return await asked.service.stream(stream, wire, cursor, until_terminal=until == "done")


def _wire(asked: Asked) -> Wire:
    dialect = get(asked.query.get("dialect", DIALECT.name))
    if dialect is DIALECT:
        return dialect.wire(_framing(asked, default=DIALECT.framings[0]))
    return dialect.wire()


def _framing(asked: Asked, default: Framing | None) -> Framing | None:
    """Return the framing that the Accept header asks for by name."""
    accept = asked.headers.get("accept", "")
    return next((framing for framing in DIALECT.framings if framing.media_type in accept), default)


async def _show(asked: Asked) -> ASGIApp:
    stream = stream_of(asked.path["stream"])
    head = await asked.service.log.head(stream)
    snapshot, cursor = Snapshot(), Cursor(head.cursor.epoch)
    for record in await asked.service.records(stream):
        apply(snapshot, record.event, record.at)
        cursor = Cursor(head.cursor.epoch, record.offset + 1)
    shown = {"id": stream, "cursor": str(cursor), "sealed": head.sealed, "turns": view(snapshot)}
    return answer(shown, headers={"penstock-stream": stream})


async def _list(asked: Asked) -> ASGIApp:
    check_query(asked.query, ("before", "limit"))
    log = asked.service.log
    assert isinstance(log, Lists), "every log the server opens can list"
    limit = number(asked.query, "limit", 1, _LARGEST_PAGE) or _PAGE
    page = await log.streams(before=asked.query.get("before"), limit=limit)
    more = page[-1].name if len(page) == limit else None
    return answer({"streams": [_listed(info) for info in page], "next": more})


def _listed(info: StreamInfo) -> dict[str, Any]:
    return {
        "id": info.name,
        "cursor": str(info.head.cursor),
        "sealed": info.head.sealed,
        "created_at": info.created_at,
        "updated_at": info.updated_at,
    }


async def _stop(asked: Asked) -> ASGIApp:
    stream = stream_of(asked.path["stream"])
    stopping = await asked.service.runs.stop(stream, asked.owner)
    return answer({"id": stream, "stopping": stopping}, headers={"penstock-stream": stream})


async def _review(asked: Asked) -> ASGIApp:
    stream = stream_of(asked.path["stream"])
    decision = read_decision(asked.body, asked.path["call_id"], asked.owner)
    await asked.service.runs.decide(stream, decision)
    decided = {"id": stream, "call_id": decision.call_id, "verdict": decision.verdict}
    return answer(decided, headers={"penstock-stream": stream})


async def _delete(asked: Asked) -> ASGIApp:
    await asked.service.runs.delete(stream_of(asked.path["stream"]))
    return Response(status_code=204)


_CURSOR: Final = "Where to go on: the id of the last frame received (also as Last-Event-ID)."
_READS: Final = {
    "cursor": _CURSOR,
    "dialect": "The dialect to read in; in one without ids, a cursor is the number of frames received.",
    "until": "'sealed' (the default): to the end of the stream; 'done': to the end of the next answer.",
}
_PAGES: Final = {"before": "The last stream of the page before.", "limit": "Streams to a page."}

FRONTS: Final = (
  Front(
    DIALECT,
    (
        Endpoint(
            "POST", "/v1/streams", "run:write", _start, "Begin a stream with an answer.",
            {"body": "Begin", "streams": True, "events": True, "status": 201},
        ),
        Endpoint(
            "GET", "/v1/streams", "run:read", _list, "List streams, the youngest first.", {"query": _PAGES}
        ),
        Endpoint("GET", "/v1/streams/{stream}", "run:read", _show, "Show a stream as it stands."),
        Endpoint(
            "DELETE", "/v1/streams/{stream}", "run:write", _delete, "Forget a stream.", {"status": 204}
        ),
        Endpoint(
            "GET", "/v1/streams/{stream}/events", "run:read", _events, "Follow a stream.",
            {"query": _READS, "only_stream": True, "events": True},
        ),
        Endpoint(
            "POST", "/v1/streams/{stream}/messages", "run:write", _proceed, "Continue a stream.",
            {"body": "Continue", "streams": True, "events": True, "status": 201},
        ),
        Endpoint("POST", "/v1/streams/{stream}/stop", "run:cancel", _stop, "End the answer under way."),
        Endpoint(
            "POST", "/v1/streams/{stream}/reviews/{call_id}", "run:review", _review,
            "Decide about a tool call.", {"body": "Decision"},
        ),
    ),
),)  # fmt: skip
