"""What models say that is more than text: tool calls, reasoning, reasons to end."""

from __future__ import annotations

import json
from typing import Any, Final

from upstream import DONE, chunk

__all__ = ["CALLS", "PARALLEL", "begun", "ended", "more", "spoken", "thought"]


def begun(index: int, name: str, arguments: str = "") -> bytes:
    """Return the chunk with which a call begins."""
    call = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return spoken(tool_calls=[{"index": index, **call}])


def more(index: int, arguments: str) -> bytes:
    """Return a chunk with more of a call's arguments."""
    return spoken(tool_calls=[{"index": index, "function": {"arguments": arguments}}])


def thought(text: str) -> bytes:
    """Return a chunk of reasoning."""
    return spoken(reasoning_content=text)


def ended(reason: str) -> tuple[bytes, bytes]:
    """Return the end of an answer."""
    return chunk(finish=reason), DONE


def spoken(**delta: Any) -> bytes:
    """Return a chunk with this delta."""
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: %b\n\n" % json.dumps({**body, "choices": [choice]}).encode()


PARALLEL: Final = (
    begun(0, "tide"),
    begun(1, "weather"),
    more(0, '{"port":'),
    more(1, '{"city": "Ly'),
    more(0, ' "Brest"}'),
    more(1, 'on 🌊"}'),
    *ended("tool_calls"),
)
"""Two calls at once, whose arguments come by turns."""

CALLS: Final[list[dict[str, Any]]] = [
    {"id": "call_tide", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Brest"}'}},
    {
        "id": "call_weather",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Lyon 🌊"}'},
    },
]
"""What they are in the end."""
