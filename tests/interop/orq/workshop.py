"""The endpoint of HTTP tools: it notes what it was asked to do, and for which call."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Job", "Work", "Workshop"]

_PATIENCE: Final = 60.0


class Job(NamedTuple):
    """A request."""

    call: str
    """The digest of the tool's call, which the server sends as the Idempotency-Key."""
    place: str
    """The path, its query left out."""
    body: Any


Work = Callable[[Job], tuple[int, Any]]
"""Does a job; returns a status and what JSON to answer."""


class Workshop:
    """Listens while the ``with`` block runs. What nobody has said how to do is done at once."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        """All that came, in their order."""
        self.works: dict[str, Work] = {}
        """How jobs are done, by place."""
        self._news = threading.Condition()
        self._server = _Listener(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def of(self, place: str) -> list[Job]:
        """Return the jobs of one place."""
        return [job for job in self.jobs if job.place == place]

    def counts(self) -> Counter[str]:
        """Return how often each call was executed: never more than once, if the server keeps its word."""
        return Counter(job.call for job in self.jobs)

    def until(self, number: int, place: str) -> None:
        """Return once so many jobs have come to a place."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.of(place)) >= number, _PATIENCE), self.jobs

    def tool(self, place: str, *, requires_approval: bool = False, **arguments: str) -> dict[str, Any]:
        """Return the HTTP tool of a place, as an agent describes one; of ``arguments`` the types."""
        name = place.strip("/")
        blueprint = {
            "url": f"{self.url}/{name}",
            "method": "POST",
            "body": {argument: f"{{{{{argument}}}}}" for argument in arguments},
        }
        told = {argument: {"type": kind, "description": argument} for argument, kind in arguments.items()}
        return {
            "type": "http",
            "key": name,
            "description": f"Does {name}.",
            "requires_approval": requires_approval,
            "http": {"blueprint": blueprint, "arguments": told},
        }

    def _done(self, job: Job) -> tuple[int, Any]:
        with self._news:
            self.jobs.append(job)
            self._news.notify_all()
        return self.works.get(job.place, _at_once)(job)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        workshop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length") or 0))
                place = urlsplit(self.path).path
                job = Job(self.headers["idempotency-key"], place, json.loads(data or b"null"))
                status, value = workshop._done(job)
                answer = json.dumps(value).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    pass  # the server has died meanwhile

            def log_message(self, *args: Any) -> None: ...

        return Handler


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _at_once(job: Job) -> tuple[int, Any]:
    return 200, {"done": job.body}
