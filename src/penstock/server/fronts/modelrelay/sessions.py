"""
Remote sessions: conversations that the server keeps, for callers to come back to.

A session is a stream of messages. Those who run it say what people said; what
the model answered comes from the runs that named the session, once they have
succeeded. The TypeScript SDK says the prompt only after its run, so that an
answer waits for its prompt as long as nobody looks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

from msgspec import UNSET
from starlette.responses import Response
from starlette.types import ASGIApp

from ....bodies import member
from ....dialects.modelrelay.answer import message, said
from ....errors import RequestError, StreamNotFound
from ....events import Custom, Event, MessageAdded, Role, TextPart
from ....log import Record
from ....names import stream_of_uuid, uuid_of
from ....wire.times import timestamp
from ...endpoint import Asked, Endpoint, answer
from ...shelf import Shelf, Thing
from .pages import PAGES, paged
from .project import project
from .run import Run, run_of_stream

__all__ = ["ENDPOINTS", "check_session", "link"]

_SHELF: Final = Shelf("modelrelay.session")
_LINKED: Final = "modelrelay.session.linked"
_UNANSWERED: Final = "modelrelay.session.unanswered"
_ROLES: Final = ("user", "assistant", "system", "tool")


class _Session(NamedTuple):
    thing: Thing
    records: list[Record]
    messages: list[Record]
    runs: set[str]
    """Streams of all the runs that named it."""
    waiting: dict[str, str]
    """Streams of those whose end is not in it yet, and the prompts that are missing before it."""


async def _find(asked: Asked, id: str) -> _Session:
    """Return a session as it stands. Raises: StreamNotFound."""
    thing = await _SHELF.find(asked, id)
    session = _Session(thing, await asked.service.records(thing.stream), [], set(), {})
    for record in session.records:
        match record.event:
            case MessageAdded() as event:
                session.messages.append(record)
                session.waiting.pop(_run(event), None)
                said_now = _digest(event)
                session.waiting.update({run: "" for run, asks in session.waiting.items() if asks == said_now})
            case Custom(name=name, data=data) if name == _LINKED:
                session.runs.add(data["run"])
                session.waiting[data["run"]] = data["asks"]
            case Custom(name=name, data=data) if name == _UNANSWERED:
                session.waiting.pop(data["run"], None)
            case _:
                pass
    return session


def _run(event: MessageAdded) -> str:
    """Return the stream of the run that said it, if one did."""
    return "" if event.extra is UNSET else str(event.extra.get("run", ""))


def _digest(event: MessageAdded | None) -> str:
    """Return what tells one prompt from another; empty if it is none."""
    if event is None or event.role != "user":
        return ""
    return hashlib.sha256(said(event.parts).encode("utf-8", "surrogatepass")).hexdigest()


# -- what runs do


async def check_session(asked: Asked, id: str) -> None:
    """Raises: StreamNotFound (there is no such session)."""
    await _SHELF.find(asked, id)


async def link(asked: Asked, id: str, stream: str, messages: Sequence[MessageAdded]) -> None:
    """Note that a run, asked with ``messages``, belongs to a session. Raises: StreamNotFound."""

    async def noted(session: _Session) -> list[Event]:
        last = next((e.event for e in reversed(session.messages)), None)
        asks = _digest(messages[-1] if messages else None)
        there = isinstance(last, MessageAdded) and _digest(last) == asks
        event = Custom(_LINKED, {"run": stream, "asks": "" if there else asks})
        return [] if stream in session.runs else [event]

    await _append(asked, id, noted)


async def _append(
    asked: Asked, id: str, events_of: Callable[[_Session], Awaitable[Sequence[Event]]]
) -> _Session:
    """Add to a session what ``events_of`` makes of it, and return it as it stands then."""
    async with asked.service.turns.of((await _SHELF.find(asked, id)).stream):
        session = await _find(asked, id)
        events = await events_of(session)
        if not events:
            return session
        head = await asked.service.log.head(session.thing.stream)
        end = head.cursor._replace(offset=session.records[-1].offset + 1)
        await asked.service.log.append(session.thing.stream, events, expect=end)
    return await _find(asked, id)


async def _answers(asked: Asked, streams: Iterable[str]) -> list[Event]:
    """Return what those of the runs have said that are over."""
    ends: list[Event] = []
    for stream in streams:
        try:
            run = await run_of_stream(asked.service.log, stream)
            status = run.status
        except StreamNotFound:
            status = "failed"
        if status == "succeeded":
            ends.append(_answer(run))
        elif status in ("failed", "canceled"):
            ends.append(Custom(_UNANSWERED, {"run": stream}))
    return ends


def _answer(run: Run) -> MessageAdded:
    parts = run.step.content()
    extra = {"content": message(parts)["content"], "run": run.stream}
    return MessageAdded("assistant", (TextPart(said(parts)),), uuid_of(run.step.response_id), extra)


# -- what callers do


async def _create_session(asked: Asked) -> ASGIApp:
    metadata, customer = member(asked.body, "metadata", dict), member(asked.body, "customer_id", str)
    facts = {"metadata": metadata or {}, **({"customer_id": customer} if customer else {})}
    thing = await _SHELF.put(asked, facts)
    return answer(_written(asked, await _find(asked, thing.id)), 201)


async def _list_sessions(asked: Asked) -> ASGIApp:
    customer = asked.query.get("customer_id")
    found = await _SHELF.list(asked)
    ids = [thing.id for thing in found if not customer or thing.facts.get("customer_id") == customer]
    page, following = paged(asked, ids)
    sessions = []
    for id in page:
        try:
            sessions.append(_written(asked, await _find(asked, id)))
        except StreamNotFound:
            continue  # forgotten by age, or by another front
    return answer({"sessions": sessions, **following})


async def _show_session(asked: Asked) -> ASGIApp:
    async def ends(session: _Session) -> list[Event]:
        return await _answers(asked, session.waiting)

    session = await _append(asked, asked.path["session"], ends)
    messages = [_message(record, n) for n, record in enumerate(session.messages, 1)]
    return answer({**_written(asked, session), "messages": messages})


async def _delete_session(asked: Asked) -> ASGIApp:
    await _SHELF.take(asked, await _SHELF.find(asked, asked.path["session"]))
    return Response(status_code=204)


async def _add_message(asked: Asked) -> ASGIApp:
    added = _read(asked.body)

    async def around(session: _Session) -> list[Event]:
        waiting = {run: asks for run, asks in session.waiting.items() if run != _run(added)}
        before = [run for run, asks in waiting.items() if not asks]
        after = [run for run, asks in waiting.items() if asks and asks == _digest(added)]
        return [*await _answers(asked, before), added, *await _answers(asked, after)]

    session = await _append(asked, asked.path["session"], around)
    for n, record in enumerate(session.messages, 1):
        if cast(MessageAdded, record.event).message_id == added.message_id:
            return answer(_message(record, n), 201)
    raise StreamNotFound("the session was deleted meanwhile")


def _read(body: dict[str, Any]) -> MessageAdded:
    """Read a message. Its content is kept as it came. Raises: RequestError."""
    role, content, run = body.get("role"), body.get("content"), body.get("run_id")
    if role not in _ROLES:
        raise RequestError(f"'role' must be one of {', '.join(_ROLES)}", field="role")
    if not isinstance(content, list):
        raise RequestError("'content' must be a list", field="content")
    for n, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RequestError(f"'content[{n}]' must be an object with a type", field=f"content[{n}]")
    texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
    extra = {"content": content, **({"run": _stream(run)} if run is not None else {})}
    return MessageAdded(cast(Role, role), tuple(map(TextPart, texts)), str(uuid4()), extra)


def _stream(run: Any) -> str:
    try:
        return stream_of_uuid(run if isinstance(run, str) else "")
    except StreamNotFound:
        raise RequestError("'run_id' must be a UUID", field="run_id") from None


def _written(asked: Asked, session: _Session) -> dict[str, Any]:
    thing = session.thing
    customer = thing.facts.get("customer_id")
    return {
        "id": thing.id,
        "project_id": project(asked.owner),
        **({"customer_id": customer} if customer else {}),
        "metadata": thing.facts["metadata"],
        "message_count": len(session.messages),
        "created_at": timestamp(thing.facts["created_at"]),
        "updated_at": timestamp(session.records[-1].at),
    }


def _message(record: Record, seq: int) -> dict[str, Any]:
    event = cast(MessageAdded, record.event)
    extra = {} if event.extra is UNSET else event.extra
    return {
        "id": event.message_id,
        "seq": seq,
        "role": event.role,
        "content": extra.get("content", [{"type": "text", "text": said(event.parts)}]),
        **({"run_id": uuid_of(extra["run"])} if "run" in extra else {}),
        "created_at": timestamp(record.at),
    }


_BODY: Final = {"any_body": True, "status": 201}
_LISTS: Final = {"query": {**PAGES, "customer_id": "Whose to list, of all that the caller keeps."}}

ENDPOINTS: Final = (
    Endpoint("POST", "/sessions", "run:write", _create_session, "Begin a session.", _BODY),
    Endpoint("GET", "/sessions", "run:read", _list_sessions, "List sessions, the youngest first.", _LISTS),
    Endpoint("GET", "/sessions/{session}", "run:read", _show_session, "Show a session and its messages."),
    Endpoint(
        "DELETE", "/sessions/{session}", "run:write", _delete_session, "Forget a session.", {"status": 204}
    ),
    Endpoint("POST", "/sessions/{session}/messages", "run:write", _add_message, "Add a message.", _BODY),
)  # fmt: skip
