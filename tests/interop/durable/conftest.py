"""The server that SDKs are cut off from, and what its model says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.durable.sdks import Driven, driven
from interop.opper.stage import Stage, opened, says
from upstream import Script, Upstream

PIECES = [f'{n}: déjà vu 流れ {"🌊" * (n % 4)}\u2028 "data:" \n\n' for n in range(60)]
"""What every answer says: bytes of all lengths, and what looks like the end of a block."""

TempPathFactory = pytest.TempPathFactory


@pytest.fixture(scope="session")
def pieces() -> list[str]:
    return PIECES


@pytest.fixture(scope="session")
def stage(tmp_path_factory: TempPathFactory) -> Iterator[Stage]:
    """``demo`` is the model of the built-in agent too."""
    scripts: dict[str, Script] = {"demo": says(*PIECES)}
    with (
        Upstream(scripts) as upstream,
        opened(tmp_path_factory.mktemp("durable"), upstream, scripts, default_model="demo") as stage,
    ):
        yield stage


@pytest.fixture(
    params=["opperai-1.7.2", "opperai-2.1.1", "orq-ai-sdk-4.1.3", "orq-ai-sdk-4.17.13"], scope="session"
)
def sdk(request: pytest.FixtureRequest, tmp_path_factory: TempPathFactory) -> Iterator[Driven]:
    """Each of the SDKs that live in environments of their own."""
    with driven(request.param, tmp_path_factory.mktemp("beside")) as sdk:
        yield sdk
