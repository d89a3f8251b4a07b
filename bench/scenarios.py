"""
What is measured: each scenario is a function from a target to figures.

A figure is a number under a name; the report says which of them are shown and how.
Times are microseconds of the servers' CPU per event unless the name says otherwise.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final, NamedTuple

from . import client, fields, parsers, servers
from .load import Load, Reading, Sample, read
from .machine import PENSTOCK, BenchError, Cores, Tree
from .servers import MODEL, Pace, Penstock, Request, Server

__all__ = ["SCENARIOS", "SERVERLESS", "Bench", "Figures", "Scenario"]

Figures = dict[str, float]

ALL: Final = ("direct", "nginx", "penstock")
PROXIES: Final = ("nginx", "penstock")
OURS: Final = ("penstock",)

_DELTA: Final = '"delta":" @@'
_NATIVE_END: Final = "response.done"
_FOR_EVER: Final = Pace(1, 2_000_000_000)


class Bench(NamedTuple):
    """What all scenarios share."""

    cores: Cores
    nginx: str
    upstream: int
    mock: Tree
    quick: bool
    program: tuple[str, ...] = (str(PENSTOCK),)
    watch: Callable[[Penstock], None] = lambda server: None
    """Called with each Penstock server before it is given work."""
    unwatch: Callable[[], None] = lambda: None
    """Called when it has done it."""

    @contextmanager
    def serve(self, target: str, pace: Pace, *, patient: bool = True) -> Iterator[Server]:
        """Run one of the targets in front of the mock."""
        match target:
            case "direct":
                with servers.direct(self.upstream, pace) as server:
                    yield server
            case "nginx":
                with servers.nginx(self.nginx, self.upstream, pace, self.cores.server) as server:
                    yield server
            case _:
                with self.penstock(pace, patient=patient) as ours:
                    yield ours

    @contextmanager
    def penstock(self, pace: Pace, *, patient: bool = True) -> Iterator[Penstock]:
        core = self.cores.server
        with servers.penstock(self.upstream, pace, core, self.program, patient=patient) as server:
            self.watch(server)
            yield server
            self.unwatch()

    def read(self, server: Server, reading: Reading) -> Load:
        return read(server, reading, self.mock, self.cores)


class Scenario(NamedTuple):
    """One thing to measure, on some targets."""

    name: str
    title: str
    targets: tuple[str, ...]
    run: Callable[[Bench, str], Figures]


def _common(load: Load) -> Figures:
    return {
        "rate": load.rate,
        "server_busy": load.server_busy,
        "tools_busy": load.tools_busy,
        "foreign": load.foreign,
        "cpu_all": load.cpu / load.events * 1e6,
    }


# -- as fast as it goes


def _one_stream(bench: Bench, target: str) -> Figures:
    pace = Pace(50_000)
    with bench.serve(target, pace) as server:
        return _common(bench.read(server, Reading(server.chat, pace.events, rounds=4 if bench.quick else 8)))


def _eager(bench: Bench, target: str) -> Figures:
    pace = Pace(400 if bench.quick else 600)
    with bench.serve(target, pace) as server:
        return _common(bench.read(server, Reading(server.chat, pace.events, connections=1000)))


def _short(bench: Bench, target: str) -> Figures:
    pace = Pace(10)
    rounds = 20 if bench.quick else 50
    with bench.serve(target, pace) as server:
        load = bench.read(server, Reading(server.chat, pace.events, connections=100, rounds=rounds))
    return {**_common(load), "streams_rate": load.rate / 10, "per_stream": load.cpu / load.events * 1e7}


# -- at a pace


def _paced(streams: int, rate: int, seconds: float) -> Callable[[Bench, str], Figures]:
    def run(bench: Bench, target: str) -> Figures:
        last = seconds * 0.6 if bench.quick else seconds
        pace = Pace(int(rate * last), 1_000_000 // rate)
        warm_up = last * 0.4
        with bench.serve(target, pace) as server:
            load = bench.read(server, Reading(server.chat, pace.events, connections=streams, warm_up=warm_up))
        begin, end = load.between(warm_up, max(last * 0.95, load.result["seconds"] * 0.9))
        steady = (end.events - begin.events) / (end.at - begin.at)
        figures = {**_common(load), **_latency(load), "rate": steady, "cpu": load.cost(begin, end)}
        return {**figures, "unsteady": float(load.result["first99"] / 1e6 > warm_up)}

    return run


def _latency(load: Load) -> Figures:
    names = {"p50": "p50", "p99": "p99", "all99": "p99_all", "first50": "first50", "first99": "first99"}
    return {ours: load.result[theirs] / 1000 for theirs, ours in names.items()}


def _fan_out(bench: Bench, target: str) -> Figures:
    pace = Pace(160 if bench.quick else 300, 50_000)
    with bench.penstock(pace) as server:
        path = _begin(server)
        warm_up = pace.seconds * 0.4
        reading = Reading(
            Request(path), pace.events, connections=1000, mark=_DELTA, end=_NATIVE_END, warm_up=warm_up
        )
        load = bench.read(server, reading)
    begin, end = load.between(warm_up, pace.seconds * 0.95)
    return {**_common(load), **_latency(load), "cpu": load.cost(begin, end)}


def _begin(server: Penstock) -> str:
    """Start an answer over the native front; return the path of its events."""
    started = server.call("POST", "/v1/streams", {"model": MODEL, "input": "Say something."})
    return f"/v1/streams/{started['id']}/events"


def _flat(bench: Bench, target: str) -> Figures:
    """One long stream at 5,000 events/s: what an event costs early and late."""
    pace = Pace(55_000, 1000, 5)
    with bench.serve(target, pace) as server:
        load = bench.read(server, Reading(server.chat, pace.events))
    early = load.cost(_at(load, 100), _at(load, 7_600))
    late = load.cost(_at(load, 46_000), _at(load, 53_500))
    return {**_common(load), "cpu_early": early, "cpu_late": late, "late_to_early": late / early}


def _at(load: Load, events: int) -> Sample:
    return next(sample for sample in load.samples if sample.events >= events)


# -- memory, history, starting


def _memory(bench: Bench, target: str) -> Figures:
    """1,000 streams at 2 events/s."""
    pace = Pace(12 if bench.quick else 20, 500_000)
    with bench.serve(target, pace) as server:
        assert server.tree is not None
        bench.read(server, Reading(server.chat, pace.events, connections=20))  # what the first ones load
        before = server.tree.rss()
        load = bench.read(server, Reading(server.chat, pace.events, connections=1000))
    _, end = load.between(pace.seconds * 0.5, pace.seconds - 0.5)
    return {"base_mb": before / 1e6, "per_stream_kb": (end.rss - before) / 1000 / 1e3}


def _idle(bench: Bench, target: str) -> Figures:
    """1,000 readers on a stream that says nothing."""
    with bench.penstock(_FOR_EVER, patient=False) as server:
        assert server.tree is not None
        path = _begin(server)
        bench.read(server, Reading(Request(path), 0, connections=20, limit=1))
        before = server.tree.rss()
        load = bench.read(server, Reading(Request(path), 0, connections=1000, limit=5))
    return {"per_reader_kb": (load.samples[-1].rss - before) / 1000 / 1e3}


def _replay(bench: Bench, target: str) -> Figures:
    """A finished stream of 50,000 events, read again from its beginning."""
    pace = Pace(50_000)
    with bench.penstock(pace) as server:
        chat = server.chat._replace(headers=("Idempotency-Key: bench",))
        bench.read(server, Reading(chat, pace.events))
        (stream,) = server.call("GET", "/v1/streams")["streams"]
        native = Request(f"/v1/streams/{stream['id']}/events")
        rounds = 4 if bench.quick else 10
        ours = Reading(native, pace.events, rounds=rounds, mark=_DELTA, end=_NATIVE_END)
        loads = {"native": bench.read(server, ours)}
        loads["chat"] = bench.read(server, Reading(chat, pace.events, rounds=rounds))
        loads["many"] = bench.read(server, ours._replace(connections=10, rounds=max(1, rounds // 5)))
    return {f"{name}_rate": load.rate for name, load in loads.items()}


def _log_size(bench: Bench, target: str) -> Figures:
    """100 streams of 500 events: the log's files when all answers have ended, and when the server has."""
    pace = Pace(500)
    with bench.penstock(pace) as server:
        load = bench.read(server, Reading(server.chat, pace.events, connections=100))
        time.sleep(1.0)
        running = server.log_bytes()
        server.end()
        return {"log_bytes": running / load.events, "log_bytes_after": server.log_bytes() / load.events}


