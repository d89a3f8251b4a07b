"""PyPI ``opperai`` 1.x, which takes clients."""

from __future__ import annotations

from functools import cache
from typing import Any

from opperai import Opper  # type: ignore[import-not-found]

from interop.durable.drivers.transports import clients, given
from interop.opper.drivers import pypi1
from interop.opper.drivers.lines import serve


@cache
def client(arguments: str) -> Any:
    options, durable = given(arguments)
    if durable:
        options["client"], options["async_client"] = clients(follow_redirects=True)
    return Opper(**options)


if __name__ == "__main__":
    pypi1.client = client
    serve(pypi1.perform, pypi1.perform_async)
