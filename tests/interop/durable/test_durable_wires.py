"""Every wire that streams, byte for byte, without an SDK; and what is neither an answer nor a cut."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest

from interop.durable.callers import COLOURS, Caller
from interop.durable.sdks import Driven
from interop.durable.shears import Shears, anywhere
from interop.opper.stage import Stage, opened, paused, says
from penstock.client import durable
from upstream import Script, Upstream, chunk, reset, sse

pytestmark = pytest.mark.cuts

CHAT: Final = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": True}
RELAYED: Final = {
    "model": "demo",
    "input": [{"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]}],
}
NATIVE: Final = {"model": "demo", "input": "hi"}
CALL: Final = {"name": "durable", "instructions": "Go on.", "input": "hi", "model": "demo"}

LINES, BLOCKS = "application/x-ndjson", "text/event-stream"
WIRES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "openai": ("/v1/chat/completions", "*/*", CHAT),
    "opper v1": ("/v1/call", "*/*", {**CALL, "stream": True}),
    "opper v2": ("/v2/call/stream", "*/*", CALL),
    "opper v3": ("/v3/call/stream", "*/*", CALL),
    "modelrelay": ("/api/v1/responses", LINES, RELAYED),
    "modelrelay v1": ("/api/v1/responses", f'{LINES}; profile="responses-stream/v1"', RELAYED),
    "modelrelay blocks": ("/api/v1/responses", BLOCKS, RELAYED),
    "native": ("/v1/streams", BLOCKS, NATIVE),
    "native lines": ("/v1/streams", LINES, NATIVE),
}
READ: Final = {
    "native": "?until=done",
    "native from a place": "?until=done&cursor=CURSOR",
    "openai": "?until=done&dialect=openai-chat",
    "openai from a place": "?until=done&dialect=openai-chat&cursor=5",
    "opper": "?until=done&dialect=opper",
    "modelrelay": "?until=done&dialect=modelrelay",
}
EITHER: Final = pytest.mark.parametrize("library", [httpx2, httpx], ids=["httpx2", "httpx"])


def cuts(stage: Stage, method: str, path: str, headers: dict[str, str], **options: Any) -> int:
    """Ask for the same straight, and five times through cuts, to the same effect; return their number."""
    straight = stage.http(method, path, headers=headers, **options).raise_for_status().content
    longest = len(straight) * 3 // 2  # where the server starts over, one connection has to bring everything
    with Caller(httpx2, "sync") as caller, Shears(stage.url, anywhere(4, longest)) as shears:
        for _ in range(5):
            answer = caller.http.request(method, shears.url + path, headers=headers, **options)
            assert answer.content == straight
    return shears.cuts


@pytest.mark.parametrize("wire", WIRES)
def test_bodies_of_every_wire_add_up(stage: Stage, wire: str) -> None:
    path, accept, body = WIRES[wire]
    headers = {"accept": accept, "idempotency-key": wire, "x-modelrelay-request-id": wire}
    assert cuts(stage, "POST", path, headers, json=body) >= 5


@pytest.mark.parametrize("name", READ)
def test_reading_a_stream_again_adds_up(stage: Stage, name: str) -> None:
    begun = stage.http("POST", "/v1/streams", json=NATIVE).json()
    events = stage.events(begun["id"])
    path = f"/v1/streams/{begun['id']}/events{READ[name]}".replace("CURSOR", events[3]["cursor"])
    assert cuts(stage, "GET", path, {}) >= 5


def test_a_relayed_answer_is_asked_for_once(stage: Stage) -> None:
    """ModelRelay's wire has a key of its own, and takes no place to go on from."""
    before = len(stage.bodies("demo"))
    path, accept, body = WIRES["modelrelay"]
    with Caller(httpx2, "sync") as caller, Shears(stage.url, [0, 1000, 3000]) as shears:
        said = caller.http.post(shears.url + path, headers={"accept": accept}, json=body).content
    assert said.count(b'"type":"completion"') == 1 and shears.cuts == 3
    assert len(stage.bodies("demo")) == before + 1


# -- tasks of orq.ai


def test_a_turn_of_a_task_goes_on_and_is_had_once(stage: Stage, pieces: list[str]) -> None:
    path = "/v2/agents/demo/responses"
    message = {"role": "user", "parts": [{"kind": "text", "text": "Go on"}]}
    task = stage.http("POST", path, json={"message": message}).json()["task_id"]
    before = len(stage.bodies("demo"))
    body = {"message": message, "task_id": task, "stream": True}
    with Caller(httpx2, "sync") as caller, Shears(stage.url, [900, 100, 2000]) as shears:
        said = caller.http.post(shears.url + path, json=body).content
    assert shears.cuts == 3 and len(stage.bodies("demo")) == before + 1
    assert said.count(b'"type":"part.delta"') == len(pieces) and said.count(b'"type":"response.done"') == 1


