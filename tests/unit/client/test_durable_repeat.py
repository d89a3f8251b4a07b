"""What may be asked again is what the server takes for the same."""

from __future__ import annotations

import re

import pytest

from penstock.client.durable.repeat import KEY, RELAY_KEY, Repeat, repeat
from penstock.server.fronts import fronts

KEYED = Repeat(True, (KEY,))
NEVER = Repeat(False)
CASES = {
    ("GET", "/stream"): Repeat(True),
    ("GET", "/v1/streams/x/events"): Repeat(True),
    ("POST", "/v1/chat/completions"): KEYED,
    ("POST", "/mounted/here/v1/chat/completions"): KEYED,
    ("POST", "/v1/streams"): KEYED,
    ("POST", "/v1/streams/x/messages"): NEVER,
    ("POST", "/v1/streams/x/stop"): NEVER,
    ("POST", "/v1/call"): KEYED,
    ("POST", "/v2/call"): KEYED,
    ("POST", "/v2/call/stream"): KEYED,
    ("POST", "/call/stream"): KEYED,
    ("POST", "/v2/functions/x/call"): KEYED,
    ("POST", "/v2/functions/x/call/7"): KEYED,
    ("POST", "/v2/functions/x/call/stream"): KEYED,
    ("POST", "/v2/functions/x/call/stream/7"): KEYED,
    ("POST", "/v2/functions"): NEVER,
    ("POST", "/v3/functions/a/b/stream"): KEYED,
    ("POST", "/v3/functions/a/call"): KEYED,
    ("POST", "/v3/call/stream"): KEYED,
    ("POST", "/api/sessions"): KEYED,
    ("POST", "/api/sessions/x/messages"): KEYED,
    ("POST", "/api/sessions/x/cancel"): NEVER,
    ("POST", "/v2/agents/x/responses"): KEYED,
    ("POST", "/v2/agents"): NEVER,
    ("POST", "/api/v1/responses"): Repeat(True, (KEY, RELAY_KEY)),
    ("POST", "/api/v1/responses/batch"): NEVER,
    ("POST", "/api/v1/sessions"): NEVER,
    ("POST", "/v1/embeddings"): NEVER,
    ("PUT", "/v1/streams"): NEVER,
    ("DELETE", "/v1/streams/x"): NEVER,
}


@pytest.mark.parametrize(("method", "path"), CASES)
def test_what_may_be_asked_again(method: str, path: str) -> None:
    assert repeat(method, path, b"{}") == CASES[method, path]


def test_every_endpoint_that_begins_an_answer_is_known() -> None:
    """All that stream, but for the one that goes on with a stream: that takes no key."""
    paths = {
        re.sub(r"{[^}]*}", "x", endpoint.path)
        for front in fronts()
        for endpoint in front.endpoints
        if endpoint.method == "POST" and endpoint.describes.get("streams")
    }
    assert {path for path in paths if not repeat("POST", path, b"{}").safe} == {"/v1/streams/x/messages"}
    assert len(paths) > 8


@pytest.mark.parametrize(
    "body", [b'{"tags":{"idempotency_key":"k"}}', b'{"options":{"idempotency_key":"k"}}']
)
def test_a_key_in_the_body_is_left_alone(body: bytes) -> None:
    assert repeat("POST", "/v2/call/stream", body) == Repeat(True)


@pytest.mark.parametrize("body", [b"", b"[]", b"no JSON", b'{"tags":["idempotency_key"]}', b'{"tags":{}}'])
def test_a_body_without_a_key_needs_one(body: bytes) -> None:
    assert repeat("POST", "/v2/call/stream", body) == KEYED


def test_a_turn_of_a_task_is_not_said_twice_but_can_be_watched() -> None:
    body = b'{"task_id":"t","stream":true,"message":{"role":"user","parts":[{"kind":"text","text":"hi"}]}}'
    found = repeat("POST", "/v2/agents/x/responses", body)
    assert not found.safe and not found.keys
    assert repeat("POST", "/v2/agents/x/responses", found.watch or b"") == Repeat(True)
    assert found.watch == b'{"task_id":"t","stream":true,"message":{"role":"user","parts":[]}}'
