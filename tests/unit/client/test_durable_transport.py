"""The transport, in both colours of both libraries, over connections that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx
import httpx2
import pytest

from penstock.client import durable
from penstock.client.durable.passage import Temper

CHAT: Final = "http://penstock.test/v1/chat/completions"
BODY: Final = b'{"stream":true}'
STREAM: Final = {
    "content-type": "text/event-stream", "penstock-stream": "st_1", "transfer-encoding": "chunked",
}  # fmt: skip
ONE, TWO, END = b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"
SILENCE: Final = 31.0


class Says(NamedTuple):
    """An answer: its pieces, then the name of the library's error that ends it, or none."""

    pieces: Sequence[bytes] = ()
    error: str = ""
    status: int = 200
    headers: Mapping[str, str] = STREAM


class Fails(NamedTuple):
    """No answer."""

    error: str


Plan = Says | Fails


class World:
    """One library in one colour, and what its connections are going to do."""

    def __init__(self, library: Any, colour: str) -> None:
        self.library, self.is_async = library, colour == "async"
        self.plans: list[Plan] = []
        self.requests: list[Any] = []
        self.times: list[Any] = []
        """The limits of each request, as they are when its body is begun, or when it has failed."""
        self.closed: list[int] = []
        """The connections that were closed, in this order."""
        self.pauses: list[tuple[int, float | None]] = []
        self._body = type("Told", (_Told, library.SyncByteStream, library.AsyncByteStream), {})

    # -- the inner transport

    def handle_request(self, request: Any) -> Any:
        plan = self.plans[len(self.requests)]
        self.requests.append(request)
        if isinstance(plan, Fails):
            self.times.append(dict(request.extensions["timeout"]))
            raise getattr(self.library, plan.error)(plan.error)
        stream = self._body(self, plan, len(self.requests))
        return self.library.Response(plan.status, headers=plan.headers, stream=stream)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)

    def close(self) -> None:
        self.closed.append(0)

    async def aclose(self) -> None:
        self.close()

    # -- the caller

    def ask(
        self, *plans: Plan, take: int | None = None, method: str = "POST", url: str = CHAT, **options: Any
    ) -> Any:
        """Make a request whose connections do as planned; return the answer, read up to ``take`` pieces."""
        self.plans = list(plans)
        return (
            asyncio.run(self._ask_async(take, method, url, options))
            if self.is_async
            else self._ask(take, method, url, options)
        )

    def _options(self) -> dict[str, Any]:
        def pause(failures: int, wish: float | None) -> float:
            self.pauses.append((failures, wish))
            return 0.0

        return {"policy": durable.Policy(repeats=2, attempts=3, silence=SILENCE), "pause": pause}

    def _ask(self, take: int | None, method: str, url: str, options: Any) -> Any:
        transport = durable.transport(self.library, self, **self._options())
        with (
            self.library.Client(transport=transport, timeout=7.0) as client,
            client.stream(method, url, **{"content": BODY, **options}) as answer,
        ):
            answer.said = [piece for _, piece in zip(range(take or 99), answer.iter_raw(), strict=False)]
        return answer

    async def _ask_async(self, take: int | None, method: str, url: str, options: Any) -> Any:
        transport = durable.async_transport(self.library, self, **self._options())
        async with (
            self.library.AsyncClient(transport=transport, timeout=7.0) as client,
            client.stream(method, url, **{"content": BODY, **options}) as answer,
        ):
            answer.said = []
            async for piece in answer.aiter_raw():
                answer.said.append(piece)
                if len(answer.said) == take:
                    break
        return answer

    def raises(self, error: str, *plans: Plan, **options: Any) -> str:
        """Make a request that must end in an error of the library, and return what it says."""
        with pytest.raises(getattr(self.library, error)) as caught:
            self.ask(*plans, **options)
        return str(caught.value)

    def told(self, name: str) -> list[str | None]:
        """Return a header of each request."""
        return [request.headers.get(name) for request in self.requests]


class _Told:
    """A body as planned."""

    def __init__(self, world: World, plan: Says, number: int) -> None:
        self._world, self._plan, self._number = world, plan, number

    def __iter__(self) -> Iterator[bytes]:
        world, request = self._world, self._world.requests[self._number - 1]
        world.times.append(dict(request.extensions.get("timeout", {})))
        yield from self._plan.pieces
        if self._plan.error:
            raise getattr(world.library, self._plan.error)(self._plan.error)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in iter(self):
            yield piece

    def close(self) -> None:
        self._world.closed.append(self._number)

    async def aclose(self) -> None:
        self.close()


