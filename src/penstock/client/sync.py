"""
The client that waits: ``client`` says the same with ``await``.

Whatever is decided is decided in the modules without I/O; what is here opens
connections, reads them, and waits between two of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal, Self, TypeVar, Unpack
from uuid import uuid4
from weakref import WeakSet

import httpx2
from msgspec import UNSET

from ..errors import PenstockError, RequestError
from ..events import Event, ReviewRequested
from ..fields import Leaf
from ..reconnect import Policy
from ..snapshot import Response, Snapshot
from . import acts
from .asking import Request, Said, Script, Wanted, body_of
from .folds import Drafts, Fold, Leaves, Pieces, caught_up, final, value_of
from .following import Following
from .refusals import unreachable
from .target import LIMITS, OnCut, Target, target_of, was_sent
from .tries import Tries
from .ways import Asked, Begun, Way, events_of, way

__all__ = ["SyncAnswer", "SyncClient", "SyncSource"]

_T = TypeVar("_T")


class SyncAnswer:
    """
    An answer, or a stream, that is followed through every cut.

    Iterating yields its events, to its end; leaving the loop releases the connection,
    and iterating again goes on where it was left. What comes is told to one loop at a time.
    """

    def __init__(self, line: _Line, following: Following, *, native: bool) -> None:
        self._line, self._following, self._native = line, following, native
        self._readings: WeakSet[Generator[Event, None, None]] = WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the connection. The answer goes on without us; see :meth:`stop`."""
        for reading in list(self._readings):
            reading.close()

    @property
    def stream(self) -> str:
        """The name of its stream; empty as long as that was not said."""
        return self._following.stream

    @property
    def cursor(self) -> str:
        """Where one goes on who has had all that was told so far."""
        return self._following.cursor

    @property
    def snapshot(self) -> Snapshot:
        """All that was told so far, folded."""
        return self._following.snapshot

    # -- reading

    def __iter__(self) -> Iterator[Event]:
        """
        Yield the events, as they come.

        Raises:
            CursorGone: what comes next cannot be had any more.
            StreamNotFound, Unauthorized, Forbidden: the server says so.
            UpstreamUnavailable: there is no connection, however often it was tried; iterate again to go on.
            RemoteProtocolError: what came is not of this dialect.
        """
        reading = self._events()
        self._readings.add(reading)
        return reading

    def text(self, choice: int = 0) -> Iterator[str]:
        """Yield the pieces of the text, as they come. Raises: AnswerFailed, and what iterating raises."""
        return self._folded(Pieces(choice).feed)

    def fields(self) -> Iterator[Leaf]:
        """
        Yield structured output field by field: its path, and a piece of its text or its value.

        Raises:
            InvalidJson: the model wrote something else.
            AnswerFailed: it did not come to its end; and what iterating raises.
        """
        return self._folded(Leaves().feed)

    def into(self, kind: type[_T]) -> Iterator[_T]:
        """
        Yield structured output as ``kind``, with more in it each time.

        What has not come is None, or the field's default. The last one is whole, and valid.

        Args:
            kind: a msgspec struct, a dataclass or a pydantic model.
        Raises:
            OutputInvalid: the whole is none; and what :meth:`fields` raises.
        """
        return self._folded(Drafts(kind).feed)

    def final(self) -> Response:
        """Wait for the end, and return the answer. Raises: AnswerFailed, and what iterating raises."""
        for _ in self:
            pass
        return final(self._following.snapshot)

    def value(self, kind: type[_T]) -> _T:
        """Wait for the end, and return structured output as ``kind``. Raises: OutputInvalid, as `final`."""
        return value_of(self.final(), kind)

    def _folded(self, fold: Fold[_T]) -> Iterator[_T]:
        with closing(self._events()) as events:
            self._readings.add(events)
            fold = caught_up(fold, self._following.snapshot)
            for event in events:
                yield from fold(event, self._following.waiting)

    def _events(self) -> Generator[Event, None, None]:
        """Yield what comes, over as many connections as it takes."""
        following, target = self._following, self._line.target
        while True:
            while (event := following.take()) is not None:
                yield event
            if following.ended:
                return
            try:
                with self._line.opened(following.request()) as response:
                    if not response.is_success:
                        body = response.read()
                        raise following.refused(response.status_code, response.headers, body)
                    following.begin(response.headers)
                    for data in response.iter_bytes():
                        following.feed(data)
                        while (event := following.take()) is not None:
                            yield event
                        if following.ended:
                            break
                    else:
                        following.close()
            except httpx2.RequestError as exc:
                cut = following.cut(unreachable(target.url, exc), random.random())
            except PenstockError as exc:
                cut = following.cut(exc, random.random())
            else:
                continue
            if cut is not None:
                target.on_cut(cut)
                time.sleep(cut.wait)

    # -- acting

    def stop(self) -> bool:
        """End the answer, for all; return whether it was under way. Raises: Forbidden, StreamNotFound."""
        return self._line.perform(acts.stop(self._named))

    def reviews(self) -> Sequence[ReviewRequested]:
        """Return what waits for a human in its stream."""
        return self._line.perform(acts.reviews(self._named))

    def decide(
        self, review: ReviewRequested, verdict: Literal["approved", "rejected"], *, output: Any = UNSET
    ) -> None:
        """Decide about a call, as ``review`` asks; see :meth:`SyncClient.decide`."""
        self._line.perform(acts.decide(self._named, review, verdict, output))

    @property
    def _named(self) -> str:
        if not self._native:
            raise RequestError("only a native client can do more with a stream than read it")
        return self._following.stream


