"""
The processes of a benchmark: the mock upstream, and the servers under test in front of it.

Every run gets a fresh server with a fresh folder, pinned to the servers' core, and
ends it with SIGTERM: a server that does not exit with 0, or that complained in its
log, fails the run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

from .machine import MOCK, OUT, PENSTOCK, BenchError, Tree, free_port

__all__ = [
    "MODEL",
    "TRACEABLE",
    "Pace",
    "Penstock",
    "Request",
    "Server",
    "direct",
    "mocking",
    "nginx",
    "penstock",
]

MODEL: Final = "bench"
TRACEABLE: Final = (
    sys.executable,
    "-c",
    # PR_SET_PTRACER: whoever likes, of the same user
    "import ctypes; ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0); from penstock.cli import main; main()",
)
"""``penstock``, such that a profiler may look into it without further privileges."""

_BODY: Final = json.dumps(
    {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Say something."}]}
)
_START_TIME: Final = 20.0
_STOP_TIME: Final = 30.0

_NGINX: Final = """
worker_processes 1;
worker_rlimit_nofile 8192;
{user}
pid {folder}/nginx.pid;
error_log {folder}/log warn;
events {{ worker_connections 8000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /healthz {{ return 200; }}
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


class Pace(NamedTuple):
    """What the mock sends for one request; a gap of 0 is as fast as the reader takes it."""

    events: int
    gap_us: int = 0
    per_write: int = 1

    @property
    def path(self) -> str:
        return f"/n/{self.events}/g/{self.gap_us}/k/{self.per_write}"

    @property
    def seconds(self) -> float:
        """How long it takes, at least."""
        return self.events / self.per_write * self.gap_us / 1e6


class Request(NamedTuple):
    """What the reader asks for; without a body it is a GET."""

    path: str
    body: str = ""
    headers: tuple[str, ...] = ()


class Server:
    """A server under test; ``tree`` is None for the direct connection, which has none."""

    def __init__(self, port: int, chat: Request, tree: Tree | None) -> None:
        self.port, self.chat, self.tree = port, chat, tree

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer to a request of the runner's own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": "application/json", "accept": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {data[:500]!r}")
        return json.loads(data)


class Penstock(Server):
    """A Penstock server with its folder."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
        super().__init__(port, Request("/v1/chat/completions", _BODY), Tree(process.pid))
        self.pid, self._process, self._folder = process.pid, process, folder

    def end(self) -> None:
        """Have it end now, and well."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_STOP_TIME)

    def log_bytes(self) -> int:
        """Return the size of the log's files on disk."""
        return sum(file.stat().st_size for file in (self._folder / "data").glob("penstock.db*"))


@contextmanager
def mocking(core: int) -> Iterator[tuple[int, Tree]]:
    """Run the mock upstream; its port, and its process."""
    port = free_port()
    (OUT / "mock.log").unlink(missing_ok=True)
    with _process([str(MOCK), str(port)], core, OUT / "mock.log") as process:
        _await_answer(process, port, "/", OUT / "mock.log")
        yield port, Tree(process.pid)


@contextmanager
def direct(upstream: int, pace: Pace) -> Iterator[Server]:
    """No server at all: the reader asks the mock."""
    yield Server(upstream, _raw(pace), None)


@contextmanager
def nginx(program: str, upstream: int, pace: Pace, core: int) -> Iterator[Server]:
    """nginx with one worker, passing through unbuffered."""
    with _folder() as folder:
        port, config, log = free_port(), folder / "nginx.conf", folder / "log"
        user = "user root;" if os.geteuid() == 0 else ""
        if user and not _is_group("root"):
            user = ""
        config.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream, user=user))
        command = [program, "-p", str(folder), "-e", str(log), "-c", str(config), "-g", "daemon off;"]
        with _process(command, core, log, ignore_stderr=True) as process:
            _await_answer(process, port, "/healthz", log)
            yield Server(port, _raw(pace), Tree(process.pid))


@contextmanager
def penstock(
    upstream: int, pace: Pace, core: int, program: Sequence[str] = (str(PENSTOCK),), *, patient: bool = True
) -> Iterator[Penstock]:
    """
    Penstock with its default settings and one upstream: the mock, at ``pace``.

    Args:
        patient: wait for the answers under way at the end; else kill the server.
    """
    with _folder() as folder:
        port, config, log = free_port(), folder / "penstock.toml", folder / "log"
        url = f"http://127.0.0.1:{upstream}{pace.path}"
        config.write_text(f'[upstreams.mock]\nurl = "{url}"\nmodels = {{ "{MODEL}" = "mock" }}\n')
        place = ["--port", str(port), "--data", str(folder / "data"), "--config", str(config)]
        with _process([*program, "serve", *place], core, log, kill=not patient) as process:
            _await_answer(process, port, "/healthz", log)
            yield Penstock(port, process, folder)


def _raw(pace: Pace) -> Request:
    return Request(f"{pace.path}/chat/completions", _BODY)


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder on the disk that the repository is on: /tmp may be memory."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=OUT))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _process(
    command: Sequence[str], core: int, log: Path, *, kill: bool = False, ignore_stderr: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` on ``core``; it must go on until it is told to stop, and end well."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL if ignore_stderr else output,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            env={name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
        )
    try:
        yield process
        if process.poll() not in (None, 0):
            raise _failed(process, log)
    except BenchError as exc:
        if process.poll() is not None:  # it died, and that is why
            raise _failed(process, log) from exc
        raise
    finally:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)  # no-op if it has ended
        try:
            process.wait(_STOP_TIME)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL if kill else 0) or _complaint(log):
        raise _failed(process, log)


def _await_answer(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + _START_TIME
    while time.monotonic() < until and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.001)
        finally:
            connection.close()
    raise _failed(process, log)


def _complaint(log: Path) -> bool:
    text = log.read_text(errors="replace")
    return any(word in text for word in (" ERROR ", "Traceback", "[emerg]", "[alert]", "[error]"))


def _failed(process: subprocess.Popen[bytes], log: Path) -> BenchError:
    args = process.args if isinstance(process.args, list) else [str(process.args)]
    tail = log.read_text(errors="replace")[-2000:]
    return BenchError(f"{Path(args[0]).name} (exit code {process.returncode}) did not serve well:\n{tail}")


def _is_group(name: str) -> bool:
    import grp

    return any(group.gr_name == name for group in grp.getgrall())
