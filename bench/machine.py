"""
What the benchmarks need of the machine: its cores, its tools, and what /proc says of a process.

A missing piece is a :class:`BenchError` that names the command that mends it.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

__all__ = [
    "HERE",
    "LOADC",
    "MOCK",
    "OUT",
    "PENSTOCK",
    "BenchError",
    "Cores",
    "Tree",
    "alone",
    "build",
    "check",
    "core_busy",
    "free_port",
    "thread_cpu",
]

HERE: Final = Path(__file__).resolve().parent
OUT: Final = HERE / "out"
MOCK: Final = OUT / "bench-upstream"  # names of their own: nobody else's `pkill mock` is to end a run
LOADC: Final = OUT / "bench-reader"
PENSTOCK: Final = Path(sys.executable).parent / "penstock"

_FILES: Final = 8192
_PORTS: Final = count(21_000)
_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """The benchmarks cannot run, or what they ran did not do what it should have done."""


class Cores:
    """One core for the server under test, another one for the mock, the reader and ourselves."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise BenchError("two cores are needed: one for the server, one for the load tools")
        self.count = len(cores)
        self.tools, self.server = cores[0], cores[1]


def check() -> str:
    """Return where nginx is, once everything is there. Raises: BenchError."""
    if not sys.platform.startswith("linux"):
        raise BenchError("the benchmarks need Linux: they pin processes to cores and read /proc")
    for tool, package in (("gcc", "gcc libc6-dev"), ("nginx", "nginx-light")):
        if _which(tool) is None:
            raise BenchError(f"{tool} is missing: sudo apt-get install -y {package}")
    if not PENSTOCK.exists():
        raise BenchError(f"{PENSTOCK.name} is not installed here: pip install -e '.[server,fast]'")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        raise BenchError(f"{_FILES} open files are needed, {hard} are allowed: ulimit -Hn {_FILES} (as root)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, hard))
    return _which("nginx") or ""


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other benchmark runs here; two at once would measure each other."""
    OUT.mkdir(exist_ok=True)
    with (OUT / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another benchmark to end", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build() -> None:
    """Compile the load tools, where their sources are newer. Raises: BenchError."""
    for source, program in ((HERE / "mock.c", MOCK), (HERE / "loadc.c", LOADC)):
        if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
            continue
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{' '.join(command)} failed:\n{done.stderr}")


def free_port() -> int:
    """Return a port that nobody has, outside the range that outgoing connections are given."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("count() does not end")


def core_busy(core: int) -> float:
    """Return the seconds that ``core`` has worked, for anybody, since the machine was started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) / _TICK
    raise BenchError(f"/proc/stat does not know core {core}")


class Tree:
    """A process and its children, as they are when this is made."""

    def __init__(self, pid: int) -> None:
        self._pids = [pid]
        for parent in self._pids:
            for task in Path(f"/proc/{parent}/task").iterdir():
                self._pids += map(int, (task / "children").read_text().split())

    def cpu(self) -> float:
        """Return the seconds of user and system time used so far."""
        return sum(map(_cpu, self._pids))

    def rss(self) -> int:
        """Return the bytes of memory that are resident."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids) * _PAGE


def _cpu(pid: int) -> float:
    """
    Return the CPU seconds of one process.

    ``stat`` has them in steps of 10 ms, ``schedstat`` has them exactly, but only of the threads that live.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    coarse = (int(fields[11]) + int(fields[12])) / _TICK
    return max(coarse, sum(thread_cpu(pid).values()))


def thread_cpu(pid: int) -> dict[str, float]:
    """Return the CPU seconds of the threads of a process that live, by their id."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks}


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
