"""
Decisions about calls of tools.

A decision is an append like any other, and that is what makes it safe: of two
that come at once one is stored and the other is a conflict, whoever sent them
and from wherever. It names the digest of what was asked, so that it cannot be
taken for a decision about anything else.
"""

from __future__ import annotations

import time

from ..calls import Call, calls
from ..errors import LocalProtocolError, ReviewDecided, ReviewNotFound
from ..events import ReviewDone
from ..log import Log
from ..requests import Decide
from ..snapshot import Response
from .reading import latest
from .writer import Writer

__all__ = ["decide", "expire", "find"]


def find(response: Response, call_id: str, digest: str = "") -> Call:
    """
    Return the reviewed call of an answer: by its id, or, without one, by the beginning of its digest.

    Raises: ReviewNotFound.
    """
    for call in calls(response).values():
        if call.review is None or (call_id and call.call_id != call_id):
            continue
        if call_id or (digest and call.review.digest.startswith(digest)):
            return call
    raise ReviewNotFound(f"no review of the call {call_id or digest!r} is pending")


async def decide(log: Log, stream: str, decision: Decide) -> None:
    """
    Write down a decision about a call of the latest answer of ``stream``.

    Raises:
        StreamNotFound.
        ReviewNotFound: nobody asks about that call.
        ReviewDecided: it was decided already, or has expired, or the answer has ended,
            or the digest is of something else.
    """
    call = find(await latest(log, stream), decision.call_id)
    assert call.review is not None
    asked = call.review
    if decision.digest not in ("", asked.digest):
        raise ReviewDecided("the digest is not that of the call that is to be decided about", field="digest")
    if call.decision is not None:
        raise ReviewDecided(f"the review of the call {call.call_id!r} was {call.decision.verdict} before")
    if asked.expires_at and asked.expires_at <= time.time():
        raise ReviewDecided(f"the review of the call {call.call_id!r} has expired")
    done = ReviewDone(call.call_id, asked.digest, decision.verdict, decision.by, decision.output)
    await _append(log, stream, [done])


async def expire(log: Log, stream: str, now: float) -> None:
    """Write down which reviews of the latest answer have expired at ``now``, in seconds since 1970."""
    over = [
        ReviewDone(call.call_id, call.review.digest, "expired")
        for call in calls(await latest(log, stream)).values()
        if call.waits and call.review is not None and call.review.expires_at and call.review.expires_at <= now
    ]
    if over:
        await _append(log, stream, over)


async def _append(log: Log, stream: str, events: list[ReviewDone]) -> None:
    writer = Writer(log, stream, owner=False)
    await writer.open()
    try:
        await writer.append(*events)
    except LocalProtocolError as exc:
        raise ReviewDecided("the review was decided meanwhile, or its answer has ended") from exc
