"""A browser, and where its pages come from: another origin than the server they talk to."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

_PATIENCE: Final = 60.0
_NEEDED: Final = "Debian has it: apt-get install chromium chromium-driver"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """Debian's Chromium, to which every name that ends in ``.example`` is this machine."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, f"chromium is not installed. {_NEEDED}"
    assert driver, f"chromedriver is not installed. {_NEEDED}"
    options = ChromeOptions()
    options.binary_location = chromium
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")  # small in containers
    options.add_argument("--host-resolver-rules=MAP *.example 127.0.0.1")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # it has none for root
    with Chrome(options, ChromeService(driver)) as browser:
        browser.set_script_timeout(_PATIENCE)
        yield browser


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """The browser, without tabs of an earlier test."""
    [first] = chromium.window_handles
    yield chromium
    for handle in chromium.window_handles:
        if handle != first:
            chromium.switch_to.window(handle)
            chromium.close()
    chromium.switch_to.window(first)


class _Pages(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="session")
def pages() -> Iterator[int]:
    """The port at which the files of this folder are served."""
    folder = Path(__file__).parent
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="session")
def page(pages: int) -> str:
    """Where the page is that follows a session."""
    return f"http://localhost:{pages}/page.html"
