"""``penstock tail``."""

from __future__ import annotations

import sys

import click
from msgspec import to_builtins

from ..events import Event, PartDelta, PartDone, ResponseDone, ResponseFailed
from ..wire import jsontext
from .remote import client, remote_options

__all__ = ["command"]


@click.command("tail")
@click.argument("stream")
@click.option("--cursor", default="", help="Where to go on; default: from the beginning.")
@click.option("--text", "form", flag_value="text", help="Print the text of the answer and nothing else.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object per event.")
@remote_options
def command(stream: str, cursor: str, form: str | None, url: str, key: str | None) -> None:
    """Follow a stream, through every cut, to its end."""
    show = {"text": _text, "json": _json}.get(form or "", _line)
    with client(url, key) as penstock:
        answer = penstock.follow(stream, cursor)
        try:
            for event in answer:
                show(answer.cursor, event)
                cursor = answer.cursor
        except KeyboardInterrupt:
            click.echo(f"\npenstock tail {stream} --cursor {cursor}", err=True)
            raise SystemExit(130) from None
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has left: nothing to say, nobody to say it to
            raise SystemExit(0) from None


def _line(cursor: str, event: Event) -> None:
    kind = str(event.__struct_config__.tag)
    click.echo(f"{cursor:<16} {kind:<22} {_gist(event)}".rstrip())


def _gist(event: Event) -> str:
    match event:
        case PartDelta(part_id=part_id, delta=delta):
            return f"{part_id} {delta!r}"
        case PartDone(part_id=part_id):
            return part_id
        case ResponseDone(finish_reason=reason):
            return reason
        case ResponseFailed(code=code, message=message):
            return f"{code}: {message}"
        case _:
            shown = {name: value for name, value in to_builtins(event).items() if name != "type"}
            return jsontext.encode(shown).decode()


def _json(cursor: str, event: Event) -> None:
    click.echo(b'{"cursor":%b,%b' % (jsontext.quote(cursor), jsontext.encode(event)[1:]))


def _text(cursor: str, event: Event) -> None:
    if isinstance(event, PartDelta):
        click.echo(event.delta, nl=False)
    if isinstance(event, PartDone):
        click.echo()
