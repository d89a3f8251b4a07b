"""
What this wire calls things: tasks, runs, parts, times, ends of answers, token counts, calls.

Comments and docstrings name the sections of our contract for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from msgspec import UNSET, UnsetType

from ...calls import arguments_of
from ...errors import InvalidJson
from ...events import (
    DataPart,
    FilePart,
    FinishReason,
    Part,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    TextPart,
    ToolCallPart,
    Usage,
)
from ...names import stream_of, uuid_of
from ...snapshot import text_of
from ...wire.times import timestamp

__all__ = [
    "DONE", "FINISH", "WORKSPACE",
    "Failure",
    "failure", "finish_reason", "moment", "parsed_arguments", "part_name", "read_file", "read_usage",
    "run_of", "task_of", "write_part", "write_pending", "write_usage",
]  # fmt: skip

DONE: Final = b"[DONE]"
"""The data of the last frame of every answer (section 4)."""

# -- names

WORKSPACE: Final = "default"
"""Of workspaces and projects there is one; this wire wants them named."""


def task_of(response_id: str) -> str:
    """Return the task that a response belongs to: its stream, the same through all turns."""
    return stream_of(response_id)


def run_of(response_id: str) -> str:
    """Return the workflow run that a response is: a UUID, new in each turn."""
    return uuid_of(response_id)


_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._]")


def part_name(kind: str, response_id: str, part_id: str) -> str:
    """Return the ``partId`` of a part: ``<kind>_`` by convention, and no other part of the task has it."""
    return f"{kind}_{_safe(response_id)}-{_safe(part_id)}"


def _safe(name: str) -> str:
    return _UNSAFE.sub(lambda found: f"~{ord(found[0]):x}~", name)


def moment(at: float) -> str:
    """Return a time, seconds since 1970, as ISO 8601 in UTC, to the millisecond."""
    second, millis = divmod(round(at * 1_000_000) // 1000, 1000)
    return f"{_clock(second)}.{millis:03}Z"


@lru_cache(maxsize=256)
def _clock(second: int) -> str:
    """Return a time as far as to the second: many deltas share one."""
    return timestamp(second).partition(".")[0]


# -- how an answer ends (section 5)

FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "max_iterations": "max_iterations",
    "max_time": "length",
}
"""The words of the wire, to ours."""

_STATUSES: Final = {"max_time": 504, "timeout": 504, "interrupted": 503, "rate_limit_exceeded": 429}
"""Of failures that do not say theirs; any other is a 500."""


class Failure(NamedTuple):
    """Why there is no whole answer: the members of ``response.failed``."""

    error: str
    code: int
    """As HTTP has them, from 400 to 599."""


_CANCELLED: Final = Failure("the response was cancelled", 499)
"""This wire has no reason to finish for that. nginx's status: the client wanted no more."""


def failure(end: ResponseDone | ResponseFailed | None) -> Failure | None:
    """Return what was wrong with an answer that ended so; None if it went well, or has not ended."""
    match end:
        case ResponseFailed(code=code, message=message, extra=extra):
            status = None if extra is UNSET else extra.get("status")
            if not isinstance(status, int) or not 400 <= status <= 599:
                status = _STATUSES.get(code, 500)
            return Failure(message or code or "the response failed", status)
        case ResponseDone(finish_reason="cancelled"):
            return _CANCELLED
        case _:
            return None


def finish_reason(end: ResponseDone, pending: Iterable[Any]) -> str:
    """Return why an answer that was not cancelled ended; if calls are pending, the caller is to go on."""
    return "function_call" if pending else end.finish_reason


# -- token counts (section 5)


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return token counts; there are details of what was counted."""
    details = {
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        **{key: counts for key, counts in details.items() if any(counts.values())},
    }


def read_usage(raw: Mapping[str, Any] | None) -> Usage | UnsetType:
    """Return this wire's token counts as ours, the rest kept beside; UNSET if there are none."""
    if not raw:
        return UNSET
    inputs = raw.get("prompt_tokens_details") or {}
    outputs = raw.get("completion_tokens_details") or {}
    return Usage(
        _count(raw, "prompt_tokens"),
        _count(inputs, "cached_tokens"),
        _count(raw, "completion_tokens"),
        _count(outputs, "reasoning_tokens"),
        extra=dict(raw),
    )


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return int(value) if isinstance(value, int | float) else 0


# -- parts and calls (section 5)


def write_part(part: Part) -> dict[str, Any] | None:
    """
    Return a part of the content as the wire has it; None for what is not of the content.

    Data is an object here. What is not one, and what never became a value, is text.
    """
    match part:
        case DataPart(value=dict() as value):
            return {"kind": "data", "data": value}
        case TextPart() | RefusalPart() | DataPart():
            return {"kind": "text", "text": text_of(part)}
        case FilePart():
            return {"kind": "file", "file": _write_file(part)}
        case _:
            return None


def _write_file(part: FilePart) -> dict[str, str]:
    place = {"bytes": part.data} if part.data else {"uri": part.url or part.file_id}
    described = {"mimeType": part.mime, "name": part.name}
    return {**place, **{key: said for key, said in described.items() if said}}


def read_file(file: Mapping[str, Any]) -> FilePart:
    """Return the file in a ``file`` part; members that are missing, or no strings, are empty."""

    def text(key: str) -> str:
        value = file.get(key)
        return value if isinstance(value, str) else ""

    return FilePart(text("mimeType"), text("uri"), text("bytes"), name=text("name"))


def parsed_arguments(part: ToolCallPart) -> dict[str, Any]:
    """Return the arguments of a call; none if the model said no object."""
    try:
        return arguments_of(part)
    except InvalidJson:
        return {}


def write_pending(part: ToolCallPart) -> dict[str, Any]:
    """Return a call that the caller is to run; its arguments are text here, and always JSON."""
    arguments = part.arguments if part.arguments.strip() else "{}"
    return {"id": part.call_id, "type": "function", "function": {"name": part.tool, "arguments": arguments}}
