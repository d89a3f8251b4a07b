"""
What the built-in model answers: a plan of lines, before a word is spoken.

In order of what wins: results of tools are reported in prose (or in the value
asked for), tools that are asked for are called, a schema is answered with a
value, and everything else with an essay. Stop texts end prose only; half a call
or half a value helps nobody.

What a tool answered is reported, not followed by more calls: the next ones wait
until a person has said something again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2s
from itertools import takewhile
from typing import Any, Final, NamedTuple

from msgspec import UNSET, json, structs

from ...errors import RequestError
from ...events import MessageAdded, ReasoningPart, TextPart, ToolCallPart, ToolResultPart, encode_events
from ...requests import Start, Tool, ToolChoice
from . import prose
from .schema import crumbs, json_text, value_for
from .speech import Choice, Line, plain
from .wishes import Wish, failure, wishes

__all__ = ["Plan", "compose"]

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
        "a add all by call create current do execute fetch find for function get list lookup make my new of"
        " query read roll run search send set show the to tool update use",
    )
)
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+")
_THINKING = re.compile(r"\bthink\b|\bstep[ -]by[ -]step\b", re.IGNORECASE)


class Plan(NamedTuple):
    """What is to be said."""

    choices: tuple[Choice, ...]
    fails_after: int | None
    """The number of deltas after which the prompt wants it to fail."""


class _Question(NamedTuple):
    """What there is to answer."""

    start: Start
    prompt: str
    wishes: tuple[Wish, ...]
    results: tuple[_Result, ...]
    """What tools answered since a person said something else."""
    tools: tuple[Tool, ...]
    """Those to call now."""


class _Result(NamedTuple):
    tool: str
    """The tool's name where a call tells it, else the call's id."""
    text: str
    failed: bool


def compose(start: Start) -> Plan:
    """
    Plan the answer: one choice, or as many as were asked for.

    Raises:
        RequestError: a schema or the tool choice cannot be met.
    """
    prompt, results = _prompt(start), _results(start)
    wished = wishes(prompt)
    tools = () if results else _called(start, prompt, wished)
    question = _Question(start, prompt, wished, results, tools)
    choices = tuple(_choice(question, n) for n in range(max(1, start.choices)))
    return Plan(choices, None if question.tools else failure(prompt))


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
    start = question.start
    if question.tools:
        yield from (_call(question, tool, f"{n}.{at}") for at, tool in enumerate(question.tools))
    elif start.output_schema is not UNSET:
        yield _data(question, start.output_schema, n)
    else:
        yield Line.of(TextPart(), prose.essay(question.prompt, _opening(question), n)).until(start.stop)


def _opening(question: _Question) -> tuple[str, ...]:
    """What is to be said before anything else."""
    if question.results:
        return tuple(prose.report(*result) for result in question.results)
    choice = question.start.tool_choice
    if choice is not UNSET and choice.mode == "none":
        return ()
    return tuple(dict.fromkeys(prose.regret(wish.kind.called) for wish in question.wishes))


def _data(question: _Question, schema: dict[str, Any], n: int) -> Line:
    prompt = question.prompt
    seed = prose.seed_of(prompt, n)
    schema = _ANYTHING if schema in _ANY_JSON else schema
    quoted = dict.fromkeys(prose.quote(result.text) for result in question.results if result.text)
    words = tuple(dict.fromkeys((*quoted, *prose.topics(prompt))))
    value = value_for(schema, words, 0 if quoted else seed, field="output_schema")
    return Line.data(value, crumbs(json_text(value, seed), seed))


def _call(question: _Question, tool: Tool, place: str) -> Line:
    seed = prose.seed_of(question.prompt, tool.name, place)
    value = value_for(tool.parameters or {"type": "object"}, _subjects(question), 0, field="tools")
    conversation = encode_events(question.start.input)
    digest = blake2s(conversation + place.encode(), digest_size=12).hexdigest()
    return Line.of(ToolCallPart(f"call_{digest}", tool.name), crumbs(json_text(value, seed), seed))


def _subjects(question: _Question) -> tuple[str, ...]:
    """What the tools are to be called about: not about themselves, nor about being called."""
    names = [_words(tool.name) for tool in question.start.tools]
    orders = [wish.said for wish in question.wishes]
    return prose.topics(question.prompt, besides=prose.stems(" ".join((*names, *orders))))


def _called(start: Start, prompt: str, wished: tuple[Wish, ...]) -> tuple[Tool, ...]:
    """The tools to call, by the caller's choice or else by the prompt's words."""
    choice = start.tool_choice or ToolChoice()
    match choice.mode:
        case "none":
            return ()
        case "auto":
            return _wanted(start, prompt, wished)
        case "required":
            chosen = _wanted(start, prompt, wished) or start.tools[:1]
        case "tool":
            chosen = tuple(tool for tool in start.tools if tool.name == choice.tool)[:1]
    if not chosen:
        raise RequestError("tool_choice asks for a tool that is not offered", field="tool_choice")
    return chosen


def _wanted(start: Start, prompt: str, wished: tuple[Wish, ...]) -> tuple[Tool, ...]:
    """The tools that the prompt describes or, where none is like that, those that it names."""
    tools = _as_reviewed(start)
    named = {tool.name for tool in tools if _names(prompt, tool.name)}
    described = {name for wish in wished for name in wish.among(tools, named)}
    return tuple(tool for tool in tools if tool.name in (described or named))


def _as_reviewed(start: Start) -> tuple[Tool, ...]:
    """The tools, each with the need of a review that it has under the request's policy."""
    if start.review != "all":
        return start.tools
    return tuple(structs.replace(tool, needs_review=True) if tool.runner else tool for tool in start.tools)


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


def _results(start: Start) -> tuple[_Result, ...]:
    """What tools answered since a person said something else."""
    parts = [part for message in start.input for part in message.parts]
    names = {part.call_id: part.tool for part in parts if isinstance(part, ToolCallPart)}
    latest = list(takewhile(_continues, reversed(start.input)))
    return tuple(
        _result(names.get(part.call_id, part.call_id), part)
        for message in reversed(latest)
        for part in message.parts
        if isinstance(part, ToolResultPart)
    )


def _continues(message: MessageAdded) -> bool:
    """Whether no new turn begins here; some wires put a result into a user's message, beside text."""
    return message.role != "user" or any(isinstance(part, ToolResultPart) for part in message.parts)


def _result(tool: str, part: ToolResultPart) -> _Result:
    error = _error(part.result)
    return _Result(tool, error or plain(part), bool(error))


def _error(result: Any) -> str:
    """What went wrong, if that is what the result says; some wires have results as text only."""
    match result:
        case {"error": str(text)} | {"error": {"message": str(text)}}:
            return text
        case str() if result.startswith("{"):
            try:
                return _error(json.decode(result))
            except (ValueError, RecursionError):
                return ""
        case _:
            return ""
