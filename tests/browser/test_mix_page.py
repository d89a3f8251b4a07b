"""
A page with nothing but the browser's own EventSource, cut off, reloaded, its server killed under it.

EventSource reconnects by itself, with the id of the last whole block and after
the time that the server told it. What the page has then been given, ids, types
and data, is what a reader is given that was never cut: nothing is missing,
nothing came twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import JavascriptException
from selenium.webdriver import Chrome

from browser.shears import Cut, Shears
from browser.tabs import Entry, Session, Tab, logged, places
from serving import Server, create_key

pytestmark = pytest.mark.browser

ANSWER: Final = "think step by step about rivers, in 60 words"
APPROVAL: Final = "use the tool that needs approval"
CONTENT: Final = rb"event: content\n"

CUTS: Final = {
    "in the first block": Cut(rb"event: connected\nda"),
    "after the first block": Cut(rb"retry: 2000\n\n"),
    "after the message": Cut(rb"event: user_message_created\n.*?\n\n"),
    "in an id": Cut(rb"id: \w+\.\d(?=\d)"),
    "after an id": Cut(rb"id: \S+\n", 9),
    "in a name": Cut(rb"event: thi"),
    "in thoughts": Cut(rb'data: {"type":"thinking","content', 5),
    "between blocks": Cut(CONTENT + rb"data: [^\n]*\n\n", 3),
    "in data": Cut(CONTENT + rb'data: {"type":"content","con', 5),
    "before a block's last line end": Cut(CONTENT + rb"data: [^\n]*\n", 7),
    "in a chunk's size": Cut(rb"\n\n\r\n.", 20),
    "in the last block": Cut(rb'event: complete\ndata: {"type":"complete","do'),
    "after the last block": Cut(rb"event: complete\ndata: [^\n]*\n\n"),
    "after a heartbeat": Cut(rb'{"type":"ping"}\n\n', 12),
    "in a heartbeat": Cut(rb"event: heart", 12),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is seldom silent for longer than it takes to say a word."""
    with Server(tmp_path_factory.mktemp("server"), keepalive=0.015) as server:
        yield server


@pytest.fixture
def uncut() -> Iterator[Callable[[Session, int], Future[list[Entry]]]]:
    """Begins to read a session beside the page, to the end of so many turns."""
    with ThreadPoolExecutor() as pool:
        yield lambda session, turns: pool.submit(session.told, turns)


Uncut = Callable[[Session, int], Future[list[Entry]]]


def check(tab: Tab, told: list[Entry]) -> None:
    """Say whether a page has had just that; what is of its connections never says another place."""
    transcript = tab.transcript
    assert logged(transcript) == told
    assert all(before <= after for before, after in pairwise(places(transcript)))


def count(entries: list[Entry], type: str) -> int:
    return sum(entry[1] == type for entry in entries)


def said(entries: list[Entry]) -> list[dict[str, Any]]:
    """Return the data of events, without what is of a connection."""
    return [json.loads(data) for _, _, data in logged(entries)]


# -- cuts


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_page_that_is_cut_off_once(
    browser: Chrome, page: str, server: Server, uncut: Uncut, cut: Cut
) -> None:
    session = Session.begun(server.url, "demo")
    told = uncut(session, 2)
    with Shears(server.url, cut) as shears:
        tab = Tab(browser, page, shears.url, session.id)
        tab.until("connected")
        tab.send(ANSWER)
        tab.until("complete")
        tab.send("rivers in 5 words")
        tab.until("complete", 2)
        tab.until("break")
        tab.until("connected", 1 if b"connected" in cut.pattern else 2)
        check(tab, told.result())
    assert shears.left == []
    assert session.told(2) == told.result()


def test_a_page_that_is_cut_off_again_and_again(
    browser: Chrome, page: str, server: Server, uncut: Uncut
) -> None:
    session = Session.begun(server.url, "demo-slow")
    told = uncut(session, 1)
    cuts = (
        Cut(CONTENT + rb'data: {"ty', 2),
        Cut(CONTENT, 8),
        Cut(rb"\n\n\r\n.", 30),
        Cut(rb"retry: 2000\n\n"),
        Cut(rb"id: \S+\nevent: com"),
    )
    with Shears(server.url, *cuts) as shears:
        tab = Tab(browser, page, shears.url, session.id)
        tab.until("connected")
        tab.send("rivers in 30 words")
        tab.until("complete")
        check(tab, told.result())
        assert count(tab.transcript, "connected") == 1 + len(cuts)
    assert shears.left == []


def test_two_tabs_each_cut_off_elsewhere(browser: Chrome, page: str, server: Server, uncut: Uncut) -> None:
    session = Session.begun(server.url, "demo")
    told = uncut(session, 3)
    ones, others = Cut(CONTENT, 10), Cut(CONTENT + rb"data: [^\n]*\n\n", 30)
    with Shears(server.url, ones) as shears, Shears(server.url, others) as more:
        one = Tab(browser, page, shears.url, session.id)
        other = Tab(browser, page, more.url, session.id)
        one.until("connected")
        other.until("connected")
        one.send(ANSWER)
        other.send("rivers in 80 words")
        one.send("rivers in 5 words")
        for tab in (one, other):
            tab.until("complete", 3)
            check(tab, told.result())
        assert shears.left == more.left == []