@pytest.fixture(params=["httpx-sync", "httpx-async", "httpx2-sync", "httpx2-async"])
def world(request: pytest.FixtureRequest) -> World:
    name, colour = request.param.split("-")
    return World({"httpx": httpx, "httpx2": httpx2}[name], colour)


# -- what is hidden


def test_a_cut_is_hidden(world: World) -> None:
    answer = world.ask(Says([ONE, TWO[:4]], "ReadError"), Says([TWO, END]))
    assert b"".join(answer.said) == ONE + TWO + END
    assert world.told("last-event-id") == [None, "1"]
    keys = world.told("idempotency-key")
    assert keys[0] and keys[0] == keys[1]
    assert world.told("accept-encoding") == ["identity"] * 2
    assert world.pauses == [(1, None)]


@pytest.mark.parametrize("error", ["ReadError", "RemoteProtocolError", "ReadTimeout", "ConnectError"])
def test_whatever_breaks_a_body_is_hidden(world: World, error: str) -> None:
    answer = world.ask(Says([ONE], error), Fails(error), Says([TWO, END]))
    assert b"".join(answer.said) == ONE + TWO + END


@pytest.mark.parametrize(
    "error", ["ReadError", "RemoteProtocolError", "ConnectError", "ConnectTimeout", "WriteError"]
)
def test_what_is_lost_before_the_answer_begins_is_asked_again(world: World, error: str) -> None:
    answer = world.ask(Fails(error), Fails(error), Says([ONE, END]))
    assert b"".join(answer.said) == ONE + END
    assert len(set(world.told("idempotency-key"))) == 1 and world.told("last-event-id") == [None] * 3


def test_a_key_of_the_caller_s_is_kept(world: World) -> None:
    world.ask(Says([ONE], "ReadError"), Says([END]), headers={"idempotency-key": "mine"})
    assert world.told("idempotency-key") == ["mine", "mine"]


def test_modelrelay_has_a_key_of_its_own(world: World) -> None:
    url, lines = "http://penstock.test/api/v1/responses", {**STREAM, "content-type": "application/x-ndjson"}
    answer = world.ask(
        Says([b'{"n":1}\n'], "ReadError", headers=lines), Says([b'{"n":1}\n{"n":2}'], headers=lines), url=url
    )
    assert b"".join(answer.said) == b'{"n":1}\n{"n":2}'
    keys = [*world.told("idempotency-key"), *world.told("x-modelrelay-request-id")]
    assert keys[0] and set(keys) == {keys[0]}
    world.requests.clear()
    world.ask(Says([]), url=url, headers={"idempotency-key": "mine"})
    assert world.told("x-modelrelay-request-id") == ["mine"]


def test_a_get_is_resumed_where_its_caller_stands(world: World) -> None:
    url = "http://penstock.test/v1/streams/st_1/events?cursor=a.1&until=done"
    world.ask(Says([b"id: a.2\n" + ONE], "ReadError"), Says([b"id: a.3\n" + TWO]), method="GET", url=url)
    assert [request.url.params["cursor"] for request in world.requests] == ["a.1", "a.2"]
    assert world.told("idempotency-key") == [None, None]
    other = World(world.library, "async" if world.is_async else "sync")
    headers = {"last-event-id": "a.1"}
    other.ask(
        Says([], "ReadError"), Says([b"id: a.2\n" + ONE], "ReadError"), Says(),
        method="GET", url="http://penstock.test/stream", headers=headers,
    )  # fmt: skip
    assert other.told("last-event-id") == ["a.1", "a.1", "a.2"]


def test_a_turn_of_a_task_is_watched_not_said_again(world: World) -> None:
    url = "http://penstock.test/v2/agents/a/responses"
    body = b'{"task_id":"t","message":{"parts":[1]}}'
    world.ask(Says([b"id: a.2\n" + ONE], "ReadError"), Says([b"id: a.3\n" + TWO]), url=url, content=body)
    first, second = (b"".join(request.stream) for request in world.requests)
    assert first == body and second == b'{"task_id":"t","message":{"role":"user","parts":[]}}'
    assert world.told("content-length") == [str(len(body)), str(len(second))]
    assert world.told("last-event-id") == [None, "a.2"]


