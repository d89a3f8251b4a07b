"""
Users of a server: the real Python SDK, in either colour, and one who reads bare blocks.

The SDK says what was meant, the blocks say which bytes it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple, Self

import httpx
import httpx2
import pytest
from mix_python_sdk import Mix, errors, utils

from interop.modelrelay.saying import begun, ended, thought
from interop.opper.stage import Stage, says
from mix_strict import check
from upstream import Script, chunk, sse

__all__ = [
    "AGAIN", "AT_ONCE", "BROWSER", "POSTCARD", "ROLL", "ROLLED", "Heard", "Stream", "User", "blocks",
    "bodies", "content", "names", "refused", "scripted",
]  # fmt: skip

BROWSER: Final = "local-browser-service"
AGAIN: Final = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 1, 1.0, 60_000), True)
"""The SDK's own way to try again, in a hurry."""
AT_ONCE: Final = utils.RetryConfig("none", utils.BackoffStrategy(1, 1, 1.0, 1), False)
"""What goes wrong is said at once, and not tried again."""

_PATIENCE: Final = 60.0

ROLL: Final[tuple[Script, ...]] = (
    sse(thought("Dice, then."), chunk("Let me "), chunk("roll."), begun(0, "roll_dice", '{"dice":2}'),
        *ended("tool_calls")),
    says("Rolled", " them."),
)  # fmt: skip
"""A model that thinks, talks, uses a tool, and talks again."""
ROLLED: Final = [
    "user_message_created", "thinking", "content", "content", "tool_use_start", "tool_use_parameter_delta",
    "tool_use_parameter_streaming_complete", "tool_execution_start", "tool_execution_complete",
    "content", "content", "complete",
]  # fmt: skip
"""What a stream says of its turn."""
POSTCARD: Final[tuple[Script, ...]] = (
    sse(begun(0, "send_postcard", '{"to":"Ida","text":"Hi 🌊"}'), *ended("tool_calls")),
    says("That was", " it."),
)
"""A model that uses a tool for which a human is asked."""


class Heard(NamedTuple):
    """An event of a stream, as the SDK understood it."""

    id: str
    event: str
    data: dict[str, Any]
    retry: int | None = None


class User:
    """Somebody with an SDK."""

    def __init__(self, url: str, colour: str = "sync", *, key: str = "", **options: Any) -> None:
        """
        Args:
            colour: ``sync`` or ``async``.
            key: an API key.
            options: of ``Mix``.
        """
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.url = url
        transport = options.pop("transport", None)
        self._client = httpx.Client(headers=headers, transport=transport, verify=False)
        self._async_client = httpx.AsyncClient(headers=headers, verify=False)
        given = {"retry_config": AT_ONCE, "timeout_ms": int(_PATIENCE * 1000), **options}
        self.mix = Mix(url, self._client, self._async_client, **given)
        self._runner = asyncio.Runner() if colour == "async" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._runner is not None:
            self._runner.run(self._async_client.aclose())
            self._runner.close()
        self._client.close()

    def __call__(self, method: str, **arguments: Any) -> Any:
        """Call a method of the SDK, named as in ``sessions.create``."""
        group, _, name = method.partition(".")
        found = getattr(getattr(self.mix, group), name if self._runner is None else f"{name}_async")
        return self.done(found(**arguments))

    def done(self, value: Any) -> Any:
        """Return what a method returned, or what it will have returned."""
        return value if self._runner is None else self._runner.run(value)

    @property
    def is_async(self) -> bool:
        return self._runner is not None

    # -- what everybody does

    def session(self, title: str = "t", **facts: Any) -> str:
        """Begin a session and return its id."""
        return str(self("sessions.create", title=title, browser_mode=BROWSER, **facts).id)

    def send(self, session: str, text: str = "hello", **options: Any) -> None:
        sent = self("messages.send", id=session, text=text, **options)
        assert (sent.session_id, sent.status) == (session, "processing")

    def stream(self, session: str, last: str | None = None, **options: Any) -> Stream:
        """Follow a session, from ``last`` on."""
        answer = self("streaming.stream_events", session_id=session, last_event_id=last, **options)
        return Stream(self, answer.result)

    def turn(self, session: str, text: str = "hello", **options: Any) -> list[Heard]:
        """Say something and return all that is heard then, to the end of the turn."""
        with self.stream(session) as stream:
            self.send(session, text, **options)
            return stream.until("complete")

    def history(self, session: str) -> list[dict[str, Any]]:
        rows = self("messages.list_session", id=session)
        return [row.model_dump(by_alias=True, exclude_unset=True) for row in rows]


