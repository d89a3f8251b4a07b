"""
Answers read over bare sockets, HTTP chunk by HTTP chunk, and what must be true of each stream.

The contract's sections 5 and 5.7 hold for any stream, whatever it says:
:func:`records` checks them and gives back the records.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from jsonpatch import JsonPatch
from jsonschema import Draft202012Validator

__all__ = [
    "PATH", "SSE", "V1", "V2", "Answer", "Reading", "ask", "asked", "asking", "data", "records", "records_v1",
]  # fmt: skip

PATH: Final = "/api/v1/responses"
V2: Final = 'application/x-ndjson; profile="responses-stream/v2"'
"""What the SDKs send as Accept."""
V1: Final = 'application/x-ndjson; profile="responses-stream/v1"'
SSE: Final = "text/event-stream"

_PATIENCE: Final = 60.0
_MIB: Final = 2**20
_SCHEMA: Final = Path(__file__).parents[3] / "cases" / "modelrelay" / "v1.schema.json"
_V1: Final = Draft202012Validator(json.loads(_SCHEMA.read_text()))
_CALM: Final = ("start", "update", "completion", "error", "keepalive")
"""What the TypeScript SDK survives in a structured stream."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    chunks: list[bytes]
    ended: bool
    """Whether the body came to its own end; else the connection broke."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        """The one document that the body is."""
        assert self.ended and self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


class Reading:
    """An answer whose head has come."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        pairs = (line.decode().strip().partition(": ") for line in iter(self._file.readline, b"\r\n"))
        self.headers = {name.lower(): value for name, _, value in pairs}

    def chunk(self) -> bytes | None:
        """Return the next chunk, which is empty at the end of the body; None if the connection is broken."""
        try:
            size = self._file.readline().strip()
            chunk = self._file.read(int(size, 16) + 2) if size else b""
        except ConnectionError:
            return None
        return chunk[:-2] if chunk.endswith(b"\r\n") else None

    def rest(self) -> Answer:
        """Return all that is still to come."""
        if "content-length" in self.headers:
            return Answer(self.status, self.headers, [self._file.read()], True)
        chunks: list[bytes] = []
        while chunk := self.chunk():
            chunks.append(chunk)
        return Answer(self.status, self.headers, chunks, chunk is not None)

    def close(self) -> None:
        self._file.close()


@contextmanager
def asking(
    url: str, body: Any, accept: str = V2, path: str = PATH, *, buffer: int = 0, **headers: Any
) -> Iterator[Reading]:
    """
    POST, and wait for the head.

    Args:
        body: of the request; bytes are sent as they are.
        accept: the header's value; empty: without the header.
        buffer: bytes that the system takes in while nobody reads; 0: as many as it likes.
        headers: more of them, strings; their names may be spelled with underscores.
    """
    there = urlsplit(url)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1", f"host: {there.netloc}", "accept-encoding: gzip, deflate",
        "content-type: application/json", f"content-length: {len(content)}", "connection: close",
        *([f"accept: {accept}"] if accept else []),
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]  # fmt: skip
    with socket.socket() as connection:
        connection.settimeout(_PATIENCE)
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.connect((str(there.hostname), int(there.port or 0)))
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        reading = Reading(connection)
        yield reading
        reading.close()


def ask(url: str, body: Any, accept: str = V2, path: str = PATH, **headers: Any) -> Answer:
    """POST and read to the end; arguments as for :func:`asking`."""
    with asking(url, body, accept, path, **headers) as reading:
        return reading.rest()


def asked(model: str, text: str = "hi", /, **members: Any) -> dict[str, Any]:
    """Return the body of a request."""
    item = {"type": "message", "role": "user", "content": [{"type": "text", "text": text}]}
    return {"model": model, "input": [item], **members}


# -- what is true of any stream


