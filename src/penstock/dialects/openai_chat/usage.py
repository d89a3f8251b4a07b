"""Token counts as this wire has them, and as we do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from ...events import Usage

__all__ = ["read_usage", "write_usage"]


def read_usage(raw: Mapping[str, Any] | None) -> Usage | UnsetType:
    """
    Return the usage object of this wire as ours, its own members kept beside.

    xAI counts reasoning outside ``completion_tokens``: its total gives it away.
    """
    if not raw:
        return UNSET
    inputs, outputs = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    input_details, output_details = _details(raw, "prompt"), _details(raw, "completion")
    reasoning = _count(output_details, "reasoning_tokens") or _count(raw, "reasoning_tokens")
    if reasoning and _count(raw, "total_tokens") == inputs + outputs + reasoning:
        outputs += reasoning
    cached = (
        _count(input_details, "cached_tokens")
        or _count(raw, "cached_tokens")
        or _count(raw, "prompt_cache_hit_tokens")
    )
    return Usage(inputs, cached, outputs, reasoning, extra=dict(raw))


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return our counts as this wire's usage object."""
    kept = {} if usage.extra is UNSET else usage.extra
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            **_details(kept, "prompt"),
            "cached_tokens": usage.cached_input_tokens,
        },
        "completion_tokens_details": {
            **_details(kept, "completion"),
            "reasoning_tokens": usage.reasoning_tokens,
        },
    }
    return {**kept, **counts}


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _details(counts: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    details = counts.get(f"{kind}_tokens_details")
    return details if isinstance(details, dict) else {}
