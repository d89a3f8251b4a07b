"""
The built-in model: an upstream that needs no network, no key and no luck.

It is what a new installation answers with, what the demos show and what most
tests run on. It looks like a real model where that can be tested -- prose,
reasoning, parallel tool calls, structured output, several choices, lengths,
stops, failures, silences -- and knows nothing.

Its rules:

* It does what it is told in plain English: "use a tool", "call the function",
  "use the tool that needs approval", "fail after some text".
* It is pure. The same :class:`~penstock.requests.Start` gives the same steps;
  variety comes from a checksum of the prompt. Whoever plays the steps does the
  waiting.
* It says what a dialect's decoder would say: the parts of one response and its
  end. ``response.started`` and ``message.added`` are the run's.
* A request that cannot be answered is refused before the first step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, cycle
from typing import Final, NamedTuple

from ...events import Event, PartDelta
from ...requests import Start
from .compose import compose
from .speech import speak
from .wishes import FAILS_AFTER

__all__ = ["MODELS", "Step", "answer"]


class Step(NamedTuple):
    """What happens next: ``after`` seconds of silence, then ``events``, all at once."""

    after: float
    events: tuple[Event, ...]


class _Manner(NamedTuple):
    """How a model of the family speaks; what it says is the same in all of them."""

    pace: float = 0.02
    """Seconds before a delta, on average."""
    silent_at: int = -1
    """The delta before which it falls silent."""
    fails_after: int | None = None
    """The number of deltas after which it gives up."""


_MANNERS: Final = {
    "demo": _Manner(),
    "demo-fast": _Manner(pace=0.0),
    "demo-slow": _Manner(pace=0.3),
    "demo-fail": _Manner(fails_after=FAILS_AFTER),
    "demo-silent": _Manner(silent_at=4),
}

MODELS: Final[tuple[str, ...]] = tuple(_MANNERS)
"""The names of the family. Any other name speaks as ``demo`` does."""

_SILENCE = 3000  # gaps: a minute at the usual pace, longer than most idle timeouts
_SWING = (1.0, 0.8, 1.2, 0.9, 1.1)  # a metronome does not look alive


def answer(start: Start, pace: float | None = None) -> Iterator[Step]:
    """
    Answer ``start``, step by step.

    ``pace`` is the average silence before a delta, in seconds, instead of the
    model's own; 0 means no silence at all. Long silences scale with it.

    Raises:
        RequestError: the output schema, a tool's parameters or the tool choice
            cannot be met. Raised by the call itself, not by the first step.
    """
    manner = _MANNERS.get(start.model, _MANNERS["demo"])
    if pace is not None:
        manner = manner._replace(pace=pace)
    plan = compose(start)
    fails_after = plan.fails_after if manner.fails_after is None else manner.fails_after
    events = speak(start, plan.choices, fails_after)
    return _steps(events, _gaps(manner))


def _gaps(manner: _Manner) -> Iterator[float]:
    """The silence before each delta in turn."""
    for delta, swing in zip(count(), cycle(_SWING), strict=False):
        yield manner.pace * (_SILENCE if delta == manner.silent_at else swing)


def _steps(events: Iterable[Event], gaps: Iterator[float]) -> Iterator[Step]:
    """Begin a step with each delta; whatever else happens, happens at once."""
    after, held = 0.0, list[Event]()
    for event in events:
        if isinstance(event, PartDelta):
            if held:
                yield Step(after, tuple(held))
            after, held = next(gaps), []
        held.append(event)
    yield Step(after, tuple(held))
