"""The durable fetch by itself: its own tests, its types, and what its page says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from docs.pages import ROOT, blocks, page, run
from serving import Server

pytestmark = pytest.mark.node

JS: Final = ROOT / "js"
NODE: Final = ROOT / "tests" / "interop" / "node"
TSC: Final = NODE / "node_modules" / ".bin" / "tsc"


def test_its_own_tests() -> None:
    """The splice at every byte of recorded bodies; requests, ends, pauses."""
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", str(JS / "durable-fetch.test.js")],
        stdout=subprocess.PIPE, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert int(passed) > 30


def test_its_types_are_those_that_are_published(tmp_path: Path) -> None:
    """``make`` is not needed to publish it: what tsc finds in the comments stands beside the module."""
    assert TSC.exists(), "typescript is not installed: `make test-node`"
    done = subprocess.run(
        [TSC, "-p", str(JS), "--outDir", str(tmp_path)], stdout=subprocess.PIPE, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "durable-fetch.d.ts").read_text() == (JS / "durable-fetch.d.ts").read_text()


def test_what_is_published() -> None:
    packed = run("npm", "pack", "--dry-run", "--json", "--loglevel=silent", str(JS))
    files = {file["path"] for file in json.loads(packed)[0]["files"]}
    assert files == {"README.md", "durable-fetch.d.ts", "durable-fetch.js", "package.json"}


@pytest.mark.parametrize("name", ["docs/durable-js.md", "js/README.md"])
def test_the_blocks_run(tmp_path: Path, name: str) -> None:
    """Each is a program, as it stands; only the names of modules and of the server are others."""
    with Server(tmp_path) as server:
        for block in blocks(page(name), "js"):
            program = block.replace('"penstock-durable-fetch"', f'"{JS / "durable-fetch.js"}"')
            program = program.replace("@orq-ai/node", "orq-4.15").replace("http://127.0.0.1:8080", server.url)
            done = subprocess.run(
                ["node", "--input-type=module"],
                cwd=NODE, input=program, stdout=subprocess.PIPE, text=True, timeout=60, check=True,
            )  # fmt: skip
            assert len(done.stdout) > 40
