"""The command line, as a person uses it: real processes, a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli import main
from penstock.config import describe
from serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("cli")) as server:
        yield server


def penstock(*args: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check, input=text)


def stream_of(server: Server, prompt: str) -> str:
    """Ask, and return the name of the stream."""
    import httpx2

    begun = httpx2.post(f"{server.url}/v1/streams", json={"input": prompt}).json()
    return str(begun["id"])


def test_help_is_quick_and_loads_no_server() -> None:
    code = "import sys, penstock.cli as c; c.main(['-h'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    *shown, modules = done.stdout.splitlines()
    assert not {"aiohttp", "starlette", "uvicorn", "httpx2", "sqlite3"} & set(modules.split())
    assert all(
        name in "".join(shown) for name in ("serve", "demo", "ask", "tail", "review", "keys", "config")
    )


def test_ask_prints_the_answer(server: Server) -> None:
    done = penstock("ask", "--url", server.url, "Tell me about rivers in 30 words")
    assert "rivers" in done.stdout
    assert len(done.stdout.split()) >= 25


def test_ask_reads_the_prompt_from_standard_input(server: Server) -> None:
    assert "lakes" in penstock("ask", "--url", server.url, text="Tell me about lakes in 30 words").stdout


def test_ask_with_a_schema_prints_json(server: Server, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}')
    done = penstock("ask", "--url", server.url, "--schema", str(schema), "How many?")
    assert isinstance(json.loads(done.stdout)["n"], int)


def test_ask_of_a_failing_model_fails(server: Server) -> None:
    done = penstock("ask", "--url", server.url, "--model", "demo-fail", "rivers", check=False)
    assert done.returncode == 1
    assert "failed on purpose" in done.stderr


def test_ask_without_a_server_says_so() -> None:
    done = penstock("ask", "--url", "http://127.0.0.1:1", "rivers", check=False)
    assert done.returncode == 1
    assert "penstock serve" in done.stderr


@pytest.mark.parametrize("form", ["--text", "--json", None])
def test_tail_prints_a_stream_to_its_end(server: Server, form: str | None) -> None:
    stream = stream_of(server, "Tell me about rivers in 20 words")
    lines = penstock("tail", "--url", server.url, *([form] if form else []), stream).stdout
    assert "rivers" in lines
    if form == "--json":
        events = [json.loads(line) for line in lines.splitlines()]
        assert events[-1]["type"] == "response.done"
        rest = penstock("tail", "--url", server.url, "--json", "--cursor", events[4]["cursor"], stream).stdout
        assert [json.loads(line) for line in rest.splitlines()] == events[5:]


def test_tail_of_an_unknown_stream_fails(server: Server) -> None:
    done = penstock("tail", "--url", server.url, "st_unknown", check=False)
    assert done.returncode == 1
    assert "there is no stream 'st_unknown'" in done.stderr


def test_tail_outlives_a_killed_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.port = int(server.url.rpartition(":")[2])
        stream = stream_of(server, "Tell me about rivers in 300 words")
        command = [sys.executable, "-m", "penstock", "tail", "--json", "--url", server.url, stream]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None and tail.stderr is not None
            first = [tail.stdout.readline() for _ in range(10)]
            server.kill()
            server.start()
            rest, cuts = tail.stdout.read(), tail.stderr.read()
        whole = penstock("tail", "--url", server.url, "--json", stream).stdout
    assert tail.returncode == 0
    assert "".join(first) + rest == whole
    assert '"type":"response.failed"' in whole
    assert "connection lost" in cuts


def asking(server: Server) -> tuple[subprocess.Popen[str], str]:
    """Ask an agent for what needs approval; return the process, which waits for it, and the stream."""
    command = [sys.executable, "-m", "penstock", "ask", "--url", server.url, "--agent", "demo"]
    asked = subprocess.Popen([*command, "Please send a postcard to Ida"], stderr=subprocess.PIPE, text=True)
    assert asked.stderr is not None
    line = asked.stderr.readline()
    return asked, line.partition("penstock review ")[2].rstrip("]\n")


@pytest.mark.parametrize(("option", "said"), [("--approve", "approved"), ("--reject", "rejected")])
def test_a_call_is_decided_about_in_a_second_terminal(server: Server, option: str, said: str) -> None:
    asked, stream = asking(server)
    undecided = penstock("review", stream, "--url", server.url, check=False)
    assert undecided.returncode != 0 and "say --approve or --reject" in undecided.stderr
    shown = penstock("review", stream, option, "--url", server.url).stdout
    assert "send_postcard" in shown and '"to": "Ida"' in shown and shown.endswith(f"{said}\n")
    _, told = asked.communicate(timeout=60)
    assert f"[{said}]" in told and asked.returncode == 0
    again = penstock("review", stream, option, "--url", server.url, check=False)
    assert again.returncode == 1 and "no call waits for approval there" in again.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    run = CliRunner()
    data = ["--data", str(tmp_path)]
    token = run.invoke(
        main, ["keys", "create", "--name", "mine", "--scope", "run:read", *data]
    ).output.strip()
    key_id = token.split("_")[2]
    listed = run.invoke(main, ["keys", "list", *data]).output
    assert key_id in listed and "run:read" in listed and "mine" in listed
    assert token.rpartition("_")[2] not in listed
    assert run.invoke(main, ["keys", "revoke", key_id, *data]).exit_code == 0
    assert run.invoke(main, ["keys", "list", *data]).output == ""
    assert run.invoke(main, ["keys", "revoke", key_id, *data]).exit_code == 1


def test_config_shows_each_setting_and_whence_it_came(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text('keepalive = 5\n[upstreams.a]\nurl = "http://x/v1"\nheaders = { Cookie = "s3cret" }\n')
    run = CliRunner(env={"PENSTOCK_MAX_RUNS": "7"})
    shown = run.invoke(main, ["config", "--config", str(file), "--port", "1"]).output
    for line in ("port = 1  (flag)", "max_runs = 7  (environment)", f"keepalive = 5.0  ({file})"):
        assert line in shown
    assert 'durability = "process"  (default)' in shown
    assert "s3cret" not in shown
    assert set(re.findall(r"^(\w+) = ", shown, re.MULTILINE)) == set(describe())


def test_an_unknown_setting_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text("keepaliv = 5\n")
    done = CliRunner().invoke(main, ["config", "--config", str(file)])
    assert done.exit_code == 1
    assert "'keepaliv'" in done.output and "'keepalive'" in done.output


def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    began = time.monotonic()
    done = penstock("demo", "--once", "--port", "0", "--data", str(tmp_path))
    assert time.monotonic() - began < 60
    assert "0 lost, 0 repeated" in done.stdout
    assert "the log has all of them" in done.stdout
    assert done.stdout.count("curl ") >= 5


def test_the_demo_fails_when_it_cannot_serve(tmp_path: Path) -> None:
    (tmp_path / "penstock.db").write_bytes(b"not a database, and long enough to be looked at" * 100)
    done = penstock("demo", "--once", "--port", "0", "--data", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "the server did not start" in done.stderr
