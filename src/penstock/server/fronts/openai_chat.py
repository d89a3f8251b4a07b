"""
What the OpenAI SDKs expect: ``/v1/chat/completions`` and ``/v1/models``.

Streaming is asked for in the body; Accept says nothing here (contract
openai-chat, section 1). A failure before the first word is an HTTP error, so
that the SDKs raise and retry as they do.

Ours, and invisible to the SDKs: an ``Idempotency-Key`` makes a repeated request
the same answer, from its beginning, or after as many chunks as
``Last-Event-ID`` says.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp

from ...dialects.openai_chat import DIALECT, completion, read_request
from ...errors import RequestError
from ..endpoint import Asked, Endpoint, Front, answer

__all__ = ["FRONTS"]


async def _complete(asked: Asked) -> ASGIApp:
    stream, options = asked.body.get("stream") or False, asked.body.get("stream_options") or {}
    if not isinstance(stream, bool):
        raise RequestError("'stream' must be a boolean", field="stream")
    if not isinstance(options, dict):
        raise RequestError("'stream_options' must be an object", field="stream_options")
    service = asked.service
    started = await service.start(
        read_request(asked.body), asked.data, asked.headers.get("idempotency-key", ""), asked.owner
    )
    if not stream:
        response = await service.whole(started)
        return answer(completion(response), headers={"penstock-stream": started.stream})
    wire = DIALECT.wire(include_usage=bool(options.get("include_usage")))
    await service.first_word(started)
    cursor = await service.cursor(started.stream, wire, asked.headers, "")
    return await service.stream(started.stream, wire, cursor, until_terminal=True)


async def _list_models(asked: Asked) -> ASGIApp:
    return answer({"object": "list", "data": [_model(name) for name in asked.service.models.names]})


async def _get_model(asked: Asked) -> ASGIApp:
    name, _ = asked.service.models.resolve(asked.path["model"])
    return answer(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock"}


FRONTS: Final = (
    Front(
        DIALECT,
        (
            Endpoint(
                "POST",
                "/v1/chat/completions",
                "run:write",
                _complete,
                "Answer a conversation.",
                {"any_body": True, "streams": True},
            ),
            Endpoint("GET", "/v1/models", "run:read", _list_models, "List the models."),
            Endpoint("GET", "/v1/models/{model:path}", "run:read", _get_model, "Describe one model."),
        ),
    ),
)
