"""What the models of these tests say: a dozen pieces and a call."""

from __future__ import annotations

import socket
from typing import Final

from interop.modelrelay.saying import begun, ended, more, thought
from upstream import Script, Upstream, chunk, sse

__all__ = ["FIRST", "TOOL", "answer", "rounds"]

TOOL: Final = {"name": "roll_dice", "parameters": {"type": "object"}}

_PIECES: Final = ("Let ", "me ", "roll ", "them — ", "🌊 ", "high ", "or ", "low.")
FIRST: Final = (thought("Dice, "), thought("then."), *map(chunk, _PIECES))
_CALL: Final = (begun(0, "roll_dice"), more(0, '{"di'), more(0, 'ce":'), more(0, "2}"))
_SECOND: Final = (chunk("They "), chunk("show "), chunk("enough."))


def answer() -> Script:
    """Think, talk, and ask for a call, which the caller is to run."""
    return sse(*FIRST, *_CALL, *ended("tool_calls"))


def rounds(upstream: Upstream, model: str) -> Script:
    """The same, and talk again once the call was answered: what is said depends on what was asked."""

    def script(connection: socket.socket, attempt: int) -> None:
        asked = upstream.requests[model][attempt - 1].body["messages"]
        again = asked[-1]["role"] == "tool"
        (sse(*_SECOND, *ended("stop")) if again else answer())(connection, attempt)

    return script
