"""The SDKs, started once, and the servers they talk to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from interop.opper.sdks import Colour, Sdk
from interop.orq.sdks import ACTIONS, NODE, PYTHON, User, node, python
from interop.orq.stage import House, Keyed, housed
from serving import Server, create_key

TempPathFactory = pytest.TempPathFactory

USERS: Final = [
    *(pytest.param(f"pypi {release} {colour}") for release in PYTHON for colour in ("sync", "async")),
    *(pytest.param(f"npm {release}", marks=pytest.mark.node) for release in NODE),
]

DEFINING: Final = ("admin",)
ASKING: Final = ("run:write", "run:read")
TRUSTED: Final = (*ASKING, "run:review")


@pytest.fixture(scope="session")
def sdks() -> Iterator[dict[str, Sdk]]:
    """Those that have been started."""
    found: dict[str, Sdk] = {}
    yield found
    for sdk in found.values():
        sdk.close()


@pytest.fixture(params=USERS, scope="session")
def user(request: pytest.FixtureRequest, sdks: dict[str, Sdk]) -> User:
    """Each of the users."""
    return one(sdks, *request.param.split())


@pytest.fixture(params=[pytest.param(ACTIONS, marks=pytest.mark.node)], scope="session")
def reviewer(request: pytest.FixtureRequest, sdks: dict[str, Sdk]) -> User:
    """A user of the last SDK that could list actions."""
    return one(sdks, "npm", request.param)


def one(sdks: dict[str, Sdk], source: str, release: str, colour: Colour | None = None) -> User:
    name = f"{source} {release}"
    if name not in sdks:
        sdks[name] = node(release) if source == "npm" else python(release)
    return User(sdks[name], release, colour)


# -- servers


@pytest.fixture(scope="session")
def house(tmp_path_factory: TempPathFactory) -> Iterator[House]:
    with housed(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="session")
def murmuring(tmp_path_factory: TempPathFactory) -> Iterator[House]:
    """A house that cannot bear silence."""
    with housed(tmp_path_factory.mktemp("murmuring"), keepalive=0.05) as house:
        yield house


@pytest.fixture(scope="session")
def mortal(tmp_path_factory: TempPathFactory) -> Iterator[House]:
    """A house whose server may be killed, if it is started again."""
    with housed(tmp_path_factory.mktemp("mortal")) as house:
        yield house


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    keys = [create_key(folder, *scopes) for scopes in (DEFINING, ASKING, TRUSTED)]
    with housed(folder) as house:
        yield Keyed(house, *keys)


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: TempPathFactory) -> Iterator[House]:
    """A house that takes small bodies, and has one answer under way at most."""
    with housed(tmp_path_factory.mktemp("narrow"), max_body=4096, max_runs=1) as house:
        yield house


@pytest.fixture(scope="session")
def demo(house: House, tmp_path_factory: TempPathFactory) -> Iterator[House]:
    """A house whose server has the built-in models and the built-in agent."""
    with Server(tmp_path_factory.mktemp("demo")) as server:
        yield house._replace(stage=house.stage._replace(server=server))
