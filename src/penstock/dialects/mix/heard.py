"""
What was heard of a turn, as events.

A text or a thought ends when something of another kind begins; calls may stay
open side by side. A round ends when the server sets to work, or when the next
message begins.

That a tool has started is held back until more is known about its call: whether
a human is asked first, the wire says only afterwards, and our grammar before.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any, Final

from msgspec import Struct

from ...calls import arguments_of
from ...errors import InvalidJson
from ...events import (
    ROUND_DONE,
    Custom,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ReviewDone,
    ReviewRequested,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolFailed,
    ToolStarted,
)
from ...snapshot import grown

__all__ = ["Heard"]

_ENDED: Final = "the answer ended before the tool did"


class _Open(Struct):
    """A part that has begun and not ended."""

    part_id: str
    start: Part
    text: StringIO

    def done(self) -> Part:
        return grown(self.start, self.text.getvalue())


class Heard:
    """One turn."""

    def __init__(self) -> None:
        self._parts = 0
        self._message = ""
        """The id of the assistant's message that was heard last."""
        self._working = False
        """Whether the server is at work since."""
        self._text = StringIO()
        """The whole text of that message."""
        self._thought = False
        """Whether there is a thought in it."""
        self._said: _Open | None = None
        """The open part that is not a call."""
        self._open_calls: dict[str, _Open] = {}
        self._calls: dict[str, ToolCallPart] = {}
        """Whole calls by id."""
        self._begun: dict[str, str] = {}
        """Calls whose execution has begun and not ended, with their tools."""
        self._reviews: dict[str, ReviewRequested] = {}
        """What was asked and not decided, by call."""
        self._asked: set[str] = set()
        """Permissions, by id."""
        self._ended: set[str] = set()

    # -- what the model says

    def say(self, kind: Part, text: str, message: str) -> Iterator[Event]:
        """Take some of a text or of a thought."""
        yield from self._speaks(message)
        said = self._said
        if said is None or type(said.start) is not type(kind):
            yield from self._hush()
            said = self._said = self._open(kind)
            yield PartStarted(said.part_id, kind)
        if isinstance(kind, ReasoningPart):
            self._thought = True
        else:
            self._text.write(text)
        if text:
            said.text.write(text)
            yield PartDelta(said.part_id, text)

    def call(self, call_id: str, tool: str, message: str) -> Iterator[Event]:
        """Take the beginning of a call."""
        if call_id in self._open_calls or call_id in self._calls:
            return
        yield from self._speaks(message)
        yield from self._hush()
        begun = self._open_calls[call_id] = self._open(ToolCallPart(call_id, tool))
        yield PartStarted(begun.part_id, begun.start)

    def call_piece(self, call_id: str, text: str) -> Iterator[Event]:
        """Take some of a call's arguments."""
        begun = self._open_calls.get(call_id)
        if begun is not None and text:
            begun.text.write(text)
            yield PartDelta(begun.part_id, text)

    def call_whole(self, call_id: str, tool: str, arguments: str, message: str) -> Iterator[Event]:
        """Take a whole call; what its pieces said does not count then."""
        if call_id in self._calls:
            return
        yield from self.call(call_id, tool, message)
        begun = self._open_calls.pop(call_id)
        part = self._calls[call_id] = ToolCallPart(call_id, tool, arguments or begun.text.getvalue())
        yield PartDone(begun.part_id, part)

    # -- what the server does about it

    def execution(self, call_id: str, tool: str) -> Iterator[Event]:
        """Take it that a call is being executed, or that somebody is about to be asked whether it may be."""
        yield from self._works()
        if call_id not in self._ended:
            self._begun.setdefault(call_id, tool)

    def permission(self, id: str, tool: str, arguments: Any) -> Iterator[Event]:
        """Take a question to a human."""
        if id in self._asked:
            return
        self._asked.add(id)
        yield from self._works()
        call_id = self._meant(tool) or id
        self._begun.setdefault(call_id, tool)
        known = self._arguments(call_id) if arguments is None else arguments
        review = self._reviews[call_id] = ReviewRequested(call_id, tool, id, known)
        yield review

    def executed(self, call_id: str, tool: str, success: bool, progress: str) -> Iterator[Event]:
        """Take the end of an execution. Of what was decided before, that is all there is to see."""
        if call_id in self._ended:
            return
        yield from self._works()
        self._ended.add(call_id)
        self._begun.pop(call_id, None)
        review = self._reviews.pop(call_id, None)
        if review is not None:
            yield ReviewDone(call_id, review.digest, "approved" if success else "rejected")
        if success or review is None:
            yield ToolStarted(call_id, tool, self._arguments(call_id))
        yield ToolDone(call_id) if success else ToolFailed(call_id, progress or "the tool failed")

    # -- the end

    def settle(self, content: str, reasoning: str, message: str) -> Iterator[Event]:
        """Take the last message as the server has it in the end."""
        if self._working and content and content != self._text.getvalue():
            yield from self._speaks(message)
        heard, said = self._text.getvalue(), self._said
        rest = content[len(heard) :] if content.startswith(heard) else ""
        if isinstance(said, _Open) and isinstance(said.start, TextPart):
            own = said.text.getvalue()
            if rest or (content and own == heard != content):
                self._said = None
                yield PartDone(said.part_id, TextPart(own + rest if rest else content))
        elif rest:
            yield from self.say(TextPart(), rest, message)
        if reasoning and not self._thought:
            yield from self.say(ReasoningPart(), reasoning, message)

    def close(self) -> Iterator[Event]:
        """Take it that the turn has ended: end what is open in it."""
        yield from self._quiet()
        for call_id, tool in self._begun.items():
            review = self._reviews.get(call_id)
            if review is None:
                yield ToolStarted(call_id, tool, self._arguments(call_id))
            else:
                yield ReviewDone(call_id, review.digest, "expired")
            yield ToolFailed(call_id, _ENDED)

    # -- rounds and parts

    def _speaks(self, message: str) -> Iterator[Event]:
        """The model says something: it may be another message."""
        if self._working or (message and self._message and message != self._message):
            yield from self._works()
            self._working, self._text, self._thought = False, StringIO(), False
        self._message = message or self._message

    def _works(self) -> Iterator[Event]:
        """The model has said what it had to say in this round."""
        if self._working:
            return
        self._working = True
        yield from self._quiet()
        yield Custom(ROUND_DONE, {"usage": {}, **({"id": self._message} if self._message else {})})

    def _quiet(self) -> Iterator[Event]:
        yield from self._hush()
        for call_id, begun in self._open_calls.items():
            part = begun.done()
            assert isinstance(part, ToolCallPart), "nothing else is among them"
            self._calls[call_id] = part
            yield PartDone(begun.part_id, part)
        self._open_calls = {}

    def _hush(self) -> Iterator[Event]:
        """End the open part that is not a call."""
        if self._said is not None:
            said, self._said = self._said, None
            yield PartDone(said.part_id, said.done())

    def _open(self, start: Part) -> _Open:
        self._parts += 1
        return _Open(f"p{self._parts}", start, StringIO())

    # -- calls

    def _meant(self, tool: str) -> str | None:
        """Return the call that a permission is about, which does not say it: the one that began last."""
        begun = [(call_id, name) for call_id, name in self._begun.items() if call_id not in self._reviews]
        said = [
            (call_id, part.tool)
            for call_id, part in self._calls.items()
            if call_id not in self._begun and call_id not in self._ended
        ]
        likely = [call_id for call_id, name in (*said[::-1], *begun) if name == tool]
        return likely[-1] if likely else None

    def _arguments(self, call_id: str) -> Any:
        part = self._calls.get(call_id)
        try:
            return None if part is None else arguments_of(part)
        except InvalidJson:
            return None
