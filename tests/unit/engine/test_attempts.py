"""Asking again: who is asked next, what is recorded, and when there is no way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import UNSET

from penstock.engine.attempts import Option, asked
from penstock.engine.upstreams import Sink, Source
from penstock.errors import PenstockError, RequestError, UpstreamError, UpstreamUnavailable
from penstock.events import (
    ATTEMPT_FAILED,
    Custom,
    DataPart,
    Event,
    PartDelta,
    PartDone,
    PartStarted,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
)
from penstock.requests import Start
from penstock.wire import jsontext

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

Script = Sequence[Sequence[Event]] | PenstockError
"""What an upstream says, read by read, or how it refuses."""


class Scripted:
    """An upstream that answers each request with the next of its scripts."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[Start] = []
        self.closed = 0
        self.sinks: list[Sink | None] = []

    async def open(self, start: Start) -> Source:
        self.asked.append(start)
        script = self.scripts.pop(0)
        if isinstance(script, PenstockError):
            raise script
        return _Playing(self, list(script))

    async def aclose(self) -> None: ...


class _Playing:
    def __init__(self, upstream: Scripted, reads: list[Sequence[Event]]) -> None:
        self._upstream, self._reads = upstream, reads

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        self._upstream.sinks.append(sink)
        return self._reads.pop(0) if self._reads else None

    async def aclose(self) -> None:
        self._upstream.closed += 1


def text(*pieces: str) -> list[Sequence[Event]]:
    whole = "".join(pieces)
    return [
        [ResponseStarted("theirs"), PartStarted("p", TextPart())],
        *([PartDelta("p", piece)] for piece in pieces),
        [PartDone("p", TextPart(whole)), ResponseDone("stop")],
    ]


def data(*pieces: str) -> list[Sequence[Event]]:
    whole = "".join(pieces)
    try:
        part = DataPart(jsontext.decode(whole))
    except ValueError:
        part = DataPart(text=whole)
    return [
        [ResponseStarted("theirs"), PartStarted("p", DataPart())],
        *([PartDelta("p", piece)] for piece in pieces),
        [PartDone("p", part), ResponseDone("stop")],
    ]


def failed(code: str = "overloaded") -> list[Sequence[Event]]:
    return [[ResponseStarted("theirs"), ResponseFailed(code, "not now")]]


async def heard(upstreams: Sequence[Scripted], **settings: Any) -> list[list[Event]]:
    """Ask each upstream in turn, under the name of its number; return what is recorded, read by read."""
    start = Start("0", **settings)
    options = [Option(upstream, Start(str(n), **settings)) for n, upstream in enumerate(upstreams)]
    source = await asked(start, options)
    reads = []
    try:
        while (events := await source.read()) is not None:
            reads.append(list(events))
            if events and isinstance(events[-1], ResponseDone | ResponseFailed):
                break
    finally:
        await source.aclose()
    return reads


def flat(reads: list[list[Event]]) -> list[Event]:
    return [event for read in reads for event in read]


def notes(reads: list[list[Event]]) -> list[tuple[str, str]]:
    """The failed attempts on record: model and code."""
    return [
        (event.data["model"], event.data["code"])
        for event in flat(reads)
        if isinstance(event, Custom) and event.name == ATTEMPT_FAILED
    ]


def without_notes(reads: list[list[Event]]) -> list[Event]:
    return [event for event in flat(reads) if not isinstance(event, Custom)]


async def test_one_option_without_checks_is_asked_directly() -> None:
    upstream = Scripted(text("a"))
    source = await asked(Start("0"), [Option(upstream, Start("0"))])
    assert type(source) is _Playing


# -- the next model


@pytest.mark.parametrize("early", [UpstreamUnavailable(), failed()], ids=["refused", "failed at once"])
async def test_the_next_model_is_asked_if_one_fails_before_its_first_word(early: Script) -> None:
    first, second = Scripted(early), Scripted(text("a", "b"))
    reads = await heard([first, second])
    assert without_notes(reads) == flat([list(read) for read in text("a", "b")])
    code = early.code if isinstance(early, PenstockError) else "overloaded"
    assert notes(reads) == [("0", code)]
    assert [start.model for start in first.asked + second.asked] == ["0", "1"]


async def test_a_failure_after_the_first_word_is_the_end() -> None:
    broken = [*text("a")[:2], [ResponseFailed("truncated", "cut")]]
    second = Scripted(text("b"))
    reads = await heard([Scripted(broken), second])
    assert flat(reads) == flat([list(read) for read in broken])
    assert not second.asked


async def test_the_last_failure_is_the_answer() -> None:
    reads = await heard([Scripted(failed("first")), Scripted(failed("second"))])
    assert notes(reads) == [("0", "first")]
    assert without_notes(reads)[-1] == ResponseFailed("second", "not now")


