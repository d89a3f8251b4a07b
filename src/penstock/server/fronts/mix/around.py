"""
What Mix's SDKs ask of a server beside sessions: where it keeps things, what it can do.

Provider keys and preferences are the configuration's business here; requests that
would change them are answered, and change nothing. What is not offered at all is
refused in this wire's own shape: an SDK cannot read another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.types import ASGIApp

from ....bodies import needed
from ....errors import RequestError
from ...endpoint import Asked, Endpoint, answer

__all__ = ["ENDPOINTS"]

_PROVIDER: Final = "penstock"


def _says(value: Any) -> Callable[[Asked], Awaitable[ASGIApp]]:
    """Return a handler that always gives the same answer."""

    async def handle(asked: Asked) -> ASGIApp:
        return answer(value)

    return handle


async def _info(asked: Asked) -> ASGIApp:
    return answer({"storageBasePath": asked.service.settings.data})


async def _store_key(asked: Asked) -> ASGIApp:
    provider = needed(asked.body, "provider", str)
    needed(asked.body, "api_key", str)
    message = "not kept: the keys of model providers are in the configuration of this server"
    return answer({"status": "success", "provider": provider, "message": message})


async def _tools(asked: Asked) -> ASGIApp:
    agent = await asked.service.agent(asked.service.settings.mix_agent)
    found = [{"name": tool.name, "description": tool.description} for tool in agent.tools if tool.runner]
    return answer({"tools": found})


async def _providers(asked: Asked) -> ASGIApp:
    return answer(_available(asked))


async def _preferences(asked: Asked) -> ASGIApp:
    return answer({"available_providers": _available(asked)})


def _available(asked: Asked) -> dict[str, Any]:
    return {_PROVIDER: {"display_name": "Penstock", "models": asked.service.models.names}}


class _NotOffered(RequestError):
    """This server has nothing of that kind."""

    code = "not_offered"
    status = 404


async def _refuse(asked: Asked) -> ASGIApp:
    raise _NotOffered(f"this server does not offer {asked.address}")


_HIDDEN: Final = {"hidden": True}
_STATUS: Final = {"authenticated": True, "auth_method": "none", "display_name": "Penstock"}
_VALID: Final = {
    "valid": True, "provider": _PROVIDER, "auth_method": "none", "message": "models are the server's business"
}  # fmt: skip

_NOT_OFFERED: Final = (
    ("GET", "/api/commands/{name}"),
    ("POST", "/api/preferences"),
    ("POST", "/api/preferences/reset"),
    *((method, "/api/sessions/{rest:path}") for method in ("GET", "POST", "PATCH", "DELETE")),  # files
    ("POST", "/api/auth/oauth/{provider}"),
    ("POST", "/api/auth/oauth-callback"),
    ("DELETE", "/api/auth/{provider}"),
    ("GET", "/health/auth"),
    ("POST", "/internal/auth/refresh-tokens"),
)

ENDPOINTS: Final = (
    Endpoint("GET", "/api/system/info", "run:read", _info, "Say where things are kept.", _HIDDEN),
    Endpoint("POST", "/api/auth/api-key", "run:write", _store_key, "Be told a provider's key.", _HIDDEN),
    Endpoint(
        "GET", "/api/auth/status", "run:read", _says({"providers": {_PROVIDER: _STATUS}}),
        "Say which providers can be used.", _HIDDEN,
    ),
    Endpoint(
        "GET", "/api/auth/validate", "run:read", _says(_VALID), "Say whether one can be used.", _HIDDEN
    ),
    Endpoint("GET", "/api/preferences", "run:read", _preferences, "Show preferences: none.", _HIDDEN),
    Endpoint("GET", "/api/preferences/providers", "run:read", _providers, "List providers.", _HIDDEN),
    Endpoint("GET", "/api/tools", "run:read", _tools, "List the tools of sessions.", _HIDDEN),
    Endpoint(
        "GET", "/api/tools/status", "run:read", _says({"categories": {}}), "List their kinds: none.", _HIDDEN
    ),
    Endpoint(
        "GET", "/api/tools/credentials-status", "run:read", _says({"categories": {}}),
        "List what they lack: nothing.", _HIDDEN,
    ),
    Endpoint("GET", "/api/mcp", "run:read", _says([]), "List MCP servers: none.", _HIDDEN),
    Endpoint("GET", "/api/commands", "run:read", _says([]), "List commands: none.", _HIDDEN),
    *(
        Endpoint(method, path, "run:read", _refuse, "Say that there is no such thing.", _HIDDEN)
        for method, path in _NOT_OFFERED
    ),
)  # fmt: skip
