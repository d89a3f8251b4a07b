"""
Breaking off particular waits of a task, and nothing else it does.

``asyncio`` can cancel a task wherever it stands. A run that waits for its
upstream, and a reader that waits for news, may be interrupted there, but never
in the middle of an append or a send. Marking a wait costs two attribute writes,
because a run marks one for every read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

__all__ = ["Interrupted", "Interruptible"]

T = TypeVar("T")


class Interrupted(Exception):
    """A wait was broken off; ``reason`` is what :meth:`Interruptible.interrupt` was given."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Interruptible:
    """
    One task's waits that others may break off.

    Enter it in the task; within, :meth:`open` it before each wait and
    :meth:`shut` it afterwards.
    """

    __slots__ = ("_open", "_reason", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._reason: str | None = None
        self._open = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, broken_off = self._task, self._open and self._reason is not None
        self._task, self._open = None, False
        if broken_off and isinstance(exc, asyncio.CancelledError) and task is not None:
            reason = self._take()
            if task.uncancel() == 0:
                raise Interrupted(reason) from None

    def open(self) -> None:
        """
        A wait begins.

        Raises:
            Interrupted: somebody called :meth:`interrupt`, ``sticky``, since the last one.
        """
        if self._reason is not None:
            raise Interrupted(self._take())
        self._open = True

    def shut(self) -> None:
        """The wait is over; what comes now is not to be broken off."""
        self._open = False

    def check(self) -> None:
        """Break off here if anything is to be broken off. Raises: Interrupted."""
        self.open()
        self.shut()

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await ``awaitable`` as one such wait. Raises: Interrupted."""
        with self:
            try:
                self.open()
            except Interrupted:
                if asyncio.iscoroutine(awaitable):
                    awaitable.close()
                raise
            return await awaitable

    def interrupt(self, reason: str, *, sticky: bool = True) -> None:
        """
        Break off the wait; if there is none, the next one if ``sticky``.

        The first reason stands until it was raised.
        """
        waiting = self._open and self._task is not None
        if self._reason is None and (waiting or sticky):
            self._reason = reason
            if waiting and self._task is not None:
                self._task.cancel()

    def _take(self) -> str:
        reason, self._reason = self._reason or "", None
        return reason
