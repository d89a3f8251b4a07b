"""
Where a tool's request may go.

Whoever may define a tool may name any address, and the server stands inside a
network that the author of a tool may not look into. So a request goes to public
addresses alone, or to hosts that the operator has named.

Rule 1: a name is looked up once; the addresses that were checked are those connected to.
Rule 2: one address that is not public spoils the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from . import ToolFault

__all__ = ["Resolve", "addresses", "is_public", "listed", "resolve"]

Resolve = Callable[[str, int], Awaitable[Collection[str]]]
"""Returns the addresses of a host for a port. Raises: OSError."""

_LOW: Final = 2**32 - 1
_CARRIERS: Final = (
    (IPv6Network("::/96"), 0),  # RFC 4291, 2.5.5.1
    (IPv6Network("::ffff:0:0/96"), 0),  # RFC 4291, 2.5.5.2
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
"""IPv6 addresses that stand for an IPv4 address, and how many bits follow it."""
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # RFC 4291, 2.4: all that has been given out
_RELAYS: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))  # RFC 6890, RFC 7526


async def addresses(host: str, port: int, allowed: Collection[str], resolve: Resolve) -> tuple[str, ...]:
    """
    Return the addresses of ``host`` that a tool may connect to, at least one.

    Args:
        allowed: hosts that need not be public; see :func:`listed`.
    Raises:
        ToolFault: there are none, or one is not public.
    """
    try:
        found = tuple(dict.fromkeys(await resolve(host, port)))
    except OSError as exc:
        raise ToolFault(f"the host {host!r} cannot be found") from exc
    if not found:
        raise ToolFault(f"the host {host!r} has no address")
    if not listed(host, port, allowed) and not all(map(is_public, found)):
        raise ToolFault(
            f"the host {host!r} is not on the public internet; if tools may reach it, "
            f"list it in the setting `tool_hosts`"
        )
    return found


def listed(host: str, port: int, names: Collection[str]) -> bool:
    """Whether ``names`` has the host, as ``name`` for any port or as ``name:port``; case does not count."""
    plain = host.strip("[]").rstrip(".").lower()
    spelled = f"[{plain}]" if ":" in plain else plain
    return not {plain, spelled, f"{spelled}:{port}"}.isdisjoint(name.lower() for name in names)


def is_public(address: str) -> bool:
    """Whether anyone on the internet may be meant by ``address``, an IPv4 or IPv6 address."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_public_4(found)
    for network, below in _CARRIERS:
        if found in network:
            return _is_public_4(IPv4Address(int(found) >> below & _LOW))
    return _is_public_6(found)


def _is_public_4(address: IPv4Address) -> bool:
    odd = any(address in network for network in _RELAYS)
    return address.is_global and not address.is_multicast and not odd


def _is_public_6(address: IPv6Address) -> bool:
    return address in _GLOBAL_UNICAST and address.is_global and address.scope_id is None


async def resolve(host: str, port: int) -> Collection[str]:
    """Return what the system's resolver says."""
    with suppress(ValueError):
        return [str(ip_address(host))]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:  # a label that is too long for the system's own IDNA
        raise OSError(str(exc)) from exc
    return [str(where[0]) for *_, where in found]
