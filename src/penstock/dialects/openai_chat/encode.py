"""
Events to chat chunks.

What is constant in a response is built once; of a delta only its text is
encoded. The order of section 4 of the contract: a role for each choice, deltas,
a finish reason for each choice, usage if it was asked for, ``[DONE]``. A failed
response says an error and no ``[DONE]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import UNSET, Struct

from ...events import (
    Custom,
    DataPart,
    Event,
    Extra,
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
)
from ...requests import served
from ...snapshot import Response, text_of
from ...wire import Frame, jsontext
from .. import Spoken
from .usage import write_usage

__all__ = ["Encoder", "completion", "error_object"]

_FINISH: Final[dict[FinishReason, str]] = {"cancelled": "stop", "max_iterations": "length"}
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
_END: Final = b',"finish_reason":null}]}'


class _Said(Struct):
    """How much of a part is on the wire."""

    head: bytes
    """Everything of a delta chunk before its text."""
    tail: bytes
    kind: type[Part]
    choice: int
    sent: int = 0
    held: list[Frame] | None = None
    """The frames of a tool call that waits for the one before it to be complete."""
    done: bool = False


class Encoder:
    """
    See :class:`penstock.dialects.Encoder`.

    The tool calls of a choice follow each other: openai-python takes a call for
    complete, and parses its arguments, as soon as another one speaks.
    """

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
        self._calling: dict[int, list[_Said]] = {}
        self._sources: dict[int, int] = {}
        self._parts: dict[str, _Said] = {}
        self._served: frozenset[str] = frozenset()

    def encode(self, record: Spoken) -> Iterable[Frame]:
        event = record.event
        if type(event) is PartDelta:
            return self._delta(self._parts[event.part_id], event.delta, event.extra)
        return self._rarely(event, record.at)

    def _rarely(self, event: Event, at: float) -> Iterator[Frame]:
        """Encode anything but a delta."""
        match event:
            case PartStarted(part_id=key, part=part, choice=choice):
                yield from self._begin(key, part, choice)
            case PartDone(part_id=key, part=part):
                yield from self._complete(self._parts.pop(key), part)
            case ResponseStarted():
                yield from self._start(event, at)
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
        self._choices, self._calls, self._calling, self._sources, self._parts = [], {}, {}, {}, {}
        self._served = served(event.request)
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
            case ToolCallPart(tool=tool) if tool in self._served:
                self._parts[key] = _Said(b"", b"", SourcePart, choice, held=[])
            case ToolCallPart():
                yield from self._begin_call(key, part, choice, before)
            case SourcePart():
                index = self._sources[choice] = self._sources.get(choice, -1) + 1
                self._parts[key] = _Said(before, b"", SourcePart, choice)
                yield self._chunk(choice, {"annotations": [{"index": index, **_annotation(part)}]})
            case _:
                said = _Said(before + self._deltas.get(type(part), b""), b"}", type(part), choice)
                self._parts[key] = said
                if text := text_of(part):
                    yield from self._delta(said, text)

    def _begin_call(self, key: str, part: ToolCallPart, choice: int, before: bytes) -> Iterator[Frame]:
        index = self._calls[choice] = self._calls.get(choice, -1) + 1
        before += b'{"tool_calls":[{"index":%d,"function":{"arguments":' % index
        said = self._parts[key] = _Said(before, b"}}]}", ToolCallPart, choice, len(part.arguments))
        function = {"name": part.tool, "arguments": part.arguments}
        call = {"index": index, "id": part.call_id, "type": "function", "function": function}
        frame = self._chunk(choice, {"tool_calls": [call]})
        calling = self._calling.setdefault(choice, [])
        calling.append(said)
        if len(calling) == 1:
            yield frame
        else:
            said.held = [frame]

    def _complete_call(self, said: _Said) -> Iterator[Frame]:
        """Let the calls speak that waited for this one."""
        said.done = True
        calling = self._calling[said.choice]
        while calling and calling[0].done:
            calling.pop(0)
            if calling:
                yield from calling[0].held or ()
                calling[0].held = None

    def _delta(self, said: _Said, text: str, extra: Extra = UNSET) -> tuple[Frame, ...]:
        said.sent += len(text)
        if extra is UNSET or "logprobs" not in extra:
            frame = Frame(said.head + jsontext.quote(text) + said.tail + _END)
        else:
            logprobs = jsontext.encode(extra["logprobs"])
            frame = Frame(
                b'%b%b%b,"logprobs":%b%b' % (said.head, jsontext.quote(text), said.tail, logprobs, _END)
            )
        if said.held is None:
            return (frame,)
        said.held.append(frame)
        return ()

    def _complete(self, said: _Said, part: Part) -> Iterator[Frame]:
        """Say what no delta said; a part may come whole. A value is spelled once only."""
        if said.kind is DataPart and said.sent:
            return
        if rest := text_of(part)[said.sent :]:
            yield from self._delta(said, rest)
        if said.kind is ToolCallPart:
            yield from self._complete_call(said)

    def _done(self, event: ResponseDone) -> Iterator[Frame]:
        extra = {} if event.extra is UNSET else event.extra
        metadata = extra.get("chunk", {})
        for choice in range(len(event.finish_reasons)):
            yield from self._role(choice)
        for choice in self._choices:
            yield self._chunk(choice, {}, _finish(event, choice), metadata)
            metadata = {}
        if self._include_usage and event.usage is not UNSET:
            usage = jsontext.encode(write_usage(event.usage))
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
    done = response.end if isinstance(response.end, ResponseDone) else ResponseDone("stop")
    spoken = {growing.choice for growing in response.parts.values()}
    choices = sorted({0, *spoken, *range(len(done.finish_reasons))})
    whole: dict[str, Any] = {
        "id": response.response_id,
        "object": "chat.completion",
        "created": int(response.at),
        "model": response.model,
        "choices": [_whole_choice(response, choice, done) for choice in choices],
    }
    if done.usage is not UNSET:
        whole["usage"] = write_usage(done.usage)
    extra = {} if done.extra is UNSET else done.extra
    return {**extra.get("chunk", {}), **whole}


def _finish(done: ResponseDone, choice: int) -> str:
    reasons = done.finish_reasons
    reason = reasons[choice] if choice < len(reasons) else done.finish_reason
    return _FINISH.get(reason, reason)


def _whole_choice(response: Response, choice: int, done: ResponseDone) -> dict[str, Any]:
    parts = response.content(choice)
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for name, kinds in _MEMBERS.items():
        if said := [text_of(part) for part in parts if isinstance(part, kinds)]:
            message[name] = "".join(said)
    if calls := [_whole_call(part) for part in parts if isinstance(part, ToolCallPart)]:
        message["tool_calls"] = calls
    if sources := [_annotation(part) for part in parts if isinstance(part, SourcePart)]:
        message["annotations"] = sources
    return {
        "index": choice,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish(done, choice),
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


def _failure(event: ResponseFailed) -> Frame:
    error = error_object(event.code, event.message, 0, None)
    return Frame(jsontext.encode({"error": error}))


def error_object(code: str, message: str, status: int, param: str | None) -> dict[str, Any]:
    """Return the ``error`` member of section 7; ``status`` 0 stands for a failure in mid-stream."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return {"message": message, "type": kind, "param": param, "code": code}
