"""
How services of each dialect are asked for an answer, and for the rest of one.

To go on after a cut, a reader says what it has had. Where frames have ids, that is
the id of the last one; where they have none, how many there were; a service that
only ever begins anew is heard again, up to that frame, in silence.

============ ======================================= =================== ====================
dialect      asked, and asked again, with            place               resumes at
============ ======================================= =================== ====================
native       GET .../events, Last-Event-ID           id                  any server
mix          GET /stream, Last-Event-ID              id                  any server
orq          POST of the turn; then of its task_id   id                  Penstock
             and no parts, Last-Event-ID
opper        POST, Idempotency-Key, Last-Event-ID    id                  Penstock
opper/v3     POST, Idempotency-Key, Last-Event-ID    number of frames    Penstock
openai-chat  POST, Idempotency-Key, Last-Event-ID    number of frames    Penstock
modelrelay   POST, X-ModelRelay-Request-Id           number of frames,   Penstock
                                                     heard again
============ ======================================= =================== ====================

A server shows that it is a Penstock, or in front of one, by the header
``Penstock-Stream``. At any other an answer that is cut off ends as failed
(``truncated``): to ask again would be to ask for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlencode

from msgspec import to_builtins

from ..dialects import Dialect, get
from ..dialects.native import read_request
from ..errors import NoSuchPlugin, RequestError
from ..events import FilePart, Part, TextPart, ToolResultPart
from ..requests import Start
from .acts import begin, path_of
from .asking import Request, Script, posted

__all__ = ["Asked", "Begun", "Name", "Way", "events_of", "way"]

Name = Literal["native", "opper", "opper/v3", "modelrelay", "mix", "orq", "openai-chat"]

Ask = Callable[[str, str], Request]
"""What to ask for next, given the stream's name, once it is known, and the place to go on after."""


class Asked(NamedTuple):
    """What a caller wants to be answered."""

    body: Mapping[str, Any]
    """As PROTOCOL.md, 6.1 has it."""
    key: str
    """What makes the same request the same answer."""

    @property
    def start(self) -> Start:
        """The same, as values. Raises: RequestError."""
        return read_request(self.body)

    @property
    def structured(self) -> bool:
        """Whether the answer is to be data."""
        return "output_schema" in self.body


class Begun(NamedTuple):
    """How to get the events of what was asked."""

    ask: Ask
    stream: str = ""
    """Its name, if that is known before it is heard."""
    place: str = ""
    """Where its frames begin; empty: where the service begins by itself."""


class Way(NamedTuple):
    """What is to be known of one dialect's services."""

    begin: Callable[[Asked], Script[Begun]]
    attach: Callable[[str, str], Ask] | None = None
    """Who goes on with a stream that is there: given its name, and an agent's."""
    place: Literal["id", "count", "replay"] = "id"
    """What a reader's place is: an id, a number of frames to say, or to hear again."""
    anywhere: bool = False
    """Whether every service of the dialect resumes, not Penstock alone."""
    quiet: bool = False
    """Whether the wire has no last frame: a body that ends well has ended well."""
    endless: bool = False
    """Whether a stream that is attached to goes on over many answers."""
    name: str = ""

    @property
    def dialect(self) -> Dialect:
        return get(self.name)


# -- native


def events_of(stream: str, *, until_done: bool) -> Ask:
    """Return who asks for the events of a stream."""
    path = path_of(stream, "events") + ("?until=done" if until_done else "")
    return lambda _, place: Request("GET", path, _heads(SSE, place))


def _native(asked: Asked) -> Script[Begun]:
    stream = yield from begin(asked.body, asked.key)
    return Begun(events_of(stream, until_done=True), stream)


SSE: Final = "text/event-stream"


def _heads(accept: str, place: str = "") -> dict[str, str]:
    return {"accept": accept, **({"last-event-id": place} if place else {})}


# -- one POST


def _one_post(name: str, accept: str, asked: Asked) -> Script[Begun]:
    """The request for the events is the one that begins the answer."""
    dialect = get(name)
    assert dialect.write_request is not None, "else it stands in another row"
    replayed = name == "modelrelay"
    key = {"x-modelrelay-request-id" if replayed else "idempotency-key": asked.key}
    post = posted(dialect.request_path, dialect.write_request(asked.start))

    def ask(_: str, place: str) -> Request:
        return post._replace(headers={**post.headers, **key, **_heads(accept, "" if replayed else place)})

    yield from ()  # nothing is to be done before
    return Begun(ask)


