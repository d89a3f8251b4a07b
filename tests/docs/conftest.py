"""One server for all documents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("docs")) as server:
        yield server
