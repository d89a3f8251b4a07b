"""
What a client does with streams besides reading them, as scripts: see :data:`~.asking.Script`.

What may be done twice without harm is simply asked for again. What may not -- a
message, a decision -- is looked for in the stream before it is sent a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlencode

from msgspec import UNSET, Struct, convert, to_builtins

from ..dialects.native import read_message
from ..errors import ReviewDecided, StreamBusy, UpstreamError
from ..events import Event, ReviewDone, ReviewRequested
from .asking import Request, Said, Script, messages_of, posted

__all__ = ["Listed", "Page", "begin", "decide", "delete", "listing", "path_of", "reviews", "say", "stop"]

Verdict = Literal["approved", "rejected"]

_TRIES: Final = 3
"""How often something is sent that must not happen twice; between two tries it is looked for."""


class Listed(Struct, frozen=True):
    """A stream in a list. Times are seconds since 1970."""

    id: str
    cursor: str
    """After its latest event."""
    sealed: bool
    """Whether nothing can be added any more."""
    created_at: float
    updated_at: float


class Page(NamedTuple):
    """Some of the streams there are."""

    streams: list[Listed]
    next: str | None
    """What to ask for the next ones with."""


def path_of(stream: str, *rest: str) -> str:
    """Return the path of a stream, or of something in it."""
    return "/".join(("/v1/streams", *(quote(name, safe="") for name in (stream, *rest))))


def begin(body: Mapping[str, Any], key: str) -> Script[str]:
    """Begin a stream and return its name."""
    begun = yield posted("/v1/streams", body, idempotency_key=key)
    return str(begun["id"])


def say(stream: str, said: Said) -> Script[str]:
    """Say something in a stream; return the cursor after which it, and its answer, stand."""
    body = {"input": messages_of(said)}
    ours = [(message.role, list(to_builtins(message.parts))) for message in read_message(body)]
    before = yield Request("GET", path_of(stream))
    unsure: UpstreamError | None = None
    for _ in range(_TRIES):
        try:
            yield posted(path_of(stream, "messages"), body, again=False)
        except UpstreamError as exc:
            unsure = exc
        except StreamBusy:
            if unsure is None:
                raise
        else:
            return str(before["cursor"])
        now = yield Request("GET", path_of(stream))
        added = now["turns"][len(before["turns"]) :][: len(ours)]
        if [(turn.get("role"), turn.get("parts")) for turn in added] == ours:
            return str(before["cursor"])
    assert unsure is not None, "else it was said, or refused"
    raise unsure


def stop(stream: str) -> Script[bool]:
    """End the answer under way; return whether there was one."""
    stopped = yield posted(path_of(stream, "stop"), {})
    return bool(stopped["stopping"])


def delete(stream: str) -> Script[None]:
    """Forget a stream."""
    yield Request("DELETE", path_of(stream))


def listing(before: str | None) -> Script[Page]:
    """Return some of the streams that were begun before ``before``, the youngest first."""
    query = "" if before is None else f"?{urlencode({'before': before})}"
    page = yield Request("GET", f"/v1/streams{query}")
    return Page(convert(page["streams"], list[Listed]), page["next"])


def reviews(stream: str) -> Script[list[ReviewRequested]]:
    """Return what waits for a human in a stream."""
    said = yield from _tools(stream, ended=False)
    decided = {event.call_id for event in said if isinstance(event, ReviewDone)}
    asked = [event for event in said if isinstance(event, ReviewRequested)]
    return [event for event in asked if event.call_id not in decided]


def decide(stream: str, review: ReviewRequested, verdict: Verdict, output: Any) -> Script[None]:
    """Decide about the call that ``review`` asks about."""
    body = {"verdict": verdict, "digest": review.digest, **({} if output is UNSET else {"output": output})}
    unsure: UpstreamError | None = None
    for _ in range(_TRIES):
        try:
            yield posted(path_of(stream, "reviews", review.call_id), body, again=False)
        except UpstreamError as exc:
            unsure = exc
        except ReviewDecided:
            said = yield from _tools(stream, ended=True)
            if unsure is None or not any(_is_ours(event, review, verdict) for event in said):
                raise
            return
        else:
            return
    assert unsure is not None, "else it was decided, or refused"
    raise unsure


def _is_ours(event: Event, review: ReviewRequested, verdict: Verdict) -> bool:
    return isinstance(event, ReviewDone) and (event.call_id, event.digest, event.verdict) == (
        review.call_id,
        review.digest,
        verdict,
    )


def _tools(stream: str, *, ended: bool) -> Script[list[Event]]:
    """Return what happened to the calls of answers, if wanted also of those that have ended."""
    shown = yield Request("GET", path_of(stream))
    answers = [turn for turn in shown["turns"] if turn["type"] == "response" and (ended or "end" not in turn)]
    return convert([event for turn in answers for event in turn.get("tools", ())], list[Event])
