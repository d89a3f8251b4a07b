"""
Where a scenario's time goes: py-spy looks into the Penstock server while it works.

It looks from outside, and seldom, because the server stands still meanwhile: rates and
latencies are worse than they are without it, shares are not. Functions written in C
count for the Python function that calls them. Only the event loop's thread is broken
down: py-spy takes the other threads for busy while they wait for work. What those need
is read from the kernel, and exact.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from .machine import OUT, BenchError, thread_cpu
from .scenarios import SCENARIOS, Bench
from .servers import TRACEABLE, Penstock

__all__ = ["profile"]

_RATE: Final = 50
_SHOWN: Final = 35
_THREAD: Final = re.compile(r"thread \((\d+)\): ([^;]*);")
_LOOP: Final = "MainThread"
_WAITS: Final = "Runner.run (asyncio/runners.py)"
"""What the event loop's thread is in, itself, while it waits for the kernel."""


def profile(bench: Bench, name: str) -> str:
    """Run a scenario on Penstock; return its busiest functions."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise BenchError(f"py-spy is missing: {Path(sys.executable).parent}/pip install py-spy")
    stacks = OUT / f"profile-{name}.txt"
    watching: list[subprocess.Popen[bytes]] = []
    served: list[int] = []
    used: dict[str, float] = {}

    def watch(server: Penstock) -> None:
        command = [program, "record", "-p", str(server.pid), "-f", "raw", "-o", str(stacks)]
        command += ["-r", str(_RATE), "-d", "3600", "-t"]
        watching.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        served.append(server.pid)

    def unwatch() -> None:
        for pid, process in zip(served, watching, strict=True):
            used.update(thread_cpu(pid))
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate()
            if not stacks.exists():
                raise BenchError(f"py-spy failed: {complaint.decode()}")

    stacks.unlink(missing_ok=True)
    watched = bench._replace(program=TRACEABLE, watch=watch, unwatch=unwatch)
    figures = SCENARIOS[name].run(watched, "penstock")
    said = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items())
    text = stacks.read_text()
    return "\n\n".join([said, _threads(text, used), *_top(text), f"all stacks: bench/out/{stacks.name}"])


def _threads(text: str, used: dict[str, float]) -> str:
    """Return the CPU time of each thread."""
    names = dict(_THREAD.findall(text))
    busiest = sorted(used.items(), key=lambda item: -item[1])
    lines = [f"{seconds:7.2f} s  {names.get(thread, 'not Python')}" for thread, seconds in busiest]
    return "\n".join(["threads:", *lines])


def _top(text: str) -> list[str]:
    """Return the functions that most samples were in: themselves, or with what they called."""
    alone: Counter[str] = Counter()
    under: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, number = line.rpartition(" ")
        thread, *frames = map(_plain, stack.split(";"))
        if thread.endswith(_LOOP) and frames and frames[-1] != _WAITS:
            alone[frames[-1]] += int(number)
            for frame in set(frames):
                under[frame] += int(number)
    total = sum(alone.values())
    return [_column("alone", alone, total), _column("with all it calls", under, total)]


def _plain(frame: str) -> str:
    """Leave the line number out: a function is one row."""
    return re.sub(r":\d+\)$", ")", frame)


def _column(heading: str, counts: Counter[str], total: int) -> str:
    lines = [f"{number / total:7.1%}  {name}" for name, number in counts.most_common(_SHOWN)]
    return "\n".join([f"{heading}:", *lines])
