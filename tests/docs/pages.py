"""The documents, and how their blocks are run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

__all__ = ["ROOT", "blocks", "page", "run"]

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    """Return the text of a document, by its path."""
    return (ROOT / name).read_text()


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(*command: str) -> str:
    """Return what a command prints; it must succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout
