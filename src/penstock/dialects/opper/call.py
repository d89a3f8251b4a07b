"""
Bodies that call a function, read: sections 2.1, 2.4, 4 and 5 of the contract.

A call names a function and defines it in the same breath, so it is read into an
:class:`Agent` and what the agent is called with. What a body says beyond that is
ignored; what is of the wrong type is an error, 422 in v1 and v2, 400 in v3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct
from msgspec.structs import replace

from ...agents import Agent, Example, ask
from ...bodies import member, needed, strings, wrong
from ...errors import RequestError
from ...requests import MAX_ATTEMPTS, Candidate, Start, Tool
from .shape import unprocessable

__all__ = [
    "NEW",
    "Call",
    "begin",
    "defined",
    "read_call",
    "read_call_v1",
    "read_call_v3",
    "read_input",
    "read_request",
    "read_request_v1",
    "read_request_v3",
]

NEW: Final = Agent("", attempts=5, examples=3)
"""A function about which nothing was said: the defaults of ``configuration`` (section 2.1)."""

_NOT_OPTIONS: Final = frozenset(("model", "messages", "input", "stream"))
"""What the options of a model cannot say: they would be another request."""


class Call(Struct, frozen=True):
    """A function, and what it is called with."""

    agent: Agent
    input: Any = None
    examples: tuple[Example, ...] = ()
    tags: dict[str, str] = {}
    parent_span_id: str = ""
    options: dict[str, Any] = {}
    """For the upstream, whichever model answers; a model's own come first."""
    stream: bool = False
    """Whether the body asks for a stream; only v1 does it there."""


def begin(call: Call) -> Start:
    """Return the request that ``call`` is; its tags and parent span are kept with the stream."""
    start = ask(call.agent, call.input, call.examples)
    own = {} if start.extra is UNSET else start.extra
    parent = {"parent_span_id": call.parent_span_id} if call.parent_span_id else {}
    return replace(
        start,
        extra={**call.options, **own} or UNSET,
        fallbacks=tuple(replace(each, options={**call.options, **each.options}) for each in start.fallbacks),
        metadata={**call.tags, **parent} or UNSET,
    )


# -- whole bodies


@unprocessable()
def read_call(body: Mapping[str, Any]) -> Call:
    """Read the body of ``POST /v2/call`` and ``/v2/call/stream``. Raises: RequestError (422)."""
    return _call(body, defined(NEW, {"name": None, **body}))


@unprocessable()
def read_call_v1(body: Mapping[str, Any]) -> Call:
    """Read the body of ``POST /v1/call``. Raises: RequestError (422)."""
    models = [member(body, "model", str), *strings(body, "fallback_models")]
    model = models[0] if len(models) == 1 else [each for each in models if each]
    agent = defined(NEW, {"name": None, **body, "model": model})
    configuration = member(body, "configuration", dict) or {}
    return replace(
        _call(body, agent, "parent_span_uuid"),
        options=_options(configuration, "model_parameters", "configuration"),
        stream=bool(member(body, "stream", bool)),
    )


def read_call_v3(body: Mapping[str, Any], name: str = "") -> Call:
    """
    Read the body of ``POST /v3/functions/{name}/stream`` and ``/call``, or of ``/v3/call`` with a name in it.

    Raises:
        RequestError
    """
    if "input" not in body:
        raise RequestError("'input' is missing", field="input")
    agent = defined(NEW, {**body, "name": name or body.get("name"), "configuration": None})
    effort = member(body, "reasoning_effort", str)
    return replace(
        _call(body, replace(agent, tools=_tools(body))),
        options={"reasoning_effort": effort} if effort else {},
    )


@unprocessable()
def read_input(agent: Agent, body: Mapping[str, Any]) -> Call:
    """Read the body of a call by id or revision: all but ``agent`` itself. Raises: RequestError (422)."""
    return _call(body, agent)


def read_request(body: Mapping[str, Any]) -> Start:
    """Read a v2 body as a request. Raises: RequestError (422)."""
    return begin(read_call(body))


def read_request_v1(body: Mapping[str, Any]) -> Start:
    """Read a v1 body as a request. Raises: RequestError (422)."""
    return begin(read_call_v1(body))


def read_request_v3(body: Mapping[str, Any]) -> Start:
    """Read a v3 body that names its function as a request. Raises: RequestError."""
    return begin(read_call_v3(body))


