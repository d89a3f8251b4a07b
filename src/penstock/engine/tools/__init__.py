"""
Tools that the server runs itself.

A :class:`Toolbox` runs tools of one kind: Python functions, HTTP endpoints, MCP
servers. An agent's tool names its toolbox as its ``runner``; :class:`Tools` finds
it, and sees to what holds for all of them: a limit of time, a limit of size, an
error that the model can be told.

A tool is run once for each call, or not at all. Who asked a human first is not
the business of this package.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from msgspec import UNSET, to_builtins

from ...errors import PenstockError
from ...requests import Tool
from ...wire import jsontext

__all__ = ["Asking", "ToolFault", "Toolbox", "Tools"]

_log = logging.getLogger("penstock.tools")


class ToolFault(PenstockError):
    """The tool failed. The message is for the model."""

    code = "tool_failed"
    status = 502


class Asking(NamedTuple):
    """Which call it is that a tool is run for."""

    stream: str
    response_id: str
    call_id: str
    digest: str
    """Of the call and its arguments: the same if the call is made again, and of no other."""


class Toolbox(Protocol):
    """Runs tools of one kind."""

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        """
        Return what the tool answers: a plain JSON value, or what msgspec makes one of.

        May be cancelled at any time. Raises: ToolFault; whatever else it raises is told
        to the model as a failure too.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and processes. Idempotent."""
        ...


_MARK: Final = "… [cut: {kept} of {size} characters]"


class Tools:
    """The toolboxes of a process, by the name that tools know them by."""

    def __init__(self, boxes: Mapping[str, Toolbox], max_time: float = 60.0, max_result: int = 65536) -> None:
        """
        Args:
            max_time: seconds that a tool may take.
            max_result: characters that a result may have, as text or as JSON; of more the beginning is kept.
        """
        self._boxes, self._max_time, self._max_result = dict(boxes), max_time, max_result

    def __contains__(self, runner: str) -> bool:
        return runner in self._boxes

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        """Run a tool and return its result, cut to size. Raises: ToolFault."""
        limit = self._max_time if tool.max_time is UNSET else min(tool.max_time, self._max_time)
        box = self._boxes.get(tool.runner)
        if box is None:
            raise ToolFault(f"this server has nothing that runs tools of the kind {tool.runner!r}")
        try:
            async with asyncio.timeout(limit) as timeout:
                result = await box.run(tool, arguments, asking)
        except ToolFault:
            raise
        except TimeoutError as exc:
            if timeout.expired():
                raise ToolFault(f"the tool did not answer within its limit of {limit:g} seconds") from exc
            raise ToolFault(_told(exc)) from exc
        except Exception as exc:
            _log.warning("tool %s failed in %s", tool.name, asking.response_id, exc_info=exc)
            raise ToolFault(_told(exc)) from exc
        return self._bounded(result)

    def _bounded(self, result: Any) -> Any:
        try:
            value = jsontext.decode(jsontext.encode(jsontext.scrub(to_builtins(result))))  # as the log has it
            text = value if isinstance(value, str) else jsontext.encode(value).decode()
        except (TypeError, ValueError, RecursionError) as exc:
            raise ToolFault(f"what the tool answered is not JSON: {exc}") from exc
        if len(text) <= self._max_result:
            return value
        return text[: self._max_result] + _MARK.format(kept=self._max_result, size=len(text))

    async def aclose(self) -> None:
        for name, box in self._boxes.items():
            try:
                await box.aclose()
            except Exception:
                _log.exception("the toolbox %s cannot be closed", name)


def _told(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