# -- Mix: a session, a message in it, its stream

_MIX: Final = "/api/sessions"
_ALL: Final = "0"
"""The place before everything (section 4 of the contract)."""


def _mix(asked: Asked) -> Script[Begun]:
    start = asked.start
    text, model = _only_text(start), {"modelId": start.model} if start.model else {}
    facts = {"title": text[:80], "browserMode": "local-browser-service", **model}
    session = yield posted(_MIX, facts, idempotency_key=asked.key)
    stream = str(session["id"])
    path = f"{_MIX}/{quote(stream, safe='')}/messages"
    yield posted(path, {"text": text}, idempotency_key=asked.key)
    return Begun(_mix_attach(stream, ""), stream, _ALL)


def _mix_attach(stream: str, _: str) -> Ask:
    path = f"/stream?{urlencode({'sessionId': stream})}"
    return lambda _, place: Request("GET", path, _heads(SSE, place))


def _only_text(start: Start) -> str:
    parts = _only_message(start)
    if not all(isinstance(part, TextPart) for part in parts):
        raise RequestError("a message of Mix has nothing but text", field="input")
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def _only_message(start: Start) -> tuple[Part, ...]:
    if len(start.input) != 1:
        raise RequestError("this service keeps the conversation: 'input' must be one message", field="input")
    return start.input[0].parts


# -- orq: a turn of an agent's task


def _orq(asked: Asked) -> Script[Begun]:
    start = asked.start
    if not start.agent:
        raise RequestError("orq needs an 'agent' to ask", field="agent")
    parts = [_orq_part(part) for part in _only_message(start)]
    role = "tool" if all(part["kind"] == "tool_result" for part in parts) else "user"
    path = _orq_path(start.agent)
    body = {"message": {"role": role, "parts": parts}, "stream": True}
    post = posted(path, body, idempotency_key=asked.key, accept=SSE)

    def ask(stream: str, place: str) -> Request:
        return _orq_attach(stream, start.agent)(stream, place) if stream else post

    yield from ()  # nothing is to be done before
    return Begun(ask)


def _orq_path(agent: str) -> str:
    return f"/v2/agents/{quote(agent, safe='')}/responses"


def _orq_attach(stream: str, agent: str) -> Ask:
    body = {"task_id": stream, "message": {"role": "user", "parts": []}, "stream": True}
    post = posted(_orq_path(agent), body)
    return lambda _, place: post._replace(headers={**post.headers, **_heads(SSE, place)})


def _orq_part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"kind": "text", "text": text}
        case ToolResultPart(call_id=call_id, result=result):
            return {"kind": "tool_result", "tool_call_id": call_id, "result": result}
        case FilePart():
            file = {"mimeType": part.mime, "name": part.name, "uri": part.url, "bytes": part.data}
            return {"kind": "file", "file": {name: value for name, value in file.items() if value}}
        case _:
            kind = to_builtins(part)["kind"]
            raise RequestError(f"orq takes no {kind!r} in a message", field="input")


# -- the table

_NDJSON: Final = 'application/x-ndjson; profile="responses-stream/v2"'


def _posting(name: str, accept: str = SSE) -> Callable[[Asked], Script[Begun]]:
    return partial(_one_post, name, accept)


def _native_attach(stream: str, _: str) -> Ask:
    return events_of(stream, until_done=False)


_WAYS: Final[dict[str, Way]] = {
    "native": Way(_native, _native_attach, anywhere=True, endless=True),
    "mix": Way(_mix, _mix_attach, anywhere=True, endless=True),
    "orq": Way(_orq, _orq_attach),
    "opper": Way(_posting("opper"), quiet=True),
    "opper/v3": Way(_posting("opper/v3"), place="count"),
    "openai-chat": Way(_posting("openai-chat"), place="count"),
    "modelrelay": Way(_posting("modelrelay", _NDJSON), place="replay"),
}


def way(name: str) -> Way:
    """Return how services of a dialect are asked. Raises: NoSuchPlugin (it is not known)."""
    if name not in _WAYS:
        near = get_close_matches(name, _WAYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_WAYS)}"
        raise NoSuchPlugin(f"no service of the dialect {name!r} can be asked; {hint}")
    return _WAYS[name]._replace(name=name)
