"""The stream of a session through the real SDK: where it begins, how it goes on, that nothing is lost."""

from __future__ import annotations

import json
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest

from interop.mix.users import POSTCARD, ROLL, ROLLED, Heard, User, blocks, content, names, refused, scripted
from interop.opper.stage import END, Stage, Tap, paused, says
from serving import Server
from upstream import chunk, sse

TALKS = ROLL, (says("And", " that", " is", " all."),)
"""The models of a session of two turns."""


def two_turns(stage: Stage) -> str:
    return scripted(stage, *TALKS[0], *TALKS[1])


def conversation(user: User, session: str) -> list[Heard]:
    """Have two turns, and return what somebody heard who was there all the time."""
    with user.stream(session) as observer:
        user.send(session, "Roll.")
        first = observer.until("complete")
        user.send(session, "And?")
        return first + observer.until("complete")


# -- what comes first


def test_the_greeting_comes_though_nothing_happens(stage: Stage, ada: User) -> None:
    session = ada.session()
    where = urlsplit(stage.url)
    with socket.create_connection((where.hostname, where.port), 60) as connection:
        connection.sendall(b"GET /stream?sessionId=%b HTTP/1.1\r\nhost: localhost\r\n\r\n" % session.encode())
        said = b""
        while b"retry: " not in said or not said.endswith(b"\n\n\r\n"):
            said += connection.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.lower().decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "http/1.1 200 ok"
    assert headers["content-type"] == "text/event-stream" and "no-cache" in headers["cache-control"]
    assert headers["transfer-encoding"] == "chunked", "a cut must be visible as an error"
    assert "content-encoding" not in headers
    assert body.split(b"\r\n")[1].startswith(b"id: ")


def test_a_connection_begins_with_its_place(user: User, stage: Stage) -> None:
    session = scripted(stage, says("A"), says("B"))
    with user.stream(session) as stream:
        assert stream.connected.data == {"sessionId": session}
        assert 1000 <= (stream.connected.retry or 0) <= 3000
        place = stream.connected.id
        user.send(session)
        first = stream.until("complete")
    assert names(first)[0] == "user_message_created"
    with user.stream(session, place) as again:  # it was cut right after its greeting
        assert again.connected.id == place
        assert again.until("complete") == first
    with user.stream(session) as fresh:
        assert fresh.connected.id == first[-1].id
        user.send(session)
        second = fresh.until("complete")
    assert content(second) == "B", "of the turn before it there is nothing"
    with user.stream(session, first[-1].id) as behind:
        assert behind.until("complete") == second


@pytest.mark.parametrize("last", ["", None])
def test_no_place_is_none(ada: User, stage: Stage, last: str | None) -> None:
    session = scripted(stage, says("A"), says("B"))
    ada.turn(session)
    headers = {} if last is None else {"Last-Event-ID": last}
    with ada.stream(session, http_headers=headers) as stream:
        ada.send(session)
        assert content(stream.until("complete")) == "B"


# -- going on


def test_cut_at_every_event_nothing_is_lost_or_repeated(user: User, stage: Stage) -> None:
    session = two_turns(stage)
    whole = conversation(user, session)
    assert names(whole) == [*ROLLED, "user_message_created", *["content"] * 4, "complete"]
    assert len({heard.id for heard in whole}) == len(whole)
    with user.stream(session, "0") as everything:
        assert everything.until("complete", 2) == whole
    for at, cut in enumerate(whole):
        with user.stream(session, cut.id) as stream:
            assert stream.connected.id == cut.id
            turns = names(whole[at + 1 :]).count("complete")
            assert stream.until("complete", turns) == whole[at + 1 :]


def test_a_reader_who_comes_back_after_every_event_misses_nothing(user: User, stage: Stage) -> None:
    session, heard = two_turns(stage), list[Heard]()
    with user.stream(session) as observer:
        last = observer.connected.id
        for text in ("Roll.", "And?"):
            user.send(session, text)
            done = names(heard).count("complete") + 1
            while names(heard).count("complete") < done:
                with user.stream(session, last) as moment:
                    heard.append(moment.next())
                    last = moment.last
        assert observer.until("complete", 2) == heard


def test_a_cut_is_an_error_and_no_loss(user: User, stage: Stage) -> None:
    """The connection breaks wherever it has got to, again and again while the model speaks."""
    go = [threading.Event() for _ in range(4)]
    first, *rest = (chunk(f"{n} ") for n in range(5))
    script = sse(first)
    for event, piece in zip(go, rest, strict=True):
        script = paused(script, event.wait, piece)
    session = scripted(stage, paused(script, lambda: None, *END))
    heard: list[Heard] = []
    with user.stream(session) as observer:
        last = observer.connected.id
        user.send(session)
        for event in go:
            with Tap(stage.server) as tap, user.stream(session, last, server_url=tap.url) as stream:
                heard += stream.until("content")
                last = stream.last
                tap.cut()
                with pytest.raises(httpx.TransportError):
                    stream.next()
            event.set()
        with user.stream(session, last) as stream:
            heard += stream.until("complete")
        assert observer.until("complete") == heard
    assert content(heard) == "0 1 2 3 4 "


