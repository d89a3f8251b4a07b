"""v1, spoken by npm ``opperai`` 2.x: one path for calls, with and without a stream."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from starlette.types import ASGIApp

from ....dialects.opper import V1, answer_v1, read_call_v1
from ...endpoint import Asked, Endpoint, Front, answer
from .calls import streamed, whole

__all__ = ["FRONT"]


async def _call(asked: Asked) -> ASGIApp:
    call = read_call_v1(asked.body)
    if call.stream:
        return await streamed(asked, call, V1.wire())
    response, headers = await whole(asked, call)
    return answer(answer_v1(response), headers=headers)


async def _begin_span(asked: Asked) -> ASGIApp:
    return answer({"uuid": str(uuid4())})


async def _end_span(asked: Asked) -> ASGIApp:
    return answer({"uuid": asked.path["span"]})


FRONT: Final = Front(
    V1,
    (
        Endpoint(
            "POST", "/v1/call", "run:write", _call, "Call a function.", {"any_body": True, "streams": True}
        ),
        Endpoint("POST", "/v1/spans", "run:write", _begin_span, "Name a span; only calls are kept."),
        Endpoint(
            "PUT", "/v1/spans/{span}", "run:write", _end_span, "Accept what a span's caller says of it."
        ),
    ),
)
