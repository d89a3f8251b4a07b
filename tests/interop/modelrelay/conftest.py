"""The servers that ModelRelay's clients are tested against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.opper.stage import Keyed, Stage, opened, says
from serving import Server, create_key
from upstream import Script, Upstream, hang

TempPathFactory = pytest.TempPathFactory


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    """What the models say, by name."""
    return {"house": says("At home.")}


@pytest.fixture(scope="session")
def upstream(scripts: dict[str, Script]) -> Iterator[Upstream]:
    with Upstream(scripts) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def stage(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """A server whose models do as they are told."""
    folder = tmp_path_factory.mktemp("stage")
    with opened(folder, upstream, scripts, default_model="house") as stage:
        yield stage


@pytest.fixture(scope="session")
def murmuring(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """The same, but it cannot bear silence."""
    with opened(tmp_path_factory.mktemp("murmuring"), upstream, scripts, keepalive=0.05) as stage:
        yield stage


@pytest.fixture(scope="session")
def impatient(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """The same, but it drops readers that do not read."""
    with opened(tmp_path_factory.mktemp("impatient"), upstream, scripts, write_timeout=0.2) as stage:
        yield stage


@pytest.fixture(scope="session")
def strict(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """A server that knows two models, takes small bodies, and has one answer under way at most."""
    scripts |= {"known": says("Yes?"), "endless": hang()}
    models = '{ known = "known", endless = "endless" }'
    config = f'[upstreams.scripted]\nurl = "{upstream.url}"\nmodels = {models}'
    with Server(tmp_path_factory.mktemp("strict"), config, max_body=4096, max_runs=1) as server:
        yield Stage(server, upstream, scripts)


@pytest.fixture(scope="session")
def keyed(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Keyed]:
    """A server that wants keys."""
    folder = tmp_path_factory.mktemp("keyed")
    both = ("run:write", "run:read")
    keys = [create_key(folder, *scopes) for scopes in (both, both[1:], both)]
    with opened(folder, upstream, scripts) as stage:
        yield Keyed(stage, *keys)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: TempPathFactory) -> Iterator[Server]:
    """A server with the built-in models."""
    with Server(tmp_path_factory.mktemp("demo")) as server:
        yield server
