"""The recorded bodies in ``cases/openai-chat``, and ways to cut any body in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from penstock.dialects.openai_chat import Decoder
from penstock.events import Event
from penstock.grammar import Grammar
from penstock.snapshot import Response, fold
from penstock.wire import Frame
from penstock.wire.sse import SSEReader

__all__ = ["FOLDER", "RECORDINGS", "Recording", "decoded", "frames_of", "pieces", "response_of"]

FOLDER = Path(__file__).parents[1] / "cases" / "openai-chat"


class Recording:
    """One body and what its index entry says of it."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry
        self.name: str = entry["file"].removesuffix(".sse")
        self.expected: dict[str, Any] = entry["expected"]

    def __repr__(self) -> str:
        return self.name  # what pytest calls the test

    @cached_property
    def body(self) -> bytes:
        return (FOLDER / f"{self.name}.sse").read_bytes()

    @cached_property
    def frames(self) -> list[Frame]:
        return frames_of(self.body)


RECORDINGS = [Recording(entry) for entry in json.loads((FOLDER / "index.json").read_text())["recordings"]]


def pieces(body: bytes, size: int = 1) -> Iterator[bytes]:
    """Cut ``body`` into pieces of ``size`` bytes."""
    return (body[n : n + size] for n in range(0, len(body), size))


def frames_of(*chunks: bytes) -> list[Frame]:
    """Read an SSE body that arrives in ``chunks``."""
    reader = SSEReader()
    return [frame for chunk in chunks for frame in reader.feed(chunk)]


def decoded(*chunks: bytes, **options: Any) -> list[Event]:
    """Decode a chat body that arrives in ``chunks``, to its end."""
    reader, decoder = SSEReader(), Decoder(**options)
    said = [event for chunk in chunks for frame in reader.feed(chunk) for event in decoder.decode(frame)]
    said += [event for frame in reader.close() for event in decoder.decode(frame)]
    return [*said, *decoder.close(reader.unfinished())]


def response_of(events: list[Event]) -> Response:
    """Check the events against the grammar, fold them, and return their one response."""
    Grammar().after(events)
    [response] = fold(events).responses
    return response
