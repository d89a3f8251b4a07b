"""Reading a body in any dialect, whichever library it came by."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import overload

from ..dialects import Decoder, get
from ..errors import NoSuchPlugin
from ..events import Event
from ..wire import FrameReader

__all__ = ["read"]


@overload
def read(
    body: Iterable[bytes], dialect: str, *, framing: str = "", structured: bool = False
) -> Iterator[Event]: ...
@overload
def read(
    body: AsyncIterable[bytes], dialect: str, *, framing: str = "", structured: bool = False
) -> AsyncIterator[Event]: ...
def read(
    body: Iterable[bytes] | AsyncIterable[bytes],
    dialect: str,
    *,
    framing: str = "",
    structured: bool = False,
) -> Iterator[Event] | AsyncIterator[Event]:
    """
    Return the events of a body: ``for event in read(response.iter_bytes(), "openai-chat")``.

    A body that ends too early ends in ``response.failed`` (``truncated``). What its
    iterator raises is raised here. To go on after a cut takes a client, see
    :func:`penstock.connect`.

    Args:
        body: its bytes, in pieces of any size; what comes back is asynchronous if it is.
        dialect: see :func:`penstock.dialects.available`.
        framing: ``sse`` or ``ndjson``, where the dialect has both; else its usual one.
        structured: whether the text is the JSON of a data part.

    Raises:
        NoSuchPlugin: there is no such dialect or framing, or it cannot be read.
        RemoteProtocolError: while reading: these are no frames of that dialect.
    """
    reader, decoder = _parts(dialect, framing, structured)
    if isinstance(body, AsyncIterable):
        return _read_async(body, reader, decoder)
    return _read(body, reader, decoder)


def _parts(name: str, framing: str, structured: bool) -> tuple[FrameReader, Decoder]:
    dialect = get(name)
    if dialect.decoder is None:
        raise NoSuchPlugin(f"the dialect {name!r} cannot be read")
    known = {each.name: each for each in reversed(dialect.framings)}
    found = known.get(framing or dialect.framings[0].name)
    if found is None:
        raise NoSuchPlugin(f"the dialect {name!r} has no framing {framing!r}; it has {', '.join(known)}")
    return found.reader(), dialect.decoder(structured=structured)


def _read(body: Iterable[bytes], reader: FrameReader, decoder: Decoder) -> Iterator[Event]:
    for data in body:
        for frame in reader.feed(data):
            yield from decoder.decode(frame)
    yield from _rest(reader, decoder)


async def _read_async(
    body: AsyncIterable[bytes], reader: FrameReader, decoder: Decoder
) -> AsyncIterator[Event]:
    async for data in body:
        for frame in reader.feed(data):
            for event in decoder.decode(frame):
                yield event
    for event in _rest(reader, decoder):
        yield event


def _rest(reader: FrameReader, decoder: Decoder) -> Iterator[Event]:
    for frame in reader.close():
        yield from decoder.decode(frame)
    yield from decoder.close(reader.unfinished())
