"""PyPI ``orq-ai-sdk``, of whichever release its interpreter has; it takes clients."""

from __future__ import annotations

from functools import cache
from typing import Any

from orq_ai_sdk import Orq  # type: ignore[import-not-found]

from interop.durable.drivers.transports import clients, given
from interop.opper.drivers.lines import serve
from interop.orq.drivers import pypi


@cache
def client(arguments: str) -> Any:
    options, durable = given(arguments)
    if durable:
        options["client"], options["async_client"] = clients(follow_redirects=True)
    return Orq(**options)


if __name__ == "__main__":
    pypi.client = client
    serve(pypi.perform, pypi.perform_async)
