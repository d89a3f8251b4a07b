"""
Chat chunks to events, for OpenAI and everybody who imitates it.

Rule 1: a part ends when its choice says something of another kind, or ends;
tool calls stay open side by side until their choice ends.
Rule 2: the end of the body is not an end. Only finish reasons are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, convert, json
from msgspec.structs import replace

from ...errors import RemoteProtocolError
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
    Usage,
)
from ...snapshot import grown
from ...wire import Frame, jsontext

__all__ = ["Decoder", "read_usage"]

_DONE: Final = b"[DONE]"

_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _Call(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct, gc=False):
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: Any = None


class _Choice(Struct, gc=False):
    delta: _Delta | None = None
    index: int = 0
    finish_reason: str | None = None
    logprobs: Any = None


class _XGroq(Struct, gc=False):
    usage: dict[str, Any] | None = None
    error: Any = None


class _Chunk(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: _XGroq | None = None


_NAMED: Final = frozenset((*_Chunk.__struct_fields__, "object", "created", "obfuscation"))
_decode = json.Decoder(_Chunk).decode


class _Open(Struct):
    """A part that has begun and not ended."""

    part_id: str
    start: Part
    choice: int
    pieces: list[str]
    half: str = ""
    """The first half of a surrogate pair, waiting for the second."""


class _ChoiceState(Struct):
    said: _Open | None = None
    """The open part that is not a tool call."""
    calls: dict[str, _Open] = {}
    """Open tool calls by position on the wire."""
    finish: str | None = None
    details: list[Any] = []


class Decoder:
    """See :class:`penstock.dialects.Decoder`."""

    def __init__(self, *, structured: bool = False, finish_required: bool = True) -> None:
        """
        Args:
            structured: the text is the JSON of a data part.
            finish_required: whether ``[DONE]`` without a finish reason is a truncation
                (Snowflake never sends one).
        """
        self._text: Part = DataPart() if structured else TextPart()
        self._finish_required = finish_required
        self._choices: dict[int, _ChoiceState] = {}
        self._parts = 0
        self._call_ids: list[str] = []
        self._usage: dict[str, Any] | None = None
        self._metadata: dict[str, Any] = {}
        self._started = self._ended = False
        self._surrogates = False

    def decode(self, frame: Frame) -> Iterator[Event]:
        if self._ended:
            return
        if frame.data == _DONE:
            yield from self._end(said_done=True)
            return
        chunk = self._chunk(frame.data)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.x_groq is not None:
            self._usage = chunk.x_groq.usage or self._usage
        if not self._started and (chunk.choices or chunk.error is not None):
            yield self._start(chunk, frame.data)
        for choice in chunk.choices or ():
            yield from self._choice(choice)
            if choice.finish_reason:
                self._learn(frame.data)
        if chunk.error is not None:
            yield from self._fail(chunk.error)

    def close(self, unfinished: Frame | None = None) -> Iterator[Event]:
        if unfinished is not None and _is_whole(unfinished.data):
            yield from self.decode(unfinished)
        if not self._ended:
            yield from self._end(said_done=False)

    # -- one chunk

    def _chunk(self, data: bytes) -> _Chunk:
        try:
            return _decode(data)
        except (ValidationError, UnicodeDecodeError) as exc:
            raise RemoteProtocolError(f"not a chat chunk: {exc}") from exc
        except DecodeError:
            return self._odd_chunk(data)

    def _odd_chunk(self, data: bytes) -> _Chunk:
        """Some vendors cut a surrogate pair in two; only the standard library reads such JSON."""
        try:
            chunk = convert(jsontext.decode(data), _Chunk)
        except (ValueError, ValidationError) as exc:
            raise RemoteProtocolError(f"not a chat chunk: {exc}") from exc
        self._surrogates = True
        return chunk

    def _start(self, chunk: _Chunk, data: bytes) -> Event:
        self._started = True
        self._learn(data)
        return ResponseStarted(chunk.id or "", chunk.model or "")

    def _learn(self, data: bytes) -> None:
        """Keep what the chunk says beside what is named here. Only first and last chunks are asked."""
        everything = jsontext.decode(data)
        self._metadata.update(
            (key, value) for key, value in everything.items() if key not in _NAMED and value is not None
        )

    def _choice(self, choice: _Choice) -> Iterator[Event]:
        state = self._choices.get(choice.index)
        if state is None:
            state = self._choices[choice.index] = _ChoiceState()
        delta = choice.delta
        if delta is not None:
            if type(delta.content) is str and delta.content and _is_plain(choice, delta):
                yield from self._say(state, choice.index, self._text, delta.content)
            else:
                yield from self._rarely(state, choice, delta)
        if choice.finish_reason:
            state.finish = choice.finish_reason
            yield from self._finish(state)

    def _rarely(self, state: _ChoiceState, choice: _Choice, delta: _Delta) -> Iterator[Event]:
        """Everything that may be in a delta, in the order that makes sense of it."""
        index = choice.index
        state.details += delta.reasoning_details or ()
        if thought := delta.reasoning_content or delta.reasoning:
            yield from self._say(state, index, ReasoningPart(), thought)
        extra: Extra = {"logprobs": choice.logprobs} if choice.logprobs is not None else UNSET
        for part, text in _pieces(delta.content, self._text):
            yield from self._say(state, index, part, text, extra)
        if delta.refusal:
            yield from self._say(state, index, RefusalPart(), delta.refusal, extra)
        if delta.function_call is not None:
            legacy = _Call(0, "call_legacy", delta.function_call)
            yield from self._call(state, index, legacy)
        for call in delta.tool_calls or ():
            yield from self._call(state, index, call)
        for annotation in delta.annotations or ():
            yield from self._cite(index, annotation)
        if delta.audio is not None:
            yield Custom("openai-chat.audio", {"choice": index, "audio": delta.audio})

    def _say(
        self, state: _ChoiceState, choice: int, kind: Part, text: str, extra: Extra = UNSET
    ) -> Iterator[Event]:
        said = state.said
        if said is None or type(said.start) is not type(kind):
            if said is not None:
                yield self._close(said, state)
            said = state.said = self._open(kind, choice)
            yield PartStarted(said.part_id, kind, choice)
        if self._surrogates:
            text = _joined(said, text)
        if text:
            said.pieces.append(text)
            yield PartDelta(said.part_id, text, extra)

    def _call(self, state: _ChoiceState, choice: int, call: _Call) -> Iterator[Event]:
        function = call.function or _Function()
        key = _position(state, call)
        known = state.calls.get(key)
        if known is not None and call.id and call.id != _call_id(known):  # another call on a used index
            yield self._close(known, state)
            del state.calls[key]
            known = None
        if known is None:
            part = ToolCallPart(call.id or self._mint(), function.name or "")
            known = state.calls[key] = self._open(part, choice)
            self._call_ids.append(part.call_id)
            yield PartStarted(known.part_id, part, choice)
        if arguments := _arguments(function.arguments):
            if self._surrogates:
                arguments = _joined(known, arguments)
            known.pieces.append(arguments)
            yield PartDelta(known.part_id, arguments)

    def _cite(self, choice: int, annotation: Mapping[str, Any]) -> Iterator[Event]:
        cited = annotation.get("url_citation") or {}
        part = SourcePart(cited.get("url") or "", cited.get("title") or "", dict(annotation))
        source = self._open(part, choice)
        yield PartStarted(source.part_id, part, choice)
        yield PartDone(source.part_id, part)

    # -- parts

    def _open(self, start: Part, choice: int) -> _Open:
        self._parts += 1
        return _Open(f"p{self._parts}", start, choice, [])

    def _mint(self) -> str:
        """Return an id for a call that came without one; stable, because it is its number."""
        return f"call_{len(self._call_ids) + 1}"

    def _close(self, said: _Open, state: _ChoiceState) -> Event:
        part = grown(said.start, "".join(said.pieces))
        if isinstance(part, ReasoningPart) and state.details:
            details, state.details = state.details, []
            part = replace(part, signature=_signature(details), extra={"reasoning_details": details})
        return PartDone(said.part_id, part)

    def _finish(self, state: _ChoiceState) -> Iterator[Event]:
        """End all parts of a choice."""
        still = [state.said] if state.said else []
        for said in (*still, *state.calls.values()):
            yield self._close(said, state)
        state.said, state.calls = None, {}

    # -- the end

    def _end(self, *, said_done: bool) -> Iterator[Event]:
        lacking = [index for index, state in self._choices.items() if state.finish is None]
        lenient = said_done and not self._finish_required
        if not self._started or (lacking and not lenient):
            yield from self._truncated(said_done)
            return
        for state in self._choices.values():
            yield from self._finish(state)
        self._ended = True
        yield self._done()

    def _done(self) -> ResponseDone:
        raw = [self._choices[index].finish or "stop" for index in sorted(self._choices)]
        reasons = tuple(_FINISH.get(reason, "stop") for reason in raw)
        details = [detail for state in self._choices.values() for detail in state.details]
        extra = {
            "finish_reason": [reason for reason in raw if reason not in _FINISH],
            "reasoning_details": details,
            "chunk": self._metadata,
        }
        return ResponseDone(
            reasons[0],
            read_usage(self._usage),
            tuple(self._call_ids) if "tool_calls" in reasons else (),
            reasons if len(reasons) > 1 else (),
            {key: value for key, value in extra.items() if value} or UNSET,
        )

    def _truncated(self, said_done: bool) -> Iterator[Event]:
        if not self._started:
            self._started = True
            yield ResponseStarted("")
        self._ended = True
        what = "said [DONE]" if said_done else "closed the connection"
        message = f"the upstream {what} before it gave a finish reason"
        yield ResponseFailed("truncated", message, retryable=True, usage=read_usage(self._usage))

    def _fail(self, error: Any) -> Iterator[Event]:
        self._ended = True
        body = error if isinstance(error, dict) else {"message": str(error)}
        code = str(body.get("code") or body.get("type") or "upstream")
        message = str(body.get("message") or "the upstream reported an error")
        usage = read_usage(self._usage)
        yield ResponseFailed(code, message, _may_pass(code), usage, {"error": error})


def read_usage(raw: Mapping[str, Any] | None) -> Usage | UnsetType:
    """
    Return the usage object of this wire as ours, its own members kept beside.

    xAI counts reasoning outside ``completion_tokens``: its total gives it away.
    """
    if not raw:
        return UNSET
    inputs, outputs = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    output_details = raw.get("completion_tokens_details") or {}
    reasoning = _count(output_details, "reasoning_tokens") or _count(raw, "reasoning_tokens")
    if reasoning and _count(raw, "total_tokens") == inputs + outputs + reasoning:
        outputs += reasoning
    input_details = raw.get("prompt_tokens_details") or {}
    cached = next(
        (n for n in (_count(input_details, "cached_tokens"), _count(raw, "cached_tokens"),
                     _count(raw, "prompt_cache_hit_tokens")) if n), 0,
    )  # fmt: skip
    return Usage(inputs, cached, outputs, reasoning, extra=dict(raw))


def _is_plain(choice: _Choice, delta: _Delta) -> bool:
    """Whether the delta has nothing but content, as nearly every one."""
    return choice.logprobs is None and not (
        delta.reasoning_content or delta.reasoning or delta.tool_calls or delta.refusal
        or delta.reasoning_details or delta.annotations or delta.function_call or delta.audio
    )  # fmt: skip


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _position(state: _ChoiceState, call: _Call) -> str:
    """Return what identifies a call on the wire: its index, else its id, else the one under way."""
    if call.index is not None:
        return str(call.index)
    return call.id or next(reversed(state.calls), "")


def _call_id(said: _Open) -> str:
    return said.start.call_id if isinstance(said.start, ToolCallPart) else ""


def _arguments(arguments: Any) -> str:
    match arguments:
        case None:
            return ""
        case str():
            return arguments
        case _:
            return json.encode(arguments).decode()


def _pieces(content: str | list[Any] | None, text: Part) -> Iterator[tuple[Part, str]]:
    """Yield the texts in a content, which Mistral sends as a list of typed pieces."""
    match content:
        case str() if content:
            yield text, content
        case list():
            for piece in content:
                yield from _piece(piece, text)
        case _:
            pass


def _piece(piece: Any, text: Part) -> Iterator[tuple[Part, str]]:
    match piece:
        case {"type": "thinking", "thinking": str(thought)} if thought:
            yield ReasoningPart(), thought
        case {"type": "thinking", "thinking": list(thoughts)}:
            for _, thought in (found for each in thoughts for found in _piece(each, text)):
                yield ReasoningPart(), thought
        case {"text": str(said)} if said:
            yield text, said
        case _:
            pass


def _signature(details: list[Any]) -> str:
    signatures = (detail.get("signature") for detail in details if isinstance(detail, dict))
    return next((text for text in signatures if isinstance(text, str) and text), "")


def _joined(said: _Open, text: str) -> str:
    """Return ``text`` with a surrogate pair that was cut between two deltas made whole."""
    text, said.half = said.half + text, ""
    if text and "\ud800" <= text[-1] <= "\udbff":
        text, said.half = text[:-1], text[-1]
    return text if text.isascii() else jsontext.scrub(text)


def _is_whole(data: bytes) -> bool:
    if data == _DONE:
        return True
    try:
        return isinstance(jsontext.decode(data), dict)
    except ValueError:
        return False


def _may_pass(code: str) -> bool:
    return code in ("429", "rate_limit_exceeded", "overloaded") or (code.isdecimal() and code >= "500")