def _start_up(bench: Bench, target: str) -> Figures:
    times, helps = [], []
    for _ in range(3):
        began = time.perf_counter()
        with bench.penstock(Pace(1)):
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        done = subprocess.run([str(PENSTOCK), "--help"], capture_output=True)
        helps.append(time.perf_counter() - began)
        if done.returncode:
            raise BenchError(f"penstock --help: exit code {done.returncode}")
    return {"start_ms": median(times) * 1000, "help_ms": median(helps) * 1000}


def _fields(bench: Bench, target: str) -> Figures:
    """No server: the reader of incomplete JSON alone, which structured answers go through."""
    return fields.figures()


def _parsers(bench: Bench, target: str) -> Figures:
    """No server: our readers of SSE and NDJSON beside those of others."""
    return parsers.figures(bench.quick)


def _client(bench: Bench, target: str) -> Figures:
    """No server: what it costs to install and to import what a client needs."""
    return client.figures(bench.quick)


SERVERLESS: Final = ("fields", "parsers", "client")
"""What a profiler of servers cannot look into."""

SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario("one", "One stream, as fast as it goes", ALL, _one_stream),
        Scenario("eager", "1,000 streams, as fast as they go", ALL, _eager),
        Scenario("paced", "1,000 streams at 20 events/s", ALL, _paced(1000, 20, 20)),
        Scenario("paced50", "1,000 streams at 50 events/s", ALL, _paced(1000, 50, 12)),
        Scenario("few", "10 streams at 100 events/s", ALL, _paced(10, 100, 6)),
        Scenario("short", "Short streams (10 events), 100 at a time", ALL, _short),
        Scenario("fanout", "One stream at 20 events/s to 1,000 readers", OURS, _fan_out),
        Scenario("flat", "One stream of 55,000 events at 5,000 events/s", PROXIES, _flat),
        Scenario("memory", "Memory of 1,000 streams at 2 events/s", PROXIES, _memory),
        Scenario("idle", "Memory of 1,000 readers of a silent stream", OURS, _idle),
        Scenario("replay", "A finished stream of 50,000 events, again", OURS, _replay),
        Scenario("log", "The log of 100 streams of 500 events", OURS, _log_size),
        Scenario("start", "Starting", OURS, _start_up),
        Scenario("fields", "Reading JSON as it is written, 4 characters at a time", OURS, _fields),
        Scenario("parsers", "Bodies to frames", OURS, _parsers),
        Scenario("client", "The client alone", OURS, _client),
    )
}
