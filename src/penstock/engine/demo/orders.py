"""
Where in a prompt somebody is told to do something.

An order is a clause that begins with its verb, but for a "please" or a "could
you". "Use a tool" is one; "how do I use a tool" and "crows use a tool" are none.
A later clause of a sentence is an order if the first one is, or if it says
"please".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["either", "found_in"]

_SENTENCE: Final = 400
"""Characters of a sentence that are read, so that a long prompt costs no more than its length."""


def either(*phrases: str) -> str:
    """A pattern for any of these phrases; commas part them too."""
    found = ", ".join(phrases).split(", ")
    return f"(?:{'|'.join(phrase.replace(' ', ' +') for phrase in found)})"


_BREAK = re.compile(r"[!?;()\n]+|[.:]+(?=\W|$)")
_JOINT = re.compile(r", *(?:(?:and|then|but)\b)?|\b(?:and|then|but)\b", re.IGNORECASE)
_LEAD = re.compile(
    r"[\W_]*(?:"
    + either(
        "please, kindly, now, then, and, but, so, also, just, simply, first, next, again, finally, instead",
        "ok, okay, well, thanks, hi, hey, hello, demo, let's, let us, try to, go ahead and",
        "can you, could you, would you, will you, you must, you should, you have to",
        "i want you to, i need you to, i'd like you to, i would like you to",
    )
    + r"\b[ ,]+)*",
    re.IGNORECASE,
)
_VERB = re.compile(
    either(
        "add, answer, ask, begin, call, check, compare, compute, count, describe, do, explain, fail, fetch",
        "find, get, give, go, greet, guess, help, invoke, list, look, make, name, pick, play, print, recite",
        "reply, report, respond, return, roll, run, say, send, show, sing, speak, start, summarise",
        "summarize, talk, tell, think, translate, try, use, write",
    )
    + r"\b",
    re.IGNORECASE,
)
"""What a first clause begins with if it is an order; of another verb it is not known that it is one."""

_ASIDE = re.compile(r"\b(?:to|that|who|which)\b", re.IGNORECASE)
"""After one of these a verb may be somebody else's: "explain how to open a file and call the function"."""


def found_in(prompt: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Yield the orders that begin with ``pattern``."""
    for sentence in _BREAK.split(prompt.replace("’", "'")):
        sentence = sentence[:_SENTENCE].strip()
        if pattern.search(sentence):  # most have nothing of the kind anywhere, which is soon seen
            yield from filter(None, (pattern.match(sentence, at) for at in dict.fromkeys(_verbs(sentence))))


def _verbs(sentence: str) -> Iterator[int]:
    """Yield where the verb of each order would be; some places more than once."""
    _, first = _lead(sentence, 0)
    yield first
    aside = _ASIDE.search(sentence, first)
    end = aside.start() if aside else len(sentence)
    ordered = _VERB.match(sentence, first) is not None
    for joint in _JOINT.finditer(sentence, first):
        polite, verb = _lead(sentence, joint.end())
        if polite or (ordered and joint.start() < end):
            yield verb


def _lead(sentence: str, at: int) -> tuple[bool, int]:
    """What stands before a verb: whether it is polite, and where it ends."""
    lead = _LEAD.match(sentence, at)
    return (False, at) if lead is None else ("please" in lead[0].lower(), lead.end())
