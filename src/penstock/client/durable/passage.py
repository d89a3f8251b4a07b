"""
One request's way through every cut, without I/O: the shells only carry it out.

A passage makes the requests, hears what they bring, and says how long to wait
before the next one, or that there is none.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ...reconnect import Policy, delay
from .repeat import KEY, RELAY_KEY, Repeat, repeat
from .splice import Splice

__all__ = ["Passage", "Pause", "Temper"]

STREAM: Final = "penstock-stream"
OURS: Final = "x-should-retry"
"""A header of each refusal that is Penstock's own, not that of something in front of it."""
_STREAMS: Final = ("text/event-stream", "application/x-ndjson")
_SHOWN: Final = 300
"""Characters of a refusal that an error repeats."""


Pause = Callable[[int, float | None], float]
"""Says how many seconds to wait, given the failures in a row and what ``Retry-After`` asks for."""


class Temper(NamedTuple):
    """How often and when it is tried again."""

    policy: Policy
    pause: Pause | None = None
    """Instead of what the policy says."""

    def wait(self, failures: int, wish: float | None) -> float:
        """Return the seconds to wait after so many failures."""
        if self.pause is not None:
            return self.pause(failures, wish)
        return delay(failures, random.random(), wish, self.policy)


class Passage:
    """A request, and what has come of it so far."""

    def __init__(self, library: Any, request: Any, body: bytes, temper: Temper) -> None:
        """``body``: of the request."""
        self._library, self._request, self._temper = library, request, temper
        self._repeat: Repeat = repeat(request.method, request.url.path, body)
        self._headers = request.headers.copy()
        self._headers["accept-encoding"] = "identity"
        key = secrets.token_hex(16)
        for name in self._repeat.keys:
            self._headers.setdefault(name, self._headers.get(KEY, key))
        self._since: str = request.url.params.get("cursor") or self._headers.get("last-event-id", "")
        self._times: dict[str, float | None] = {}
        self._splice: Splice | None = None
        self._first: Any = None
        """The answer whose body is being continued."""
        self._vouched = False
        """Whether an end of this connection's body can be told from a cut."""
        self._met = -1
        """Frames that had been let out when this connection began to bring more; -1: it is the first."""
        self._failures = 0
        self._heard = 0
        """Frames that had been let out at the last look."""

    # -- what to ask

    def request(self) -> Any:
        """Return the next request."""
        request, splice = self._request, self._splice
        extensions = request.extensions
        self._times = dict(extensions.get("timeout", {}))
        url, headers, stream = request.url, self._headers, request.stream
        if splice is not None:
            self._bear_no_silence()
            headers, url = headers.copy(), self._placed(url, splice.cursor)
            if splice.cursor:
                headers["last-event-id"] = splice.cursor
            if self._repeat.watch is not None:
                stream = self._library.ByteStream(self._repeat.watch)
                headers["content-length"] = str(len(self._repeat.watch))
        extensions = {**extensions, "timeout": self._times}
        return self._library.Request(
            request.method, url, headers=headers, stream=stream, extensions=extensions
        )

    @staticmethod
    def _placed(url: Any, cursor: str) -> Any:
        """Where the address says a cursor, the header is not looked at."""
        return url.copy_set_param("cursor", cursor) if url.params.get("cursor") else url

    def _bear_no_silence(self) -> None:
        """The library looks at this limit whenever it begins to wait for a head, or for a body."""
        self._times["read"] = self._temper.policy.silence

    # -- what came of it

    def lost(self, exc: Exception) -> float:
        """
        Return how long to wait before trying again.

        Raises: ``exc`` itself, or what it means for a body that has begun.
        """
        splice = self._splice
        if not self._may_repeat(exc) or (splice is not None and splice.broken):
            raise exc
        if splice is not None:
            splice.cut()
        if self._another_failure():
            return self._temper.wait(self._failures, None)
        if splice is None:
            raise exc
        why = f"{self._failures} tries in a row have failed, the last with: {str(exc) or type(exc).__name__}"
        raise self._broken(why) from exc

    def _may_repeat(self, exc: Exception) -> bool:
        library, begun = self._library, self._splice is not None
        match exc:
            case library.ConnectError() | library.ConnectTimeout():
                return True  # nobody has heard of the request
            case library.ReadTimeout():
                return begun  # how long an answer may take to begin is the caller's own limit
            case library.NetworkError() | library.RemoteProtocolError() | library.WriteTimeout():
                return begun or self._repeat.safe
            case _:
                return False

    def _another_failure(self) -> bool:
        """Count one, and return whether it is to be borne."""
        heard = 0 if self._splice is None else self._splice.heard
        if heard > self._heard:
            self._heard, self._failures = heard, 0
        self._failures += 1
        policy = self._temper.policy
        return self._failures <= (policy.repeats if self._splice is None else policy.attempts)

    def refused(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Return how long to wait before trying again; None: this is the answer."""
        wish = headers.get("retry-after", "")
        passes = status == 429 or status >= 500
        if OURS in headers:
            passes = status == 503  # any other says that the answer itself has failed, and so has its key
        if self._splice is None:
            passes = passes and bool(wish) and self._repeat.safe
        if passes and self._another_failure():
            return self._temper.wait(self._failures, _seconds(wish))
        return None

    def is_document(self, headers: Mapping[str, str]) -> bool:
        """Whether the answer is one JSON text: that is read here, so that it can be asked for again."""
        return self._repeat.safe and headers.get("content-type", "").startswith("application/json")

    # -- a body

    def opens(self, response: Any) -> bool:
        """Whether the answer is a body that this is to keep whole."""
        headers, safe = response.headers, self._repeat.safe or self._repeat.watch is not None
        media_type = headers.get("content-type", "")
        streams = media_type.startswith(_STREAMS) and STREAM in headers and "content-encoding" not in headers
        if not (safe and streams and response.status_code < 300):
            return False
        over = RELAY_KEY in headers
        self._splice, self._first = Splice(media_type, self._since, starts_over=over), response
        self._begin(response, -1)
        return True

    def _begin(self, response: Any, met: int) -> None:
        self._met = met
        headers, version = response.headers, response.extensions.get("http_version", b"")
        self._vouched = version == b"HTTP/2" or "transfer-encoding" in headers or "content-length" in headers
        self._bear_no_silence()

    def goes_on(self, response: Any) -> bool:
        """Whether an answer continues the body; if not, :meth:`refusal` says why."""
        assert self._splice is not None
        first, headers = self._first.headers, response.headers
        same = all(headers.get(name) == first.get(name) for name in (STREAM, "content-type"))
        if not (same and response.status_code < 300 and "content-encoding" not in headers):
            return False
        self._begin(response, self._splice.heard)
        return True

    def refusal(self, status: int, headers: Mapping[str, str], said: bytes) -> Exception:
        """Return the error for an answer that does not continue the body."""
        if status >= 300:
            return self._broken(f"the server answered {status}: {said.decode(errors='replace')[:_SHOWN]}")
        return self._broken(f"the server answered with something else: {headers.get(STREAM, 'no stream')}")

    def _broken(self, why: str) -> Exception:
        assert self._splice is not None
        place = f"{self._first.headers[STREAM]} after {self._splice.cursor or 'nothing'}"
        error: Exception = self._library.RemoteProtocolError(
            f"cannot go on with stream {place}: {why}", request=self._request
        )
        return error

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived, and return what is whole of it."""
        assert self._splice is not None
        return self._splice.feed(data)

    def end(self) -> bytes:
        """
        A connection has ended without a fault: return the rest of the body.

        Raises:
            RemoteProtocolError: of the library; nothing vouches for it that this is the body's end.
        """
        splice = self._splice
        assert splice is not None
        if not self._vouched and splice.heard != self._met:
            raise self._library.RemoteProtocolError("the connection was closed, which may be an end or a cut")
        return splice.end()


def _seconds(text: str) -> float | None:
    """Return the seconds of a ``Retry-After``; a date is no wish that is worth a clock."""
    return float(text) if text.isascii() and text.isdecimal() else None
