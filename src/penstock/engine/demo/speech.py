"""
Who says what, in which pieces: from planned lines to the events of a response.

A *line* is one part as it will be spoken. A *choice* is the lines of one of
several parallel answers, in order. Lines follow each other, with one exception
that real providers make too: tool calls that stand together are spoken at the
same time, piece by piece in turns. Choices always are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, count, groupby
from typing import Any, NamedTuple, Self

from msgspec import UnsetType, json, structs

from ...events import (
    DataPart,
    Event,
    FinishReason,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from ...requests import Start

__all__ = ["Choice", "Line", "plain", "speak"]

Spoken = ReasoningPart | TextPart | ToolCallPart | DataPart
"""The kinds of part that this model has."""


class Line(NamedTuple):
    """One part: how it opens, the pieces it comes in, how it closes."""

    opened: Spoken
    pieces: tuple[str, ...]
    closed: Part

    @classmethod
    def of(cls, opened: Spoken, pieces: Iterable[str]) -> Self:
        """A line that closes as what its pieces add up to."""
        pieces = tuple(pieces)
        return cls(opened, pieces, _so_far(opened, "".join(pieces)))

    @classmethod
    def data(cls, value: Any, pieces: Iterable[str]) -> Self:
        """A line of structured output, whose pieces add up to the JSON text of ``value``."""
        return cls(DataPart(), tuple(pieces), DataPart(value=value))

    def first(self, pieces: int) -> Line:
        """The line, broken off after that many pieces."""
        return self if pieces >= len(self.pieces) else Line.of(self.opened, self.pieces[:pieces])

    def until(self, stops: Iterable[str]) -> Line:
        """The line, ended just before the first of these texts."""
        text = "".join(self.pieces)
        found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
        if not found:
            return self
        begins = accumulate(map(len, self.pieces), initial=0)
        cut = (piece[: max(0, min(found) - at)] for at, piece in zip(begins, self.pieces, strict=False))
        return Line.of(self.opened, filter(None, cut))


class Choice(NamedTuple):
    """One of several parallel answers."""

    lines: tuple[Line, ...]
    reason: FinishReason

    def within(self, tokens: int) -> Choice:
        """The choice, cut to a limit; one piece counts as one token."""
        begins = list(accumulate((len(line.pieces) for line in self.lines), initial=0))
        if begins[-1] <= tokens:
            return self
        kept = (line.first(tokens - at) for at, line in zip(begins, self.lines, strict=False) if at < tokens)
        return Choice(tuple(kept), "length")

    @property
    def calls(self) -> tuple[str, ...]:
        """The calls that the caller is to run: none, when the answer was cut short."""
        if self.reason != "tool_calls":
            return ()
        return tuple(line.opened.call_id for line in self.lines if isinstance(line.opened, ToolCallPart))


def speak(start: Start, choices: tuple[Choice, ...], fails_after: int | None = None) -> Iterator[Event]:
    """Speak all choices side by side, and end the response; or fail it after so many deltas."""
    ids = map("p{}".format, count(1))
    thoughts = set[str]()
    spoken = thought = 0
    for event in _weave(_choice(choice, n, ids) for n, choice in enumerate(choices)):
        yield event
        match event:
            case PartStarted(part_id=part_id, part=ReasoningPart()):
                thoughts.add(part_id)
            case PartDelta(part_id=part_id):
                spoken += 1
                thought += part_id in thoughts
                if spoken == fails_after:
                    break
    usage = Usage(
        input_tokens=_input_tokens(start), output_tokens=spoken, reasoning_tokens=thought, source="estimated"
    )
    yield _done(choices, usage) if fails_after is None else _failed(usage)


def plain(part: Part) -> str:
    """What a part says, as text."""
    match part:
        case TextPart(text=text) | ReasoningPart(text=text):
            return text
        case ToolCallPart(arguments=arguments):
            return arguments
        case ToolResultPart(result=str(text)):
            return text
        case DataPart(value=UnsetType(), text=text):
            return text
        case ToolResultPart(result=value) | DataPart(value=value):
            return json.encode(value).decode()
        case _:
            return ""


def _so_far(opened: Spoken, text: str) -> Part:
    """The part as it is when it has only got this far."""
    if isinstance(opened, ToolCallPart):
        return structs.replace(opened, arguments=text)
    return structs.replace(opened, text=text)


def _choice(choice: Choice, n: int, ids: Iterator[str]) -> Iterator[Event]:
    """Line after line; tool calls that stand together, together."""
    for _, lines in groupby(choice.lines, key=lambda line: type(line.opened)):
        yield from _weave(_line(line, n, ids) for line in lines)


def _line(line: Line, choice: int, ids: Iterator[str]) -> Iterator[Event]:
    part_id = next(ids)  # at the last moment: ids go in the order in which parts start
    yield PartStarted(part_id, line.opened, choice)
    for piece in line.pieces:
        yield PartDelta(part_id, piece)
    yield PartDone(part_id, line.closed)


def _weave(voices: Iterable[Iterator[Event]]) -> Iterator[Event]:
    """One event of each in turn, until all have ended."""
    talking = list(voices)
    while talking:
        said = [(voice, next(voice, None)) for voice in talking]
        talking = [voice for voice, event in said if event is not None]
        yield from (event for _, event in said if event is not None)


def _input_tokens(start: Start) -> int:
    """Four characters to a token: the usual rule of thumb."""
    texts = chain.from_iterable(map(plain, message.parts) for message in start.input)
    return -(-(len(start.instructions) + sum(map(len, texts))) // 4)


def _done(choices: tuple[Choice, ...], usage: Usage) -> ResponseDone:
    reasons = tuple(choice.reason for choice in choices)
    calls = tuple(chain.from_iterable(choice.calls for choice in choices))
    return ResponseDone(reasons[0], usage, calls, reasons if len(reasons) > 1 else ())


def _failed(usage: Usage) -> ResponseFailed:
    return ResponseFailed(
        "upstream", "The built-in model failed on purpose, as it was asked to.", usage=usage
    )
