"""The published Python package ``droste``, an independent client of the same endpoints, unmodified."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Final

import pytest
from droste.clients.modelrelay import (  # type: ignore[import-untyped]
    ModelRelayClient,
    ModelRelaySubcallClient,
)
from droste.execution.context import ExecutionContext  # type: ignore[import-untyped]

from interop.opper.stage import END, Keyed, Stage, Tap, after, paused, says, used
from interop.opper.values import TEXT
from upstream import Script, chunk, refusal, reset, sse

ASKED: Final = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi 🌊"}]
COUNTED: Final = sse(*map(chunk, TEXT), *END[:1], used(9, 4), *END[1:])


class Root:
    """A user of the client, with streaming or without."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        streams: bool,
        prefix: str = "/api/v1",
        key: str = "any",
        **options: Any,
    ) -> None:
        self.heard: list[str] = []
        self.client = ModelRelayClient(
            model=model, base_url=url + prefix, api_key=key,
            on_delta=self.heard.append if streams else None, **options,
        )  # fmt: skip

    def ask(self) -> tuple[str, Any]:
        """Return the text and what it cost."""
        text, usage = self.client.responses_create(ASKED, "", return_usage=True)
        return text, usage


@pytest.fixture(params=[True, False], ids=["streaming", "whole"])
def streams(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("prefix", ["/api/v1", "", "/v7/"])
def test_an_answer_its_ids_and_its_cost(stage: Stage, streams: bool, prefix: str) -> None:
    model = stage.plays(COUNTED)
    root = Root(stage.url, model, streams=streams, prefix=prefix)
    text, usage = root.ask()
    assert text == "".join(TEXT) and root.heard == [*TEXT] * streams
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 4, 13)
    assert usage.exact and usage == root.client.total_usage
    assert root.client.last_response_id and root.client.last_provider
    assert (root.client.last_model, root.client.last_stop_reason) == (model, "end_turn")


def test_a_cost_that_nobody_counted_is_not_exact(stage: Stage, streams: bool) -> None:
    text, usage = Root(stage.url, stage.says("well"), streams=streams).ask()
    assert text == "well" and not usage.exact


def test_settings_reach_the_model(stage: Stage, streams: bool) -> None:
    model = stage.says("well")
    options: dict[str, Any] = {
        "temperature": 0.5,
        "stop": ["END"],
        "max_output_tokens": 7,
        "reasoning_effort": "low",
    }
    assert Root(stage.url, model, streams=streams, **options).ask()[0] == "well"
    [body] = stage.bodies(model)
    assert (body["temperature"], body["stop"]) == (0.5, ["END"])
    assert 7 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Hi 🌊"]


def test_deltas_are_heard_while_the_model_speaks(stage: Stage) -> None:
    """The model goes on once the first was heard."""
    heard = threading.Event()
    model = stage.plays(paused(sse(chunk("so ")), heard.wait, chunk("on"), *END))
    root = Root(stage.url, model, streams=True)
    root.client._on_delta = lambda delta: heard.set()
    assert root.ask()[0] == "so on"


def test_keepalives_are_not_heard(murmuring: Stage) -> None:
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b"keepalive", 2)
        model = murmuring.plays(paused(sse(chunk("so ")), silence, chunk("on"), *END))
        root = Root(tap.url, model, streams=True)
        assert root.ask()[0] == "so on" and root.heard == ["so ", "on"]


def test_an_answer_may_come_long_after_its_head(stage: Stage) -> None:
    """The spaces between them are nothing to a reader of JSON."""
    with Tap(stage.server) as tap:
        model = stage.plays(after(partial(tap.until, b"\r\n\r\n1\r\n \r\n"), says("late")))
        assert Root(tap.url, model, streams=False).ask()[0] == "late"


def test_the_key_is_taken(keyed: Keyed, streams: bool) -> None:
    model = keyed.stage.says("well")
    assert Root(keyed.stage.url, model, streams=streams, key=f"mr_sk_{keyed.writing}").ask()[0] == "well"
    for key, status, code in (("mr_sk_no", 401, "UNAUTHORIZED"), (keyed.reading, 403, "FORBIDDEN")):
        with pytest.raises(RuntimeError, match=f"HTTP {status}.*{code}"):
            Root(keyed.stage.url, model, streams=streams, key=key).ask()


def test_a_model_that_is_not_there(strict: Stage, streams: bool) -> None:
    with pytest.raises(RuntimeError, match=r"HTTP 404.*NOT_FOUND"):
        Root(strict.url, "unheard-of", streams=streams).ask()


FAILURES: Final[dict[str, tuple[Script, int, str]]] = {
    "refused": (refusal(429, {"error": {"message": "slowly"}}), 429, "RATE_LIMIT"),
    "half": (sse(chunk("half ")), 502, "PROVIDER_ERROR"),
    "broken": (reset(chunk("half ")), 502, "PROVIDER_ERROR"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_never_half_an_answer(stage: Stage, name: str, streams: bool) -> None:
    script, status, code = FAILURES[name]
    said = rf"streamed an error \({code}\)" if streams else f"HTTP {status}.*{code}"
    with pytest.raises(RuntimeError, match=said):
        Root(stage.url, stage.plays(script), streams=streams).ask()


def test_a_cut_connection_is_a_failure(stage: Stage) -> None:
    with Tap(stage.server) as tap:
        model = stage.plays(paused(sse(chunk("half ")), partial(tap.until, b"half"), chunk("a word"), *END))
        root = Root(tap.url, model, streams=True)
        root.client._on_delta = lambda delta: tap.cut()
        with pytest.raises(RuntimeError):
            root.ask()


# -- subcalls


def subcalls(stage: Stage, model: str, **options: Any) -> ModelRelaySubcallClient:
    """Return the client for many small questions to one model."""
    context = ExecutionContext()
    base_url = f"{stage.url}/api/v1"
    return ModelRelaySubcallClient(model=model, context=context, base_url=base_url, api_key="any", **options)


def test_a_subcall(stage: Stage) -> None:
    found = subcalls(stage, stage.plays(COUNTED)).llm_query_with_usage("What is it?")
    assert found.result == "".join(TEXT) and found.usage.exact and found.usage.total_tokens == 13


def test_a_batch_of_subcalls(stage: Stage) -> None:
    model = stage.plays(COUNTED)
    client = subcalls(stage, model, max_parallel=3)
    found = client.llm_batch_with_usage([f"question {n}" for n in range(10)])
    assert list(found.results) == ["".join(TEXT)] * 10
    assert all(usage.exact for usage in found.usage) and client.total_usage.total_tokens == 130
    asked = [body["messages"][-1]["content"] for body in stage.bodies(model)]
    assert sorted(asked) == [f"question {n}" for n in range(10)]


def test_subcalls_fail_one_by_one(stage: Stage) -> None:
    slowly = refusal(429, {"error": {"message": "slowly"}})
    model = stage.plays(COUNTED, slowly, COUNTED)
    found = subcalls(stage, model, max_parallel=1).llm_batch_with_errors_and_usage(["a", "b", "c"])
    assert list(found.results) == ["".join(TEXT), "", "".join(TEXT)]
    [error] = found.errors
    assert error["index"] == 1 and "RATE_LIMIT" in str(error["error"])
    details: Any = error["details"]
    assert (details["status_code"], details["code"], details["item_id"]) == (429, "RATE_LIMIT", "1")
    assert details["batch_id"]
