"""
orq.ai's agents, as its published SDKs speak to them.

A task is a stream, a turn is a response, an action is a call of a tool that the
server runs or asks about. Our contract for it was proven by running those SDKs;
its sections are named where they bear. They refuse every event that they do not
know exactly, so that ``strict`` has the last word on what leaves here.

Lost on the way out: sources, custom events, all choices but the first; who
decided a review, and whether it expired; that an answer was cancelled, which
can only be said as a failure.
"""

from __future__ import annotations

from typing import Final

from ...wire.sse import SSE
from .. import Dialect
from .agent import kept, patched, read_agent, write_agent
from .decode import Decoder
from .document import (
    Times,
    action,
    action_id,
    actions,
    answer,
    error,
    find_action,
    read_review,
    stored,
    task,
    times,
)
from .encode import Encoder
from .request import Turn, read_turn, rendered
from .tool import patched_tool, read_tool, servers, write_tool
from .words import Failure, failure, task_of

__all__ = [
    "DIALECT",
    "Decoder",
    "Encoder",
    "Failure",
    "Times",
    "Turn",
    "action",
    "action_id",
    "actions",
    "answer",
    "error",
    "failure",
    "find_action",
    "kept",
    "patched",
    "patched_tool",
    "read_agent",
    "read_review",
    "read_tool",
    "read_turn",
    "rendered",
    "servers",
    "stored",
    "task",
    "task_of",
    "times",
    "write_agent",
    "write_tool",
]

DIALECT: Final = Dialect(
    name="orq",
    framings=(SSE,),
    decoder=Decoder,
    encoder=Encoder,
    error=error,
    ids=True,
)
"""A turn's body names no agent, so that it is no request by itself; its front puts the two together."""