def test_every_replay_is_the_same_bytes(stage: Stage, ada: User) -> None:
    session = scripted(stage, *ROLL, says("Ströme 🌊"))
    ada.turn(session)
    ada.turn(session)
    _, *whole = blocks(stage.url, session, "0", turns=2)
    for at in range(len(whole) - 1):
        last = whole[at].split(b"\n")[0].removeprefix(b"id: ").decode()
        turns = sum(b"event: complete" in block for block in whole[at + 1 :])
        assert blocks(stage.url, session, last, turns=turns)[1:] == whole[at + 1 :]


# -- places that are none


def test_a_place_that_is_none_is_an_error(user: User, stage: Stage) -> None:
    session, other = scripted(stage, says("A")), scripted(stage, says("B"))
    place = user.turn(session)[-1].id
    foreign = user.turn(other)[-1].id
    epoch, _, offset = place.partition(".")
    wrong = [foreign, "7", "00", "-1", "banana", "é", "é.1", "x" * 5000, f"{epoch}.", f"{epoch}.-1",
             f"{epoch}.{int(offset) + 1}", f"{epoch}.{int(offset)}.1", f"{epoch}.99999999999999999",
             f"{epoch}.{'9' * 40}", f"{epoch}.1.1.1", f"{place},{place}"]  # fmt: skip
    for last in wrong:
        headers = {b"last-event-id": last.encode("latin-1")}
        path = f"{stage.url}/stream?sessionId={session}"
        with httpx.stream("GET", path, headers=headers, verify=False) as answer:
            assert answer.status_code in (400, 410), last
            assert json.loads(answer.read())["error"]["code"] == answer.status_code
    for last in (foreign, "banana", f"{epoch}.99"):
        refused(
            user, "streaming.stream_events", 410, "bad_request", declared=False,
            session_id=session, last_event_id=last,
        )  # fmt: skip


# -- turns under way


def test_a_fresh_reader_has_a_turn_under_way_from_its_beginning(
    user: User, stage: Stage, gate: threading.Event
) -> None:
    begins = paused(sse(chunk("B"), chunk("C")), gate.wait, chunk("D"), *END)
    session = scripted(stage, says("A"), begins)
    user.turn(session)
    with user.stream(session) as observer:
        user.send(session)
        said = observer.until("content", 2)
        with user.stream(session) as late, user.stream(session) as later:
            early = late.until("content", 2)
            assert early == said and names(early)[0] == "user_message_created"
            gate.set()
            end = observer.until("complete")
            assert late.until("complete") == end
            assert later.until("complete") == said + end


def test_a_fresh_reader_has_a_pending_permission(user: User, stage: Stage) -> None:
    session = scripted(stage, says("A"), *POSTCARD)
    user.turn(session)
    with user.stream(session) as observer:
        user.send(session)
        asked = observer.until("permission")
        with user.stream(session) as other:
            assert other.until("permission") == asked
            user("permissions.grant", id=asked[-1].data["id"])
            assert other.until("complete") == observer.until("complete")


def test_a_fresh_reader_has_a_message_that_had_to_wait(
    user: User, stage: Stage, gate: threading.Event
) -> None:
    """Its turn begins with it, though it was said before the last one ended."""
    again = threading.Event()
    first = paused(sse(chunk("A")), gate.wait, *END)
    session = scripted(stage, first, paused(sse(chunk("B")), again.wait, *END))
    with user.stream(session) as observer:
        user.send(session, "one")
        observer.until("content")
        user.send(session, "two")
        with user.stream(session) as early:
            assert names(early.until("content")) == ["user_message_created", "content"]
            gate.set()
            assert names(early.until("content")) == ["complete", "user_message_created", "content"]
        observer.until("content")
        with user.stream(session) as late:
            begun = late.until("content")
            assert names(begun) == ["user_message_created", "content"]
            assert (begun[0].data["content"], content(begun)) == ("two", "B")
            again.set()
            late.until("complete")


# -- silence


