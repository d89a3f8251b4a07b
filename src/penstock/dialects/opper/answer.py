"""
Whole answers and errors: the bodies of calls without streaming, a set for each generation.

Sections 3 to 6 of the contract say their shapes, and which members may be null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET

from ...errors import PenstockError
from ...events import ATTEMPT_FAILED, Part, ResponseDone, ToolCallPart, Usage
from ...names import stream_of, uuid_of
from ...snapshot import Response, text_of
from ...wire import jsontext
from .content import KINDS, payload, said

__all__ = [
    "answer",
    "answer_v1",
    "answer_v3",
    "complete",
    "error",
    "error_v1",
    "error_v3",
    "span_of",
    "usage_v3",
]


def span_of(response_id: str) -> str:
    """Return the span that a response is: the UUID of its stream."""
    return uuid_of(stream_of(response_id))


def answer(response: Response) -> dict[str, Any]:
    """Return a finished response as the body of ``POST /v2/call`` and of the calls by id."""
    parts = response.content()
    value = payload(parts)
    spoken = said(parts)
    return {
        "span_id": span_of(response.response_id),
        "message": spoken if spoken or value is UNSET else None,
        "json_payload": None if value is UNSET else value,
        "cached": False,  # never null: the calls by id forbid it
        "usage": None if response.usage is UNSET else _usage(response.usage),
    }


def answer_v1(response: Response) -> dict[str, Any]:
    """Return a finished response as the body of ``POST /v1/call``: its message is what a stream would say."""
    parts = response.content()
    value = payload(parts)
    return {
        "span_id": span_of(response.response_id),
        "message": "".join(text_of(part) for part in parts if isinstance(part, KINDS)),
        **({} if value is UNSET else {"json_payload": value}),
        "cached": False,
    }


def answer_v3(response: Response) -> dict[str, Any]:
    """Return a finished response as the body of ``POST /v3/functions/{name}/call``."""
    end = response.end if isinstance(response.end, ResponseDone) else ResponseDone("stop")
    failed = sum(custom.name == ATTEMPT_FAILED for custom in response.customs)
    return complete(response, response.content(), end, response.ended_at - response.at, 1 + failed)


def complete(
    began: Any, parts: Sequence[Part], end: ResponseDone, seconds: float, calls: int
) -> dict[str, Any]:
    """
    Return the value and the ``meta`` of an answer that took ``calls`` of models, as v3 has them.

    ``began`` tells the answer's ``response_id``, ``agent`` and ``model``.
    """
    value = payload(parts)
    tool_calls = [_call(part) for part in parts if isinstance(part, ToolCallPart)]
    optional = {
        "usage": UNSET if end.usage is UNSET else usage_v3(end.usage),
        "models_used": [began.model] if began.model else UNSET,
        "tool_calls": tool_calls or UNSET,
    }
    meta = {
        "function_name": began.agent,
        "script_cached": False,
        "execution_ms": round(seconds * 1000),
        "llm_calls": calls,
        "tts_calls": 0,
        "image_gen_calls": 0,
        "trace_uuid": span_of(began.response_id),
        "finish_reason": end.finish_reason,
        **{key: each for key, each in optional.items() if each is not UNSET},
    }
    return {"data": said(parts) if value is UNSET else value, "meta": meta}


def usage_v3(usage: Usage) -> dict[str, int]:
    """Return token counts as ``done`` and ``meta`` of v3 have them."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cache_read_tokens": usage.cached_input_tokens,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _call(part: ToolCallPart) -> dict[str, Any]:
    return {"id": part.call_id, "name": part.tool, "arguments": part.arguments}


# -- errors

_TYPES: Final = {
    400: "BadRequestError",
    401: "UnauthorizedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "RequestValidationError",
}
"""What the SDKs call these; any other status has the code of the error for its type."""


def error(exc: PenstockError) -> bytes:
    """Return the body of an error in v2. ``detail`` is always there, or the Python SDK cannot read it."""
    return jsontext.encode(_error(exc))


def error_v1(exc: PenstockError) -> bytes:
    """Return the body of an error in v1."""
    return jsontext.encode({"errors": [_error(exc)]})


def error_v3(exc: PenstockError) -> bytes:
    """Return the body of an error in v3."""
    details = {} if exc.field is None else {"details": {"field": exc.field}}
    return jsontext.encode({"error": {"code": exc.code, "message": exc.message, **details}})


def _error(exc: PenstockError) -> dict[str, Any]:
    detail = {"code": exc.code, **({} if exc.field is None else {"field": exc.field})}
    return {"type": _TYPES.get(exc.status, exc.code), "message": exc.message, "detail": detail}
