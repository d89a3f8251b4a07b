"""v2, spoken by PyPI ``opperai`` 1.x and npm 3.x: calls, stored functions, spans."""

from __future__ import annotations

from typing import Final, cast, get_args
from uuid import uuid4

from starlette.responses import Response
from starlette.types import ASGIApp

from ....agents import Sort
from ....dialects import Wire
from ....dialects.opper import (
    DIALECT,
    Call,
    patched,
    read_call,
    read_function,
    read_input,
    write_function,
    write_listed,
    write_revision,
)
from ....dialects.opper import (
    answer as answered,
)
from ....dialects.opper.span import write_span, write_trace
from ....errors import Unprocessable
from ....names import stream_of_uuid
from ...endpoint import Asked, Endpoint, Front, answer
from .calls import page, streamed, whole

__all__ = ["FRONT"]


# -- calls


def _wire(asked: Asked) -> Wire:
    return DIALECT.wire(strings=True) if asked.service.settings.opper_strings else DIALECT.wire()


async def _stream(asked: Asked) -> ASGIApp:
    return await streamed(asked, read_call(asked.body), _wire(asked))


async def _call(asked: Asked) -> ASGIApp:
    response, headers = await whole(asked, read_call(asked.body))
    return answer(answered(response), headers=headers)


async def _stored(asked: Asked) -> Call:
    """Return the call of a stored function."""
    revision = await asked.service.catalog.get(asked.path["function"], asked.path.get("revision", ""))
    return read_input(revision.agent, asked.body)


async def _stream_stored(asked: Asked) -> ASGIApp:
    return await streamed(asked, await _stored(asked), DIALECT.wire(narrow=True), stored=True)


async def _call_stored(asked: Asked) -> ASGIApp:
    response, headers = await whole(asked, await _stored(asked), stored=True)
    return answer(answered(response), headers=headers)


# -- functions


async def _create(asked: Asked) -> ASGIApp:
    return answer(write_function(await asked.service.catalog.create(read_function(asked.body))), 201)


async def _list(asked: Asked) -> ASGIApp:
    name, sort = asked.query.get("name", ""), _sort(asked.query.get("sort") or "name")
    found, total = await asked.service.catalog.list(name=name, sort=sort, **page(asked))
    return answer({"meta": {"total_count": total}, "data": [write_listed(each) for each in found]})


def _sort(text: str) -> Sort:
    for sort in get_args(Sort):
        if sort == text:
            return cast(Sort, sort)
    raise Unprocessable(f"'sort' must be one of {', '.join(get_args(Sort))}", field="sort")


async def _get(asked: Asked) -> ASGIApp:
    found = await asked.service.catalog.get(asked.path["function"], asked.path.get("revision", ""))
    return answer(write_function(found))


async def _get_by_name(asked: Asked) -> ASGIApp:
    return answer(write_function(await asked.service.catalog.by_name(asked.path["name"])))


async def _update(asked: Asked) -> ASGIApp:
    body = asked.body
    changed = await asked.service.catalog.update(asked.path["function"], lambda agent: patched(agent, body))
    return answer(write_function(changed))


async def _delete(asked: Asked) -> ASGIApp:
    await asked.service.catalog.delete(asked.path["function"])
    return Response(status_code=204)


async def _revisions(asked: Asked) -> ASGIApp:
    found, total = await asked.service.catalog.revisions(asked.path["function"], **page(asked))
    return answer({"meta": {"total_count": total}, "data": [write_revision(each) for each in found]})


# -- spans: each call is one, and a trace of its own


async def _span(asked: Asked) -> ASGIApp:
    stream = stream_of_uuid(asked.path["span"])
    return answer(write_span(await asked.service.latest(stream)))


async def _trace(asked: Asked) -> ASGIApp:
    stream = stream_of_uuid(asked.path["trace"])
    return answer(write_trace(await asked.service.latest(stream)))


async def _begin_span(asked: Asked) -> ASGIApp:
    """Callers may name spans of their own; nothing of theirs is kept."""
    span = str(uuid4())
    return answer(
        {"id": span, "trace_id": asked.body.get("trace_id") or span, "name": asked.body.get("name")}
    )


async def _change_span(asked: Asked) -> ASGIApp:
    return answer({"id": asked.path["span"], "name": asked.body.get("name") or ""})


async def _models(asked: Asked) -> ASGIApp:
    names = asked.service.models.names
    data = [{"id": name, "name": name, "hosting_provider": "penstock", "location": ""} for name in names]
    return answer({"meta": {"total_count": len(names)}, "data": data})


_BODY: Final = {"any_body": True}
_CALLS: Final = {**_BODY, "streams": True}
_PAGES: Final = {"query": {"offset": "How many to pass over.", "limit": "How many to list."}}

_ENDPOINTS: Final = (
    Endpoint("POST", "/call/stream", "run:write", _stream, "Call a function, streaming.", _CALLS),
    Endpoint("POST", "/call", "run:write", _call, "Call a function.", _BODY),
    Endpoint(
        "POST", "/functions/{function}/call/stream/{revision}", "run:write", _stream_stored,
        "Call a revision of a stored function, streaming.", {**_CALLS, "name": "stream_revision"},
    ),
    Endpoint(
        "POST", "/functions/{function}/call/stream", "run:write", _stream_stored,
        "Call a stored function, streaming.", _CALLS,
    ),
    Endpoint(
        "POST", "/functions/{function}/call/{revision}", "run:write", _call_stored,
        "Call a revision of a stored function.", {**_BODY, "name": "call_revision"},
    ),
    Endpoint(
        "POST", "/functions/{function}/call", "run:write", _call_stored, "Call a stored function.",
        _BODY,
    ),
    Endpoint("POST", "/functions", "run:write", _create, "Store one.", {**_BODY, "status": 201}),
    Endpoint("GET", "/functions", "run:read", _list, "List the stored functions.", _PAGES),
    Endpoint("GET", "/functions/by-name/{name:path}", "run:read", _get_by_name, "Show a function."),
    Endpoint(
        "GET", "/functions/{function}/revisions/{revision}", "run:read", _get,
        "Show a revision of a function.", {"name": "get_revision"},
    ),
    Endpoint("GET", "/functions/{function}/revisions", "run:read", _revisions, "List revisions.", _PAGES),
    Endpoint("GET", "/functions/{function}", "run:read", _get, "Show a function by its id."),
    Endpoint("PATCH", "/functions/{function}", "run:write", _update, "Store a new revision.", _BODY),
    Endpoint("DELETE", "/functions/{function}", "run:write", _delete, "Forget a function.", {"status": 204}),
    Endpoint("POST", "/spans", "run:write", _begin_span, "Name a span; only calls are kept.", _BODY),
    Endpoint("GET", "/spans/{span}", "run:read", _span, "Show the span that a call is."),
    Endpoint("PATCH", "/spans/{span}", "run:write", _change_span, "Accept what a span's caller says.", _BODY),
    Endpoint("GET", "/traces/{trace}", "run:read", _trace, "Show the trace that a call is."),
    Endpoint("GET", "/models", "run:read", _models, "List the models."),
)  # fmt: skip

FRONT: Final = Front(
    DIALECT,
    (
        *(endpoint._replace(path=f"/v2{endpoint.path}") for endpoint in _ENDPOINTS),
        *(
            endpoint._replace(describes={**endpoint.describes, "hidden": True})
            for endpoint in _ENDPOINTS
            if endpoint.handle is not _models  # at the root that is somebody else's
        ),
    ),
)
