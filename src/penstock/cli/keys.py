"""``penstock keys``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..requests import Scope
from .settings import load_settings

if TYPE_CHECKING:
    from ..server.access import Keys

__all__ = ["command"]

_place = (
    click.option("--data", metavar="DIR", help="Folder of the log and the keys (./penstock-data)."),
    click.option("--config", "config_file", metavar="FILE", help="Settings file."),
)


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys. A running server notices at once."""


def _placed(function: Any) -> Any:
    for option in _place:
        function = option(function)
    return function


def _keys(data: str | None, config_file: str | None) -> Keys:
    from ..server.access import Keys

    return Keys(Path(load_settings(config_file, data=data).settings.data) / "keys.json")


@command.command()
@click.option("--name", default="", help="Whose key it is.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(get_args(Scope)),
    help="What it may do; default: admin.",
)
@_placed
def create(name: str, scopes: tuple[Scope, ...], data: str | None, config_file: str | None) -> None:
    """Make a key. It is shown once, and never again."""
    click.echo(_keys(data, config_file).create(name, scopes or ("admin",)))


@command.command(name="list")
@_placed
def list_keys(data: str | None, config_file: str | None) -> None:
    """List the keys, without their secrets."""
    for key in _keys(data, config_file).all():
        day = time.strftime("%Y-%m-%d", time.gmtime(key.created_at))
        click.echo(f"{key.id}  {day}  {','.join(key.scopes):<30}  {key.name}".rstrip())


@command.command()
@click.argument("key_id")
@_placed
def revoke(key_id: str, data: str | None, config_file: str | None) -> None:
    """Revoke the key with this id."""
    if not _keys(data, config_file).revoke(key_id):
        raise click.ClickException(f"there is no key {key_id!r}: `penstock keys list` shows them")
    click.echo(f"revoked {key_id}")
