"""
One module per dialect; the module is the registration.

To add a built-in dialect, drop a module here that ends in ``DIALECT = ...``. To
ship one from another package, point an entry point in the group
``penstock.dialects`` at such a constant. There is no list to edit.

A dialect whose wire has generations is the one that most of its SDKs speak; the
others are its *variants*, and are called ``opper/v1``.

A dialect is pure: frames to events, events to frames, request bodies to
``Start`` and back, errors to bodies. It knows no socket and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, Protocol

from ..errors import NoSuchPlugin, PenstockError
from ..events import Event
from ..requests import Start
from ..wire import Frame, Framing

__all__ = ["Decoder", "Dialect", "Encoder", "Spoken", "Wire", "available", "get"]

_GROUP = "penstock.dialects"


class Spoken(Protocol):
    """What an encoder is given: a record of a log."""

    @property
    def offset(self) -> int: ...
    @property
    def at(self) -> float: ...
    @property
    def event(self) -> Event: ...


class Decoder(Protocol):
    """Frames of one response in, events out: ``response.started`` first, one terminal event last."""

    def decode(self, frame: Frame) -> Iterable[Event]:
        """Raises: RemoteProtocolError."""
        ...

    def close(self, unfinished: Frame | None = None, *, broken: bool = False) -> Iterable[Event]:
        """
        The input has ended: finish, or say ``response.failed`` (code ``truncated``).

        ``unfinished`` is what the framing would discard; nothing if the terminal
        event has been said. ``broken`` says that the transport broke off: where
        a wire has no last word of its own, only that tells a cut from an end.
        """
        ...


class Encoder(Protocol):
    """
    Records in, frames out.

    An encoder is a fold: its frames are a function of the records since
    ``response.started`` and of nothing else -- no clock, no random id, no
    environment. That is what lets a reader resume in the middle, and lets a
    thousand readers share one encoding. It may be copied with ``deepcopy``.
    """

    def encode(self, record: Spoken) -> Iterable[Frame]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """A way of speaking. Either direction may be missing."""

    name: str
    framings: tuple[Framing, ...]
    """The first is the default; an Accept header may choose another."""
    decoder: Callable[..., Decoder] | None = None
    """Options by keyword: ``structured`` (the text is the JSON of a data part)."""
    encoder: Callable[..., Encoder] | None = None
    """Options by keyword, each dialect its own."""
    read_request: Callable[[Mapping[str, Any]], Start] | None = None
    """A request body, decoded, to a Start. Raises: RequestError, which names the field."""
    write_request: Callable[[Start], dict[str, Any]] | None = None
    """The reverse; ``start.input`` is the whole conversation."""
    request_path: str = ""
    """Where an upstream of this dialect takes requests, below its base URL."""
    error: Callable[[PenstockError], bytes] | None = None
    """An error as the body of an HTTP answer, in the shape this dialect's SDKs expect."""
    ids: bool = False
    """Whether frames carry their cursor as ``id``."""
    failure_breaks: bool = False
    """
    Whether the connection is broken after the frame of a failed response, because
    callers cannot see it otherwise: their SDK takes the frame for any other.
    """
    pulse: Callable[[str], bytes] | None = None
    """
    What fills a silence, where that has to say the cursor at which the reader stands;
    elsewhere it is the framing's keepalive.
    """
    variants: Mapping[str, Dialect] = field(default_factory=dict)
    """Other generations of this wire; ``v1`` of ``opper`` is named, and found as, ``opper/v1``."""

    def wire(self, framing: Framing | None = None, **options: Hashable) -> Wire:
        """Return one way to write this dialect."""
        return Wire(self, framing or self.framings[0], tuple(sorted(options.items())))


@dataclass(frozen=True, slots=True)
class Wire:
    """One way a dialect is written. Readers of one stream with equal wires share their encoding."""

    dialect: Dialect
    framing: Framing
    options: tuple[tuple[str, Hashable], ...] = field(default=())

    def encoder(self) -> Encoder:
        """Return a new encoder. Raises: NoSuchPlugin (the dialect cannot be written)."""
        if self.dialect.encoder is None:
            raise NoSuchPlugin(f"dialect {self.dialect.name!r} cannot be written")
        return self.dialect.encoder(**dict(self.options))


@cache
def get(name: str) -> Dialect:
    """
    Return the dialect called ``name``, or the variant ``dialect/variant``.

    Raises:
        NoSuchPlugin: there is none; the message says which one may be meant.
    """
    base, slash, variant = name.partition("/")
    found = _load(base)
    if not isinstance(found, Dialect):
        raise NoSuchPlugin(f"what is registered as dialect {base!r} is not a Dialect")
    if not slash:
        return found
    if variant not in found.variants:
        raise _unknown(name, [base, *(f"{base}/{each}" for each in found.variants)])
    return found.variants[variant]


def available() -> list[str]:
    """Return the names of all dialects that can be loaded; their variants are not told without loading."""
    built_in = {module.name.replace("_", "-") for module in iter_modules(__path__)}
    return sorted(built_in | set(entry_points(group=_GROUP).names))


def _load(name: str) -> object:
    names = available()
    if name not in names:
        raise _unknown(name, names)
    for entry_point in entry_points(group=_GROUP, name=name):
        return entry_point.load()
    return import_module(f"{__name__}.{name.replace('-', '_')}").DIALECT


def _unknown(name: str, names: list[str]) -> NoSuchPlugin:
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return NoSuchPlugin(f"no dialect {name!r}; {hint}")