def test_a_heartbeat_says_where_the_reader_stands(murmuring: Stage, gate: threading.Event) -> None:
    session = scripted(murmuring, paused(sse(chunk("A")), gate.wait, chunk("B"), *END))
    with User(murmuring.url) as user, user.stream(session) as stream:
        beat = stream.any()
        assert (beat.event, beat.data, beat.id) == ("heartbeat", {"type": "ping"}, stream.connected.id)
        user.send(session)
        said = stream.until("content")
        while (beat := stream.any()).event != "heartbeat":
            pass
        # What tells nothing may lie between the two: the id is not always that of the last event.
        with user.stream(session, beat.id) as again:
            gate.set()
            rest = stream.until("complete")
            assert again.until("complete") == rest
        assert content(said + rest) == "AB"
        with user.stream(session, stream.any().id) as end:
            assert end.any().event == "heartbeat"


def test_heartbeats_are_not_of_the_log(murmuring: Stage) -> None:
    session = scripted(murmuring, *POSTCARD)
    with User(murmuring.url) as user, user.stream(session) as stream:
        user.send(session)
        asked = stream.until("permission")
        for _ in range(3):
            assert stream.any().event == "heartbeat"
        user("permissions.grant", id=asked[-1].data["id"])
        rest = stream.until("complete")
        with user.stream(session, "0") as again:
            assert again.until("complete") == asked + rest


# -- many, and none


def test_all_tabs_hear_the_same(user: User, stage: Stage) -> None:
    session = two_turns(stage)
    with user.stream(session) as one, user.stream(session) as two, user.stream(session) as three:
        whole = conversation(user, session)
        assert [tab.until("complete", 2) for tab in (one, two, three)] == [whole] * 3


def test_a_session_goes_on_without_anybody_there(user: User, stage: Stage) -> None:
    attended, alone = two_turns(stage), two_turns(stage)
    whole = conversation(user, attended)
    user.send(alone, "Roll.")
    user.send(alone, "And?")
    with user.stream(alone, "0") as stream:
        found = stream.until("complete", 2)
    assert [gist(heard) for heard in found] == [gist(heard) for heard in whole]


def gist(heard: Heard) -> tuple[str, dict[str, object]]:
    """What was heard, less what is another one's in another session."""
    own = ("messageId", "assistantMessageId", "reasoningDuration")
    return heard.event, {key: value for key, value in heard.data.items() if key not in own}


def test_a_reader_who_leaves_disturbs_nobody(user: User, stage: Stage, gate: threading.Event) -> None:
    session = scripted(stage, paused(sse(chunk("A")), gate.wait, chunk("B"), *END))
    with user.stream(session) as leaving:
        user.send(session)
        leaving.until("content")
    gate.set()
    with user.stream(session, "0") as stream:
        assert content(stream.until("complete")) == "AB"


def test_a_session_that_is_deleted_ends_its_readers(user: User, stage: Stage, gate: threading.Event) -> None:
    session = scripted(stage, paused(sse(chunk("A")), gate.wait, *END))
    idle = user.session()
    with user.stream(session) as stream, user.stream(idle) as resting:
        user.send(session)
        stream.until("content")
        for each in (session, idle):
            user("sessions.delete", id=each)
        assert stream.rest() == resting.rest() == []
    refused(user, "streaming.stream_events", 404, "not_found", session_id=session)


# -- words of older SDKs

OLD = "speakeasy-sdk/python {} 2.755.9 1.0.0 mix-python-sdk"


@pytest.mark.parametrize(
    ("version", "generation", "kinds"),
    [
        ("0.8.1", "", ROLLED),
        ("0.7.3", "tool", ["user_message_created", "thinking", "content", "content", "tool",
                           "tool_parameter_delta", "tool", *ROLLED[7:]]),
        ("0.6.6", "early", ["thinking", "content", "content", "tool", "tool", *ROLLED[7:]]),
    ],
)  # fmt: skip
def test_an_older_sdk_hears_its_own_words(
    ada: User, stage: Stage, version: str, generation: str, kinds: list[str]
) -> None:
    session = scripted(stage, *ROLL)
    ada.turn(session)
    _, *found = blocks(stage.url, session, "0", agent=OLD.format(version), generation=generation)
    assert [block.split(b"\n")[1].removeprefix(b"event: ").decode() for block in found] == kinds
    place = found[0].split(b"\n")[0].removeprefix(b"id: ").decode()
    with ada.stream(session, place) as newer:  # its place is a place for all of them
        assert len(newer.until("complete")) == len(ROLLED) - 1 - (generation == "early")


def test_the_built_in_agent_is_for_the_strictest_reader_too(demo: Server) -> None:
    with User(demo.url) as user:
        session = user.session()
        for text in ("think, and tell me about rivers in 20 words", "roll the dice", "fail after 3 words"):
            user.turn(session, text)
        kinds = names(user.turn(session, "Hello in 5 words"))
        assert kinds[0] == "user_message_created" and set(kinds[1:-1]) == {"content"}
        assert sum(b"event: complete" in block for block in blocks(demo.url, session, "0", turns=4)) == 4