async def test_the_last_refusal_is_raised() -> None:
    with pytest.raises(UpstreamError, match="the last"):
        await heard([Scripted(UpstreamUnavailable()), Scripted(UpstreamError("the last"))])


async def test_what_has_begun_is_handed_on_without_waking() -> None:
    upstream = Scripted(failed()), Scripted(text("a", "b"))
    start = Start("0")
    source = await asked(start, [Option(each, start) for each in upstream])

    def sink(events: Sequence[Event]) -> bool:
        return True

    while True:
        events = await source.read(sink)
        if events and isinstance(events[-1], ResponseDone):
            break
    assert upstream[0].sinks == [None]  # nothing may be recorded yet
    assert upstream[1].sinks == [None, sink, sink, sink]
    await source.aclose()
    assert [each.closed for each in upstream] == [1, 1]


# -- answers that do not fit


async def test_what_is_not_json_is_asked_for_again() -> None:
    upstream = Scripted(data("Sure! Here ", 'it is: {"n": 1}'), data('{"n"', ": 1}"))
    reads = await heard([upstream], output_schema=SCHEMA, attempts=2)
    assert without_notes(reads) == flat([list(read) for read in data('{"n"', ": 1}")])
    assert notes(reads) == [("0", "output_invalid")]
    assert upstream.closed == 2


async def test_what_was_said_cannot_be_taken_back() -> None:
    upstream = Scripted(data('{"n": "on', 'e"}'), data('{"n": 1}'))
    reads = await heard([upstream], output_schema=SCHEMA, attempts=5)
    *said, end = flat(reads)
    assert PartDelta("p", '{"n": "on') in said
    assert isinstance(end, ResponseFailed)
    assert end.code == "output_invalid"
    assert end.message == 'the answer does not fit the output schema: n: "one" is not of type "integer"'
    assert len(upstream.asked) == 1


async def test_attempts_run_out() -> None:
    upstream = Scripted(*(data("no") for _ in range(9)))
    reads = await heard([upstream], output_schema=SCHEMA, attempts=3)
    assert len(upstream.asked) == 3
    assert notes(reads) == [("0", "output_invalid")] * 2
    started, end = without_notes(reads)
    assert isinstance(started, ResponseStarted)
    assert isinstance(end, ResponseFailed)
    assert "not JSON" in end.message


async def test_held_back_an_answer_is_judged_whole() -> None:
    upstream = Scripted(data('{"n": "one"}'), data("{}"), data('{"n": 1}'))
    reads = await heard([upstream], output_schema=SCHEMA, attempts=3, hold=True)
    assert without_notes(reads) == flat([list(read) for read in data('{"n": 1}')])
    assert notes(reads) == [("0", "output_invalid")] * 2


async def test_an_answer_that_stays_away_does_not_fit() -> None:
    empty: list[Sequence[Event]] = [[ResponseStarted("theirs"), ResponseDone("stop")]]
    reads = await heard([Scripted(empty)], output_schema=SCHEMA, attempts=1)
    assert isinstance(flat(reads)[-1], ResponseFailed)


async def test_a_refusal_is_an_answer() -> None:
    refusal: list[Sequence[Event]] = [
        [ResponseStarted("theirs"), PartStarted("p", RefusalPart())],
        [PartDone("p", RefusalPart("no")), ResponseDone("stop")],
    ]
    reads = await heard([Scripted(refusal)], output_schema=SCHEMA, attempts=3)
    assert flat(reads) == flat([list(read) for read in refusal])


async def test_held_back_a_failure_in_the_middle_is_told_whole() -> None:
    broken = [*text("a")[:2], [ResponseFailed("truncated", "cut")]]
    reads = await heard([Scripted(broken)], hold=True)
    assert flat(reads) == flat([list(read) for read in broken])


async def test_held_back_a_failure_in_the_middle_leaves_the_next_model() -> None:
    broken = [*text("a")[:2], [ResponseFailed("truncated", "cut")]]
    reads = await heard([Scripted(broken), Scripted(text("b"))], hold=True)
    assert without_notes(reads) == flat([list(read) for read in text("b")])


async def test_without_attempts_nothing_is_checked() -> None:
    reads = await heard([Scripted(data("no JSON"))], output_schema=SCHEMA)
    assert isinstance(flat(reads)[-1], ResponseDone)


async def test_a_schema_that_is_none_is_the_callers_fault() -> None:
    with pytest.raises(RequestError) as told:
        await heard([Scripted(data("1"))], output_schema={"type": "nope"}, attempts=1)
    assert (told.value.field, told.value.status) == ("output_schema", 422)


async def test_a_schema_reaches_nowhere() -> None:
    with pytest.raises(RequestError):
        await heard(
            [Scripted(data("1"))], output_schema={"$ref": "http://127.0.0.1:9/schema.json"}, attempts=1
        )


def test_an_unset_value_is_no_value() -> None:
    assert data("{")[-1][0] == PartDone("p", DataPart(UNSET, "{"))
