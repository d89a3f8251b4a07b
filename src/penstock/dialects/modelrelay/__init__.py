"""
ModelRelay: streams of NDJSON records, as its published SDKs speak them.

``modelrelay`` is the profile ``responses-stream/v2``, the one alive;
``modelrelay/v1`` is the generation that its type page still describes. Which one
an endpoint serves, and whether as NDJSON, as SSE or as one document, the Accept
header says. ``modelrelay/run`` is the log of a run. Our contract for them was
proven by running those SDKs; its sections are named where they bear.

What all readers survive (section 5.7): ASCII, a record to a line, no null where
a member may be missing, less than a MiB.
"""

from __future__ import annotations

from typing import Final

from .. import Dialect
from . import decode_v1, encode_v1, framing, run
from .answer import answer, batch, error, write_failure, write_model, write_result
from .decode import Decoder
from .encode import Encoder
from .request import read_request, read_results, read_run
from .write import write_request

__all__ = [
    "DIALECT",
    "RUN",
    "V1",
    "Decoder",
    "Encoder",
    "answer",
    "batch",
    "error",
    "read_request",
    "read_results",
    "read_run",
    "write_failure",
    "write_model",
    "write_request",
    "write_result",
]

_PATH: Final = "/responses"

V1: Final = Dialect(
    name="modelrelay/v1",
    framings=(framing.V1,),
    decoder=decode_v1.Decoder,
    encoder=encode_v1.Encoder,
    read_request=read_request,
    write_request=write_request,
    request_path=_PATH,
    error=error,
    failure_breaks=True,
)

RUN: Final = Dialect(
    name="modelrelay/run",
    framings=(framing.RUN,),
    encoder=run.Encoder,
    read_request=read_run,
    error=error,
)

DIALECT: Final = Dialect(
    name="modelrelay",
    framings=(framing.V2, framing.SSE),
    decoder=Decoder,
    encoder=Encoder,
    read_request=read_request,
    write_request=write_request,
    request_path=_PATH,
    error=error,
    variants={"v1": V1, "run": RUN},
)
