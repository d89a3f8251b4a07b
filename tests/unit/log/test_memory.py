from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.log import Log
from penstock.log.memory import MemoryLog
from penstock.testing.live_log_suite import LiveLogSuite
from penstock.testing.log_suite import LogSuite


class TestMemoryLog(LogSuite, LiveLogSuite):
    @pytest.fixture
    async def log(self) -> AsyncIterator[Log]:
        log = MemoryLog()
        yield log
        await log.aclose()
