"""Which server a client talks to, with which key, and how persistently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx2

from .. import __version__
from ..reconnect import Policy
from .following import Cut

__all__ = ["LIMITS", "OnCut", "Target", "target_of", "was_sent"]

LIMITS: Final = httpx2.Limits(max_connections=None)
"""Each answer that is followed holds a connection: none must wait for another to end."""

OnCut = Callable[[Cut], object]
"""Who is told of each connection that was lost, before the next one."""


@dataclass(frozen=True, slots=True)
class Target:
    """See the arguments of :class:`penstock.Client`."""

    url: str
    key: str
    policy: Policy
    on_cut: OnCut

    def at(self, path: str) -> str:
        """Return the address of ``path``, below the URL."""
        return self.url.rstrip("/") + path

    def heads(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a request that has these of its own."""
        bearer = {"authorization": f"Bearer {self.key}"} if self.key else {}
        agent = {"user-agent": f"penstock/{__version__}", "accept-encoding": "identity"}
        return {**agent, **bearer, **headers}

    @property
    def timeout(self) -> httpx2.Timeout:
        """The limits of a request, up to the head of its answer."""
        policy = self.policy
        return httpx2.Timeout(policy.first_byte, connect=policy.connect, pool=None)


def target_of(url: str, key: str, policy: Policy | None, on_cut: OnCut | None) -> Target:
    """Return the target that these arguments of a client mean."""
    return Target(url, key, policy or Policy(), on_cut or (lambda cut: None))


def was_sent(error: httpx2.RequestError) -> bool:
    """Whether a request that failed so may have arrived."""
    return not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
