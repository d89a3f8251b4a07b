"""
Following a stream through every cut.

A body that ends cleanly has said everything; anything else is a cut, and the
reader goes on after the last cursor it was given. It gives up after so many
tries in a row without a single new frame.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import httpx2
from msgspec import DecodeError, json

from ..dialects.native import DIALECT, cursor_of
from ..errors import AnswerFailed, PenstockError, UpstreamUnavailable
from ..events import Event
from ..reconnect import delay
from ..wire import Frame
from ..wire.sse import SSE, SSEReader

__all__ = ["Told", "decide", "follow", "frames", "pending", "start"]

_TRIES: Final = 8
_SILENCE: Final = 60.0
"""Seconds without a byte after which a connection counts as dead; servers send keepalives more often."""


class Told(NamedTuple):
    """An event, and the cursor after it."""

    cursor: str
    event: Event


def start(http: httpx2.Client, body: Mapping[str, Any], *, idempotency_key: str = "") -> dict[str, Any]:
    """
    Begin a stream and return what the server says of it: ``id``, ``response``, ``events``.

    Raises:
        PenstockError: the server refused, or cannot be reached.
    """
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    try:
        response = http.post("/v1/streams", json=dict(body), headers=headers)
    except httpx2.TransportError as exc:
        raise _unreachable(http, exc) from exc
    _check(response)
    begun: dict[str, Any] = response.json()
    return begun


def pending(http: httpx2.Client, stream: str) -> list[dict[str, Any]]:
    """
    Return the reviews that wait for a human in ``stream``, as its events say them.

    Raises:
        PenstockError: the server refused, or cannot be reached.
    """
    try:
        response = http.get(f"/v1/streams/{stream}")
    except httpx2.TransportError as exc:
        raise _unreachable(http, exc) from exc
    _check(response)
    answers = [turn for turn in response.json()["turns"] if turn["type"] == "response" and "end" not in turn]
    events = [event for answer in answers for event in answer.get("tools", ())]
    decided = {event["call_id"] for event in events if event["type"] == "tool.review.done"}
    asked = [event for event in events if event["type"] == "tool.review.requested"]
    return [event for event in asked if event["call_id"] not in decided]


def decide(
    http: httpx2.Client, stream: str, review: Mapping[str, Any], verdict: Literal["approved", "rejected"]
) -> None:
    """
    Decide about a call, as ``review`` asks for it.

    Raises:
        PenstockError: the server refused (somebody else was first, say), or cannot be reached.
    """
    body = {"verdict": verdict, "digest": review["digest"]}
    try:
        response = http.post(f"/v1/streams/{stream}/reviews/{review['call_id']}", json=body)
    except httpx2.TransportError as exc:
        raise _unreachable(http, exc) from exc
    _check(response)


def follow(
    http: httpx2.Client,
    stream: str,
    cursor: str = "",
    *,
    until_done: bool = False,
    on_cut: Callable[[str], None] = lambda why: None,
) -> Iterator[Told]:
    """
    Yield the events of ``stream`` after ``cursor``, as they come, to its end.

    Args:
        until_done: stop at the end of the next answer, not of the stream.
        on_cut: told why, each time the connection was lost and is tried again.
    Raises:
        PenstockError: the server refused, or cannot be reached any more.
    """
    assert DIALECT.decoder is not None
    path = f"/v1/streams/{stream}/events" + ("?until=done" if until_done else "")
    decode = DIALECT.decoder().decode
    failures = 0
    while True:
        try:
            for frame in frames(http, path, cursor):
                cursor, failures = cursor_of(frame), 0
                for event in decode(frame):
                    yield Told(cursor, event)
        except httpx2.TransportError as exc:
            why = str(exc) or type(exc).__name__
        except PenstockError as exc:
            if not exc.retryable:
                raise
            why = str(exc)
        else:
            return
        failures += 1
        if failures > _TRIES:
            raise UpstreamUnavailable(f"no connection to {http.base_url} any more: {why}")
        on_cut(why)
        time.sleep(delay(failures, random.random()))


def frames(http: httpx2.Client, path: str, cursor: str = "") -> Iterator[Frame]:
    """
    Yield the frames of one connection.

    Raises:
        httpx2.TransportError: it was cut.
        PenstockError: the server refused.
    """
    headers = {"accept": SSE.media_type, **({"last-event-id": cursor} if cursor else {})}
    timeout = httpx2.Timeout(10.0, read=_SILENCE)
    with http.stream("GET", path, headers=headers, timeout=timeout) as response:
        _check(response)
        reader = SSEReader()
        for data in response.iter_raw():
            yield from reader.feed(data)


def _check(response: httpx2.Response) -> None:
    """Raises: PenstockError (the answer is an error)."""
    if response.status_code < 400:
        return
    data = response.read()
    try:
        error = json.decode(data)["error"]
        code, message, retryable = error["code"], error["message"], bool(error.get("retryable"))
    except (DecodeError, KeyError, TypeError):
        code, message = "http", f"the server answered {response.status_code} without saying why"
        retryable = response.status_code >= 500
    raise AnswerFailed(code, message, status=response.status_code, retryable=retryable)


def _unreachable(http: httpx2.Client, exc: Exception) -> PenstockError:
    return UpstreamUnavailable(f"no server answers at {http.base_url}: {exc}. Is `penstock serve` running?")
