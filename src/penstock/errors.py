"""
Every error this package raises on purpose.

* :exc:`PenstockError`
    * :exc:`ProtocolError` -- somebody broke a grammar
        * :exc:`LocalProtocolError` -- we did: a bug on this side
        * :exc:`RemoteProtocolError` -- the peer did: its bytes are wrong
            * :exc:`FrameTooLarge`
            * :exc:`InvalidJson`
    * :exc:`RequestError` -- the caller asked for something that cannot be
        * :exc:`Unprocessable`
        * :exc:`RequestTooLarge`
        * :exc:`Unauthorized`
        * :exc:`Forbidden`
        * :exc:`ModelNotFound`
        * :exc:`AgentNotFound`
        * :exc:`AgentExists`
        * :exc:`IdempotencyClash`
        * :exc:`ReviewNotFound`
        * :exc:`ReviewDecided` -- somebody else was first, or it was too late
        * :exc:`CallsPending`
        * :exc:`StreamBusy`
        * :exc:`Overloaded`
    * :exc:`UpstreamError` -- the model endpoint answered, and the answer was no
        * :exc:`UpstreamUnavailable`
        * :exc:`UpstreamTimeout`
        * :exc:`UpstreamRateLimited`
        * :exc:`OutputInvalid`
    * :exc:`AnswerFailed` -- for callers who wait for the whole answer
    * :exc:`LogError` -- the durable log refused
        * :exc:`StreamNotFound`
        * :exc:`StreamSealed`
        * :exc:`Conflict` -- another writer got there first
        * :exc:`CursorGone` -- the position asked for no longer exists
        * :exc:`LogUnavailable` -- full, locked, read-only: the cause may pass
        * :exc:`LogCorrupt` -- what is stored cannot be read
        * :exc:`LogVersion` -- the file belongs to another version of Penstock
    * :exc:`Draining` -- the server is going away
    * :exc:`ConfigError` -- a setting is wrong
    * :exc:`NoSuchPlugin`

A docstring is the default message. ``code`` is what travels on the wire,
``status`` is a hint for HTTP, ``retryable`` is the only thing a retry loop may
look at, ``field`` names what was wrong in a request or in the configuration.
"""

from __future__ import annotations

__all__ = [
    "AgentExists",
    "AgentNotFound",
    "AnswerFailed",
    "CallsPending",
    "ConfigError",
    "Conflict",
    "CursorGone",
    "Draining",
    "Forbidden",
    "FrameTooLarge",
    "IdempotencyClash",
    "InvalidJson",
    "LocalProtocolError",
    "LogCorrupt",
    "LogError",
    "LogUnavailable",
    "LogVersion",
    "ModelNotFound",
    "NoSuchPlugin",
    "OutputInvalid",
    "Overloaded",
    "PenstockError",
    "ProtocolError",
    "RemoteProtocolError",
    "RequestError",
    "RequestTooLarge",
    "ReviewDecided",
    "ReviewNotFound",
    "StreamBusy",
    "StreamNotFound",
    "StreamSealed",
    "Unauthorized",
    "Unprocessable",
    "UpstreamError",
    "UpstreamRateLimited",
    "UpstreamTimeout",
    "UpstreamUnavailable",
]


class PenstockError(Exception):
    """Something went wrong in Penstock."""

    code: str = "internal"
    status: int = 500
    retryable: bool = False

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").partition("\n")[0])
        self.field = field
        self.request_id = ""
        """What the caller called the request that this is about, if it did."""

    @property
    def message(self) -> str:
        return str(self.args[0])


class ProtocolError(PenstockError):
    """A peer broke a grammar. Never raised bare; see its two children."""


