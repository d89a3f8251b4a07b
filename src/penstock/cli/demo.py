"""
``penstock demo``: the promise, kept before your eyes.

A real server process, the embedded log, the built-in model: one reader is cut
in mid-answer and resumes, another never stops; then the server is killed while
it answers, and started again; then an agent asks for approval, and has it from a
second terminal. What the readers got is compared frame by frame.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import click

from ..errors import ConfigError
from .remote import client
from .settings import load_settings, settings_options

if TYPE_CHECKING:
    from ..client.asking import Wanted
    from ..wire import Frame

__all__ = ["command"]

_PROMPT: Final = "Why does a river never lose its way? Answer in 90 words."
_MODEL: Final = "demo"
_ORDER: Final = "Please send a postcard to Ida."
_PATIENCE: Final = 20.0
_SILENCE: Final = 60.0
"""Seconds without a byte after which a connection counts as dead; servers send keepalives more often."""


@click.command("demo")
@click.option("--once", is_flag=True, help="End after the show, also in a terminal.")
@settings_options
def command(config_file: str | None, once: bool, **flags: Any) -> None:
    """Show an answer cut and resumed, a server killed, a call approved; then serve."""
    settings = load_settings(config_file, **flags).settings
    data = Path(settings.data).resolve()
    port = settings.port if _is_free(settings.host, settings.port) else 0
    with _serving(data, port) as (_, url):
        kept = _cut_and_resume(url)
    port = int(url.rpartition(":")[2])
    survived = _kill_and_read(data, port)
    with _serving(data, port) as (_, url):
        approved = _approve(url)
    if not (kept and survived and approved):
        raise SystemExit(1)
    if once or not sys.stdout.isatty():
        _step("Try it yourself, with `penstock serve`:")
        _invite(f"http://{settings.host}:{settings.port or 8017}")
        return
    with _serving(data, port) as (server, url):
        _step("Try it yourself; this server goes on until Ctrl-C:")
        _invite(url)
        try:
            server.wait()
        except KeyboardInterrupt:
            click.echo()


def _cut_and_resume(url: str) -> bool:
    """Show law 1."""
    _step(f"A server at {url}, its log in one SQLite file. Asking the built-in model:")
    path = _events(_start(url, _PROMPT, model=_MODEL))
    steady: list[Frame] = []
    witness = threading.Thread(target=lambda: steady.extend(_frames(url, path)))
    witness.start()
    cut: list[Frame] = []
    for frame in _frames(url, path):
        cut.append(frame)
        _echo(frame)
        if len(cut) == 40:
            break  # leaving the loop closes the connection
    _step(f"Cut! The last frame was {cut[-1].id}. The model goes on; the reader comes back in a second.")
    time.sleep(1)
    for frame in _frames(url, path, cut[-1].id):
        cut.append(frame)
        _echo(frame)
    witness.join(_PATIENCE)
    chunks = sum(1 for _ in _frames(url, f"{path}?dialect=openai-chat"))
    lost, repeated = _difference(steady, cut)
    click.echo()
    _step(
        f"{len(cut)} frames over two connections, {len(steady)} over one: {lost} lost, {repeated} repeated. "
        f"In OpenAI's wire the same answer has {chunks} chunks."
    )
    return lost == repeated == 0 and len(steady) > 40


def _kill_and_read(data: Path, port: int) -> bool:
    """Show law 6, and that what was sent was stored."""
    _step("Now a server is killed (kill -9) while it answers, and started again on the same file:")
    had: list[Frame] = []
    with _serving(data, port) as (server, url):
        path = _events(_start(url, _PROMPT, model=_MODEL))
        for frame in _frames(url, path):
            had.append(frame)
            if len(had) == 30:
                server.kill()
                server.wait()
                break
    with _serving(data, port) as (_, url):
        found = list(_frames(url, path))
    kept = found[: len(had)] == had
    ends = [frame.event for frame in found if frame.event in ("response.done", "response.failed")]
    _step(
        f"The reader had {len(had)} frames; the log has {'all of them' if kept else 'LOST SOME'}, "
        f"and the answer has one end: {' and '.join(ends) or 'none'}, because it was interrupted."
    )
    return kept and ends == ["response.failed"]


def _approve(url: str) -> bool:
    """Show law 13: a tool runs after a human has said so, from wherever."""
    _step(f"An agent with tools. It is asked: {_ORDER}")
    ran = []
    stream = _start(url, _ORDER, agent="demo")
    for frame in _frames(url, _events(stream)):
        if frame.event.startswith("tool."):
            ran.append(frame.event)
            click.secho(f"  {frame.event}", dim=True)
        if frame.event == "tool.review.requested":
            _second_terminal("review", stream, "--approve", "--url", url)
        if frame.event == "response.done":
            break
        _echo(frame)
    click.echo()
    _step("The call was made after it was approved, with the arguments that were approved, and once.")
    return ran == ["tool.review.requested", "tool.review.done", "tool.started", "tool.done"]


def _second_terminal(*command: str) -> None:
    """Run a command of ours as somebody else would."""
    click.secho(f"  in a second terminal: $ penstock {' '.join(command)}", bold=True)
    said = subprocess.run(
        [sys.executable, "-m", "penstock", *command],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
    )
    click.echo("".join(f"    {line}\n" for line in said.stdout.splitlines()), nl=False)


def _invite(url: str) -> None:
    click.echo(f"""
  curl -N {url}/v1/streams -H 'Accept: text/event-stream' -d '{{"input": "Tell me about rivers"}}'

  curl -N {url}/v1/chat/completions -d '{{"model": "demo", "stream": true,
    "messages": [{{"role": "user", "content": "Tell me about rivers"}}]}}'

  curl {url}/v1/streams                                  # what there is
  curl -N {url}/v1/streams/ID/events                     # follow or replay one
  curl -N {url}/v1/streams/ID/events -H 'Last-Event-ID: CURSOR'   # from there on
  curl -X POST {url}/v1/streams/ID/stop                  # stop it, from anywhere

  curl -N {url}/v1/streams -H 'Accept: text/event-stream' -d '{{"agent": "demo", "input": "{_ORDER}"}}'
  penstock review ID                                     # decide, in a second terminal

  OpenAI(base_url="{url}/v1", api_key="none")            # any OpenAI client
