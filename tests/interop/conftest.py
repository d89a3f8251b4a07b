"""What the interop tests need beside Python is marked, so that it can be asked for or left out."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "node: needs node, and `make test-node` to have installed its packages"
    )
