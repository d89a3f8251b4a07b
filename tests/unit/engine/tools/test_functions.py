"""Functions as tools: what their signatures say, and what they are called with."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import dataclass
from enum import Enum
from functools import partial, wraps
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import pytest
from msgspec import UNSET, Meta, Struct

from penstock.engine.tools import Asking, ToolFault
from penstock.engine.tools.functions import Functions, tool
from penstock.requests import Tool

ASKING = Asking("st_1", "st_1.1", "call_1", "d1")


class Unit(Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Where(Struct):
    city: str
    country: str = "DE"


class Range(TypedDict, total=False):
    low: float
    high: float


@dataclass
class Person:
    name: str
    age: int = 0


@tool
def weather(
    where: Annotated[Where, "Where to look"],
    days: Annotated[int, Meta(ge=1, le=7), "How many"] = 3,
    unit: Unit = Unit.CELSIUS,
    detail: Literal["low", "high"] | None = None,
    tags: list[str] = [],  # noqa: B006
    limits: Range | None = None,
) -> str:
    """
    Tell what the weather
    will be.

    What else there is to say is not for the model.
    """
    return f"{where.city}/{where.country} {days} {unit} {detail} {tags} {limits}"


async def run(function: Any, **arguments: Any) -> Any:
    box = Functions([function])
    try:
        return await box.run(box.tools[0], arguments, ASKING)
    finally:
        await box.aclose()


# -- signatures


def test_a_signature_becomes_a_schema() -> None:
    (described,) = Functions([weather]).tools
    assert described == Tool(
        "weather",
        "Tell what the weather will be.",
        {
            "type": "object",
            "properties": {
                "where": {"description": "Where to look", "$ref": "#/$defs/Where"},
                "days": {
                    "description": "How many", "type": "integer", "minimum": 1, "maximum": 7, "default": 3,
                },
                "unit": {"$ref": "#/$defs/Unit", "default": "celsius"},
                "detail": {"anyOf": [{"enum": ["high", "low"]}, {"type": "null"}]},
                "tags": {"type": "array", "items": {"type": "string"}, "default": []},
                "limits": {"anyOf": [{"$ref": "#/$defs/Range"}, {"type": "null"}]},
            },
            "required": ["where"],
            "additionalProperties": False,
            "$defs": {
                "Where": {
                    "title": "Where", "type": "object", "required": ["city"],
                    "properties": {
                        "city": {"type": "string"}, "country": {"type": "string", "default": "DE"},
                    },
                },
                "Unit": {"title": "Unit", "enum": ["celsius", "kelvin"]},
                "Range": {
                    "title": "Range", "type": "object", "required": [],
                    "properties": {"low": {"type": "number"}, "high": {"type": "number"}},
                },
            },
        },
        runner="function",
    )  # fmt: skip
    assert described.parameters is not UNSET
    jsonschema.Draft202012Validator.check_schema(described.parameters)


def test_what_is_said_beside_the_signature_counts() -> None:
    @tool(name="pay-now", description="Pay.", needs_review=True, idempotent=True, max_time=5)
    def pay() -> None:
        """Not this."""

    (described,) = Functions([pay]).tools
    assert (described.name, described.description) == ("pay-now", "Pay.")
    assert (described.needs_review, described.idempotent, described.max_time) == (True, True, 5)
    assert described.parameters == {
        "type": "object", "properties": {}, "required": [], "additionalProperties": False,
    }  # fmt: skip


def test_by_default_nothing_is_promised() -> None:
    @tool
    def bare(x: int) -> None: ...

    (described,) = Functions([bare]).tools
    assert (described.description, described.needs_review, described.idempotent) == ("", False, False)
    assert described.max_time is UNSET


def test_the_function_is_what_it_was() -> None:
    assert weather(Where("Ulm"), tags=["x"]) == "Ulm/DE 3 Unit.CELSIUS None ['x'] None"


def no_type(x) -> None: ...  # type: ignore[no-untyped-def]
def many(*x: int) -> None: ...
def named(**x: int) -> None: ...
def positional(x: int, /) -> None: ...
def strange(x: threading.Thread) -> None: ...
def größe(x: int) -> None: ...


REFUSED = {
    "a parameter without a type": (no_type, "`x` has no type"),
    "any number": (many, r"`\*x: 'int'` takes any number of arguments"),
    "any number by name": (named, r"`\*\*x: 'int'` takes any number of arguments"),
    "positional-only": (positional, "`x: 'int'` is positional-only"),
    "a type that JSON does not know": (strange, "'strange' cannot be a tool: .*Thread"),
    "a name that models do not take": (größe, "cannot be called 'größe'"),
}


@pytest.mark.parametrize(("function", "why"), REFUSED.values(), ids=list(REFUSED))
def test_what_a_model_could_not_call_is_refused_at_once(function: Any, why: str) -> None:
    with pytest.raises(TypeError, match=f"(?s){why}"):
        tool(function)


def test_a_type_that_is_known_nowhere_is_named() -> None:
    def lost(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match=r"'lost' cannot be a tool: .*'Nowhere'"):
        tool(lost)


def test_functions_are_marked_and_their_names_differ() -> None:
    with pytest.raises(TypeError, match="is no tool: decorate it"):
        Functions([len])
    with pytest.raises(ValueError, match="two functions of the name 'weather'"):
        Functions([weather, weather])


# -- calls


async def test_arguments_are_converted_to_their_types() -> None:
    answer = await run(
        weather, where={"city": "Ulm"}, unit="kelvin", detail="low", tags=["a"], limits={"low": 1}
    )
    assert answer == "Ulm/DE 3 Unit.KELVIN low ['a'] {'low': 1.0}"


async def test_a_dataclass_is_one_when_it_arrives() -> None:
    @tool
    def greet(whom: Person) -> str:
        return f"{type(whom).__name__} {whom.name} {whom.age}"

    assert await run(greet, whom={"name": "Ada"}) == "Person Ada 0"


async def test_a_default_need_not_be_json() -> None:
    nothing = object()

    @tool
    def ask(x: Any = nothing) -> bool:
        return x is nothing

    assert Functions([ask]).tools[0].parameters["properties"] == {"x": {}}  # type: ignore[index]
    assert await run(ask) is True


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "missing required field `where`"),
        ({"where": {"city": 1}}, "Expected `str`, got `int` - at `where.city`"),
        ({"where": {"city": "Ulm"}, "days": "3"}, "Expected `int`, got `str` - at `days`"),
        ({"where": {"city": "Ulm"}, "days": 9}, "Expected `int` <= 7 - at `days`"),
        ({"where": {"city": "Ulm"}, "extra": 1}, "unknown field `extra`"),
    ],
)
async def test_an_argument_that_does_not_fit_is_named(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ToolFault) as caught:
        await run(weather, **arguments)
    assert why in caught.value.message


async def test_a_function_may_be_told_which_call_it_is() -> None:
    @tool
    async def pay(amount: int, asking: Asking, to: str = "Ada") -> str:
        return f"{amount} {to} {asking.digest}"

    (described,) = Functions([pay]).tools
    assert list(described.parameters["properties"]) == ["amount", "to"]  # type: ignore[index]
    assert await run(pay, amount=3) == "3 Ada d1"
    with pytest.raises(ToolFault, match="unknown field `asking`"):
        await run(pay, amount=3, asking=["forged"] * 4)


async def test_an_async_function_runs_in_the_loop() -> None:
    @tool
    async def here() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert await run(here) is True


async def test_a_plain_function_runs_beside_the_loop() -> None:
    release = threading.Event()

    @tool
    def wait() -> str:
        release.wait()
        return threading.current_thread().name

    task = asyncio.create_task(run(wait))
    await asyncio.sleep(0)
    release.set()  # the loop goes on while the function waits, or this would never be reached
    assert (await task).startswith("penstock-tool")


async def test_a_plain_function_sees_the_context_of_its_call() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    who.set("Ada")

    @tool
    def look() -> str:
        return who.get()

    assert await run(look) == "Ada"


async def test_what_only_looks_plain_is_awaited() -> None:
    async def answer() -> str:
        return "awaited"

    @tool
    @wraps(answer)
    def wrapped() -> Any:
        return answer()

    assert await run(wrapped) == "awaited"


@pytest.mark.parametrize(
    ("error", "raised"), [(ValueError("no"), ValueError), (StopIteration(), RuntimeError)]
)
async def test_what_a_function_raises_comes_out(error: Exception, raised: type[Exception]) -> None:
    @tool
    def fail() -> None:
        raise error

    with pytest.raises(raised):
        await run(fail)


async def test_a_name_that_is_no_function_is_a_fault() -> None:
    with pytest.raises(ToolFault, match="no function 'other'"):
        await Functions([weather]).run(Tool("other", runner="function"), {}, ASKING)


async def test_functions_that_hang_hold_up_nothing_but_themselves() -> None:
    release = threading.Event()

    @tool
    def hang() -> None:
        release.wait()

    box = Functions([hang])
    tasks = [asyncio.create_task(box.run(box.tools[0], {}, ASKING)) for _ in range(40)]
    await asyncio.to_thread(partial(int, "1"))  # the loop's own threads are free
    release.set()
    await asyncio.gather(*tasks)
    await box.aclose()
    await box.aclose()