# -- reloads


def test_a_page_that_is_reloaded_has_the_answer_under_way_from_its_beginning(
    browser: Chrome, page: str, server: Server, uncut: Uncut
) -> None:
    session = Session.begun(server.url, "demo")
    told = uncut(session, 2)
    tab = Tab(browser, page, server.url, session.id)
    tab.until("connected")
    tab.send("rivers in 5 words")
    tab.until("complete")
    tab.send("rivers in 200 words")
    tab.until("content", 20)
    tab.reload()
    tab.until("complete")
    before = [event["type"] for event in said(told.result())].index("complete") + 1
    check(tab, told.result()[before:])
    tab.reload()
    tab.until("connected")
    assert logged(tab.transcript) == []  # it is over: nothing of it is new


def test_a_page_that_is_reloaded_is_asked_for_permission_again(
    browser: Chrome, page: str, server: Server, uncut: Uncut
) -> None:
    session = Session.begun(server.url, "demo")
    told = uncut(session, 1)
    first = Tab(browser, page, server.url, session.id)
    first.until("connected")
    first.send(APPROVAL)
    first.until("permission")
    first.reload()
    first.until("permission")
    second = Tab(browser, page, server.url, session.id)
    second.until("permission")
    assert second.decide("grant") == (200, {"granted": True})
    for tab in (first, second):
        tab.until("complete")
        check(tab, told.result())
    assert count(told.result(), "permission") == 1
    [outcome] = [event for event in said(told.result()) if event["type"] == "tool_execution_complete"]
    assert outcome["success"] is True
    status, _ = first.decide("deny")
    assert status == 404


# -- the server


def restart(server: Server) -> None:
    """Kill the server in the middle of what it does, and start it where it was."""
    server.port = int(urlsplit(server.url).port or 0)
    server.kill()
    server.start()


def test_a_server_that_is_killed_in_the_middle_of_an_answer(
    browser: Chrome, page: str, tmp_path: Path
) -> None:
    with Server(tmp_path) as server:
        session = Session.begun(server.url, "demo-slow")
        tab = Tab(browser, page, server.url, session.id)
        tab.until("connected")
        tab.send("rivers in 500 words")
        tab.until("content", 5)
        tab.send("rivers in 5 words")
        seen = logged(tab.transcript)
        restart(server)
        tab.until("complete", 2)
        told = session.told(2)
        check(tab, told)
    assert told[: len(seen)] == seen
    types = [event["type"] for event in said(told)]
    end = types.index("complete")
    assert types[end - 1 : end + 2] == ["interrupted", "complete", "user_message_created"]
    assert said(told)[-1]["content"].startswith("Let us look at")


def test_a_server_that_is_killed_while_it_waits_for_permission(
    browser: Chrome, page: str, tmp_path: Path
) -> None:
    with Server(tmp_path) as server:
        session = Session.begun(server.url, "demo")
        tab = Tab(browser, page, server.url, session.id)
        tab.until("connected")
        tab.send(APPROVAL)
        tab.until("permission")
        restart(server)
        tab.until("connected", 2)
        assert tab.decide("grant") == (200, {"granted": True})
        tab.until("complete")
        told = session.told(1)
        check(tab, told)
    assert count(told, "permission") == 1 and count(told, "error") == 0


# -- keys


def reading(browser: Chrome, origin: str, port: int) -> Callable[..., Any]:
    """Open the page that follows with fetch at an origin, and return how its functions are called."""
    browser.switch_to.new_window("tab")
    browser.get(f"http://{origin}:{port}/reading.html")

    def call(function: str, *arguments: object) -> Any:
        script = f"return {function}(...arguments)"
        return browser.execute_script(script, *arguments)

    return call


def test_a_page_of_elsewhere_with_a_key(browser: Chrome, pages: int, tmp_path: Path) -> None:
    key = create_key(tmp_path, "run:write", "run:read")
    with Server(tmp_path, allowed_origins=[f"http://pages.example:{pages}"]) as server:
        session = Session.begun(server.url, "demo", key)
        call = reading(browser, "pages.example", pages)
        assert call("send", server.url, session.id, key, ANSWER) == 202
        ours: list[Entry] = []
        while not count(ours, "complete"):
            more = call("read", server.url, session.id, key, ours[-1][0] if ours else "0", 25)
            ours += [(id, type, data) for id, type, data in more]
        assert ours == session.told(1, key) and len(ours) > 25
        stranger = reading(browser, "elsewhere.example", pages)
        with pytest.raises(JavascriptException, match="Failed to fetch"):
            stranger("send", server.url, session.id, key, ANSWER)
