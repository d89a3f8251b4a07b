"""One module per front; each ends in ``FRONT = ...``. There is no list to edit."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..endpoint import Front

__all__ = ["fronts"]


def fronts() -> list[Front]:
    """Return every front there is."""
    return [import_module(f"{__name__}.{module.name}").FRONT for module in iter_modules(__path__)]
