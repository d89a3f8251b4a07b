"""The description of the API, made from the tables that serve it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgspec import json

from .. import __version__
from ..dialects.native import Begin, Continue, Decision
from ..events import Event
from .endpoint import Endpoint, Front

__all__ = ["description"]

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_NOT_A_NAME = re.compile(r"\W")
_BODIES = {"Begin": Begin, "Continue": Continue, "Decision": Decision}
_STREAMS = ("text/event-stream", "application/x-ndjson")


def description(fronts: Iterable[Front]) -> dict[str, object]:
    """Return the OpenAPI document of ``fronts``."""
    (event, *_), components = json.schema_components(
        [Event, *_BODIES.values()], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for front in fronts:
        for endpoint in front.endpoints:
            if endpoint.describes.get("hidden"):
                continue
            path = _PARAMETER.sub(r"{\1}", endpoint.path)
            paths.setdefault(path, {})[endpoint.method.lower()] = _operation(front, endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": __version__,
            "description": "Durable, resumable streams for AI answers. PROTOCOL.md describes the events.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Event": event, **components},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(front: Front, endpoint: Endpoint) -> dict[str, Any]:
    described = endpoint.describes
    name = described.get("name", endpoint.handle.__name__.strip("_"))
    operation: dict[str, Any] = {
        "operationId": f"{name}_{_NOT_A_NAME.sub('_', front.dialect.name)}",
        "summary": endpoint.summary,
        "tags": [front.dialect.name],
        "security": [{}, {"key": []}],
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(described.get("query", {}))],
        "responses": _responses(endpoint),
    }
    if "body" in described:
        schema = {"$ref": f"#/components/schemas/{described['body']}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif described.get("any_body"):
        operation["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [_parameter(name, "path", "") for name in _PARAMETER.findall(path)]


def _query_parameters(query: dict[str, str]) -> list[dict[str, Any]]:
    return [_parameter(name, "query", sentence) for name, sentence in query.items()]


def _parameter(name: str, where: str, sentence: str) -> dict[str, Any]:
    schema = {"type": "string"}
    described = {"description": sentence} if sentence else {}
    return {"name": name, "in": where, "required": where == "path", "schema": schema, **described}


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    described = endpoint.describes
    content: dict[str, Any] = {}
    if not described.get("only_stream"):
        content["application/json"] = {"schema": {"type": "object"}}
    if described.get("streams") or described.get("only_stream"):
        event = {"$ref": "#/components/schemas/Event"} if described.get("events") else {"type": "string"}
        content.update({media_type: {"schema": event} for media_type in _STREAMS})
    status = str(described.get("status", 200))
    done = {"description": "Done."} if status == "204" else {"description": "Done.", "content": content}
    return {
        status: done,
        "default": {
            "description": "An error, in the shape this front's clients expect.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
    }
