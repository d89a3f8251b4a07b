"""Bodies that are cut anywhere and continued add up to the body that was not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.client.durable.splice import Splice
from penstock.wire import Frame, ndjson, sse

SSE, NDJSON = "text/event-stream", "application/x-ndjson"

NUMBERED = [
    *(sse.write(Frame(f'{{"text":"é 🌊 {n} \\u2028"}}'.encode())) for n in range(4)),
    sse.write(Frame(b"one\ntwo")),
    sse.write(Frame(b"[DONE]")),
]
NAMED = [sse.write(Frame(b'{"n":%d}' % n, "part.delta", f"ab12.{n + 1}")) for n in range(5)]
NATIVE = [ndjson.write(Frame(b'{"cursor":"ab12.%d","at":1}' % (n + 1))) for n in range(5)]
RELAYED = [ndjson.write(Frame(b'{"type":"update","n":%d}' % n)) for n in range(5)]
WIRES = {"numbered": (SSE, NUMBERED), "named": (SSE, NAMED), "native": (NDJSON, NATIVE)}

Serve = Callable[[str], bytes]


def from_cursor(frames: list[bytes], cursors: list[str]) -> Serve:
    """Return a server that goes on after the frame whose cursor it is told."""
    places = {"": 0, **{cursor: n + 1 for n, cursor in enumerate(cursors)}}
    return lambda cursor: b"".join(frames[places[cursor] :])


def served(name: str) -> tuple[str, bytes, Serve]:
    media_type, frames = WIRES[name]
    cursors = [f"ab12.{n + 1}" if name != "numbered" else str(n + 1) for n in range(len(frames))]
    return media_type, b"".join(frames), from_cursor(frames, cursors)


def spliced(splice: Splice, serve: Serve, *cuts: int) -> bytes:
    """Read what ``serve`` sends, cut after so many bytes of each connection, and once more to its end."""
    heard = b""
    for cut in cuts:
        heard += splice.feed(serve(splice.cursor)[:cut])
        splice.cut()
    return heard + splice.feed(serve(splice.cursor)) + splice.end()


@pytest.mark.parametrize("name", WIRES)
def test_two_cuts_anywhere_lose_and_repeat_nothing(name: str) -> None:
    media_type, whole, serve = served(name)
    for first in range(len(whole) + 1):
        for second in range(0, len(whole) + 1, 7):
            assert spliced(Splice(media_type), serve, first, second) == whole, (first, second)


@pytest.mark.parametrize("over", [True, False], ids=["told", "found out"])
def test_where_the_server_starts_over_what_was_had_is_dropped(over: bool) -> None:
    whole = b"".join(RELAYED)
    for first in range(len(whole) + 1):
        for second in range(0, len(whole) + 1, 7):
            splice = Splice(NDJSON, starts_over=over)
            assert spliced(splice, lambda cursor: whole, first, second) == whole
            assert splice.heard == len(RELAYED)


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_pieces_of_any_size_let_out_whole_frames_only(name: str, size: int) -> None:
    media_type, whole, _ = served(name)
    frames, splice, heard = set(WIRES[name][1]), Splice(media_type), b""
    for at in range(0, len(whole), size):
        data = splice.feed(whole[at : at + size])
        heard += data
        assert data == b"" or any(data.endswith(frame) for frame in frames)
    assert heard == whole and splice.end() == b""


def test_comments_and_keepalives_are_not_counted() -> None:
    splice = Splice(SSE)
    said = b": ka\n: ka\ndata: 1\n\n: ping\n\nretry: 5\n\nevent: x\n\ndata\n\n"
    assert splice.feed(said) == said
    assert (splice.heard, splice.cursor) == (2, "2")
    lines = Splice(NDJSON)
    said = b'\n{"n":1}\n\r\n{"type":"keepalive"}\n{"event":"keepalive"}\n{"n":2}\n'
    assert lines.feed(said) == said and lines.heard == 2


def test_a_greeting_is_heard_once() -> None:
    """A connection may begin with a block that says where it begins; that is where its reader is already."""
    splice = Splice(SSE)
    hello, first = b"event: connected\nid: a.3\ndata: {}\nretry: 5\n\n", b"id: a.4\ndata: 4\n\n"
    again = hello.replace(b"a.3", b"a.4")
    assert splice.feed(hello) == hello and splice.cursor == "a.3"
    splice.cut()
    assert splice.feed(hello + first) == first and splice.cursor == "a.4"
    splice.cut()
    beat = b"event: heartbeat\nid: a.4\ndata: {}\n\n"
    assert splice.feed(again + beat) == b""
    later = b"id: a.5\ndata: 5\n\n"
    assert splice.feed(later + beat.replace(b"a.4", b"a.5")) == later + beat.replace(b"a.4", b"a.5")


def test_a_reader_that_begins_in_the_middle_goes_on_counting_there() -> None:
    splice = Splice(SSE, "40")
    splice.feed(b"data: 41\n\ndata: 4")
    splice.cut()
    assert splice.cursor == "41"
    assert splice.feed(b"data: 42\n\n") == b"data: 42\n\n" and splice.cursor == "42"
    unheard = Splice(SSE, "ab12.7")
    unheard.feed(b"id: ab12.8\nda")
    unheard.cut()
    assert unheard.cursor == "ab12.7"


def test_what_no_line_end_ended_is_let_out_at_the_end() -> None:
    splice = Splice(NDJSON)
    assert splice.feed(b'{"n":1}\n{"n":2}') == b'{"n":1}\n'
    assert splice.end() == b'{"n":2}' and splice.heard == 2


@pytest.mark.parametrize(("media_type", "data", "broken"), [
    (SSE, b'data: {"chunk_type":"error","error_type":"upstream"}\n\n', True),
    (SSE, b'data: {"delta":"{\\"chunk_type\\":\\"error\\"","chunk_type":"text"}\n\n', False),
    (NDJSON, b'{"event":"message_stop","stop_reason":"error"}\n', True),
    (NDJSON, b'{"event":"message_stop","stop_reason":"end_turn"}\n', False),
])  # fmt: skip
def test_failures_after_which_the_connection_is_broken(media_type: str, data: bytes, broken: bool) -> None:
    splice = Splice(media_type)
    splice.feed(data)
    assert splice.broken is broken


def test_a_long_frame_in_small_pieces_takes_linear_time() -> None:
    """A million pieces, each looked at once: if all were looked at each time, this would never end."""
    splice = Splice(SSE)
    for _ in range(1_000_000):
        splice.feed(b"x")
    assert splice.feed(b"\n\n") == b"x" * 1_000_000 + b"\n\n"
