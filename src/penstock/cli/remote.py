"""The options of commands that talk to a server, and the client they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import httpx2

__all__ = ["client", "remote_options"]

_URL: Final = "http://127.0.0.1:8017"


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--url`` and ``--key`` to a command."""
    for option in (
        click.option("--key", envvar="PENSTOCK_KEY", help="API key, if the server has keys (PENSTOCK_KEY)."),
        click.option("--url", envvar="PENSTOCK_URL", default=_URL, show_default=True, help="The server."),
    ):
        command = option(command)
    return command


def client(url: str, key: str | None) -> httpx2.Client:
    """Return an HTTP client for the server at ``url``."""
    import httpx2

    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=url, headers=headers, trust_env=False)
