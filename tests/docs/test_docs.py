"""What the documents say is true: their blocks run, their tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import get_args

import pytest

from docs.pages import ROOT, blocks, page, run
from penstock.cli import main
from penstock.config import load
from penstock.dialects.native import DIALECT, cursor_of, read_request
from penstock.events import Event, Part
from penstock.server.fronts import fronts
from penstock.wire import ndjson, sse
from serving import Server

README = page("README.md")
PROTOCOL = page("PROTOCOL.md")


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_two_commands_are_in_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"^    make ([a-z-]+)$", README, re.MULTILINE)
    assert commands == ["demo", "test"]
    assert set(commands) <= set(targets)


def test_the_settings_file_loads() -> None:
    (block,) = blocks(README, "toml")
    settings = load({}, {}, block).settings
    assert settings.default_model == "fast"
    assert settings.upstreams["local"].models == {"fast": "qwen3:8b", "*": "*"}
    assert settings.upstreams["tape"].pace == 50


def test_the_client_prints_an_answer(server: Server) -> None:
    client, _ = blocks(README, "python")
    code = client.replace("http://127.0.0.1:8017", server.url)
    assert "rivers" in run(sys.executable, "-c", code)


USE = """
import asyncio, httpx2

async def main():
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport) as http:
        asked = await http.get("http://localhost/ask", params={"text": "Use in_stock for an anchor"})
        assert any("ToolDone" in event for event in asked.json()), asked.text
        begun = await http.post("http://localhost/ai/v1/streams", json={"agent": "clerk", "input": "hello"})
        assert begun.status_code == 201, begun.text

asyncio.run(main())
"""


def test_the_service_with_penstock_in_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, service = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    run(sys.executable, "-W", "error", "-c", service + USE)


def test_the_curl_lines_answer(server: Server) -> None:
    begun = run("curl", "-sS", f"{server.url}/v1/streams", "-d", '{"input": "hi in 5 words"}')
    stream = json.loads(begun)["id"]
    lines = [line for block in blocks(README, "sh") for line in block.splitlines() if line.startswith("curl")]
    assert len(lines) == 4
    for line in lines:
        command = line.replace("http://127.0.0.1:8017", server.url).replace("/ID/", f"/{stream}/")
        command = command.replace(" -H 'Last-Event-ID: CURSOR'", "")
        assert run(*shlex.split(command, comments=True), "-sS", "--fail")


def test_the_page_about_modelrelay_says_what_is_so(server: Server) -> None:
    text = page("docs/modelrelay.md")
    (block,) = blocks(text, "sh")
    command = block.replace("http://127.0.0.1:8017", server.url).replace("\\\n", " ")
    said = [json.loads(line)["type"] for line in run(*shlex.split(command), "-sS", "--fail").splitlines()]
    assert (said[0], said[-1]) == ("start", "completion")
    (settings,) = blocks(text, "toml")
    assert load({}, {}, settings).settings.upstreams["relay"].dialect == "modelrelay"


def test_every_page_is_linked_from_the_readme() -> None:
    for path in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{path.name})" in README


@pytest.mark.parametrize("command", re.findall(r"(?:`|^)penstock ([a-z]+)", README, re.MULTILINE))
def test_every_command_exists(command: str) -> None:
    assert command in main.list_commands(None)  # type: ignore[arg-type]


def tags(kinds: tuple[type, ...]) -> set[str]:
    return {str(kind.__struct_config__.tag) for kind in kinds}  # type: ignore[attr-defined]


def test_the_protocol_names_every_event() -> None:
    chapter = PROTOCOL.partition("## 4. Events")[2].partition("## 5.")[0]
    named = set(re.findall(r"`((?:message|response|part|tool)\.[a-z.]+|custom)`", chapter))
    assert named == tags(get_args(Event))


def test_the_protocol_names_every_kind_of_part() -> None:
    paragraph = PROTOCOL.partition("A `part` has a `kind`:")[2].partition("4.3")[0]
    assert tags(get_args(Part)) <= set(re.findall(r"`([a-z_]+)`", paragraph))


def test_the_protocol_names_every_member_of_an_event() -> None:
    for kind in get_args(Event):
        row = next(
            (line for line in PROTOCOL.splitlines() if line.startswith(f"| `{kind.__struct_config__.tag}`")),
            "",
        )
        for name in kind.__struct_fields__ if row else ():
            private = name == "request"
            assert (f"`{name}`" in row) != private, (kind.__name__, name)


def test_the_examples_are_frames() -> None:
    as_sse, as_line = blocks(PROTOCOL, "")
    (from_sse,) = sse.SSEReader().feed(as_sse.encode() + b"\n")
    (from_line,) = ndjson.NDJSONReader().feed(as_line.encode())
    assert DIALECT.decoder is not None
    (one,), (other,) = DIALECT.decoder().decode(from_sse), DIALECT.decoder().decode(from_line)
    assert one == other
    assert cursor_of(from_sse) == cursor_of(from_line) == "7f1a312e.5"


def test_the_protocol_names_every_member_of_a_request() -> None:
    table = PROTOCOL.partition("6.1")[2].partition("6.2")[0]
    named = set(re.findall(r"`([a-z_]+)`", table)) - {"modl"}
    for name in ("input", "model", "instructions", "tools", "tool_choice", "output_schema", "output_name",
                 "choices", "max_output_tokens", "temperature", "top_p", "stop", "keep_open", "max_time",
                 "metadata", "extra", "fallbacks", "attempts"):  # fmt: skip
        assert name in named
    assert read_request(
        {"input": "hi", "tools": [{"name": "x"}], "tool_choice": {"mode": "tool", "tool": "x"}}
    )


def test_every_path_of_ours_is_in_the_protocol() -> None:
    (native,) = (front for front in fronts() if front.dialect is DIALECT)
    for endpoint in native.endpoints:
        if "reviews" not in endpoint.path:
            assert f"`{endpoint.method} {endpoint.path}`" in PROTOCOL
