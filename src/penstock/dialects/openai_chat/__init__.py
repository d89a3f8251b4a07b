"""
OpenAI Chat Completions, streaming, and the many vendors that imitate it.

https://platform.openai.com/docs/api-reference/chat/streaming

Frames are anonymous JSON chunks ended by ``[DONE]``. Deltas are addressed by
position, not by name (``choices[0].delta.tool_calls[1]``), and nothing says
when a part ends. Comments name the rows of our contract for this wire, which
was proven by running the official SDKs.

Lost on the way out: which part a text belonged to, tool executions, reviews.
"""

from __future__ import annotations

from typing import Final

from ...errors import PenstockError
from ...wire import jsontext
from ...wire.sse import SSE
from .. import Dialect
from .decode import Decoder
from .encode import Encoder, completion, error_object
from .request import read_request, write_request

__all__ = ["DIALECT", "Decoder", "Encoder", "completion", "read_request", "write_request"]


def _error(error: PenstockError) -> bytes:
    return jsontext.encode({"error": error_object(error.code, error.message, error.status, error.field)})


DIALECT: Final = Dialect(
    name="openai-chat",
    framings=(SSE,),
    decoder=Decoder,
    encoder=Encoder,
    read_request=read_request,
    write_request=write_request,
    request_path="/chat/completions",
    error=_error,
)
