"""
JSON Schemas that inputs and answers have to fit.

A schema comes from a caller, so nothing in one may reach beyond it: references
lead into the schema itself or nowhere, and a pattern gives up before it takes
long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
from msgspec import json

from ..errors import Unprocessable
from ..fields import spelled

__all__ = ["Schema", "compiled"]

_PATTERNS: Final = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)


class Schema:
    """A schema, ready to judge values. JSON Schema draft 2020-12, unless it names another."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Raises: ValueError (it is no schema, or refers to what is not in it)."""
        try:
            self._validator = jsonschema_rs.validator_for(schema, offline=True, pattern_options=_PATTERNS)
        except jsonschema_rs.ValidationError as exc:
            at = spelled(tuple(exc.instance_path))
            raise ValueError(f"{at}: {exc.message}" if at else exc.message) from exc

    def fault(self, value: Any) -> tuple[str, str] | None:
        """Return why ``value`` does not fit, as a path into it and a sentence; None if it does."""
        for error in self._validator.iter_errors(value):
            return spelled(tuple(error.instance_path)), error.message
        return None


def compiled(schema: dict[str, Any], field: str) -> Schema:
    """
    Return ``schema``, ready to judge; ``field`` is where the request says it.

    Raises:
        Unprocessable: it is no schema.
    """
    try:
        return _compiled(json.encode(schema))
    except (ValueError, RecursionError) as exc:
        raise Unprocessable(f"{field!r} is not a JSON Schema: {exc}", field=field) from exc


@lru_cache(maxsize=256)
def _compiled(data: bytes) -> Schema:
    return Schema(json.decode(data))
