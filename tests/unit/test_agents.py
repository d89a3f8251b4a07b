"""What an agent is, and how calling one becomes a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, json

from penstock.agents import MAX_NAME, Agent, Example, ask, decode_agent, encode_agent
from penstock.errors import RequestError
from penstock.events import MessageAdded, TextPart, encode_event
from penstock.requests import Candidate, Start, Tool
from penstock.testing.catalog_suite import FULL


def said(start: Start) -> list[tuple[str, str]]:
    """Each message of a request: who said what."""
    found: list[tuple[str, str]] = []
    for message in start.input:
        (part,) = message.parts
        assert isinstance(part, TextPart)
        found.append((message.role, part.text))
    return found


# Asking


def test_the_least_agent() -> None:
    assert ask(Agent("a"), "Hello") == Start(
        "", input=(MessageAdded("user", (TextPart("Hello"),)),), agent="a", attempts=1
    )


def test_what_an_agent_says_is_asked_for() -> None:
    start = ask(FULL, "Hello")
    assert (start.model, start.extra) == ("first", FULL.models[0].options)
    assert start.fallbacks == FULL.models[1:]
    assert (start.agent, start.tools, start.attempts) == ("full", FULL.tools, 5)
    assert start.output_schema == FULL.output_schema
    assert start.instructions.startswith(FULL.instructions)


def test_a_model_without_options_has_nothing_extra() -> None:
    start = ask(Agent("a", models=(Candidate("m"),)), "Hello")
    assert (start.model, start.extra, start.fallbacks) == ("m", UNSET, ())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is: ü \u2028 {", "as it is: ü \u2028 {"),
        ("", ""),
        (None, ""),
        (0, "0"),
        (False, "false"),
        (1.5, "1.5"),
        ([], "[]"),
        ({"guest": "Zoë", "table": [1, None]}, '{"guest":"Zoë","table":[1,null]}'),
    ],
)
def test_text_goes_in_as_it_is_and_any_other_value_as_json(value: Any, text: str) -> None:
    assert said(ask(Agent("a"), value)) == [("user", text)]


def test_an_input_schema_is_explained_after_the_instructions() -> None:
    schema = {"type": "object", "title": "Gäste"}
    explained = 'The input is JSON that fits this JSON Schema:\n{"type":"object","title":"Gäste"}'
    for instructions, whole in (("Greet.", f"Greet.\n\n{explained}"), ("", explained)):
        assert ask(Agent("a", instructions=instructions, input_schema=schema), {}).instructions == whole
    assert ask(Agent("a", instructions="Greet.", output_schema=schema), {}).instructions == "Greet."


def test_examples_are_turns_that_have_been() -> None:
    examples = [Example({"n": 1}, {"m": "é"}), Example("two", "zwei", "as in German")]
    assert said(ask(Agent("a"), 3, examples)) == [
        ("user", '{"n":1}'),
        ("assistant", '{"m":"é"}'),
        ("user", "two\n\n(as in German)"),
        ("assistant", "zwei"),
        ("user", "3"),
    ]


@pytest.mark.parametrize(
    ("limit", "shown"), [(0, []), (1, ["0"]), (3, ["0", "1", "2"]), (9, ["0", "1", "2", "3"])]
)
def test_as_many_examples_as_the_agent_takes(limit: int, shown: list[str]) -> None:
    examples = [Example(str(n), "answer") for n in range(4)]
    asked = said(ask(Agent("a", examples=limit), "input", examples))
    assert [text for role, text in asked if role == "user"] == [*shown, "input"]


def test_what_is_asked_can_be_logged() -> None:
    start = ask(FULL, {"guest": "Zoë"}, [Example("x", None)])
    for message in start.input:
        assert json.decode(encode_event(message), type=MessageAdded) == message


# Storing

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=3)
tools = st.builds(Tool, texts, description=texts, parameters=objects, strict=st.booleans(), extra=objects)
agents = st.builds(
    Agent,
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_NAME),
    description=texts,
    instructions=texts,
    models=st.lists(st.builds(Candidate, texts, objects), max_size=3).map(tuple),
    input_schema=st.just(UNSET) | objects,
    output_schema=st.just(UNSET) | objects,
    tools=st.lists(tools, max_size=2).map(tuple),
    attempts=st.integers(0, 9),
    examples=st.integers(0, 9),
    extra=st.just(UNSET) | objects,
)


@given(agents)
def test_a_definition_reads_back(agent: Agent) -> None:
    """The same, and to the same JSON: who stores it again stores nothing new."""
    data = encode_agent(agent)
    assert decode_agent(data) == agent
    assert encode_agent(decode_agent(data)) == data


def test_what_is_not_said_takes_no_room() -> None:
    assert encode_agent(Agent("a")) == b'{"name":"a"}'


def test_members_that_are_not_known_are_passed_over() -> None:
    data = b'{"name":"a","new":{"x":1},"models":[{"model":"m","new":0}],"tools":[{"name":"t","new":[]}]}'
    assert decode_agent(data) == Agent("a", models=(Candidate("m"),), tools=(Tool("t"),))


@pytest.mark.parametrize("name", ["", "n" * (MAX_NAME + 1)])
def test_a_name_is_neither_empty_nor_endless(name: str) -> None:
    with pytest.raises(RequestError, match=f"1 to {MAX_NAME} characters, not {len(name)}") as caught:
        encode_agent(Agent(name))
    assert caught.value.field == "name"
    assert decode_agent(encode_agent(Agent("ü" * MAX_NAME))).name == "ü" * MAX_NAME


def deep() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"not": schema}
    return schema


NOTHING: Any = None


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (Agent("a", instructions="half a pair: \ud83d"), "surrogates"),
        (Agent("a", extra={"\udc00": 1}), "surrogates"),
        (Agent("a", output_schema=deep()), "recursion"),
        (Agent("a", instructions=NOTHING), r"\$\.instructions"),
        (Agent("a", models=(Candidate("m", NOTHING),)), r"\$\.models\[0\]\.options"),
        (Agent("a", attempts=-1), r"\$\.attempts"),
        (Agent("a", examples=-1), r"\$\.examples"),
    ],
    ids=[
        "surrogate",
        "surrogate in a key",
        "deep",
        "null",
        "null inside",
        "fewer than no attempts",
        "fewer than no examples",
    ],
)
def test_what_would_not_read_back_is_refused(agent: Agent, why: str) -> None:
    with pytest.raises(RequestError, match=f"agent 'a' cannot be stored: .*{why}"):
        encode_agent(agent)
