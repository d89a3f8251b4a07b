"""
How a driver is spoken to: requests and replies in JSON, a line each.

A driver is a small program that holds one SDK and tells what its caller sees,
because two releases of one module cannot live in one interpreter. It runs under
the SDK's interpreter, so it knows nothing of Penstock.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import Any

__all__ = ["Asked", "Seen", "method", "serve", "told"]

Asked = dict[str, Any]
"""``call`` (a method's dotted name), ``client`` (the constructor's arguments), ``args``, ``kwargs``,
``colour`` (sync or async), ``take`` (the number of events after which to leave; null: none)."""

Seen = dict[str, Any]
"""``value`` of a call, or ``events`` and ``headers`` of a stream; ``error``, if one was raised."""

_THREADS = 32
"""Calls of the blocking client at once."""
_FIELDS = ("status_code", "status", "status_text", "body", "error")
"""What errors of these SDKs have, beside ``data``."""


def method(client: Any, asked: Asked) -> Any:
    """Return the method that was asked for, in its colour."""
    found = attrgetter(asked["call"] + ("_async" if asked["colour"] == "async" else ""))
    return found(client)


def told(exc: Exception) -> dict[str, Any]:
    """Return what a caller can read from an exception."""
    fields = {name: getattr(exc, name) for name in _FIELDS if hasattr(exc, name)}
    if hasattr(exc, "data"):
        fields["data"] = exc.data.model_dump(mode="json")
    kinds = [kind.__name__ for kind in type(exc).__mro__]
    return {"kind": kinds[0], "kinds": kinds, "message": str(exc), **fields}


def serve(
    perform: Callable[[Asked, Seen], None], perform_async: Callable[[Asked, Seen], Awaitable[None]]
) -> None:
    """Answer requests, any number at once, until there are no more. Both are given what to fill in."""
    asyncio.run(_serve(perform, perform_async))


async def _serve(
    perform: Callable[[Asked, Seen], None], perform_async: Callable[[Asked, Seen], Awaitable[None]]
) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    threads = ThreadPoolExecutor(_THREADS)

    async def reply(asked: Asked) -> None:
        seen: Seen = {"n": asked["n"], "value": None, "events": [], "headers": {}, "error": None}
        try:
            if asked["colour"] == "async":
                await perform_async(asked, seen)
            else:
                await loop.run_in_executor(threads, perform, asked, seen)
        except Exception as exc:
            seen["error"] = told(exc)
        print(json.dumps(seen), flush=True)

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = loop.create_task(reply(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
