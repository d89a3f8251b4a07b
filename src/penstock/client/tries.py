"""One request, as often as it takes: without the sending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import PenstockError, RemoteProtocolError, UpstreamError
from ..reconnect import Policy, delay
from ..wire import jsontext
from .asking import Request
from .refusals import refusal, wish

__all__ = ["Tries"]


class Tries:
    """The tries of one request."""

    def __init__(self, request: Request, policy: Policy) -> None:
        self._again, self._policy = request.again, policy
        self._failed = 0
        self._wish: float | None = None

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> Any:
        """
        Return what an answer says, as a plain value.

        Raises:
            PenstockError: it is a refusal, or no JSON.
        """
        if not 200 <= status < 300:
            self._wish = wish(headers)
            raise refusal(status, headers, body)
        try:
            return jsontext.decode(body) if body else None
        except ValueError as exc:
            raise RemoteProtocolError(f"the server's answer is not JSON: {exc}") from exc

    def failed(self, error: PenstockError, jitter: float, *, sent: bool = True) -> float:
        """
        Return after how many seconds to try again.

        Args:
            jitter: a number in [0, 1).
            sent: whether it may have arrived.
        Raises:
            PenstockError: ``error``, if it is not to be tried again.
        """
        self._failed += 1
        unsure = sent and not self._again and isinstance(error, UpstreamError)
        if unsure or not error.retryable or self._failed > self._policy.repeats:
            raise error
        wanted, self._wish = self._wish, None
        return delay(self._failed, jitter, wanted, self._policy)
