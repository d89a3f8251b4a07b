"""
Every reader, every dialect, every way to lose a connection: nothing is lost, nothing is repeated.

What a reader has after its cuts is held against what one has that was not cut, of the
same answer. The numbers are printed at the end.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from interop.client.readers import AT_ONCE, Heard, Reader, Tally
from interop.client.saying import TOOL
from interop.client.shears import Shears, Snip
from interop.opper.stage import Stage
from penstock import Policy
from penstock.client.ways import Name
from penstock.events import ResponseDone

pytestmark = pytest.mark.cuts

_SAID = "Roll the dice."


class Rolled:
    """One answer, that may be heard as often as wanted."""

    def __init__(self, colour: str, dialect: Name, stage: Stage) -> None:
        self.colour, self.dialect = colour, dialect
        asked = {} if dialect in ("mix", "orq") else {"model": "words", "tools": [TOOL]}
        self.wanted: dict[str, Any] = {"idempotency_key": str(uuid4()), **asked}
        self.whole = self.heard(stage.url).events
        assert isinstance(self.whole[-1], ResponseDone) and len(self.whole) > 8

    def heard(self, url: str, policy: Policy = AT_ONCE) -> Heard:
        return Reader(self.colour, self.dialect, url, policy).start(_SAID, **self.wanted)


@pytest.fixture
def rolled(colour: str, dialect: Name, stage: Stage) -> Rolled:
    return Rolled(colour, dialect, stage)


@pytest.fixture
def shears(stage: Stage) -> Shears:
    return Shears(stage.url)


def test_a_cut_at_every_frame(rolled: Rolled, shears: Shears, tally: Tally) -> None:
    with shears:
        rolled.heard(shears.url)
        frames = shears.frames
        assert frames > 7
        for n in range(frames):
            shears.snips = [Snip("reset", n, more=n % 3 * 9)]
            heard = rolled.heard(shears.url)
            tally.check(heard.events, rolled.whole, len(heard.cuts))
        assert shears.done == ["reset"] * frames


def test_a_cut_after_every_frame_of_one_answer(rolled: Rolled, shears: Shears, tally: Tally) -> None:
    """Progress resets the count of attempts: there are more cuts here than it allows in a row."""
    with shears:
        replayed = rolled.dialect == "modelrelay"  # heard again from its beginning each time
        shears.always = None if replayed else Snip("reset", 2)
        shears.snips = [Snip("reset", n + 1) for n in range(12)] if replayed else []
        heard = rolled.heard(shears.url, Policy(longest=0.0, attempts=2))
        tally.check(heard.events, rolled.whole, len(heard.cuts))
        assert len(heard.cuts) > 3


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_half_closed_connection_is_a_cut(rolled: Rolled, shears: Shears, tally: Tally, at: int) -> None:
    with shears:
        shears.snips = [Snip("half", at, more=5)]
        heard = rolled.heard(shears.url)
        tally.check(heard.events, rolled.whole, len(heard.cuts))
        assert len(heard.cuts) == 1


@pytest.mark.parametrize("at", [0, 4])
def test_a_silent_connection_is_a_cut(rolled: Rolled, shears: Shears, tally: Tally, at: int) -> None:
    with shears:
        shears.snips = [Snip("stall", at, more=3)]
        heard = rolled.heard(shears.url, Policy(longest=0.0, silence=0.1, attempts=100))
        tally.check(heard.events, rolled.whole, len(heard.cuts))
        assert shears.done == ["stall"] and len(heard.cuts) >= 1


def test_a_refusal_that_passes_is_waited_for(rolled: Rolled, shears: Shears, tally: Tally) -> None:
    with shears:
        shears.refusals = 2
        heard = rolled.heard(shears.url)
        tally.check(heard.events, rolled.whole, len(heard.cuts))
        assert shears.done == ["refused"] * 2


def test_a_refusal_after_a_cut_is_waited_for(rolled: Rolled, shears: Shears, tally: Tally) -> None:
    with shears:
        shears.snips = [Snip("reset", 3)]

        def refuse(n: int) -> None:
            if n == 1:
                shears.refusals = 3

        heard = Reader(rolled.colour, rolled.dialect, shears.url).start(_SAID, refuse, **rolled.wanted)
        tally.check(heard.events, rolled.whole, len(heard.cuts))
        assert shears.done.count("refused") == 3 and len(heard.cuts) == 4