def records(answer: Answer, *, whole: bool = True) -> list[dict[str, Any]]:
    """
    Return the records of a stream of the second generation, but for keepalives, after checking them.

    ``whole``: it must be there from its beginning to its end.
    """
    found = data(answer, _lines(answer))
    assert [record["type"] for record in found[:1]] == ["start"], found
    kinds = [record["type"] for record in found]
    terminal = [kind for kind in kinds if kind in ("completion", "error")]
    assert kinds.count("start") == 1 and terminal == kinds[-1:] * whole, kinds
    assert answer.ended == whole
    _check_words(found)
    return found


def records_v1(answer: Answer) -> list[dict[str, Any]]:
    """Return the records of a stream of the first generation, but for keepalives, after checking them."""
    found = [json.loads(line) for line in _lines(answer)]
    for record in found:
        _V1.validate(record)
    found = [record for record in found if record != {"event": "keepalive"}]
    kinds = [record["event"] for record in found]
    assert kinds[0] == "message_start" and kinds.count("message_start") == 1, kinds
    assert kinds[-1] == "message_stop" and kinds.count("message_stop") == 1, kinds
    assert answer.ended == (found[-1]["stop_reason"] != "error")
    return found


def data(answer: Answer, lines: list[bytes]) -> list[dict[str, Any]]:
    """Return what lines say, but for keepalives: ASCII, without nulls, none of them as long as a MiB."""
    assert answer.status == 200 and "content-encoding" not in answer.headers
    for line in lines:
        assert line.isascii() and len(line) < _MIB
    found = [json.loads(line) for line in lines]
    if not any("payload" in record for record in found):
        assert not any(_has_null(record) for record in found)
    return [record for record in found if record != {"type": "keepalive"}]


def _lines(answer: Answer) -> list[bytes]:
    """Return the lines, each of which must be an HTTP chunk of its own."""
    for chunk in answer.chunks:
        assert chunk.endswith(b"\n") and chunk.count(b"\n") == 1 and b"\r" not in chunk, chunk
    return answer.chunks


def _has_null(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_has_null, value.values()))
        case list():
            return any(map(_has_null, value))
        case _:
            return value is None


def _check_words(found: list[dict[str, Any]]) -> None:
    """What is said piece by piece is what is said in the end."""
    start, *updates, last = found
    if start["stream_mode"] == "structured-patch":
        _check_patches(updates, last)
        assert {record["type"] for record in found} <= {*_CALM}
    if last["type"] != "completion":
        return
    joined = "".join(record.get("delta", "") for record in updates)
    assert last.get("content", joined) == joined
    assert last.get("content") != "" and {"stop_reason", "usage"} <= {*last}
    assert all(last[name] == start[name] for name in ("request_id", "model", "provider"))
    if start["stream_mode"] == "text-delta":
        assert last.get("tool_calls", []) == _called(updates)


def _check_patches(updates: list[dict[str, Any]], last: dict[str, Any]) -> None:
    document: Any = {}
    complete: list[str] = []
    for update in updates:
        document = JsonPatch(update["patch"]).apply(document)
        assert update["complete_fields"][: len(complete)] == complete, "fields stay complete"
        complete = update["complete_fields"]
    if last["type"] == "completion":
        assert document == last["payload"]
        assert last["complete_fields"][: len(complete)] == complete


def _called(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the calls that deltas make, each of which must have been finished, and as such."""
    calls: dict[int, dict[str, Any]] = {}
    finished: list[dict[str, Any]] = []
    for update in updates:
        told = deepcopy(update.get("tool_call_delta", {}))
        match update["type"]:
            case "tool_use_start":
                assert told.pop("index") == len(calls) and told["id"] and told["function"]["name"]
                calls[len(calls)] = told
            case "tool_use_delta":
                assert {*told} == {"index", "function"} and {*told["function"]} == {"arguments"}
                calls[told["index"]]["function"]["arguments"] += told["function"]["arguments"]
            case "tool_use_stop":
                finished += update["tool_calls"]
    made = list(calls.values())
    assert sorted(finished, key=made.index) == made
    for call in made:
        json.loads(call["function"]["arguments"])
    return made
