"""
An upstream that plays recorded bodies: a file, or a folder of them by model name.

The recording is decoded as the live body would be, so it is a test fixture, a
demonstration and a debugging aid in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from itertools import chain
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
from . import Budget, Sink

__all__ = ["Replay"]

_FRAMINGS: Final[dict[str, Framing]] = {".sse": SSE, ".ndjson": NDJSON}


class Replay:
    """See :class:`penstock.engine.upstreams.Upstream`."""

    def __init__(
        self, path: Path, dialect: Dialect, pace: float = 0.0, *, budget: Budget, **options: object
    ) -> None:
        """
        Args:
            pace: frames per second; 0 for as fast as it goes.
            options: for the dialect's decoder.
        Raises:
            ConfigError: there are no recordings at ``path``.
        """
        self._dialect, self._pace, self._budget, self._options = dialect, pace, budget, options
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
        options = {"structured": structured, **self._options}
        return _Tape(file, self._dialect, self._pace, self._budget, options)

    async def aclose(self) -> None: ...


class _Tape:
    def __init__(
        self, file: Path, dialect: Dialect, pace: float, budget: Budget, options: dict[str, object]
    ) -> None:
        self._pieces = _decoded(file, dialect, budget, options)
        self._frames = chain.from_iterable(self._pieces)
        self._pace = pace

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        if self._pace:
            await asyncio.sleep(1 / self._pace)
            return next(self._frames, None)
        piece = next(self._pieces, None)
        return None if piece is None else list(chain.from_iterable(piece))

    async def aclose(self) -> None:
        self._pieces.close()


def _decoded(
    file: Path, dialect: Dialect, budget: Budget, options: dict[str, object]
) -> Generator[list[list[Event]], None, None]:
    """Yield what is read at a time: the events of each frame in it."""
    reader = _FRAMINGS[file.suffix].reader()
    assert dialect.decoder is not None, "checked when the upstream was configured"
    decoder = dialect.decoder(**options)
    with file.open("rb") as body:
        while data := body.read(budget()):
            yield [list(decoder.decode(frame)) for frame in reader.feed(data)]
    rest = [list(decoder.decode(frame)) for frame in reader.close()]
    yield [*rest, list(decoder.close(reader.unfinished()))]
