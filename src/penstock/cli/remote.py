"""The options of commands that talk to a server, and the client they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ..client.following import Cut
    from ..client.sync import SyncClient

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


def client(url: str, key: str | None) -> SyncClient:
    """Return a client of the server at ``url`` that says on stderr when it is cut off."""
    import httpx2

    from ..client.sync import SyncClient
    from ..client.target import LIMITS

    return SyncClient(url, key or "", on_cut=_say_cut, http=httpx2.Client(limits=LIMITS, trust_env=False))


def _say_cut(cut: Cut) -> None:
    click.secho(f"[connection lost, trying again: {cut.why}]", err=True, dim=True)
