"""
The built-in agent, and the toolbox that its tools come from.

It has one tool of each sort that there is: one that the server runs at once, one
that the server runs after a human has approved of it, and one that the caller
runs. None of them reaches anything outside; what they answer follows from the
call alone, so that the same call is answered the same way on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2s
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, ValidationError, convert

from ...agents import Agent
from ...requests import Candidate, Tool
from ..tools import Asking, ToolFault

__all__ = ["AGENT", "RUNNER", "DemoTools"]

RUNNER: Final = "demo"
"""What the tools of the agent call their toolbox."""


class _Roll(Struct):
    dice: Annotated[int, Meta(ge=1, le=10)] = 1
    sides: Annotated[int, Meta(ge=2, le=100)] = 6


class _Postcard(Struct):
    to: str
    text: str


def _object(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


AGENT: Final = Agent(
    "demo",
    description="Shows tools, approvals and functions of the caller's, without a key or a network.",
    instructions="Answer briefly. Use your tools when you are asked to, and say what they answered.",
    models=(Candidate("demo"),),
    tools=(
        Tool(
            "roll_dice",
            "Roll dice and add up what they show.",
            _object(
                ("dice",),
                dice={"type": "integer", "minimum": 1, "maximum": 10, "description": "How many."},
                sides={"type": "integer", "minimum": 2, "maximum": 100, "default": 6},
            ),
            runner=RUNNER,
            idempotent=True,
        ),
        Tool(
            "send_postcard",
            "Send a postcard. A demonstration: it only says what it would have sent.",
            _object(("to", "text"), to={"type": "string"}, text={"type": "string", "maxLength": 500}),
            runner=RUNNER,
            needs_review=True,
        ),
        Tool(
            "get_weather",
            "Tell the weather in a city. It is the caller who looks out of the window.",
            _object(("city",), city={"type": "string"}),
        ),
    ),
)
"""The agent of that name, where nobody has stored another."""


class DemoTools:
    """Runs the agent's tools. See :class:`penstock.engine.tools.Toolbox`."""

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        """Return an answer that is a function of the arguments and the call's digest. Raises: ToolFault."""
        act = _ACTS.get(tool.name)
        if act is None:
            raise ToolFault(f"the built-in agent has no tool {tool.name!r}")
        try:
            return act(arguments, asking.digest)
        except ValidationError as exc:
            raise ToolFault(f"the arguments do not fit: {exc}") from exc

    async def aclose(self) -> None: ...


def _roll(arguments: dict[str, Any], digest: str) -> dict[str, Any]:
    roll = convert(arguments, _Roll)
    luck = blake2s(f"{roll.dice} {roll.sides} {digest}".encode(), digest_size=2 * roll.dice).digest()
    shown = [int.from_bytes(luck[at : at + 2], "big") % roll.sides + 1 for at in range(0, 2 * roll.dice, 2)]
    return {"shown": shown, "total": sum(shown)}


def _send(arguments: dict[str, Any], digest: str) -> dict[str, Any]:
    card = convert(arguments, _Postcard)
    stamp = blake2s(f"{card.to}\n{card.text}\n{digest}".encode("utf-8", "replace"), digest_size=4).hexdigest()
    return {
        "sent": False,
        "note": f"This is a demo: a postcard to {card.to} would be on its way now.",
        "text": card.text,
        "stamp": stamp,
    }


_ACTS: Final[Mapping[str, Callable[[dict[str, Any], str], Any]]] = {
    "roll_dice": _roll,
    "send_postcard": _send,
}
"""By the name of the tool: what it answers to (arguments, digest)."""
