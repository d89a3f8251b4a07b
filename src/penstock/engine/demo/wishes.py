"""
What a prompt tells the model to do in plain English: use a tool, fail.

Who asks *about* tools wants no call, nor does who tells a story in which one is
used. When in doubt there is no wish, because a call that nobody asked for does
more harm than a sentence too many.

Which tools are meant is a table; so is how many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from ...requests import Tool
from .orders import either, found_in

__all__ = ["FAILS_AFTER", "Wish", "failure", "wishes"]

FAILS_AFTER: Final = 12
"""Deltas that are said before a failure, unless the prompt says how many."""


class _Kind(NamedTuple):
    """Which tools a description means."""

    described: re.Pattern[str]
    fitting: tuple[Callable[[Tool], bool], ...]
    """What a tool has to be: the first rather than the second, but one of them."""
    called: str
    """How one goes on who says that there is none."""


class Wish(NamedTuple):
    """Tools that are to be called, though not by their names."""

    kind: _Kind
    number: int | None
    """How many of them; None: all."""
    said: str
    """The order itself."""

    def among(self, tools: Sequence[Tool], named: Collection[str]) -> tuple[str, ...]:
        """The names of the tools that are meant: of those that are ``named`` as well all, and these first."""
        fitting = dict.fromkeys(tool.name for test in self.kind.fitting for tool in tools if test(tool))
        first = [name for name in fitting if name in named]
        others = [name for name in fitting if name not in named]
        wanted = len(fitting) if self.number is None else self.number
        return (*first, *others[: max(0, wanted - len(first))])


def wishes(prompt: str) -> tuple[Wish, ...]:
    """Return what tools the prompt orders to be used, without their names."""
    return tuple(
        Wish(
            next(kind for kind in _KINDS if kind.described.search(order[0])),
            next(number for described, number in _NUMBERS if described.search(order["which"] or "")),
            order[0],
        )
        for order in found_in(prompt, _USE)
    )


def failure(prompt: str) -> int | None:
    """Return how many deltas the prompt wants to be said before the model fails; None: it is not to fail."""
    order = next(found_in(prompt, _FAIL), None)
    return None if order is None else int(order["words"] or FAILS_AFTER)


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _free(tool: Tool) -> bool:
    return _served(tool) and not tool.needs_review


def _guarded(tool: Tool) -> bool:
    return tool.needs_review


def _served(tool: Tool) -> bool:
    return bool(tool.runner)


def _callers(tool: Tool) -> bool:
    return not tool.runner


_TOOL: Final = "(?:tool|function)"
_APPROVAL: Final = r"(?:approv(?:al|ed?)|permission|review(?:ed)?|confirm(?:ation|ed)?|consent)\b"
_NEEDS: Final = either(
    "needs?, requires?, needing, requiring, asks?, requests?, wants?, waits?",
    "must, has to, have to, with, after",
)
_ABOUT: Final = ".{0,40}"

_KINDS: Final = (
    _Kind(
        _words(rf"\b(?:no|not|never|without|\w+n't)\b{_ABOUT}\b{_APPROVAL}|\b(?:harmless|safe) +{_TOOL}"),
        (_free, _callers),
        "that runs without approval",
    ),
    _Kind(
        _words(rf"\b{_NEEDS}\b{_ABOUT}\b{_APPROVAL}|\b{_APPROVAL} +{_TOOL}"),
        (_guarded,),
        "that needs approval",
    ),
    _Kind(
        _words(rf"\b(?:client|caller)|\bof mine\b|\b(?:my|our) +(?:own +)?{_TOOL}"),
        (_callers,),
        "that you run yourself",
    ),
    _Kind(
        _words(r"\bserver|\bbuilt-in\b|\byour own\b"),
        (_free, _served),
        "that the server runs",
    ),
    _Kind(_words("function"), (_callers, _free, _served), "at all"),
    _Kind(_words(""), (_free, _callers, _served), "at all"),
)
"""The first that fits is taken: what a tool must be stands before what it had better be."""

_NUMBERS: Final = (
    (_words(r"\b(?:all|each|every)\b"), None),
    (_words(r"\b(?:three|3)\b"), 3),
    (_words(r"\b(?:two|2|both|several)\b"), 2),
    (_words(""), 1),
)

_WHICH: Final = either(
    "a, an, the, any, one, some, each, every, all, both, two, three, 2, 3, several, of, your, my, our, these",
    "this, that, another, other, available, own, harmless, safe, approval, permission, review, reviewed",
    "client, client's, client-side, caller's, server, server's, server-side, built-in",
)
_THEN: Final = either(
    "of mine, that, which, for, to, and, then, with, without, needing, requiring, please, now, again, but",
    "so, first, next, once, you, before, after",
)
_MORE: Final = either(
    "that, which, for which, with, without, needing, requiring, after",
    "and ask, and request, and wait, and then ask, and then request, and then wait",
)
_END: Final = r"\W*$| *,"

_CALLS: Final = rf"{either('make, do, perform')}(?=[\w ]{{1,30}}{_TOOL}[ -]calls?\b)"
_DOES: Final = f"(?:{either('use, make use of, call, run, invoke, execute, try')}|{_CALLS})"

_USE = _words(
    rf"{_DOES} +(?P<which>(?:{_WHICH} +){{0,6}}{_TOOL}(?:[ -]calls?|[ -]calling|s)?)"
    rf"(?={_END}| +{_THEN}\b)(?: of mine)?(?:,? +(?:(?:the +)?one +)?{_MORE}\b[^,]{{0,60}})?"
    # "do something that needs approval"
    rf"|{either('use, call, run, try, do')} +(?:something|anything|one) +(?:that|which) +"
    rf"{_NEEDS}\b{_ABOUT}\b{_APPROVAL}"
    # "ask me for permission"
    rf"|{either('ask, request')} +(?:me +)?(?:for +)?(?:(?:my|an?) +)?{_APPROVAL}"
    rf"(?={_END}| +{either('first, please, now, and, then, before, from me')}\b)"
)
_FAIL = _words(
    r"fail(?: +after +(?:the +first +)?(?P<words>[1-9]\d{0,4}) +(?:words|tokens|deltas)\b"
    rf"|(?={_END}| +"
    + either(
        "after, midway, half-?way, half way, part-?way, part way, mid-\\w+, in the middle, please, now, then",
        "again, on purpose, deliberately, with an error, for me",
    )
    + r"\b))"
)
