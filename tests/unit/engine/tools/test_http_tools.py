"""HTTP endpoints as tools: what is asked, where it goes, and what comes back."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import trustme
from msgspec import json

from penstock.config import SecretSettings
from penstock.engine.tools import Asking, ToolFault, http
from penstock.engine.tools.addresses import is_public, listed, resolve
from penstock.engine.tools.endpoint import endpoint, filled
from penstock.engine.tools.http import HttpTools
from penstock.engine.tools.secrets import Secrets
from penstock.errors import ConfigError, Unprocessable
from penstock.requests import Tool

ASKING = Asking("st_1", "st_1.1", "call_1", "d1")
NO_SECRETS = Secrets({})
HUSH = 'hu"sh/1'
OK = b"HTTP/1.1 200 OK\r\n"


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


class Served(NamedTuple):
    url: str
    port: int
    requests: list[Request]


@asynccontextmanager
async def serving(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """Answer every request with these bytes, and close."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        pairs = [(name.lower(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        assert len(dict(pairs)) == len(pairs), "a header is there twice"
        body = await reader.readexactly(int(dict(pairs).get("content-length", 0)))
        requests.append(Request(line, dict(pairs), body))
        writer.write(answer)
        await writer.drain()
        writer.close()

    requests: list[Request] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Served(f"http{'s' if tls else ''}://localhost:{port}", port, requests)


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def resolving(*found: Collection[str]) -> Any:
    """A resolver that gives one answer after the other; ``asked`` is what it was asked."""

    async def resolve(host: str, port: int) -> Collection[str]:
        asked.append(host)
        return found[min(len(asked), len(found)) - 1]

    asked: list[str] = []
    return resolve, asked


async def run(
    setup: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
    hosts: Collection[str] = ("localhost",),
    secrets: Secrets = NO_SECRETS,
    **options: Any,
) -> Any:
    box = HttpTools(secrets, hosts, **options)
    try:
        return await box.run(Tool("t", runner="http", setup=dict(setup)), dict(arguments or {}), ASKING)
    finally:
        await box.aclose()


# -- what is asked


