"""``penstock ask``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import DecodeError, json

from ..events import (
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ReviewDone,
    ReviewRequested,
    ToolCallPart,
    ToolFailed,
)
from .remote import client, remote_options

if TYPE_CHECKING:
    from ..client.asking import Wanted

__all__ = ["command"]


@click.command("ask")
@click.argument("prompt", nargs=-1)
@click.option("--model", default="", help="The model; default: the server's.")
@click.option("--agent", default="", help="The agent to ask, with its tools.")
@click.option("--instructions", default="", help="What to tell the model beforehand.")
@click.option("--schema", type=click.Path(exists=True, dir_okay=False), help="A JSON Schema for the answer.")
@remote_options
def command(
    prompt: tuple[str, ...],
    model: str,
    agent: str,
    instructions: str,
    schema: str | None,
    url: str,
    key: str | None,
) -> None:
    """Ask a model and print its answer as it comes. Ctrl-C stops watching, not the answer."""
    text = " ".join(prompt) or (sys.stdin.read() if not sys.stdin.isatty() else "")
    if not text.strip():
        raise click.UsageError("there is nothing to ask: give a PROMPT, or text on standard input")
    wanted: Wanted = {"model": model, "agent": agent, "instructions": instructions}
    if schema:
        wanted["output_schema"] = _schema(schema)
    with client(url, key) as penstock:
        answer = penstock.start(text, **wanted)
        try:
            failed = _print(answer, answer.stream)
        except KeyboardInterrupt:
            click.echo(f"\nThe answer goes on without you: penstock tail {answer.stream}", err=True)
            raise SystemExit(130) from None
    raise SystemExit(failed)


def _schema(path: str) -> Any:
    try:
        return json.decode(Path(path).read_bytes())
    except (DecodeError, UnicodeDecodeError) as exc:
        raise click.BadParameter(f"{path} is not JSON: {exc}", param_hint="--schema") from exc


def _print(events: Iterable[object], stream: str) -> int:
    """Print an answer; return the exit code."""
    thoughts: set[str] = set()
    for event in events:
        match event:
            case PartStarted(part_id=part_id, part=ReasoningPart()):
                thoughts.add(part_id)
            case PartStarted(part=ToolCallPart(tool=tool)):
                click.secho(f"{tool} ", bold=True, nl=False)
            case PartDelta(part_id=part_id, delta=delta) if part_id in thoughts:
                click.secho(delta, nl=False, dim=True, err=True)
            case PartDelta(delta=delta):
                click.echo(delta, nl=False)
            case PartDone(part_id=part_id):
                click.echo(err=part_id in thoughts)
            case ReviewRequested(tool=tool):
                click.secho(f"[{tool} waits for approval: penstock review {stream}]", err=True, bold=True)
            case ReviewDone(verdict=verdict):
                click.secho(f"[{verdict}]", err=True, dim=True)
            case ToolFailed(error=error):
                click.secho(f"[{error}]", err=True, fg="red")
            case ResponseFailed(code=code, message=message):
                click.secho(f"\n{code}: {message}", err=True, fg="red")
                return 1
            case ResponseDone(finish_reason=reason) if reason not in ("stop", "tool_calls"):
                click.secho(f"[{reason}]", err=True, dim=True)
            case _:
                pass
    return 0