""")


def _step(text: str) -> None:
    click.secho(f"\n▶ {text}", bold=True)


def _echo(frame: Frame) -> None:
    from ..dialects.native import DIALECT
    from ..events import PartDelta

    assert DIALECT.decoder is not None
    for event in DIALECT.decoder().decode(frame):
        if isinstance(event, PartDelta):
            click.echo(event.delta, nl=False)


def _difference(whole: list[Frame], pieces: list[Frame]) -> tuple[int, int]:
    """Return how many frames of ``whole`` the ``pieces`` lack, and how many they have too often."""
    lost = sum(1 for frame in whole if frame not in pieces)
    return lost, len(pieces) - (len(whole) - lost)


def _start(url: str, prompt: str, **wanted: Unpack[Wanted]) -> str:
    """Begin an answer and return its stream."""
    with client(url, None) as penstock:
        return penstock.start(prompt, **wanted).stream


def _events(stream: str) -> str:
    return f"/v1/streams/{stream}/events"


def _frames(url: str, path: str, cursor: str = "") -> Iterator[Frame]:
    """Yield the frames of one connection, as they are: what no client adds to cannot be its doing."""
    import httpx2

    from ..wire.sse import SSEReader

    headers = {"last-event-id": cursor} if cursor else {}
    reader = SSEReader()
    with (
        httpx2.Client(trust_env=False, timeout=_SILENCE) as http,
        http.stream("GET", url + path, headers=headers) as response,
    ):
        for data in response.raise_for_status().iter_raw():
            yield from reader.feed(data)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


@contextmanager
def _serving(data: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``penstock serve`` as a child; yield it and its URL. Raises: ConfigError (it did not start)."""
    command = [sys.executable, "-m", "penstock", "serve", "--port", str(port), "--data", str(data)]
    with tempfile.TemporaryFile("w+") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            url = _url(server)
            if url is None:
                errors.seek(0)
                raise ConfigError(f"the server did not start: {errors.read().strip()}")
            yield server, url
        finally:
            server.terminate()
            try:
                server.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()


def _url(server: subprocess.Popen[str]) -> str | None:
    """Return where the server listens, as it says itself; None if it ended instead."""
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("Penstock listens on "):
            return line.split()[3]
    return None