FILLED: dict[str, tuple[dict[str, Any], dict[str, Any], str, bytes]] = {
    "nothing to fill in": ({"url": "https://x.example"}, {}, "/", b""),
    "a path": ({"url": "https://x.example/a/{id}/b"}, {"id": 7}, "/a/7/b", b""),
    "doubled braces": ({"url": "https://x.example/{{ id }}/{{id}}?q={{id}}"}, {"id": 7}, "/7/7?q=7", b""),
    "two in one segment": ({"url": "https://x.example/{a}-{b}.json"}, {"a": "x", "b": "y"}, "/x-y.json", b""),
    "dots that are no folder": ({"url": "https://x.example/{a}"}, {"a": "..."}, "/...", b""),
    "what would cut a path": ({"url": "https://x.example/{a}/z"}, {"a": "b/c?d#e"}, "/b%2Fc%3Fd%23e/z", b""),
    "what is encoded already": ({"url": "https://x.example/{a}"}, {"a": "%2e%2e"}, "/%252e%252e", b""),
    "what would be a line": (
        {"url": "https://x.example/{a}"}, {"a": "x\r\nHost: y"}, "/x%0D%0AHost%3A%20y", b"",
    ),
    "letters of all kinds": ({"url": "https://x.example/ü/{a}"}, {"a": "ß"}, "/%C3%BC/%C3%9F", b""),
    "the literal part keeps its escapes": ({"url": "https://x.example/a%2Fb/{a}"}, {"a": 1}, "/a%2Fb/1", b""),
    "a query in the URL": (
        {"url": "https://x.example/s?q={q}&k=1"}, {"q": "a&k=2"}, "/s?q=a%26k%3D2&k=1", b"",
    ),
    "a query beside it": (
        {"url": "https://x.example/s?a=1", "query": {"b": "{b}", "c": "x {b}", "d": 2}}, {"b": "y"},
        "/s?a=1&b=y&c=x%20y&d=2", b"",
    ),
    "what the setup does not mention": ({"url": "https://x.example/{a}"}, {"a": 1, "b": "2"}, "/1?b=2", b""),
    "what is not there is left out": (
        {"url": "https://x.example/s?q={q}", "query": {"r": "{r}"}, "headers": {"X-S": "{s}"}}, {}, "/s", b"",
    ),
    "values of all kinds": (
        {"url": "https://x.example/"},
        {"t": True, "n": 1.5, "no": None, "l": ["a", 2], "d": {"x": 1}},
        "/?t=true&n=1.5&l=a&l=2&d=%7B%22x%22%3A1%7D", b"",
    ),
    "a body of arguments": (
        {"url": "https://x.example/{a}", "method": "POST"}, {"a": 1, "b": {"c": None}},
        "/1", b'{"b":{"c":null}}',
    ),
    "a body of its own": (
        {"url": "https://x.example/", "method": "PUT",
         "body": {"fix": 1, "a": "{a}", "t": "<{a}>", "l": ["{b}", "{no}"], "no": "{no}"}},
        {"a": 7, "b": [1], "more": "m"},
        "/", b'{"fix":1,"a":7,"t":"<7>","l":[[1]],"more":"m"}',
    ),
    "a body that is an argument": (
        {"url": "https://x.example/", "method": "POST", "body": "{a}"}, {"a": [1, "x"], "b": 2},
        "/?b=2", b'[1,"x"]',
    ),
    "a body of text": (
        {"url": "https://x.example/", "method": "POST", "body": "Dear {a}"}, {"a": "Ä"},
        "/", "Dear Ä".encode(),
    ),
    "a form": (
        {"url": "https://x.example/", "method": "POST", "body": {"a": "{a}", "b": 1},
         "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"a": "x&b=2", "c": None}, "/", b"a=x%26b%3D2&b=1",
    ),
    "deleting has no body": ({"url": "https://x.example/", "method": "DELETE"}, {"a": 1}, "/?a=1", b""),
}  # fmt: skip


@pytest.mark.parametrize(("setup", "arguments", "target", "body"), FILLED.values(), ids=list(FILLED))
def test_arguments_go_where_the_setup_says(
    setup: dict[str, Any], arguments: dict[str, Any], target: str, body: bytes
) -> None:
    asked = filled(endpoint(setup), arguments)
    assert (asked.target, asked.body) == (target, body)
    assert (asked.host, asked.port, asked.secure) == ("x.example", 443, True)
    again = httpx2.URL("https://x.example").copy_with(raw_path=target.encode())
    assert again.raw_path == target.encode(), "the client does not rewrite it"


FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing in the path": ({"url": "https://x.example/{a}"}, {}, "'a' is missing"),
    "missing in a text": ({"url": "https://x.example/", "query": {"q": "x {a}"}}, {}, "'a' is missing"),
    "missing in a body of text": (
        {"url": "https://x.example/", "method": "POST", "body": "Dear {a}"}, {}, "'a' is missing",
    ),
    "a list in the path": ({"url": "https://x.example/{a}"}, {"a": [1]}, "'a' must be a text or a number"),
    "nothing in the path": ({"url": "https://x.example/a/{b}/c"}, {"b": ""}, "'b' cannot be that"),
    "the folder above": ({"url": "https://x.example/a/{b}"}, {"b": ".."}, "'b' cannot be that"),
    "the folder above, in two": ({"url": "https://x.example/{a}{b}"}, {"a": ".", "b": "."}, "'a' cannot be"),
    "the folder above, further in": ({"url": "https://x.example/{a}"}, {"a": "x/../../y"}, "'a' cannot be"),
    "the folder above, on Windows": ({"url": "https://x.example/{a}"}, {"a": "..\\y"}, "'a' cannot be that"),
    "a further header": (
        {"url": "https://x.example/", "headers": {"X-A": "{a}"}}, {"a": "1\r\nX-B: 2"},
        "the header 'X-A' can",
    ),
    "a list in a header": (
        {"url": "https://x.example/", "headers": {"X-A": "{a}"}}, {"a": ["1"]},
        "'a' must be a text or a number",
    ),
    "what the query says itself": (
        {"url": "https://x.example/?admin=no"}, {"admin": "yes"}, "there is no argument 'admin'",
    ),
    "what the body says itself": (
        {"url": "https://x.example/", "method": "POST", "body": {"admin": False}}, {"admin": True},
        "there is no argument 'admin'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("setup", "arguments", "why"), FAULTS.values(), ids=list(FAULTS))
def test_an_argument_that_cannot_be_there_is_a_fault(
    setup: dict[str, Any], arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(ToolFault, match=why):
        filled(endpoint(setup), arguments)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no URL": ({}, "setup"),
    "another scheme": ({"url": "file:///etc/passwd"}, "setup.url"),
    "no host": ({"url": "https:///x"}, "setup.url"),
    "a host that is an argument": ({"url": "https://{host}/x"}, "setup.url"),
    "part of a host": ({"url": "https://x.{tld}/x"}, "setup.url"),
    "a port that is an argument": ({"url": "https://x.example:{port}/"}, "setup.url"),
    "a port that is none": ({"url": "https://x.example:99999/"}, "setup.url"),
    "a password": ({"url": "https://me:pw@x.example/"}, "setup.url"),
    "a host after a backslash": ({"url": "https://x.example\\@y.example/"}, "setup.url"),
    "another method": ({"url": "https://x.example/", "method": "TRACE"}, "setup.method"),
    "a member that is none": ({"url": "https://x.example/", "verb": "GET"}, "setup"),
    "whom it is for": ({"url": "https://x.example/", "headers": {"Host": "y"}}, "setup.headers.Host"),
    "how long it is": (
        {"url": "https://x.example/", "headers": {"Content-length": "1"}}, "setup.headers.Content-length",
    ),
    "a header that is two": (
        {"url": "https://x.example/", "headers": {"A": "1\r\nB: 2"}}, "setup.headers.A",
    ),
    "the name of a header": (
        {"url": "https://x.example/", "headers": {"A: 1\r\nB": "2"}}, "setup.headers.A: 1\r\nB",
    ),
    "a secret among words": (
        {"url": "https://x.example/", "headers": {"A": "{b} secret:c"}}, "setup.headers.A",
    ),
    "a text that is a grammar": (
        {"url": "https://x.example/", "method": "POST", "body": '{"a": "{a}"}',
         "headers": {"Content-Type": "application/json"}}, "setup.body",
    ),
    "a value that is no JSON": (
        {"url": "https://x.example/", "method": "POST", "body": [1],
         "headers": {"Content-Type": "text/xml"}}, "setup.body",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("setup", "field"), WRONG.values(), ids=list(WRONG))
async def test_a_setup_that_cannot_be_is_named(setup: dict[str, Any], field: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        endpoint(setup)
    assert caught.value.field == field
    with pytest.raises(ToolFault, match="of an HTTP tool: "):
        await run(setup)


async def test_a_request_says_who_asks_and_which_call_it_is() -> None:
    async with serving(answer(b"{}")) as served:
        setup = {"url": f"{served.url}/{{a}}?b=1", "method": "POST", "headers": {"X-C": "{c}"}}
        await run(setup, {"a": "x y", "c": "z", "d": [1]})
    ((line, headers, body),) = served.requests
    assert line == "POST /x%20y?b=1 HTTP/1.1"
    assert headers["host"] == f"localhost:{served.port}"
    assert headers["idempotency-key"] == "d1"
    assert headers["x-c"] == "z"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("penstock/")
    assert headers["content-type"] == "application/json"
    assert body == b'{"d":[1]}'


async def test_a_header_of_the_setup_takes_the_place_of_ours() -> None:
    async with serving(answer(b"{}")) as served:
        await run({"url": served.url, "headers": {"idempotency-key": "own", "accept": "text/csv"}})
    ((_, headers, _),) = served.requests
    assert (headers["idempotency-key"], headers["accept"]) == ("own", "text/csv")


# -- where it goes


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.0.1",  # RFC 1918
        "169.254.169.254", "169.254.170.2",  # metadata of clouds
        "100.64.0.1", "100.100.100.200",  # CGNAT; metadata of one more cloud
        "192.0.0.8", "192.0.0.192", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "192.88.99.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1",
        "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::a00:1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "2001::1", "2001:db8::1", "100::1", "5f00::1", "4000::1",
        "localhost", "", "1.2.3",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("host", "names", "expected"),
    [
        ("localhost", ["localhost"], True),
        ("LocalHost.", ["localhost"], True),
        ("localhost", ["Localhost:9000"], True),
        ("localhost", ["localhost:9001"], False),
        ("::1", ["[::1]:9000"], True),
        ("::1", ["::1"], True),
        ("a.example", ["example", "b.example"], False),
        ("x.a.example", ["a.example"], False),
        ("a.example", [], False),
    ],
)
def test_what_is_listed(host: str, names: list[str], expected: bool) -> None:
    assert listed(host, 9000, names) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{}/", "http://localhost:{}/", "http://[::ffff:127.0.0.1]:{}/", "http://0.0.0.0:{}/",
        "http://2130706433:{}/", "http://0x7f.1:{}/", "http://127.1:{}/", "http://LOCALHOST.:{}/",
    ],
)  # fmt: skip
async def test_ones_own_network_is_out_of_reach_in_any_spelling(url: str) -> None:
    async with serving(answer(b"{}")) as served:
        with pytest.raises(
            ToolFault, match=r"not on the public internet|cannot be found|not the name of a host"
        ):
            await run({"url": url.format(served.port)}, hosts=())
    assert served.requests == []


async def test_one_address_that_is_not_public_spoils_the_name() -> None:
    resolve, _ = resolving(["93.184.216.34", "127.0.0.1"])
    async with serving(answer(b"{}")) as served:
        with pytest.raises(ToolFault, match=r"'x\.example' is not on the public internet.*`tool_hosts`"):
            await run({"url": f"http://x.example:{served.port}/"}, resolve=resolve)
    assert served.requests == []


async def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[httpx2.Request] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, stream=httpx2.ByteStream(b"1"))

    async def transport() -> httpx2.MockTransport:
        return httpx2.MockTransport(note)

    monkeypatch.setattr(http, "_transport", transport)
    resolve, asked = resolving(["93.184.216.34"], ["127.0.0.1"])  # a name that changes its mind
    assert await run({"url": "https://Rebind.example/x"}, resolve=resolve) == "1"
    (request,) = requests
    assert asked == ["rebind.example"]
    assert request.url.host == "93.184.216.34"
    assert request.headers["host"] == "rebind.example"
    assert request.extensions["sni_hostname"] == "rebind.example"


