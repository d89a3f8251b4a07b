"""
The bytes themselves, which no SDK shows: section 7 of the contract, its safe common subset.

One text that holds whatever breaks readers, and one value, at each endpoint
that streams.
"""

from __future__ import annotations

import json
import re
import socket
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest

from interop.opper.stage import END, Stage, Tap, paused
from interop.opper.values import TEXT, VALUES
from upstream import chunk, sse

NUMBERS: Final = count()
NASTY: Final = (*TEXT, "\ud83d", "data: [DONE]\n\nevent: x\nid: 1\r\n\r\n: ping\n\n", "\ufeff\x00")


class Way(NamedTuple):
    """An endpoint that streams."""

    path: str
    body: dict[str, Any]
    ids: bool = True
    """Whether its blocks have ids."""
    leaves: bool = False
    """Whether values come leaf by leaf."""


WAYS: Final = {
    "v2": Way("/v2/call/stream", {"name": "wire"}, leaves=True),
    "v2 at the root": Way("/call/stream", {"name": "wire"}, leaves=True),
    "v2 by id": Way("/v2/functions/{id}/call/stream", {}),
    "v2 by revision": Way("/v2/functions/{id}/call/stream/{revision_id}", {}),
    "v1": Way("/v1/call", {"name": "wire", "input": "x", "stream": True}, ids=False),
    "v3": Way("/v3/functions/wire/stream", {"input": "x"}, ids=False),
    "v3 by body": Way("/v3/call/stream", {"name": "wire", "input": "x", "stream": True}, ids=False),
}
BLOCK: Final = re.compile(rb"(?:id: [^\n]+\n)?(?:event: complete\n)?data: (\{[\x20-\x7e]*\}|\[DONE\])")


class Raw(NamedTuple):
    """An answer, byte by byte."""

    head: str
    body: bytes
    ended: bool
    """Whether the last chunk came, the empty one."""

    @property
    def blocks(self) -> list[bytes]:
        """The blocks but for keepalives."""
        *blocks, rest = self.body.split(b"\n\n")
        assert rest == b"", "every block ends in an empty line"
        return [block for block in blocks if block != b": ping"]

    @property
    def data(self) -> list[dict[str, Any]]:
        """The data of each block that is JSON."""
        found = (block.partition(b"data: ")[2] for block in self.blocks)
        return [json.loads(data) for data in found if data != b"[DONE]"]


def ask(url: str, path: str, body: Any) -> Raw:
    """Post ``body`` and read until the server closes the connection or says the last chunk."""
    there, content = urlsplit(url), json.dumps(body).encode()
    with socket.create_connection((str(there.hostname), int(there.port or 0)), timeout=60) as connection:
        lines = [
            f"POST {path} HTTP/1.1", f"host: {there.netloc}", "cookie: ", "accept: text/event-stream",
            "accept-encoding: gzip, deflate", "content-type: application/json",
            f"content-length: {len(content)}", "connection: close",
        ]  # fmt: skip
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, rest = received.partition(b"\r\n\r\n")
    body_of, last = b"", -1
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        last = int(size, 16)
        body_of, rest = body_of + rest[:last], rest[last + 2 :]
    return Raw(head.decode().lower(), body_of, last == 0)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def addressed(stage: Stage, way: Way, model: str, schema: Any = None) -> tuple[str, dict[str, Any]]:
    """Return path and body of a call to a model; its function is stored where an endpoint needs that."""
    asked: dict[str, Any] = {"model": model, **({} if schema is None else {"output_schema": schema})}
    if "{id}" not in way.path:
        return way.path, {**asked, **way.body}
    function = {"name": f"wire_{next(NUMBERS)}", "instructions": "Go on", **asked}
    return way.path.format_map(stage.http("POST", "/v2/functions", json=function).json()), way.body


def streamed(stage: Stage, way: Way, model: str, schema: Any = None, url: str = "") -> Raw:
    """Return what an endpoint answers for a model."""
    path, body = addressed(stage, way, model, schema)
    return ask(url or stage.url, path, body)


def test_the_bytes_of_a_text(stage: Stage, way: Way) -> None:
    raw = streamed(stage, way, stage.says(*NASTY))
    assert raw.ended and raw.body.isascii()
    check_blocks(raw, way)
    said = "".join(each["delta"] for each in raw.data if "delta" in each)
    assert said == "".join(NASTY).replace("\ud83d", "\ufffd")


@pytest.mark.parametrize("name", VALUES)
def test_the_bytes_of_a_value(stage: Stage, way: Way, name: str) -> None:
    raw = streamed(stage, way, stage.says(*VALUES[name].pieces()), VALUES[name].schema)
    assert raw.ended and raw.body.isascii()
    check_blocks(raw, way)
    for each in raw.data:
        assert not isinstance(each.get("delta"), list | dict)
        assert ("json_path" in each or each.get("chunk_type") == "json") <= way.leaves


