"""
Sessions and their histories as documents (section 2 of the contract).

A message of the assistant's is a round of an answer, and has the id that the
stream gave it. No member is ever null: an SDK refuses a whole list for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from msgspec import UNSET, ValidationError, convert

from ...calls import Call, calls
from ...errors import RequestError
from ...events import (
    ROUND_DONE,
    TERMINAL,
    Custom,
    DataPart,
    MessageAdded,
    Part,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
    ToolDone,
    ToolFailed,
    Usage,
)
from ...snapshot import Response, Snapshot, apply, text_of
from ...wire import jsontext
from ...wire.times import timestamp
from .. import Spoken
from .words import message_name, text_in

__all__ = ["Tally", "exported", "history_row", "kept_turns", "rows", "session", "tally"]

_ECHOED: Final = ("cdpUrl", "subagentType", "callbacks", "modelId", "provider")


class Tally(NamedTuple):
    """What a session came to."""

    user_messages: int = 0
    """Those that wait are counted, those that were dropped are not."""
    assistant_messages: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_message: str | None = None
    """What the user said first."""


def tally(snapshot: Snapshot) -> Tally:
    """Return what a session came to; what was taken back does not count."""
    told = list(_told(snapshot))
    asked = [each for each in told if isinstance(each, MessageAdded)]
    said = [each for each in told if isinstance(each, _Said)]
    usages = [response.usage for response in snapshot.responses if response.usage is not UNSET]
    return Tally(
        len(asked),
        len(said),
        sum(len(each.calls) for each in said),
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        text_in(asked[0]) if asked else None,
    )


# -- sessions


def session(id: str, facts: Mapping[str, Any], tally: Tally) -> dict[str, Any]:
    """
    Return a session as every answer about one has it.

    ``facts`` are what ``read_session`` returned when it was made, and ``created_at``,
    in seconds since 1970.
    """
    first = {} if tally.first_message is None else {"firstUserMessage": tally.first_message}
    return {
        "id": id,
        "title": facts["title"],
        "sessionType": facts["sessionType"],
        "browserMode": facts["browserMode"],
        **_counts(tally),
        "createdAt": timestamp(facts["created_at"]),
        **first,
        **{key: facts[key] for key in _ECHOED if key in facts},
    }


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "userMessageCount": tally.user_messages,
        "assistantMessageCount": tally.assistant_messages,
        "toolCallCount": tally.tool_calls,
        "promptTokens": tally.prompt_tokens,
        "completionTokens": tally.completion_tokens,
        "cost": 0.0,
    }


# -- histories


class _Said(NamedTuple):
    """A message of the assistant's."""

    response: Response
    round: int
    parts: list[Part]
    calls: list[Call]

    @property
    def id(self) -> str:
        return message_name(self.response.response_id, self.round)

    @property
    def last(self) -> bool:
        """Whether no round followed it."""
        return self.round == len(self.response.rounds)

    def text(self, *kinds: type[Part]) -> str:
        return "".join(text_of(part) for part in self.parts if isinstance(part, kinds))

    @property
    def content(self) -> str:
        return self.text(TextPart, RefusalPart, DataPart)

    @property
    def optional(self) -> dict[str, Any]:
        """What a history and an export say of it alike, where there is something to say."""
        members = {
            "reasoning": self.text(ReasoningPart),
            "model": self.response.model,
            "toolCalls": [_call(call) for call in self.calls],
        }
        return {key: value for key, value in members.items() if value}


def history_row(session_id: str, message: MessageAdded) -> dict[str, Any]:
    """Return what a user said as a row of a history."""
    return {
        "id": message.message_id, "sessionId": session_id, "role": "user", "userInput": text_in(message)
    }  # fmt: skip


