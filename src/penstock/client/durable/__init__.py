"""
Durability for SDKs that have none: a transport for the HTTP library they sit on.

``httpx`` and ``httpx2`` let their callers hand them a transport, and SDKs let
theirs hand them a client::

    OpenAI(http_client=httpx2.Client(transport=durable.transport(httpx2)), ...)

What such a client gets from Penstock is one body from beginning to end, through
as many connections as it takes; its reader, the SDK, sees no seam.

* Only whole frames are let out. After a cut the request is made again, with its
  ``Idempotency-Key`` (one is made up where the caller has none) and where it was
  cut off in ``Last-Event-ID``; what comes then goes on behind the last whole frame.
* Nothing is made again that would be done twice (:mod:`.repeat`), and nothing is
  skipped in silence: where the server cannot go on, the body breaks.
* Streams of other servers pass as they are, and so do requests whose body cannot
  be sent twice.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from ...reconnect import Policy
from .passage import Pause, Temper
from .shells import build

__all__ = ["Policy", "async_transport", "transport"]

_USUAL: Final = Policy()


def transport(
    library: ModuleType, inner: Any = None, *, policy: Policy = _USUAL, pause: Pause | None = None
) -> Any:
    """
    Return a transport for ``Client`` of ``library``.

    Args:
        library: the module ``httpx``, or ``httpx2``.
        inner: what carries each single request, for proxies and certificates of one's own; by
            default the library's ``HTTPTransport()``. It is closed with the transport.
        policy: how often and when it is tried again. How long it may take to connect, and an answer
            to begin, is not taken from there: these limits the client has.
        pause: says how many seconds to wait, instead of the policy.
    """
    return build(library, "", inner, Temper(policy, pause))


def async_transport(
    library: ModuleType, inner: Any = None, *, policy: Policy = _USUAL, pause: Pause | None = None
) -> Any:
    """The same for ``AsyncClient``, around the library's ``AsyncHTTPTransport()``."""
    return build(library, "Async", inner, Temper(policy, pause))
