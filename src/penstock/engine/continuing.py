"""
What a stream's history says about what may come next in it.

All of it is a look at what is on record; ``runs`` acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, convert

from ..errors import CallsPending, IdempotencyClash
from ..events import MessageAdded, ResponseDone, ToolResultPart
from ..requests import Start
from ..snapshot import Response, Snapshot
from .ids import next_response, response_name

__all__ = ["between_rounds", "check_results", "following", "is_there", "start_of", "stays_open"]


def between_rounds(response: Response) -> bool:
    """Whether nothing that the model said is lost: its last round is on record whole."""
    return bool(response.rounds) and response.rounds[-1] == len(response.parts)


def start_of(response: Response | None) -> Start:
    """Return what an answer was asked for with, without its input."""
    asked = {} if response is None or response.request is UNSET else response.request
    return convert({"model": "", **asked}, Start)


def following(snapshot: Snapshot, stream: str) -> str:
    """Return the name of the stream's next answer."""
    before = snapshot.response
    return next_response(before.response_id) if before else response_name(stream, 1)


def is_there(snapshot: Snapshot, message: MessageAdded) -> bool:
    """Whether a message of that id is there already. Raises: IdempotencyClash."""
    for turn in snapshot.turns:
        if isinstance(turn, MessageAdded) and turn.message_id == message.message_id:
            if turn.parts != message.parts:
                raise IdempotencyClash
            return True
    return False


def check_results(snapshot: Snapshot, messages: Sequence[MessageAdded]) -> None:
    """Raises: CallsPending (not every pending call has its result, or a result is of no such call)."""
    before = next((turn for turn in reversed(snapshot.turns) if isinstance(turn, Response)), None)
    end = before.end if before is not None else None
    pending = end.pending_calls if isinstance(end, ResponseDone) else ()
    parts = [part for message in messages for part in message.parts]
    told = [part.call_id for part in parts if isinstance(part, ToolResultPart)]
    faults = {
        "no result for": [name for name in pending if name not in told],
        "no such call as": [name for name in told if name not in pending],
    }
    said = [f"{fault} {', '.join(map(repr, names))}" for fault, names in faults.items() if names]
    if said:
        raise CallsPending(
            f"the calls that are pending must all be answered: {'; '.join(said)}", field="input"
        )


def stays_open(start: Start) -> bool:
    """Whether the stream takes messages after this answer: tool results are messages too."""
    if start.keep_open is not UNSET:
        return start.keep_open
    return any(not tool.runner for tool in start.tools)
