"""
Stored functions: the bodies that make and change one, and an agent's revision as Opper writes it.

Section 3 of the contract says which members may be null (the JavaScript SDK
refuses a ``model`` or an ``observer_enabled`` that is) and how times are
written; section 5 has the functions of v3.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from ...agents import Agent, Revision
from ...bodies import needed, wrong
from ...requests import Candidate
from ...wire import jsontext
from ...wire.times import timestamp
from .call import NEW, defined
from .shape import unprocessable

__all__ = [
    "patched",
    "read_function",
    "write_details_v3",
    "write_function",
    "write_listed",
    "write_listed_v3",
    "write_revision",
]

_NAME: Final = re.compile("[A-Za-z0-9_-]+")
_NEVER_NULL: Final = ("name", "instructions", "observer_enabled")


@unprocessable()
def read_function(body: Mapping[str, Any]) -> Agent:
    """Read the body of ``POST /v2/functions``. Raises: RequestError (422)."""
    needed(body, "instructions", str)
    return _named_well(defined(NEW, {"name": None, **body}))


@unprocessable()
def patched(agent: Agent, body: Mapping[str, Any]) -> Agent:
    """
    Return ``agent`` as the body of ``PATCH /v2/functions/{id}`` changes it.

    What the body does not name stays. Null takes away what may be missing, and
    leaves alone what may not. Raises: RequestError (422).
    """
    given = {key: value for key, value in body.items() if value is not None or key not in _NEVER_NULL}
    changed = defined(agent, given)
    return changed if changed.name == agent.name else _named_well(changed)


def _named_well(agent: Agent) -> Agent:
    if _NAME.fullmatch(agent.name) is None:
        raise wrong("name", "letters, digits, '_' and '-'")
    return agent


# -- writing


def write_function(revision: Revision) -> dict[str, Any]:
    """Return the Function that ``revision`` is."""
    agent = revision.agent
    kept = _kept(agent)
    return {
        **write_listed(revision),
        **_schemas(agent),
        "configuration": kept.get("configuration"),
        "dataset_id": None,
        "observer_enabled": kept.get("observer_enabled", False),
        "created_at": timestamp(revision.created_at),
        "updated_at": timestamp(revision.updated_at),
    }


def write_listed(revision: Revision) -> dict[str, Any]:
    """Return ``revision`` as an item of ``GET /v2/functions``."""
    agent = revision.agent
    model = _kept(agent).get("model") or _model(agent.models)
    return {
        "id": revision.id,
        "name": agent.name,
        "revision_id": revision.revision_id,
        "description": agent.description or None,
        "instructions": agent.instructions,
        **({"model": model} if model else {}),
    }


def write_revision(revision: Revision) -> dict[str, Any]:
    """Return ``revision`` as an item of ``GET /v2/functions/{id}/revisions``."""
    return {
        "id": revision.revision_id,
        "configuration": _kept(revision.agent).get("configuration") or {},
        "created_at": timestamp(revision.updated_at),
        "updated_at": timestamp(revision.updated_at),
    }


def write_listed_v3(revision: Revision, hits: int = 0) -> dict[str, Any]:
    """Return ``revision``, called ``hits`` times, as an item of ``GET /v3/functions``."""
    schemas = jsontext.encode(list(_schemas(revision.agent).values()))
    return {
        "name": revision.agent.name,
        "schema_hash": hashlib.sha256(schemas).hexdigest()[:16],
        "generated_at": timestamp(revision.updated_at),
        "hit_count": hits,
        "has_script": False,
    }


def write_details_v3(revision: Revision, hits: int = 0) -> dict[str, Any]:
    """Return ``revision`` as ``GET /v3/functions/{name}`` has it."""
    return {**write_listed_v3(revision, hits), "source": "", **_schemas(revision.agent)}


def _schemas(agent: Agent) -> dict[str, Any]:
    given = {"input_schema": agent.input_schema, "output_schema": agent.output_schema}
    return {key: None if schema is UNSET else schema for key, schema in given.items()}


def _kept(agent: Agent) -> dict[str, Any]:
    return {} if agent.extra is UNSET else agent.extra


def _model(models: tuple[Candidate, ...]) -> Any:
    """Return ``models`` in the shortest of the forms that a body may have."""
    written = [
        {"name": each.model, "options": each.options} if each.options else each.model for each in models
    ]
    return written[0] if len(written) == 1 else written
