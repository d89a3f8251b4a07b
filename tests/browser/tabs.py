"""Tabs of a browser with a page that follows a session, and what the session's log says beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import httpx2
from selenium.webdriver import Chrome

from penstock.dialects import get

__all__ = ["Entry", "Session", "Tab", "logged", "places"]

Entry = tuple[str, str, str]
"""An event as a page has it: last event id, type, data."""

_CONTROL: Final = ("connected", "heartbeat")
"""What is of a connection and not of the log."""
_PATIENCE: Final = 60.0


class Session(NamedTuple):
    """A session of a server."""

    url: str
    id: str

    @classmethod
    def begun(cls, url: str, model: str, key: str = "") -> Session:
        body = {"title": "tides", "browserMode": "local-browser-service", "modelId": model}
        made = httpx2.post(f"{url}/api/sessions", json=body, headers=_bearing(key), timeout=_PATIENCE)
        return cls(url, made.raise_for_status().json()["id"])

    def told(self, turns: int, key: str = "") -> list[Entry]:
        """
        Return what a reader has that is never cut, from the beginning to the end of so many turns.

        Raises: TimeoutError.
        """
        return list(self._told(turns, key))

    def _told(self, turns: int, key: str) -> Iterator[Entry]:
        reader, begun = get("mix").wire().framing.reader(), time.monotonic()
        headers = {"last-event-id": "0", **_bearing(key)}
        ask = f"{self.url}/stream?sessionId={self.id}"
        with httpx2.stream("GET", ask, headers=headers, timeout=_PATIENCE) as answer:
            for data in answer.raise_for_status().iter_bytes():
                for frame in reader.feed(data):
                    if frame.event not in _CONTROL:
                        yield frame.id, frame.event, frame.data.decode()
                    turns -= frame.event == "complete"
                    if not turns:
                        return
                if time.monotonic() > begun + _PATIENCE:  # pulses would keep it waiting for ever
                    raise TimeoutError(f"{turns} turns have not ended")


class Tab:
    """A tab with the page in it."""

    def __init__(self, browser: Chrome, page: str, url: str, session: str) -> None:
        """``page``: where the page is; ``url``: how it gets to the server."""
        self._browser = browser
        browser.switch_to.new_window("tab")
        self._handle = browser.current_window_handle
        browser.get(f"{page}?{urlencode({'server': url, 'session': session})}")

    @property
    def transcript(self) -> list[Entry]:
        """All that the page was given, since it was loaded."""
        return [(id, type, data) for id, type, data in self._run("return transcript")]

    def until(self, type: str, times: int = 1) -> None:
        """Return once the page has had so many events of this type; ``break``: connections lost."""
        self._run("return until(arguments[0], arguments[1])", type, times)

    def send(self, text: str) -> None:
        """Say something, from the page."""
        status, _ = self._run("return send(arguments[0])", text)
        assert status == 202

    def decide(self, verdict: str) -> tuple[int, dict[str, Any]]:
        """Decide about the permission that the page was asked for last; return status and answer."""
        asked = [json.loads(data) for _, type, data in self.transcript if type == "permission"]
        status, answer = self._run("return decide(arguments[0], arguments[1])", asked[-1]["id"], verdict)
        return status, answer

    def reload(self) -> None:
        self._browser.switch_to.window(self._handle)
        self._browser.refresh()

    def _run(self, script: str, *arguments: object) -> Any:
        self._browser.switch_to.window(self._handle)
        return self._browser.execute_script(script, *arguments)


def logged(entries: list[Entry]) -> list[Entry]:
    """Return what of a transcript is in the log, too."""
    return [entry for entry in entries if entry[1] not in _CONTROL]


def places(entries: list[Entry]) -> list[tuple[int, ...]]:
    """Return the places in the log that the ids stand for, in the order of their coming."""
    return [tuple(int(number) for number in id.split(".")[1:]) for id, _, _ in entries]


def _bearing(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}