def test_a_refusal_that_passes_is_waited_for(world: World) -> None:
    busy = Says([b"busy"], status=503, headers={"retry-after": "3"})
    slow = Says([b"slow down"], status=429, headers={"retry-after": "soon"})
    answer = world.ask(
        busy, slow, Says([ONE], "ReadError"), busy, Says([b"?"], status=502, headers={}), Says([END])
    )
    assert b"".join(answer.said) == ONE + END
    assert world.pauses == [(1, 3.0), (2, None), (1, None), (2, 3.0), (3, None)]
    assert len(set(world.told("idempotency-key"))) == 1
    assert world.closed[:6] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("status", [429, 502, 504])
def test_an_answer_that_failed_has_failed_for_its_key(world: World, status: int) -> None:
    """The SDK may ask anew, with another key; a server that is busy is waited for."""
    ours = {"retry-after": "1", "x-should-retry": "true"}
    failed, busy = (Says([b"no"], status=number, headers=ours) for number in (status, 503))
    assert world.ask(failed).status_code == status
    world.requests.clear()
    assert world.ask(busy, Says([END])).status_code == 200
    world.requests.clear()
    world.raises("RemoteProtocolError", Says([b": ka\n"], "ReadError"), busy, failed)


def test_one_json_text_is_kept_whole(world: World) -> None:
    headers = {"content-type": "application/json", "content-length": "7"}
    answer = world.ask(Says([b'{"a"'], "ReadError", headers=headers), Says([b'{"a":1}'], headers=headers))
    assert b"".join(answer.said) == b'{"a":1}' and world.closed[:2] == [1, 2]


def test_an_end_that_nothing_vouches_for_is_asked_about(world: World) -> None:
    """A body that is over when its connection is may have been cut."""
    bare = {name: text for name, text in STREAM.items() if name != "transfer-encoding"}
    answer = world.ask(Says([ONE], headers=bare), Says([TWO, END], headers=bare), Says([], headers=bare))
    assert b"".join(answer.said) == ONE + TWO + END and world.told("last-event-id") == [None, "1", "3"]


# -- limits


def test_silence_has_a_limit_of_its_own_once_an_answer_has_begun(world: World) -> None:
    world.ask(Fails("ConnectError"), Says([ONE], "ReadTimeout"), Fails("ReadTimeout"), Says([END]))
    assert [times["read"] for times in world.times] == [7.0, SILENCE, SILENCE, SILENCE]
    assert {times["connect"] for times in world.times} == {7.0}


def test_how_long_an_answer_may_take_to_begin_is_the_caller_s_limit(world: World) -> None:
    world.raises("ReadTimeout", Fails("ReadTimeout"))
    assert len(world.requests) == 1


def test_tries_are_counted_from_the_last_progress(world: World) -> None:
    cut, again = Says([], "ReadError"), Says([ONE], "ReadError")
    answer = world.ask(cut, cut, again, cut, cut, Says([TWO], "ReadError"), cut, cut, Says([END]))
    assert b"".join(answer.said) == ONE + TWO + END
    assert [failures for failures, _ in world.pauses] == [1, 2, 1, 2, 3, 1, 2, 3]


def test_there_is_an_end_to_trying(world: World) -> None:
    why = world.raises("RemoteProtocolError", Says([ONE], "ReadError"), *[Says([], "ReadError")] * 3)
    assert (
        why == "cannot go on with stream st_1 after 1: 4 tries in a row have failed, the last with: ReadError"
    )
    world.requests.clear()
    world.raises("ConnectError", *[Fails("ConnectError")] * 3)
    world.requests.clear()
    busy = Says([b"busy"], status=503, headers={"retry-after": "1"})
    assert world.ask(*[busy] * 3).status_code == 503


# -- what is not hidden


@pytest.mark.parametrize("status", [400, 401, 409, 410, 500, 502])
def test_a_refusal_is_the_caller_s_to_see(world: World, status: int) -> None:
    answer = world.ask(Says([b"no"], status=status, headers={"content-type": "text/plain"}))
    assert (answer.status_code, b"".join(answer.said)) == (status, b"no")


