"""The options that all commands of a server share, and the settings they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ..config import Loaded, load
from ..errors import ConfigError

__all__ = ["load_settings", "settings_options"]

_FILE: Final = "penstock.toml"


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--host --port --data --config`` to a command."""
    for option in (
        click.option("--config", "config_file", metavar="FILE", help=f"Settings file (./{_FILE} if there)."),
        click.option("--data", metavar="DIR", help="Folder of the log and the keys (./penstock-data)."),
        click.option("--port", type=int, help="Port to listen on (8017)."),
        click.option("--host", help="Address to listen on (127.0.0.1)."),
    ):
        command = option(command)
    return command


def load_settings(config_file: str | None, **flags: Any) -> Loaded:
    """Put the settings together. Raises: ConfigError."""
    path = Path(config_file or _FILE)
    if config_file is None and not path.exists():
        return load(flags, os.environ)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the settings file {path} cannot be read: {exc}", field="config") from exc
    return load(flags, os.environ, text, str(path))
