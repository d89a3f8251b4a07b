"""One value per line."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import FrameTooLarge, LocalProtocolError
from penstock.wire import Frame
from penstock.wire.ndjson import NDJSON, NDJSONReader, write
from recordings import pieces


def read(*chunks: bytes, max_frame: int = 2**20) -> list[Frame]:
    reader = NDJSONReader(max_frame)
    return [frame for chunk in chunks for frame in reader.feed(chunk)] + reader.close()


READS = {
    "lines": (b'{"a":1}\n{"b":2}\n', [Frame(b'{"a":1}'), Frame(b'{"b":2}')]),
    "CRLF": (b"1\r\n2\r\n", [Frame(b"1"), Frame(b"2")]),
    "the last line need not be ended": (b"1\n2", [Frame(b"1"), Frame(b"2")]),
    "blank lines": (b"\n\n1\n \t\n\r\n2\n\n", [Frame(b"1"), Frame(b"2")]),
    "space around": (b"  1 \n", [Frame(b"1")]),
    "a lone CR is no line end": (b'{"a":\r1}\n', [Frame(b'{"a":\r1}')]),
    "other line ends of Unicode": ('"\u2028\u0085"\n'.encode(), [Frame('"\u2028\u0085"'.encode())]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("body", "frames"), READS.values(), ids=list(READS))
@pytest.mark.parametrize("size", [10**6, 1, 2, 3], ids=["whole", "bytes", "twos", "threes"])
def test_reads_lines(body: bytes, frames: list[Frame], size: int) -> None:
    assert read(*pieces(body, size)) == frames


token = st.sampled_from([b"{}", b"\n", b"\r\n", b"\r", b" ", b"\n\n", b'{"a":"\\n"}'])
bodies = st.lists(token | st.binary(max_size=3), max_size=30).map(b"".join)


@given(bodies, st.lists(st.integers(0, 90), max_size=8))
def test_any_chunking_gives_the_same_frames(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert read(*(body[a:b] for a, b in pairwise(edges))) == read(body)


def outcome(*chunks: bytes, max_frame: int) -> list[Frame] | None:
    try:
        return read(*chunks, max_frame=max_frame)
    except FrameTooLarge:
        return None


@given(bodies, st.integers(1, 20))
def test_the_limit_is_the_same_however_bytes_are_cut(body: bytes, max_frame: int) -> None:
    assert outcome(*pieces(body), max_frame=max_frame) == outcome(body, max_frame=max_frame)


def test_a_long_line_in_small_pieces_is_joined_once() -> None:
    line = b"x" * 2**21
    reader = NDJSONReader()
    kept = reader._pieces
    for piece in pieces(line, 256):
        assert reader.feed(piece) == []
        assert reader._pieces is kept, "what has arrived is not copied again before its end has come"
    assert reader.feed(b"\n") == [Frame(line)]


def test_a_line_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert read(b"x" * 100 + b"\n", max_frame=100) == [Frame(b"x" * 100)]
    with pytest.raises(FrameTooLarge, match="an NDJSON line exceeds 99 bytes"):
        read(b"x" * 100 + b"\n", max_frame=99)


def test_a_line_that_never_ends_is_refused() -> None:
    with pytest.raises(FrameTooLarge):
        read(*[b"x" * 8] * 20, max_frame=100)


def test_nothing_is_left_unfinished() -> None:
    reader = NDJSONReader()
    reader.feed(b'{"half')
    assert reader.close() == [Frame(b'{"half')]  # whether it is JSON is for the dialect to say
    assert (reader.close(), reader.unfinished()) == ([], None)


lines = st.binary(min_size=1, max_size=20).map(lambda line: line.translate(None, b"\r\n").strip(b" \t"))


@given(st.lists(lines.filter(bool).map(Frame), max_size=5))
def test_what_is_written_reads_as_it_was(written: list[Frame]) -> None:
    assert read(NDJSON.keepalive.join([b"", *map(write, written), b""])) == written


@pytest.mark.parametrize("bad", [b"a\nb", b"a\r"])
def test_a_record_is_one_line(bad: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="line end"):
        write(Frame(bad))
