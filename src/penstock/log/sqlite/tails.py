"""
The tails that are in memory: found, loaded, grown, settled, let go of.

There is never more than one :class:`Tail` of a stream. Those with something
unsettled stay; of the others, the ones that were used last. Who holds on to one
longer (a reader that waits) meets the same one again.
"""

from __future__ import annotations

import time
from asyncio import Future, Task, TimerHandle, get_running_loop, shield
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar
from weakref import WeakValueDictionary

from ...errors import LogError, LogUnavailable
from .reads import Reads, find
from .rows import Settlement
from .tail import Row, Tail
from .writer import Appended, Outcome, Writer

__all__ = ["Tails"]

T = TypeVar("T")

_RESTING = 1024  # tails with nothing unsettled that stay for the next caller
_LARGE = 128 * 1024  # bytes in a tail that is to be settled at once
_OLD = 5.0  # seconds after which any tail is: what a restart has to replay
_SWEEP = 0.1  # seconds between two looks
_AT_ONCE = 256  # tails for one look; the rest wait for the next


class Tails:
    """All tails of a log. Belongs to the event loop's thread."""

    def __init__(self, reads: Reads, writer: Writer, next_id: int) -> None:
        self.unsettled: dict[int, Tail] = {}
        """By id; in the order in which their oldest unsettled entries came."""
        self._reads = reads
        self._writer = writer
        self._next_id = next_id
        self._here: dict[str, Tail] = {}
        self._resting: dict[str, Tail] = {}
        self._alive: WeakValueDictionary[str, Tail] = WeakValueDictionary()
        self._due: dict[int, Tail] = {}
        self._wanted: dict[str, Future[Tail | None]] = {}
        self._asking: Task[None] | None = None
        self._sweeping: TimerHandle | None = None
        self._over: LogError | None = None
        self._loop = get_running_loop()

    @property
    def outcome(self) -> Outcome:
        return Outcome(self._committed, self._refused, self._settled, self._unsettled)

    # Finding

    def at_hand(self, name: str) -> Tail | None:
        """Return a tail that is in memory, whatever its state."""
        return self._here.get(name)

    async def find(self, name: str) -> Tail | None:
        """Return the tail of a stream, unless there is none. Raises: LogUnavailable, LogCorrupt."""
        tail = self._here.get(name) or self._alive.get(name)
        if tail is None:
            found = await self._look_up(name)
            tail = self._alive.get(name, found)  # others asked too, and may have gone on from there
        if tail is None or tail.deleted:
            return None
        if name not in self._here:
            self._keep(tail)
            if tail.id not in self.unsettled:
                self._rest(tail)
        return tail

    def create(self, name: str) -> Tail:
        """Return the tail of a stream that is to be; :meth:`find` has said that there is none."""
        tail = Tail.new(self._next_id, name)
        self._next_id += 1
        self._keep(tail)
        return tail

    def restore(self, tail: Tail) -> None:
        """Go on with a tail that was replayed from the journal."""
        self._keep(tail)
        self._owe(tail)
        self._due[tail.id] = tail

    def _keep(self, tail: Tail) -> None:
        self._here[tail.name] = self._alive[tail.name] = tail

    def _rest(self, tail: Tail) -> None:
        self._resting[tail.name] = tail
        if len(self._resting) > _RESTING:
            name = next(iter(self._resting))
            del self._resting[name]
            self._here.pop(name, None)

    async def _look_up(self, name: str) -> Tail | None:
        """Load a tail, unless there is no such stream; one query at a time, for all who ask meanwhile."""
        name.encode()  # what has no UTF-8 is refused here, not where others wait too
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = self._loop.create_future()
            if self._asking is None:
                self._asking = self._loop.create_task(self._ask())
        return await shield(wanted)

    async def _ask(self) -> None:
        while self._wanted:
            names = list(self._wanted)
            try:
                rows = await self._reads.ask(find, names)
            except LogError as error:
                for name in names:
                    _fail(self._wanted.pop(name), error)
                continue
            # Loaded before anybody can ask again: a row read earlier than a tail
            # was let go of would be out of date.
            tails = {row.name: self._load(row) for row in rows}
            for name in names:
                self._wanted.pop(name).set_result(tails.get(name))
        self._asking = None

    def _load(self, row: Row) -> Tail:
        tail = self.unsettled.get(row.id)  # if so, it is deleted, and the row does not know yet
        if tail is None:
            tail = self._alive[row.name] = Tail.load(row)
        return tail

    # Growing

    def _committed(self, batch: list[Appended]) -> None:
        for tail, entry, head, future, events in batch:
            tail.commit(entry, head, events)
            if not future.done():
                future.set_result(head)
            if tail.id not in self.unsettled:
                self._owe(tail)
            if entry.kind or tail.size > _LARGE:
                self._due[tail.id] = tail

    def _refused(self, batch: list[Appended], error: LogError) -> None:
        # What was queued meanwhile follows what has failed.
        batch += self._writer.draw_back()
        for tail, entry, _, future, _ in reversed(batch):
            tail.retract(entry)
            tail.leaving = None
            if tail.stream is None and self._here.get(tail.name) is tail:
                del self._here[tail.name], self._alive[tail.name]
            _fail(future, error)
        self._writer.resume()

    # Settling

    async def settle(self, tail: Tail, cut: tuple[int, float] | None = None) -> None:
        """
        Settle what there is of ``tail``, and forget what is before ``cut``.

        Raises: LogUnavailable, LogCorrupt.
        """
        while tail.settling:
            await shield(tail.settling)
        if self._over:
            raise self._over
        if tail.deleted:
            return
        self._writer.settle([self._settlement(tail, cut)])
        assert tail.settling
        await shield(tail.settling)

    def older(self, before: float) -> list[Tail]:
        """Return those with something unsettled from before that time."""
        return [
            tail
            for tail in self.unsettled.values()
            if tail.unsettled and not tail.deleted and tail.entries[-tail.unsettled].at < before
        ]

    def stop(self, why: LogError) -> list[Settlement]:
        """Settle no more; return what is left to settle."""
        self._over = why
        if self._sweeping:
            self._sweeping.cancel()
        return [self._settlement(tail) for tail in list(self.unsettled.values()) if tail.settling is None]

    def close(self) -> None:
        """Let nobody wait any longer."""
        why = self._over or LogUnavailable()
        for tail in self.unsettled.values():
            if tail.settling:
                _fail(tail.settling, why)
        for tail in list(self._alive.values()):
            if tail.stream:
                tail.stream.close(why)
        self._here.clear()

    def _owe(self, tail: Tail) -> None:
        self.unsettled[tail.id] = tail
        self._here.setdefault(tail.name, tail)
        self._resting.pop(tail.name, None)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        due, self._due = self._due, {}
        due.update((tail.id, tail) for tail in islice(self._old(), _AT_ONCE))
        ready = []
        for tail in due.values():
            if tail.settling:
                self._due[tail.id] = tail
            elif tail.unsettled:
                ready.append(self._settlement(tail))
        if ready:
            self._writer.settle(ready)
        self._sweeping = self._loop.call_later(_SWEEP, self._sweep) if self.unsettled else None

    def _old(self) -> Iterator[Tail]:
        old = time.time() - _OLD
        for tail in self.unsettled.values():
            if tail.unsettled and tail.entries[-tail.unsettled].at > old:
                return
            if tail.settling is None:
                yield tail

    def _settlement(self, tail: Tail, cut: tuple[int, float] | None = None) -> Settlement:
        self.unsettled.setdefault(tail.id, tail)
        tail.settling = self._loop.create_future()
        return tail.settlement(cut)

    def _settled(self, done: list[Settlement]) -> None:
        for settlement in done:
            tail = self.unsettled.pop(settlement.id)
            tail.settle(settlement)
            self._answer(tail).set_result(None)
            if tail.unsettled:
                self.unsettled[tail.id] = tail
            elif not tail.deleted:
                self._rest(tail)
            elif self._here.get(tail.name) is tail:
                del self._here[tail.name], self._alive[tail.name]

    def _unsettled(self, chores: list[Settlement], error: LogError) -> None:
        """Tell whoever waits for it; the writer thread goes on trying."""
        for chore in chores:
            tail = self.unsettled[chore.id]
            _fail(self._answer(tail), error)
            tail.settling = self._loop.create_future()

    def _answer(self, tail: Tail) -> Future[None]:
        assert tail.settling
        answer, tail.settling = tail.settling, None
        return answer


def _fail(future: Future[T], error: LogError) -> None:
    if not future.done():
        future.set_exception(type(error)(error.message))
        future.exception()  # it may be that nobody asks any more
