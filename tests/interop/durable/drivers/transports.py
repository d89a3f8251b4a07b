"""What drivers hand their SDKs: clients of httpx that never lose an answer, and wait for nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx

from penstock.client import durable

__all__ = ["clients", "given"]

AT_ONCE = durable.Policy(first=0.0, attempts=50, repeats=50)
"""Many connections in a row are too short for a long frame."""


def given(arguments: str) -> tuple[dict[str, Any], bool]:
    """Return the arguments of a client, and whether it is to be durable."""
    found = json.loads(arguments)
    return found, found.pop("durable")


def clients(**options: Any) -> tuple[httpx.Client, httpx.AsyncClient]:
    """Return a client in each colour."""
    return (
        httpx.Client(transport=durable.transport(httpx, policy=AT_ONCE), **options),
        httpx.AsyncClient(transport=durable.async_transport(httpx, policy=AT_ONCE), **options),
    )
