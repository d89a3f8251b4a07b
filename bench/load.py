"""
One run of the load reader against one server, measured from outside.

While ``loadc`` reads, it says every now and then how far it is; each time the
server's CPU time and memory are noted, so that the cost of any stretch of the run
is known. A run in which anything was lost, refused or broken off is an error.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from .machine import LOADC, BenchError, Cores, Tree, core_busy
from .servers import Request, Server

__all__ = ["CHAT_END", "Load", "Reading", "Sample", "read"]

CHAT_END: Final = "data: [DONE]"

_INTERVAL_MS: Final = 100
_PATIENCE: Final = 120


class Reading(NamedTuple):
    """What the reader is to do, and how much has to come of it."""

    request: Request
    events: int
    """Per request; 0: none need to come."""
    connections: int = 1
    rounds: int = 1
    mark: str = " @@"
    end: str = CHAT_END
    warm_up: float = 0.0
    limit: float = 0.0
    """Seconds after which the reader leaves, whatever is open; 0: at the end."""

    @property
    def total(self) -> int:
        return self.events * self.connections * self.rounds


class Sample(NamedTuple):
    """How things stood at one moment of a run."""

    at: float
    events: int
    cpu: float
    rss: int


class Load(NamedTuple):
    """What came of a reading."""

    result: dict[str, Any]
    """As ``loadc`` printed it."""
    samples: list[Sample]
    cpu: float
    """Of the server, over all."""
    server_busy: float
    """Which part of its core the server had."""
    tools_busy: float
    """Which part of their core the mock and the reader had."""
    foreign: float
    """Which part of the servers' core somebody else had."""

    @property
    def events(self) -> int:
        return int(self.result["events"])

    @property
    def rate(self) -> float:
        return float(self.result["rate"])

    def cost(self, begin: Sample, end: Sample) -> float:
        """Return the server's CPU microseconds per event between two samples."""
        return (end.cpu - begin.cpu) / max(1, end.events - begin.events) * 1e6

    def between(self, begin: float, end: float) -> tuple[Sample, Sample]:
        """Return the first and the last sample of a stretch of time."""
        within = [sample for sample in self.samples if begin <= sample.at <= end]
        if len(within) < 2:
            raise BenchError(f"the run is too short: nothing was sampled from {begin:g} to {end:g} s")
        return within[0], within[-1]


def read(server: Server, reading: Reading, mock: Tree, cores: Cores) -> Load:
    """Run the reader to its end. Raises: BenchError."""
    tree = server.tree
    mock_cpu, core_cpu = mock.cpu(), core_busy(cores.server)
    server_cpu = tree.cpu() if tree else 0.0
    lines, samples = _run(_command(server, reading), cores.tools, tree, server_cpu)
    result = lines[-1]
    _check(result, reading)
    seconds = result["seconds"]
    used = tree.cpu() - server_cpu if tree else 0.0
    return Load(
        result,
        samples,
        used,
        used / seconds,
        (mock.cpu() - mock_cpu + result["cpu"]) / seconds,
        max(0.0, core_busy(cores.server) - core_cpu - used) / seconds,
    )


def _command(server: Server, reading: Reading) -> list[str]:
    path, body, headers = reading.request
    command = [str(LOADC), str(server.port), path, str(reading.connections), str(reading.rounds)]
    command += ["-m", reading.mark, "-w", str(reading.warm_up), "-i", str(_INTERVAL_MS)]
    command += ["-d", str(reading.limit or _PATIENCE)]
    if not reading.limit:
        command += ["-e", reading.end]
    if body:
        command += ["-b", body]
    for header in headers:
        command += ["-h", header]
    return command


def _run(
    command: Sequence[str], core: int, tree: Tree | None, cpu_before: float
) -> tuple[list[dict[str, Any]], list[Sample]]:
    """Run ``command``; return what it printed, and a sample of the server at each line but the last."""
    lines, samples = [], []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            lines.append(said := json.loads(line))
            if "at" in said:
                cpu, rss = (tree.cpu() - cpu_before, tree.rss()) if tree else (0.0, 0)
                samples.append(Sample(said["at"], said["events"], cpu, rss))
        complaints = process.stderr.read()
    if process.returncode or complaints:
        raise BenchError(f"loadc failed ({process.returncode}): {complaints}")
    return lines, samples


def _check(result: dict[str, Any], reading: Reading) -> None:
    """Everything must have arrived, once."""
    done = 0 if reading.limit else reading.connections * reading.rounds
    expected = {"events": reading.total, "done": done, "errors": 0, "refused": 0}
    expected["opened"] = reading.connections * reading.rounds
    wrong = {name: (result[name], wanted) for name, wanted in expected.items() if result[name] != wanted}
    if wrong:
        found = ", ".join(f"{name} {got} instead of {wanted}" for name, (got, wanted) in wrong.items())
        raise BenchError(f"{reading.request.path}: {found}")
