"""What a log that outlives its process must keep to besides: see ``log_suite``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from ..errors import StreamNotFound, StreamSealed
from ..log import Deletes, Lists, Log, Trims
from .log_suite import answer, deltas, everything, with_abilities

__all__ = ["DurableLogSuite"]


class DurableLogSuite:
    """For a log that outlives its process: override :meth:`open_log`, which opens the same one each time."""

    @pytest.fixture
    def open_log(self) -> Callable[[], Awaitable[Log]]:
        raise NotImplementedError("override this fixture")

    async def test_everything_is_there_again(self, open_log: Callable[[], Awaitable[Log]]) -> None:
        log = await open_log()
        await log.append("open", answer("a"))
        await log.append("sealed", answer("b"), seal=True)
        await log.append("empty", [])
        before = {
            name: (await log.head(name), await everything(log, name)) for name in ("open", "sealed", "empty")
        }
        await log.aclose()
        log = await open_log()
        for name, (head, records) in before.items():
            assert (await log.head(name), await everything(log, name)) == (head, records)
        head = await log.append("open", answer("c"), expect=before["open"][0].cursor)
        assert head.cursor.offset == 8 and await log.origin("open", 6) == 4
        with pytest.raises(StreamSealed):
            await log.append("sealed", [])
        await log.aclose()

    async def test_what_was_forgotten_stays_so(self, open_log: Callable[[], Awaitable[Log]]) -> None:
        log = await open_log()
        able = with_abilities(log, Deletes, Trims, Lists)
        await log.append("deleted", deltas(1))
        await log.append("trimmed", answer("a") + answer("b"))
        await log.append("anew", deltas(1), seal=True)
        await able.delete("deleted")
        await able.delete("anew")
        await able.trim("trimmed", 4)
        head = await log.append("anew", deltas(2))
        await log.aclose()
        log = await open_log()
        with pytest.raises(StreamNotFound):
            await log.head("deleted")
        assert [record.offset for record in await everything(log, "trimmed")] == [4, 5, 6, 7]
        assert await log.head("anew") == head
        assert [info.name for info in await with_abilities(log, Lists).streams()] == ["anew", "trimmed"]
        await log.aclose()
