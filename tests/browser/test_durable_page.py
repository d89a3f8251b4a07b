"""
The durable fetch in a headless browser, on a page of another origin than the server's.

What the page is to see is what another reader is told under the same
``Idempotency-Key`` without being cut off.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from selenium.common.exceptions import JavascriptException
from selenium.webdriver import Chrome

from browser.shears import Cut, Shears
from serving import Server

pytestmark = pytest.mark.browser

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
CHAT: Final[dict[str, Any]] = {
    "model": "demo",
    "messages": [{"role": "user", "content": "rivers in 60 words"}],
    "stream": True,
}
NATIVE: Final[dict[str, Any]] = {"model": "demo", "input": "rivers in 60 words"}
ASKED: Final = {
    "chat": ("/v1/chat/completions", "text/event-stream", CHAT),
    "native, blocks": ("/v1/streams", "text/event-stream", NATIVE),
    "native, lines": ("/v1/streams", "application/x-ndjson", NATIVE),
}
CUTS: Final = {
    "chat": (
        Cut(rb"penstock-st"),
        Cut(rb'"delta":{"con', 3),
        Cut(rb"\n\n\r\n.", 9),
        Cut(rb"data: [^\n]*\n", 8),
        Cut(rb"data: [^\n]*\n\n", 7),
        Cut(rb'"finish_reason":"st'),
        Cut(rb"data: \[DO"),
        Cut(rb"data: \[DONE\]\n\n"),
    ),
    "native, blocks": (
        Cut(rb"id: \w+\.\d"),
        Cut(rb"event: part.delta\nid: \S+\nda", 5),
        Cut(rb"event: part.delta\nid: \S+\ndata: [^\n]*\n\n", 7),
        Cut(rb"event: response.done\nid"),
        Cut(rb"event: response.done\nid: \S+\ndata: [^\n]*\n\n"),
    ),
    "native, lines": (
        Cut(rb'{"cursor":"\w+'),
        Cut(rb'"type":"part.delta"', 6),
        Cut(rb'"type":"part.delta"[^\n]*\n', 4),
        Cut(rb'"type":"response.do'),
    ),
}


class _Pages(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def durable_page() -> Iterator[str]:
    """Where the page is: served with the module that it imports."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(ROOT))) as pages:
        threading.Thread(target=pages.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield f"http://localhost:{pages.server_port}/tests/browser/durable.html"
        pages.shutdown()


@pytest.fixture
def opened(browser: Chrome, durable_page: str) -> Chrome:
    """The browser, with the page in a tab."""
    browser.switch_to.new_window("tab")
    browser.get(durable_page)
    return browser


def ask(opened: Chrome, url: str, name: str, key: str, *more: Any, **members: Any) -> tuple[str, int]:
    """Ask from the page; ``more`` are the last arguments of its ``ask``."""
    path, accept, body = ASKED[name]
    headers = {"content-type": "application/json", "accept": accept, "idempotency-key": key}
    arguments = (url + path, headers, json.dumps({**body, **members}), *more)
    said, requests = opened.execute_script("return ask(...arguments)", *arguments)
    return said, requests


def told(server: Server, name: str, key: str) -> str:
    """Return what somebody is told who is not cut off."""
    path, accept, body = ASKED[name]
    headers = {"content-type": "application/json", "accept": accept, "idempotency-key": key}
    answer = httpx2.post(server.url + path, content=json.dumps(body), headers=headers, timeout=PATIENCE)
    return answer.raise_for_status().text


@pytest.mark.parametrize("name", ASKED)
def test_a_page_that_is_cut_off_again_and_again(opened: Chrome, server: Server, name: str) -> None:
    with Shears(server.url, *CUTS[name]) as shears:
        said, requests = ask(opened, shears.url, name, f"again {name}", True)
    assert shears.left == []
    assert said == told(server, name, f"again {name}")
    assert requests == 1 + len(CUTS[name])


@pytest.mark.parametrize("name", ASKED)
def test_without_the_durable_fetch_a_cut_raises(opened: Chrome, server: Server, name: str) -> None:
    for number, cut in enumerate(CUTS[name]):
        with Shears(server.url, cut) as shears, pytest.raises(JavascriptException):
            ask(opened, shears.url, name, f"without {name} {number}", False)


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_that_is_not_cut_off_is_asked_for_once(opened: Chrome, server: Server, name: str) -> None:
    said, requests = ask(opened, server.url, name, f"once {name}", True)
    assert (said, requests) == (told(server, name, f"once {name}"), 1)


def test_a_page_that_hangs_up_is_gone(opened: Chrome, server: Server) -> None:
    said, requests = ask(opened, server.url, "chat", "gone", True, 3, model="demo-slow")
    assert requests == 1 and "[DONE]" not in said
    while httpx2.get(f"{server.url}/readyz").json()["readers"]:
        pass
