"""
An upstream that plays recorded bodies: a file, or a folder of them by model name.

The recording is decoded as the live body would be, so it is a test fixture, a
demonstration and a debugging aid in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from msgspec import UNSET

from ...dialects import Dialect
from ...errors import ConfigError, ModelNotFound
from ...events import Event
from ...requests import Start
from ...wire import Framing
from ...wire.ndjson import NDJSON
from ...wire.sse import SSE

__all__ = ["Replay"]

_FRAMINGS: Final[dict[str, Framing]] = {".sse": SSE, ".ndjson": NDJSON}
_AT_ONCE: Final = 64
"""Frames decoded by one read when there is no pace."""


class Replay:
    """See :class:`penstock.engine.upstreams.Upstream`."""

    def __init__(self, path: Path, dialect: Dialect, pace: float = 0.0, **options: object) -> None:
        """
        Args:
            pace: frames per second; 0 for as fast as it goes.
            options: for the dialect's decoder.
        Raises:
            ConfigError: there are no recordings at ``path``.
        """
        self._dialect, self._pace, self._options = dialect, pace, options
        found = [path] if path.is_file() else sorted(path.glob("*"))
        self._files = {file.stem: file for file in found if file.suffix in _FRAMINGS}
        self._only = path if path.is_file() else None
        if not self._files:
            raise ConfigError(f"no .sse or .ndjson recordings at {path}", field="replay")

    @property
    def models(self) -> list[str]:
        """The names of the recordings."""
        return sorted(self._files)

    async def open(self, start: Start) -> _Tape:
        file = self._only or self._files.get(start.model)
        if file is None:
            there = ", ".join(self.models)
            raise ModelNotFound(f"there is no recording {start.model!r}; there are {there}", field="model")
        structured = start.output_schema is not UNSET
        return _Tape(file, self._dialect, self._pace, {"structured": structured, **self._options})

    async def aclose(self) -> None: ...


class _Tape:
    def __init__(self, file: Path, dialect: Dialect, pace: float, options: dict[str, object]) -> None:
        self._events = _decoded(file, dialect, options)
        self._pace = pace

    async def read(self) -> Sequence[Event] | None:
        if self._pace:
            await asyncio.sleep(1 / self._pace)
            return next(self._events, None)
        some = list(islice(self._events, _AT_ONCE))
        return [event for events in some for event in events] if some else None

    async def aclose(self) -> None: ...


def _decoded(file: Path, dialect: Dialect, options: dict[str, object]) -> Iterator[list[Event]]:
    """Yield the events of each frame."""
    reader = _FRAMINGS[file.suffix].reader()
    assert dialect.decoder is not None, "checked when the upstream was configured"
    decoder = dialect.decoder(**options)
    for frame in (*reader.feed(file.read_bytes()), *reader.close()):
        yield list(decoder.decode(frame))
    yield list(decoder.close(reader.unfinished()))
