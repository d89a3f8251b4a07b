"""The servers that Mix's SDK is tested against, and who uses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from interop.mix.users import User
from interop.opper.stage import Stage, opened, says
from serving import Server
from upstream import Script, Upstream

TempPathFactory = pytest.TempPathFactory


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    """What the models say, by name. ``demo`` is the one that a session has without asking for another."""
    return {"demo": says("At", " home.")}


@pytest.fixture(scope="session")
def upstream(scripts: dict[str, Script]) -> Iterator[Upstream]:
    with Upstream(scripts) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def stage(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """A server whose models do as they are told."""
    with opened(tmp_path_factory.mktemp("stage"), upstream, scripts) as stage:
        yield stage


@pytest.fixture(scope="session")
def murmuring(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """The same, but it cannot bear silence."""
    with opened(tmp_path_factory.mktemp("murmuring"), upstream, scripts, keepalive=0.05) as stage:
        yield stage


@pytest.fixture(scope="session")
def hasty(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """The same, but who is asked for a permission hardly has the time to read."""
    with opened(tmp_path_factory.mktemp("hasty"), upstream, scripts, review_time=0.01) as stage:
        yield stage


@pytest.fixture(scope="session")
def demo(tmp_path_factory: TempPathFactory) -> Iterator[Server]:
    """A server with the built-in models."""
    with Server(tmp_path_factory.mktemp("demo")) as server:
        yield server


@pytest.fixture(params=["sync", "async"], scope="session")
def user(request: pytest.FixtureRequest, stage: Stage) -> Iterator[User]:
    """Somebody on the stage, in each of the SDK's colours."""
    with User(stage.url, request.param) as user:
        yield user


@pytest.fixture(scope="session")
def ada(stage: Stage) -> Iterator[User]:
    """Somebody on the stage, where the colour is no matter."""
    with User(stage.url) as user:
        yield user


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a model waits for; it does not wait beyond the test."""
    event = threading.Event()
    yield event
    event.set()