async def test_the_next_address_is_tried_where_there_is_no_connection() -> None:
    resolve, _ = resolving(["127.0.0.2", "127.0.0.1"])
    async with serving(answer(b"1")) as served:
        url = f"http://inside.example:{served.port}/"
        assert await run({"url": url}, hosts=["inside.example"], resolve=resolve) == 1
    assert [request.headers["host"] for request in served.requests] == [f"inside.example:{served.port}"]


async def test_a_request_that_was_sent_is_not_sent_again() -> None:
    resolve, _ = resolving(["127.0.0.1", "127.0.0.1", "::1"])
    async with serving(b"") as served:
        with pytest.raises(ToolFault, match=r"inside\.example gave no answer: "):
            await run(
                {"url": f"http://inside.example:{served.port}/", "method": "POST"},
                hosts=["inside.example"],
                resolve=resolve,
            )
    assert len(served.requests) == 1


async def test_a_host_that_is_nowhere_is_a_fault() -> None:
    async def nowhere(host: str, port: int) -> Collection[str]:
        raise OSError("no such name")

    with pytest.raises(ToolFault, match=r"the host 'x\.example' cannot be found"):
        await run({"url": "http://x.example/"}, resolve=nowhere)
    empty, _ = resolving([])
    with pytest.raises(ToolFault, match=r"the host 'x\.example' has no address"):
        await run({"url": "http://x.example/"}, resolve=empty)


