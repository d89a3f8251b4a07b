"""
The built-in model: what it says, that it always says it, and that it says it legally.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.demo import MODELS, answer
from penstock.engine.demo.prose import topics, wanted_length
from penstock.errors import RequestError
from penstock.events import (
    DataPart,
    Event,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from penstock.requests import Start, Tool, ToolChoice

PROMPT = "When is the tide in Bergen, and why?"


def tool(name: str, **properties: Any) -> Tool:
    return Tool(name, parameters={"type": "object", "properties": properties, "required": list(properties)})


TIDE = tool("get_tide", port={"type": "string"}, day={"type": "string", "format": "date"})
WEATHER = tool("getWeather", city={"type": "string"}, unit={"enum": ["C", "F"]})


def ask(prompt: str = PROMPT, model: str = "demo", **rest: Any) -> Start:
    return Start(model, input=(MessageAdded("user", (TextPart(prompt),)),), **rest)


def said(start: Start) -> list[Event]:
    return list(chain.from_iterable(step.events for step in answer(start)))


def parts(start: Start) -> list[Part]:
    """The finished parts, in the order in which they started."""
    done = {event.part_id: event.part for event in said(start) if isinstance(event, PartDone)}
    return [done[key] for key in sorted(done, key=lambda key: int(key[1:]))]


def text(start: Start) -> str:
    return "".join(part.text for part in parts(start) if isinstance(part, TextPart))


def end(start: Start) -> ResponseDone:
    done = said(start)[-1]
    assert isinstance(done, ResponseDone)
    return done


def deltas(start: Start) -> list[str]:
    return [event.delta for event in said(start) if isinstance(event, PartDelta)]


def whole_text(part: Part) -> str | None:
    match part:
        case TextPart(text=text) | ReasoningPart(text=text) | ToolCallPart(arguments=text):
            return text
        case DataPart(text=text):
            return text or None
    raise AssertionError(part)


def check_legal(events: list[Event]) -> None:
    """A part is started once, done once, and its deltas add up; one terminal event, at the end."""
    open_parts: dict[str, str] = {}
    started: list[str] = []
    for event in events[:-1]:
        match event:
            case PartStarted(part_id=part_id):
                started.append(part_id)
                open_parts[part_id] = ""
            case PartDelta(part_id=part_id, delta=delta):
                assert delta
                open_parts[part_id] += delta
            case PartDone(part_id=part_id, part=part):
                streamed = open_parts.pop(part_id)
                whole = whole_text(part)
                if whole is None:
                    assert isinstance(part, DataPart) and json.loads(streamed) == part.value
                else:
                    assert streamed == whole
            case _:
                pytest.fail(f"{event} in the middle")
    assert started == [f"p{n + 1}" for n in range(len(started))]
    assert isinstance(events[-1], ResponseDone | ResponseFailed)
    assert not open_parts or isinstance(events[-1], ResponseFailed)


SHAPES: dict[str, Callable[[str, str], Start]] = {
    "prose": lambda prompt, model: ask(prompt, model),
    "thinking": lambda prompt, model: ask(prompt, model, extra={"reasoning_effort": "high"}),
    "choices": lambda prompt, model: ask(prompt, model, choices=3),
    "cut": lambda prompt, model: ask(prompt, model, max_output_tokens=9, choices=2),
    "stopped": lambda prompt, model: ask(prompt, model, stop=("the", " I ")),
    "tools": lambda prompt, model: ask(
        prompt, model, tools=(TIDE, WEATHER), tool_choice=ToolChoice("required")
    ),
    "cut tools": lambda prompt, model: ask(
        f"{prompt} tide weather", model, tools=(TIDE, WEATHER), max_output_tokens=15
    ),
    "json": lambda prompt, model: ask(prompt, model, output_schema={}),
    "cut json": lambda prompt, model: ask(prompt, model, output_schema={}, max_output_tokens=5),
}


@pytest.mark.parametrize("model", [*MODELS, "gpt-something"])
@pytest.mark.parametrize("shape", SHAPES)
@given(prompt=st.text(max_size=60))
def test_every_answer_is_legal_and_the_same_each_time(shape: str, model: str, prompt: str) -> None:
    start = SHAPES[shape](prompt, model)
    check_legal(said(start))
    assert list(answer(start)) == list(answer(start))


class TestProse:
    def test_is_about_the_prompt_and_owns_up(self) -> None:
        answered = text(ask())
        assert "When is the tide in Bergen, and why" in answered and "built-in model" in answered

    @pytest.mark.parametrize(
        "prompt", [PROMPT, "", "流れとは何ですか", "a b c", "\x00\ud800 {topic} {}", "x" * 9999]
    )
    def test_is_a_paragraph_or_two_with_all_that_breaks_clients(self, prompt: str) -> None:
        pieces = deltas(ask(prompt))
        assert 50 <= len(pieces) <= 160
        answered = "".join(pieces)
        assert answered.encode() and all(char in answered for char in "é🌊“,")
        assert len(answered) < 2500

    def test_differs_between_prompts(self) -> None:
        assert (
            len({text(ask(f"Tell me about {what}"))[60:] for what in ("cats", "dogs", "owls", "newts")}) == 4
        )

    @pytest.mark.parametrize("length", [1, 10, 61, 500, 1000])
    def test_has_the_length_asked_for(self, length: int) -> None:
        assert len(text(ask(f"An essay on water in {length} words, please")).split()) == length

    def test_does_not_repeat_itself_soon(self) -> None:
        sentences = re.split(r"(?<=[.!?])\s", text(ask("cats, dogs, owls and newts in 400 words")))
        assert len(set(sentences)) > 0.8 * len(sentences)

    @pytest.mark.parametrize(
        ("prompt", "length"),
        [("in 1,000 words", 1000), ("a 50-word poem", 50), ("0 words", 1), ("9999999999 words", 20_000),
         ("three words", None), ("2 cats", None)],
    )  # fmt: skip
    def test_reads_lengths(self, prompt: str, length: int | None) -> None:
        assert wanted_length(prompt) == length

    def test_topics_leave_out_what_says_nothing(self) -> None:
        assert topics("What's the tide in Bergen, and why?")[:2] == ("tide", "Bergen")

    @given(st.text())
    def test_there_are_always_three_topics(self, prompt: str) -> None:
        assert len(set(topics(prompt))) == len(topics(prompt)) >= 3

    def test_answers_the_last_thing_a_person_said(self) -> None:
        dogs, kindness = TextPart("About dogs"), TextPart("Be kind")
        later = (MessageAdded("user", (dogs,)), MessageAdded("system", (kindness,)))
        start = Start("demo", input=(*ask("About cats").input, *later))
        assert "“About dogs”" in text(start)


class TestLimits:
    def test_max_output_tokens_counts_deltas(self) -> None:
        start = ask(max_output_tokens=7)
        assert len(deltas(start)) == 7
        assert end(start).finish_reason == "length"
        assert text(ask()).startswith(text(start))

    def test_a_limit_that_is_not_reached_changes_nothing(self) -> None:
        assert said(ask(max_output_tokens=10_000)) == said(ask())
        assert end(ask(max_output_tokens=len(deltas(ask())))).finish_reason == "stop"

    def test_no_tokens_no_parts(self) -> None:
        assert said(ask(max_output_tokens=0)) == [end(ask(max_output_tokens=0))]

    def test_the_limit_may_fall_into_the_thinking(self) -> None:
        (part,) = parts(ask(max_output_tokens=3, extra={"reasoning_effort": "low"}))
        assert isinstance(part, ReasoningPart)

    def test_a_stop_text_ends_the_answer_before_it(self) -> None:
        stopped = text(ask(stop=("nowhere to be found", "uilt-in mod")))
        assert stopped.endswith("I am the b") and text(ask()).startswith(stopped)
        assert end(ask(stop=("built-in",))).finish_reason == "stop"

    def test_an_empty_stop_text_stops_nothing(self) -> None:
        assert said(ask(stop=("",))) == said(ask())

    def test_a_value_cut_short_is_text(self) -> None:
        (part,) = parts(ask(output_schema={}, max_output_tokens=3))
        assert isinstance(part, DataPart) and part.text.startswith("{")

    def test_a_call_cut_short_is_not_pending(self) -> None:
        start = ask(tools=(TIDE,), max_output_tokens=2)
        assert end(start).finish_reason == "length" and not end(start).pending_calls


class TestChoices:
    def test_are_spoken_side_by_side_and_differ(self) -> None:
        start = ask(choices=3)
        begun = [event for event in said(start) if isinstance(event, PartStarted)]
        assert [event.choice for event in begun] == [0, 1, 2]
        assert len({event.part_id for event in said(start)[3:9] if isinstance(event, PartDelta)}) == 3
        assert len(set(map(whole_text, parts(start)))) == 3

    def test_have_a_reason_each(self) -> None:
        assert end(ask(choices=2)).finish_reasons == ("stop", "stop")
        assert end(ask()).finish_reasons == ()


class TestReasoning:
    @pytest.mark.parametrize(
        "start",
        [ask(extra={"reasoning_effort": "low"}), ask("Think: what is a tide?"), ask("Tides, step by step")],
    )
    def test_comes_first_and_is_counted(self, start: Start) -> None:
        first, second = parts(start)
        assert isinstance(first, ReasoningPart) and isinstance(second, TextPart)
        usage = end(start).usage
        assert isinstance(usage, Usage)
        assert usage.reasoning_tokens == len(first.text.split()) > 8
        assert usage.output_tokens == len(deltas(start))

    @pytest.mark.parametrize("effort", ["none", "minimal", None])
    def test_is_left_out_otherwise(self, effort: str | None) -> None:
        assert said(ask(extra={"reasoning_effort": effort})) == said(ask())


class TestTools:
    @pytest.mark.parametrize(
        ("prompt", "choice", "called"),
        [
            ("the tide in Bergen", ToolChoice(), ["get_tide"]),
            ("What Tides are there?", ToolChoice(), ["get_tide"]),
            ("call get_tide", ToolChoice(), ["get_tide"]),
            ("tide and weather", ToolChoice(), ["get_tide", "getWeather"]),
            ("get me a poem", ToolChoice(), []),
            ("the tide in Bergen", ToolChoice("none"), []),
            ("a poem", ToolChoice("required"), ["get_tide"]),
            ("the weather", ToolChoice("required"), ["getWeather"]),
            ("the tide", ToolChoice("tool", "getWeather"), ["getWeather"]),
        ],
    )
    def test_are_called_when_asked_for(self, prompt: str, choice: ToolChoice, called: list[str]) -> None:
        start = ask(prompt, tools=(TIDE, WEATHER), tool_choice=choice)
        calls = [part for part in parts(start) if isinstance(part, ToolCallPart)]
        assert [call.tool for call in calls] == called
        assert end(start).pending_calls == tuple(call.call_id for call in calls)
        assert end(start).finish_reason == ("tool_calls" if called else "stop")

    def test_arguments_are_about_the_prompt(self) -> None:
        (call,) = parts(ask("the tide in Bergen", tools=(TIDE,)))
        assert isinstance(call, ToolCallPart)
        assert json.loads(call.arguments) == {"port": "Bergen", "day": "2026-03-02"}
        assert len(deltas(ask("the tide in Bergen", tools=(TIDE,)))) > 5

    def test_parallel_calls_interleave(self) -> None:
        order = [
            e.part_id for e in said(ask("tide, weather", tools=(TIDE, WEATHER))) if isinstance(e, PartDelta)
        ]
        assert order[:4] == ["p1", "p2", "p1", "p2"]

    def test_a_tool_without_parameters_gets_an_empty_object(self) -> None:
        (call,) = parts(ask("ping", tools=(Tool("ping"),)))
        assert isinstance(call, ToolCallPart) and call.arguments == "{}"

    def test_call_ids_are_unique_among_choices_and_conversations(self) -> None:
        starts = [ask("tide, weather", tools=(TIDE, WEATHER), choices=2), ask("tide!", tools=(TIDE,))]
        ids = [*chain.from_iterable(end(start).pending_calls for start in starts)]
        assert len(set(ids)) == len(ids) == 5

    @pytest.mark.parametrize(
        "result", ["high water at 14:02", {"high": "14:02", "metres": [1.4, None]}, ["14:02"], "{é}"]
    )
    def test_results_are_quoted_even_if_a_call_is_required(self, result: Any) -> None:
        call = ToolCallPart("c1", "get_tide", '{"port":"Bergen"}')
        turns = (MessageAdded("assistant", (call,)), MessageAdded("tool", (ToolResultPart("c1", result),)))
        first = ask(tools=(TIDE,), tool_choice=ToolChoice("required"))
        start = Start("demo", (*first.input, *turns), tools=first.tools, tool_choice=first.tool_choice)
        quoted = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))
        assert f"The tool get_tide answered: {quoted}." in text(start)
        assert end(start).finish_reason == "stop"

    def test_old_results_are_history(self) -> None:
        turns = (
            MessageAdded("tool", (ToolResultPart("c1", "14:02"),)),
            MessageAdded("user", (TextPart("Hm?"),)),
        )
        assert "14:02" not in text(Start("demo", turns))

    @pytest.mark.parametrize("tools", [(), (TIDE,)])
    def test_a_tool_that_is_not_offered_cannot_be_chosen(self, tools: tuple[Tool, ...]) -> None:
        with pytest.raises(RequestError) as caught:
            answer(ask(tools=tools, tool_choice=ToolChoice("tool", "rm")))
        assert caught.value.field == "tool_choice"

    def test_broken_parameters_are_the_tools_fault(self) -> None:
        with pytest.raises(RequestError) as caught:
            answer(ask("rm", tools=(Tool("rm", parameters={"$ref": "#/nowhere"}),)))
        assert caught.value.field == "tools"


class TestStructuredOutput:
    def test_is_a_value_in_small_pieces(self) -> None:
        start = ask(output_schema={"type": "object", "properties": {"a": {"type": "string"}}})
        (part,) = parts(start)
        assert isinstance(part, DataPart) and list(part.value) == ["a"] and not part.text
        assert max(map(len, deltas(start))) < 10

    @pytest.mark.parametrize("schema", [{}, {"type": "object"}])
    def test_any_json_is_a_small_object(self, schema: dict[str, Any]) -> None:
        (part,) = parts(ask(output_schema=schema))
        assert isinstance(part, DataPart) and part.value.keys() == {"answer", "topics", "confidence"}

    def test_cuts_through_escapes_and_has_raw_characters_too(self) -> None:
        starts = [ask(f"tide {n}", output_schema={"type": "array", "minItems": 9}) for n in range(8)]
        pieces = [piece for start in starts for piece in deltas(start)]
        assert any(re.search(r"\\$|\\u\w{0,3}$", piece) for piece in pieces)
        assert any("流" in piece for piece in pieces)

    def test_is_refused_by_the_call_itself(self) -> None:
        with pytest.raises(RequestError, match="nowhere") as caught:
            answer(ask(output_schema={"$ref": "#/$defs/Gone"}))
        assert caught.value.field == "output_schema"


class TestManners:
    def test_demo_takes_a_few_seconds(self) -> None:
        gaps = [step.after for step in answer(ask())]
        assert 1 < sum(gaps) < 4
        assert all(0.015 <= gap <= 0.025 for gap in gaps if gap)

    def test_the_manners_differ_and_the_words_do_not(self) -> None:
        assert said(ask(model="demo-slow")) == said(ask()) == said(ask(model="demo-silent"))
        assert sum(step.after for step in answer(ask(model="demo-slow"))) > 15

    def test_demo_fail_fails_after_a_dozen(self) -> None:
        start = ask(model="demo-fail")
        failed = said(start)[-1]
        assert isinstance(failed, ResponseFailed)
        assert (failed.code, failed.retryable) == ("upstream", False) and "on purpose" in failed.message
        assert isinstance(failed.usage, Usage) and failed.usage.output_tokens == len(deltas(start)) == 12

    def test_demo_fail_fails_even_if_it_has_little_to_say(self) -> None:
        assert isinstance(said(ask(model="demo-fail", max_output_tokens=2))[-1], ResponseFailed)

    def test_demo_silent_falls_silent_once(self) -> None:
        gaps = [step.after for step in answer(ask(model="demo-silent"))]
        assert [gap for gap in gaps if gap > 1] == [pytest.approx(60)]
        assert gaps.index(max(gaps)) == 5  # four words, after the start

    def test_the_pace_can_be_set(self) -> None:
        for model in MODELS:
            assert not any(step.after for step in answer(ask(model=model), pace=0))
        assert max(step.after for step in answer(ask(model="demo-silent"), pace=0.001)) == pytest.approx(3)


def test_usage_is_an_estimate_of_what_was_read_and_said() -> None:
    start = ask("x" * 40, instructions="y" * 41)
    assert end(start).usage == Usage(input_tokens=21, output_tokens=len(deltas(start)), source="estimated")
