"""The page about the client: its blocks run, as they are printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock import errors
from serving import Server

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def command(block: str, server: Server, *args: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", block.replace("http://127.0.0.1:8017", server.url), *args]


def printed(block: str, server: Server, *args: str) -> str:
    done = subprocess.run(
        command(block, server, *args), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def the(word: str) -> str:
    """Return the one block in which there is this word."""
    (block,) = (str(block) for block in BLOCKS if word in block)
    return block


def test_a_stream_is_followed(server: Server) -> None:
    said = printed(the("client.follow"), server)
    assert "rivers" in said.partition("\n")[0] and "ResponseDone(finish_reason='stop'" in said


def test_a_stream_is_followed_with_asyncio(server: Server) -> None:
    first, second, *_ = printed(the("asyncio.run"), server).splitlines()
    assert "rivers" in first and second.strip() == first


def test_a_form_is_filled(server: Server) -> None:
    *drafts, whole = printed(the("answer.into"), server).splitlines()
    assert len(drafts) > 3
    assert whole.startswith("whole and valid: Recipe(title='") and "steps=[" in whole


def test_a_call_is_approved_from_another_process(server: Server) -> None:
    with subprocess.Popen(command(the("agent="), server), stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        stream = asking.stdout.readline().partition("waiting: ")[2].strip()
        assert printed(the("client.decide"), server, stream).startswith("send_postcard {")
        assert asking.stdout.read().strip()
    assert asking.returncode == 0


@pytest.mark.parametrize("word", ["connect(", "read("])
def test_other_services_are_read(server: Server, word: str) -> None:
    assert "rivers" in printed(the(word), server)


def test_the_errors_that_are_named_exist() -> None:
    named = re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)
    assert len(named) == 5 and set(named) <= set(errors.__all__)
