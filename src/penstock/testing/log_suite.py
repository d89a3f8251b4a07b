"""
What every log must keep to, as tests that can be run over yours.

Subclass :class:`LogSuite` in a test module and say how a log is opened; if it
outlives its process, subclass ``durable_log_suite.DurableLogSuite`` too::

    class TestMyLog(LogSuite):
        @pytest.fixture
        async def log(self, tmp_path):
            log = await MyLog.open(tmp_path)
            yield log
            await log.aclose()

It needs pytest, and pytest-asyncio in auto mode. Abilities that a log does not
have (:class:`~penstock.log.Live`, ``Lists``, ``Deletes``, ``Trims``, ``Expires``) are
skipped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import pytest

from ..cursor import Cursor
from ..errors import Conflict, CursorGone, LogUnavailable, StreamNotFound, StreamSealed
from ..events import Custom, Event, PartDelta, ResponseDone, ResponseStarted, encode_events
from ..log import NEW, Deletes, Expires, Head, Lists, Live, Log, Record, Trims
from ..log.stream import REMEMBERED

__all__ = ["LogSuite", "answer", "check_dense", "deltas", "everything", "with_abilities"]

Ability = TypeVar("Ability")


class _LogAnd(Log, Live, Lists, Deletes, Trims, Expires, Protocol):
    """A log with all abilities, for the type checker."""


def deltas(count: int, text: str = "x") -> list[Event]:
    """Return ``count`` events of an answer's middle, each different."""
    return [PartDelta("p", f"{text}{n}") for n in range(count)]


def answer(name: str, count: int = 2) -> list[Event]:
    """Return an answer of ``count`` events between its first and its last."""
    return [ResponseStarted(name), *deltas(count, name), ResponseDone("stop")]


async def everything(log: Log, stream: str, cursor: Cursor | None = None) -> list[Record]:
    """Return what :meth:`~penstock.log.Log.read` yields."""
    return [record async for record in log.read(stream, cursor)]


def check_dense(records: Sequence[Record], first: int = 0) -> None:
    assert [record.offset for record in records] == list(range(first, first + len(records)))
    assert [record.at for record in records] == sorted(record.at for record in records)


def with_abilities(log: Log, *abilities: type[object]) -> _LogAnd:
    """Return ``log`` as one with these abilities; skip the test if it has not got them."""
    for ability in abilities:
        if not isinstance(log, ability):
            pytest.skip(f"this log is none of {ability.__name__}")
    return log  # type: ignore[return-value]


