"""
Breaking off one particular wait of a task, and nothing else it does.

``asyncio`` can cancel a task wherever it stands. A run that waits for its
upstream, and a reader that waits for news, may be interrupted there, but never
in the middle of an append or a send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["Interrupted", "Interruptible"]

T = TypeVar("T")


class Interrupted(Exception):
    """The wait was broken off; ``reason`` is what :meth:`Interruptible.interrupt` was given."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Interruptible:
    """One task's waits that others may break off."""

    __slots__ = ("_reason", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._reason: str | None = None

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """
        Await ``awaitable``.

        Raises:
            Interrupted: somebody called :meth:`interrupt` meanwhile, or had done so
                with ``sticky`` before.
        """
        if self._reason is not None:
            reason = self._take()
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise Interrupted(reason)
        task = self._task = asyncio.current_task()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if self._reason is None or task is None or task.uncancel() > 0:
                raise
            raise Interrupted(self._take()) from None
        finally:
            self._task = None

    def interrupt(self, reason: str, *, sticky: bool = True) -> None:
        """
        Break off the wait; if nothing is waiting, the next wait if ``sticky``.

        The first reason stands until it was raised.
        """
        if self._reason is None and (self._task is not None or sticky):
            self._reason = reason
            if self._task is not None:
                self._task.cancel()

    def _take(self) -> str:
        reason, self._reason = self._reason or "", None
        return reason
