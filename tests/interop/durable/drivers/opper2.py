"""PyPI ``opperai`` 2.x, which takes no client, but has a place for one."""

from __future__ import annotations

from functools import cache
from typing import Any

from opperai import Opper  # type: ignore[import-not-found]

from interop.durable.drivers.transports import clients, given
from interop.opper.drivers import pypi2
from interop.opper.drivers.lines import serve


@cache
def client(arguments: str) -> Any:
    options, durable = given(arguments)
    opper = Opper(**options)
    if durable:
        inside = opper._client
        inside._sync_client, inside._async_client = clients(
            base_url=inside._base_url, headers=inside._default_headers, timeout=300.0
        )
    return opper


if __name__ == "__main__":
    pypi2.client = client
    serve(pypi2.perform, pypi2.perform_async)
