"""The pages about orq.ai's and Mix's SDKs say what is so: their blocks run, with the SDKs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from docs.pages import blocks, page, run
from serving import Server

ORQ = page("docs/orq.md")
MIX = page("docs/mix.md")


def interpreter() -> str:
    """Return the Python that has the newest of orq.ai's SDKs, which cannot share our environment."""
    folder = Path(sys.prefix) / "orq-ai-sdk-4.17.13"
    assert (folder / ".installed").exists(), f"it is not installed: `make orq-sdks VENV={sys.prefix}`"
    return str(folder / "bin" / "python")


def program(text: str, server: Server) -> str:
    """Return a page's blocks as one program."""
    return "\n".join(blocks(text, "python")).replace("http://127.0.0.1:8017", server.url)


def test_orqs_blocks_run(server: Server) -> None:
    *kinds, again, status = run(interpreter(), "-c", program(ORQ, server)).splitlines()
    assert {"response.started", "tool.started", "tool.done", "part.delta"} < set(kinds)
    assert kinds[-1] == "response.done"
    assert again == f"{len(kinds)} events again", "a turn that is watched again is the same"
    assert status == "completed"


def test_orqs_review_is_decided_about(server: Server) -> None:
    begin, *_ = blocks(ORQ, "python")
    wait = """
        if event.data.type == "tool.review.requested":
            print("CALL", task, event.data.data.tool_call_id)
            break
"""
    code = begin.replace("roll the dice", "send a postcard to Ida").rstrip("\n") + wait
    asked = run(interpreter(), "-c", code.replace("http://127.0.0.1:8017", server.url))
    _, task, call = asked.splitlines()[-1].split()
    (decide,) = blocks(ORQ, "sh")
    command = decide.replace("http://127.0.0.1:8017", server.url)
    said = run("bash", "-c", command.replace("TASK", task).replace("CALL_ID", call))
    assert '"success":true' in re.sub(r"\s", "", said)


def test_mixs_blocks_run(server: Server) -> None:
    said = run(sys.executable, "-c", program(MIX, server) + "\nprint(rest.response.status_code)\n")
    *lines, status = said.splitlines()
    names = [line.split()[1] for line in lines]
    assert (names[0], names[-1], status) == ("connected", "complete", "200")
    assert names.index("permission") < names.index("tool_execution_complete")


@pytest.mark.parametrize("text", [ORQ, MIX])
def test_paths_of_the_pages_are_served(text: str, server: Server) -> None:
    import httpx2

    served = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
    patterns = [re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))) for path in served]
    for path in re.findall(r"(?:(?<=8017)|(?<=`GET ))/[\w/]+", text):
        assert any(pattern.fullmatch(path) for pattern in patterns), path
