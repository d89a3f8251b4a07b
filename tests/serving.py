"""A real server process for tests: the installed ``penstock serve`` on a free port, with its own data."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from signal import SIGKILL, SIGTERM
from subprocess import PIPE, STDOUT, Popen, run
from typing import IO, Any, Final, Self

__all__ = ["PENSTOCK", "Server", "create_key", "environment"]

PENSTOCK: Final = str(Path(sys.executable).with_name("penstock"))
_ANNOUNCED: Final = "Penstock listens on "
_PATIENCE: Final = 60.0
"""Seconds for a process to start or to end: generous, as machines that run tests are busy."""


class Server:
    """
    A server that runs while the ``with`` block does, and may be killed and started again inside.

    What it prints is kept in ``log`` and repeated on stderr, where pytest shows
    it when a test fails.
    """

    def __init__(self, folder: Path, config: str = "", **settings: object) -> None:
        """
        Args:
            folder: where it runs; its data and its settings file are there.
            config: the settings file (TOML).
            settings: further settings by name, given in the environment.
        """
        self.folder, self.url, self.log = folder, "", ""
        self.port = 0
        """Where to listen when it is started next; 0: on any free port."""
        (folder / "penstock.toml").write_text(config)
        self._environment = environment(**settings)
        self._process: Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start, and return once requests are answered; ``url`` says where."""
        self._process = Popen(
            [PENSTOCK, "serve", "--port", str(self.port)],
            cwd=self.folder, env=self._environment, stdout=PIPE, stderr=STDOUT, text=True,
        )  # fmt: skip
        announced: Future[str] = Future()
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout, announced))
        self._listener.start()
        try:
            self.url = announced.result(_PATIENCE)
        except BaseException:
            self.kill()
            raise

    def signal(self, number: int = SIGTERM) -> None:
        """Send a signal and return at once."""
        assert self._process is not None, "the server does not run"
        self._process.send_signal(number)

    def stop(self, number: int = SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.signal(number)
        return self.wait()

    def wait(self, patience: float = _PATIENCE) -> int:
        """Wait for the end and return the exit code."""
        assert self._process is not None and self._listener is not None, "the server does not run"
        code = self._process.wait(patience)
        self._listener.join()
        self._process = None
        return code

    def kill(self) -> None:
        """End it with SIGKILL: it cannot write another byte."""
        self.stop(SIGKILL)

    def _listen(self, output: IO[str], announced: Future[str]) -> None:
        with output:
            for line in output:
                self.log += line
                sys.stderr.write(line)
                if line.startswith(_ANNOUNCED):
                    announced.set_result(line.removeprefix(_ANNOUNCED).split()[0])
        if not announced.done():
            announced.set_exception(AssertionError(f"the server did not start:\n{self.log}"))


def create_key(folder: Path, *scopes: str) -> str:
    """Create an API key for a server that runs in ``folder``, as its owner would."""
    options = [option for scope in scopes for option in ("--scope", scope)]
    made = run([PENSTOCK, "keys", "create", *options], cwd=folder, env=environment(), stdout=PIPE, check=True)
    return made.stdout.decode().strip()


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment, with these settings of Penstock and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {f"PENSTOCK_{name.upper()}": _spelled(value) for name, value in settings.items()}


def _spelled(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
