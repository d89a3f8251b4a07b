"""The official ``openai`` client for Python, in both colours, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from pydantic import BaseModel

from serving import Server, create_key
from upstream import Upstream, refusal

Completion = Any
"""A ``ChatCompletion``; the SDK's types do not name the reasoning that vendors send."""


class Person(BaseModel):
    name: str
    age: int
    mood: Literal["calm", "merry"]
    nickname: str | None


class GetTide(BaseModel):
    port: str


class GetWeather(BaseModel):
    city: str


TIDE, WEATHER = openai.pydantic_function_tool(GetTide), openai.pydantic_function_tool(GetWeather)
NAMED: Final = {"type": "function", "function": {"name": "GetWeather"}}
SCHEMA: Final = {"name": "person", "strict": True, "schema": Person.model_json_schema()}


def asked(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": text}], **members}


BOTH: Final = "Ask GetTide for Brest and GetWeather for Lyon, 50 words"
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "text": asked("Tell me about rivers in 40 words"),
    "reasoning": asked("Tell me about rivers in 40 words", reasoning_effort="low"),
    "required tool": asked("The tide in Brest?", tools=[TIDE], tool_choice="required"),
    "named tool": asked("Rivers", tools=[TIDE, WEATHER], tool_choice=NAMED),
    "parallel tools": asked(BOTH, tools=[TIDE, WEATHER]),
    "schema": asked("A person", response_format={"type": "json_schema", "json_schema": SCHEMA}),
    "any JSON": asked("A person", response_format={"type": "json_object"}),
    "two choices": asked("Tell me about rivers in 60 words", n=2),
    "stop": asked("Tell me about rivers in 40 words", stop=["river", "."]),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("openai")) as server:
        yield server


@pytest.fixture(scope="module")
def murmuring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that sends keepalives between any two deltas."""
    with Server(tmp_path_factory.mktemp("murmuring"), keepalive=0.005) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with _client(server) as client:
        yield client


@pytest.fixture
async def aclient(server: Server) -> AsyncIterator[AsyncOpenAI]:
    async with _aclient(server) as client:
        yield client


def _client(server: Server, key: str = "none") -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def _aclient(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def folded(chunks: Iterable[Any]) -> Completion:
    """Fold chunks as the SDK's own accumulator does, which raises when an answer met its limit."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    try:
        return state.get_final_completion()
    except openai.LengthFinishReasonError as exc:
        return exc.completion


def essence(completion: Completion) -> list[dict[str, Any]]:
    """What a completion says, without its ids and times."""
    return [
        {
            "index": choice.index,
            "text": _value(choice.message.content or ""),
            "refusal": choice.message.refusal or "",
            "reasoning": getattr(choice.message, "reasoning_content", ""),
            "tool_calls": [_call(call) for call in choice.message.tool_calls or ()],
            "finish_reason": choice.finish_reason,
        }
        for choice in completion.choices
    ]


def _value(text: str) -> Any:
    """Return what JSON stands for, since a value may be spelled in several ways, and other text as it is."""
    return json.loads(text) if text.startswith("{") and text.endswith("}") else text


def _call(call: Any) -> dict[str, str]:
    return {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}


# -- one answer, whichever way it is read


@pytest.mark.parametrize("name", SHAPES)
async def test_every_way_of_reading_gives_the_same_answer(aclient: AsyncOpenAI, name: str) -> None:
    body: Any = SHAPES[name]
    usage: Any = {"stream_options": {"include_usage": True}}

    async def iterated() -> Completion:
        return folded(
            [chunk async for chunk in await aclient.chat.completions.create(**body, **usage, stream=True)]
        )

    async def accumulated() -> Completion:
        async with aclient.chat.completions.stream(**body, **usage) as stream:
            return await stream.get_final_completion()

    whole, *streamed = await asyncio.gather(
        aclient.chat.completions.create(**body), iterated(), accumulated()
    )
    for completion in streamed:
        assert essence(completion) == essence(whole)
        assert completion.usage.total_tokens == whole.usage.total_tokens > 0


@pytest.mark.parametrize("name", ["text", "parallel tools", "schema"])
def test_the_blocking_client_reads_the_same(client: OpenAI, name: str) -> None:
    body: Any = SHAPES[name]
    whole = client.chat.completions.create(**body)
    with client.chat.completions.stream(**body) as stream:
        assert essence(stream.get_final_completion()) == essence(whole)
    assert essence(folded(client.chat.completions.create(**body, stream=True))) == essence(whole)


@pytest.mark.parametrize("name", ["text", "parallel tools", "schema"])
def test_keepalives_are_invisible(murmuring: Server, name: str) -> None:
    body: Any = SHAPES[name]
    with _client(murmuring) as client:
        raw = client.chat.completions.with_raw_response.create(**body, stream=True)
        assert raw.http_response.read().count(b": ka\n") > 2
        whole = client.chat.completions.create(**body)
        with client.chat.completions.stream(**body) as stream:
            assert essence(stream.get_final_completion()) == essence(whole)


# -- what an answer says


