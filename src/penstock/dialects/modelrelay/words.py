"""
What this wire calls things: ends of answers, errors, token counts, tool calls.

Comments name the sections of our contract for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType

from ...events import FinishReason, ResponseFailed, ToolCallPart, Usage

__all__ = ["FINISH", "STOP", "code_of", "failure", "read_usage", "retried", "write_call", "write_usage"]

# -- how an answer ends (section 5.1)

STOP: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "cancelled": "incomplete",
    "max_iterations": "incomplete",
}

FINISH: Final[dict[str, FinishReason]] = {
    **dict.fromkeys(("completed", "stop", "stop_sequence", "end_turn", "unknown"), "stop"),
    **dict.fromkeys(("max_tokens", "max_len", "length", "max_context", "time_limit"), "length"),
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "incomplete": "cancelled",
}
"""The words that SDKs know, to ours; what else a server says is the end of an answer like any other."""

# -- errors (section 7)

_CODES: Final = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    402: "PAYMENT_REQUIRED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMIT",
    502: "PROVIDER_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "PROVIDER_ERROR",
}
"""The SDKs' predicates look at the code alone."""

_STATUSES: Final = {
    "draining": 503,
    "internal": 500,
    "interrupted": 503,
    "log_unavailable": 503,
    "max_time": 504,
    "overloaded": 503,
    "rate_limit_exceeded": 429,
    "timeout": 504,
}
"""Of failures that do not say theirs; any other is the upstream's."""

_UNFIT: Final = ("invalid_json", "output_invalid")


def code_of(status: int) -> str:
    """Return the word for errors of an HTTP status."""
    return _CODES.get(status) or ("INVALID_INPUT" if status < 500 else "INTERNAL_ERROR")


def retried(status: int) -> bool:
    """Whether the SDKs ask again after an error of this status (section 6.2)."""
    return status in (408, 429) or status >= 500


def failure(event: ResponseFailed) -> dict[str, Any]:
    """Return a failure as the members of an ``error`` record; our own code is its ``detail``."""
    extra = {} if event.extra is UNSET else event.extra
    status = extra.get("status")
    if not isinstance(status, int) or not 400 <= status < 600:  # Go takes a status of 0 for no error
        status = _STATUSES.get(event.code, 502)
    return {
        "code": "INVALID_OUTPUT" if event.code in _UNFIT else code_of(status),
        "message": event.message or event.code or "the answer failed",
        "status": status,
        **({"detail": event.code} if event.code else {}),
    }


# -- token counts (section 5.1)

_BASIS: Final = {"provider": "exact", "estimated": "estimated_categories"}


def write_usage(usage: Usage | UnsetType) -> dict[str, Any]:
    """Return token counts; SDKs fail without them, so that unknown ones are zeros that say so."""
    known = Usage() if usage is UNSET else usage
    return {
        "input_tokens": known.input_tokens,
        "output_tokens": known.output_tokens,
        "total_tokens": known.input_tokens + known.output_tokens,
        "reasoning_tokens": known.reasoning_tokens,
        "cached_tokens": known.cached_input_tokens,
        "observation_basis": "unavailable" if usage is UNSET else _BASIS[usage.source],
    }


def read_usage(raw: Mapping[str, Any] | None) -> Usage | UnsetType:
    """Return this wire's token counts as ours, the rest kept beside; UNSET if nobody counted."""
    if not raw or raw.get("observation_basis") == "unavailable":
        return UNSET

    def count(name: str) -> int:
        value = raw.get(name)
        return int(value) if isinstance(value, int | float) else 0

    return Usage(
        count("input_tokens"),
        count("cached_tokens") or count("cache_read_input_tokens"),
        count("output_tokens"),
        count("reasoning_tokens"),
        "provider" if raw.get("observation_basis") in (None, "exact") else "estimated",
        dict(raw),
    )


# -- tool calls


def write_call(call: ToolCallPart) -> dict[str, Any]:
    """Return a finished call, its arguments always JSON; Rust fails at most other types than ``function``."""
    arguments = call.arguments if call.arguments.strip() else "{}"
    function = {"name": call.tool, "arguments": arguments}
    return {"id": call.call_id, "type": "function", "function": function}
