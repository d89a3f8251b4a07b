"""Penstock in front of a model endpoint that behaves in every way such endpoints do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import pytest

from serving import Server
from upstream import DONE, HEAD, Script, Upstream, chunk, hang, refusal, reset, sse, tries

KEY: Final = "sk-the-secret-of-the-upstream"
WHOLE: Final = (chunk("Hel"), chunk("lo"), chunk(finish="stop"), DONE)
ERROR: Final = b'data: {"error": {"message": "out of luck", "code": "luck"}}\n\n'
PLAIN: Final = {"error": {"message": "no, thank you"}}
TELLTALE: Final = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}


def endless(connection: socket.socket, attempt: int) -> None:
    connection.sendall(HEAD)
    while True:
        connection.sendall(chunk("and "))
        time.sleep(0.05)  # the pace of a model


def mute(connection: socket.socket, attempt: int) -> None:
    connection.recv(1)


class Fails(NamedTuple):
    """How an answer fails: what is said before, the code, and the status if nothing is."""

    code: str
    status: int
    text: str = ""
    tries: int = 1


ANSWERS: Final[dict[str, Script]] = {
    "plain": sse(*WHOLE),
    "byte by byte": sse(*(bytes([byte]) for byte in b"".join(WHOLE))),
    "CRLF": sse(b"".join(WHOLE).replace(b"\n", b"\r\n")),
    "CR": sse(b"".join(WHOLE).replace(b"\n", b"\r")),
    "comments": sse(b": hello\n\n", *(b": still here\n\n" + block for block in WHOLE)),
    "without [DONE]": sse(*WHOLE[:-1]),
    "broken after the end": reset(*WHOLE),
    "429, then 503, then well": tries(
        refusal(429, PLAIN, retry_after="0"), refusal(503, PLAIN, retry_after_ms="1"), sse(*WHOLE)
    ),
    "429, later well": tries(refusal(429, PLAIN, retry_after="1"), sse(*WHOLE), sse(*WHOLE)),
}
FAILURES: Final[dict[str, tuple[Script, Fails]]] = {
    "always 429": (refusal(429, PLAIN, retry_after="0"), Fails("rate_limit_exceeded", 429, tries=3)),
    "always 500": (refusal(500, PLAIN, retry_after="0"), Fails("upstream", 502, tries=3)),
    "400": (refusal(400, PLAIN), Fails("upstream", 400)),
    "401": (refusal(401, TELLTALE), Fails("upstream", 502)),
    "403": (refusal(403, TELLTALE), Fails("upstream", 502)),
    "JSON for a stream": (refusal(200, {"choices": []}), Fails("bad_upstream", 502)),
    "nothing": (sse(), Fails("truncated", 502)),
    "not SSE's JSON": (sse(b"data: {oops}\n\n"), Fails("bad_upstream", 502)),
    "not JSON after some words, at once": (
        sse(WHOLE[0] + b"data: {oops}\n\n"), Fails("bad_upstream", 502, "Hel")
    ),
    "closed in the middle": (sse(*WHOLE[:2]), Fails("truncated", 502, "Hello")),
    "closed in a frame": (sse(WHOLE[0], WHOLE[1][:-30]), Fails("truncated", 502, "Hel")),
    "broken in the middle": (reset(*WHOLE[:2]), Fails("truncated", 502, "Hello")),
    "[DONE] too early": (sse(*WHOLE[:2], DONE), Fails("truncated", 502, "Hello")),
    "an error in the middle": (sse(WHOLE[0], ERROR), Fails("luck", 502, "Hel")),
    "silent in the middle": (hang(*WHOLE[:2]), Fails("timeout", 504, "Hello")),
    "silent from the beginning": (mute, Fails("timeout", 504)),
}  # fmt: skip


class Chain(NamedTuple):
    """A Penstock server, and the endpoint behind it."""

    server: Server
    upstream: Upstream


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    (folder / "key").write_text(KEY + "\n")
    scripts = {**ANSWERS, "endless": endless, **{name: script for name, (script, _) in FAILURES.items()}}
    with Upstream(scripts) as upstream:
        config = f"""
            [upstreams.scripted]
            url = "{upstream.url}"
            key = "file:{folder / "key"}"
            [upstreams.nobody]
            url = "http://127.0.0.1:9/v1"
            retries = 0
            models = {{ nobody = "nobody" }}
        """
        with Server(folder, config, idle_timeout=2) as server:
            yield Chain(server, upstream)


def native(server: Server, model: str, **members: Any) -> list[dict[str, Any]]:
    """Return the events of an answer."""
    answer = httpx2.post(
        f"{server.url}/v1/streams", json={"model": model, "input": "hi", **members},
        headers={"accept": "application/x-ndjson"}, timeout=60,
    )  # fmt: skip
    return [json.loads(line) for line in answer.text.splitlines() if line]


def chat(server: Server, model: str) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    return httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "part.delta")


# -- answers


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "429, later well"])
def test_an_answer_arrives_however_it_is_sent(chain: Chain, name: str) -> None:
    events = native(chain.server, name)
    assert said(events) == "Hello"
    assert events[-1]["type"] == "response.done" and events[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["always 429", "always 500", "400", "401"])
def test_a_refusal_is_asked_again_as_often_as_configured(chain: Chain, name: str) -> None:
    asked = chain.upstream.requests[name]
    before = len(asked)
    native(chain.server, name)
    assert len(asked) - before == FAILURES[name][1].tries


def test_the_upstream_says_when_to_ask_again(chain: Chain) -> None:
    began = time.monotonic()
    assert said(native(chain.server, "429, later well")) == "Hello"
    assert time.monotonic() - began >= 1


def test_the_upstream_is_asked_in_its_own_words(chain: Chain) -> None:
    native(chain.server, "plain", instructions="be brief", temperature=0.5)
    headers, body = chain.upstream.requests["plain"][-1]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert body["temperature"] == 0.5 and body["stream"] is True


# -- failures


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_spoken_in_the_stream(chain: Chain, name: str) -> None:
    expected = FAILURES[name][1]
    events = native(chain.server, name)
    assert said(events) == expected.text
    assert events[-1]["type"] == "response.failed" and events[-1]["code"] == expected.code, events[-1]
    assert sum(event["type"] == "response.failed" for event in events) == 1


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_spoken_to_chat_clients(chain: Chain, name: str) -> None:
    expected = FAILURES[name][1]
    answer = chat(chain.server, name)
    if expected.text:
        *_, last = answer.text.removesuffix("\n\n").split("\n\n")
        assert answer.status_code == 200 and "data: [DONE]" not in answer.text
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == expected.code
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (expected.status, expected.code)


def test_nobody_there(chain: Chain) -> None:
    answer = chat(chain.server, "nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
    assert native(chain.server, "nobody")[-1]["code"] == "upstream_unavailable"


def test_an_answer_that_takes_too_long_is_ended(chain: Chain) -> None:
    events = native(chain.server, "endless", max_time=1)
    assert said(events) and events[-1]["code"] == "max_time"


@pytest.mark.parametrize("name", ["401", "403"])
def test_the_key_is_told_to_nobody(chain: Chain, name: str) -> None:
    told = chat(chain.server, name).text + json.dumps(native(chain.server, name))
    assert KEY not in told and KEY not in chain.server.log
    stored = (file for file in (chain.server.folder / "penstock-data").iterdir())
    assert not any(KEY.encode() in file.read_bytes() for file in stored)


# -- Penstock behind Penstock


def test_what_is_asked_natively_falls_back_and_is_checked(tmp_path: Path) -> None:
    value = sse(chunk('{"n": 1}'), chunk(finish="stop"), DONE)
    prose = sse(chunk("Sure: one"), chunk(finish="stop"), DONE)
    scripts = {"dead": refusal(500, PLAIN), "alive": tries(prose, value)}
    with Upstream(scripts) as upstream:
        config = f'[upstreams.up]\nurl = "{upstream.url}"\nretries = 0'
        with Server(tmp_path, config) as server:
            found = native(
                server, "dead", fallbacks=[{"model": "alive", "options": {"seed": 7}}], attempts=2,
                output_schema={"type": "object", "required": ["n"]},
            )  # fmt: skip
    notes = [event["data"] for event in found if event["type"] == "custom"]
    assert [(note["model"], note["code"]) for note in notes] == [
        ("dead", "upstream"), ("alive", "output_invalid"),
    ]  # fmt: skip
    assert [event["part"]["value"] for event in found if event["type"] == "part.done"] == [{"n": 1}]
    assert [request.body["seed"] for request in upstream.requests["alive"]] == [7, 7]


def test_penstock_behind_penstock_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    (tmp_path / "front").mkdir()
    with Server(tmp_path / "back") as back:
        config = f'[upstreams.back]\nurl = "{back.url}/v1"'
        with Server(tmp_path / "front", config) as front:
            tool = {"name": "get_tide", "parameters": {"type": "object", "properties": {"port": {}}}}
            for members in (
                {"input": "think step by step, in 20 words"},
                {"input": "the tide", "tools": [tool], "tool_choice": {"mode": "required"}},
                {"input": "rivers in 20 words", "choices": 2},
            ):
                parts = [_parts(native(server, "demo", **members)) for server in (back, front)]
                assert parts[0] == parts[1] and parts[0], members


def _parts(events: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Return each whole part with its choice."""
    choices = {
        event["part_id"]: event.get("choice", 0) for event in events if event["type"] == "part.started"
    }
    done = [(choices[event["part_id"]], event["part"]) for event in events if event["type"] == "part.done"]
    return sorted(done, key=str)