def test_text_arrives_in_pieces(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(**SHAPES["text"], stream=True))
    said = [chunk.choices[0].delta.content for chunk in chunks]
    assert len(said) > 12
    assert chunks[0].choices[0].delta.role == "assistant" and said[0] == ""
    assert "très fiable" in "".join(text or "" for text in said)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_last_and_alone(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    *before, last = client.chat.completions.create(**SHAPES["text"], stream=True, stream_options=options)
    assert last.choices == [] and last.usage.completion_tokens > 24
    assert all(chunk.choices and chunk.usage is None for chunk in before)


def test_reasoning_comes_before_text(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(**SHAPES["reasoning"], stream=True))
    thought = [bool(getattr(chunk.choices[0].delta, "reasoning_content", None)) for chunk in chunks]
    text = [bool(chunk.choices[0].delta.content) for chunk in chunks]
    assert any(thought) and any(text)
    assert len(thought) - thought[::-1].index(True) <= text.index(True)


def test_choices_are_told_apart(client: OpenAI) -> None:
    first, second = client.chat.completions.create(**SHAPES["two choices"]).choices
    assert (first.index, second.index) == (0, 1)
    assert first.message.content and second.message.content
    assert first.message.content != second.message.content


def test_a_stop_text_ends_the_answer_before_itself(client: OpenAI) -> None:
    [choice] = client.chat.completions.create(**SHAPES["stop"]).choices
    assert choice.finish_reason == "stop"
    assert (
        choice.message.content and "river" not in choice.message.content and "." not in choice.message.content
    )


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_is_kept(client: OpenAI, name: str) -> None:
    body = {**SHAPES["text"], name: 7}
    completion = client.chat.completions.create(**body)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 7
    with (
        client.chat.completions.stream(**body) as stream,
        pytest.raises(openai.LengthFinishReasonError) as caught,
    ):
        stream.get_final_completion()
    assert essence(caught.value.completion) == essence(completion)


# -- tools


def test_a_named_tool_is_the_one_that_is_called(client: OpenAI) -> None:
    completion = client.chat.completions.parse(**SHAPES["named tool"])
    calls = completion.choices[0].message.tool_calls or []
    assert [type(call.function.parsed_arguments).__name__ for call in calls] == ["GetWeather"]
    assert completion.choices[0].finish_reason == "tool_calls"


def test_tools_are_called_side_by_side_and_their_results_taken(client: OpenAI) -> None:
    body = SHAPES["parallel tools"]
    with client.chat.completions.stream(**body) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = message.tool_calls or []
    assert [type(call.function.parsed_arguments).__name__ for call in calls] == ["GetTide", "GetWeather"]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"answer": 40 + n})}
        for n, call in enumerate(calls)
    ]
    messages = [*body["messages"], message.to_dict(), *results]
    answer = client.chat.completions.create(**{**body, "messages": messages}).choices[0]
    assert answer.finish_reason == "stop" and not answer.message.tool_calls
    assert "40" in answer.message.content and "41" in answer.message.content


def test_calls_spoken_at_once_arrive_one_after_the_other(client: OpenAI) -> None:
    """The SDK parses the arguments of a call as soon as another call speaks."""
    chunks = client.chat.completions.create(**SHAPES["parallel tools"], stream=True)
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    order = [call.index for call in calls]
    assert set(order) == {0, 1} and order == sorted(order)
    assert [call.index for call in calls if call.id] == [0, 1]


# -- structured output


def test_a_schema_is_met(client: OpenAI) -> None:
    body = {key: value for key, value in SHAPES["schema"].items() if key != "response_format"}
    parsed = client.chat.completions.parse(**body, response_format=Person).choices[0].message.parsed
    with client.chat.completions.stream(**body, response_format=Person) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Person) and parsed == streamed


def test_json_is_json(client: OpenAI) -> None:
    [choice] = client.chat.completions.create(**SHAPES["any JSON"]).choices
    assert json.loads(choice.message.content)


# -- models