# -- failures


@pytest.mark.parametrize("sdk", ["opperai-1.7.2"], indirect=True)
def test_a_failure_that_is_a_break_is_seen_at_once(stage: Stage, sdk: Driven) -> None:
    """Other SDKs are told in a frame of their own."""
    model = stage.plays(reset(chunk("So "), chunk("far")))
    with Shears(stage.url, []) as shears:
        seen = sdk.ask(shears.url, "sync", model=model)
    assert seen.raised.kind == "RemoteProtocolError" and "cannot go on" not in seen.raised.message
    assert shears.connections == 1


def test_a_deleted_stream_is_a_gap(stage: Stage) -> None:
    """The body breaks, with the server's own words."""
    begun = stage.http("POST", "/v1/streams", json=NATIVE).json()
    stage.events(begun["id"])
    deleted: list[int] = []

    def delete(failures: int, wish: float | None) -> float:
        deleted.append(stage.http("DELETE", f"/v1/streams/{begun['id']}").status_code)
        return 0.0

    with (
        Shears(stage.url, [2000]) as shears,
        Caller(httpx2, "sync", pause=delete) as caller,
        pytest.raises(
            httpx2.RemoteProtocolError, match=r"cannot go on with stream .* the server answered 404: "
        ),
    ):
        caller.http.get(f"{shears.url}/v1/streams/{begun['id']}/events")
    assert deleted == [204]


# -- silence


class Silent:
    """A server that says a little and then nothing; on its second connection it says the rest."""

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *exc: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"penstock-stream: st\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        first, _ = self._listener.accept()
        first.recv(65536)
        first.sendall(head + b"9\r\ndata: 1\n\n\r\n")
        second, _ = self._listener.accept()
        assert b"last-event-id: 1" in second.recv(65536).lower()
        second.sendall(head + b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        assert first.recv(65536) == b""  # it was hung up on
        first.close()
        second.close()


@EITHER
@pytest.mark.parametrize("colour", COLOURS)
def test_a_connection_that_falls_silent_is_lost(library: Any, colour: str) -> None:
    policy = durable.Policy(first=0.0, silence=0.05)
    with Silent() as url, Caller(library, colour, policy=policy) as caller:
        answer = caller.http.get(f"{url}/stream", timeout=60.0)
        answer = caller.done(answer) if caller.is_async else answer
    assert answer.content == b"data: 1\n\ndata: 2\n\n"


# -- leaving


@contextmanager
def endless(stage: Stage) -> Iterator[str]:
    """Have a model that does not end, and return its name."""
    left = threading.Event()
    try:
        yield stage.plays(paused(sse(chunk("So "), chunk("far")), left.wait))
    finally:
        left.set()


@EITHER
def test_leaving_early_hangs_up(stage: Stage, library: Any) -> None:
    with endless(stage) as model, Caller(library, "sync") as caller:
        with caller.http.stream(
            "POST", f"{stage.url}/v1/chat/completions", json={**CHAT, "model": model}
        ) as answer:
            pieces = answer.iter_bytes()
            next(pieces)
            stage.until_readers(1)
        stage.until_readers(0)


@EITHER
def test_cancellation_hangs_up(stage: Stage, library: Any) -> None:
    with endless(stage) as model, Caller(library, "async") as caller:
        url, begun = f"{stage.url}/v1/chat/completions", asyncio.Event()

        async def read() -> None:
            async with caller.http.stream("POST", url, json={**CHAT, "model": model}) as answer:
                async for _ in answer.aiter_bytes():
                    begun.set()

        async def cancel() -> None:
            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(stage.until_readers, 0)

        caller.done(cancel())


# -- restarts


def test_a_server_that_is_restarted_in_between_is_not_noticed(tmp_path: Path) -> None:
    """Its answer was done, its reader was not; the connection is refused for a while."""
    scripts: dict[str, Script] = {"demo": says(*(f"piece {n} " for n in range(60)))}
    with Upstream(scripts) as upstream, opened(tmp_path, upstream, scripts) as stage:
        server = stage.server
        server.port = urlsplit(server.url).port or 0
        steps: list[Callable[[], object]] = [server.stop, lambda: None, server.start]

        def pause(failures: int, wish: float | None) -> float:
            if steps:
                steps.pop(0)()
            return 0.0

        body = {**CHAT, "model": "demo"}
        with (
            Shears(server.url, [3000]) as shears,
            Caller(httpx2, "sync", pause=pause) as caller,
        ):
            key = {"idempotency-key": "k"}
            seen = caller.http.post(f"{shears.url}/v1/chat/completions", json=body, headers=key).content
        assert steps == [] and len(stage.bodies("demo")) == 1
        assert stage.http("POST", "/v1/chat/completions", json=body, headers=key).content == seen
