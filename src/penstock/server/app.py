"""
The ASGI application: the fronts, health, the description of the API.

It can be mounted into somebody else's Starlette or FastAPI application; then
its lifespan opens the log. Our own server opens it first, to say in one
sentence what is wrong if it cannot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..dialects import get
from ..errors import PenstockError
from .endpoint import Front, Guarded, answer, routes
from .fronts import fronts
from .openapi import description
from .service import Service

__all__ = ["create_app"]


class _NotHere(PenstockError):
    """There is nothing at this path."""

    code = "not_found"
    status = 404


def create_app(service: Service) -> Starlette:
    """Return the application around ``service``, which is open, or is opened by its lifespan."""
    found = fronts()
    served = [route for front in found for route in routes(service, front)]
    app = Starlette(
        routes=[
            Route("/healthz", _healthy, methods=["GET"]),
            Route("/health", _healthy, methods=["GET"]),  # as Opper's SDK calls it
            Route("/readyz", _readiness(service), methods=["GET"]),
            Route("/openapi.json", _described(description(found)), methods=["GET"]),
            *sorted(served, key=_takes_anything),
        ],
        middleware=_cors(service.settings.allowed_origins),
        exception_handlers={HTTPException: _http_error},
        lifespan=_lifespan(service),
    )
    app.router.redirect_slashes = False  # clients that stream do not follow
    app.state.service = service
    return app


def _takes_anything(route: Route) -> bool:
    """Whether its path begins with a parameter: such a route comes after those that say what they are."""
    return route.path.startswith("/{")


def _lifespan(service: Service) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if not service.ready:
            await service.begin()
        yield
        await service.drain()
        await service.aclose()

    return lifespan


_THIS_MACHINE: Final = r"https?://(localhost|127\.0\.0\.1|\[::1\]|[\w.-]+\.localhost)(:\d+)?"
"""Origins of pages that are served on this machine, as one does while developing them."""


def _cors(origins: tuple[str, ...]) -> list[Middleware]:
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_origin_regex=_THIS_MACHINE,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],  # each front has its own
            expose_headers=["location", "penstock-stream", "retry-after", *_named(fronts())],
        )
    ]


def _named(found: list[Front]) -> list[str]:
    return [front.names_requests for front in found if front.names_requests]


async def _healthy(request: Request) -> Response:
    return answer({"status": "ok", "version": __version__})


def _readiness(service: Service) -> Callable[[Request], object]:
    async def ready(request: Request) -> Response:
        if not service.ready:
            return answer({"status": "draining"}, 503, {"retry-after": "1"})
        return answer({"status": "ready", "runs": len(service.runs), "readers": len(service.connections)})

    return ready


def _described(document: dict[str, object]) -> Callable[[Request], object]:
    async def describe(request: Request) -> Response:
        return answer(document)

    return describe


async def _http_error(request: Request, exc: Exception) -> Response:
    """What Starlette's router says by itself, in our shape."""
    assert isinstance(exc, HTTPException)
    error = _NotHere(f"{request.method} {request.url.path}: {exc.detail}")
    error.status = exc.status_code
    endpoint = request.scope.get("endpoint")
    if isinstance(endpoint, Guarded):
        refusal = endpoint.refusal(request, error)
        refusal.headers.update(exc.headers or {})
        return refusal
    render = get("native").error
    assert render is not None
    return Response(render(error), exc.status_code, exc.headers, "application/json")
