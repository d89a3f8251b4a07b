"""
The tree, folded from the events.

:func:`apply` is pure: the same events give the same snapshot here, in a test,
in an inspector and after a crash. Nothing else in the package assembles an
answer. The pieces of a growing part are kept as a list until somebody looks,
so that a long answer costs no more per delta than a short one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from msgspec import UNSET, DecodeError, Struct, UnsetType, field, json, to_builtins
from msgspec.structs import replace

from .events import (
    PRIVATE,
    TERMINAL,
    Custom,
    DataPart,
    Event,
    Extra,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    ReviewDone,
    ReviewRequested,
    StopRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
    Usage,
)
from .wire import jsontext

__all__ = ["GrowingPart", "Response", "Snapshot", "apply", "conversation", "fold", "grown", "text_of", "view"]

Status = Literal["open", "stopping", "done", "failed"]

_TEXT_FIELD: Final[dict[type[Part], str]] = {
    TextPart: "text",
    ReasoningPart: "text",
    RefusalPart: "text",
    ToolCallPart: "arguments",
}


def grown(part: Part, text: str) -> Part:
    """
    Return ``part`` with the ``text`` of its deltas added: what its ``part.done`` says.

    A data part becomes a value once its text is whole JSON, and keeps the text
    if it never does.
    """
    if isinstance(part, DataPart):
        whole = part.text + text
        try:
            return replace(part, value=_value(whole), text="")
        except (ValueError, RecursionError):
            return replace(part, text=whole)
    name = _TEXT_FIELD.get(type(part))
    return replace(part, **{name: getattr(part, name) + text}) if name and text else part


def text_of(part: Part) -> str:
    """
    Return what the deltas of ``part`` add up to: the reverse of :func:`grown`.

    Data is its JSON, or as much of its text as came. Parts that have no deltas have no text.
    """
    match part:
        case TextPart(text=text) | ReasoningPart(text=text) | RefusalPart(text=text):
            return text
        case ToolCallPart(arguments=arguments):
            return arguments
        case DataPart(value=value, text=text):
            return text if value is UNSET else json.encode(value).decode()
        case _:
            return ""


def _value(text: str) -> Any:
    """Return the value of a JSON text, such that it can be stored: without halves of surrogate pairs."""
    try:
        return json.decode(text)
    except (DecodeError, UnicodeEncodeError, RecursionError):
        return jsontext.scrub(jsontext.decode(text))


class GrowingPart(Struct):
    """A part and the deltas that have come to it."""

    start: Part
    choice: int = 0
    deltas: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def part(self) -> Part:
        """The part as it stands."""
        return self.start if self.done else grown(self.start, "".join(self.deltas))


class Response(Struct):
    """One answer as it stands."""

    response_id: str
    model: str = ""
    agent: str = ""
    at: float = 0.0
    """When it began, seconds since 1970."""
    ended_at: float = 0.0
    """When it ended; 0 as long as it has not."""
    status: Status = "open"
    parts: dict[str, GrowingPart] = field(default_factory=dict)
    tools: list[Event] = field(default_factory=list)
    customs: list[Custom] = field(default_factory=list)
    request: Extra = UNSET
    end: ResponseDone | ResponseFailed | None = None

    @property
    def usage(self) -> Usage | UnsetType:
        return self.end.usage if self.end else UNSET

    def content(self, choice: int = 0) -> list[Part]:
        """The parts of one choice, in the order in which they began."""
        return [growing.part for growing in self.parts.values() if growing.choice == choice]

    def text(self, choice: int = 0) -> str:
        """The answer's text alone."""
        return "".join(part.text for part in self.content(choice) if isinstance(part, TextPart))


class Snapshot(Struct):
    """A stream as it stands: messages and responses in the order in which they came."""

    turns: list[MessageAdded | Response] = field(default_factory=list)

    @property
    def response(self) -> Response | None:
        """The latest response."""
        return next((turn for turn in reversed(self.turns) if isinstance(turn, Response)), None)

    @property
    def responses(self) -> list[Response]:
        return [turn for turn in self.turns if isinstance(turn, Response)]


def fold(events: Iterable[Event]) -> Snapshot:
    """Fold ``events`` from the beginning of a stream."""
    snapshot = Snapshot()
    for event in events:
        apply(snapshot, event)
    return snapshot


def apply(snapshot: Snapshot, event: Event, at: float = 0.0) -> None:
    """Fold one event, recorded at ``at``, into ``snapshot``."""
    match event:
        case MessageAdded():
            snapshot.turns.append(event)
        case ResponseStarted(response_id=name, model=model, agent=agent, request=request):
            snapshot.turns.append(Response(name, model, agent, at, request=request))
        case _:
            if (response := snapshot.response) is not None:
                _within(response, event)
                response.ended_at = at if isinstance(event, TERMINAL) else response.ended_at


def _within(response: Response, event: Event) -> None:
    match event:
        case PartStarted(part_id=key, part=part, choice=choice):
            response.parts[key] = GrowingPart(part, choice)
        case PartDelta(part_id=key, delta=delta):
            response.parts[key].deltas.append(delta)
        case PartDone(part_id=key, part=part):
            growing = response.parts[key]
            growing.start, growing.deltas, growing.done = part, [], True
        case StopRequested():
            response.status = "stopping"
        case ResponseDone():
            response.status, response.end = "done", event
        case ResponseFailed():
            response.status, response.end = "failed", event
        case ToolStarted() | ToolDone() | ToolFailed() | ReviewRequested() | ReviewDone():
            response.tools.append(event)
        case Custom():
            response.customs.append(event)
        case _:
            pass


def conversation(snapshot: Snapshot) -> tuple[MessageAdded, ...]:
    """
    Return what was said so far as messages, the way an upstream wants to be told.

    A failed or unfinished response counts as far as it came; a response of
    several choices counts with its first.
    """
    return tuple(
        turn if isinstance(turn, MessageAdded) else MessageAdded("assistant", tuple(turn.content()))
        for turn in snapshot.turns
        if isinstance(turn, MessageAdded) or turn.content()
    )


def view(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the turns as plain JSON values, without what is private and the request's own settings."""
    return [
        to_builtins(turn) if isinstance(turn, MessageAdded) else _view_response(turn)
        for turn in snapshot.turns
        if isinstance(turn, Response) or turn.role not in PRIVATE
    ]


def _view_response(response: Response) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "response",
        "response_id": response.response_id,
        "model": response.model,
        "status": response.status,
        "parts": [
            {"part_id": key, "choice": growing.choice, **to_builtins(growing.part)}
            for key, growing in response.parts.items()
        ],
    }
    if response.agent:
        shown["agent"] = response.agent
    if response.tools:
        shown["tools"] = to_builtins(response.tools)
    if response.end is not None:
        shown["end"] = to_builtins(response.end)
    return shown
