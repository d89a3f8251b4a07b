"""The page about Penstock in one's own service says what is so: its blocks are one program."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

import penstock
from docs.pages import blocks, page
from penstock.events import ResponseDone, ToolDone


async def told(code: str, names: dict[str, Any]) -> None:
    """Run a block as a program that may wait."""
    compiled = compile(code, "docs/embedding.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if inspect.isawaitable(begun := eval(compiled, names)):
        await begun


async def test_the_blocks_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "service"}
    definition, asking, following, continuing, reviewing, mounting, testing = blocks(
        page("docs/embedding.md"), "python"
    )
    await told(definition, names)
    names["ai"] = penstock.Penstock([names["clerk"]], data=tmp_path, default_model="demo-fast")
    await told(asking, names)
    said = capsys.readouterr().out
    assert "in stock: " in said and "the clerk says: " in said and "failed" not in said
    await told(following, names)
    assert capsys.readouterr().out.startswith("st_") and names["stopped"] is False
    assert isinstance(names["event"], ResponseDone) and names["last"]
    await told(continuing, names)
    assert sum(isinstance(event, ResponseDone) for event in names["events"]) == 2
    await told(reviewing, names)
    assert "may it? refund {'order': " in capsys.readouterr().out
    async with names["ai"] as ai:
        told_of = [event async for _, event in ai.follow(names["answer"].stream)]
    (result,) = [event.result for event in told_of if isinstance(event, ToolDone)]
    assert "was refunded" in result
    await told(mounting, names)
    assert isinstance(names["app"], FastAPI)
    await told(testing, names)
    await names["test_the_clerk_looks"]()