def rows(session_id: str, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the history of a session: what the user said and was not dropped, and what was answered."""
    return [
        history_row(session_id, told) if isinstance(told, MessageAdded) else _row(session_id, told)
        for told in _told(snapshot)
    ]


def kept_turns(snapshot: Snapshot, message_id: str) -> int:
    """
    Return how many turns of a session are left if a message is the last one to keep.

    Of an answer all rounds are kept, whichever of them it is.

    Raises:
        RequestError: there is no such message.
    """
    for n, turn in enumerate(snapshot.turns, 1):
        told = _told(Snapshot([turn], dropped=snapshot.dropped))
        if any(message_id == _id(each) for each in told):
            return n
    raise RequestError(f"there is no message {message_id[:64]!r} in this session", field="messageId")


def exported(id: str, facts: Mapping[str, Any], records: Sequence[Spoken]) -> dict[str, Any]:
    """Return a session with all that was said in it and when, from its ``records``; see :func:`session`."""
    snapshot, times = Snapshot(), _Times()
    for record in records:
        apply(snapshot, record.event, record.at)
        times.take(record)
    created_at = facts["created_at"]
    return {
        "id": id,
        "title": facts["title"],
        **_counts(tally(snapshot)),
        "createdAt": timestamp(created_at),
        "updatedAt": timestamp(records[-1].at if records else created_at),
        "messages": [_exported(told, times) for told in _told(snapshot)],
    }


def _id(told: MessageAdded | _Said) -> str:
    return told.message_id if isinstance(told, MessageAdded) else told.id


def _told(snapshot: Snapshot) -> Iterator[MessageAdded | _Said]:
    for turn in snapshot.turns:
        if isinstance(turn, Response):
            yield from _said(turn)
        elif turn.role == "user" and turn.message_id not in snapshot.dropped:
            yield turn


def _said(response: Response) -> Iterator[_Said]:
    """Yield the messages of an answer: the rounds in which the model said anything."""
    growing, asked = list(response.parts.values()), calls(response).values()
    for n, (begin, end) in enumerate(pairwise((0, *response.rounds, len(growing)))):
        parts = [each.part for each in growing[begin:end] if each.choice == 0]
        if parts:
            yield _Said(response, n, parts, [call for call in asked if call.round == n])


def _row(session_id: str, said: _Said) -> dict[str, Any]:
    return {
        "id": said.id,
        "sessionId": session_id,
        "role": "assistant",
        "userInput": said.content,
        "assistantResponse": said.content,
        **said.optional,
        **_tokens(_usage(said)),
    }


def _call(call: Call) -> dict[str, Any]:
    """Return a call; ``finished`` is one that has its result."""
    part = call.part
    arguments = part.arguments if part.arguments.strip() else "{}"
    ended: dict[str, Any] = {}
    match call.end:
        case ToolDone(result=result):
            text = result if isinstance(result, str) else jsontext.encode(result).decode()
            ended = {"result": text, "isError": False}
        case ToolFailed(error=error):
            ended = {"result": error, "isError": True}
    return {
        "id": part.call_id,
        "name": part.tool,
        "input": arguments,
        "type": "tool_use",
        "finished": bool(ended),
        **ended,
    }


def _usage(said: _Said) -> Usage | None:
    """Return what a message has taken: what its round says, or the answer's sum less the rounds before."""
    rounds = [_round_usage(custom) for custom in said.response.customs if custom.name == ROUND_DONE]
    if not said.last:
        return rounds[said.round]
    whole = said.response.usage
    if whole is UNSET or None in rounds:
        return None
    before = [usage for usage in rounds if usage is not None]
    left = {name: getattr(whole, name) - sum(getattr(usage, name) for usage in before) for name in _COUNTS}
    return Usage(**{name: max(0, count) for name, count in left.items()})


_COUNTS: Final = ("input_tokens", "cached_input_tokens", "output_tokens")


def _round_usage(custom: Custom) -> Usage | None:
    usage = custom.data.get("usage") if isinstance(custom.data, dict) else None
    try:
        return None if usage is None else convert(usage, Usage)
    except ValidationError:
        return None


def _tokens(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cached_input_tokens,
    }


# -- when it was said


class _Times:
    """When messages began and ended: seconds since 1970."""

    def __init__(self) -> None:
        self.added: dict[str, float] = {}
        """By message of the user's."""
        self.last = 0.0
        self._rounds: dict[str, list[float]] = {}
        """When each round of an answer ended, and before them, when the first one began."""
        self._answer: list[float] = []

    def take(self, record: Spoken) -> None:
        self.last = record.at
        match record.event:
            case MessageAdded(message_id=message_id):
                self.added[message_id] = record.at
            case ResponseStarted(response_id=response_id):
                self._answer = self._rounds[response_id] = [record.at]
            case Custom(name=name) if name == ROUND_DONE:
                self._answer.append(record.at)
            case event if isinstance(event, TERMINAL):
                self._answer.append(record.at)

    def of(self, said: _Said) -> tuple[float, float]:
        """Return when a round began, and when it ended or was heard of last."""
        times = [*self._rounds[said.response.response_id], self.last]
        return times[said.round], times[said.round + 1]


def _exported(told: MessageAdded | _Said, times: _Times) -> dict[str, Any]:
    if isinstance(told, MessageAdded):
        at = timestamp(times.added[told.message_id])
        plain = {"id": told.message_id, "role": "user", "content": text_in(told)}
        return {**plain, "createdAt": at, "updatedAt": at}
    began, ended = times.of(told)
    return {
        "id": told.id,
        "role": "assistant",
        "content": told.content,
        "createdAt": timestamp(began),
        "updatedAt": timestamp(ended),
        **told.optional,
        **_ending(told),
    }


def _ending(said: _Said) -> dict[str, str]:
    match said.response.end:
        case _ if not said.last:
            return {"finishReason": "tool_calls"}
        case ResponseDone(finish_reason=reason):
            return {"finishReason": reason}
        case ResponseFailed():
            return {"finishReason": "error"}
        case None:
            return {}
