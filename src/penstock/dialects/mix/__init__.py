"""
Mix: a session is a stream, and its events go to whoever looks on, over many messages.

What is said travels on ``GET /stream`` alone, as SSE blocks of 16 names; every
other request is answered at once, with a document. Our contract for this wire was
proven by running its SDKs; its sections are named where they bear.

What its strictest reader survives (section 3): an id on every block, no event
outside of its union, no null, an integer where an integer is meant, small blocks.
One block that breaks a rule ends the stream for good.
"""

from __future__ import annotations

from typing import Final

from .. import Dialect
from .control import greeting, pulse
from .decode import Decoder
from .document import Tally, exported, history_row, kept_turns, rows, session, tally
from .encode import Encoder
from .framing import SSE
from .generations import generation_of
from .permission import permission_id, permission_of
from .request import Reply, Sent, read_callbacks, read_respond, read_rewind, read_send, read_session
from .words import ERROR_TYPES, error, message_name

__all__ = [
    "DIALECT",
    "ERROR_TYPES",
    "SSE",
    "Decoder",
    "Encoder",
    "Reply",
    "Sent",
    "Tally",
    "error",
    "exported",
    "generation_of",
    "greeting",
    "history_row",
    "kept_turns",
    "message_name",
    "permission_id",
    "permission_of",
    "pulse",
    "read_callbacks",
    "read_respond",
    "read_rewind",
    "read_send",
    "read_session",
    "rows",
    "session",
    "tally",
]

DIALECT: Final = Dialect(
    name="mix",
    framings=(SSE,),
    decoder=Decoder,
    encoder=Encoder,
    error=error,
    ids=True,
    pulse=pulse,
)
