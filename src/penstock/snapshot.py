"""
The tree, folded from the events.

:func:`apply` is pure: the same events give the same snapshot here, in a test,
in an inspector and after a crash. Nothing else in the package assembles an
answer. The pieces of a growing part are kept as a list until somebody looks,
so that a long answer costs no more per delta than a short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, Literal

from msgspec import UNSET, DecodeError, Struct, UnsetType, field, json, to_builtins
from msgspec.structs import replace

from .events import (
    PRIVATE,
    REWOUND,
    ROUND_DONE,
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
    ToolResultPart,
    ToolStarted,
    Usage,
)
from .wire import jsontext

__all__ = [
    "GrowingPart", "Response", "Snapshot",
    "apply", "conversation", "fold", "grown", "spoken", "text_of", "view",
]  # fmt: skip

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
    rounds: list[int] = field(default_factory=list)
    """How many parts there were at the end of each round that another one followed, or will."""
    request: Extra = UNSET
    answers: MessageAdded | UnsetType = UNSET
    """The message that it answers, if that had to wait for its turn."""
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
    """A message that had to wait stands before its answer, wherever it was added."""
    waiting: dict[str, MessageAdded] = field(default_factory=dict)
    """Messages that wait for their turn, by id, the next one first."""
    dropped: set[str] = field(default_factory=set)
    """Ids of those that will never have it."""
    response: Response | None = None
    """The latest response, even if it was taken back."""

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
            if event.request is not UNSET:
                snapshot.waiting[event.message_id] = event
        case ResponseStarted(response_id=name, model=model, agent=agent, request=request):
            begun = Response(name, model, agent, at, request=request, answers=event.answers)
            snapshot.turns.insert(_place(snapshot, event), begun)
            snapshot.response = begun
        case Custom(name=name, data={"turns": int(turns)}) if name == REWOUND:
            del snapshot.turns[turns:]
        case _:
            if isinstance(event, StopRequested):
                _drop(snapshot, event)
            if (response := snapshot.response) is not None:
                _within(response, event)
                response.ended_at = at if isinstance(event, TERMINAL) else response.ended_at


def _place(snapshot: Snapshot, event: ResponseStarted) -> int:
    """Return where among the turns an answer begins: after the message that it answers."""
    if event.answers is UNSET or event.answers.message_id not in snapshot.waiting:
        return len(snapshot.turns)
    return snapshot.turns.index(snapshot.waiting.pop(event.answers.message_id)) + 1


def _drop(snapshot: Snapshot, event: StopRequested) -> None:
    for message_id in event.dropped:
        if snapshot.waiting.pop(message_id, None) is not None:
            snapshot.dropped.add(message_id)


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
            if event.name == ROUND_DONE:
                response.rounds.append(len(response.parts))
        case _:
            pass


def conversation(snapshot: Snapshot) -> tuple[MessageAdded, ...]:
    """
    Return what was said so far as messages, the way an upstream wants to be told.

    A failed or unfinished response counts as far as it came; a response of
    several choices counts with its first. Messages that wait for their turn,
    or will never have it, have not been said.
    """
    return tuple(message for turn in snapshot.turns for message in _told(snapshot, turn))


def _told(snapshot: Snapshot, turn: MessageAdded | Response) -> Iterator[MessageAdded]:
    if isinstance(turn, Response):
        yield from spoken(turn)
    elif turn.message_id not in snapshot.waiting and turn.message_id not in snapshot.dropped:
        yield turn


def spoken(response: Response) -> Iterator[MessageAdded]:
    """
    Yield what a response adds to the conversation: the model's words and what the server's tools answered.

    A call that nobody has answered, and nobody will, is left out: models take
    no conversation in which one is open.
    """
    pending = response.end.pending_calls if isinstance(response.end, ResponseDone) else ()
    results = {key: result for key, result in _results(response).items() if key not in pending}
    grown = list(response.parts.values())
    for begin, end in pairwise((0, *response.rounds, len(grown))):
        parts = [growing.part for growing in grown[begin:end] if growing.choice == 0]
        asked = [part.call_id for part in parts if isinstance(part, ToolCallPart)]
        forgotten = {call_id for call_id in asked if call_id not in results and call_id not in pending}
        said = [part for part in parts if not (isinstance(part, ToolCallPart) and part.call_id in forgotten)]
        if said:
            yield MessageAdded("assistant", tuple(said))
        if answers := [results[call_id] for call_id in asked if call_id in results]:
            yield MessageAdded("tool", tuple(answers))


def _results(response: Response) -> dict[str, ToolResultPart]:
    """Return what the server's tools answered, by call."""
    found: dict[str, ToolResultPart] = {}
    for event in response.tools:
        match event:
            case ToolDone(call_id=call_id, result=result):
                found[call_id] = ToolResultPart(call_id, result)
            case ToolFailed(call_id=call_id, error=error):
                found[call_id] = ToolResultPart(call_id, {"error": error})
    return found


def view(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the turns as plain JSON values, without what is private and the request's own settings."""
    return [
        to_builtins(replace(turn, request=UNSET)) if isinstance(turn, MessageAdded) else _view_response(turn)
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
