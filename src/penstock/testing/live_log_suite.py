"""What a live log must keep to besides: see ``log_suite``."""

from __future__ import annotations

import pytest

from ..errors import Conflict, StreamNotFound, StreamSealed
from ..events import Custom, Event, PartDelta
from ..log import FRESH, Deletes, Head, Live, Log, Record
from .log_suite import check_dense, deltas, everything, with_abilities

__all__ = ["LiveLogSuite"]


class LiveLogSuite:
    """For a log whose end is in this process; it takes the fixture of ``LogSuite``."""

    async def test_push_appends_in_order_and_before_what_is_awaited(self, log: Log) -> None:
        live = with_abilities(log, Live)
        end = (await log.append("s", deltas(2), expect=FRESH)).cursor
        pushed = live.push("s", deltas(3), expect=end)
        assert pushed is not None
        end = end._replace(offset=5)
        head = await log.append("s", deltas(1), expect=end, seal=True)
        assert pushed.done() and pushed.result() == Head(end, False)
        assert head.cursor.offset == 6
        check_dense(await everything(log, "s"))

    async def test_push_refuses_what_append_refuses(self, log: Log) -> None:
        live = with_abilities(log, Live)
        end = (await log.append("s", deltas(2))).cursor
        with pytest.raises(Conflict):
            live.push("s", deltas(1), expect=end._replace(offset=1))
        await log.append("s", [], seal=True)
        with pytest.raises(StreamSealed):
            live.push("s", deltas(1), expect=end)
        assert live.push("unknown", deltas(1), expect=end) is None
        assert len(await everything(log, "s")) == 2

    async def test_watch_tells_what_a_reader_would_read(self, log: Log) -> None:
        live = with_abilities(log, Live, Deletes)
        first = await log.append("s", deltas(1))
        told: list[tuple[Head | None, list[Record]]] = []
        watch = live.watch("s", lambda head, new: told.append((head, list(new))))
        assert watch.head == first
        odd: list[Event] = [Custom("odd", {"tuple": (1, 2)}), PartDelta("p", "x", {"more": (3,)})]
        heads = [await log.append("s", deltas(3)), await log.append("s", odd)]
        assert [head for head, _ in told] == heads
        assert [record for _, new in told for record in new] == (await everything(log, "s"))[1:]
        await live.delete("s")
        assert told[-1] == (None, [])
        watch.stop()

    async def test_a_watch_that_was_stopped_is_told_nothing(self, log: Log) -> None:
        live = with_abilities(log, Live)
        await log.append("s", deltas(1))
        told: list[Head | None] = []
        live.watch("s", lambda head, new: told.append(head)).stop()
        await log.append("s", deltas(1))
        assert told == []
        with pytest.raises(StreamNotFound):
            live.watch("unknown", lambda head, new: None)
