"""
What the built-in model answers: a plan of lines, before a word is spoken.

In order of what wins: results of tools are reported in prose (or as the value
asked for), tools that are asked for are called, a schema is answered with a
value, and everything else with an essay. Stop texts end prose only; half a call
or half a value helps nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2s
from itertools import takewhile
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from ...errors import RequestError
from ...events import MessageAdded, ReasoningPart, TextPart, ToolCallPart, ToolResultPart, encode_events
from ...requests import Start, Tool, ToolChoice
from . import prose
from .schema import crumbs, json_text, value_for
from .speech import Choice, Line, plain

__all__ = ["compose"]

_ANYTHING: Final = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "topics": {"type": "array", "items": {"type": "string"}},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
"""What an answer looks like that must be JSON, and nothing more was said."""

_ANY_JSON: Final[tuple[dict[str, Any], ...]] = ({}, {"type": "object"})
_VERBS = frozenset(
    re.findall(
        r"\w+",
        "a add all by call create current do execute fetch find for get list lookup make my new of query"
        " read run search send set show the to tool update use",
    )
)
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+")
_THINKING = re.compile(r"\bthink\b|\bstep[ -]by[ -]step\b", re.IGNORECASE)


class _Question(NamedTuple):
    """What there is to answer."""

    start: Start
    prompt: str
    results: tuple[tuple[str, str], ...]
    """Tools that answered since anything else was said, and their answers."""


def compose(start: Start) -> tuple[Choice, ...]:
    """
    Plan the answer: one choice, or as many as were asked for.

    Raises:
        RequestError: a schema or the tool choice cannot be met.
    """
    question = _Question(start, _prompt(start), _results(start))
    return tuple(_choice(question, n) for n in range(max(1, start.choices)))


def _choice(question: _Question, n: int) -> Choice:
    start = question.start
    lines = (*_thoughts(question, n), *_substance(question, n))
    called = any(isinstance(line.opened, ToolCallPart) for line in lines)
    choice = Choice(lines, "tool_calls" if called else "stop")
    return choice if start.max_output_tokens is UNSET else choice.within(start.max_output_tokens)


def _thoughts(question: _Question, n: int) -> Iterator[Line]:
    effort = (question.start.extra or {}).get("reasoning_effort")
    if effort not in (None, "none", "minimal") or _THINKING.search(question.prompt):
        yield Line.of(ReasoningPart(), prose.thoughts(question.prompt, n))


def _substance(question: _Question, n: int) -> Iterator[Line]:
    start, prompt, results = question
    if not results and (tools := _called(start, prompt)):
        yield from (_call(question, tool, f"{n}.{at}") for at, tool in enumerate(tools))
    elif start.output_schema is not UNSET:
        yield _data(prompt, start.output_schema, n)
    else:
        yield Line.of(TextPart(), prose.essay(prompt, results, n)).until(start.stop)


def _data(prompt: str, schema: dict[str, Any], n: int) -> Line:
    seed = prose.seed_of(prompt, n)
    schema = _ANYTHING if schema in _ANY_JSON else schema
    value = value_for(schema, prose.topics(prompt), seed, field="output_schema")
    return Line.data(value, crumbs(json_text(value, seed), seed))


def _call(question: _Question, tool: Tool, place: str) -> Line:
    seed = prose.seed_of(question.prompt, tool.name, place)
    value = value_for(tool.parameters or {"type": "object"}, _subjects(question), 0, field="tools")
    conversation = encode_events(question.start.input)
    digest = blake2s(conversation + place.encode(), digest_size=12).hexdigest()
    return Line.of(ToolCallPart(f"call_{digest}", tool.name), crumbs(json_text(value, seed), seed))


def _subjects(question: _Question) -> tuple[str, ...]:
    """What the tools are to be called about: not about themselves."""
    names = " ".join(_words(tool.name) for tool in question.start.tools)
    return prose.topics(question.prompt, besides=prose.stems(names))


def _called(start: Start, prompt: str) -> tuple[Tool, ...]:
    """The tools to call, by the caller's choice or else by the prompt's words."""
    choice = start.tool_choice or ToolChoice()
    named = tuple(tool for tool in start.tools if _names(prompt, tool.name))
    match choice.mode:
        case "none":
            return ()
        case "auto":
            return named
        case "required":
            chosen = named or start.tools[:1]
        case "tool":
            chosen = tuple(tool for tool in start.tools if tool.name == choice.tool)[:1]
    if not chosen:
        raise RequestError("tool_choice asks for a tool that is not offered", field="tool_choice")
    return chosen


def _names(prompt: str, name: str) -> bool:
    """Whether the prompt names the tool: outright, or by a word of its name that is not a mere verb."""
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prompt, re.IGNORECASE):
        return True
    return not (prose.stems(_words(name)) - _VERBS).isdisjoint(prose.stems(prompt))


def _words(name: str) -> str:
    """``get_tide`` and ``getTide`` as words."""
    return " ".join(_NAME_WORD.findall(name))


def _prompt(start: Start) -> str:
    """The last thing that a person said."""
    said = (_text(message) for message in reversed(start.input) if message.role == "user")
    return next(filter(None, said), "")


def _text(message: MessageAdded) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart)).strip()


def _results(start: Start) -> tuple[tuple[str, str], ...]:
    """The results that the input ends with, each with its tool's name where a call tells it."""
    parts = [part for message in start.input for part in message.parts]
    names = {part.call_id: part.tool for part in parts if isinstance(part, ToolCallPart)}
    latest = list(takewhile(_reports, reversed(start.input)))
    return tuple(
        (names.get(part.call_id, part.call_id), plain(part))
        for message in reversed(latest)
        for part in message.parts
        if isinstance(part, ToolResultPart)
    )


def _reports(message: MessageAdded) -> bool:
    """Whether a message brings a result; some wires put one into a user's message, beside text."""
    return any(isinstance(part, ToolResultPart) for part in message.parts)
