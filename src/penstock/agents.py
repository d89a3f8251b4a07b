"""
What an agent is, and how calling one becomes a request.

An agent is a definition that outlives its calls: instructions, models, schemas,
tools. A *function*, as Opper calls it, is an agent without tools. Every change
of one is a new revision; a call names a revision, or takes the latest.

:func:`ask` is the one place where instructions, examples, schemas and input
become a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from .events import Extra, MessageAdded, TextPart
from .requests import Candidate, Start, Tool
from .wire import jsontext

__all__ = ["Agent", "Example", "Revision", "ask"]


class Example(Struct, frozen=True, omit_defaults=True):
    """An input with the output it should have had."""

    input: Any
    output: Any
    comment: str = ""


class Agent(Struct, frozen=True, omit_defaults=True):
    """A definition under a name of its own."""

    name: str
    description: str = ""
    instructions: str = ""
    models: tuple[Candidate, ...] = ()
    """The first is asked; each next one if those before it failed before their first word."""
    input_schema: dict[str, Any] | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType = UNSET
    tools: tuple[Tool, ...] = ()
    attempts: int = 1
    """How many answers may be asked for until one fits ``output_schema``."""
    examples: int = 3
    """How many of a call's examples go into the prompt."""
    extra: Extra = UNSET
    """What a front knows and the definition has no name for, kept verbatim."""


class Revision(Struct, frozen=True):
    """An agent as it was stored. Times are seconds since the epoch."""

    id: str
    """The agent's, the same in every revision: a UUID."""
    revision_id: str
    """A UUID."""
    number: int
    """From 1, without gaps."""
    created_at: float
    """When the agent was created."""
    updated_at: float
    """When this revision was."""
    agent: Agent


def ask(agent: Agent, input: Any, examples: Sequence[Example] = ()) -> Start:
    """
    Return the request that calling ``agent`` with ``input`` is.

    Instructions come first, then what the input looks like, if a schema says
    so; examples are turns that have been; text goes in as it is, any other
    value as JSON.
    """
    first, *others = agent.models or (Candidate(""),)
    shown = [message for example in examples[: agent.examples] for message in _turn(example)]
    return Start(
        model=first.model,
        extra=first.options or UNSET,
        fallbacks=tuple(others),
        agent=agent.name,
        instructions="\n\n".join(_instructions(agent)),
        input=(*shown, MessageAdded("user", (TextPart(_text(input)),))),
        tools=agent.tools,
        output_schema=agent.output_schema,
        attempts=agent.attempts,
    )


def _instructions(agent: Agent) -> list[str]:
    said = [agent.instructions] if agent.instructions else []
    if agent.input_schema is not UNSET:
        said.append(f"The input is JSON that fits this JSON Schema:\n{_text(agent.input_schema)}")
    return said


def _turn(example: Example) -> list[MessageAdded]:
    comment = f"\n\n({example.comment})" if example.comment else ""
    return [
        MessageAdded("user", (TextPart(_text(example.input) + comment),)),
        MessageAdded("assistant", (TextPart(_text(example.output)),)),
    ]


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return jsontext.encode(value).decode()
