"""What a source hands over without waking the run is recorded as what it returns is."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.engine.attempts import Option
from penstock.engine.run import Means, Run
from penstock.engine.tools import Tools
from penstock.engine.upstreams import Sink, Source
from penstock.engine.writer import Writer
from penstock.events import Event, PartDelta, PartDone, PartStarted, ResponseDone, ResponseStarted, TextPart
from penstock.log.memory import MemoryLog
from penstock.requests import Start

PIECES = [f"{n} " for n in range(50)]


class Handing:
    """An upstream whose one answer is handed over as far as it is taken."""

    def __init__(self) -> None:
        whole = TextPart("".join(PIECES))
        deltas: list[Event] = [PartDelta("p", piece) for piece in PIECES]
        self.arriving: list[list[Event]] = [
            [ResponseStarted("theirs"), PartStarted("p", TextPart())],
            *([delta] for delta in deltas),
            [PartDone("p", whole), ResponseDone("stop")],
        ]
        self.taken = 0

    async def open(self, start: Start) -> Source:
        return self

    async def read(self, sink: Sink | None = None) -> Sequence[Event] | None:
        while self.arriving:
            events = self.arriving.pop(0)
            if sink is None or not sink(events):
                return events
            self.taken += 1
        return None

    async def aclose(self) -> None: ...


async def test_nothing_that_was_handed_over_is_lost() -> None:
    log, start, upstream = MemoryLog(), Start("m"), Handing()
    writer = Writer(log, "s", fresh=True)
    await writer.append(ResponseStarted("s.1"))
    means = Means(lambda start: [], Tools({}), max_iterations=1, review_time=1.0)
    assert await Run(log, writer, start, "s.1", means, seal=True).produce([Option(upstream, start)])
    stored = [record.event async for record in log.read("s")]
    assert [event.delta for event in stored if isinstance(event, PartDelta)] == PIECES
    assert isinstance(stored[-1], ResponseDone)
    assert upstream.taken > 0
