"""
The calls of an answer's tools as they stand, and what a human approves of one.

A *call* is a part: the model said it. What became of it -- a review, a start, a
result -- is in the tool events of the same answer. :func:`calls` puts the two
together; :func:`digest` is what binds a decision to one call of one answer with
exactly these arguments.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Struct, json

from .errors import InvalidJson
from .events import ReviewDone, ReviewRequested, ToolCallPart, ToolDone, ToolFailed, ToolStarted
from .snapshot import Response
from .wire import jsontext

__all__ = ["Call", "arguments_of", "calls", "digest"]


class Call(Struct):
    """One call of a tool, and what became of it."""

    part: ToolCallPart
    round: int = 0
    """The round of the answer, from 0, in which the model asked for it."""
    review: ReviewRequested | None = None
    decision: ReviewDone | None = None
    started: ToolStarted | None = None
    end: ToolDone | ToolFailed | None = None

    @property
    def call_id(self) -> str:
        return self.part.call_id

    @property
    def waits(self) -> bool:
        """Whether a human is still to decide about it."""
        return self.review is not None and self.decision is None


def calls(response: Response) -> dict[str, Call]:
    """Return the calls of ``response`` that the model has said whole, by id, in their order."""
    found: dict[str, Call] = {}
    for n, growing in enumerate(response.parts.values()):
        if isinstance(growing.start, ToolCallPart) and growing.done and growing.choice == 0:
            asked = sum(n >= end for end in response.rounds)
            found[growing.start.call_id] = Call(growing.start, asked)
    for event in response.tools:
        match event:
            case ReviewRequested(call_id=key) if key in found:
                found[key].review = event
            case ReviewDone(call_id=key) if key in found:
                found[key].decision = event
            case ToolStarted(call_id=key) if key in found:
                found[key].started = event
            case ToolDone(call_id=key) | ToolFailed(call_id=key) if key in found:
                found[key].end = event
    return found


def arguments_of(part: ToolCallPart) -> dict[str, Any]:
    """
    Return the arguments of a call; none are an empty object.

    Raises:
        InvalidJson: what the model said is not a JSON object.
    """
    try:
        value = jsontext.scrub(jsontext.decode(part.arguments or "{}"))
    except (ValueError, RecursionError) as exc:
        raise InvalidJson(f"the arguments are not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidJson("the arguments are not a JSON object")
    return value


def digest(stream: str, response_id: str, call_id: str, tool: str, arguments: Any) -> str:
    """
    Return what names this call of this tool with these arguments, and no other: a SHA-256 in hexadecimal.

    The answer is part of it because some models name their calls anew in each.
    The order of members in ``arguments`` makes no difference.
    """
    bound = [stream, response_id, call_id, tool, arguments]
    return hashlib.sha256(json.encode(bound, order="sorted")).hexdigest()
