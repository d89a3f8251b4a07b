"""
What the client alone costs: to install without extras, and to import.

It is installed into an environment of its own, from this folder, by pip; imports are
whole processes there, beside a Python that imports nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from .machine import HERE, BenchError

__all__ = ["IMPORTS", "figures"]

IMPORTS: Final = {
    "python": "pass",
    "import penstock": "import penstock",
    "from penstock import Client": "from penstock import Client",
    "from penstock import SyncClient": "from penstock import SyncClient",
}
_ROUNDS: Final = 15


def figures(quick: bool = False) -> dict[str, float]:
    """
    Return milliseconds by statement, and what is installed: distributions and MB, with byte code.

    Raises:
        BenchError: pip or Python failed.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        venv.create(folder)
        python = Path(folder) / "bin" / "python"
        _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", str(HERE.parent)])
        sizes = _sizes(next(Path(folder).glob("lib/python*/site-packages")))
        return {**sizes, **_times(str(python), 3 if quick else _ROUNDS)}


def _sizes(installed: Path) -> dict[str, float]:
    files = [path for path in installed.rglob("*") if path.is_file()]
    ours = installed / "penstock"
    return {
        "distributions": len(list(installed.glob("*.dist-info"))),
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "our megabytes": sum(path.stat().st_size for path in files if ours in path.parents) / 1e6,
    }


def _times(python: str, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds + 1):  # the first one warms the page cache
        for name, statement in IMPORTS.items():
            began = time.perf_counter()
            _run([python, "-I", "-c", statement])
            times[name].append((time.perf_counter() - began) * 1000)
    return {name: median(found[1:]) for name, found in times.items()}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stderr}")
