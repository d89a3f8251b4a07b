"""
An answer that may be asked for more than once.

The next model is asked if one fails before its first word; the same one is
asked again if its answer does not fit the schema. Both only as long as nothing
of the answer has been recorded, because what readers have seen cannot be taken
back: from then on a failure is the answer's end. Each failed attempt leaves an
event in the log that says what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from ..errors import InvalidJson, OutputInvalid, PenstockError
from ..events import (
    ATTEMPT_FAILED,
    TERMINAL,
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
    ToolCallPart,
)
from ..fields import Fields
from ..requests import Start
from .schemas import Schema, compiled
from .upstreams import Sink, Source, Upstream

__all__ = ["Attempts", "Option", "asked"]


class Option(NamedTuple):
    """A way to get the answer."""

    upstream: Upstream
    start: Start
    """The request as this upstream is to be asked: its own name for the model, its options."""


async def asked(start: Start, options: Sequence[Option]) -> Source:
    """
    Return the answer to ``start``, which has at least one option.

    Raises: UpstreamError, RequestError.
    """
    (upstream, first), *others = options
    if not others and not start.attempts and not start.hold:
        return await upstream.open(first)
    schema = None
    if start.attempts and start.output_schema is not UNSET:
        schema = compiled(start.output_schema, "output_schema")
    return Attempts(options, schema, max(1, start.attempts), hold=start.hold)


class Attempts:
    """A :class:`~penstock.engine.upstreams.Source` made of several."""

    def __init__(
        self, options: Sequence[Option], schema: Schema | None, attempts: int, *, hold: bool
    ) -> None:
        """
        Args:
            schema: what the answer has to fit, if it is to be checked.
            attempts: how often each model may be asked for such an answer.
            hold: record nothing before the answer is whole, so that all attempts remain.
        """
        self._options = list(options)
        self._schema, self._attempts, self._hold = schema, attempts, hold
        self._left = attempts
        self._source: Source | None = None
        self._held: list[Event] = []
        self._released = False
        """Whether something of the answer was recorded: there is no way back."""
        self._check = _Check(schema)

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        while True:
            events: Sequence[Event] | None = None
            try:
                source = self._source or await self._open()
                events = await source.read(sink if self._released and self._schema is None else None)
                said, fault = self._judged(events or ())
            except PenstockError as exc:
                said, fault = (), exc
            if fault is None:
                ready = self._pass(said)
                if ready or events is None or self._released:
                    return ready if events is not None else None
            elif note := await self._again(fault):
                return [note]
            else:
                return self._ended(said, fault)

    def _judged(self, events: Sequence[Event]) -> tuple[Sequence[Event], PenstockError | None]:
        """Return what was said up to a fault, if there is one, and the fault."""
        if not self._released and (failure := _early_failure(events)):
            return events[:-1], failure
        for n, event in enumerate(events):
            try:
                self._check.take(event)
            except OutputInvalid as exc:
                return events[:n], exc
        return events, None

    async def aclose(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.aclose()

    async def _open(self) -> Source:
        upstream, start = self._options[0]
        self._source = await upstream.open(start)
        return self._source

    async def _again(self, fault: PenstockError) -> Event | None:
        """Make ready for another attempt; return what the log says of this one, None if it was the last."""
        if self._released:
            return None
        model = self._options[0].start.model
        if isinstance(fault, OutputInvalid):
            if self._left == 1:
                return None
            self._left -= 1
        elif len(self._options) == 1:
            return None
        else:
            del self._options[0]
            self._left = self._attempts
        await self.aclose()
        self._held, self._check = [], _Check(self._schema)
        return Custom(ATTEMPT_FAILED, {"model": model, "code": fault.code, "message": fault.message})

    def _ended(self, said: Sequence[Event], fault: PenstockError) -> list[Event]:
        """Return the end of an answer of which no attempt is left."""
        said, self._held = [*self._held, *said], []
        match fault:
            case _Failed(event=event):
                return [*said, event]
            case OutputInvalid():
                extra = {"status": fault.status, "field": fault.field}
                kept = said if self._released else [e for e in said if isinstance(e, ResponseStarted)]
                return [*kept, ResponseFailed(fault.code, fault.message, extra=extra)]
            case _:
                raise fault

    def _pass(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return what may be recorded now of what was said so far."""
        if self._released:
            return events
        self._held += events
        over = bool(events) and isinstance(events[-1], TERMINAL)
        if over or (self._check.spoken and not self._hold):
            self._released = True
            held, self._held = self._held, []
            return held
        return ()


class _Failed(PenstockError):
    """The model failed in its own words."""

    def __init__(self, event: ResponseFailed) -> None:
        super().__init__(event.message)
        self.code, self.retryable, self.event = event.code, event.retryable, event


def _early_failure(events: Sequence[Event]) -> _Failed | None:
    for event in events:
        if isinstance(event, ResponseFailed):
            return _Failed(event)
        if not isinstance(event, ResponseStarted):
            return None
    return None


class _Check:
    """Whether an answer has begun, and fits."""

    def __init__(self, schema: Schema | None) -> None:
        self._schema = schema
        self._data: dict[str, Fields] = {}
        """Data parts that have not said a leaf yet."""
        self._other = False
        """Whether something was said in place of data: a refusal, a tool call."""
        self._fitted = False
        self.spoken = False
        """Whether something was said that counts: with a schema, the first leaf of a value."""

    def take(self, event: Event) -> None:
        """Raises: OutputInvalid."""
        if self._schema is not None:
            self._judge(self._schema, event)
        elif not isinstance(event, ResponseStarted):
            self.spoken = True

    def _judge(self, schema: Schema, event: Event) -> None:
        match event:
            case PartStarted(part_id=key, part=DataPart()):
                self._data[key] = Fields()
            case PartStarted(part=RefusalPart() | ToolCallPart()):
                self._other = self.spoken = True
            case PartDelta(part_id=key, delta=text) if key in self._data:
                self._hear(key, text)
            case PartDone(part=DataPart(value=value)):
                self._fits(schema, value)
            case ResponseDone(finish_reason=reason) if not (self._fitted or self._other):
                if reason != "cancelled":
                    raise OutputInvalid(f"the answer ended ({reason}) without a value")
            case _:
                pass

    def _hear(self, key: str, text: str) -> None:
        try:
            leaves = self._data[key].feed(text)
        except InvalidJson as exc:
            raise OutputInvalid(f"the answer is not JSON: {exc.message}") from exc
        if leaves:
            del self._data[key]
            self.spoken = True

    def _fits(self, schema: Schema, value: object) -> None:
        if value is UNSET:
            raise OutputInvalid("the answer is not a whole JSON value")
        if fault := schema.fault(value):
            path, why = fault
            raise OutputInvalid(
                f"the answer does not fit the output schema: {path or 'it'}: {why}", field=path or None
            )
        self._fitted = self.spoken = True
