"""
Durable, resumable streams for AI answers.

The names that a program needs are here; each is looked for when it is first used,
so that to import the package costs next to nothing. Events are in ``penstock.events``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

__all__ = ["__version__"]

__version__: Final = "0.1.0.dev0"

_PLACES: Final = {
    "Agent": "server.embed",
    "Answer": "server.embed",
    "Asking": "engine.tools",
    "Candidate": "requests",
    "Client": "client.client",
    "Penstock": "server.embed",
    "PenstockError": "errors",
    "Policy": "reconnect",
    "SyncClient": "client.sync",
    "Told": "server.embed",
    "Tool": "requests",
    "ToolFault": "engine.tools",
    "connect": "client.connecting",
    "read": "client.reading",
    "tool": "engine.tools.functions",
}
"""Where the public names are at home; ``__init__.pyi`` says the same to type checkers."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    except ModuleNotFoundError as exc:
        raise ImportError(f"{__name__}.{name} needs the extra `penstock[server]`: {exc}") from exc


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