class LogSuite:
    """For any log: override :meth:`log` with a fixture that yields an empty one."""

    @pytest.fixture
    async def log(self) -> Log:
        raise NotImplementedError("override this fixture")

    # Appending

    async def test_append_returns_the_end_and_read_returns_the_events(self, log: Log) -> None:
        first = await log.append("s", answer("a"))
        last = await log.append("s", deltas(3))
        records = await everything(log, "s")
        assert first.cursor == Cursor(last.cursor.epoch, 4) and last.cursor.offset == 7
        assert [record.event for record in records] == answer("a") + deltas(3)
        check_dense(records)

    async def test_records_of_one_append_have_one_time(self, log: Log) -> None:
        await log.append("s", deltas(3))
        assert len({record.at for record in await everything(log, "s")}) == 1

    async def test_what_is_read_is_what_its_json_says(self, log: Log) -> None:
        data = {"list": [1, 2.5, None, True], "text": 'ü \u2028 "quoted" \\ \x00 🎉'}
        await log.append("s", [Custom("c", data), Custom("t", (1, 2))])
        data["list"] = "changed by its owner"
        stored, pair = [record.event for record in await everything(log, "s")]
        assert isinstance(stored, Custom) and stored.data["list"] == [1, 2.5, None, True]
        assert stored.data["text"] == data["text"] and pair == Custom("t", [1, 2])

    async def test_a_large_event(self, log: Log) -> None:
        events = [PartDelta("p", "x" * 1_000_000), PartDelta("p", "y")]
        await log.append("s", events)
        assert [record.event for record in await everything(log, "s")] == events

    @pytest.mark.parametrize("name", ["a/b c", "ü🎉", "x'; DROP TABLE streams; --", "n" * 500, "%", ""])
    async def test_any_text_is_a_name(self, log: Log, name: str) -> None:
        await log.append(name, deltas(1))
        await log.append("other", deltas(2))
        assert (await log.head(name)).cursor.offset == 1

    async def test_streams_have_epochs_of_their_own(self, log: Log) -> None:
        heads = [await log.append(name, deltas(1)) for name in "abc"]
        assert len({head.cursor.epoch for head in heads}) == 3
        assert all(head.cursor.epoch.isalnum() for head in heads)

    async def test_no_events_create_an_empty_stream(self, log: Log) -> None:
        head = await log.append("s", [])
        assert head == await log.head("s") == Head(Cursor(head.cursor.epoch), False)
        assert await everything(log, "s") == await log.batch("s", head.cursor) == []

    async def test_appends_that_are_not_awaited_one_by_one_keep_their_order(self, log: Log) -> None:
        heads = await asyncio.gather(*(log.append("s", [PartDelta("p", str(n))]) for n in range(100)))
        assert [head.cursor.offset for head in heads] == list(range(1, 101))
        records = await everything(log, "s")
        assert [record.event for record in records] == [PartDelta("p", str(n)) for n in range(100)]

    async def test_a_cancelled_append_has_appended(self, log: Log) -> None:
        await log.append("s", deltas(1))
        task = asyncio.ensure_future(log.append("s", deltas(1, "cancelled")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await log.append("s", deltas(1, "later"))
        events = [record.event for record in await everything(log, "s")]
        assert events == deltas(1) + deltas(1, "cancelled") + deltas(1, "later")

    async def test_what_has_no_json_is_not_appended(self, log: Log) -> None:
        with pytest.raises(TypeError):
            await log.append("s", [Custom("c", object())])
        with pytest.raises(StreamNotFound):
            await log.head("s")

    # Who may append

    async def test_expect_the_end(self, log: Log) -> None:
        head = await log.append("s", deltas(2), expect=NEW)
        head = await log.append("s", deltas(2), expect=head.cursor)
        assert head.cursor.offset == 4

    async def test_expecting_anything_else_appends_nothing(self, log: Log) -> None:
        head = await log.append("s", deltas(2))
        epoch = head.cursor.epoch
        for wrong in (NEW, Cursor(epoch, 1), Cursor(epoch, 3), Cursor("0", 2)):
            with pytest.raises(Conflict):
                await log.append("s", deltas(1), expect=wrong)
        assert await log.head("s") == head

    async def test_expecting_a_stream_that_is_not_there(self, log: Log) -> None:
        with pytest.raises(Conflict):
            await log.append("s", deltas(1), expect=Cursor("cafe", 0))
        with pytest.raises(StreamNotFound):
            await log.head("s")

    async def test_one_of_many_that_expect_the_same_wins(self, log: Log) -> None:
        for expect in (NEW, None):
            cursor = expect or (await log.head("s")).cursor
            found = await asyncio.gather(
                *(log.append("s", deltas(1), expect=cursor) for _ in range(20)), return_exceptions=True
            )
            assert sum(isinstance(head, Head) for head in found) == 1
            assert sum(isinstance(head, Conflict) for head in found) == 19

    async def test_a_sealed_stream_takes_no_more(self, log: Log) -> None:
        head = await log.append("s", deltas(1), seal=True)
        assert head.sealed and head == await log.head("s")
        with pytest.raises(StreamSealed):
            await log.append("s", deltas(1))
        with pytest.raises(StreamSealed):
            await log.append("s", [], seal=True)
        with pytest.raises(Conflict):  # who is out of date hears that first
            await log.append("s", deltas(1), expect=Cursor(head.cursor.epoch, 0))
        assert len(await everything(log, "s")) == 1

    async def test_seal_alone(self, log: Log) -> None:
        head = await log.append("s", deltas(2))
        sealed = await log.append("s", [], expect=head.cursor, seal=True)
        assert sealed == Head(head.cursor, True)

    # Reading

    async def test_nothing_is_known_of_an_unknown_stream(self, log: Log) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: log.head("s"),
            lambda: log.batch("s", None),
            lambda: everything(log, "s"),
            lambda: log.origin("s", 0),
            lambda: log.wait("s", Head(NEW, False)),
        ]
        for call in calls:
            with pytest.raises(StreamNotFound, match="'s'"):
                await call()

    async def test_read_from_every_cursor(self, log: Log) -> None:
        head = await log.append("s", deltas(5))
        await log.append("s", deltas(5))
        whole = await everything(log, "s")
        for offset in range(11):
            cursor = Cursor(head.cursor.epoch, offset)
            assert await everything(log, "s", cursor) == whole[offset:]
            some = await log.batch("s", cursor)  # which need not be all
            assert some == whole[offset : offset + len(some)] and bool(some) == (offset < 10)

    async def test_a_cursor_inside_a_record_gets_it_whole(self, log: Log) -> None:
        epoch = (await log.append("s", deltas(3))).cursor.epoch
        assert [record.offset for record in await log.batch("s", Cursor(epoch, 1, 2))] == [1, 2]

    async def test_cursors_that_lead_nowhere(self, log: Log) -> None:
        epoch = (await log.append("s", deltas(2))).cursor.epoch
        for cursor in (Cursor(epoch, 3), Cursor(epoch, 2, 1), Cursor("0", 0), Cursor("0", 2), NEW):
            with pytest.raises(CursorGone, match="'s'"):
                await log.batch("s", cursor)
            with pytest.raises(CursorGone):
                await everything(log, "s", cursor)

    async def test_batches_are_bounded_and_without_gaps(self, log: Log) -> None:
        for n in range(60):
            await log.append("s", deltas(50, "x" * (n * 20)))
        cursor, seen = (await log.head("s")).cursor._replace(offset=0), 0
        while records := await log.batch("s", cursor, 7 + seen % 100):
            assert len(records) <= 7 + seen % 100
            check_dense(records, seen)
            seen += len(records)
            cursor = cursor._replace(offset=seen)
        assert seen == 3000
        check_dense(await everything(log, "s"))

    async def test_a_reader_sees_what_comes_while_it_reads(self, log: Log) -> None:
        await log.append("s", deltas(3))
        seen = []
        async for record in log.read("s"):
            seen.append(record)
            if record.offset == 2:
                await log.append("s", deltas(2))
        check_dense(seen)
        assert len(seen) == 5

    # Waiting

    async def test_wait_returns_at_once_if_the_end_is_elsewhere(self, log: Log) -> None:
        before = await log.append("s", deltas(1))
        after = await log.append("s", deltas(1))
        assert await asyncio.wait_for(log.wait("s", before), 1) == after

    async def test_wait_for_records_and_for_the_seal(self, log: Log) -> None:
        head = await log.append("s", deltas(1))
        for events, seal in ((deltas(1), False), ([], True)):
            waiting = asyncio.ensure_future(log.wait("s", head))
            await asyncio.sleep(0.005)
            assert not waiting.done()
            head = await log.append("s", events, seal=seal)
            assert await asyncio.wait_for(waiting, 1) == head

    async def test_many_wait_and_some_go_away(self, log: Log) -> None:
        head = await log.append("s", deltas(1))
        waiting = [asyncio.ensure_future(log.wait("s", head)) for _ in range(1000)]
        await asyncio.sleep(0.01)
        for task in waiting[::3]:
            task.cancel()
        head = await log.append("s", deltas(1))
        found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert sum(isinstance(end, asyncio.CancelledError) for end in found) == 334
        assert found.count(head) == 666

    async def test_nothing_is_seen_before_it_is_acknowledged_to_all(self, log: Log) -> None:
        head = await log.append("s", deltas(1))
        appending = asyncio.ensure_future(log.append("s", deltas(1)))
        seen = await asyncio.wait_for(log.wait("s", head), 1)
        assert len(await log.batch("s", head.cursor)) == 1
        assert await asyncio.wait_for(appending, 1) == seen

    # Where answers begin

    async def test_origin(self, log: Log) -> None:
        await log.append("s", deltas(3))
        for n in range(50):
            await log.append("s", answer(str(n)))
        await log.append("s", answer("x") + answer("y"))
        records = await everything(log, "s")
        latest = 0
        for record in records:
            if isinstance(record.event, ResponseStarted):
                latest = record.offset
            assert await log.origin("s", record.offset) == latest
        assert await log.origin("s", len(records)) == latest

    # Lists

    async def test_lists_the_youngest_first(self, log: Log) -> None:
        able = with_abilities(log, Lists)
        assert await able.streams() == []
        for name in "abcde":
            await log.append(name, deltas(1), seal=name in "bd")
        await log.append("a", deltas(1))
        infos = await able.streams()
        assert [info.name for info in infos] == list("edcba")
        assert [info.head for info in infos] == [await log.head(name) for name in "edcba"]
        assert infos[-1].updated_at >= infos[-1].created_at > 0

    async def test_lists_a_page_of_what_is_sealed_or_not(self, log: Log) -> None:
        able = with_abilities(log, Lists)
        for name in "abcdefgh":
            await log.append(name, deltas(1), seal=name in "bdf")
        for sealed, names in ((None, "hgfedcba"), (True, "fdb"), (False, "hgeca")):
            found, before = "", None
            while page := await able.streams(before=before, limit=2, sealed=sealed):
                assert len(page) <= 2
                before = page[-1].name
                found += "".join(info.name for info in page)
            assert found == names
        with pytest.raises(StreamNotFound):
            await able.streams(before="unknown")

    # Deletes

    async def test_a_deleted_stream_is_not_there(self, log: Log) -> None:
        able = with_abilities(log, Deletes)
        head = await log.append("s", deltas(2))
        waiting = asyncio.ensure_future(log.wait("s", head))
        await asyncio.sleep(0)
        await able.delete("s")
        with pytest.raises(StreamNotFound):
            await asyncio.wait_for(waiting, 1)
        with pytest.raises(StreamNotFound):
            await log.head("s")
        with pytest.raises(StreamNotFound):
            await able.delete("s")

    async def test_a_stream_created_anew_is_another_one(self, log: Log) -> None:
        able = with_abilities(log, Deletes)
        old = await log.append("s", deltas(2), seal=True)
        await able.delete("s")
        with pytest.raises(Conflict):
            await log.append("s", deltas(1), expect=old.cursor)
        new = await log.append("s", deltas(2, "new"), expect=NEW)
        assert new.cursor.epoch != old.cursor.epoch and not new.sealed
        with pytest.raises(CursorGone):
            await log.batch("s", old.cursor)
        assert [record.event for record in await everything(log, "s")] == deltas(2, "new")
        if isinstance(log, Lists):
            assert [info.name for info in await log.streams()] == ["s"]

    async def test_delete_in_the_middle_of_appends(self, log: Log) -> None:
        able = with_abilities(log, Deletes)
        await log.append("s", deltas(1))
        *appended, deleted, new = await asyncio.gather(
            log.append("s", deltas(1)), able.delete("s"), log.append("s", deltas(1, "new")),
            return_exceptions=True,
        )  # fmt: skip
        assert deleted is None and isinstance(appended[0], Head) and isinstance(new, Head)
        assert [record.event for record in await everything(log, "s")] == deltas(1, "new")

    # Trims

    async def test_trim_forgets_whole_answers(self, log: Log) -> None:
        able = with_abilities(log, Trims)
        head = await log.append("s", answer("a"))
        await log.append("s", answer("b"))
        whole = await everything(log, "s")
        for before, first in ((0, 0), (3, 0), (4, 4), (6, 4), (2, 4), (100, 4)):
            assert await able.trim("s", before) == first
            assert await everything(log, "s") == whole[first:]
        for offset in range(4):
            with pytest.raises(CursorGone, match="4"):
                await log.batch("s", Cursor(head.cursor.epoch, offset))
        assert await log.origin("s", 1) == 4
        assert (await log.append("s", deltas(1))).cursor.offset == 9

    async def test_trim_forgets_all_of_a_sealed_stream(self, log: Log) -> None:
        able = with_abilities(log, Trims)
        head = await log.append("s", answer("a"), seal=True)
        assert await able.trim("s", 4) == 4
        assert await log.head("s") == head and await log.batch("s", head.cursor) == []
        for cursor in (None, Cursor(head.cursor.epoch, 0), Cursor(head.cursor.epoch, 3)):
            with pytest.raises(CursorGone):
                await log.batch("s", cursor)
        with pytest.raises(StreamNotFound):
            await able.trim("unknown", 1)

    # Expires

    async def test_expire_what_is_old(self, log: Log) -> None:
        able = with_abilities(log, Expires)
        await log.append("old", answer("a"), seal=True)
        await log.append("open", answer("a"))
        await log.append("both", answer("a"))
        await asyncio.sleep(0.01)
        young = await log.append("both", answer("b"))
        limit = (await log.batch("both", young.cursor._replace(offset=4)))[0].at
        assert await able.expire(0) == 0
        assert await able.expire(limit) == 3
        assert await able.expire(limit) == 0
        assert [record.offset for record in await everything(log, "both")] == [4, 5, 6, 7]
        for name in ("old", "open"):
            assert (await log.head(name)).sealed
            with pytest.raises(CursorGone):
                await log.batch(name, None)

    async def test_what_expired_is_remembered_for_a_while(self, log: Log) -> None:
        able = with_abilities(log, Expires)
        head = await log.append("s", answer("a"))
        limit = (await log.batch("s", None))[0].at + 1
        assert await able.expire(limit) == 1
        assert await able.expire(limit + REMEMBERED - 2) == 0
        with pytest.raises(CursorGone):
            await log.batch("s", head.cursor._replace(offset=0))
        await able.expire(limit + REMEMBERED + 1)
        with pytest.raises(StreamNotFound):
            await log.head("s")

    # All at once

    async def test_a_thousand_steps_at_random(self, log: Log) -> None:
        dice = random.Random(0)
        model: dict[str, list[Event]] = {}
        heads: dict[str, Head] = {}
        for step in range(1000):
            name = dice.choice("abcdefgh")
            match dice.choice(["append", "append", "append", "read", "seal", "delete"]):
                case "append" if name not in heads or not heads[name].sealed:
                    events = (
                        answer(str(step)) if dice.random() < 0.2 else deltas(dice.randrange(9), str(step))
                    )
                    expect = heads[name].cursor if name in heads else NEW
                    heads[name] = await log.append(name, events, expect=expect)
                    model[name] = model.get(name, []) + events
                case "seal" if name in heads and not heads[name].sealed and dice.random() < 0.2:
                    heads[name] = await log.append(name, [], seal=True)
                case "delete" if name in heads and isinstance(log, Deletes) and dice.random() < 0.2:
                    await log.delete(name)
                    del model[name], heads[name]
                case "read" if name in heads:
                    start = dice.randint(0, len(model[name]))
                    records = await everything(log, name, heads[name].cursor._replace(offset=start))
                    check_dense(records, start)
                    stored = encode_events([record.event for record in records])
                    assert stored == encode_events(model[name][start:])
        for name, head in heads.items():
            assert await log.head(name) == head

    # The end

    async def test_a_closed_log_refuses(self, log: Log) -> None:
        head = await log.append("s", deltas(1))
        waiting = asyncio.ensure_future(log.wait("s", head))
        await asyncio.sleep(0)
        await asyncio.gather(log.aclose(), log.aclose())
        await log.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: waiting,
            lambda: log.append("s", deltas(1)),
            lambda: log.append("new", deltas(1)),
            lambda: log.head("s"),
            lambda: log.batch("s", None),
            lambda: log.wait("s", head),
        ]
        for call in calls:
            with pytest.raises(LogUnavailable):
                await asyncio.wait_for(call(), 1)
