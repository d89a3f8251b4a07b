"""
How fast bodies become frames: our readers beside the ones that others use.

Each run is a process of its own (``python -m bench.parsers``), in which all readers
take turns on the same pieces of the same bodies; only CPU time counts. Before a row
is measured, all of them must have given the same frames. A reader hands over what it
hands over: ours frames with bytes, the others events with text, line readers text.
The others are asked for no more than their reading: where they can be had without the
HTTP response around them, they are.
"""

from __future__ import annotations

import codecs
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from statistics import median
from time import thread_time_ns
from typing import Any, Final, NamedTuple

from penstock.dialects import native, openai_chat
from penstock.log import Record
from penstock.wire import Frame, FrameReader
from penstock.wire.ndjson import NDJSONReader
from penstock.wire.sse import SSEReader, write

from .machine import HERE, BenchError

__all__ = ["BODIES", "CUTS", "ENDS", "LINE_READERS", "OURS", "SSE_READERS", "figures"]

OURS: Final = "Penstock"
ENDS: Final = {"LF": b"\n", "CRLF": b"\r\n"}
CUTS: Final = {"64 bytes": 64, "a frame": 0, "1,460 bytes": 1460, "16 KiB": 16_384, "whole": sys.maxsize}

_RECORDING: Final = HERE.parent / "cases" / "openai-chat" / "groq-model-thinking-part-iter-1.sse"
_PICTURE: Final = b"iVBORw0KGgoAAAAN" * 2048
_PICTURES: Final = 16
_BLANK: Final = 40  # lines between one keepalive and the next

Read = Callable[[Sequence[bytes]], list[Any]]
"""Pieces of a body in, all that was in it out."""


class Body(NamedTuple):
    """What a server sends, with LF."""

    data: bytes
    lines: bool = False
    """Whether it is NDJSON."""

    def pieces(self, cut: int, end: bytes) -> list[bytes]:
        data = self.data.replace(b"\n", end)
        if cut:
            return [data[n : n + cut] for n in range(0, len(data), cut)]
        last = end if self.lines else end + end
        return [frame + last for frame in data.removesuffix(last).split(last)]


# -- what is read


def _recorded() -> bytes:
    return _RECORDING.read_bytes()


def _pictures() -> bytes:
    chunk = b'{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%b"}}]}' % _PICTURE
    return write(Frame(chunk)) * _PICTURES


def _native(written: Callable[[Frame], bytes], keepalive: bytes) -> bytes:
    """The recording as Penstock's own wire says it, with a keepalive now and then."""
    reader, decoder = SSEReader(), openai_chat.Decoder()
    events = [event for frame in reader.feed(_recorded()) for event in decoder.decode(frame)]
    encode = native.DIALECT.wire().encoder().encode
    frames = [frame for n, event in enumerate(events) for frame in encode(Record(n, 1.7e9, event))]
    placed = (Frame(frame.data, frame.event, f"e1.{n + 1}") for n, frame in enumerate(frames))
    return b"".join(written(frame) + keepalive * (n % _BLANK == 0) for n, frame in enumerate(placed))


def _chunks_by_line() -> bytes:
    return b"".join(frame.data + b"\n" for frame in SSEReader().feed(_recorded()) if frame.data[:1] == b"{")


_EVENTS, _LINES = native.DIALECT.framings
BODIES: Final[dict[str, Callable[[], Body]]] = {
    "OpenAI chat, recorded": lambda: Body(_recorded()),
    "Penstock's own wire: event, id, data": lambda: Body(_native(_EVENTS.write, b"")),
    "OpenAI chat, 32 KiB in each chunk": lambda: Body(_pictures()),
    "Penstock's own wire as NDJSON": lambda: Body(_native(_LINES.write, _LINES.keepalive), lines=True),
    "OpenAI chat chunks as NDJSON": lambda: Body(_chunks_by_line(), lines=True),
}


# -- who reads


def _ours(reader: Callable[[], FrameReader], pieces: Sequence[bytes]) -> list[Any]:
    reading = reader()
    frames: list[Frame] = []
    for piece in pieces:
        frames += reading.feed(piece)
    return frames + reading.close()


def _text() -> Callable[[bytes], str]:
    return codecs.getincrementaldecoder("utf-8")(errors="replace").decode


def _httpx_sse() -> Read:
    decoders = _peer("httpx_sse._decoders", "httpx-sse")

    def read(pieces: Sequence[bytes]) -> list[Any]:
        text, lines, decode = _text(), decoders.SSELineDecoder().decode, decoders.SSEDecoder().decode
        events = (decode(line) for piece in pieces for line in lines(text(piece)))
        return [event for event in events if event is not None]

    return read


