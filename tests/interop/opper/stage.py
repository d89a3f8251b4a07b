"""
Where the SDKs' tests play: a server, the models behind it, a tap between it and its reader.

Models are scripts: what they say is known to the byte, so a test can say what
their readers must see. Nothing waits for time to pass: a model is
:func:`paused` until something has happened, a :class:`Tap` knows what has been
sent.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import httpx2

from penstock.names import stream_of_uuid, uuid_of
from serving import Server
from upstream import DONE, Script, Upstream, chunk, sse, tries

__all__ = ["END", "Keyed", "Stage", "Tap", "after", "opened", "paused", "says", "used"]

END: Final = (chunk(finish="stop"), DONE)
"""How an answer ends."""

_PATIENCE: Final = 60.0


def says(*pieces: str) -> Script:
    """Answer with these pieces."""
    return sse(*map(chunk, pieces), *END)


def used(asked: int, answered: int) -> bytes:
    """Return the chunk that says how many tokens were used."""
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: %b\n\n" % json.dumps({**body, "choices": [], "usage": usage}).encode()


def paused(before: Script, until: Callable[[], object], *rest: bytes) -> Script:
    """Answer with ``before``, wait for ``until`` to return, say the rest."""

    def script(connection: socket.socket, attempt: int) -> None:
        before(connection, attempt)
        until()
        for piece in rest:
            connection.sendall(piece)

    return script


def after(until: Callable[[], object], script: Script) -> Script:
    """Wait for ``until`` to return, then answer with ``script``."""

    def waiting(connection: socket.socket, attempt: int) -> None:
        until()
        script(connection, attempt)

    return waiting


class Stage(NamedTuple):
    """A server and the endpoint of its models."""

    server: Server
    upstream: Upstream
    scripts: dict[str, Script]

    @property
    def url(self) -> str:
        return self.server.url

    def plays(self, *scripts: Script) -> str:
        """Return a new model: with several scripts, each request is answered with the next."""
        name = f"model-{len(self.scripts)}"
        self.scripts[name] = scripts[0] if len(scripts) == 1 else tries(*scripts)
        return name

    def says(self, *pieces: str) -> str:
        """Return a new model that says this."""
        return self.plays(says(*pieces))

    def crowd(self, number: int) -> dict[str, list[str]]:
        """
        Return new models, and what each says.

        Each waits in the middle of its answer until all of them have got there.
        """
        together = threading.Barrier(number)
        answers = [[f"{n}.{m} " for m in range(10)] for n in range(number)]
        return {
            self.plays(paused(sse(*map(chunk, said[:5])), together.wait, *map(chunk, said[5:]), *END)): said
            for said in answers
        }

    def bodies(self, model: str) -> list[dict[str, Any]]:
        """Return what the model was asked, request by request."""
        return [request.body for request in self.upstream.requests[model]]

    # -- without an SDK

    def http(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Ask what no SDK asks; options are those of ``httpx2.request``."""
        return httpx2.request(method, self.url + path, timeout=_PATIENCE, verify=False, **options)

    def events(self, stream: str) -> list[dict[str, Any]]:
        """Return all that happened in a stream, after its answer's end."""
        path = f"/v1/streams/{stream}/events?until=done"
        answer = self.http("GET", path, headers={"accept": "application/x-ndjson"})
        return [json.loads(line) for line in answer.raise_for_status().text.splitlines() if line]

    def text(self, span: str) -> str:
        """Return what the answer that is this span says, after its end, which must be well."""
        events = self.events(stream_of_uuid(span))
        assert events[-1]["type"] == "response.done", events[-1]
        return "".join(event["delta"] for event in events if event["type"] == "part.delta")

    def failed(self, span: str) -> list[dict[str, Any]]:
        """Return what the log says about attempts that failed, in the answer that is this span."""
        customs = [event for event in self.events(stream_of_uuid(span)) if event["type"] == "custom"]
        assert {event["name"] for event in customs} <= {"attempt.failed"}
        return [event["data"] for event in customs]

    def newest(self) -> str:
        """Return the span of the stream that was begun last."""
        return uuid_of(self.http("GET", "/v1/streams?limit=1").json()["streams"][0]["id"])

    @contextmanager
    def full(self, model: str) -> Iterator[None]:
        """Keep an answer of this model, which must not end by itself, under way while the block runs."""
        begun = self.http("POST", "/v1/streams", json={"model": model, "input": "hi"}).json()
        try:
            yield
        finally:
            self.http("POST", f"/v1/streams/{begun['id']}/stop").raise_for_status()
            while self.http("GET", "/readyz").json()["runs"]:
                pass

    def until_readers(self, number: int) -> None:
        """Return once the server says it has so many readers."""
        while self.http("GET", "/readyz").json()["readers"] != number:
            pass


class Keyed(NamedTuple):
    """A server with keys: one may call, one may only read, one may call too but is somebody else's."""

    stage: Stage
    writing: str
    reading: str
    other: str


@contextmanager
def opened(
    folder: Path, upstream: Upstream, scripts: dict[str, Script], model: str = "*", **settings: object
) -> Iterator[Stage]:
    """Run a server with these settings, whose one model, or any, is ``upstream``'s."""
    models = f'models = {{ "{model}" = "{model}" }}'
    config = f'[upstreams.scripted]\nurl = "{upstream.url}"\nretries = 0\n{models}'
    with Server(folder, config, **settings) as server:
        yield Stage(server, upstream, scripts)


class Tap:
    """A way to a server while the ``with`` block runs: what the server says is kept, and can be cut off."""

    def __init__(self, server: Server) -> None:
        self._server = urlsplit(server.url)
        self._said = b""
        self._news = threading.Condition()
        self._connections: list[socket.socket] = []
        self._listener = _Listener(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown()
        self.cut()
        self._listener.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def said(self) -> bytes:
        """All that the server has said so far."""
        return self._said

    def until(self, text: bytes, times: int = 1) -> None:
        """Return once the server has said ``text`` so often."""
        with self._news:
            assert self._news.wait_for(lambda: self._said.count(text) >= times, _PATIENCE), self._said

    def cut(self) -> None:
        """End all connections, after what has been said; the reader of a chunked body can tell."""
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended already

    def _handler(self) -> type[BaseRequestHandler]:
        tap = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                there = (str(tap._server.hostname), int(tap._server.port or 0))
                with socket.create_connection(there) as server:
                    tap._connections += [self.request, server]
                    asking = threading.Thread(target=_pump, args=(self.request, server))
                    asking.start()
                    _pump(server, self.request, tap._hear)
                    asking.join()

        return Handler

    def _hear(self, data: bytes) -> None:
        with self._news:
            self._said += data
            self._news.notify_all()


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def _pump(source: socket.socket, sink: socket.socket, hear: Any = None) -> None:
    """Pass on what comes, to the end of either side."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
            if hear is not None:
                hear(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # cut, or one side has gone