def check_blocks(raw: Raw, way: Way) -> None:
    """Section 7: one line of data to a block, no block without, ids only where they belong."""
    generation = way.path.split("/")[1]
    for block in raw.blocks:
        assert BLOCK.fullmatch(block), block
        assert block.startswith(b"id: ") == way.ids, block
    done = [n for n, block in enumerate(raw.blocks) if b"data: [DONE]" in block.split(b"\n")]
    if generation == "v3":
        assert done == [len(raw.blocks) - 1] and raw.blocks[-2].startswith(b"event: complete\ndata: ")
        assert {each.get("type") for each in raw.data[:-1]} == {"content", "done"}
        return
    assert done == [] and b"event:" not in b"".join(block.partition(b"data:")[0] for block in raw.blocks)
    assert [*raw.data[0]] == ["span_id"] and all("span_id" not in each for each in raw.data[1:])
    known = {"delta", "json_path", "chunk_type"} if way.leaves else {"delta"}
    assert {key for each in raw.data[1:] for key in each} <= known
    assert all(value is not None for each in raw.data for key, value in each.items() if key != "delta")


def test_the_head_of_a_stream(stage: Stage, way: Way) -> None:
    raw = streamed(stage, way, stage.says("well"))
    assert raw.head.startswith("http/1.1 200 ")
    lines = dict(line.split(": ", 1) for line in raw.head.split("\r\n")[1:])
    assert lines["content-type"].startswith("text/event-stream") and lines["transfer-encoding"] == "chunked"
    assert "content-encoding" not in lines and "content-length" not in lines
    assert lines["penstock-stream"].startswith("st_") and lines["x-accel-buffering"] == "no"
    assert "no-transform" in lines["cache-control"]


def test_a_failure_breaks_the_connection_after_it_is_said(stage: Stage, way: Way) -> None:
    """But in v3, whose readers see the chunk, and that nothing is complete."""
    raw = streamed(stage, way, stage.plays(sse(chunk("half "), chunk("a word"))))
    last = raw.data[-1]
    if way.path.startswith("/v3"):
        assert raw.ended and last["type"] == "error" and last["error"]
        assert b"[DONE]" not in raw.body and b"complete" not in raw.body
    else:
        assert not raw.ended and last["chunk_type"] == "error"
        assert {*last} == {"chunk_type", "error_type", "error_message"}


def test_silence_is_filled_with_blocks_of_their_own(murmuring: Stage, way: Way) -> None:
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b": ping\n\n", 2)
        model = murmuring.plays(paused(sse(chunk("so ")), silence, chunk("on"), *END))
        raw = streamed(murmuring, way, model, url=tap.url)
    assert raw.ended and raw.body.count(b": ping\n\n") == raw.body.count(b"ping") >= 2
    check_blocks(raw, way)


@pytest.mark.parametrize("whole", ["/v2/call", "/call", "/v1/call", "/v3/call", "/v3/functions/wire/call"])
def test_whole_answers_are_json(stage: Stage, whole: str) -> None:
    model = stage.says(*NASTY)
    answer = stage.http("POST", whole, json={"name": "wire", "input": "x", "model": model})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content.isascii()
    body = answer.json()
    assert (body["data"] if "v3" in whole else body["message"]) == "".join(NASTY).replace("\ud83d", "\ufffd")


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json", "*/*"])
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/call/stream", b"{", 400),
        ("/v2/call/stream", b"[]", 400),
        ("/v2/call/stream", b"{}", 422),
        ("/v2/call/stream", b'{"name": 7}', 422),
        ("/v2/functions/nobody/call/stream", b"{}", 404),
        ("/v1/call", b"{", 400),
        ("/v1/call", b'{"stream": true}', 422),
        ("/v3/functions/wire/stream", b"{", 400),
        ("/v3/functions/wire/stream", b"{}", 400),
    ],
)
def test_errors_are_json_whatever_was_asked_for(
    stage: Stage, path: str, body: bytes, status: int, accept: str
) -> None:
    """In the shape of their generation, and never empty: an empty one ends a Node process."""
    headers = {"accept": accept, "content-type": "application/json"}
    answer = stage.http("POST", path, content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    said = answer.json()
    match path.split("/")[1]:
        case "v1":
            [said] = said["errors"]
        case "v3":
            said = {"type": said["error"]["code"], "detail": None, **said["error"]}
    assert said["type"] and said["message"] and "detail" in said


def test_there_are_no_redirects(stage: Stage) -> None:
    """The SDK of v3 follows none for streams."""
    for path in ("/v2/call/stream/", "/v1/call/", "/v3/functions/wire/stream/", "//v1/call"):
        assert stage.http("POST", path, json={}).status_code not in range(300, 400)


def test_large_deltas_are_one_event(stage: Stage, way: Way) -> None:
    large = "x" * 300_000
    raw = streamed(stage, way, stage.says(large))
    assert [each["delta"] for each in raw.data if "delta" in each] == [large]


def test_the_same_stream_has_the_same_bytes(stage: Stage, way: Way) -> None:
    """Live, or from its beginning again."""
    model = stage.says(*VALUES["nested"].pieces())
    way = way._replace(body={**way.body, "tags": {"idempotency_key": model}})
    path, body = addressed(stage, way, model, VALUES["nested"].schema)
    first, again = (ask(stage.url, path, body) for _ in range(2))
    assert first.body == again.body and first.ended and len(stage.bodies(model)) == 1