class SyncClient:
    """
    A client of a Penstock server, for programs without asyncio; the others have :class:`penstock.Client`.

    It may be used by several threads; an answer, by one.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8017",
        key: str = "",
        *,
        policy: Policy | None = None,
        on_cut: OnCut | None = None,
        http: httpx2.Client | None = None,
    ) -> None:
        """
        Args:
            url: the server.
            key: an API key, if the server has keys.
            policy: how persistent to be.
            on_cut: told of each connection that was lost, before the next one.
            http: the HTTP client to use; it is not closed with this one.
        """
        self._line = _Line(target_of(url, key, policy, on_cut), http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections."""
        self._line.close()

    # -- answers

    def start(self, said: Said, **wanted: Unpack[Wanted]) -> SyncAnswer:
        """
        Ask for an answer, in a stream of its own.

        Raises:
            RequestError, or one of its kinds: the server refused.
            UpstreamUnavailable: no server answers.
        """
        return self._line.start(way("native"), said, wanted)

    def send(self, stream: str, said: Said) -> SyncAnswer:
        """
        Say something in a stream that is there, also the results of tools; return its answer.

        Raises: StreamNotFound, StreamSealed, StreamBusy, CallsPending, and as :meth:`start`.
        """
        place = self._line.perform(acts.say(stream, said))
        return self._line.follow(way("native"), Begun(events_of(stream, until_done=True), stream, place))

    def follow(self, stream: str, cursor: str = "", *, until_done: bool = False) -> SyncAnswer:
        """
        Follow a stream from its beginning, or after ``cursor``, to its end.

        Nothing is asked for yet. Args: until_done: only to the end of the next answer.
        """
        begun = Begun(events_of(stream, until_done=until_done), stream)
        return self._line.follow(way("native"), begun, cursor, whole_stream=not until_done, owed=False)

    # -- streams

    def stop(self, stream: str) -> bool:
        """End the answer under way; return whether there was one. Raises: Forbidden, StreamNotFound."""
        return self._line.perform(acts.stop(stream))

    def reviews(self, stream: str) -> Sequence[ReviewRequested]:
        """Return what waits for a human in a stream. Raises: StreamNotFound."""
        return self._line.perform(acts.reviews(stream))

    def decide(
        self,
        stream: str,
        review: ReviewRequested,
        verdict: Literal["approved", "rejected"],
        *,
        output: Any = UNSET,
    ) -> None:
        """
        Decide about a call, as ``review`` asks: what it shows is what is decided about.

        Args:
            output: with ``approved``: what counts as the tool's result, instead of running it.
        Raises: ReviewNotFound, ReviewDecided (somebody was first), Forbidden, StreamNotFound.
        """
        self._line.perform(acts.decide(stream, review, verdict, output))

    def list(self) -> Iterator[acts.Listed]:
        """Yield the streams there are, the youngest first."""
        before: str | None = None
        while True:
            page = self._line.perform(acts.listing(before))
            yield from page.streams
            if page.next is None:
                return
            before = page.next

    def delete(self, stream: str) -> None:
        """Forget a stream; who reads it is cut off. Raises: StreamNotFound, Forbidden."""
        self._line.perform(acts.delete(stream))


