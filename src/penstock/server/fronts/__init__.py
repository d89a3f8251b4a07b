"""One module per front; each ends in ``FRONTS = ...``. There is no list to edit."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..endpoint import Front

__all__ = ["fronts"]


def fronts() -> list[Front]:
    """Return every front there is."""
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    return [front for module in modules for front in module.FRONTS]
