"""
Stored agents: the bodies that make and change one, and an agent's revision as this wire writes it.

Section 8 of the contract says which members all SDKs accept, and where null is
one of them. What the definition has no name for is kept as it came, in
``Agent.extra["orq"]``, and given back so: ``system_prompt`` and ``role`` are not
part of the prompt here, ``instructions`` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final, get_args

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ...agents import Agent, Revision
from ...bodies import at, items, member, needed, number, present, strings, wrong
from ...errors import RequestError
from ...requests import Candidate, ReviewPolicy, Tool
from .request import ENGINES
from .tool import named_well, read_entries, write_entries
from .words import WORKSPACE, moment

__all__ = ["kept", "patched", "read_agent", "write_agent"]

_NAMED: Final = ("key", "description", "instructions")
"""Members that the definition has names for."""
_MODELS: Final = {"model", "fallback_models"}
_PASSING: Final = ("version_increment", "version_description")
"""Members that are about a change, not about the agent."""


def read_agent(body: Mapping[str, Any], known: Mapping[str, Tool]) -> Agent:
    """
    Read the body of ``POST /v2/agents``.

    Args:
        known: the stored tools, by key and by id.

    Raises:
        RequestError: a member is missing or wrong; the error names it.
    """
    needed(body, "key", str)
    for key in ("role", "description", "instructions", "path"):
        present(body, key, str)
    if not body.get("model"):
        raise RequestError("'model' is missing", field="model")
    present(body, "settings", dict)
    return _defined(Agent(""), body, known)


def patched(agent: Agent, body: Mapping[str, Any], known: Mapping[str, Tool]) -> Agent:
    """
    Return ``agent`` as the body of ``PATCH /v2/agents/{key}`` changes it.

    What the body does not name, or names with null, stays; so do settings, each by itself.
    Raises: RequestError.
    """
    return _defined(agent, body, known)


def kept(agent: Agent) -> dict[str, Any]:
    """Return what came with the definition and has no name in it."""
    found: dict[str, Any] = {} if agent.extra is UNSET else agent.extra.get("orq", {})
    return found


def _defined(agent: Agent, body: Mapping[str, Any], known: Mapping[str, Tool]) -> Agent:
    """Return ``agent`` with what ``body`` says about it."""
    given = {key: value for key, value in body.items() if value is not None and key not in _PASSING}
    _check(given)
    settings = {key: value for key, value in given.pop("settings", {}).items() if value is not None}
    unnamed = {**kept(agent), **{key: value for key, value in given.items() if key not in _NAMED}}
    rest = {key: value for key, value in settings.items() if key not in _SETTINGS}
    unnamed["settings"] = {**unnamed.get("settings", {}), **rest}
    return replace(
        agent,
        name=given.get("key", agent.name),
        description=given.get("description", agent.description),
        instructions=given.get("instructions", agent.instructions),
        **(_asked(agent, unnamed) if given.keys() & _MODELS else {}),
        **_set(settings, known),
        extra={**({} if agent.extra is UNSET else agent.extra), "orq": unnamed},
    )


_SOURCES: Final = ("internal", "external", "experiment")


def _check(given: Mapping[str, Any]) -> None:
    """Check the types of what is kept: an SDK that cannot read it back loses the whole agent."""
    for key in ("description", "instructions", "role", "path", "display_name", "system_prompt"):
        member(given, key, str)
    if "key" in given:
        named_well(needed(given, "key", str))
    for key, words in {"engine": ENGINES, "source": _SOURCES}.items():
        if given.get(key, words[0]) not in words:
            raise wrong(key, f"one of {', '.join(words)}")
    for key in ("memory_stores", "skills"):
        strings(given, key)
    for key, name in {"team_of_agents": "key", "knowledge_bases": "knowledge_id"}.items():
        for each, where in items(given, key):
            needed(each, name, str, where)
    for key in ("variables", "settings"):
        member(given, key, dict)


# -- settings

_SETTINGS: Final = ("max_iterations", "max_execution_time", "tool_approval_required", "tools")
"""Those that the definition has names for."""


def _set(settings: Mapping[str, Any], known: Mapping[str, Tool]) -> dict[str, Any]:
    """Return what ``settings`` say about an agent."""
    said: dict[str, Any] = {}
    if "tools" in settings:
        said["tools"] = read_entries(settings, known, "settings")
    if "tool_approval_required" in settings:
        said["review"] = _policy(settings["tool_approval_required"])
    if "max_iterations" in settings:
        said["max_iterations"] = _limit(settings, "max_iterations", whole=True)
    if "max_execution_time" in settings:
        said["max_time"] = _limit(settings, "max_execution_time")
    for key in ("evaluators", "guardrails"):
        for each, where in items(settings, key, "settings"):
            needed(each, "id", str, where)
            if needed(each, "execute_on", str, where) not in ("input", "output"):
                raise wrong(at(where, "execute_on"), "'input' or 'output'")
    return said


def _policy(value: Any) -> ReviewPolicy:
    if value not in get_args(ReviewPolicy):
        raise wrong("settings.tool_approval_required", f"one of {', '.join(get_args(ReviewPolicy))}")
    policy: ReviewPolicy = value
    return policy


def _limit(settings: Mapping[str, Any], key: str, *, whole: bool = False) -> Any:
    field = at("settings", key)
    value = number({field: settings[key]}, field, whole=whole)
    if value is not UNSET and value <= 0:
        raise wrong(field, "more than 0")
    return value


# -- models

_ROUTING: Final = (
    "cache", "cache_control", "fallbacks", "guardrails", "load_balancer", "name", "plugins", "timeout",
)  # fmt: skip
"""Parameters that are for a router of models, not for a model."""
_NOT_OPTIONS: Final = ("input", "messages", "model", "stream")
"""What parameters cannot say: they would be another request."""


def _asked(agent: Agent, unnamed: Mapping[str, Any]) -> dict[str, Any]:
    """Return which models an agent asks, and whether for data."""
    model, first = unnamed.get("model"), agent.models[:1]
    schema = agent.output_schema
    if model is not None:
        first = (_candidate(model, "model"),)
        schema = _schema(model) if isinstance(model, dict) else UNSET
    holder, where = unnamed, ""
    if "fallback_models" not in unnamed and isinstance(model, dict):
        holder, where = model, "model"
    place = at(where, "fallback_models")
    others = member(holder, "fallback_models", list, where) or []
    fallbacks = [_candidate(each, f"{place}[{n}]") for n, each in enumerate(others)]
    return {"models": (*first, *fallbacks), "output_schema": schema}


def _candidate(raw: Any, where: str) -> Candidate:
    match raw:
        case str() if raw:
            return Candidate(raw)
        case dict():
            parameters = member(raw, "parameters", dict, where) or {}
            for taken in _NOT_OPTIONS:
                if taken in parameters:
                    raise wrong(f"{where}.parameters", f"without {taken!r}")
            left_out = (*_ROUTING, "response_format")
            options = {
                key: value for key, value in parameters.items() if value is not None and key not in left_out
            }
            return Candidate(needed(raw, "id", str, where), options)
        case _:
            raise wrong(where, "the id of a model, or an object with an 'id'")


def _schema(model: Mapping[str, Any]) -> dict[str, Any] | UnsetType:
    """Return the schema of the data that a model is asked for; UNSET if it is asked for text."""
    where = "model.parameters.response_format"
    form = member(model.get("parameters") or {}, "response_format", dict, "model.parameters") or {}
    match form.get("type", "text"):
        case "text":
            return UNSET
        case "json_object":
            return {}
        case "json_schema":
            described = present(form, "json_schema", dict, where)
            return member(described, "schema", dict, f"{where}.json_schema") or {}
        case _:
            raise wrong(f"{where}.type", "'text', 'json_object' or 'json_schema'")


# -- writing

_DEFAULTS: Final[dict[str, Any]] = {
    "role": "",
    "path": "Default",
    "system_prompt": "",
    "memory_stores": [],
    "team_of_agents": [],
    "skills": [],
    "knowledge_bases": [],
    "variables": {},
    "source": "internal",
    "engine": "text",
}


def write_agent(revision: Revision) -> dict[str, Any]:
    """Return the agent that ``revision`` is: all that any SDK asks for, null only where each accepts it."""
    agent = revision.agent
    unnamed = {key: value for key, value in kept(agent).items() if key not in _MODELS}
    return {
        "_id": revision.id,
        "key": agent.name,
        "display_name": agent.name,
        **_DEFAULTS,
        **unnamed,
        "workspace_id": WORKSPACE,
        "project_id": WORKSPACE,
        "created": moment(revision.created_at),
        "updated": moment(revision.updated_at),
        "created_by_id": None,
        "updated_by_id": None,
        "status": "live",
        "version": str(revision.number),
        "type": "internal",
        "description": agent.description,
        "instructions": agent.instructions,
        "metrics": {"total_cost": 0},
        "model": _write_model(agent, kept(agent)),
        "settings": _write_settings(agent, unnamed.get("settings", {})),
    }


def _write_settings(agent: Agent, unnamed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "evaluators": [],
        "guardrails": [],
        **unnamed,
        "max_iterations": 100 if agent.max_iterations is UNSET else agent.max_iterations,
        "max_execution_time": 600 if agent.max_time is UNSET else ceil(agent.max_time),
        "tool_approval_required": agent.review,
        "tools": write_entries(agent.tools),
    }


def _write_model(agent: Agent, unnamed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models as they came; of an agent that was made elsewhere, as the definition has them."""
    first, *others = agent.models or (Candidate(""),)
    model = unnamed.get("model", {"id": first.model, "parameters": first.options})
    given = model if isinstance(model, dict) else {"id": model}
    own = [{"id": each.model, "parameters": each.options} for each in others]
    fallbacks = unnamed.get("fallback_models") or given.get("fallback_models")
    return {
        "integration_id": None,
        **given,
        "parameters": given.get("parameters") or {},
        "fallback_models": fallbacks or own or None,
    }