async def test_where_nobody_listens_is_a_fault() -> None:
    async with serving(b"") as served:
        pass
    with pytest.raises(ToolFault, match=f"no connection to localhost:{served.port}: "):
        await run({"url": served.url})


async def test_the_systems_resolver_finds_this_machine() -> None:
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert list(await resolve("::1", 80)) == ["::1"]
    with pytest.raises(OSError, match="label"):
        await resolve("x" * 70 + ".example", 80)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_tls_knows_the_host_by_its_name(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    resolve, _ = resolving(["127.0.0.1"])
    hosts = ["api.example", "other.example"]
    async with serving(answer(b"1"), tls(authority, "api.example")) as served:
        assert await run({"url": f"https://api.example:{served.port}/"}, hosts=hosts, resolve=resolve) == 1
        with pytest.raises(ToolFault, match=r"no connection to other\.example.*certificate"):
            await run({"url": f"https://other.example:{served.port}/"}, hosts=hosts, resolve=resolve)
    assert [request.headers["host"] for request in served.requests] == [f"api.example:{served.port}"]


# -- what comes back


ANSWERS: dict[str, tuple[bytes, Any]] = {
    "a value": (answer(b'{"a": [1]}'), {"a": [1]}),
    "a value of a type of its own": (answer(b"[1]", "application/problem+json; charset=utf-8"), [1]),
    "what only claims to be JSON": (answer(b"<html>"), "<html>"),
    "text": (answer("Grüße".encode(), "text/plain"), "Grüße"),
    "text of another kind": (answer("Grüße".encode("latin-1"), "text/csv; charset=ISO-8859-1"), "Grüße"),
    "text of no kind": (answer(b"\xffx", 'text/plain; charset="nope"'), "\ufffdx"),
    "a page": (answer(b"<a/>", "application/xml"), "<a/>"),
    "an image": (answer(b"\x89PNG", "image/png"), "[image/png, 4 bytes]"),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", None),
    "no type": (OK + b"content-length: 2\r\n\r\nhi", "hi"),
    "to the end of the connection": (OK + b"content-type: text/plain\r\n\r\nhi", "hi"),
    "in chunks": (
        OK + b"content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "value"), ANSWERS.values(), ids=list(ANSWERS))
async def test_an_answer_becomes_a_value(said: bytes, value: Any) -> None:
    async with serving(said) as served:
        assert await run({"url": served.url}) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text/plain", "x" * 2**20 + "… [cut after 1048576 bytes]"),
        ("application/json", "x" * 2**20 + "… [cut after 1048576 bytes]"),
        ("image/png", "[image/png, more than 1048576 bytes]"),
    ],
)
async def test_a_large_answer_is_cut(kind: str, value: str) -> None:
    async with serving(answer(b"x" * (2**20 + 1), kind)) as served:
        assert await run({"url": served.url}) == value


REFUSALS: dict[str, tuple[bytes, str]] = {
    "refused": (answer(b'{"why": "no"}', status="404 Not Found"), r'answered 404: {"why":"no"}$'),
    "failed": (answer(b"x" * 5000, "text/plain", "500 Oops"), "answered 500: x{1000}$"),
    "moved": (
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
        "answered 302: it is at http://169.254.169.254/ now; redirects are not followed",
    ),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answered 304: null"),
    "packed": (
        OK + b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx", "an encoding that was not asked for",
    ),
    "broken off": (OK + b"content-length: 9\r\n\r\nx", "the answer broke off: "),
    "no HTTP": (b"SSH-2.0\r\n\r\n", "gave no answer: "),
}  # fmt: skip


@pytest.mark.parametrize(("said", "why"), REFUSALS.values(), ids=list(REFUSALS))
async def test_a_refusal_is_a_fault(said: bytes, why: str) -> None:
    async with serving(said) as served:
        with pytest.raises(ToolFault, match=why):
            await run({"url": served.url})
    assert len(served.requests) == 1


async def test_what_one_answer_sets_the_next_request_does_not_send() -> None:
    async with serving(OK + b"set-cookie: a=b\r\ncontent-length: 0\r\n\r\n") as served:
        box = HttpTools(NO_SECRETS, ["localhost"])
        for _ in range(2):
            await box.run(Tool("t", runner="http", setup={"url": served.url}), {}, ASKING)
        await box.aclose()
    assert ["cookie" in request.headers for request in served.requests] == [False, False]


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    async with serving(answer(b"1")) as served:
        assert await run({"url": served.url}) == 1


# -- secrets


def secrets(*hosts: str, value: str = HUSH) -> Secrets:
    return Secrets({"key": SecretSettings(value="env:KEY", hosts=hosts)}, {"KEY": value})


@pytest.mark.parametrize(
    ("text", "sent"), [("secret:key", HUSH), ("Bearer secret:key", f"Bearer {HUSH}"), ("a-secret:key", None)]
)
async def test_a_secret_is_put_in_for_its_host(text: str, sent: str | None) -> None:
    async with serving(answer(b"1")) as served:
        setup = {"url": served.url, "headers": {"Authorization": text}}
        if sent is None:
            with pytest.raises(ToolFault, match="stands alone"):
                await run(setup, secrets=secrets("localhost"))
        else:
            await run(setup, secrets=secrets("localhost"))
    assert [request.headers["authorization"] for request in served.requests] == ([sent] if sent else [])


async def test_an_argument_is_never_a_secret() -> None:
    async with serving(answer(b"1")) as served:
        setup = {"url": served.url, "headers": {"X-A": "{a}"}}
        await run(setup, {"a": "secret:key"}, secrets=secrets("localhost"))
    assert [request.headers["x-a"] for request in served.requests] == ["secret:key"]


@pytest.mark.parametrize(
    ("url", "text", "hosts", "why"),
    [
        (
            "https://y.example/",
            "secret:key",
            ["x.example"],
            "the secret 'key' is not for the host 'y.example'",
        ),
        ("https://x.example:8443/", "secret:key", ["x.example:443"], "'key' is not for the host 'x.example'"),
        ("https://x.example/", "secret:lock", ["x.example"], "there is no secret 'lock'"),
        ("http://x.example/", "secret:key", ["x.example"], "goes to 'x.example' over https only"),
    ],
)
async def test_a_secret_goes_nowhere_else(url: str, text: str, hosts: list[str], why: str) -> None:
    resolve, _ = resolving(["93.184.216.34"])
    with pytest.raises(ToolFault, match=why) as caught:
        await run({"url": url, "headers": {"Authorization": text}}, secrets=secrets(*hosts), resolve=resolve)
    assert "hu" not in caught.value.message


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_what_comes_back_is_shown_without_secrets(
    status: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echoed = json.encode({"a": f"Bearer {HUSH}", "b": HUSH}).replace(b"/", b"\\/")
    async with serving(answer(echoed + HUSH.encode() * (kind == "text/plain"), kind, status)) as served:
        setup = {"url": served.url, "headers": {"Authorization": "Bearer secret:key"}}
        try:
            shown = repr(await run(setup, secrets=secrets("localhost")))
        except ToolFault as exc:
            shown = exc.message
    assert "***" in shown and "sh/1" not in shown and "sh\\/1" not in shown
    assert "sh/1" not in caplog.text.replace('\\"', '"')
    assert served.requests[0].headers["authorization"] == f"Bearer {HUSH}"


async def test_a_redirect_does_not_show_a_secret() -> None:
    said = f"HTTP/1.1 302 Found\r\nlocation: http://y.example/?k={HUSH}\r\ncontent-length: 0\r\n\r\n"
    async with serving(said.encode()) as served:
        with pytest.raises(ToolFault, match=r"y\.example/\?k=\*\*\* now"):
            await run({"url": served.url}, secrets=secrets("localhost"))


@pytest.mark.parametrize("value", ["two\nlines", "schlüssel"])
def test_a_secret_that_no_header_can_hold_is_an_error(value: str) -> None:
    with pytest.raises(ConfigError, match="'key' is not printable ASCII") as caught:
        secrets("x.example", value=value)
    assert caught.value.field == "secrets.key.value"
    assert value not in caught.value.message


def test_a_secret_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        Secrets({"key": SecretSettings(value="env:KEY", hosts=("x",))}, {})
    assert caught.value.field == "secrets.key.value"
