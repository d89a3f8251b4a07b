"""One answer, as servers of every dialect send it."""

from __future__ import annotations

from penstock.client.ways import Name
from penstock.cursor import Cursor
from penstock.dialects import Wire, get
from penstock.events import (
    Event,
    MessageAdded,
    PartDelta,
    PartDone,
    PartStarted,
    ResponseDone,
    ResponseStarted,
    TextPart,
)
from penstock.log import Record
from penstock.wire import Frame

__all__ = ["EVENTS", "WIRES", "frames"]

EVENTS: list[Event] = [
    MessageAdded("user", (TextPart("hi"),)),
    ResponseStarted("st_1.1", "m"),
    PartStarted("p1", TextPart()),
    *(PartDelta("p1", piece) for piece in ("Ri", "vers ", "run — ", "🌊", ".")),
    PartDone("p1", TextPart("Rivers run — 🌊.")),
    ResponseDone("stop"),
]
WIRES: dict[Name, Wire] = {
    "native": get("native").wire(),
    "openai-chat": get("openai-chat").wire(),
    "opper": get("opper").wire(),
    "opper/v3": get("opper/v3").wire(),
    "modelrelay": get("modelrelay").wire(),
    "mix": get("mix").wire(),
    "orq": get("orq").wire(),
}


def frames(name: Name, events: list[Event] = EVENTS) -> list[tuple[str, bytes]]:
    """What a server sends: each frame's id, if it has one, and its bytes."""
    wire, made = WIRES[name], []
    encoder = wire.encoder()
    for offset, event in enumerate(events):
        said = list(encoder.encode(Record(offset, 0.0, event)))
        for n, frame in enumerate(said, 1):
            last = n == len(said)
            id = str(Cursor("e1", offset + last, 0 if last else n)) if wire.dialect.ids else ""
            made.append((id, wire.framing.write(Frame(frame.data, frame.event, id))))
    return made
