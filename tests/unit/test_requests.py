"""What a caller asks for, as a log keeps it."""

from __future__ import annotations

from msgspec import convert, json

from penstock.events import MessageAdded, TextPart
from penstock.requests import Start, Tool, ToolChoice, settings

FULL = Start(
    "m",
    input=(MessageAdded("user", (TextPart("Hello"),)),),
    instructions="Be terse.",
    agent="a",
    tools=(Tool("f", "does", {"type": "object"}, strict=True, extra={"x": 1}),),
    tool_choice=ToolChoice("tool", "f"),
    output_schema={"type": "object"},
    output_name="n",
    choices=2,
    max_output_tokens=5,
    temperature=0.5,
    top_p=0.5,
    stop=("a",),
    keep_open=True,
    max_time=2.0,
    metadata={"k": "v"},
    extra={"seed": 1},
    extra_dialect="openai-chat",
)


def test_settings_are_everything_but_the_input() -> None:
    for start in (Start("m"), FULL):
        kept = json.decode(json.encode(settings(start)))
        assert "input" not in kept
        assert convert({**kept, "input": start.input}, Start) == start


def test_what_was_not_asked_for_is_not_kept() -> None:
    assert settings(Start("m", input=FULL.input)) == {"model": "m"}
