"""Following, without a connection: what is asked for, what a cut means, what is told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.asking import Request
from penstock.client.following import Following
from penstock.client.refusals import unreachable
from penstock.client.ways import Begun, Name, way
from penstock.errors import CursorGone, Overloaded, PenstockError, RemoteProtocolError, UpstreamUnavailable
from penstock.events import (
    Event,
    ResponseFailed,
)
from penstock.reconnect import Policy
from unit.client.spoken import EVENTS, WIRES, frames

POLICY = Policy(attempts=3, repeats=1)
LOST = unreachable("http://x", ConnectionError("cut"))
OURS = {"penstock-stream": "st_1"}


def following(name: Name, *, native_to_end: bool = False, cursor: str = "") -> Following:
    """One that asks with requests that show the place."""
    begun = Begun(
        lambda stream, place: Request("GET" if name in ("native", "mix") else "POST", f"{stream}@{place}")
    )
    whole = {"whole_stream": True, "owed": False} if native_to_end else {}
    return Following(way(name), begun, POLICY, cursor=cursor, **whole)


def begin(one: Following, name: Name, headers: dict[str, str] = OURS) -> None:
    one.begin({"content-type": WIRES[name].framing.media_type, **headers})


def taken(one: Following) -> Iterator[Event]:
    while (event := one.take()) is not None:
        yield event


def whole(name: Name) -> list[Event]:
    """What an uninterrupted reader is told."""
    one = following(name)
    one.request()
    begin(one, name)
    one.feed(b"".join(data for _, data in frames(name)))
    if not one.ended:
        one.close()
    return list(taken(one))


every_name = pytest.mark.parametrize("name", WIRES)


@every_name
@given(limits=st.lists(st.integers(0, 4000), max_size=6), size=st.integers(1, 3000))
def test_cuts_and_pieces_make_no_difference(name: Name, limits: list[int], size: int) -> None:
    """However often it is cut, at whichever byte, and however the bytes come: it is told the same."""
    sent = frames(name)
    one, heard = following(name), list[Event]()
    for n in range(len(limits) + 1):
        rest = served(name, one.request().path, sent)
        begin(one, name)
        body = rest[: limits[n]] if n < len(limits) else rest
        for at in range(0, len(body), size):
            one.feed(body[at : at + size])
            if at % 2:
                heard += taken(one)
        if one.ended:
            break
        if body != rest:
            assert one.cut(LOST, 0.5) is not None
            one._failures = 0  # the bound has tests of its own
        else:
            one.close()
            break
    heard += taken(one)
    assert one.ended and heard == whole(name)


def served(name: Name, path: str, sent: list[tuple[str, bytes]]) -> bytes:
    """What a server sends to who asks so."""
    place = path.partition("@")[2]
    if way(name).place == "id":
        ids = [id for id, _ in sent]
        return b"".join(data for _, data in sent[ids.index(place) + 1 if place else 0 :])
    return b"".join(data for _, data in sent[int(place or 0) :])


@every_name
def test_the_place_is_that_of_the_last_frame(name: Name) -> None:
    sent = frames(name)
    one = following(name)
    one.request()
    begin(one, name)
    one.feed(b"".join(data for _, data in sent[:3]) + sent[3][1][:5])
    assert one.cut(LOST, 0.5) is not None
    place = {"id": sent[2][0], "count": "3", "replay": ""}[way(name).place]
    assert one.request().path == f"st_1@{place}"


def test_the_cursor_is_that_of_the_last_event_taken() -> None:
    one = following("native")
    one.request()
    begin(one, "native")
    one.feed(b"".join(data for _, data in frames("native")))
    told = [(event, one.cursor) for event in islice(taken(one), 3)]
    assert told == [(event, f"e1.{n}") for n, event in enumerate(EVENTS[:3], 1)]
    assert one.snapshot.response is not None and one.snapshot.response.end is None


# -- ends


@every_name
def test_a_clean_end_before_the_last_word_is_a_cut(name: Name) -> None:
    one = following(name)
    one.request()
    begin(one, name)
    with pytest.raises(UpstreamUnavailable, match="before the answer did"):
        one.close()


def test_between_answers_an_end_is_the_end() -> None:
    one = following("native", native_to_end=True)
    one.request()
    begin(one, "native")
    one.feed(b"".join(data for _, data in frames("native")))
    assert len(list(taken(one))) == len(EVENTS) and not one.ended
    one.close()
    assert one.ended


def test_within_an_answer_it_is_not() -> None:
    one = following("native", native_to_end=True, cursor="e1.3")
    one.request()
    begin(one, "native")
    one.feed(frames("native")[3][1])
    with pytest.raises(UpstreamUnavailable):
        one.close()


@pytest.mark.parametrize("name", ["openai-chat", "opper", "opper/v3", "modelrelay", "orq"])
def test_elsewhere_a_cut_ends_in_a_failure(name: Name) -> None:
    one = following(name)
    one.request()
    begin(one, name, headers={})
    one.feed(frames(name)[0][1])
    assert one.cut(LOST, 0.5) is None
    *_, end = taken(one)
    assert isinstance(end, ResponseFailed) and end.code == "truncated" and one.ended


def test_what_is_heard_again_must_be_as_long_as_before() -> None:
    sent = frames("modelrelay")
    one = following("modelrelay")
    one.request()
    begin(one, "modelrelay")
    one.feed(b"".join(data for _, data in sent[:4]))
    assert one.cut(LOST, 0.5) is not None
    one.request()
    begin(one, "modelrelay")
    one.feed(sent[0][1])
    with pytest.raises(CursorGone, match="3 frames before"):
        one.close()


def test_a_service_that_counts_anew_is_not_gone_on_with() -> None:
    one = following("mix")
    one.request()
    begin(one, "mix")
    one.feed(b'id: 7\nevent: heartbeat\ndata: {"type":"ping"}\n\n')
    one.feed(b'id: 2\nevent: heartbeat\ndata: {"type":"ping"}\n\n')
    with pytest.raises(CursorGone, match="anew"):
        list(taken(one))


@pytest.mark.parametrize("name", ["openai-chat", "opper/v3", "modelrelay"])
def test_a_number_of_frames_is_a_number(name: Name) -> None:
    with pytest.raises(CursorGone):
        following(name, cursor="e1.3")


def test_garbage_is_an_error_after_what_came_before_it() -> None:
    one = following("native")
    one.request()
    begin(one, "native")
    one.feed(frames("native")[0][1] + b"data: {}\n\n")
    assert one.take() == EVENTS[0]
    with pytest.raises(RemoteProtocolError):
        one.take()


def test_an_answer_of_another_type_is_an_error() -> None:
    one = following("native")
    one.request()
    with pytest.raises(RemoteProtocolError, match="text/html"):
        one.begin({"content-type": "text/html; charset=utf-8"})


# -- patience


def test_attempts_in_a_row_are_bounded_and_progress_resets_them() -> None:
    one = following("native")
    sent = frames("native")
    for n in range(3):
        one.request()
        begin(one, "native")
        cuts = [one.cut(LOST, 0.0) for _ in range(3)]
        assert [cut and cut.attempt for cut in cuts] == [1, 2, 3]
        one.request()
        begin(one, "native")
        one.feed(sent[n][1])
    for _ in range(3):
        one.cut(LOST, 0.0)
    with pytest.raises(UpstreamUnavailable):
        one.cut(LOST, 0.0)


@pytest.mark.parametrize(("name", "tries"), [("native", 3), ("mix", 3), ("openai-chat", 1), ("orq", 1)])
def test_what_begins_an_answer_is_not_repeated_as_often(name: Name, tries: int) -> None:
    one = following(name)
    for _ in range(tries):
        one.request()
        one.cut(LOST, 0.0)
    with pytest.raises(UpstreamUnavailable):
        one.cut(LOST, 0.0)


def test_a_keepalive_is_no_progress() -> None:
    one = following("native")
    for n in range(1, 4):
        one.request()
        begin(one, "native")
        one.feed(b": ka\n" * 10)
        cut = one.cut(LOST, 0.0)
        assert cut is not None and cut.attempt == n


def test_what_will_not_pass_is_raised_at_once() -> None:
    one = following("native")
    one.request()
    error = one.refused(410, {}, b'{"error":{"code":"cursor_gone","message":"gone"}}')
    with pytest.raises(CursorGone, match="gone"):
        one.cut(error, 0.0)


@pytest.mark.parametrize(
    ("headers", "jitter", "wait"),
    [
        ({"retry-after": "7"}, 0.5, 7.0),
        ({"retry-after-ms": "250"}, 0.5, 0.25),
        ({"retry-after": "Fri, 20 Nov 2026 20:00:09 GMT", "date": "Fri, 20 Nov 2026 20:00:00 GMT"}, 0.5, 9.0),
        ({"retry-after": "100000"}, 0.0, 0.25),
        ({"retry-after": "soon"}, 0.0, 0.25),
        ({}, 0.0, 0.25),
        ({}, 1.0, 1.0),
    ],
)
def test_a_wish_is_honoured_once(headers: dict[str, str], jitter: float, wait: float) -> None:
    one = following("native")
    one.request()
    error: PenstockError = one.refused(503, headers, b"")
    cut = one.cut(error, jitter)
    assert cut is not None and cut.wait == wait
    again = one.cut(Overloaded(), 0.0)
    assert again is not None and again.wait == 0.25


def test_a_retry_takes_the_place_of_the_first_delay() -> None:
    one = following("native")
    one.request()
    begin(one, "native")
    one.feed(b"retry: 4000\n" + frames("native")[0][1])
    waits = [cut.wait for jitter in (0.0, 1.0) if (cut := one.cut(LOST, jitter))]
    assert waits == [2.0, 16.0]


def test_a_heartbeat_at_the_same_place_is_no_progress() -> None:
    one = following("mix", cursor="e1.3")
    for n in range(1, 4):
        one.request()
        begin(one, "mix")
        one.feed(b'id: e1.3\nevent: heartbeat\ndata: {"type":"ping"}\n\n')
        cut = one.cut(LOST, 0.0)
        assert cut is not None and cut.attempt == n


@every_name
def test_a_cursor_never_passes_what_was_not_taken(name: Name) -> None:
    """Of a frame with several events, only the last one moves it."""
    sent = frames(name)
    one = following(name)
    one.request()
    begin(one, name)
    one.feed(b"".join(data for _, data in sent))
    ids = [id if way(name).place == "id" else str(n) for n, (id, _) in enumerate(sent, 1)]
    for count, _ in enumerate(taken(one), 1):
        had = ids.index(one.cursor) + 1 if one.cursor else 0
        again = following(name)
        again.request()
        begin(again, name)
        again.feed(b"".join(data for _, data in sent[:had]))
        assert len(list(taken(again))) <= count
