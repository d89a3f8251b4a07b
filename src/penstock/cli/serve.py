"""``penstock serve``."""

from __future__ import annotations

import logging
from typing import Any

import click

from .settings import load_settings, settings_options

__all__ = ["command"]


@click.command("serve")
@settings_options
def command(config_file: str | None, **flags: Any) -> None:
    """Serve streams over HTTP."""
    settings = load_settings(config_file, **flags).settings
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from ..server.serve import run
    from ..server.service import Service

    def announce(url: str, service: Service) -> None:
        click.echo(f"Penstock listens on {url}  (log: {settings.data}/penstock.db)")
        models = ", ".join(service.models.names) or "whatever the upstream has"
        click.echo(f"Models: {models}")
        if not service.keys:
            click.echo("No API keys: requests from this machine only. `penstock keys create` makes one.")

    run(settings, announce)
