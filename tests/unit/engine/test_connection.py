"""Connections to upstreams: bodies of every kind, connections used again, and those that break."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from penstock.engine.upstreams import connection
from penstock.engine.upstreams.connection import Answer, Body, Host
from penstock.errors import ConfigError, RemoteProtocolError, UpstreamUnavailable

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Served:
    """A server that follows a script on each of its connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections = 0


@asynccontextmanager
async def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """Serve the first connection by the first script, and so on; the last one serves the rest."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = scripts[min(served.connections, len(scripts) - 1)]
        served.connections += 1
        tasks.append(asyncio.current_task())
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    tasks: list[asyncio.Task[None] | None] = []

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    served = Served(f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}/chat?v=1")
    try:
        yield served
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*filter(None, tasks), return_exceptions=True), 10)


async def request(reader: asyncio.StreamReader) -> tuple[list[bytes], bytes]:
    """Return the lines of the head of a request, and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    (length,) = [line.split(b":")[1] for line in head if line.lower().startswith(b"content-length:")]
    return head, await reader.readexactly(int(length))


def says(*pieces: bytes, again: bool = False) -> Script:
    """Answer with these bytes, piece by piece; ``again``: every request of the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if not again:
                return

    return script


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def host(served: Served, budget: int = 65536) -> Host:
    return Host(served.url, {"X-Test": "yes"}, lambda: budget)


class Heard:
    """A consumer that writes down what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def take(self, data: bytes) -> None:
        self.pieces.append(data)

    def end(self, error: Exception | None) -> None:
        self.over.set_result(error)

    async def whole(self) -> tuple[bytes, Exception | None]:
        error = await asyncio.wait_for(self.over, 10)
        return b"".join(self.pieces), error


async def heard(body: Body) -> tuple[bytes, Exception | None]:
    consumer = Heard()
    body.feed(consumer)
    found = await consumer.whole()
    body.close()
    return found


async def test_the_request_is_what_was_asked_for() -> None:
    seen: list[tuple[list[bytes], bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Two: 2\r\n\r\nok")

    async with serving(script) as served:
        there = host(served)
        answer, body = await there.post(b'{"a": 1}')
        assert answer == Answer(200, "OK", {"content-length": "2", "x-two": "2"})
        assert await heard(body) == (b"ok", None)
        there.close()
    (((first, *head), data),) = seen
    assert (first, data) == (b"POST /chat?v=1 HTTP/1.1", b'{"a": 1}')
    assert {b"X-Test: yes", b"Content-Length: 8"} < set(head)
    assert head[0] == b"Host: " + served.url.split("/")[2].encode()


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ([CHUNKED + chunks(b"ab", b"c") + b"0\r\n\r\n"], b"abc"),
        ([CHUNKED, chunks(b"ab"), chunks(b"c"), b"0\r\n\r\n"], b"abc"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"a", b"bc"], b"abc"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"until it is ", b"closed"], b"until it is closed"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"], b"x"),
        ([bytes([byte]) for byte in CHUNKED + chunks(b"ab", b"c") + b"0\r\n\r\n"], b"abc"),
    ],
    ids=["chunks", "chunks in pieces", "by length", "until closed", "empty", "after 100", "byte by byte"],
)
async def test_a_body_arrives_whole(pieces: list[bytes], found: bytes) -> None:
    async with serving(says(*pieces)) as served:
        there = host(served)
        _, body = await there.post(b"{}")
        assert await heard(body) == (found, None)
        there.close()


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED + chunks(b"ab", b"c")],
        [CHUNKED + b"5\r\nabc"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"],
    ],
    ids=["without the last chunk", "in a chunk", "too short"],
)
async def test_a_cut_is_told_from_an_end(pieces: list[bytes]) -> None:
    async with serving(says(*pieces)) as served:
        there = host(served)
        _, body = await there.post(b"{}")
        data, error = await heard(body)
        assert data == b"abc"
        assert error is not None
        there.close()


async def test_garbage_in_the_body_is_an_error() -> None:
    async with serving(says(CHUNKED + chunks(b"ab") + b"not a size\r\n")) as served:
        there = host(served)
        _, body = await there.post(b"{}")
        data, error = await heard(body)
        assert isinstance(error, RemoteProtocolError)
        assert data == b"ab"
        there.close()


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"]
)
async def test_what_is_not_http_is_an_error(said: bytes) -> None:
    async with serving(says(said)) as served:
        there = host(served)
        with pytest.raises(RemoteProtocolError):
            await asyncio.wait_for(there.post(b"{}"), 10)
        there.close()


# -- connections


