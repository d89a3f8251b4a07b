"""Any body, in any dialect, in either colour; and how much of the package that takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

import penstock
from penstock import read
from penstock.client.ways import Name
from penstock.errors import NoSuchPlugin, RemoteProtocolError
from penstock.events import ResponseFailed
from unit.client.spoken import EVENTS, frames

BODY = b"".join(data for _, data in frames("native"))
CHAT = b"".join(data for _, data in frames("openai-chat"))


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_body_is_read_in_either_colour(size: int) -> None:
    assert list(read((BODY[at : at + size] for at in range(0, len(BODY), size)), "native")) == EVENTS
    assert [event async for event in read(pieces(BODY, size), "native")] == EVENTS


@pytest.mark.parametrize("name", ["native", "openai-chat", "opper/v3", "modelrelay", "mix", "orq"])
async def test_a_body_that_ends_too_early_has_failed(name: Name) -> None:
    body = b"".join(data for _, data in frames(name)[:5])
    *_, end = read([body], name)
    assert isinstance(end, ResponseFailed) and end.code == "truncated"
    assert [event async for event in read(pieces(body, 9), name)][-1] == end


def test_lines_are_read_too() -> None:
    events = list(read([b'{"cursor":"a.1","at":1,"type":"response.started","response_id":"r"}\n'], "native",
                       framing="ndjson"))  # fmt: skip
    assert len(events) == 2


def test_structured_text_is_data() -> None:
    assert {event.part.__class__.__name__ for event in read([CHAT], "openai-chat", structured=True)
            if hasattr(event, "part")} == {"DataPart"}  # fmt: skip


def test_what_cannot_be_read_is_named_at_once() -> None:
    for dialect, framing in (("nativ", ""), ("modelrelay/run", ""), ("openai-chat", "ndjson")):
        with pytest.raises(NoSuchPlugin):
            read([], dialect, framing=framing)
    with pytest.raises(RemoteProtocolError):
        list(read([b"data: {]\n\n"], "native"))


_BASE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"starlette", "uvicorn", "httptools", "jsonschema_rs", "mcp"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import penstock
assert not {"httpx2", "msgspec", "asyncio"} & set(sys.modules), "to import it is to import next to nothing"
from penstock import Client, Policy, SyncClient, connect, read
for name in ("native", "opper", "opper/v3", "modelrelay", "mix", "orq", "openai-chat"):
    connect(name, "http://127.0.0.1:1", sync=True).close()
    list(read([], name))
own = {name for name in sys.modules if name.startswith("penstock.")}
print(*(part for part in ("server", "engine", "log", "testing") if f"penstock.{part}" in own))
"""


def test_the_client_needs_no_server_parts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BASE], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


def test_the_public_names_are_there() -> None:
    assert {"Client", "Policy", "SyncClient", "connect", "read"} <= set(dir(penstock))
