"""The command: ``python -m bench``. Each run of a scenario takes its targets in turn."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from . import report
from .machine import OUT, BenchError, Cores, alone, build, check
from .profiling import profile
from .scenarios import SCENARIOS, SERVERLESS, Bench, Figures
from .servers import mocking


def main() -> int:
    """Measure, and say what was found; 1 if anything could not be measured."""
    options = _options()
    try:
        nginx = check()
        cores = Cores()
        with alone():
            build()
            os.sched_setaffinity(0, {cores.tools})
            with mocking(cores.tools) as (port, mock):
                bench = Bench(cores, nginx, port, mock, options.quick)
                if options.profile:
                    print(profile(bench, options.profile))
                    return 0
                results, failures = _measure(bench, options.only or list(SCENARIOS), options.runs)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    print(f"{report.show(results)}\n\n{report.NOTES}")
    (OUT / "results.json").write_text(json.dumps(results, indent=1))
    for failure in failures:
        print(f"\nFAILED: {failure}", file=sys.stderr)
    if not (options.quick or failures):
        report.write(results, cores.count, options.runs)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, one of each; README.md stays")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="a scenario (repeatable)")
    parser.add_argument("--runs", type=int, help="runs of each scenario (3; quick: 1)")
    served = [name for name in SCENARIOS if name not in SERVERLESS]
    parser.add_argument("--profile", choices=served, help="run one scenario and show where its time goes")
    options = parser.parse_args()
    options.runs = options.runs or (1 if options.quick else 3)
    return options


def _measure(
    bench: Bench, names: Sequence[str], runs: int
) -> tuple[dict[str, dict[str, list[Figures]]], list[str]]:
    """Return the figures, and what went wrong; a scenario that failed once has no figures for that target."""
    results: dict[str, dict[str, list[Figures]]] = {}
    failures: list[str] = []
    for name in names:
        by_target: dict[str, list[Figures]] = {target: [] for target in SCENARIOS[name].targets}
        for run in range(runs):
            for target in list(by_target):
                print(f"{name}: {target}, run {run + 1} of {runs}", file=sys.stderr, flush=True)
                try:
                    by_target[target].append(SCENARIOS[name].run(bench, target))
                except BenchError as exc:
                    failures.append(f"{name}, {target}: {exc}")
                    del by_target[target]
        results[name] = by_target
    return results, failures


if __name__ == "__main__":
    sys.exit(main())
