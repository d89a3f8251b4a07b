"""Opper's and orq.ai's SDKs behind cuts: with the durable transport they see none, without they raise."""

from __future__ import annotations

from typing import Any

import pytest

from interop.durable.sdks import Driven
from interop.durable.shears import CUTS, Shears, anywhere
from interop.opper.sdks import Colour, Seen
from interop.opper.stage import Stage

pytestmark = pytest.mark.cuts

BOTH = pytest.mark.parametrize("colour", ["sync", "async"])


def said(seen: Seen) -> list[str]:
    """Return the pieces of text that were streamed, in whichever wire."""
    return [piece for event in seen.events if (piece := _piece(event))]


def _piece(event: dict[str, Any]) -> Any:
    match event:
        case {"type": "part.delta", "data": {"delta": {"text": text}}}:  # orq
            return text
        case {"type": "content", "delta": text} | {"data": {"delta": text}}:  # Opper, v3 and v2
            return text
        case _:
            return None


@BOTH
def test_cuts_are_not_seen(stage: Stage, sdk: Driven, colour: Colour, pieces: list[str]) -> None:
    answers = 0
    uncut = sdk.ask(stage.url, colour).well()
    assert said(uncut) == pieces
    with Shears(stage.url, anywhere(2, sdk.longest)) as shears:
        while shears.cuts < CUTS:
            seen = sdk.ask(shears.url, colour).well()
            assert said(seen) == pieces and len(seen.events) == len(uncut.events)
            answers += 1
    print(f"{sdk.release} {colour}: {shears.cuts} cuts in {answers} answers, none seen")


@BOTH
def test_without_the_transport_each_cut_raises(stage: Stage, sdk: Driven, colour: Colour) -> None:
    raised = 0
    with Shears(stage.url, anywhere(2, sdk.longest)) as shears:
        while shears.cuts < CUTS:
            seen = sdk.ask(shears.url, colour, durable=False)
            assert seen.raised.kind in ("RemoteProtocolError", "ReadError"), seen.raised
            raised += 1
    assert raised == shears.cuts
    print(f"{sdk.release} {colour}: {raised} cuts, {raised} errors")