def test_models_are_listed_and_described(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["demo", "demo-fail", "demo-fast", "demo-silent", "demo-slow"]
    assert client.models.retrieve("demo-slow").id == "demo-slow"


# -- resuming


@pytest.mark.parametrize("name", ["reasoning", "parallel tools", "two choices"])
async def test_an_answer_is_resumed_after_any_chunk(aclient: AsyncOpenAI, name: str) -> None:
    body: Any = SHAPES[name]

    async def read(**headers: str) -> list[Any]:
        told = {"idempotency-key": f"resume {name}", **headers}
        return [
            chunk
            async for chunk in await aclient.chat.completions.create(**body, stream=True, extra_headers=told)
        ]

    whole = await read()
    for cut in range(1, len(whole) + 1):
        assert whole[:cut] + await read(**{"last-event-id": str(cut)}) == whole


# -- errors


NOWHERE: Final = {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/nowhere"}}}
REFUSED: Final = {
    "bad body": (asked("hi", temperature="warm"), openai.BadRequestError, 400, "temperature"),
    "nothing to answer": ({"model": "demo", "messages": []}, openai.BadRequestError, 400, "messages"),
    "bad schema": (asked("hi", response_format=NOWHERE), openai.BadRequestError, 400, None),
    "too large": (asked("x" * 5000), openai.APIStatusError, 413, None),
}  # fmt: skip


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes small bodies only."""
    with Server(tmp_path_factory.mktemp("strict"), max_body=4096) as server:
        yield server


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_raises_the_sdk_s_own_error(strict: Server, name: str, stream: bool) -> None:
    body, kind, status, field = REFUSED[name]
    with _client(strict) as client, pytest.raises(kind) as caught:
        client.chat.completions.create(**body, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.type == "invalid_request_error"
    assert field in (None, caught.value.param)


def test_an_idempotency_key_stands_for_one_body(client: OpenAI) -> None:
    headers = {"idempotency-key": "one body"}
    first = client.chat.completions.create(**asked("rivers"), extra_headers=headers)
    assert client.chat.completions.create(**asked("rivers"), extra_headers=headers).id == first.id
    with pytest.raises(openai.ConflictError) as caught:
        client.chat.completions.create(**asked("lakes"), extra_headers=headers)
    assert caught.value.type == "conflict_error"


def test_keys_decide_who_may_ask(tmp_path: Path) -> None:
    reading = create_key(tmp_path, "run:read")
    with Server(tmp_path) as server:
        with (
            _client(server, "penstock_live_no_key") as client,
            pytest.raises(openai.AuthenticationError) as unknown,
        ):
            client.chat.completions.create(**asked("rivers"))
        with _client(server, reading) as client:
            assert client.models.list().data
            with pytest.raises(openai.PermissionDeniedError) as forbidden:
                client.chat.completions.create(**asked("rivers"))
    assert unknown.value.code == "invalid_api_key"
    assert forbidden.value.type == "permission_error"


UPSTREAM_SAYS: Final = {
    "429": (429, openai.RateLimitError, 429, "rate_limit_exceeded"),
    "500": (500, openai.InternalServerError, 502, "upstream"),
    "400": (400, openai.BadRequestError, 400, "upstream"),
}


async def test_an_upstream_s_refusal_raises_the_sdk_s_own_error(tmp_path: Path) -> None:
    scripts = {name: refusal(says[0], {"error": {"message": "no"}}) for name, says in UPSTREAM_SAYS.items()}
    with Upstream(scripts) as upstream:
        config = f'''
            [upstreams.real]
            url = "{upstream.url}"
            retries = 0
            models = {{ 429 = "429", 500 = "500", 400 = "400" }}
            [upstreams.nobody]
            url = "http://127.0.0.1:9/v1"
            retries = 0
            models = {{ nobody = "nobody" }}
        '''
        with Server(tmp_path, config) as server:
            cases = {
                **UPSTREAM_SAYS,
                "nobody": (0, openai.InternalServerError, 502, "upstream_unavailable"),
                "missing": (0, openai.NotFoundError, 404, "model_not_found"),
            }
            for name, (_, kind, status, code) in cases.items():
                body: Any = {**asked("rivers"), "model": name}
                for stream in (False, True):
                    async with _aclient(server) as client:
                        with pytest.raises(kind) as caught:
                            await client.chat.completions.create(**body, stream=stream)
                    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_a_failure_in_mid_stream_raises_in_mid_stream(client: OpenAI) -> None:
    body: Any = {**SHAPES["text"], "model": "demo-fail"}
    chunks: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        chunks.extend(client.chat.completions.create(**body, stream=True))
    assert any(chunk.choices[0].delta.content for chunk in chunks)
    assert isinstance(caught.value.code, str)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**body)


# -- recorded answers of real providers


CASES: Final = Path(__file__).parents[2] / "cases" / "openai-chat"
INDEX: Final = json.loads((CASES / "index.json").read_text())["recordings"]
FAILED: Final = [
    entry["file"]
    for entry in INDEX
    if "error" in entry["expected"] or None in (c["finish_reason"] for c in entry["expected"]["choices"])
]
"""Recordings that end in an error, or before every choice has its finish reason."""
ANSWERS: Final = {entry["file"]: entry["expected"] for entry in INDEX if entry["file"] not in FAILED}


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that replays the recordings, each under its own name."""
    config = f"[upstreams.tape]\nreplay = {json.dumps(str(CASES))}"
    with Server(tmp_path_factory.mktemp("tape"), config) as server:
        yield server


async def _replayed(server: Server, file: str) -> Completion:
    body: Any = {**asked("anything"), "model": file.removesuffix(".sse")}
    async with _aclient(server) as client:
        chunks = [chunk async for chunk in await client.chat.completions.create(**body, stream=True)]
    return folded(chunks)


@pytest.mark.parametrize("file", ANSWERS)
async def test_a_recorded_answer_arrives_as_it_was_meant(tape: Server, file: str) -> None:
    expected = [
        {"refusal": "", "reasoning": "", "tool_calls": [], **choice, "text": _value(choice["text"])}
        for choice in ANSWERS[file]["choices"]
    ]
    assert essence(await _replayed(tape, file)) == expected


@pytest.mark.parametrize("file", FAILED)
async def test_a_recorded_failure_raises(tape: Server, file: str) -> None:
    with pytest.raises(openai.APIError):
        await _replayed(tape, file)
