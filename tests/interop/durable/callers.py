"""Callers in the test's own environment, in either colour, with the durable transport or without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import cached_property
from typing import Any, Final, Self

from penstock.client import durable

__all__ = ["AT_ONCE", "COLOURS", "Caller"]

AT_ONCE: Final = durable.Policy(first=0.0, attempts=50, repeats=50)
"""Waits for nothing; many connections in a row may be too short for a long frame."""
COLOURS: Final = ("sync", "async")


class Caller:
    """Has a client of ``library`` while the ``with`` block runs."""

    def __init__(
        self, library: Any, colour: str, *, durably: bool = True, policy: durable.Policy = AT_ONCE,
        pause: Any = None,
    ) -> None:  # fmt: skip
        """``policy`` and ``pause`` are the transport's."""
        self.is_async = colour == "async"
        self._library, self._durably = library, durably
        self._options = {"policy": policy, "pause": pause}
        self._runner = asyncio.Runner()

    @cached_property
    def http(self) -> Any:
        """The client."""
        library, side = self._library, "Async" if self.is_async else ""
        inner = getattr(library, f"{side}HTTPTransport")(verify=False)  # no certificates are read
        wrap = durable.async_transport if self.is_async else durable.transport
        transport = wrap(library, inner, **self._options) if self._durably else inner
        return getattr(library, f"{side}Client")(transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.is_async:
            self.done(self.http.aclose())
        else:
            self.http.close()
        self._runner.close()

    def done(self, awaitable: Awaitable[Any]) -> Any:
        """Return what comes of ``awaitable``."""

        async def wait() -> Any:
            return await awaitable

        return self._runner.run(wait())
