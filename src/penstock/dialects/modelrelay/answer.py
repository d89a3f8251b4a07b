"""
Whole answers, errors and lists: the bodies that are no streams (sections 7 and 8 of the contract).

Absent members are left out, never null: Rust fails at a null where it expects none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET

from ...errors import PenstockError
from ...events import DataPart, Part, ResponseDone, SourcePart, ToolCallPart
from ...snapshot import Response, text_of
from ...wire import jsontext
from .encode import PROVIDER
from .turn import CONTENT
from .words import STOP, code_of, write_call, write_usage

__all__ = [
    "answer",
    "batch",
    "error",
    "message",
    "said",
    "write_failure",
    "write_model",
    "write_result",
]


def answer(response: Response, provider: str = PROVIDER) -> dict[str, Any]:
    """Return a finished response as the document of ``POST /responses`` without streaming."""
    parts = response.content()
    end = response.end if isinstance(response.end, ResponseDone) else ResponseDone("stop")
    sources = [{"url": part.url, "title": part.title} for part in parts if isinstance(part, SourcePart)]
    return {
        "id": response.response_id,
        "model": response.model,
        "provider": provider,
        "stop_reason": STOP[end.finish_reason],
        "output": [message(parts)],
        "usage": write_usage(end.usage),
        **({"citations": sources} if sources else {}),
    }


def message(parts: Sequence[Part]) -> dict[str, Any]:
    """
    Return the answer that ``parts`` are as an output item.

    Its calls come under two names: the TypeScript SDK reads one, all others the other.
    """
    calls = [write_call(part) for part in parts if isinstance(part, ToolCallPart)]
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": said(parts)}],
        **({"tool_calls": calls, "toolCalls": calls} if calls else {}),
    }


def said(parts: Iterable[Part]) -> str:
    """Return the text of an answer. Beside data there is none: readers parse it as JSON."""
    content = [part for part in parts if isinstance(part, CONTENT)]
    data = [part for part in content if isinstance(part, DataPart) and part.value is not UNSET]
    return text_of(data[0]) if data else "".join(map(text_of, content))


# -- batches


def write_result(name: str, response: Response, provider: str = PROVIDER) -> dict[str, Any]:
    """Return the answer to the request called ``name`` as an item of a batch."""
    return {"id": name, "status": "success", "response": answer(response, provider)}


def write_failure(name: str, exc: PenstockError) -> dict[str, Any]:
    """Return the failure of the request called ``name`` as an item of a batch."""
    described = {"status": exc.status, "message": exc.message, "code": code_of(exc.status)}
    return {"id": name, "status": "error", "error": {**described, "detail": exc.code}}


def batch(name: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the body of ``POST /responses/batch``; ``results`` has one item for each request."""
    used = [item["response"]["usage"] for item in results if item["status"] == "success"]
    usage = {
        "total_input_tokens": sum(each["input_tokens"] for each in used),
        "total_output_tokens": sum(each["output_tokens"] for each in used),
        "total_requests": len(results),
        "successful_requests": len(used),
        "failed_requests": len(results) - len(used),
    }
    return {"id": name, "results": list(results), "usage": usage}


# -- models


def write_model(
    name: str, provider: str = PROVIDER, *, context_window: int = 128_000, max_output_tokens: int = 16_384
) -> dict[str, Any]:
    """
    Return an item of ``GET /models``.

    No member may be missing, and SDKs that shorten conversations refuse a window
    of 0: the defaults are what most models have at least.
    """
    return {
        "model_id": name,
        "provider": provider,
        "display_name": name,
        "description": "",
        "capabilities": ["text_generation", "tools"],
        "context_window": context_window,
        "max_output_tokens": max_output_tokens,
        "training_cutoff": "",
        "deprecated": False,
        "deprecation_message": "",
        "input_cost_per_million_cents": 0,
        "output_cost_per_million_cents": 0,
    }


# -- errors


def error(exc: PenstockError) -> bytes:
    """Return the body of an error, flat, as Go needs it, which reads the request's id nowhere else."""
    code = code_of(exc.status)
    fields = [{"field": exc.field, "message": exc.message}] if exc.field else []
    body = {
        "error": code,
        "code": code,
        "message": exc.message,
        **({"request_id": exc.request_id} if exc.request_id else {}),
        **({"fields": fields} if fields else {}),
    }
    return jsontext.encode(body)