async def test_a_connection_is_used_again() -> None:
    async with serving(says(CHUNKED + chunks(b"ab") + b"0\r\n\r\n", again=True)) as served:
        there = host(served)
        for _ in range(3):
            _, body = await there.post(b"{}")
            assert await heard(body) == (b"ab", None)
        assert served.connections == 1
        there.close()


async def test_a_connection_that_was_paused_is_used_again() -> None:
    async with serving(says(CHUNKED + chunks(b"ab") + b"0\r\n\r\n", again=True)) as served:
        there = host(served)
        for _ in range(3):
            _, body = await asyncio.wait_for(there.post(b"{}"), 10)
            consumer = Heard()
            body.feed(consumer)
            assert await consumer.whole() == (b"ab", None)
            body.pause()
            body.close()
        assert served.connections == 1
        there.close()


async def test_a_connection_is_not_used_again_before_its_answer_was_read() -> None:
    async with serving(says(CHUNKED + chunks(b"ab"), again=True)) as served:
        there = host(served)
        for _ in range(2):
            _, body = await there.post(b"{}")
            body.close()
        assert served.connections == 2
        there.close()


async def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    async with serving(says(said)) as served:
        there = host(served)
        for _ in range(2):
            _, body = await there.post(b"{}")
            assert await heard(body) == (b"ok", None)
        assert served.connections == 2
        there.close()


async def test_a_connection_that_died_meanwhile_costs_nothing() -> None:
    """The server closes it when the second request has come: that one goes out again."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await request(reader)

    async with serving(dies, says(answer)) as served:
        there = host(served)
        for _ in range(2):
            _, body = await there.post(b"{}")
            assert await heard(body) == (b"ok", None)
        assert served.connections == 2
        there.close()


async def test_a_new_connection_that_dies_is_an_error() -> None:
    async with serving(says()) as served:
        there = host(served)
        with pytest.raises(UpstreamUnavailable, match="closed the connection"):
            await there.post(b"{}")
        there.close()


async def test_an_idle_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_KEPT", 0.0)
    async with serving(says(CHUNKED + b"0\r\n\r\n", again=True)) as served:
        there = host(served)
        for _ in range(2):
            _, body = await there.post(b"{}")
            await heard(body)
        assert served.connections == 2
        there.close()


async def test_nobody_there_is_an_error() -> None:
    there = Host("http://127.0.0.1:1/", {}, lambda: 65536)
    with pytest.raises(UpstreamUnavailable, match=r"no connection to 127\.0\.0\.1:1"):
        await there.post(b"{}")


# -- bounds


async def test_a_read_is_bounded_by_the_budget() -> None:
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)) as served:
        there = host(served, budget=4096)
        _, body = await there.post(b"{}")
        consumer = Heard()
        body.feed(consumer)
        data, error = await consumer.whole()
        assert (len(data), error) == (50_000, None)
        assert max(map(len, consumer.pieces[1:])) <= 4096  # the first holds what came before it was fed
        body.close()
        there.close()


async def test_what_is_paused_waits_in_the_socket() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(CHUNKED)
        for _ in range(1000):
            writer.write(chunks(b"x" * 65536))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with serving(endless) as served:
        there = host(served)
        _, body = await there.post(b"{}")
        consumer = Heard()
        body.pause()
        body.feed(consumer)
        before = len(consumer.pieces)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(consumer.pieces) == before
        body.resume()
        data, error = await consumer.whole()
        assert (len(data), error) == (65_536_000, None)
        body.close()
        there.close()


async def test_of_a_whole_body_no_more_than_the_limit_is_read() -> None:
    async with serving(says(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 100_000)) as served:
        there = host(served)
        _, body = await there.post(b"{}")
        assert await asyncio.wait_for(body.whole(1000), 10) == b"x" * 1000
        body.close()
        there.close()


# -- settings


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://example.com/", {}),
        ("http:///nowhere", {}),
        ("http://user:secret@example.com/", {}),
        ("http://example.com/", {"X": "a\r\nEvil: yes"}),
    ],
)
def test_what_makes_no_sense_is_refused(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as told:
        Host(url, headers, lambda: 1)
    assert "secret" not in told.value.message


# -- TLS


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def test_tls_is_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    said = says(CHUNKED + chunks(b"x" * 40_000) + b"0\r\n\r\n", again=True)
    async with serving(said, tls=tls_of(authority)) as served:
        there = host(served)
        for _ in range(2):
            _, body = await there.post(b"{}")
            assert await heard(body) == (b"x" * 40_000, None)
        assert served.connections == 1
        there.close()


async def test_a_certificate_nobody_vouches_for_is_refused() -> None:
    async with serving(says(CHUNKED + b"0\r\n\r\n"), tls=tls_of(trustme.CA())) as served:
        there = host(served)
        with pytest.raises(UpstreamUnavailable, match="certificate"):
            await there.post(b"{}")
        there.close()
