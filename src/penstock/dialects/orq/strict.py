"""
The ten events, as strictly as the strictest of the SDKs reads them (section 5 of the contract).

The types here are the table: which members an event has, which may be missing,
which words an enumeration knows. Nothing else is let through: no other member,
no null where one is optional, no name in the wrong case, no number as a string.
One event that an SDK refuses ends the whole stream for its user, so that the
encoder passes through :func:`checked` what it did not build from constants.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, DecodeError, Meta, Struct, UnsetType, field, json

from ...errors import LocalProtocolError

__all__ = ["checked"]

_Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
_Status = Annotated[int, Meta(ge=400, le=599)]
_Object = dict[str, Any]
_FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "function_call", "max_iterations", "max_time"
]


class _Snake(Struct, frozen=True, forbid_unknown_fields=True): ...


class _Camel(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"): ...


class _Event(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    timestamp: _Moment


# -- the response


class _Telemetry(_Snake, frozen=True):
    trace_id: str
    span_id: str


class _Started(_Camel, frozen=True):
    response_id: str
    task_id: str
    model: str
    workflow_run_id: str
    user_message_id: str | UnsetType = UNSET
    assistant_message_id: str | UnsetType = UNSET
    telemetry: _Telemetry | UnsetType = UNSET


class _PromptDetails(_Snake, frozen=True):
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None
    audio_tokens: int | None = None


class _CompletionDetails(_Snake, frozen=True):
    reasoning_tokens: float | None = None
    accepted_prediction_tokens: float | None = None
    rejected_prediction_tokens: float | None = None
    audio_tokens: int | None = None


class _Usage(_Snake, frozen=True):
    prompt_tokens: float | UnsetType = UNSET
    completion_tokens: float | UnsetType = UNSET
    total_tokens: float | UnsetType = UNSET
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Function(_Snake, frozen=True):
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class _Pending(_Snake, frozen=True):
    id: str
    type: Literal["function"]
    function: _Function


class _Done(_Camel, frozen=True):
    finish_reason: _FinishReason
    usage: _Usage | UnsetType = UNSET
    pending_tool_calls: Annotated[list[_Pending], Meta(min_length=1)] | UnsetType = UNSET
    telemetry: _Telemetry | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.finish_reason == "function_call") != (self.pending_tool_calls is not UNSET):
            raise ValueError("there are pending calls if, and only if, the answer ended with function_call")


class _Failed(_Camel, frozen=True):
    error: str
    code: _Status


# -- tools


class _Tool(_Camel, frozen=True):
    tool_id: str
    tool_call_id: str


class _ToolStarted(_Tool, frozen=True, kw_only=True):
    arguments: _Object
    tool_name: str | UnsetType = UNSET


class _ToolDone(_Tool, frozen=True):
    result: Any = UNSET


class _ToolFailed(_Tool, frozen=True):
    error: str


class _ReviewRequested(_ToolStarted, frozen=True, kw_only=True):
    requires_approval: bool


class _ReviewDone(_Tool, frozen=True):
    review: Literal["approved", "rejected"]


# -- parts


class _Part(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"): ...


class _Text(_Part, frozen=True, tag="text"):
    text: str


class _Reasoning(_Part, frozen=True, tag="reasoning"):
    id: str = field(name="_id")
    """Optional by its type; but each SDK fills in a constant of its own."""
    reasoning: str
    metadata: _Object | UnsetType = UNSET
    signature: str | UnsetType = UNSET


class _Bytes(_Camel, frozen=True):
    bytes: str | UnsetType = UNSET
    uri: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.bytes is UNSET) == (self.uri is UNSET):
            raise ValueError("a file has either bytes or a uri")


class _File(_Part, frozen=True, tag="file"):
    file: _Bytes
    metadata: _Object | UnsetType = UNSET


class _Data(_Part, frozen=True, tag="data"):
    data: _Object
    metadata: _Object | UnsetType = UNSET


_AnyPart = _Text | _Reasoning | _File | _Data


class _PartDelta(_Camel, frozen=True):
    part_id: str
    delta: _AnyPart


class _PartDone(_Camel, frozen=True):
    part_id: str
    part: _AnyPart


# -- the union


class _ResponseStartedEvent(_Event, frozen=True, tag="response.started"):
    data: _Started


class _ResponseDoneEvent(_Event, frozen=True, tag="response.done"):
    data: _Done


class _ResponseFailedEvent(_Event, frozen=True, tag="response.failed"):
    data: _Failed


class _ToolStartedEvent(_Event, frozen=True, tag="tool.started"):
    data: _ToolStarted


class _ToolDoneEvent(_Event, frozen=True, tag="tool.done"):
    data: _ToolDone


class _ToolFailedEvent(_Event, frozen=True, tag="tool.failed"):
    data: _ToolFailed


class _ReviewRequestedEvent(_Event, frozen=True, tag="tool.review.requested"):
    data: _ReviewRequested


class _ReviewDoneEvent(_Event, frozen=True, tag="tool.review.done"):
    data: _ReviewDone


class _PartDeltaEvent(_Event, frozen=True, tag="part.delta"):
    data: _PartDelta


class _PartDoneEvent(_Event, frozen=True, tag="part.done"):
    data: _PartDone


_decode: Final = json.Decoder(
    _ResponseStartedEvent | _ResponseDoneEvent | _ResponseFailedEvent
    | _ToolStartedEvent | _ToolDoneEvent | _ToolFailedEvent
    | _ReviewRequestedEvent | _ReviewDoneEvent
    | _PartDeltaEvent | _PartDoneEvent
).decode  # fmt: skip


def checked(data: bytes) -> bytes:
    """
    Return ``data``, one event as JSON, if every SDK reads it.

    Raises:
        LocalProtocolError: one would not.
    """
    try:
        _decode(data)
    except (DecodeError, RecursionError) as exc:
        raise LocalProtocolError(f"an event that the SDKs refuse: {exc}") from exc
    return data
