"""A small load with the faults of the large one (``make soak``), and what its record would say of any."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.soak import Plan, Record, differences, soak
from penstock.wire import Frame
from serving import Server

SMALL = Plan(sessions=20, seconds=120, messages=120, seed=1, between=0.2, life=0.3, away=0.02, deciding=0.05)
LOG = [Frame(b"%d" % number, "content", f"e.{number}") for number in range(5)]
OTHER = Frame(b"x", "content", "e.4")


async def test_what_is_read_in_pieces_is_what_was_said(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        record = await soak(server.url, SMALL)
    print(record)
    assert record.sound
    assert record.messages >= SMALL.messages and record.decisions
    assert record.delivered == record.events * SMALL.readers
    assert record.cuts >= record.resumes > 0 and record.torn


@pytest.mark.parametrize(
    ("had", "found"),
    [
        (LOG, (0, 0, 0)),
        (LOG[:3], (2, 0, 0)),
        ([], (5, 0, 0)),
        ([*LOG[:3], *LOG[2:]], (0, 1, 0)),
        ([*LOG[:1], *LOG[3:]], (2, 0, 0)),
        ([*LOG[:1], LOG[2], LOG[1], *LOG[3:]], (0, 0, 2)),
        ([*LOG[:4], OTHER], (0, 0, 1)),
        ([*LOG, Frame(b"5", "content", "f.5")], (0, 0, 1)),
        ([*LOG, OTHER], (0, 1, 1)),
    ],
    ids=["same", "end", "all", "twice", "gap", "order", "data", "strange", "twice, otherwise"],
)
def test_the_record_sees_what_is_wrong(had: list[Frame], found: tuple[int, int, int]) -> None:
    assert differences(LOG, had) == found


def test_a_record_is_sound_or_not() -> None:
    sound = Record(*[0] * len(Record._fields))
    assert sound.sound
    for fault in ("refused", "broken", "lost", "repeated", "wrong", "turns"):
        assert not sound._replace(**{fault: 1}).sound
