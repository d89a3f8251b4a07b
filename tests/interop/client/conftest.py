"""A server whose models do as they are told, and what its readers had in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.client.readers import COLOURS, DIALECTS, Tally
from interop.client.saying import answer, rounds
from interop.opper.stage import Stage, opened
from penstock.client.ways import Name
from serving import Server
from upstream import Script, Upstream

_TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    return _TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _TALLY.answers:
        terminalreporter.write_line(f"clients: {_TALLY}")


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    scripts: dict[str, Script] = {"words": answer()}
    with Upstream(scripts) as upstream:
        scripts["demo"] = rounds(upstream, "demo")
        with opened(tmp_path_factory.mktemp("client"), upstream, scripts) as stage:
            yield stage


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Name:
    found: Name = request.param
    return found


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the built-in models, and the agent that asks before it sends."""
    with Server(tmp_path_factory.mktemp("demo")) as server:
        yield server
