"""The page about Opper says what is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from interop.opper.sdks import interpreter
from penstock.config import load
from serving import Server

PAGE = (Path(__file__).parents[3] / "docs" / "opper.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_blocks_run(demo: Server) -> None:
    first, again = (block.replace("http://127.0.0.1:8017", demo.url) for block in blocks("python"))
    begun = """
    begun = opper.stream(name="greet", input="Ida", http_headers={"Idempotency-Key": "visit-1"})
    with begun.result as events:
        cursor, *rest = [event.id for event in events]
    """
    check = "with again.result as events:\n    assert [event.id for event in events] == rest"
    code = "\n".join((first, re.sub("^    ", "", begun, flags=re.MULTILINE), again, check))
    said = subprocess.run(
        [interpreter("1.7.2"), "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert {line.split()[0] for line in said.splitlines()} == {"host", "tables"}


def test_the_settings_load() -> None:
    (block,) = blocks("toml")
    assert load({}, {}, block).settings.upstreams["opper"].dialect == "opper"


def test_the_table_names_the_releases_that_are_tested() -> None:
    assert len(re.findall(r"^\| (?:PyPI|npm) `opperai` \d\.x", PAGE, re.MULTILINE)) == 4
