"""
The command line.

Each command is a module of its own, imported when it is called: ``--help`` must
not wait for a web server to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from .. import __version__
from ..errors import PenstockError

__all__ = ["main"]

_COMMANDS: Final = {
    "serve": "Serve streams over HTTP.",
    "demo": "Show an answer cut and resumed, a server killed, a call approved; then serve.",
    "ask": "Ask a model and print its answer as it comes.",
    "tail": "Follow a stream, through every cut.",
    "review": "Decide about the call of a tool that waits for approval.",
    "keys": "Make, list and revoke API keys.",
    "config": "Show each setting, its value and whence it came.",
}


class _Commands(click.Group):
    """Finds a command by the name of its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PenstockError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="penstock")
def main() -> None:
    """Penstock: durable, resumable streams for AI answers."""