class SyncSource:
    """A service of any dialect that can be asked and read; see :func:`penstock.connect`."""

    def __init__(self, way: Way, target: Target, http: httpx2.Client | None) -> None:
        self._way, self._line = way, _Line(target, http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections."""
        self._line.close()

    def start(self, said: Said, **wanted: Unpack[Wanted]) -> SyncAnswer:
        """
        Ask for an answer; most services begin it when it is iterated over.

        Raises: RequestError (it cannot be asked for in this dialect), and as :meth:`SyncClient.start`.
        """
        return self._line.start(self._way, said, wanted)

    def follow(self, stream: str, cursor: str = "", *, agent: str = "") -> SyncAnswer:
        """
        Go on with a stream that is there: native, a session of Mix, a task of an ``agent`` of orq.

        Raises: RequestError (in this dialect nothing can be found again).
        """
        if self._way.attach is None:
            raise RequestError(f"in {self._way.name}, an answer is found again by its request alone")
        begun = Begun(self._way.attach(stream, agent), stream)
        return self._line.follow(self._way, begun, cursor, whole_stream=self._way.endless, owed=False)


class _Line:
    """The connections to one server."""

    def __init__(self, target: Target, http: httpx2.Client | None) -> None:
        self.target, self._own = target, http is None
        self._http = http or httpx2.Client(limits=LIMITS)

    def close(self) -> None:
        if self._own:
            self._http.close()

    def start(self, way: Way, said: Said, wanted: Wanted) -> SyncAnswer:
        asked = Asked(body_of(said, wanted), wanted.get("idempotency_key") or str(uuid4()))
        return self.follow(way, self.perform(way.begin(asked)), structured=asked.structured)

    def follow(self, way: Way, begun: Begun, cursor: str = "", **known: bool) -> SyncAnswer:
        following = Following(way, begun, self.target.policy, cursor=cursor, **known)
        return SyncAnswer(self, following, native=way.name == "native")

    def perform(self, script: Script[_T]) -> _T:
        """Carry a script out, and return what it comes to. Raises: PenstockError."""
        try:
            request = next(script)
            while True:
                try:
                    reply = self._ask(request)
                except PenstockError as exc:
                    request = script.throw(exc)
                else:
                    request = script.send(reply)
        except StopIteration as stop:
            result: _T = stop.value
            return result

    def _ask(self, request: Request) -> Any:
        tries = Tries(request, self.target.policy)
        while True:
            try:
                with self.opened(request) as response:
                    return tries.answered(response.status_code, response.headers, response.read())
            except httpx2.RequestError as exc:
                wait = tries.failed(unreachable(self.target.url, exc), random.random(), sent=was_sent(exc))
            except PenstockError as exc:
                wait = tries.failed(exc, random.random())
            time.sleep(wait)

    @contextmanager
    def opened(self, request: Request) -> Iterator[httpx2.Response]:
        """Send a request; from the head of its answer on, silence has a limit of its own."""
        target = self.target
        sent = self._http.build_request(
            request.method, target.at(request.path), headers=target.heads(request.headers),
            content=request.body or None, timeout=target.timeout,
        )  # fmt: skip
        response = self._http.send(sent, stream=True)
        sent.extensions["timeout"]["read"] = target.policy.silence
        try:
            yield response
        finally:
            response.close()
