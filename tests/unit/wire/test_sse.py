"""Server-sent events: the standard when reading, less than the standard when writing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import FrameTooLarge, LocalProtocolError
from penstock.wire import Frame
from penstock.wire.sse import SSE, SSEReader, write
from recordings import pieces

BOM = b"\xef\xbb\xbf"


def read(*chunks: bytes, max_frame: int = 2**20) -> list[Frame]:
    reader = SSEReader(max_frame)
    return [frame for chunk in chunks for frame in reader.feed(chunk)] + reader.close()


READS = {
    "one block": (b"data: a\n\n", [Frame(b"a")]),
    "no space": (b"data:a\n\n", [Frame(b"a")]),
    "only the first space is not data": (b"data:  a \n\n", [Frame(b" a ")]),
    "data of several lines": (b"data: a\ndata:\ndata: b\n\n", [Frame(b"a\n\nb")]),
    "data without a colon": (b"data\n\n", [Frame(b"")]),
    "data without a colon, twice": (b"data\ndata\n\n", [Frame(b"\n")]),
    "a colon in the data": (b"data: a: b\n\n", [Frame(b"a: b")]),
    "event": (b"event: x\ndata: a\n\n", [Frame(b"a", "x")]),
    "the last event name counts": (b"event: x\ndata: a\nevent: y\n\n", [Frame(b"a", "y")]),
    "an event name is for one block": (b"event: x\ndata: a\n\ndata: b\n\n", [Frame(b"a", "x"), Frame(b"b")]),
    "an event without data is nothing": (b"event: x\n\ndata: a\n\n", [Frame(b"a")]),
    "an id stays": (b"id: 1\ndata: a\n\ndata: b\n\n", [Frame(b"a", "", "1"), Frame(b"b", "", "1")]),
    "an id without data stays too": (b"id: 1\n\ndata: a\n\n", [Frame(b"a", "", "1")]),
    "an empty id clears": (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [Frame(b"a", "", "1"), Frame(b"b")]),
    "an id with NUL is ignored": (b"id: 1\nid: 2\0\ndata: a\n\n", [Frame(b"a", "", "1")]),
    "event, then id": (b"event: x\nid: 1\ndata: a\n\ndata: b\n\n",
                       [Frame(b"a", "x", "1"), Frame(b"b", "", "1")]),
    "id, then event": (b"id: 1\nevent: x\ndata: a\n\nevent: y\ndata: b\n\n",
                       [Frame(b"a", "x", "1"), Frame(b"b", "y", "1")]),
    "an empty id before an event": (b"id: 1\ndata: a\n\nid: \nevent: x\ndata: b\n\n",
                                    [Frame(b"a", "", "1"), Frame(b"b", "x")]),
    "an id with NUL after an event": (b"event: x\nid: 2\0\ndata: a\n\n", [Frame(b"a", "x")]),
    "two event names in a row": (b"event: x\nevent: y\ndata: a\n\n", [Frame(b"a", "y")]),
    "data of several lines after an event": (b"event: x\nid: 1\ndata: a\ndata: b\n\n",
                                             [Frame(b"a\nb", "x", "1")]),
    "fields after the data": (b"event: x\ndata: a\nid: 1\n\n", [Frame(b"a", "x", "1")]),
    "names that are not UTF-8": (b"event: \xff\nid: \xfe\ndata: a\n\n", [Frame(b"a", "\ufffd", "\ufffd")]),
    "an unknown field": (b"wow: such\ndata: a\n\n", [Frame(b"a")]),
    "field names are exact": (b"Data: x\n data: y\ndata : z\ndata: a\n\n", [Frame(b"a")]),
    "comments": (b": one\n:two\ndata: a\n:\n\n", [Frame(b"a")]),
    "a comment between": (b"data: a\n\n: ka\ndata: b\n\n", [Frame(b"a"), Frame(b"b")]),
    "a comment block": (b": a\n\n: b\n\ndata: c\n\n", [Frame(b"c")]),
    "blank lines": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [Frame(b"a"), Frame(b"b")]),
    "a byte-order mark": (BOM + b"data: a\n\n", [Frame(b"a")]),
    "a second byte-order mark is a field": (BOM + BOM + b"data: a\ndata: b\n\n", [Frame(b"b")]),
    "a byte-order mark later is data": (b"data: " + BOM + b"\n\n", [Frame(BOM)]),
    "an unfinished block": (b"data: a\n\ndata: b\n", [Frame(b"a")]),
    "an unfinished line": (b"data: a\n\ndata: b", [Frame(b"a")]),
    "nothing": (b"", []),
    "other line ends of Unicode": ("data: \u2028\u0085\n\n".encode(), [Frame("\u2028\u0085".encode())]),
}  # fmt: skip

table = pytest.mark.parametrize(("body", "frames"), READS.values(), ids=list(READS))


@table
@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [10**6, 1, 2, 3], ids=["whole", "bytes", "twos", "threes"])
def test_reads_what_the_standard_says(body: bytes, frames: list[Frame], eol: bytes, size: int) -> None:
    assert read(*pieces(body.replace(b"\n", eol), size)) == frames


def test_line_ends_may_be_mixed() -> None:
    assert read(b"data: a\rdata: b\r\ndata: c\n\r\n", b"data: d\n\r") == [Frame(b"a\nb\nc"), Frame(b"d")]


def test_a_line_end_cut_in_two_is_one() -> None:
    assert read(b"data: a\r", b"\ndata: b\r", b"\n", b"\r", b"\n") == [Frame(b"a\nb")]


RETRIES = {"plain": (b"3000", 3000), "sign": (b"+1", None), "word": (b"soon", None), "empty": (b"", None),
           "endless": (b"9" * 5000, None)}  # fmt: skip


@pytest.mark.parametrize(("value", "retry"), RETRIES.values(), ids=list(RETRIES))
def test_retry_is_a_number_or_nothing(value: bytes, retry: int | None) -> None:
    reader = SSEReader()
    assert reader.feed(b"retry: " + value + b"\ndata: a\n\n") == [Frame(b"a")]
    assert reader.retry == retry


UNFINISHED = {
    "a whole line": (b"data: a\n\ndata: b\n", Frame(b"b")),
    "half a line": (b"data: a\n\ndata: b", Frame(b"b")),
    "all of it": (b"id: 1\nevent: x\ndata: b", Frame(b"b", "x", "1")),
    "no data": (b"data: a\n\nevent: x", None),
    "nothing": (b"data: a\n\n", None),
    "half a byte-order mark": (BOM[:2], None),
}


@pytest.mark.parametrize(("body", "frame"), UNFINISHED.values(), ids=list(UNFINISHED))
@pytest.mark.parametrize("size", [10**6, 1], ids=["whole", "bytes"])
def test_what_the_end_cut_short_is_offered_once(body: bytes, frame: Frame | None, size: int) -> None:
    reader = SSEReader()
    for piece in pieces(body, size):
        reader.feed(piece)
    assert reader.close() == []
    assert reader.unfinished() == frame
    assert reader.unfinished() is None


# -- law 2


token = st.sampled_from([b"data: ", b"data", b"id: ", b"id: 7", b"event: e", b"retry: 1", b": c", b"a", b" ",
                         b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\0", BOM, BOM[:1],
                         b"event: e\nid: 7\ndata: a\n\n", b"id: 8\nevent: f\r\ndata: "])  # fmt: skip
bodies = st.lists(token | st.binary(max_size=3), max_size=30).map(b"".join)


@given(bodies, st.lists(st.integers(0, 120), max_size=8))
def test_any_chunking_gives_the_same_frames(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert read(*(body[a:b] for a, b in pairwise(edges))) == read(body)


@given(bodies)
def test_byte_by_byte_gives_the_same_frames(body: bytes) -> None:
    assert read(*pieces(body)) == read(body)


def outcome(*chunks: bytes, max_frame: int) -> list[Frame] | None:
    try:
        return read(*chunks, max_frame=max_frame)
    except FrameTooLarge:
        return None


@given(bodies, st.integers(1, 20))
def test_the_limit_is_the_same_however_bytes_are_cut(body: bytes, max_frame: int) -> None:
    assert outcome(*pieces(body), max_frame=max_frame) == outcome(body, max_frame=max_frame)


# -- limits


def test_a_long_line_in_small_pieces_is_joined_once() -> None:
    reader = SSEReader()
    reader.feed(b"data: ")
    kept = reader._pieces
    for piece in pieces(b"x" * 2**21, 256):
        assert reader.feed(piece) == []
        assert reader._pieces is kept, "what has arrived is not copied again before its end has come"
    assert reader.feed(b"\n\n") == [Frame(b"x" * 2**21)]


def test_many_lines_of_one_block_are_joined_once() -> None:
    reader = SSEReader()
    for n in range(1000):
        assert reader.feed(b"data: x\n") == []
        assert len(reader._pieces) == n + 1, "a line's end is not yet the block's"
    assert reader.feed(b"\n") == [Frame(b"\n".join([b"x"] * 1000))]


def test_many_small_frames_in_one_read_are_linear() -> None:
    assert len(read(b"data: a\n\n" * 100_000)) == 100_000


@pytest.mark.parametrize("size", [10**6, 1, 7], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("head", [b"", b"event: e\n", b": c\n"], ids=["data", "event", "comment"])
def test_a_block_may_be_as_large_as_the_limit_and_no_larger(size: int, head: bytes) -> None:
    event, data = "e" if head.startswith(b"event") else "", b"x" * (94 - len(head))
    block = head + b"data: " + data
    assert read(*pieces(block + b"\n\n", size), max_frame=100) == [Frame(data, event)]
    assert read(b"data: a\n\n" + block + b"\n", b"\n", max_frame=100) == [Frame(b"a"), Frame(data, event)]
    with pytest.raises(FrameTooLarge, match="an SSE block exceeds 99 bytes"):
        read(*pieces(block + b"\n\n", size), max_frame=99)


def test_a_block_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(FrameTooLarge):
        read(*[b"data: x\n"] * 20, max_frame=100)


def test_the_limit_is_for_each_block() -> None:
    assert len(read(b"data: x\n\n" * 1000, max_frame=20)) == 1000


# -- writing


def test_writes_exactly_this() -> None:
    assert write(Frame(b"{}")) == b"data: {}\n\n"
    assert write(Frame(b"{}", "e", "1")) == b"event: e\nid: 1\ndata: {}\n\n"
    assert write(Frame(b"a\nb")) == b"data: a\ndata: b\n\n"
    assert SSE.keepalive == b": ka\n"


names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=10)
frames = st.builds(Frame, st.binary(max_size=40), names, names.filter(bool))


@given(st.lists(frames, max_size=5))
def test_what_is_written_reads_as_it_was(written: list[Frame]) -> None:
    """But for line ends in the data, which the wire has only one of."""
    plain = [Frame(f.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), f.event, f.id) for f in written]
    assert read(b"".join(map(write, written))) == plain


@given(st.lists(frames, max_size=5))
def test_keepalives_between_frames_mean_nothing(written: list[Frame]) -> None:
    body = b"".join(map(write, written))
    assert read(SSE.keepalive.join([b"", *map(write, written), b""])) == read(body)


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("member", ["event", "id"])
def test_nothing_breaks_out_of_its_line(bad: str, member: str) -> None:
    with pytest.raises(LocalProtocolError, match="line end or NUL"):
        write(Frame(b"{}", **{member: bad}))


def test_data_cannot_smuggle_a_field() -> None:
    assert read(write(Frame(b"a\n\nid: 9\r\rdata: b"))) == [Frame(b"a\n\nid: 9\n\ndata: b")]
