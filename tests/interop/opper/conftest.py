"""The SDKs, started once, and the servers they talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.opper.sdks import V1, V2, V3, Sdk, node, python
from interop.opper.stage import Keyed, Stage, opened
from serving import Server, create_key
from upstream import Script, Upstream, hang

TempPathFactory = pytest.TempPathFactory


def _closing(sdk: Sdk) -> Iterator[Sdk]:
    yield sdk
    sdk.close()


@pytest.fixture(scope="session")
def pypi1() -> Iterator[Sdk]:
    yield from _closing(python("1.7.2", "pypi1"))


@pytest.fixture(scope="session")
def pypi2() -> Iterator[Sdk]:
    yield from _closing(python("2.1.1", "pypi2"))


@pytest.fixture(scope="session")
def npm2() -> Iterator[Sdk]:
    yield from _closing(node(2))


@pytest.fixture(scope="session")
def npm3() -> Iterator[Sdk]:
    yield from _closing(node(3))


@pytest.fixture(
    params=["pypi1-sync", "pypi1-async", pytest.param("npm3", marks=pytest.mark.node)], scope="session"
)
def v2(request: pytest.FixtureRequest) -> V2:
    """Each of the users of v2."""
    name, _, colour = request.param.partition("-")
    return V2(request.getfixturevalue(name), colour or None)


@pytest.fixture(params=["sync", "async"], scope="session")
def v3(request: pytest.FixtureRequest, pypi2: Sdk) -> V3:
    return V3(pypi2, request.param)


@pytest.fixture(params=[pytest.param(None, marks=pytest.mark.node, id="npm2")], scope="session")
def v1(npm2: Sdk) -> V1:
    return V1(npm2)


# -- servers


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    """What the models say, by name."""
    return {}


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
def stringly(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """The same, for SDKs that know strings only."""
    with opened(tmp_path_factory.mktemp("stringly"), upstream, scripts, opper_strings="true") as stage:
        yield stage


@pytest.fixture(scope="session")
def strict(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Stage]:
    """A server that knows one model, takes small bodies, and has one answer under way at most."""
    scripts["known"] = hang()
    folder = tmp_path_factory.mktemp("strict")
    with opened(folder, upstream, scripts, "known", max_body=4096, max_runs=1) as stage:
        yield stage


@pytest.fixture(scope="session")
def keyed(
    upstream: Upstream, scripts: dict[str, Script], tmp_path_factory: TempPathFactory
) -> Iterator[Keyed]:
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
