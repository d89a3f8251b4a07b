"""What went wrong with a request, as one of our errors: whichever dialect it was said in."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from .. import errors
from ..errors import (
    AnswerFailed,
    CursorGone,
    Forbidden,
    PenstockError,
    RequestError,
    RequestTooLarge,
    Unauthorized,
    Unprocessable,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ..events import ResponseFailed
from ..wire import jsontext

__all__ = ["failure", "refusal", "unreachable", "wish"]

_KINDS: Final[dict[str, type[PenstockError]]] = {
    kind.code: kind
    for name in reversed(errors.__all__)
    if issubclass(kind := getattr(errors, name), PenstockError) and kind is not AnswerFailed
}
_BY_STATUS: Final[dict[int, type[PenstockError]]] = {
    401: Unauthorized,
    403: Forbidden,
    410: CursorGone,
    413: RequestTooLarge,
    422: Unprocessable,
    429: UpstreamRateLimited,
    502: UpstreamUnavailable,
    503: UpstreamUnavailable,
    504: UpstreamTimeout,
}
_PASSING: Final = (408, 425, 429)
"""Statuses below 500 of what may be otherwise the next time."""


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> PenstockError:
    """Return what an answer that is none means. The names of ``headers`` are lower-case."""
    said = _decoded(body)
    inner = said["error"] if isinstance(said.get("error"), dict) else said
    code = inner.get("code") or _member(inner, "detail").get("code")
    message = next((text for text in (inner.get("message"), said.get("error")) if isinstance(text, str)), "")
    if location := headers.get("location"):
        message = f"{message or 'it'} has moved to {location}"
    field = inner.get("field") or inner.get("param")
    error = _kind(code, status)(
        message or f"the server answered {status} without saying why",
        field=field if isinstance(field, str) else None,
    )
    if isinstance(code, str) and type(error) in (RequestError, UpstreamError):
        error.code = code
    error.status, error.retryable = status, _retryable(status, headers, inner)
    return error


def _kind(code: object, status: int) -> type[PenstockError]:
    known = _KINDS.get(code) if isinstance(code, str) else None
    if known is not None and known not in (PenstockError, RequestError):
        return known
    return _BY_STATUS.get(status) or (UpstreamError if status >= 500 else RequestError)


def _retryable(status: int, headers: Mapping[str, str], said: Mapping[str, Any]) -> bool:
    if isinstance(said.get("retryable"), bool):
        return bool(said["retryable"])
    told = headers.get("x-should-retry")
    return told == "true" if told else status >= 500 or status in _PASSING


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        value = jsontext.decode(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _member(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def wish(headers: Mapping[str, str]) -> float | None:
    """
    Return how many seconds the server asks us to wait, if it does.

    A date counts from the server's own ``Date``: two clocks would have to agree otherwise.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
    try:
        then, now = (parsedate_to_datetime(headers[name]) for name in ("retry-after", "date"))
        return max(0.0, (then - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def unreachable(url: str, why: Exception) -> UpstreamUnavailable:
    """Return what it means that the transport failed."""
    said = str(why) or type(why).__name__
    return UpstreamUnavailable(f"no server answers at {url}: {said}. Is `penstock serve` running?")


def failure(event: ResponseFailed) -> AnswerFailed:
    """Return a failed response as an error."""
    extra = event.extra if isinstance(event.extra, dict) else {}
    status = extra.get("status")
    return AnswerFailed(
        event.code,
        event.message,
        status=status if isinstance(status, int) else 502,
        retryable=event.retryable,
        field=extra.get("field"),
    )
