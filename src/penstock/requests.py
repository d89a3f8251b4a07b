"""
What a caller asks for, whichever dialect it was asked in.

Dialects read their own request bodies into these and write them out again, so
that any front can start a run on any upstream. What has no name here travels
in ``extra``, untouched.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType, to_builtins

from .events import Extra, MessageAdded

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_CHOICES",
    "Candidate",
    "Decide",
    "ReviewPolicy",
    "Scope",
    "Start",
    "Stop",
    "Tool",
    "ToolChoice",
    "served",
    "settings",
]


MAX_CHOICES: Final = 128
"""The most answers side by side; OpenAI's limit too."""

MAX_ATTEMPTS: Final = 100
"""The most answers asked for one after the other, until one fits its schema."""

Scope = Literal["run:write", "run:read", "run:cancel", "run:review", "admin"]
"""What an API key may do; ``admin`` may everything."""

ReviewPolicy = Literal["none", "respect_tool", "all"]
"""Which of the server's tools ask a human before they run: none, those that need it, all."""


class Tool(Struct, frozen=True, omit_defaults=True):
    """A function the model may ask for. ``parameters`` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | UnsetType = UNSET
    strict: bool | UnsetType = UNSET
    extra: Extra = UNSET
    runner: str = ""
    """Who runs it: the toolbox of that name, on the server; empty: the caller."""
    setup: dict[str, Any] = {}
    """What the runner must know to run it."""
    needs_review: bool = False
    """Whether a human is to be asked before it runs."""
    idempotent: bool = False
    """Whether to run it twice does no more than to run it once."""
    max_time: float | UnsetType = UNSET
    """A shorter limit than the server's own, in seconds."""


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """Whether the model may, must or must not call a tool; ``tool`` names the one it must."""

    mode: Literal["auto", "none", "required", "tool"] = "auto"
    tool: str = ""


class Candidate(Struct, frozen=True, omit_defaults=True):
    """A model to ask, and the options that go with it: members of the upstream's request body."""

    model: str
    options: dict[str, Any] = {}


class Start(Struct, frozen=True, omit_defaults=True):
    """Begin an answer. Times are seconds."""

    model: str
    input: tuple[MessageAdded, ...] = ()
    instructions: str = ""
    agent: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType = UNSET
    """A JSON Schema; the answer is then a data part."""
    output_name: str = ""
    """What the schema is called, where a wire wants a name."""
    choices: int = 1
    """How many answers to produce side by side."""
    max_output_tokens: int | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    stop: tuple[str, ...] = ()
    """Texts that end the answer."""
    keep_open: bool | UnsetType = UNSET
    """Whether the stream takes messages after this answer; by default only if it has ``tools``."""
    max_time: float | UnsetType = UNSET
    """A shorter limit than the server's own."""
    metadata: dict[str, Any] | UnsetType = UNSET
    """The caller's own notes, kept with the stream."""
    extra: Extra = UNSET
    """Members of the request body that the canonical model does not name."""
    extra_dialect: str = ""
    """The one dialect whose upstreams understand ``extra``; empty: it goes to any."""
    fallbacks: tuple[Candidate, ...] = ()
    """Asked in turn when those before them failed before their first word."""
    attempts: int = 0
    """How many answers each model may be asked for until one fits ``output_schema``; 0: it is not checked."""
    hold: bool = False
    """Whether nothing is recorded before the answer is whole: for callers who wait for all of it."""
    max_iterations: int | UnsetType = UNSET
    """How often the model may be asked in one answer; a smaller limit than the server's own."""
    review: ReviewPolicy = "respect_tool"


class Stop(Struct, frozen=True, omit_defaults=True):
    """End the answer that is under way."""

    by: str = ""


class Decide(Struct, frozen=True, omit_defaults=True):
    """Answer a review. ``digest`` is the one the review was asked with."""

    call_id: str
    verdict: Literal["approved", "rejected"]
    digest: str = ""
    """If it is empty, whichever review of the call is pending is meant."""
    by: str = ""
    output: Any = UNSET
    """With ``approved``: what counts as the tool's result, instead of running it."""


def served(asked: Extra) -> frozenset[str]:
    """
    Return the names of the tools that the server runs, of an answer that was asked for with these settings.

    Wires that have no word for a tool's run do not tell of their calls: whoever reads
    of a call there runs it.
    """
    tools = [] if asked is UNSET else asked.get("tools", [])
    return frozenset(tool["name"] for tool in tools if tool.get("runner"))


def settings(start: Start) -> dict[str, Any]:
    """Return everything in ``start`` but its input, as plain JSON values, for the log."""
    kept: dict[str, Any] = to_builtins(start)
    kept.pop("input", None)
    return kept
