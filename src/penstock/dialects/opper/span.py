"""
Spans and traces of v2, far enough that agent libraries find what a call has used (section 3 of the contract).

Each call is a span, and a trace of its own; both go by the same UUID.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from ...snapshot import Response
from ...wire.times import timestamp
from .answer import span_of

__all__ = ["write_span", "write_trace"]


def write_span(response: Response) -> dict[str, Any]:
    """Return the span that ``response`` is."""
    span = span_of(response.response_id)
    return {
        "id": span,
        "trace_id": span,
        "name": response.agent or "call",
        "type": "call",
        "parent_id": None,
        "start_time": timestamp(response.at),
        "end_time": timestamp(response.ended_at) if response.ended_at else None,
    }


def write_trace(response: Response) -> dict[str, Any]:
    """Return the trace that ``response`` is: one span, with its tokens in ``data``."""
    span = write_span(response)
    return {
        "id": span["id"],
        "name": span["name"],
        "status": response.status,
        "start_time": span["start_time"],
        "end_time": span["end_time"],
        "duration_ms": round((response.ended_at - response.at) * 1000) if response.ended_at else None,
        "total_tokens": _tokens(response).get("total_tokens"),
        "spans": [{**span, "data": {"model": response.model, **_tokens(response)}}],
    }


def _tokens(response: Response) -> dict[str, int]:
    usage = response.usage
    if usage is UNSET:
        return {}
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
