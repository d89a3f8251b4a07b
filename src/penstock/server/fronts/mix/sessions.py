"""Sessions: made, shown, listed, changed and forgotten."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from starlette.responses import Response
from starlette.types import ASGIApp

from ....dialects.mix import (
    Tally,
    exported,
    kept_turns,
    read_callbacks,
    read_rewind,
    read_session,
    session,
    tally,
)
from ....engine.folds import Folds
from ....errors import StreamNotFound
from ...endpoint import Asked, Endpoint, answer
from ...service import Service
from ...shelf import Shelf, Thing

__all__ = ["ENDPOINTS", "SHELF", "find"]

SHELF: Final = Shelf("mix.session", id_of=str, stream_of=str)

_TALLIES: Final[WeakKeyDictionary[Service, Folds[Tally]]] = WeakKeyDictionary()


async def find(asked: Asked) -> Thing:
    """Return the caller's session that the path names. Raises: StreamNotFound."""
    return await SHELF.find(asked, asked.path["session"])


async def _create(asked: Asked) -> ASGIApp:
    facts = read_session(asked.body)
    thing = await SHELF.put(asked, facts, key=asked.headers.get("idempotency-key", ""))
    return answer(await _written(asked, thing), 201)


async def _list(asked: Asked) -> ASGIApp:
    found = []
    for thing in await SHELF.list(asked):
        if thing.facts["sessionType"] == "main" or asked.query.get("includeSubagents") == "true":
            try:
                found.append(await _written(asked, thing))
            except StreamNotFound:
                continue  # forgotten by age, or by another front
    return answer(found)


async def _show(asked: Asked) -> ASGIApp:
    return answer(await _written(asked, await find(asked)))


async def _delete(asked: Asked) -> ASGIApp:
    await SHELF.take(asked, await find(asked))
    return Response(status_code=204)


async def _callbacks(asked: Asked) -> ASGIApp:
    callbacks = read_callbacks(asked.body)
    thing = await find(asked)
    return answer(await _written(asked, await SHELF.change(asked, thing, {"callbacks": callbacks})))


async def _rewind(asked: Asked) -> ASGIApp:
    message_id = read_rewind(asked.body)
    thing = await find(asked)
    await asked.service.runs.rewind(thing.stream, lambda snapshot: kept_turns(snapshot, message_id))
    return answer(await _written(asked, thing))


async def _export(asked: Asked) -> ASGIApp:
    thing = await find(asked)
    return answer(exported(thing.id, thing.facts, await asked.service.records(thing.stream)))


async def _written(asked: Asked, thing: Thing) -> dict[str, Any]:
    service = asked.service
    if service not in _TALLIES:
        _TALLIES[service] = Folds(service.log, tally)
    return session(thing.id, thing.facts, await _TALLIES[service].of(thing.stream))


_BODY: Final = {"any_body": True}
_LISTS: Final = {"query": {"includeSubagents": "true: with those that are not a user's own."}}

ENDPOINTS: Final = (
    Endpoint(
        "POST", "/api/sessions", "run:write", _create, "Begin a session.", {"any_body": True, "status": 201}
    ),
    Endpoint("GET", "/api/sessions", "run:read", _list, "List sessions, the youngest first.", _LISTS),
    Endpoint("GET", "/api/sessions/{session}", "run:read", _show, "Show a session."),
    Endpoint(
        "DELETE", "/api/sessions/{session}", "run:write", _delete, "Forget a session.", {"status": 204}
    ),
    Endpoint(
        "PATCH", "/api/sessions/{session}/callbacks", "run:write", _callbacks, "Change its callbacks.", _BODY
    ),
    Endpoint(
        "POST", "/api/sessions/{session}/rewind", "run:write", _rewind, "Forget what was said last.", _BODY
    ),
    Endpoint("GET", "/api/sessions/{session}/export", "run:read", _export, "Return a session whole."),
)  # fmt: skip
