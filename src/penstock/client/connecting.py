"""Services of any dialect, as sources of events."""

from __future__ import annotations

from typing import Literal, overload

import httpx2

from ..reconnect import Policy
from .client import Source
from .sync import SyncSource
from .target import OnCut, target_of
from .ways import Name, way

__all__ = ["connect"]


@overload
def connect(
    dialect: Name,
    url: str,
    key: str = "",
    *,
    sync: Literal[False] = False,
    policy: Policy | None = None,
    on_cut: OnCut | None = None,
    http: httpx2.AsyncClient | None = None,
) -> Source: ...
@overload
def connect(
    dialect: Name,
    url: str,
    key: str = "",
    *,
    sync: Literal[True],
    policy: Policy | None = None,
    on_cut: OnCut | None = None,
    http: httpx2.Client | None = None,
) -> SyncSource: ...
def connect(
    dialect: Name,
    url: str,
    key: str = "",
    *,
    sync: bool = False,
    policy: Policy | None = None,
    on_cut: OnCut | None = None,
    http: httpx2.AsyncClient | httpx2.Client | None = None,
) -> Source | SyncSource:
    """
    Return a service that is asked in its own dialect, and whose answers are events of ours.

    An answer that is cut off is gone on with, as far as the service knows how:

    * ``native``: by its cursor.
    * ``mix``, any server of it: by the last id of the session's stream.
    * ``orq``, ``opper``, ``opper/v3``, ``openai-chat``, ``modelrelay``: in front of Penstock only,
      because no other server of theirs has a way. The same request with the same
      ``Idempotency-Key`` (ModelRelay's request id; orq's ``task_id``) is the same answer there, and
      goes on after the last id or, where frames have none, after as many as there were;
      ModelRelay's is heard again from its beginning, up to that frame in silence.
      Elsewhere an answer that is cut off ends in ``response.failed`` (``truncated``).

    Args:
        url: the base URL, as the service's own SDK would be given it.
        key: sent as a bearer token.
        sync: whether to return one for programs without asyncio.
        policy: how persistent to be.
        on_cut: told of each connection that was lost, before the next one.
        http: the HTTP client to use; it is not closed with the source.

    Raises:
        NoSuchPlugin: no service of that dialect can be asked.
    """
    found, target = way(dialect), target_of(url, key, policy, on_cut)
    if sync:
        assert not isinstance(http, httpx2.AsyncClient), "an HTTP client of the same kind"
        return SyncSource(found, target, http)
    assert not isinstance(http, httpx2.Client), "an HTTP client of the same kind"
    return Source(found, target, http)
