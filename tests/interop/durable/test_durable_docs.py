"""The page about keeping one's SDK says what is so: its blocks run, behind cuts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx2
import pytest

from interop.durable.sdks import interpreter
from interop.durable.shears import Shears
from interop.opper.stage import Stage
from penstock.client import durable

pytestmark = pytest.mark.cuts

PAGE: Final = (Path(__file__).parents[3] / "docs" / "durable.md").read_text()
BLOCKS: Final = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RELEASES: Final = {
    "from openai": "",
    "from opperai import Opper  # 1.7": "opperai-1.7.2",
    "from opperai import Opper  # 2.1": "opperai-2.1.1",
    "from orq_ai_sdk": "orq-ai-sdk-4.17.13",
}
ADDRESS: Final = "http://127.0.0.1:8017"


def test_every_block_is_looked_at() -> None:
    assert len(BLOCKS) == len(RELEASES) + 1
    assert all(sum(begin in block for block in BLOCKS) == 1 for begin in RELEASES)


@pytest.mark.parametrize("begin", RELEASES)
def test_a_block_prints_the_whole_answer(stage: Stage, begin: str, pieces: list[str], tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if begin in block)
    command = interpreter(RELEASES[begin], tmp_path) if RELEASES[begin] else [sys.executable]
    with Shears(stage.url, [900, 1300]) as shears:
        code = block.replace(ADDRESS, shears.url)
        done = subprocess.run([*command, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == "".join(pieces)
    assert shears.cuts == 2


def test_the_line_about_the_policy_is_one() -> None:
    (block,) = (block for block in BLOCKS if block.startswith("transport ="))
    names = {"durable": durable, "httpx2": httpx2}
    exec(compile(ast.parse(block), "durable.md", "exec"), names)
    assert isinstance(names["transport"], httpx2.BaseTransport)


def test_the_numbers_are_those_of_the_code() -> None:
    policy = durable.Policy()
    assert (policy.repeats, policy.attempts, policy.silence) == (2, 8, 35.0)
    for words in ("it asks twice more", "eight\n  connections in a row", "nothing for 35 seconds"):
        assert words in PAGE
