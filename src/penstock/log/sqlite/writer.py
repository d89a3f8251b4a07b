"""
The one thread that writes.

Whatever was appended to any stream within a commit window becomes one journal
row, in one transaction; the whole batch goes back to the event loop in one call.
Between two batches the thread does housekeeping, a little at a time.

If a commit fails, everything that was on its way fails, because later offsets
follow earlier ones: the thread then waits until the loop has drawn back what was
queued meanwhile (:meth:`Writer.resume`). If housekeeping fails, appends are
refused until it succeeds, so that neither the journal nor memory can grow
without bound.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVarTuple

from ...errors import LogError
from ...events import Event
from .. import Head
from .files import LogFile
from .rows import Entry, Settlement, pack
from .settle import collect, next_doomed, prune, settle
from .tail import Tail

__all__ = ["Appended", "Outcome", "Writer"]

Ts = TypeVarTuple("Ts")

_RETRY = 0.2  # seconds between two attempts at housekeeping that failed
_ROUND_BYTES = 512 * 1024  # to settle in one transaction: a few milliseconds; more, if more comes
_ROUND_STREAMS = 64


Appended = tuple[Tail, Entry, Head, Future[Head], Sequence[Event]]
"""An entry on its way to the disk, the end once it is there, who waits for it, and what it says."""


class Outcome(NamedTuple):
    """What the event loop is told; called on its thread."""

    committed: Callable[[list[Appended]], None]
    refused: Callable[[list[Appended], LogError], None]
    settled: Callable[[list[Settlement]], None]
    unsettled: Callable[[list[Settlement], LogError], None]


class Writer:
    """A thread with the connection that writes."""

    def __init__(
        self, file: LogFile, connection: sqlite3.Connection, journal: dict[int, int], last: int, window: float
    ) -> None:
        """``journal`` says how many entries of each row are unsettled; ``last`` is the latest row."""
        self.turn = threading.Lock()
        """Held while a transaction is open."""
        self.written = 0
        """Bytes given to SQLite so far, about."""
        self._file = file
        self._connection = connection
        self._journal = journal
        self._n = last
        self._pruned = 0  # journal rows before this one are gone
        self._doomed = next_doomed(connection)
        self._portion = _ROUND_BYTES  # to settle next
        self._window = window
        self._queue: SimpleQueue[Appended | None] = SimpleQueue()  # None only wakes
        self._chores: deque[Settlement] = deque()
        self._ailing: LogError | None = None
        self._resumed = threading.Event()
        self._closing = False

    def start(self, loop: AbstractEventLoop, outcome: Outcome) -> None:
        self._loop = loop
        self._outcome = outcome
        # A daemon: a program that forgets to close its log must still be able to end.
        self._thread = threading.Thread(target=self._run, name="penstock-write", daemon=True)
        self._thread.start()

    # Called on the event loop's thread

    def put(self, appended: Appended) -> None:
        self._queue.put(appended)

    def settle(self, settlements: Iterable[Settlement]) -> None:
        self._chores.extend(settlements)
        self._queue.put(None)

    def draw_back(self) -> list[Appended]:
        """Return what is queued, which is now not going to be written."""
        return self._queued()

    def resume(self) -> None:
        """Go on after a refusal."""
        self._resumed.set()

    # Called on a thread that may block

    def join(self) -> None:
        """Write what is queued, and end the thread."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    def finish(self, settlements: Iterable[Settlement]) -> None:
        """Settle these too, after :meth:`join`. Raises: LogError."""
        self._chores.extend(settlements)
        while self._has_chores():
            self._round()
            if self._ailing:
                raise self._ailing

    def close(self) -> None:
        with self._file.explained():
            self._connection.close()

    # The thread itself

    def _run(self) -> None:
        while not (self._closing and self._queue.empty() and (self._ailing or not self._has_chores())):
            self._turn()

    def _turn(self) -> None:
        first = self._next()
        batch = [first] if first else []
        if first:
            time.sleep(self._window)
        batch += self._queued()
        if self._ailing:
            self._round()
        if batch:
            self._commit(batch)
        if self._has_chores() and not self._ailing:
            self._round()

    def _next(self) -> Appended | None:
        """Wait for something to do; return what was appended, if that is it."""
        busy = self._has_chores() and not self._ailing
        try:
            return self._queue.get(not busy, _RETRY if self._ailing else None)
        except Empty:
            return None

    def _queued(self) -> list[Appended]:
        get = self._queue.get_nowait
        return [appended for _ in range(self._queue.qsize()) if (appended := get())]

    def _commit(self, batch: list[Appended]) -> None:
        n = self._n + 1
        try:
            if self._ailing:
                raise self._ailing
            crc, data = pack([entry for _, entry, _, _, _ in batch])
            # One statement outside a transaction is its own: the thread gives up
            # the interpreter once, not three times.
            with self.turn:
                self._connection.execute("INSERT INTO journal VALUES (?, ?, ?)", (n, crc, data))
        except Exception as error:
            self._refuse(batch, self._file.explain(error))
            return
        self._n = n
        self._journal[n] = len(batch)
        self.written += len(data)
        self._portion = max(_ROUND_BYTES, 2 * len(data))
        for _, entry, _, _, _ in batch:
            entry.n = n
        self._tell(self._outcome.committed, batch)

    def _refuse(self, batch: list[Appended], error: LogError) -> None:
        self._resumed.clear()
        self._tell(self._outcome.refused, batch, error)
        while not (self._resumed.wait(_RETRY) or self._loop.is_closed()):
            pass

    def _has_chores(self) -> bool:
        return bool(self._chores) or self._pruned < self._floor() or self._collectable()

    def _floor(self) -> int:
        """Return the oldest journal row that is needed."""
        return next(iter(self._journal), self._n + 1)

    def _collectable(self) -> bool:
        return self._doomed is not None and self._doomed < self._floor()

    def _round(self) -> None:
        chores = list(self._some_chores())
        try:
            with self.turn:
                self._transact(chores)
        except Exception as error:
            self._ailing = self._file.explain(error)
            self._chores.extendleft(reversed(chores))
            self._tell(self._outcome.unsettled, chores, self._ailing)
            return
        self._ailing = None
        for entry in chain.from_iterable(chore.entries for chore in chores):
            self._journal[entry.n] -= 1
            if not self._journal[entry.n]:
                del self._journal[entry.n]
        self.written += sum(chore.size for chore in chores)
        self._tell(self._outcome.settled, chores)

    def _transact(self, chores: list[Settlement]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            settle(self._connection, chores, self._n)
            pruned = prune(self._connection, self._pruned, self._floor())
            if self._collectable():
                collect(self._connection, self._floor())
            doomed = next_doomed(self._connection)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._pruned, self._doomed = pruned, doomed

    def _some_chores(self) -> Iterator[Settlement]:
        size = 0
        for _ in range(min(len(self._chores), _ROUND_STREAMS)):
            yield (chore := self._chores.popleft())
            size += chore.size
            if size > self._portion:
                return

    def _tell(self, what: Callable[[*Ts], None], *args: *Ts) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *args)
        except RuntimeError:  # the loop is closed, and nobody is left to write for
            self._closing = True