def _httpx2_sse() -> Read:
    parser = _peer("httpx2._sse", "httpx2")._SSEParser

    def read(pieces: Sequence[bytes]) -> list[Any]:
        text, decode = _text(), parser().decode
        return [event for piece in pieces for event in decode(text(piece))]

    return read


def _sdk(package: str) -> Read:
    decoder = _peer(f"{package}._streaming", package).SSEDecoder
    return lambda pieces: list(decoder().iter_bytes(iter(pieces)))


def _sseclient() -> Read:
    client = _peer("sseclient", "sseclient-py").SSEClient
    return lambda pieces: list(client(iter(pieces)).events())


def _iter_lines(package: str) -> Read:
    """As NDJSON is read with it: what is blank is passed over."""
    http = _peer(package, package)

    class Pieces(http.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, pieces: Sequence[bytes]) -> None:
            self._pieces = pieces

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._pieces)

    def read(pieces: Sequence[bytes]) -> list[Any]:
        response = http.Response(200, stream=Pieces(pieces))
        return [line for line in response.iter_lines() if line]

    return read


def _peer(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise BenchError(f"{package} is missing: pip install -e '.[bench]'") from None


SSE_READERS: Final[dict[str, Callable[[], Read]]] = {
    OURS: lambda: partial(_ours, SSEReader),
    "httpx-sse": _httpx_sse,
    "httpx2": _httpx2_sse,
    "openai": lambda: _sdk("openai"),
    "anthropic": lambda: _sdk("anthropic"),
    "sseclient-py": _sseclient,
}
LINE_READERS: Final[dict[str, Callable[[], Read]]] = {
    OURS: lambda: partial(_ours, NDJSONReader),
    "httpx": lambda: _iter_lines("httpx"),
    "httpx2": lambda: _iter_lines("httpx2"),
}


# -- measuring


def figures(quick: bool = False) -> dict[str, float]:
    """
    Return frames per second of CPU by ``body, ends, cut, reader``, bytes per frame, and our lead.

    Raises:
        BenchError: a reader is missing, or gave other frames than ours.
    """
    command = [sys.executable, "-m", "bench.parsers", *["quick"] * quick]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        raise BenchError(done.stderr.strip().splitlines()[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measure(rounds: int) -> Iterator[tuple[str, float]]:
    readers = {kind: {name: begin() for name, begin in of.items()} for kind, of in _KINDS.items()}
    gc.collect()
    gc.freeze()  # the SDKs' modules are many objects; nobody shall pay for another's
    for title, make in BODIES.items():
        body = make()
        for ends, end in ENDS.items():
            for cut, size in CUTS.items():
                pieces, of = body.pieces(size, end), readers[body.lines]
                row = f"{title}, {ends}, {cut}"
                count = _same(row, of, pieces)
                yield f"{row}, size", sum(map(len, pieces)) / count
                costs = _costs(of, pieces, rounds)
                yield f"{row}, lead", _lead(costs)
                for name, found in costs.items():
                    yield f"{row}, {name}", count / median(found) * 1e9


_KINDS: Final = {False: SSE_READERS, True: LINE_READERS}


def _same(row: str, readers: dict[str, Read], pieces: Sequence[bytes]) -> int:
    """Return how many frames there are. Raises: BenchError (not for all readers the same)."""
    expected = [_plain(frame) for frame in readers[OURS](pieces)]
    for name, read in readers.items():
        if [_plain(frame) for frame in read(pieces)] != expected:
            raise BenchError(f"{row}: {name} reads other frames than Penstock")
    return len(expected)


def _plain(frame: Any) -> tuple[str, str, str]:
    """What everybody can say of a frame; ``message`` is the standard's word for no event name."""
    if isinstance(frame, str):
        return frame, "", ""
    data = frame.data.decode() if isinstance(frame.data, bytes) else frame.data
    return data, "" if frame.event == "message" else frame.event or "", frame.id or ""


def _costs(readers: dict[str, Read], pieces: Sequence[bytes], rounds: int) -> dict[str, list[int]]:
    """Return nanoseconds by reader, one for each turn."""
    costs: dict[str, list[int]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            began = thread_time_ns()
            read(pieces)
            costs[name].append(thread_time_ns() - began)
    return costs


def _lead(costs: dict[str, list[int]]) -> float:
    """Return how many times as fast as the fastest other we are, by what each did in the same turn."""
    ours, *others = costs.values()
    return min(median(a / b for a, b in zip(theirs, ours, strict=True)) for theirs in others)


if __name__ == "__main__":
    print(json.dumps(dict(_measure(3 if sys.argv[1:] == ["quick"] else 11))))
