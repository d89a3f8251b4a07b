"""
What older SDKs call events, and which of them they do not know (section 7).

An event that its union does not have ends an SDK's stream; so an old one is told
in its own words, and the rest is left out. Which one it is, its user agent says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["GENERATIONS", "Renaming", "generation_of"]

Renaming = Mapping[str, tuple[str, Mapping[str, Any]] | None]
"""By the name of an event: its old one and the members that go with that; None if there is none."""

_TOOL: Final[Renaming] = {
    "tool_use_start": ("tool", {"input": "", "status": "running"}),
    "tool_use_parameter_delta": ("tool_parameter_delta", {}),
    "tool_use_parameter_streaming_complete": ("tool", {"status": "completed"}),
}

GENERATIONS: Final[dict[str, Renaming]] = {
    "": {},
    "tool": _TOOL,
    "early": {**_TOOL, "user_message_created": None, "tool_use_parameter_delta": None},
}
"""
The generations of this wire by name: the present one; the one whose tool calls are
``tool``; and those before it, which know nothing of what the user said.
"""

_AGENT: Final = re.compile(
    r"speakeasy-sdk/(python|typescript) (\d{1,9})\.(\d{1,9})\.(\d{1,9})\b.* mix-\1-sdk", re.ASCII
)
_SINCE: Final[dict[str, tuple[tuple[tuple[int, ...], str], ...]]] = {
    "python": (((0, 8, 0), ""), ((0, 7, 0), "tool")),
    "typescript": (((0, 10, 0), ""), ((0, 8, 7), "tool")),
}


def generation_of(user_agent: str) -> str:
    """Return the generation of the client that calls itself so; the present one if nobody knows it."""
    found = _AGENT.match(user_agent)
    if found is None:
        return ""
    version = tuple(map(int, found.groups()[1:]))
    return next((name for since, name in _SINCE[found[1]] if version >= since), "early")
