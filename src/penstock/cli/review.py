"""``penstock review``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Literal

import click
from msgspec import UNSET, json

from ..events import ReviewRequested
from .remote import client, remote_options

__all__ = ["command"]


@click.command("review")
@click.argument("stream")
@click.option("--call", default="", help="Which call; default: the one that waits.")
@click.option("--approve", "verdict", flag_value="approved", help="Let it be made.")
@click.option("--reject", "verdict", flag_value="rejected", help="Do not.")
@remote_options
def command(
    stream: str, call: str, verdict: Literal["approved", "rejected"] | None, url: str, key: str | None
) -> None:
    """Show the call of a tool that waits for approval in a stream, and decide about it."""
    with client(url, key) as penstock:
        review = _chosen(penstock.reviews(stream), call)
        click.secho(review.tool, bold=True, nl=False)
        click.echo(f"  {review.call_id}\n{json.format(json.encode(review.arguments)).decode()}")
        if review.expires_at is not UNSET:
            click.secho(f"expires {time.strftime('%F %T', time.localtime(review.expires_at))}", dim=True)
        if verdict is None:
            if not sys.stdin.isatty():
                raise click.UsageError("say --approve or --reject")
            verdict = "approved" if click.confirm("Let it be made?") else "rejected"
        penstock.decide(stream, review, verdict)
        click.echo(verdict)


def _chosen(waiting: Sequence[ReviewRequested], call: str) -> ReviewRequested:
    found = [review for review in waiting if call in ("", review.call_id)]
    if not found:
        raise click.ClickException("no call waits for approval there")
    if len(found) > 1:
        names = ", ".join(review.call_id for review in found)
        raise click.UsageError(f"several calls wait; --call is one of {names}")
    return found[0]
