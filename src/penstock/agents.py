"""
What an agent is, and how calling one becomes a request.

An agent is a definition that outlives its calls: instructions, models, schemas,
tools. A *function*, as Opper calls it, is an agent without tools. Every change
of one is a new revision; a call names a revision, or takes the latest. Catalogs
store exactly the JSON that :func:`encode_agent` returns.

:func:`ask` and :func:`tell` are the one place where instructions, examples, schemas and input
become a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, json
from msgspec.structs import replace

from .errors import RequestError
from .events import Extra, MessageAdded, TextPart
from .requests import Candidate, ReviewPolicy, Start, Tool

__all__ = [
    "MAX_NAME", "Agent", "Example", "Revision", "Sort",
    "ask", "decode_agent", "encode_agent", "engaged", "tell",
]  # fmt: skip

MAX_NAME: Final = 255
"""Characters in the name of an agent; as many as file systems give a file."""

Sort = Literal["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"]
"""What a list of agents goes by; with a minus, the last comes first. Names go by code point."""


class Example(Struct, frozen=True, omit_defaults=True):
    """An input with the output it should have had."""

    input: Any
    output: Any
    comment: str = ""


class Agent(Struct, frozen=True, omit_defaults=True):
    """A definition under a name of its own."""

    name: str
    """Any text of 1 to :data:`MAX_NAME` characters; case counts."""
    description: str = ""
    instructions: str = ""
    models: tuple[Candidate, ...] = ()
    """The first is asked; each next one if those before it failed before their first word."""
    input_schema: dict[str, Any] | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType = UNSET
    tools: tuple[Tool, ...] = ()
    attempts: Annotated[int, Meta(ge=0)] = 1
    """How many answers may be asked for until one fits ``output_schema``; 0: it is not checked."""
    examples: Annotated[int, Meta(ge=0)] = 3
    """How many of a call's examples go into the prompt."""
    review: ReviewPolicy = "respect_tool"
    max_iterations: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    """How often the model may be asked in one answer; a smaller limit than the server's own."""
    max_time: Annotated[float, Meta(gt=0)] | UnsetType = UNSET
    """Seconds; a shorter limit than the server's own."""
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


_encode = json.Encoder().encode

decode_agent = json.Decoder(Agent).decode
"""The reverse of :func:`encode_agent`; passes over members it does not know. Raises msgspec's DecodeError."""


def encode_agent(agent: Agent) -> bytes:
    """
    Return the definition as JSON. Two definitions are equal if this is.

    So the order of an object's members counts: a model answers in the order of
    its schema.

    Raises:
        RequestError: the name is empty or too long; or it would not read back, because
            a text holds half a surrogate pair, say, or a member is not of its type.
    """
    if not 0 < len(agent.name) <= MAX_NAME:
        raise RequestError(
            f"the name of an agent has 1 to {MAX_NAME} characters, not {len(agent.name)}", field="name"
        )
    try:
        data = _encode(agent)
        decode_agent(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"agent {agent.name!r} cannot be stored: {error}") from error
    return data


def ask(agent: Agent, input: Any, examples: Sequence[Example] = ()) -> Start:
    """
    Return the request that calling ``agent`` with ``input`` is.

    Instructions come first, then what the input looks like, if a schema says
    so; examples are turns that have been; text goes in as it is, any other
    value as JSON.
    """
    shown = [message for example in examples[: agent.examples] for message in _turn(example)]
    return tell(agent, (*shown, MessageAdded("user", (TextPart(_text(input)),))))


def tell(agent: Agent, messages: Sequence[MessageAdded]) -> Start:
    """Return the request that saying ``messages``, a conversation, to ``agent`` is."""
    first, *others = agent.models or (Candidate(""),)
    return Start(
        model=first.model,
        extra=first.options or UNSET,
        fallbacks=tuple(others),
        agent=agent.name,
        instructions="\n\n".join(_instructions(agent)),
        input=tuple(messages),
        tools=agent.tools,
        output_schema=agent.output_schema,
        attempts=agent.attempts,
        review=agent.review,
        max_iterations=agent.max_iterations,
        max_time=agent.max_time,
    )


def engaged(agent: Agent, start: Start) -> Start:
    """
    Return ``start`` as a request to ``agent``: what the caller says itself goes before what the agent is.

    The caller's tools come beside the agent's own, and what the caller is to do comes
    after the agent's instructions.
    Raises: RequestError (a tool of the caller's has the name of one of the agent's).
    """
    taken = {tool.name for tool in agent.tools}
    for n, tool in enumerate(start.tools):
        if tool.name in taken:
            where = f"tools[{n}].name"
            raise RequestError(f"{where!r}: the agent has a tool {tool.name!r} already", field=where)
    own, silent = tell(agent, start.input), Start("")
    said = {
        field: value
        for field in Start.__struct_fields__
        if (value := getattr(start, field)) != getattr(silent, field)
    }
    instructions = "\n\n".join(filter(None, (own.instructions, start.instructions)))
    return replace(own, **{**said, "tools": (*own.tools, *start.tools), "instructions": instructions})


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
            return _encode(value).decode()  # not escaped to ASCII: it is a model that reads it
