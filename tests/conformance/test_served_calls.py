"""A reader who learns of a call runs it: wires that cannot say that the server did do not tell of it."""

from __future__ import annotations

import pytest

from penstock.events import (
    ROUND_DONE,
    Custom,
    Event,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolStarted,
)
from streams import WIRES, kept, spoken, written

TELL = {"native", "native-ndjson", "mix", "mix-early", "modelrelay-run", "orq"}
"""Wires that say who runs a tool."""
QUIET = sorted(WIRES.keys() - TELL)

OURS, THEIRS = {"name": "roll_dice", "runner": "demo"}, {"name": "get_weather"}


def call(part_id: str, call_id: str, tool: str) -> list[Event]:
    return [
        PartStarted(part_id, ToolCallPart(call_id, tool)),
        PartDelta(part_id, '{"n":'),
        PartDelta(part_id, "1}"),
        PartDone(part_id, ToolCallPart(call_id, tool, '{"n":1}')),
    ]


AGENT: list[Event] = [
    ResponseStarted("st_1.1", "demo", "demo", {"tools": [OURS, THEIRS]}),
    *call("p1", "c1", "roll_dice"),
    Custom(ROUND_DONE, {}),
    ToolStarted("c1", "roll_dice", {"n": 1}),
    ToolDone("c1", "it shows six"),
    PartStarted("p2", TextPart()),
    PartDelta("p2", "A six."),
    PartDone("p2", TextPart("A six.")),
    *call("p3", "c2", "get_weather"),
    ResponseDone("tool_calls", pending_calls=("c2",)),
]


@pytest.mark.parametrize("name", QUIET)
async def test_a_call_that_the_server_runs_is_not_told(name: str) -> None:
    wire = WIRES[name]
    data = written(wire, await spoken(await kept(AGENT), wire)).decode()
    assert "roll_dice" not in data and "it shows six" not in data
    assert "A six." in data
    has_word = not name.startswith("opper") or name == "opper-v3"
    assert ("get_weather" in data) == has_word, "the caller's own is told"


@pytest.mark.parametrize("name", sorted(TELL))
async def test_where_there_are_words_for_it_it_is(name: str) -> None:
    wire = WIRES[name]
    data = written(wire, await spoken(await kept(AGENT), wire)).decode()
    assert "roll_dice" in data
