"""``penstock config``."""

from __future__ import annotations

from typing import Any

import click
from msgspec import to_builtins

from ..config import describe
from .settings import load_settings, settings_options

__all__ = ["command"]


@click.command("config")
@settings_options
def command(config_file: str | None, **flags: Any) -> None:
    """Show each setting, its value and whence it came."""
    loaded = load_settings(config_file, **flags)
    values = to_builtins(loaded.settings)
    for entry in (*values["upstreams"].values(), *values["mcp"].values()):
        for member in entry.keys() & {"headers", "env"}:
            entry[member] = dict.fromkeys(entry[member], "***")  # some carry secrets
    for name, sentence in describe().items():
        click.echo(f"# {sentence}")
        click.echo(f"{name} = {_shown(values[name])}  ({loaded.origins[name]})")


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "{" + ", ".join(f"{name} = {_shown(inner)}" for name, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case _:
            return str(value)
