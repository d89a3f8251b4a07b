"""
What a caller wants of an answer's events: its text, its fields, a value of a type.

A fold is fed the events one by one, with whether more have arrived already, and
returns what they add. An answer that has failed raises: half of an answer must
not pass for a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from msgspec import UNSET

from ..errors import AnswerFailed, OutputInvalid
from ..events import (
    DataPart,
    Event,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseFailed,
    TextPart,
)
from ..fields import Fields, Leaf, Tree
from ..snapshot import Response, Snapshot, text_of
from .drafts import draft, validated
from .refusals import failure

__all__ = ["Drafts", "Fold", "Leaves", "Pieces", "caught_up", "final", "value_of"]

_T = TypeVar("_T")
Fold = Callable[[Event, bool], Iterable[_T]]


class Pieces:
    """The text of one choice, piece by piece."""

    def __init__(self, choice: int = 0) -> None:
        self._choice = choice
        self._open: dict[str, list[str]] = {}

    def feed(self, event: Event, more: bool = False) -> Iterator[str]:
        match event:
            case PartStarted(part_id=key, part=TextPart(text=text), choice=choice) if choice == self._choice:
                self._open[key] = [text]
                yield from filter(None, (text,))
            case PartDelta(part_id=key, delta=delta) if key in self._open:
                self._open[key].append(delta)
                yield delta
            case PartDone(part_id=key, part=TextPart(text=whole)) if key in self._open:
                said = "".join(self._open.pop(key))
                if whole.startswith(said) and whole != said:
                    yield whole[len(said) :]
            case ResponseFailed():
                raise failure(event)
            case _:
                pass


class Leaves:
    """The fields of an answer's structured output, in their order; long texts come in several pieces."""

    def __init__(self, *, ends: bool = False) -> None:
        self.part: DataPart | None = None
        """The output, once it is whole."""
        self._fields = Fields(ends=ends)
        self._key: str | None = None
        self._said = False

    def feed(self, event: Event, more: bool = False) -> Iterator[Leaf]:
        match event:
            case PartStarted(part_id=key, part=DataPart() as part, choice=0) if self._key is None:
                self._key = key
                yield from self._read(text_of(part))
            case PartDelta(part_id=key, delta=delta) if key == self._key:
                yield from self._read(delta)
            case PartDone(part_id=key, part=DataPart() as part) if key == self._key and self.part is None:
                self.part = part
                yield from self._read("" if self._said else text_of(part))
                yield from self._fields.close()
            case ResponseFailed():
                raise failure(event)
            case _:
                pass

    def _read(self, text: str) -> list[Leaf]:
        self._said = self._said or bool(text)
        return self._fields.feed(text)


class Drafts(Generic[_T]):
    """A type filled as its value comes; the last one is whole and valid. Those overtaken are left out."""

    def __init__(self, kind: type[_T]) -> None:
        self._kind = kind
        self._leaves, self._tree = Leaves(ends=True), Tree()
        self._news = False

    def feed(self, event: Event, more: bool = False) -> Iterator[_T]:
        if isinstance(event, ResponseDone):
            yield _whole(self._leaves.part, self._kind)
            return
        for leaf in self._leaves.feed(event):
            self._tree.apply(leaf)
            self._news = True
        if self._news and not more:
            self._news = False
            yield draft(self._kind, self._tree.value)


def caught_up(fold: Fold[_T], snapshot: Snapshot) -> Fold[_T]:
    """Return ``fold``, as it is after what was taken of the answer under way: it goes on from there."""
    response = snapshot.response
    for key, growing in response.parts.items() if response is not None and response.end is None else ():
        had: list[Event] = [PartStarted(key, growing.start, growing.choice)]
        had += [PartDone(key, growing.start)] if growing.done else []
        had += [PartDelta(key, "".join(growing.deltas))] if growing.deltas else []
        for event in had:
            for _ in fold(event, True):
                pass
    return fold


def final(snapshot: Snapshot) -> Response:
    """Return the latest answer, whole. Raises: AnswerFailed."""
    response = snapshot.response
    if response is None or response.end is None:
        raise AnswerFailed("no_answer", "no answer began where this reader began", status=404)
    if isinstance(response.end, ResponseFailed):
        raise failure(response.end)
    return response


def value_of(response: Response, kind: type[_T]) -> _T:
    """Return the structured output of an answer as ``kind``. Raises: OutputInvalid."""
    found = (part for part in response.content() if isinstance(part, DataPart))
    return _whole(next(found, None), kind)


def _whole(part: DataPart | None, kind: type[_T]) -> _T:
    if part is None:
        raise OutputInvalid("the answer has no structured output")
    if part.value is UNSET:
        raise OutputInvalid("the answer is not JSON to its end")
    return validated(kind, part.value)