class Stream:
    """
    The stream of a session; its ``connected`` has come when the ``with`` block begins.

    Each of its blocks is one that the strictest reader takes.
    """

    def __init__(self, user: User, result: Any) -> None:
        self.connected = Heard("", "", {})
        self.last = ""
        """The id of the last event that was heard."""
        self._user, self._result = user, result
        self._bytes = b""
        self._overhear(result.response)

    def __enter__(self) -> Self:
        self.connected = self.any()
        assert self.connected.event == "connected"
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self.close()
        if kind is None:
            whole, end, _ = self._bytes.rpartition(b"\n\n")
            check(whole + end)

    def close(self) -> None:
        if self._user.is_async:
            self._user.done(self._result.__aexit__(None, None, None))
        else:
            self._result.__exit__(None, None, None)

    def _overhear(self, response: Any) -> None:
        """Keep what the SDK is going to read: what it forgives, others do not."""
        pieces, async_pieces = response.iter_bytes, response.aiter_bytes

        def overheard() -> Iterator[bytes]:
            for piece in pieces():
                self._bytes += piece
                yield piece

        async def async_overheard() -> AsyncIterator[bytes]:
            async for piece in async_pieces():
                self._bytes += piece
                yield piece

        response.iter_bytes, response.aiter_bytes = overheard, async_overheard

    def any(self) -> Heard:
        """Return the next event, whatever it is. Raises: StopIteration, StopAsyncIteration."""
        said = self._user.done(anext(self._result)) if self._user.is_async else next(self._result)
        data = said.data.model_dump(by_alias=True, exclude_unset=True, mode="json")
        self.last = said.id
        return Heard(said.id, str(said.event), data, said.retry)

    def next(self) -> Heard:
        """Return the next event of the session's log."""
        while (heard := self.any()).event in ("connected", "heartbeat"):
            pass
        return heard

    def until(self, event: str, times: int = 1) -> list[Heard]:
        """Return what is heard up to so many events of that name."""
        found: list[Heard] = []
        while names(found).count(event) < times:
            found.append(self.next())
        return found

    def rest(self) -> list[Heard]:
        """Return what is heard to the end, which must be a clean one."""
        found = []
        while True:
            try:
                found.append(self.next())
            except (StopIteration, StopAsyncIteration):
                return found


def names(heard: list[Heard]) -> list[str]:
    return [each.event for each in heard]


def content(heard: list[Heard]) -> str:
    """Return what the model said."""
    return "".join(each.data["content"] for each in heard if each.event == "content")


def scripted(stage: Stage, *scripts: Script, key: str = "", **facts: Any) -> str:
    """
    Begin a session that has a model of its own, and return its id; ``key`` is an API key.

    Newer SDKs than Python's name the model of a session.
    """
    model = stage.plays(*scripts)
    body = {"title": "t", "browserMode": BROWSER, "modelId": model, **facts}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = stage.http("POST", "/api/sessions", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["modelId"] == model
    return str(answer.json()["id"])


def bodies(stage: Stage, session: str) -> list[dict[str, Any]]:
    """Return what the model of a session was asked, request by request."""
    return stage.bodies(stage.http("GET", f"/api/sessions/{session}").json()["modelId"])


def refused(
    user: User, method: str, status: int, kind: str, *, declared: bool = True, **arguments: Any
) -> str:
    """
    Make a call that must be refused, and return what was said.

    ``declared``: the SDK knows that this method may have this status; else it passes on the body.
    """
    expected: Any = errors.ErrorResponse if declared else errors.MixDefaultError
    with pytest.raises(expected) as refusal:
        user(method, **arguments)
    assert refusal.value.status_code == status
    error = errors.ErrorResponseData.model_validate_json(refusal.value.body).error
    assert (error.code, error.type, bool(error.message)) == (status, kind, True)
    return error.message


# -- bare blocks


def blocks(
    url: str, session: str, last: str = "", *, turns: int = 1, agent: str = "", generation: str = ""
) -> list[bytes]:
    """
    Return the blocks that a reader gets, ``connected`` first, up to the end of so many turns.

    Each of them is one that the strictest reader takes, who is of the generation that ``agent`` says.
    """
    headers = {"last-event-id": last, "user-agent": agent}
    given = {name: value for name, value in headers.items() if value}
    address, said = f"{url}/stream?sessionId={session}", b""
    with httpx2.stream("GET", address, headers=given, timeout=_PATIENCE, verify=False) as answer:
        assert answer.status_code == 200, answer.read()
        for piece in answer.iter_bytes():
            said += piece
            if said.endswith(b"\n\n") and said.count(b"\nevent: complete\n") >= turns:
                break
    check(said, generation)
    return said.removesuffix(b"\n\n").split(b"\n\n")
