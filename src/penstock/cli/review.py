"""``penstock review``."""

from __future__ import annotations

import sys
import time
from typing import Any, Literal

import click
from msgspec import json

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
    from ..client.follow import decide, pending

    with client(url, key) as http:
        review = _chosen(pending(http, stream), call)
        click.secho(review["tool"], bold=True, nl=False)
        click.echo(f"  {review['call_id']}\n{json.format(json.encode(review['arguments'])).decode()}")
        if "expires_at" in review:
            click.secho(f"expires {time.strftime('%F %T', time.localtime(review['expires_at']))}", dim=True)
        if verdict is None:
            if not sys.stdin.isatty():
                raise click.UsageError("say --approve or --reject")
            verdict = "approved" if click.confirm("Let it be made?") else "rejected"
        decide(http, stream, review, verdict)
        click.echo(verdict)


def _chosen(waiting: list[dict[str, Any]], call: str) -> dict[str, Any]:
    found = [review for review in waiting if call in ("", review["call_id"])]
    if not found:
        raise click.ClickException("no call waits for approval there")
    if len(found) > 1:
        raise click.UsageError(
            f"several calls wait; --call is one of {', '.join(r['call_id'] for r in found)}"
        )
    return found[0]
