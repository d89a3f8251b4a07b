"""What calling a function takes, in whichever generation it is called."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from ....agents import Agent
from ....dialects import Wire
from ....dialects.opper import Call, begin
from ....dialects.opper.shape import unprocessable
from ....engine.runs import Started
from ....engine.schemas import compiled
from ....errors import AgentExists, AgentNotFound, Unprocessable
from ....snapshot import Response
from ...endpoint import Asked, number
from ...respond import EventStream

__all__ = ["page", "streamed", "whole"]

_PAGE = 100
_LARGEST_PAGE = 1000


async def streamed(asked: Asked, call: Call, wire: Wire, *, stored: bool = False) -> EventStream:
    """
    Return the answer to ``call``, as it comes.

    A failure before its first word is an error of the request, so that callers see it.
    Raises: RequestError, AnswerFailed.
    """
    service = asked.service
    started = await _started(asked, call, stored=stored, hold=False)
    await service.first_word(started)
    cursor = await service.cursor(started.stream, wire, asked.headers, "")
    return await service.stream(started.stream, wire, cursor, until_terminal=True)


async def whole(asked: Asked, call: Call, *, stored: bool = False) -> tuple[Response, dict[str, str]]:
    """Return the answer to ``call`` when it has ended, and headers. Raises: RequestError, AnswerFailed."""
    started = await _started(asked, call, stored=stored, hold=True)
    return await asked.service.whole(started), {"penstock-stream": started.stream}


async def _started(asked: Asked, call: Call, *, stored: bool, hold: bool) -> Started:
    _check(call)
    if not stored:
        await _remember(asked, call.agent)
    key = asked.headers.get("idempotency-key") or call.tags.get("idempotency_key", "")
    said = b"\n".join((asked.address.encode(), asked.data))  # the same body calls different functions
    return await asked.service.start(replace(begin(call), hold=hold), said, key, asked.owner)


def _check(call: Call) -> None:
    """Raises: Unprocessable (a schema is none, or the input does not fit)."""
    agent = call.agent
    if agent.output_schema is not UNSET:
        compiled(agent.output_schema, "output_schema")
    if agent.input_schema is UNSET:
        return
    if fault := compiled(agent.input_schema, "input_schema").fault(call.input):
        path, why = fault
        field = "input" if not path else f"input{path}" if path.startswith("[") else f"input.{path}"
        raise Unprocessable(f"{field!r} does not fit the input schema: {why}", field=field)


async def _remember(asked: Asked, agent: Agent) -> None:
    """A function comes into being with its first call; later calls do not change it."""
    catalog = asked.service.catalog
    try:
        await catalog.by_name(agent.name)
    except AgentNotFound:
        try:
            await catalog.create(agent)
        except AgentExists:
            pass


def page(asked: Asked) -> dict[str, int]:
    """Return which page of a list is asked for. Raises: RequestError (422)."""
    with unprocessable():
        offset, limit = number(asked.query, "offset", 0), number(asked.query, "limit", 0, _LARGEST_PAGE)
    return {"offset": offset or 0, "limit": _PAGE if limit is None else limit}
