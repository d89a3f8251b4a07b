"""Streams of data, section 5.4 of the contract; ``records`` applies each patch and looks at the payload."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

import pytest

from interop.modelrelay.reading import V1, V2, ask, asked, records, records_v1
from interop.modelrelay.saying import CALLS, PARALLEL, thought
from interop.opper.stage import END, Stage, Tap, paused
from interop.opper.values import VALUES
from upstream import chunk, sse


def formatted(schema: Any) -> dict[str, Any]:
    """Return the member of a request that asks for this schema."""
    described = {"name": "answer", "schema": schema, "strict": True}
    return {"output_format": {"type": "json_schema", "json_schema": described}}


GUESTS: Final = VALUES["nested"]
ASKED: Final = formatted(GUESTS.schema)


@pytest.mark.parametrize("name", VALUES)
def test_patches_and_payload_and_text_agree(stage: Stage, name: str) -> None:
    value = VALUES[name]
    body = asked(stage.says(*value.pieces()), **formatted(value.schema))
    start, *updates, completion = records(ask(stage.url, body))
    assert start["stream_mode"] == "structured-patch" and completion["payload"] == value.value
    assert json.loads(completion["content"]) == value.value
    assert all({*update} <= {"type", "delta", "patch", "complete_fields"} for update in updates)


def test_patches_come_while_the_value_does(stage: Stage) -> None:
    body = asked(stage.says(*GUESTS.pieces()), **ASKED)
    updates = records(ask(stage.url, body))[1:-1]
    operations = [operation for update in updates for operation in update["patch"]]
    assert len([update for update in updates if update["patch"]]) > 3
    assert {operation["op"] for operation in operations} <= {"add", "replace"}
    assert all(operation["path"] for operation in operations), "the root is left alone"


def test_fields_are_complete_one_after_the_other(stage: Stage) -> None:
    body = asked(
        stage.says('{"a": {"b": 1, ', '"c": "d', 'e"}, "f"', ": []}"), **formatted({"type": "object"})
    )
    *_, completion = records(ask(stage.url, body))
    assert completion["complete_fields"] == ["a.b", "a.c", "a", "f"]


def test_a_growing_string_is_added_once_and_then_replaced(stage: Stage) -> None:
    body = asked(stage.says('{"title": "A qui', "et sea", '"}'), **formatted({"type": "object"}))
    updates = records(ask(stage.url, body))[1:-1]
    operations = [operation for update in updates for operation in update["patch"]]
    assert operations == [
        {"op": "add", "path": "/title", "value": "A qui"},
        {"op": "replace", "path": "/title", "value": "A quiet sea"},
    ]


def test_reasoning_is_not_told(stage: Stage) -> None:
    """The TypeScript SDK throws at any record it does not know in this mode; ``records`` checks them all."""
    model = stage.plays(sse(thought("Hm."), *map(chunk, GUESTS.pieces()), *END))
    assert records(ask(stage.url, asked(model, **ASKED)))[-1]["payload"] == GUESTS.value


def test_keepalives_may_come_between(murmuring: Stage) -> None:
    with Tap(murmuring.server) as tap:
        silence = partial(tap.until, b'{"type":"keepalive"}\n', 2)
        pieces = [chunk(piece) for piece in GUESTS.pieces()]
        model = murmuring.plays(paused(sse(*pieces[:5]), silence, *pieces[5:], *END))
        assert records(ask(tap.url, asked(model, **ASKED)))[-1]["payload"] == GUESTS.value


def test_calls_in_place_of_a_value_are_told_at_the_end(stage: Stage) -> None:
    completion = records(ask(stage.url, asked(stage.plays(sse(*PARALLEL)), **ASKED)))[-1]
    assert completion["tool_calls"] == CALLS and completion["payload"] == {}
    assert completion["stop_reason"] == "tool_calls"


@pytest.mark.parametrize("pieces", [("I would", " rather not."), ('{"host": "Bo',), (), ('{"host": 7}',)])
def test_an_answer_without_a_value_is_an_error(stage: Stage, pieces: tuple[str, ...]) -> None:
    body = asked(stage.says(*pieces), **ASKED)
    *_, error = records(ask(stage.url, body))
    assert (error["type"], error["code"]) == ("error", "INVALID_OUTPUT") and error["status"] >= 400
    assert len(stage.bodies(body["model"])) == 1, "what was said cannot be taken back"


def test_no_record_of_large_data_has_a_mib(stage: Stage) -> None:
    """But for the last, which must have the payload; so it has nothing else that is large."""
    value = {f"m{n}": "🌊" * 8000 for n in range(40)}
    text = json.dumps(value, ensure_ascii=False)
    pieces = [text[at : at + 5000] for at in range(0, len(text), 5000)]
    answer = ask(stage.url, asked(stage.says(*pieces), **formatted({"type": "object"})))
    *lines, last = answer.chunks
    assert answer.ended and all(len(line) < 2**20 for line in lines)
    completion = json.loads(last)
    assert completion["payload"] == value and "content" not in completion
    assert "".join(json.loads(line).get("delta", "") for line in lines) == text


def test_the_document_and_generation_1_have_the_text(stage: Stage) -> None:
    """What ``object()`` and ``structured()`` read is the text."""
    body = asked(stage.says(*GUESTS.pieces()), **ASKED)
    [message] = ask(stage.url, body, "").json["output"]
    assert json.loads(message["content"][0]["text"]) == GUESTS.value
    said = records_v1(ask(stage.url, body, V1))
    assert json.loads("".join(record.get("text_delta", "") for record in said)) == GUESTS.value


def test_text_may_be_asked_for_by_name(stage: Stage) -> None:
    body = asked(stage.says('{"a": 1}'), output_format={"type": "text"})
    start, *_, completion = records(ask(stage.url, body, V2))
    assert (start["stream_mode"], completion["content"]) == ("text-delta", '{"a": 1}')
