"""
Something pleasant to say about anything.

An essay opens with the prompt's own words, says what it is, and goes on from a
stock of sentences, in an order and about topics that the prompt decides. It
holds accents, another script and an emoji on purpose: clients that cannot cope
should fail in the demo, not in production.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2s
from itertools import count, cycle, islice
from typing import Final

__all__ = [
    "essay", "pieces", "quote", "regret", "report", "seed_of", "stems", "thoughts", "topics", "wanted_length",
]  # fmt: skip

_LONGEST = 20_000  # words; minutes at the usual pace, a megabyte of events
_QUOTED = 12  # words of the prompt
_QUOTED_RESULT = 400  # characters

_OPENINGS: Final = (
    "You asked about “{quote}”, and that is a good place to begin.",
    "“{quote}” is a fair question; here is a friendly answer.",
    "Thank you for “{quote}”, which I read twice.",
    "Let us look at “{quote}” together.",
)
_RESULT: Final = "The tool {tool} answered: {result}."
_FAILURE: Final = "The tool {tool} failed: {result}."
_REGRET: Final = "There is no tool here {called}, so I call none."
_CONFESSION: Final = (
    "I am the built-in model of Penstock: I need no key, I know nothing, and I say the same"
    " each time, which makes me très fiable for a démo. 🌊"
)
_SENTENCES: Final = (
    "Anyone who cares for {topic} learns to begin with small steps.",
    "The naïve view of {topic} is often wrong, though rarely by much.",
    "Where {topic} meets {other}, the interesting part starts.",
    "A river (流, as it is written elsewhere) carries {topic} just as well as water.",
    "Nothing here is lost: if your connection breaks at {topic}, it goes on from there.",
    "Some say {topic}; others, with equal right, prefer {other}.",
    "Over a café crème, {topic} looks simpler than it is.",
    "Still, {topic} repays attention: slowly, then all at once!",
    "Without {other}, would {topic} even have a name?",
    "Keep {topic} in one hand and {other} in the other, and walk.",
    "Experts on {topic} disagree — politely, as a rule — about the details.",
    "That much about {topic} has been clear since the first cursor was stored.",
    "In practice {topic} needs patience, a good log, and a little luck 🍀.",
    "Every stream has an end, and so has every thought on {topic}.",
)
_THOUGHTS: Final = (
    "They ask about {topic}, so I first weigh {topic} against {other}; yes, that will do.",
    "Step one is {topic}, step two is {other}; then I say it kindly, and briefly.",
    "What matters here is {topic}. I check {other} as well, and then I answer.",
)

_DULL = frozenset(
    re.findall(
        r"\w+",
        "about after again also and any are can could does for from give have how into like make many may"
        " much need now please say should some step tell than that the them then there these they think"
        " this those today was were what when where which who why will with word words would write you your",
    )
)
_SPARE = ("water", "patience", "time")
_LENGTH = re.compile(r"(\d[\d,]*)[\s-]+words?\b", re.IGNORECASE)
_WORD = re.compile(r"\w[\w'’-]*")
_PIECE = re.compile(r"\s*\S+")


def seed_of(*keys: object) -> int:
    """A number that looks random and is not."""
    text = "\n".join(map(str, keys)).encode("utf-8", "replace")
    return int.from_bytes(blake2s(text, digest_size=4).digest(), "big")


def stems(text: str) -> set[str]:
    """The words of a text in lower case, plural or not."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return {word.removesuffix("s") for word in words}


def topics(prompt: str, besides: Collection[str] = ()) -> tuple[str, ...]:
    """The words that the prompt seems to be about, ``besides`` these stems; never fewer than three."""
    found = dict.fromkeys(word[:40] for word in _WORD.findall(prompt) if _telling(word))
    telling = [word for word in found if stems(word).isdisjoint(besides)][:9]
    return tuple(islice(dict.fromkeys((*telling, *_SPARE)), max(3, len(telling))))


def _telling(word: str) -> bool:
    short = len(word) < 3 and word.isascii()
    return not (short or word.isdecimal() or re.split("['’]", word.casefold())[0] in _DULL)


def wanted_length(prompt: str) -> int | None:
    """How many words the prompt asks for, if it does ("in 500 words")."""
    found = _LENGTH.search(prompt)
    return max(1, min(int(found[1].replace(",", "")[:9]), _LONGEST)) if found else None


def essay(prompt: str, opening: Sequence[str] = (), variant: int = 0) -> tuple[str, ...]:
    """
    Answer a prompt, in word-sized pieces.

    ``opening`` are sentences to begin with; without any the prompt's own words
    are. ``variant`` tells parallel answers to one prompt apart.
    """
    seed = seed_of(prompt, variant)
    opening = opening or (_OPENINGS[seed % len(_OPENINGS)].format(quote=_quote(prompt)),)
    first, body = " ".join((*opening, _CONFESSION)), _body(prompt, seed)
    length = wanted_length(prompt)
    if length is None:
        return tuple(_words(first, islice(body, 3 + seed % 4)))
    *words, last = islice(_words(first, body), length)
    return (*words, last + "." if last[-1].isalnum() else last)


def report(tool: str, result: str, failed: bool = False) -> str:
    """Say in a sentence what a tool answered, or of what it failed."""
    if failed:
        return _FAILURE.format(tool=tool, result=quote(result).rstrip("."))
    return _RESULT.format(tool=tool, result=quote(result))


def regret(called: str) -> str:
    """Say in a sentence that there is no tool ``called`` so."""
    return _REGRET.format(called=called)


def quote(result: str) -> str:
    """As much of a result as a sentence can bear."""
    return _short(result, _QUOTED_RESULT)


def thoughts(prompt: str, variant: int = 0) -> tuple[str, ...]:
    """A dozen pieces or so of thinking about it first."""
    seed = seed_of("thoughts", prompt, variant)
    topic, other, *_ = topics(prompt)
    return pieces(_THOUGHTS[seed % len(_THOUGHTS)].format(topic=topic, other=other))


def pieces(text: str) -> tuple[str, ...]:
    """Cut a text into words, each with the space before it."""
    return tuple(_PIECE.findall(text))


def _quote(prompt: str) -> str:
    """The prompt's first words, as they were written, without what would not print."""
    words = "".join(c if c.isprintable() else " " for c in prompt).split()
    quote = _short(" ".join(words[:_QUOTED]).rstrip(".,;:?!"), 120)
    return f"{quote} …" if len(words) > _QUOTED else quote or "nothing in particular"


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"


def _body(prompt: str, seed: int) -> Iterator[str]:
    """Sentences without end; each round in another order, about other pairs of topics."""
    about = topics(prompt)
    turn = cycle(about)
    for lap in count(seed):
        for sentence in sorted(_SENTENCES, key=lambda sentence: seed_of(lap, sentence)):
            topic = next(turn)
            other = about[(about.index(topic) + 1 + lap % (len(about) - 1)) % len(about)]
            yield sentence.format(topic=topic, other=other)


def _words(opening: str, body: Iterator[str]) -> Iterator[str]:
    """The words of an essay, each with the white space before it; four sentences to a paragraph."""
    yield from pieces(opening)
    for n, sentence in enumerate(body):
        space = " " if n % 4 else "\n\n"
        yield from pieces(space + sentence)