def _call(body: Mapping[str, Any], agent: Agent, parent: str = "parent_span_id") -> Call:
    return Call(
        agent,
        body.get("input"),
        tuple(
            _example(example, f"examples[{n}]")
            for n, example in enumerate(member(body, "examples", list) or ())
        ),
        _tags(body),
        member(body, parent, str) or "",
    )


def _example(raw: Any, where: str) -> Example:
    if not isinstance(raw, dict):
        raise wrong(where, "an object")
    for key in ("input", "output"):
        if key not in raw:
            raise RequestError(f"'{where}.{key}' is missing", field=f"{where}.{key}")
    return Example(raw["input"], raw["output"], member(raw, "comment", str, where) or "")


def _tags(body: Mapping[str, Any]) -> dict[str, str]:
    tags = member(body, "tags", dict) or {}
    for key in tags:
        member(tags, key, str, "tags")
    return {key: value for key, value in tags.items() if value is not None}


# -- the definition in them


def defined(agent: Agent, body: Mapping[str, Any]) -> Agent:
    """
    Return ``agent`` with what ``body`` says about it; a member that is null has its default again.

    Raises: RequestError.
    """
    said = {name: value for key, read in _READ.items() if key in body for name, value in read(body).items()}
    old = {} if agent.extra is UNSET else agent.extra
    kept = {**old, **{key: body[key] for key in _KEPT if key in body}}
    extra = {key: value for key, value in kept.items() if value is not None}
    return replace(agent, **said, extra=extra or UNSET)


_KEPT: Final = ("model", "configuration", "observer_enabled")
"""Members that are given back as they came."""


def _text(key: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda body: {key: member(body, key, str) or ""}


def _schema(key: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def read(body: Mapping[str, Any]) -> dict[str, Any]:
        schema = member(body, key, dict)
        return {key: UNSET if schema is None else schema}

    return read


def _observed(body: Mapping[str, Any]) -> dict[str, Any]:
    member(body, "observer_enabled", bool)  # we observe nothing; it only has to come back
    return {}


def _configured(body: Mapping[str, Any]) -> dict[str, Any]:
    configuration = member(body, "configuration", dict) or {}
    return {
        "examples": _setting(configuration, "invocation.few_shot.count", 0, NEW.examples),
        "attempts": _setting(configuration, "invocation.structured_generation.max_attempts", 1, NEW.attempts),
    }


def _setting(configuration: Mapping[str, Any], key: str, least: int, default: int) -> int:
    """Return a whole number, spelled with dots (v2) or as objects in each other (v1)."""
    value: Any = configuration.get(key)
    if value is None:
        value = configuration
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_ATTEMPTS:
        raise wrong(f"configuration.{key}", f"an integer from {least} to {MAX_ATTEMPTS}")
    return value


def _models(body: Mapping[str, Any]) -> dict[str, Any]:
    match body["model"]:
        case None | "":
            return {"models": ()}
        case list() as models:
            return {"models": tuple(_candidate(each, f"model[{n}]") for n, each in enumerate(models))}
        case model:
            return {"models": (_candidate(model, "model"),)}


def _candidate(raw: Any, where: str) -> Candidate:
    match raw:
        case str() if raw:
            return Candidate(raw)
        case dict():
            key = "model" if "model" in raw and "name" not in raw else "name"  # as the SDK's documentation
            return Candidate(needed(raw, key, str, where), _options(raw, "options", where))
        case _:
            raise wrong(where, "the name of a model, or an object with a 'name'")


def _options(raw: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    options = member(raw, key, dict, where) or {}
    if taken := _NOT_OPTIONS & options.keys():
        field = f"{where}.{key}.{min(taken)}"
        raise RequestError(f"{field!r} is not an option of a model", field=field)
    return options


_READ: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "name": lambda body: {"name": needed(body, "name", str)},
    "description": _text("description"),
    "instructions": _text("instructions"),
    "model": _models,
    "input_schema": _schema("input_schema"),
    "output_schema": _schema("output_schema"),
    "configuration": _configured,
    "observer_enabled": _observed,
}
"""What each member of a definition means for the agent."""


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    return tuple(_tool(raw, f"tools[{n}]") for n, raw in enumerate(member(body, "tools", list) or ()))


def _tool(raw: Any, where: str) -> Tool:
    if not isinstance(raw, dict):
        raise wrong(where, "an object")
    parameters = member(raw, "parameters", dict, where)
    return Tool(
        needed(raw, "name", str, where),
        member(raw, "description", str, where) or "",
        UNSET if parameters is None else parameters,
    )
