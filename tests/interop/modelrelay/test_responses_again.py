"""
The same call again: section 6.2 of the contract.

The SDKs send a call up to three times, with one request id if the caller gave
it one. The same caller, id and body are one generation, told from its beginning.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from interop.modelrelay.reading import SSE, V1, V2, ask, asked, asking, records, records_v1
from interop.opper.stage import Keyed, Stage, after, says
from serving import Server

NUMBERS: Final = count()


@pytest.fixture
def name() -> str:
    """A request id that nobody has used."""
    return f"call {next(NUMBERS)}"


@pytest.mark.parametrize("accept", [V2, V1, SSE])
def test_three_copies_at_once_are_one_generation(stage: Stage, name: str, accept: str) -> None:
    told = threading.Event()
    body = asked(stage.plays(after(told.wait, says("once ", "only"))))
    with ExitStack() as stack:
        copies = [
            stack.enter_context(asking(stage.url, body, accept, x_modelrelay_request_id=name))
            for _ in range(3)
        ]
        begun = [copy.chunk() for copy in copies]
        told.set()
        answers = [copy.rest() for copy in copies]
    assert len(stage.bodies(body["model"])) == 1
    assert begun[0] and begun == [begun[0]] * 3
    assert answers[0].ended and b"only" in answers[0].body
    assert [answer.body for answer in answers] == [answers[0].body] * 3


def test_copies_of_a_call_without_streaming_too(stage: Stage, name: str) -> None:
    told = threading.Event()
    body = asked(stage.plays(after(told.wait, says("once"))))
    with ThreadPoolExecutor(3) as pool, asking(stage.url, body, x_modelrelay_request_id=name) as reading:
        copies = [pool.submit(ask, stage.url, body, "", x_modelrelay_request_id=name) for _ in range(3)]
        first = reading.chunk()
        told.set()
        documents = [copy.result().json for copy in copies]
    assert len(stage.bodies(body["model"])) == 1
    assert documents == [documents[0]] * 3 and documents[0]["id"].encode() in (first or b"")


def test_a_replay_has_the_same_records_each_in_a_chunk(stage: Stage, name: str) -> None:
    """However fast it is: Rust fails at a chunk with more than 512."""
    pieces = [f"{n} 🌊 " for n in range(700)]
    body = asked(stage.says(*pieces))
    live = ask(stage.url, body, x_modelrelay_request_id=name)
    for answer in (live, ask(stage.url, body, x_modelrelay_request_id=name)):
        assert [record["delta"] for record in records(answer)[1:-1]] == pieces
        assert answer.chunks == live.chunks
    assert len(stage.bodies(body["model"])) == 1


def test_a_replay_may_be_read_in_another_way(stage: Stage, name: str) -> None:
    body = asked(stage.says("once"))
    said = records(ask(stage.url, body, x_modelrelay_request_id=name))[-1]
    again = records_v1(ask(stage.url, body, V1, x_modelrelay_request_id=name))
    whole = ask(stage.url, body, "", x_modelrelay_request_id=name)
    assert said["request_id"] == again[0]["response_id"] == whole.json["id"]
    assert len(stage.bodies(body["model"])) == 1
    assert whole.headers["x-modelrelay-request-id"] == name


@pytest.mark.parametrize("accept", [V2, ""])
def test_an_id_stands_for_one_body(stage: Stage, name: str, accept: str) -> None:
    assert ask(stage.url, asked("house"), x_modelrelay_request_id=name).ended
    answer = ask(stage.url, asked("house", "something else"), accept, x_modelrelay_request_id=name)
    assert answer.status == 409 and b'"code":"CONFLICT"' in answer.body


def test_without_an_id_nothing_is_the_same(stage: Stage) -> None:
    body = asked(stage.says("twice"))
    first, second = (records(ask(stage.url, body))[0]["request_id"] for _ in range(2))
    assert first != second and len(stage.bodies(body["model"])) == 2


def test_another_caller_s_id_is_another_call(keyed: Keyed, name: str) -> None:
    body = asked(keyed.stage.says("twice"))
    for key in (keyed.writing, keyed.other):
        answer = ask(keyed.stage.url, body, x_modelrelay_api_key=key, x_modelrelay_request_id=name)
        assert records(answer)[-1]["content"] == "twice"
    assert len(keyed.stage.bodies(body["model"])) == 2


def test_an_answer_outlives_the_server(tmp_path: Path, name: str) -> None:
    body = asked("demo-fast", "Tell me about rivers in 40 words")
    with Server(tmp_path) as server:
        before = ask(server.url, body, x_modelrelay_request_id=name)
        server.kill()
        server.start()
        after = ask(server.url, body, x_modelrelay_request_id=name)
    assert records(after) == records(before) and after.chunks == before.chunks
