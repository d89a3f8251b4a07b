"""
Events to chat chunks.

What is constant in a response is built once; of a delta only its text is
encoded. The order of section 4 of the contract: a role for each choice, deltas,
a finish reason for each choice, usage if it was asked for, ``[DONE]``. A failed
response says an error and no ``[DONE]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, json

from ...events import (
    Custom,
    DataPart,
    FinishReason,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    SourcePart,
    TextPart,
    ToolCallPart,
    Usage,
)
from ...snapshot import Response
from ...wire import Frame, jsontext
from .. import Spoken

__all__ = ["Encoder", "completion", "error_object"]

_FINISH: Final[dict[FinishReason, str]] = {"cancelled": "stop"}
"""Ours to theirs, where they differ."""

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}

_OPEN: Final = b'{"content":'


class _Said(Struct):
    """How much of a part is on the wire."""

    head: bytes
    """Everything of a delta chunk before its text."""
    tail: bytes
    kind: type[Part]
    choice: int
    sent: int = 0


class Encoder:
    """See :class:`penstock.dialects.Encoder`."""

    def __init__(self, *, include_usage: bool = False, reasoning_field: str = "reasoning_content") -> None:
        """
        Args:
            include_usage: end with a chunk of token counts.
            reasoning_field: the member of a delta that carries reasoning (section 6).
        """
        self._include_usage = include_usage
        self._deltas: dict[type[Part], bytes] = {
            TextPart: _OPEN,
            DataPart: _OPEN,
            RefusalPart: b'{"refusal":',
            ReasoningPart: b"{%b:" % jsontext.quote(reasoning_field),
        }
        self._head = b""
        self._choices: list[int] = []
        self._calls: dict[int, int] = {}
        self._sources: dict[int, int] = {}
        self._parts: dict[str, _Said] = {}

    def encode(self, record: Spoken) -> Iterator[Frame]:
        event = record.event
        match event:
            case PartDelta(part_id=key, delta=delta, extra=extra):
                yield self._delta(self._parts[key], delta, extra)
            case PartStarted(part_id=key, part=part, choice=choice):
                yield from self._begin(key, part, choice)
            case PartDone(part_id=key, part=part):
                yield from self._complete(self._parts.pop(key), part)
            case ResponseStarted():
                yield from self._start(event, record.at)
            case Custom(name="openai-chat.audio", data=data):
                yield from self._role(data["choice"])
                yield self._chunk(data["choice"], {"audio": data["audio"]})
            case ResponseDone():
                yield from self._done(event)
            case ResponseFailed():
                yield _failure(event)
            case _:
                pass

    def _start(self, event: ResponseStarted, at: float) -> Iterator[Frame]:
        constant = {
            "id": event.response_id,
            "object": "chat.completion.chunk",
            "created": int(at),
            "model": event.model,
        }
        self._head = jsontext.encode(constant)[:-1] + b',"choices":['
        self._choices, self._calls, self._sources, self._parts = [], {}, {}, {}
        asked = event.request.get("choices", 1) if event.request is not UNSET else 1
        for choice in range(asked):
            yield from self._role(choice)

    def _role(self, choice: int) -> Iterator[Frame]:
        if choice not in self._choices:
            self._choices.append(choice)
            yield self._chunk(choice, {"role": "assistant", "content": ""})

    def _begin(self, key: str, part: Part, choice: int) -> Iterator[Frame]:
        yield from self._role(choice)
        before = b'%b{"index":%d,"delta":' % (self._head, choice)
        match part:
            case ToolCallPart(call_id=call_id, tool=tool, arguments=arguments):
                index = self._calls[choice] = self._calls.get(choice, -1) + 1
                before += b'{"tool_calls":[{"index":%d,"function":{"arguments":' % index
                self._parts[key] = _Said(before, b"}}]}", ToolCallPart, choice, len(arguments))
                yield self._chunk(choice, {"tool_calls": [{
                    "index": index, "id": call_id, "type": "function",
                    "function": {"name": tool, "arguments": arguments},
                }]})  # fmt: skip
            case SourcePart():
                index = self._sources[choice] = self._sources.get(choice, -1) + 1
                self._parts[key] = _Said(before, b"", SourcePart, choice)
                yield self._chunk(choice, {"annotations": [{"index": index, **_annotation(part)}]})
            case _:
                said = _Said(before + self._deltas.get(type(part), b""), b"}", type(part), choice)
                self._parts[key] = said
                if text := _text(part):
                    yield self._delta(said, text)

    def _delta(self, said: _Said, text: str, extra: dict[str, Any] | UnsetType = UNSET) -> Frame:
        said.sent += len(text)
        after = b',"finish_reason":null}]}'
        if extra is not UNSET and "logprobs" in extra:
            after = b',"logprobs":%b%b' % (jsontext.encode(extra["logprobs"]), after)
        return Frame(b"%b%b%b%b" % (said.head, jsontext.quote(text), said.tail, after))

    def _complete(self, said: _Said, part: Part) -> Iterator[Frame]:
        """Say what no delta said; a part may come whole. A value is spelled once only."""
        if said.kind is DataPart and said.sent:
            return
        if rest := _text(part)[said.sent :]:
            yield self._delta(said, rest)

    def _done(self, event: ResponseDone) -> Iterator[Frame]:
        extra = {} if event.extra is UNSET else event.extra
        metadata = extra.get("chunk", {})
        for position, choice in enumerate(self._choices):
            reasons = event.finish_reasons
            reason = reasons[position] if position < len(reasons) else event.finish_reason
            yield self._chunk(choice, {}, _FINISH.get(reason, reason), metadata)
            metadata = {}
        if self._include_usage and event.usage is not UNSET:
            usage = jsontext.encode(_usage(event.usage))
            yield Frame(b'%b],"usage":%b}' % (self._head, usage))
        yield Frame(b"[DONE]")

    def _chunk(
        self,
        choice: int,
        delta: dict[str, Any],
        finish: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Frame:
        chosen = jsontext.encode({"index": choice, "delta": delta, "finish_reason": finish})
        beside = b"," + jsontext.encode(metadata)[1:-1] if metadata else b""
        return Frame(b"%b%b]%b}" % (self._head, chosen, beside))


def completion(response: Response) -> dict[str, Any]:
    """Return a finished response as the ``chat.completion`` object of a call without streaming."""
    choices = sorted({growing.choice for growing in response.parts.values()} | {0})
    done = response.end if isinstance(response.end, ResponseDone) else ResponseDone("stop")
    whole: dict[str, Any] = {
        "id": response.response_id,
        "object": "chat.completion",
        "created": int(response.at),
        "model": response.model,
        "choices": [
            _whole_choice(response, choice, position, done) for position, choice in enumerate(choices)
        ],
    }
    if done.usage is not UNSET:
        whole["usage"] = _usage(done.usage)
    extra = {} if done.extra is UNSET else done.extra
    return {**extra.get("chunk", {}), **whole}


def _whole_choice(response: Response, choice: int, position: int, done: ResponseDone) -> dict[str, Any]:
    reasons = done.finish_reasons
    reason = reasons[position] if position < len(reasons) else done.finish_reason
    parts = response.content(choice)
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for name, kinds in _MEMBERS.items():
        if said := [_text(part) for part in parts if isinstance(part, kinds)]:
            message[name] = "".join(said)
    if calls := [_whole_call(part) for part in parts if isinstance(part, ToolCallPart)]:
        message["tool_calls"] = calls
    if sources := [_annotation(part) for part in parts if isinstance(part, SourcePart)]:
        message["annotations"] = sources
    return {
        "index": choice,
        "message": message,
        "logprobs": None,
        "finish_reason": _FINISH.get(reason, reason),
    }


_MEMBERS: Final[dict[str, tuple[type[Part], ...]]] = {
    "content": (TextPart, DataPart),
    "refusal": (RefusalPart,),
    "reasoning_content": (ReasoningPart,),
}


def _whole_call(part: ToolCallPart) -> dict[str, Any]:
    function = {"name": part.tool, "arguments": part.arguments}
    return {"id": part.call_id, "type": "function", "function": function}


def _annotation(part: SourcePart) -> dict[str, Any]:
    if part.extra is not UNSET:
        return {key: value for key, value in part.extra.items() if key != "index"}
    return {"type": "url_citation", "url_citation": {"url": part.url, "title": part.title}}


def _text(part: Part) -> str:
    match part:
        case TextPart(text=text) | ReasoningPart(text=text) | RefusalPart(text=text):
            return text
        case ToolCallPart(arguments=arguments):
            return arguments
        case DataPart(value=value, text=text):
            return text if value is UNSET else json.encode(value).decode()
        case _:
            return ""


def _usage(usage: Usage) -> dict[str, Any]:
    kept = {} if usage.extra is UNSET else usage.extra
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            **(kept.get("prompt_tokens_details") or {}),
            "cached_tokens": usage.cached_input_tokens,
        },
        "completion_tokens_details": {
            **(kept.get("completion_tokens_details") or {}),
            "reasoning_tokens": usage.reasoning_tokens,
        },
    }
    return {**kept, **counts}


def _failure(event: ResponseFailed) -> Frame:
    error = error_object(event.code, event.message, 0, None)
    return Frame(jsontext.encode({"error": error}))


def error_object(code: str, message: str, status: int, param: str | None) -> dict[str, Any]:
    """Return the ``error`` member of section 7; ``status`` 0 stands for a failure in mid-stream."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return {"message": message, "type": kind, "param": param, "code": code}
