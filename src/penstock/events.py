"""
What can happen in a stream.

Five families, told apart by their prefix:

* ``message.*``  -- what a person, or a tool's result, put in
* ``response.*`` -- the envelope: one answer begins and ends
* ``part.*``     -- what the model said: text, reasoning, tool calls, data
* ``tool.*``     -- what the world did about it: reviews and executions
* ``custom``     -- whatever a dialect carries that has no name here

Events are facts, in the past tense, immutable and complete in themselves. They
are the only thing a log stores, as exactly the JSON that these structs encode
to. Anything tree-shaped is a fold over them; see ``snapshot``.

A delta is always a piece of text: of the text itself, of a tool call's
arguments, of a data part's JSON. The part says which.

Don't subclass these. Don't add one without a row in ``grammar``.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType, json

__all__ = [
    "ATTEMPT_FAILED",
    "PRIVATE",
    "REWOUND",
    "ROUND_DONE",
    "TERMINAL",
    "Custom",
    "DataPart",
    "Event",
    "Extra",
    "FilePart",
    "FinishReason",
    "MessageAdded",
    "Part",
    "PartDelta",
    "PartDone",
    "PartStarted",
    "ReasoningPart",
    "RefusalPart",
    "ResponseDone",
    "ResponseFailed",
    "ResponseStarted",
    "ReviewDone",
    "ReviewRequested",
    "Role",
    "SourcePart",
    "StopRequested",
    "TextPart",
    "ToolCallPart",
    "ToolDone",
    "ToolFailed",
    "ToolResultPart",
    "ToolStarted",
    "Usage",
    "decode_events",
    "encode_event",
    "encode_events",
]

Extra = dict[str, Any] | UnsetType
"""What a dialect knows and the canonical model has no name for, kept verbatim."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "max_iterations"]
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]

PRIVATE: Final[tuple[Role, ...]] = ("system", "developer")
"""Roles whose messages stay on the server."""


class _Part(Struct, frozen=True, tag_field="kind", omit_defaults=True): ...


class TextPart(_Part, frozen=True, tag="text"):
    text: str = ""
    extra: Extra = UNSET


class ReasoningPart(_Part, frozen=True, tag="reasoning"):
    text: str = ""
    signature: str = ""
    """What the provider wants back, unread, to go on thinking from here."""
    extra: Extra = UNSET


class RefusalPart(_Part, frozen=True, tag="refusal"):
    text: str = ""
    extra: Extra = UNSET


class DataPart(_Part, frozen=True, tag="data"):
    """Structured output: streams as JSON text, is done as a value."""

    value: Any = UNSET
    text: str = ""
    """The JSON text as far as it came; only where it never became a whole value."""
    extra: Extra = UNSET


class ToolCallPart(_Part, frozen=True, tag="tool_call"):
    call_id: str
    tool: str
    arguments: str = ""
    """JSON text, kept as text: while it streams it is not JSON yet."""
    extra: Extra = UNSET


class ToolResultPart(_Part, frozen=True, tag="tool_result"):
    """What a tool answered; only in ``message.added``."""

    call_id: str
    result: Any = None
    extra: Extra = UNSET


class FilePart(_Part, frozen=True, tag="file"):
    """A picture, a sound, a document: by reference, or as base64 ``data``."""

    mime: str = ""
    url: str = ""
    data: str = ""
    file_id: str = ""
    name: str = ""
    extra: Extra = UNSET


class SourcePart(_Part, frozen=True, tag="source"):
    """A citation."""

    url: str = ""
    title: str = ""
    extra: Extra = UNSET


Part = (
    TextPart | ReasoningPart | RefusalPart | DataPart | ToolCallPart | ToolResultPart | FilePart | SourcePart
)


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one response; ``input`` counts cached ones, ``output`` counts reasoning."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    source: Literal["provider", "estimated"] = "provider"
    extra: Extra = UNSET


class _Event(Struct, frozen=True, tag_field="type", omit_defaults=True): ...


class MessageAdded(_Event, frozen=True, tag="message.added"):
    role: Role
    parts: tuple[Part, ...] = ()
    message_id: str = ""
    extra: Extra = UNSET
    request: Extra = UNSET
    """The settings with which it is to be answered, where it waits for its turn. Stays on the server."""


