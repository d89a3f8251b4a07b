"""
Following an answer, or a stream, through every cut: all of it but the connections.

:class:`Following` says what to ask for next, is fed what comes, and is told how
each connection ended. It has no clock and no chance of its own. Rules:

1. The decoder outlives the connections, the framing does not: what was received
   before a cut and what comes after it is what one connection would have brought,
   frame by frame, and a frame that was cut in half comes again.
2. Its place is that of the last frame received; its cursor that of the last one
   whose events were all taken. So whoever stores the cursor repeats nothing and
   loses nothing, wherever a loop was left.
3. An end of the body while an answer is under way is a cut.
4. Only a new frame counts as progress. A connection that brings none counts
   against the policy's ``attempts``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from ..dialects import Decoder
from ..errors import CursorGone, PenstockError, RemoteProtocolError, UpstreamUnavailable
from ..events import TERMINAL, Custom, Event, MessageAdded
from ..reconnect import Policy, delay
from ..snapshot import Snapshot, apply
from ..wire import Frame, FrameReader
from .asking import Request
from .refusals import refusal, wish
from .ways import Begun, Way

__all__ = ["Cut", "Following"]

_BETWEEN: Final = (MessageAdded, Custom)
"""What may come while no answer is under way."""


class Cut(NamedTuple):
    """A connection was lost, and is going to be replaced."""

    why: str
    cursor: str
    """After the last event that was taken."""
    attempt: int
    """How many connections in a row have brought nothing new, with this one."""
    wait: float
    """Seconds until the next one."""


class Following:
    """One reader of one answer, or of one stream."""

    def __init__(
        self,
        way: Way,
        begun: Begun,
        policy: Policy,
        *,
        cursor: str = "",
        whole_stream: bool = False,
        owed: bool = True,
        structured: bool = False,
    ) -> None:
        """
        Args:
            cursor: where to go on.
            whole_stream: whether to go on after the end of the next answer.
            owed: whether there must be an answer to come.
            structured: whether its text is the JSON of a data part, where a wire does not tell.
        """
        dialect = way.dialect
        assert dialect.decoder is not None, "else there is no way to it"
        self.stream = begun.stream
        """The name of its stream; empty as long as that is not known."""
        self.cursor = cursor
        """Where one goes on who has taken what this one has."""
        self.snapshot = Snapshot()
        """What it has taken, folded."""
        self.ended = False
        """Whether there is nothing more to ask for."""
        self.policy = policy
        self._way, self._ask, self._whole_stream = way, begun.ask, whole_stream
        self._framings = dialect.framings
        self._decoder: Decoder = dialect.decoder(structured=structured)
        self._place = cursor or begun.place
        self._ready: deque[tuple[str, Event | None]] = deque()
        self._wrong: PenstockError | None = None
        """What is to be raised once all before it is taken."""
        self._reader: FrameReader = self._framings[0].reader()
        self._heads = 0
        """How many bodies have begun."""
        self._resumes = way.anywhere
        self._skip = 0
        """How many frames are to come that were had before."""
        self._under_way = owed
        """Whether an answer has begun, or must yet begin, that has not ended."""
        self._begins = False
        """Whether the request for its events is the one that begins it."""
        self._failures = 0
        self._wish: float | None = None
        if way.place != "id" and not (self._place or "0").isdecimal():
            raise CursorGone(f"a cursor is a number of frames here, not {cursor[:64]!r}", field="cursor")

    # -- a connection

    def request(self) -> Request:
        """Return what to ask for now. With it a new connection begins."""
        replay = self._way.place == "replay"
        self._skip = int(self._place or 0) if replay else 0
        asked = self._ask(self.stream, "" if replay else self._place)
        self._begins = asked.method == "POST" and not self._place
        return asked

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> PenstockError:
        """Return what an answer that has no events means; names of headers are lower-case."""
        self._wish = wish(headers)
        return refusal(status, headers, body)

    def begin(self, headers: Mapping[str, str]) -> None:
        """
        Take the head of an answer; names of headers are lower-case.

        Raises:
            RemoteProtocolError: it is not one of this dialect.
        """
        media_type = _media_type(headers.get("content-type", ""))
        framing = next((f for f in self._framings if _media_type(f.media_type) == media_type), None)
        if framing is None:
            raise RemoteProtocolError(f"the server answers with {media_type!r}, not with a stream")
        self._reader = framing.reader()
        self._heads += 1
        if stream := headers.get("penstock-stream"):
            self.stream = self.stream or stream
            self._resumes = True

    def feed(self, data: bytes) -> None:
        """Take some of the body. What is wrong with it is raised by :meth:`take`, in its place."""
        try:
            for frame in self._reader.feed(data):
                if not self.ended:
                    self._take_in(frame)
        except PenstockError as exc:
            self._wrong, self.ended = exc, True

    def close(self) -> None:
        """
        Take it that the body has ended as it should.

        Raises:
            UpstreamUnavailable: it ended too early.
            CursorGone: it was heard again, and had less than before.
        """
        if self._skip:
            raise CursorGone(f"the answer ended {self._skip} frames before that cursor", field="cursor")
        rest = self._reader.unfinished()
        if not self._resumes or (self._way.quiet and rest is None and self._place):
            self._finish(rest, broken=False)
        elif self._under_way:
            raise UpstreamUnavailable("the body ended before the answer did")
        else:
            self.ended = True

    def cut(self, error: PenstockError, jitter: float) -> Cut | None:
        """
        Take it that there is no connection, or not any more.

        Args:
            jitter: a number in [0, 1).
        Returns:
            how to go on; None: not at all, take what there is.
        Raises:
            PenstockError: ``error``, if it will not pass, or was met too often.
        """
        if not error.retryable:
            raise error
        if self._heads and not self._resumes:
            self._finish(None, broken=True)
            return None
        self._failures += 1
        attempt, wanted, self._wish = self._failures, self._wish, None
        if attempt > (self.policy.repeats if self._begins and not self._heads else self.policy.attempts):
            self._failures = 0
            raise error
        return Cut(str(error), self.cursor, attempt, delay(attempt, jitter, wanted, self._policy()))

    def _policy(self) -> Policy:
        told = getattr(self._reader, "retry", None)
        return self.policy if told is None else replace(self.policy, first=told / 1000)

    # -- events

    @property
    def waiting(self) -> bool:
        """Whether another event has arrived that was not taken."""
        return bool(self._ready)

    def take(self) -> Event | None:
        """
        Return the next event of those that have arrived, if there is one.

        Raises:
            RemoteProtocolError: what came next was none.
        """
        while self._ready:
            cursor, event = self._ready.popleft()
            self.cursor = cursor
            if event is not None:
                apply(self.snapshot, event)
                return event
        if self._wrong is not None:
            wrong, self._wrong = self._wrong, None
            raise wrong
        return None

    def _take_in(self, frame: Frame) -> None:
        if self._skip:
            self._skip -= 1
            return
        before = self._place
        self._place = self._after(frame)
        if self._place != before:
            self._failures = 0
        self._put(list(self._decoder.decode(frame)), before)

    def _after(self, frame: Frame) -> str:
        if self._way.place != "id":
            return str(int(self._place or 0) + 1)
        if 0 < _number(frame.id) < _number(self._place):
            raise CursorGone(
                "the server counts its events anew: they are not those of before", field="cursor"
            )
        return frame.id or self._place

    def _put(self, events: list[Event], before: str) -> None:
        self._ready += [(before, event) for event in events[:-1]]
        self._ready.append((self._place, events[-1] if events else None))
        for event in events:
            if isinstance(event, TERMINAL):
                self._under_way = False
                self.ended = self.ended or not self._whole_stream
            elif not isinstance(event, _BETWEEN):
                self._under_way = True

    def _finish(self, rest: Frame | None, *, broken: bool) -> None:
        self._put(list(self._decoder.close(rest, broken=broken)), self._place)
        self.ended = True


def _number(id: str) -> int:
    """Return the number that an id is, for services that count; 0: it is none."""
    return int(id) if id.isascii() and id.isdecimal() else 0


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()