class LocalProtocolError(ProtocolError):
    """This side tried to emit something the grammar forbids."""

    code = "bug"


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that its own dialect does not allow."""

    code = "bad_upstream"
    status = 502


class FrameTooLarge(RemoteProtocolError):
    """One frame is larger than the limit for frames."""

    code = "frame_too_large"


class InvalidJson(RemoteProtocolError):
    """The text is not JSON."""

    code = "invalid_json"


class RequestError(PenstockError):
    """The request cannot be carried out as it stands."""

    code = "invalid_request"
    status = 400


class Unprocessable(RequestError):
    """The request is well-formed, and what it says cannot be."""

    status = 422


class RequestTooLarge(RequestError):
    """The request body is larger than the server accepts."""

    code = "request_too_large"
    status = 413


class Unauthorized(RequestError):
    """There is no API key in the request, or it is not one of ours."""

    code = "invalid_api_key"
    status = 401


class Forbidden(RequestError):
    """The API key does not have the scope for this."""

    code = "forbidden"
    status = 403


class ModelNotFound(RequestError):
    """No upstream serves a model of that name."""

    code = "model_not_found"
    status = 404


class AgentNotFound(RequestError):
    """There is no agent, or no revision of it, of that name or id."""

    code = "agent_not_found"
    status = 404


class AgentExists(RequestError):
    """There is an agent of that name already."""

    code = "agent_exists"
    status = 409


class IdempotencyClash(RequestError):
    """This Idempotency-Key was used before, with another body."""

    code = "idempotency_clash"
    status = 409


class ReviewNotFound(RequestError):
    """No review of this tool call is pending."""

    code = "review_not_found"
    status = 404


class ReviewDecided(RequestError):
    """The review was decided before."""

    code = "review_decided"
    status = 409


class CallsPending(RequestError):
    """Calls of tools wait for their results."""

    code = "calls_pending"
    status = 400


class StreamBusy(RequestError):
    """An answer is under way in this stream."""

    code = "stream_busy"
    status = 409


class Overloaded(RequestError):
    """The server has as many answers under way as it may."""

    code = "overloaded"
    status = 503
    retryable = True


class UpstreamError(PenstockError):
    """The upstream refused or failed the request."""

    code = "upstream"
    status = 502

    def __init__(
        self, message: str = "", *, field: str | None = None, upstream_status: int = 0,
        retry_after: float | None = None, body: object = None,
    ) -> None:  # fmt: skip
        super().__init__(message, field=field)
        self.upstream_status = upstream_status
        self.retry_after = retry_after
        """Seconds the upstream asked us to wait, if it did."""
        self.body = body
        """The upstream's own error object, as decoded JSON, if it sent one."""


class UpstreamUnavailable(UpstreamError):
    """The upstream cannot be reached."""

    code = "upstream_unavailable"
    retryable = True


class UpstreamTimeout(UpstreamError):
    """The upstream was silent for longer than its limit."""

    code = "timeout"
    status = 504
    retryable = True


class UpstreamRateLimited(UpstreamError):
    """The upstream answered 429."""

    code = "rate_limit_exceeded"
    status = 429
    retryable = True


class OutputInvalid(UpstreamError):
    """The answer does not fit the output schema."""

    code = "output_invalid"


class AnswerFailed(PenstockError):
    """The answer ended in ``response.failed``; code and status are that event's."""

    def __init__(
        self, code: str, message: str, *, status: int = 502, retryable: bool = False, field: str | None = None
    ) -> None:
        super().__init__(message, field=field)
        self.code, self.status, self.retryable = code, status, retryable


class LogError(PenstockError):
    """The durable log refused."""

    code = "log"


class StreamNotFound(LogError):
    """There is no stream of that name."""

    code = "stream_not_found"
    status = 404


class StreamSealed(LogError):
    """The stream is sealed; nothing can be appended any more."""

    code = "sealed"
    status = 409


class Conflict(LogError):
    """Another writer appended first."""

    code = "conflict"
    status = 409
    retryable = True


class CursorGone(LogError):
    """The position asked for was trimmed, or belongs to another epoch."""

    code = "cursor_gone"
    status = 410


class LogUnavailable(LogError):
    """The log cannot be read or written just now."""

    code = "log_unavailable"
    status = 503
    retryable = True


class LogCorrupt(LogError):
    """What is stored cannot be read back."""

    code = "log_corrupt"


class LogVersion(LogError):
    """The log was written by another version of Penstock."""

    code = "log_version"


class Draining(PenstockError):
    """The server is shutting down and takes no new work."""

    code = "draining"
    status = 503
    retryable = True


class ConfigError(PenstockError):
    """A setting is wrong."""

    code = "config"


class NoSuchPlugin(PenstockError, LookupError):
    """No plugin of that name is installed."""

    code = "no_such_plugin"
    status = 400
