"""
The built-in model does what it is told in plain English, and nothing that it was not told.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from penstock.engine.demo import answer
from penstock.events import (
    DataPart,
    Event,
    MessageAdded,
    Part,
    PartDelta,
    PartDone,
    ResponseDone,
    ResponseFailed,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.requests import ReviewPolicy, Start, Tool, ToolChoice

FREE = Tool("clock", runner="box")
GUARDED = Tool("vault", runner="box", needs_review=True)
CALLERS = Tool("window")
SPARE = Tool("abacus", runner="box")
TOOLS = (GUARDED, CALLERS, FREE, SPARE)


def told(prompt: str, tools: tuple[Tool, ...] = TOOLS, **rest: Any) -> Start:
    return Start("demo", (MessageAdded("user", (TextPart(prompt),)),), tools=tools, **rest)


def said(start: Start) -> list[Event]:
    return list(chain.from_iterable(step.events for step in answer(start)))


def parts(start: Start) -> list[Part]:
    return [event.part for event in said(start) if isinstance(event, PartDone)]


def calls(start: Start) -> list[ToolCallPart]:
    return [part for part in parts(start) if isinstance(part, ToolCallPart)]


def called(start: Start) -> set[str]:
    return {call.tool for call in calls(start)}


def text(start: Start) -> str:
    return "".join(part.text for part in parts(start) if isinstance(part, TextPart))


class TestTools:
    @pytest.mark.parametrize(
        ("prompt", "meant"),
        [
            ("use a tool", {"clock"}),
            ("Use the tool.", {"clock"}),
            ("Please use one of your tools!", {"clock"}),
            ("call a tool", {"clock"}),
            ("make a tool call", {"clock"}),
            ("Use your own tool to find out", {"clock"}),
            ("call the function", {"window"}),
            ("Call a function, please", {"window"}),
            ("use the client function", {"window"}),
            ("call a function of mine", {"window"}),
            ("use the tool that needs approval", {"vault"}),
            ("run a tool that needs permission", {"vault"}),
            ("Use a function which requires review.", {"vault"}),
            ("use a tool that I must confirm", {"vault"}),
            ("use a tool and ask for permission", {"vault"}),
            ("ask for permission", {"vault"}),
            ("Ask me for approval first.", {"vault"}),
            ("do something that needs approval", {"vault"}),
            ("use a tool that needs no approval", {"clock"}),
            ("use a tool that doesn’t need approval", {"clock"}),
            ("use two tools", {"clock", "abacus"}),
            ("use all tools", {"clock", "abacus", "window", "vault"}),
            ("use every one of your tools that needs approval", {"vault"}),
            ("use all of your tools", {"clock", "abacus", "window", "vault"}),
            ("use every tool", {"clock", "abacus", "window", "vault"}),
            ("use a tool and then call the function", {"clock", "window"}),
            ("What time is it? Use a tool.", {"clock"}),
            ("Could you use a tool?", {"clock"}),
            ("I'd like you to call the function", {"window"}),
            ("Tell me about rivers, then use a tool", {"clock"}),
            ("rivers, and please use a tool", {"clock"}),
            ('{"task": "use a tool"}', {"clock"}),
        ],
    )
    def test_are_called_as_described(self, prompt: str, meant: set[str]) -> None:
        assert called(told(prompt)) == meant

    @pytest.mark.parametrize(
        "prompt",
        [
            "What tools did the Romans have?",
            "Which tools do you have?",
            "What does the function do?",
            "How do I use a tool?",
            "When should you call the function?",
            "How do I open a file and call the function?",
            "Explain how to open a file and call the function",
            "Crows solve puzzles and use a tool to get food",
            "The first humans to use a tool lived in Africa",
            "Write an essay on the use of tools",
            "Write a function that sorts a list",
            "Use the function f(x) = x²",
            "Use the right tool for the job",
            'What does "use a tool" mean?',
            "Don't use a tool",
            "Please do not call the function",
            "Answer without using a tool",
            "You can use a tool",
            "Do I need permission to enter?",
            "Ask Ida for permission",
            "use a toolbox",
        ],
    )
    def test_are_not_called_by_accident(self, prompt: str) -> None:
        assert not calls(told(prompt))
        assert "no tool here" not in text(told(prompt))

    @pytest.mark.parametrize(
        ("prompt", "tools", "meant"),
        [
            ("use a tool", (CALLERS,), {"window"}),
            ("use a tool", (GUARDED,), {"vault"}),
            ("call the function", (GUARDED, FREE), {"clock"}),
            ("use two tools", (FREE,), {"clock"}),
            ("use two tools", (GUARDED, FREE, CALLERS), {"clock", "window"}),
        ],
    )
    def test_the_next_best_is_taken_where_there_is_no_choice(
        self, prompt: str, tools: tuple[Tool, ...], meant: set[str]
    ) -> None:
        assert called(told(prompt, tools)) == meant

    @pytest.mark.parametrize(
        ("prompt", "meant"),
        [
            ("use a tool: the abacus", {"abacus"}),
            ("use a tool, the window or the vault", {"window", "vault"}),
            ("use two tools, one of them the vault", {"vault", "clock"}),
            ("use the tool that needs approval by the clock", {"vault"}),
            ("vault", {"vault"}),
        ],
    )
    def test_a_name_says_which_of_those_described(self, prompt: str, meant: set[str]) -> None:
        assert called(told(prompt)) == meant

    @pytest.mark.parametrize(
        ("prompt", "tools", "regret"),
        [
            ("use the tool that needs approval", (FREE, CALLERS), "no tool here that needs approval"),
            ("ask for permission", (), "no tool here that needs approval"),
            ("use the client function", (FREE, GUARDED), "no tool here that you run yourself"),
            ("use a server tool", (CALLERS,), "no tool here that the server runs"),
            ("use a tool without approval", (GUARDED,), "no tool here that runs without approval"),
            ("use a tool", (), "no tool here at all"),
        ],
    )
    def test_it_says_so_if_there_is_no_such_tool(
        self, prompt: str, tools: tuple[Tool, ...], regret: str
    ) -> None:
        start = told(prompt, tools)
        assert not calls(start) and regret in text(start)

    def test_a_name_will_do_where_no_tool_is_as_described(self) -> None:
        assert called(told("use the clock, and do something that needs approval", (FREE, CALLERS))) == {
            "clock"
        }

    @pytest.mark.parametrize(
        ("review", "prompt", "meant"),
        [
            ("all", "use the tool that needs approval", {"clock"}),
            ("all", "use a tool", {"window"}),
            ("respect_tool", "use a tool", {"clock"}),
        ],
    )
    def test_the_requests_policy_decides_what_needs_approval(
        self, review: ReviewPolicy, prompt: str, meant: set[str]
    ) -> None:
        assert called(told(prompt, (FREE, CALLERS), review=review)) == meant

    def test_the_tool_choice_goes_before_the_prompt(self) -> None:
        none = told("use a tool", tool_choice=ToolChoice("none"))
        assert not calls(none) and "no tool here" not in text(none)
        assert called(told("use a tool", tool_choice=ToolChoice("tool", "vault"))) == {"vault"}
        assert called(told("call the function", tool_choice=ToolChoice("required"))) == {"window"}

    def test_the_words_of_the_order_are_no_arguments(self) -> None:
        look = Tool(
            "look",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        )
        (call,) = calls(told("Call the function for Bergen", (look,)))
        assert call.arguments == '{"city": "Bergen"}'
        (call,) = calls(told("Call the function", (look,)))
        assert "function" not in call.arguments and "call" not in call.arguments.lower()

    def test_a_long_prompt_costs_no_more_than_its_length(self) -> None:
        """Each comma might begin a clause, and what comes before a verb might be all the others."""
        assert called(told("use a tool" + "," * 1_000_000)) == {"clock"}


class TestFailing:
    @pytest.mark.parametrize(
        "prompt",
        [
            "fail after some text",
            "Please fail.",
            "fail midway",
            "Could you fail in the middle?",
            "Say some words and then fail",
            "Tell me about rivers, but fail halfway",
        ],
    )
    def test_is_as_that_of_the_model_that_does_nothing_else(self, prompt: str) -> None:
        start = told(prompt, ())
        *events, failed = said(start)
        assert isinstance(failed, ResponseFailed) and "on purpose" in failed.message
        assert len([event for event in events if isinstance(event, PartDelta)]) == 12
        assert said(Start("demo-fail", start.input)) == said(start)

    @pytest.mark.parametrize("deltas", [1, 5, 30])
    def test_comes_after_as_many_words_as_the_prompt_says(self, deltas: int) -> None:
        events = said(told(f"Write 50 words, and fail after {deltas} words", ()))
        assert isinstance(events[-1], ResponseFailed)
        assert len([event for event in events if isinstance(event, PartDelta)]) == deltas

    @pytest.mark.parametrize(
        "prompt",
        [
            "Why do projects fail midway?",
            "Explain why students fail after some years",
            "Don't fail",
            "People try and then fail",
            "Fail-safe design",
            "failure",
        ],
    )
    def test_does_not_come_by_accident(self, prompt: str) -> None:
        assert isinstance(said(told(prompt, ()))[-1], ResponseDone)

    def test_waits_for_the_tool_that_was_asked_for_as_well(self) -> None:
        start = told("Use a tool, then fail after some text")
        (call,) = calls(start)
        result = MessageAdded("tool", (ToolResultPart(call.call_id, "noon"),))
        after = Start("demo", (*start.input, MessageAdded("assistant", (call,)), result), tools=TOOLS)
        assert isinstance(said(start)[-1], ResponseDone)
        assert isinstance(said(after)[-1], ResponseFailed) and not calls(after)


class TestRounds:
    """Conversations as ``snapshot.conversation`` tells them: calls, then what came of them."""

    PROMPT = "Use two tools, the clock and the vault"

    def after(self, *results: MessageAdded, **rest: Any) -> Start:
        asked = told(self.PROMPT)
        return Start(
            "demo",
            (*asked.input, MessageAdded("assistant", tuple(calls(asked))), *results),
            tools=TOOLS,
            **rest,
        )

    def results(self, *values: Any) -> list[ToolResultPart]:
        pairs = zip(calls(told(self.PROMPT)), values, strict=True)
        return [ToolResultPart(call.call_id, value) for call, value in pairs]

    def test_results_in_one_message_or_in_several_are_reported(self) -> None:
        one, two = self.results("eleven", {"at": "noon"})
        first, second = (call.tool for call in calls(told(self.PROMPT)))
        for messages in (
            [MessageAdded("tool", (one, two))],
            [MessageAdded("tool", (one,)), MessageAdded("tool", (two,))],
            [MessageAdded("user", (one, TextPart("Here you are"), two))],
            [MessageAdded("tool", (one,)), MessageAdded("system", (TextPart("Be kind"),)),
             MessageAdded("tool", (two,))],
            [MessageAdded("tool", (one,)), MessageAdded("assistant", (TextPart("One more"),)),
             MessageAdded("tool", (two,))],
        ):  # fmt: skip
            start = self.after(*messages)
            opening = f'The tool {first} answered: eleven. The tool {second} answered: {{"at":"noon"}}.'
            assert text(start).startswith(opening)
            assert not calls(start) and isinstance(said(start)[-1], ResponseDone)

    @pytest.mark.parametrize(
        "refused",
        [
            {"error": "refused by Ida."},
            '{"error": "refused by Ida"}',
            {"error": {"message": "refused by Ida", "code": 7}},
        ],
    )
    def test_a_call_that_failed_is_reported_as_failed(self, refused: Any) -> None:
        start = self.after(MessageAdded("tool", tuple(self.results("eleven", refused))))
        assert " failed: refused by Ida. I am" in text(start) and " answered: eleven." in text(start)

    @pytest.mark.parametrize(
        "fine", [{"error": None}, {"error": ""}, '{"error', '{"a":' * 100_000, {"errors": []}]
    )
    def test_whatever_else_a_result_is_it_is_an_answer(self, fine: Any) -> None:
        assert "failed" not in text(self.after(MessageAdded("tool", tuple(self.results(fine, "eleven")))))

    def test_a_value_is_made_of_the_results(self) -> None:
        schema = {"type": "object", "properties": {"time": {"type": "string"}}, "required": ["time"]}
        results = MessageAdded("tool", tuple(self.results("eleven o'clock", "noon")))
        (part,) = parts(self.after(results, output_schema=schema))
        assert isinstance(part, DataPart) and part.value == {"time": "eleven o'clock"}

    def test_the_next_turn_may_call_again_and_does_so_by_other_ids(self) -> None:
        results = MessageAdded("tool", tuple(self.results("eleven", "noon")))
        done = self.after(results, MessageAdded("assistant", (TextPart("It is late."),)))
        again = Start("demo", (*done.input, *told(self.PROMPT).input), tools=TOOLS)
        assert [call.tool for call in calls(again)] == [call.tool for call in calls(told(self.PROMPT))]
        ids = [call.call_id for call in (*calls(told(self.PROMPT)), *calls(again))]
        assert len(set(ids)) == 4

    def test_a_turn_that_wants_no_tool_does_not_report_the_last_ones(self) -> None:
        results = MessageAdded("tool", tuple(self.results("eleven", "noon")))
        start = self.after(results, MessageAdded("user", (TextPart("Thank you"),)))
        assert not calls(start) and "eleven" not in text(start)