def test_a_gap_is_an_error_that_says_why(world: World) -> None:
    gone = Says(
        [b'{"error":{"code":"cursor_gone"}}'], status=410, headers={"content-type": "application/json"}
    )
    why = world.raises("RemoteProtocolError", Says([ONE], "ReadError"), gone)
    assert (
        why
        == 'cannot go on with stream st_1 after 1: the server answered 410: {"error":{"code":"cursor_gone"}}'
    )


@pytest.mark.parametrize("headers", [
    {**STREAM, "penstock-stream": "st_2"},
    {"content-type": "text/event-stream"},
    {**STREAM, "content-encoding": "gzip"},
])  # fmt: skip
def test_another_stream_is_no_continuation(world: World, headers: dict[str, str]) -> None:
    why = world.raises("RemoteProtocolError", Says([ONE], "ReadError"), Says([TWO], headers=headers))
    assert why.startswith("cannot go on with stream st_1 after 1: the server answered with something else")
    assert world.closed[:2] == [1, 2]


def test_a_connection_that_is_broken_on_purpose_is_broken(world: World) -> None:
    failure = b'data: {"chunk_type":"error","error_type":"upstream"}\n\n'
    world.raises("ReadError", Says([ONE, failure], "ReadError"))


@pytest.mark.parametrize("headers", [
    {"content-type": "text/event-stream"},
    {"content-type": "text/html", "penstock-stream": "st_1"},
    {**STREAM, "content-encoding": "gzip"},
])  # fmt: skip
def test_other_answers_pass_as_they_are(world: World, headers: dict[str, str]) -> None:
    answer = world.ask(Says([b"da", b"ta: 1"], headers=headers))
    assert answer.said == [b"da", b"ta: 1"]
    world.requests.clear()
    world.raises("ReadError", Says([b"da"], "ReadError", headers=headers))


def test_what_the_server_would_do_twice_is_not_asked_again(world: World) -> None:
    url = "http://penstock.test/v1/streams/st_1/messages"
    world.raises("ReadError", Fails("ReadError"), url=url)
    assert world.told("idempotency-key") == [None]
    world.requests.clear()
    answer = world.ask(Fails("ConnectError"), Says([ONE]), url=url)  # nobody has heard of it
    assert answer.said == [ONE]


def test_a_body_that_cannot_be_sent_twice_is_sent_once(world: World) -> None:
    def pieces() -> Iterator[bytes]:
        yield BODY

    async def async_pieces() -> AsyncIterator[bytes]:
        yield BODY

    content = async_pieces() if world.is_async else pieces()
    world.raises("ReadError", Says([ONE], "ReadError"), content=content)
    assert world.told("idempotency-key") == [None]


@pytest.mark.parametrize("error", ["PoolTimeout", "LocalProtocolError", "UnsupportedProtocol", "ProxyError"])
def test_faults_of_the_caller_s_own_are_raised(world: World, error: str) -> None:
    world.raises(error, Fails(error))


# -- closing


def test_leaving_early_closes_the_connection(world: World) -> None:
    world.ask(Says([ONE, TWO], "ReadError"), take=1)
    assert world.closed[0] == 1 and len(world.requests) == 1
    world.requests.clear()
    world.closed.clear()
    world.ask(Says([ONE], "ReadError"), Says([TWO, END], "ReadError"), take=2)
    assert world.closed[:2] == [1, 2] and world.closed[-1] == 0


async def test_cancellation_ends_a_wait() -> None:
    world = World(httpx2, "async")
    world.plans = [Says([ONE], "ReadError")]
    waiting = asyncio.Event()

    def pause(failures: int, wish: float | None) -> float:
        waiting.set()
        return 3600.0

    transport = durable.async_transport(httpx2, world, pause=pause)
    async with httpx2.AsyncClient(transport=transport) as client:
        task = asyncio.create_task(client.post(CHAT, content=BODY))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert world.closed[-1] == 0 and 1 in world.closed


def test_transports_are_what_their_library_calls_one() -> None:
    for library in (httpx, httpx2):
        assert isinstance(durable.transport(library), library.BaseTransport)
        assert isinstance(durable.async_transport(library), library.AsyncBaseTransport)


@pytest.mark.parametrize("wish", [None, 4.0])
def test_waits_are_jittered_but_for_a_wish(wish: float | None) -> None:
    temper = Temper(durable.Policy(first=1.0, longest=16.0))
    found = {temper.wait(5, wish) for _ in range(20)}
    assert found == {4.0} if wish else len(found) > 10 and max(found) <= 16
