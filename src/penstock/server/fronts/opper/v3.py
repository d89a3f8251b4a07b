"""v3, spoken by PyPI ``opperai`` 2.x: functions by name."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from starlette.responses import Response
from starlette.types import ASGIApp

from ....dialects.opper import V3, Call, answer_v3, read_call_v3, write_details_v3, write_listed_v3
from ...endpoint import Asked, Endpoint, Front, answer
from .calls import streamed, whole

__all__ = ["FRONT"]


def _read(asked: Asked) -> Call:
    return read_call_v3(asked.body, asked.path.get("name", ""))


async def _stream(asked: Asked) -> ASGIApp:
    return await streamed(asked, _read(asked), V3.wire())


async def _call(asked: Asked) -> ASGIApp:
    response, headers = await whole(asked, _read(asked))
    return answer(answer_v3(response), headers=headers)


async def _list(asked: Asked) -> ASGIApp:
    found, _ = await asked.service.catalog.list(limit=_ALL)
    return answer({"functions": [write_listed_v3(each) for each in found]})


async def _get(asked: Asked) -> ASGIApp:
    return answer(write_details_v3(await asked.service.catalog.by_name(asked.path["name"])))


async def _delete(asked: Asked) -> ASGIApp:
    catalog = asked.service.catalog
    await catalog.delete((await catalog.by_name(asked.path["name"])).id)
    return Response(status_code=204)


async def _begin_span(asked: Asked) -> ASGIApp:
    """Callers may name spans of their own; nothing of theirs is kept."""
    span = str(uuid4())
    named = {"id": span, "trace_id": asked.body.get("trace_id") or span, "name": asked.body.get("name")}
    return answer({"data": named})


async def _change_span(asked: Asked) -> ASGIApp:
    return Response(status_code=204)


async def _models(asked: Asked) -> ASGIApp:
    return answer({"models": [{"id": name, "name": name} for name in asked.service.models.names]})


_ALL: Final = 1_000_000
"""Functions listed at once: these clients have no word for a page."""
_CALLS: Final = {"any_body": True, "streams": True}
FRONT: Final = Front(
    V3,
    (
        Endpoint(
            "POST", "/v3/functions/{name:path}/stream", "run:write", _stream, "Call a function, streaming.",
            {**_CALLS, "name": "stream_named"},
        ),
        Endpoint(
            "POST", "/v3/functions/{name:path}/call", "run:write", _call, "Call a function.",
            {"any_body": True, "name": "call_named"},
        ),
        Endpoint(
            "POST", "/v3/call/stream", "run:write", _stream, "Call a function by its name, streaming.",
            _CALLS,
        ),
        Endpoint(
            "POST", "/v3/call", "run:write", _call, "Call the function named in the body.", {"any_body": True}
        ),
        Endpoint("GET", "/v3/functions", "run:read", _list, "List the functions."),
        Endpoint("GET", "/v3/functions/{name:path}", "run:read", _get, "Show a function."),
        Endpoint(
            "DELETE", "/v3/functions/{name:path}", "run:write", _delete, "Forget a function.", {"status": 204}
        ),
        Endpoint(
            "POST", "/v3/spans", "run:write", _begin_span, "Name a span; only calls are kept.",
            {"any_body": True},
        ),
        Endpoint(
            "PATCH", "/v3/spans/{span}", "run:write", _change_span, "Accept what is said of a span.",
            {"any_body": True, "status": 204},
        ),
        Endpoint("GET", "/v3/models", "run:read", _models, "List the models."),
    ),
)  # fmt: skip
