"""The page about agents says what is so: its settings load, its requests do what it says they do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from docs.pages import ROOT, blocks, page, run
from penstock.config import describe
from penstock.events import ReviewRequested, ToolDone
from serving import Server

PAGE = page("docs/agents.md")
ASKED: list[tuple[str, str]] = []
"""What the shop's own service was asked: path and authorization."""


class _Stock(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ASKED.append((self.path, self.headers["authorization"]))
        assert self.headers["idempotency-key"]
        body = b'{"price": 12}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def stock() -> Iterator[str]:
    """The service that the page's HTTP tool asks; yields its host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stock) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def here(block: str, stock: str) -> str:
    """Return a block with the hosts and the programs that there are here."""
    library = json.dumps([sys.executable, str(ROOT / "tests" / "mcp_server.py")])
    block = block.replace("stock.internal:9000", stock).replace("find_book", "pid")
    return re.sub(r"^command = .*$", lambda _: f"command = {library}", block, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def shop(stock: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the settings of the page, in which the agent of the page is defined."""
    (settings,) = blocks(PAGE, "toml")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STOCK_TOKEN", "s3cret")
        with Server(tmp_path_factory.mktemp("shop"), here(settings, stock)) as shop:
            define, *_ = blocks(PAGE, "sh")
            defined = json.loads(curl(here(define, stock), shop))
            assert (defined["key"], defined["settings"]["max_iterations"]) == ("clerk", 5)
            yield shop


def curl(block: str, shop: Server, **names: str) -> str:
    """Return what a block prints, with ``names`` in the places of the page's."""
    for name, value in names.items():
        block = re.sub(rf"\b{name}\b", value, block)
    return run("bash", "-c", block.replace("http://127.0.0.1:8017", shop.url))


def until(block: str, shop: Server, stream: str, last: str) -> dict[str, Any]:
    """Return the first event of a type that a block prints, which may have no end."""
    command = block.replace("http://127.0.0.1:8017", shop.url).replace("/ID/", f"/{stream}/")
    with subprocess.Popen(["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        try:
            for line in following.stdout:
                event: dict[str, Any] = json.loads(line)
                if event["type"] == last:
                    return event
        finally:
            following.kill()
    raise AssertionError(f"there is no {last}")


def test_a_human_decides_about_the_http_tool(shop: Server) -> None:
    _, ask, follow, decide, *_ = blocks(PAGE, "sh")
    ASKED.clear()
    stream = json.loads(curl(ask, shop))["id"]
    review = until(follow, shop, stream, "tool.review.requested")
    assert review["tool"] == "get_price" and ASKED == []
    curl(decide, shop, ID=stream, CALL_ID=review["call_id"], DIGEST=review["digest"])
    assert until(follow, shop, stream, "tool.done")["result"] == {"price": 12}
    assert until(follow, shop, stream, "response.done")["finish_reason"] == "stop"
    [(path, authorization)] = ASKED
    assert path.startswith("/prices/") and authorization == "Bearer s3cret"


def test_the_caller_runs_its_function(shop: Server) -> None:
    *_, ask, answer = blocks(PAGE, "sh")
    stream = json.loads(curl(ask, shop))["id"]
    follow = blocks(PAGE, "sh")[2]
    done = until(follow, shop, stream, "response.done")
    assert done["finish_reason"] == "tool_calls"
    (call_id,) = done["pending_calls"]
    said = curl(answer, shop, ID=stream, CALL_ID=call_id)
    assert "A big one" in "".join(json.loads(line).get("delta", "") for line in said.splitlines())


def test_the_mcp_tool_is_called_as_the_page_says(shop: Server) -> None:
    asked = {"agent": "clerk", "input": "Use library_pid."}
    stream = httpx2.post(f"{shop.url}/v1/streams", json=asked).json()["id"]
    follow = blocks(PAGE, "sh")[2]
    assert until(follow, shop, stream, "tool.started")["tool"] == "library_pid"
    assert until(follow, shop, stream, "response.done")["finish_reason"] == "stop"


async def test_the_program_has_the_same_agent(
    stock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings,), (program,) = blocks(PAGE, "toml"), blocks(PAGE, "python")
    (tmp_path / "penstock.toml").write_text(here(settings, stock))
    monkeypatch.setenv("STOCK_TOKEN", "s3cret")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(here(program, stock), names)
    ASKED.clear()
    async with names["ai"] as ai:
        answer = ai.run("clerk", "Use get_price for an anchor")
        async for event in answer:
            if isinstance(event, ReviewRequested):
                await ai.decide(answer.stream, event.call_id, "approved", event.digest)
        kinds = {type(event) async for event in ai.run("clerk", "Use pid.")}
    [(path, authorization)] = ASKED
    assert path.startswith("/prices/") and authorization == "Bearer s3cret"
    assert ToolDone in kinds and ReviewRequested not in kinds


def test_its_limits_are_settings(tmp_path: Path) -> None:
    limits = PAGE.partition("## Limits")[2]
    named = set(re.findall(r"^\| `(\w+)`", limits, re.MULTILINE))
    assert named and named <= describe().keys()
