"""
What ModelRelay's SDKs expect: below ``/api/v1``, as its own service has it, or below any other prefix.

Ours: a request id that was used before, with the same body and by the same
caller, is the same answer, watched again from its beginning.
"""

from __future__ import annotations

from typing import Final

from ....dialects.modelrelay import DIALECT
from ...endpoint import Endpoint, Front
from . import handles, responses, runs, sessions

__all__ = ["FRONTS"]

_PREFIX: Final = "/api/v1"
_ENDPOINTS: Final = (
    *responses.ENDPOINTS,
    *runs.ENDPOINTS,
    *sessions.ENDPOINTS,
    *handles.ENDPOINTS,
)


def _below(prefix: str, **describes: bool) -> tuple[Endpoint, ...]:
    return tuple(
        endpoint._replace(path=prefix + endpoint.path, describes={**endpoint.describes, **describes})
        for endpoint in _ENDPOINTS
    )


FRONTS: Final = (
    Front(
        DIALECT,
        (*_below(_PREFIX), *_below("", hidden=True), *_below("/{prefix:path}", hidden=True)),
        names_requests="x-modelrelay-request-id",
    ),
)