class ResponseStarted(_Event, frozen=True, tag="response.started"):
    response_id: str
    model: str = ""
    agent: str = ""
    request: Extra = UNSET
    """The settings it was asked for with (``requests.Start`` less its input). Stays on the server."""
    extra: Extra = UNSET
    answers: MessageAdded | UnsetType = UNSET
    """The message that it answers, as it was added, if that had to wait for its turn."""


class StopRequested(_Event, frozen=True, tag="response.stop.requested"):
    """Somebody asked the answer to end. Not a disconnect: a fact, for all to see."""

    by: str = ""
    dropped: tuple[str, ...] = ()
    """Ids of the messages that waited for their turn, and are not to be answered any more."""


class ResponseDone(_Event, frozen=True, tag="response.done"):
    finish_reason: FinishReason
    usage: Usage | UnsetType = UNSET
    pending_calls: tuple[str, ...] = ()
    """Tool calls that the caller is to run; their results continue the stream."""
    finish_reasons: tuple[FinishReason, ...] = ()
    """One for each choice, where there were several."""
    extra: Extra = UNSET


class ResponseFailed(_Event, frozen=True, tag="response.failed"):
    code: str
    message: str
    retryable: bool = False
    usage: Usage | UnsetType = UNSET
    extra: Extra = UNSET


class PartStarted(_Event, frozen=True, tag="part.started"):
    part_id: str
    part: Part
    choice: int = 0
    """Which of several parallel answers it belongs to."""


class PartDelta(_Event, frozen=True, tag="part.delta", gc=False):
    part_id: str
    delta: str
    extra: Extra = UNSET


class PartDone(_Event, frozen=True, tag="part.done"):
    """The whole part; where it and the deltas disagree, it is right."""

    part_id: str
    part: Part
    extra: Extra = UNSET


class ToolStarted(_Event, frozen=True, tag="tool.started"):
    call_id: str
    tool: str
    arguments: Any = None


class ToolDone(_Event, frozen=True, tag="tool.done"):
    call_id: str
    result: Any = None


class ToolFailed(_Event, frozen=True, tag="tool.failed"):
    call_id: str
    error: str


class ReviewRequested(_Event, frozen=True, tag="tool.review.requested"):
    call_id: str
    tool: str
    digest: str
    arguments: Any = None
    expires_at: float | UnsetType = UNSET
    """Seconds since the epoch."""


class ReviewDone(_Event, frozen=True, tag="tool.review.done"):
    call_id: str
    digest: str
    verdict: Literal["approved", "rejected", "expired"]
    by: str = ""
    output: Any = UNSET
    """What counts as the tool's result, if it is not to run although the call was approved."""


class Custom(_Event, frozen=True, tag="custom"):
    name: str
    data: Any = None


Event = (
    MessageAdded | ResponseStarted | StopRequested | ResponseDone | ResponseFailed
    | PartStarted | PartDelta | PartDone
    | ToolStarted | ToolDone | ToolFailed | ReviewRequested | ReviewDone
    | Custom
)  # fmt: skip

ATTEMPT_FAILED: Final = "attempt.failed"
"""
The name of the custom event that an attempt at an answer leaves, of which nothing
else was recorded: its ``data`` says the ``model``, and ``code`` and ``message``
of what was wrong.
"""

ROUND_DONE: Final = "round.done"
"""
The name of the custom event that ends a round of an answer: the model has asked for
tools that the server runs, and will be asked again with their results. Its ``data``
is the round's ``usage``, as of a terminal event, and the ``model`` and ``id`` that the
upstream gave it.
"""

REWOUND: Final = "history.rewound"
"""
The name of the custom event by which the end of a stream's history is taken back:
what comes after the first ``turns`` turns of its ``data`` -- messages and responses --
counts as never said.
"""

TERMINAL: Final = (ResponseDone, ResponseFailed)
"""The events that end a response."""

_encoder = json.Encoder()
_lines = json.Decoder(Event)

encode_event = _encoder.encode
"""One event as JSON, the form in which logs store it."""

encode_events = _encoder.encode_lines
"""Events as JSON lines, each ended by a newline."""

decode_events = _lines.decode_lines
"""The reverse of :func:`encode_events`. Raises msgspec's DecodeError."""
