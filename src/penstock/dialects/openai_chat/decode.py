"""
Chat chunks to events, for OpenAI and everybody who imitates it.

Rule 1: a part ends when its choice says something of another kind, or ends;
tool calls stay open side by side until their choice ends.
Rule 2: the end of the body is not an end. Only finish reasons are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, ValidationError, convert, to_builtins
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
)
from ...snapshot import grown
from ...wire import Frame, jsontext
from .chunk import NAMED, Call, Choice, Chunk, Delta, Function, decode_chunk
from .usage import read_usage

__all__ = ["Decoder"]

_DONE: Final = b"[DONE]"

_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


_SERVER_ERROR: Final = re.compile("5[0-9]{2}")


class _Open(Struct):
    """A part that has begun and not ended."""

    part_id: str
    start: Part
    choice: int
    text: StringIO
    """What its deltas have said; a buffer, because a list would keep every piece alive."""
    half: str = ""
    """The first half of a surrogate pair, waiting for the second."""
    held: bool = False
    """Whether ``part.started`` waits for the id and the name of a call."""
    minted: bool = False
    """Whether the id of a call is ours."""
    done: bool = False
    """Whether a call has ended before its choice did."""


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

    def decode(self, frame: Frame) -> Iterable[Event]:
        if self._ended:
            return ()
        if frame.data == _DONE:
            return self._storable(self._end(said_done=True))
        chunk = self._chunk(frame.data)
        more = self._more_text(chunk)
        return self._storable(self._events(chunk, frame.data)) if more is None else (more,)

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterator[Event]:
        if unfinished is not None and _is_whole(unfinished.data):
            yield from self.decode(unfinished)
        if not self._ended:
            yield from self._storable(self._end(said_done=False))

    # -- one chunk

    def _more_text(self, chunk: Chunk) -> PartDelta | None:
        """Return the event of a chunk that only adds to an open text, as nearly every chunk does."""
        choices = chunk.choices
        if not choices or len(choices) > 1 or self._surrogates:
            return None
        choice = choices[0]
        delta, state = choice.delta, self._choices.get(choice.index)
        if (
            delta is None
            or state is None
            or state.said is None
            or type(state.said.start) is not type(self._text)
        ):
            return None
        text = delta.content
        if type(text) is not str or not text or not _is_plain(choice, delta):
            return None
        if (
            choice.finish_reason
            or chunk.usage is not None
            or chunk.error is not None
            or chunk.x_groq is not None
        ):
            return None
        state.said.text.write(text)
        return PartDelta(state.said.part_id, text)

    def _events(self, chunk: Chunk, data: bytes) -> Iterator[Event]:
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.x_groq is not None:
            self._usage = chunk.x_groq.usage or self._usage
        if not self._started and (chunk.choices or chunk.error is not None):
            yield self._start(chunk, data)
        for choice in chunk.choices or ():
            yield from self._choice(choice)
            if choice.finish_reason:
                self._learn(data)
        if chunk.error is not None:
            yield from self._fail(chunk.error)

    def _chunk(self, data: bytes) -> Chunk:
        try:
            return decode_chunk(data)
        except (ValidationError, UnicodeDecodeError, RecursionError) as exc:
            raise RemoteProtocolError(f"not a chat chunk: {exc}") from exc
        except DecodeError:
            return self._odd_chunk(data)

    def _odd_chunk(self, data: bytes) -> Chunk:
        """Some vendors cut a surrogate pair in two; only the standard library reads such JSON."""
        try:
            chunk = convert(jsontext.decode(data), Chunk)
        except ValueError as exc:
            raise RemoteProtocolError(f"not a chat chunk: {exc}") from exc
        self._surrogates = True
        return chunk

    def _storable(self, events: Iterator[Event]) -> Iterator[Event]:
        """Let no half of a surrogate pair through: the log is UTF-8."""
        return map(_scrubbed, events) if self._surrogates else events

    def _start(self, chunk: Chunk, data: bytes) -> Event:
        self._started = True
        self._learn(data)
        return ResponseStarted(chunk.id or "", chunk.model or "")

    def _learn(self, data: bytes) -> None:
        """Keep what the chunk says beside what is named here. Only first and last chunks are asked."""
        everything = jsontext.decode(data)
        self._metadata.update(
            (key, value) for key, value in everything.items() if key not in NAMED and value is not None
        )

    def _choice(self, choice: Choice) -> Iterator[Event]:
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

    def _rarely(self, state: _ChoiceState, choice: Choice, delta: Delta) -> Iterator[Event]:
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
            legacy = Call(0, "call_legacy", delta.function_call)
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
                yield from self._close(said, state)
            said = state.said = self._open(kind, choice)
            yield PartStarted(said.part_id, kind, choice)
        if self._surrogates:
            text = _joined(said, text)
        if text:
            said.text.write(text)
            yield PartDelta(said.part_id, text, extra)

    def _call(self, state: _ChoiceState, choice: int, call: Call) -> Iterator[Event]:
        """A call begins once its id and its name are known, or the first of its arguments is here."""
        known = state.calls.get(key := _position(state, call))
        if known is not None and _is_another(known, call):
            yield from self._close_call(state.calls.pop(key), state)
            known = None
        if known is None:
            yield from self._close_whole_calls(state)
            known = state.calls[key] = self._open(ToolCallPart("", ""), choice)
            known.held = True
        if known.done:
            return  # its arguments were whole: nothing but white space can follow
        function = call.function or Function()
        arguments = _arguments(function.arguments)
        if known.held and (_named(known, call.id, function.name) or arguments):
            yield self._begin_call(known)
        if self._surrogates:
            arguments = _joined(known, arguments)
        if arguments:
            known.text.write(arguments)
            yield PartDelta(known.part_id, arguments)

    def _close_whole_calls(self, state: _ChoiceState) -> Iterator[Event]:
        """
        End the calls whose arguments are whole JSON, now that another one begins.

        Most vendors speak them one after another; who waits for a call need not wait for all.
        """
        for said in state.calls.values():
            if not said.done and _is_whole(said.text.getvalue().encode(errors="replace")):
                yield from self._close_call(said, state)

    def _close_call(self, said: _Open, state: _ChoiceState) -> Iterator[Event]:
        if not said.done:
            said.done = True
            yield from self._close(said, state)

    def _begin_call(self, call: _Open) -> Event:
        part = call.start
        assert isinstance(part, ToolCallPart), "only calls are held"
        call.held, call.minted = False, not part.call_id
        if call.minted:  # a call that came without an id is called by its number
            part = call.start = replace(part, call_id=f"call_{len(self._call_ids) + 1}")
        self._call_ids.append(part.call_id)
        return PartStarted(call.part_id, part, call.choice)

    def _cite(self, choice: int, annotation: Mapping[str, Any]) -> Iterator[Event]:
        part = _cited(annotation)
        source = self._open(part, choice)
        yield PartStarted(source.part_id, part, choice)
        yield PartDone(source.part_id, part)

    # -- parts

    def _open(self, start: Part, choice: int) -> _Open:
        self._parts += 1
        return _Open(f"p{self._parts}", start, choice, StringIO())

    def _utter(self, said: _Open) -> Iterator[Event]:
        """Say what waited for more, and will wait no longer."""
        if said.held:
            yield self._begin_call(said)
        if said.half:
            text, said.half = jsontext.scrub(said.half), ""
            said.text.write(text)
            yield PartDelta(said.part_id, text)

    def _close(self, said: _Open, state: _ChoiceState) -> Iterator[Event]:
        yield from self._utter(said)
        part = grown(said.start, said.text.getvalue())
        if isinstance(part, ReasoningPart) and state.details:
            details, state.details = state.details, []
            part = replace(part, signature=_signature(details), extra={"reasoning_details": details})
        yield PartDone(said.part_id, part)

    def _finish(self, state: _ChoiceState) -> Iterator[Event]:
        """End all parts of a choice."""
        for said in _still_open(state):
            yield from self._close(said, state)
        state.said, state.calls = None, {}

    # -- the end

    def _end(self, *, said_done: bool) -> Iterator[Event]:
        lacking = [index for index, state in self._choices.items() if state.finish is None]
        lenient = said_done and not self._finish_required
        if not self._started or (lacking and not lenient):
            yield from self._truncated(said_done)
            return
        for state in self._choices.values():
            state.finish = state.finish or ("tool_calls" if state.calls else "stop")
            yield from self._finish(state)
        self._ended = True
        yield self._done()

    def _done(self) -> ResponseDone:
        raw = [state.finish or "stop" for _, state in sorted(self._choices.items())]
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
        yield from self._break_off()
        what = "said [DONE]" if said_done else "closed the connection"
        message = f"the upstream {what} before it gave a finish reason"
        yield ResponseFailed("truncated", message, retryable=True, usage=read_usage(self._usage))

    def _break_off(self) -> Iterator[Event]:
        """The answer fails: nothing that was said is withheld."""
        self._ended = True
        for state in self._choices.values():
            for said in _still_open(state):
                yield from self._utter(said)

    def _fail(self, error: Any) -> Iterator[Event]:
        yield from self._break_off()
        body = error if isinstance(error, dict) else {"message": str(error)}
        code = str(body.get("code") or body.get("type") or "upstream")
        message = str(body.get("message") or "the upstream reported an error")
        usage = read_usage(self._usage)
        yield ResponseFailed(code, message, _may_pass(code), usage, {"error": error})


def _is_plain(choice: Choice, delta: Delta) -> bool:
    """Whether the delta has nothing but content, as nearly every one."""
    return choice.logprobs is None and not (
        delta.reasoning_content or delta.reasoning or delta.tool_calls or delta.refusal
        or delta.reasoning_details or delta.annotations or delta.function_call or delta.audio
    )  # fmt: skip


def _position(state: _ChoiceState, call: Call) -> str:
    """Return what identifies a call on the wire: its index, else its id, else the one under way."""
    if call.index is not None:
        return str(call.index)
    return call.id or next(reversed(state.calls), "")


def _is_another(known: _Open, call: Call) -> bool:
    """Whether ``call``, on the index of a known one, is another: it has another id."""
    assert isinstance(known.start, ToolCallPart), "only calls have an index"
    return bool(call.id) and not known.minted and known.start.call_id not in ("", call.id)


def _named(known: _Open, call_id: str | None, tool: str | None) -> bool:
    """Take what the id and the name lack, and say whether both are known."""
    part = known.start
    assert isinstance(part, ToolCallPart), "only calls have a name"
    known.start = part = replace(part, call_id=part.call_id or call_id or "", tool=part.tool or tool or "")
    return bool(part.call_id and part.tool)


def _still_open(state: _ChoiceState) -> list[_Open]:
    calls = (call for call in state.calls.values() if not call.done)
    return [*([state.said] if state.said else []), *calls]


def _arguments(arguments: Any) -> str:
    match arguments:
        case None:
            return ""
        case str():
            return arguments
        case _:
            return jsontext.encode(jsontext.scrub(arguments)).decode()


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


def _scrubbed(event: Event) -> Event:
    scrubbed: Event = convert(jsontext.scrub(to_builtins(event)), Event)
    return scrubbed


def _cited(annotation: Mapping[str, Any]) -> SourcePart:
    cited = annotation.get("url_citation")
    url, title = (cited.get("url"), cited.get("title")) if isinstance(cited, dict) else (None, None)
    return SourcePart(
        url if isinstance(url, str) else "", title if isinstance(title, str) else "", dict(annotation)
    )


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
    return code in ("429", "rate_limit_exceeded", "overloaded") or _SERVER_ERROR.fullmatch(code) is not None
