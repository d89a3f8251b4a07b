"""
Opper: functions that are called with an input, streaming, as its published SDKs speak it.

Three wires that have little in common but what they say, each offered beside
the others: ``opper`` is v2 (PyPI 1.x, npm 3.x), ``opper/v1`` that of npm 2.x,
``opper/v3`` that of PyPI 2.x. Our contract for them was proven by running those
SDKs; its sections are named where they bear.

What all readers survive (section 7): one ``data:`` line to a block, an ASCII
JSON object in it, keepalives as blocks of their own, ``[DONE]`` on v3 only.

Lost on the way out: reasoning, sources, tool executions, reviews, all choices
but the first; in v2 and v1 tool calls and usage too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from ...wire.sse import SSE
from .. import Dialect
from . import decode_v3, encode_v3
from .answer import answer, answer_v1, answer_v3, error, error_v1, error_v3, span_of
from .call import (
    Call,
    begin,
    read_call,
    read_call_v1,
    read_call_v3,
    read_input,
    read_request,
    read_request_v1,
    read_request_v3,
)
from .decode import Decoder
from .encode import Encoder
from .function import (
    patched,
    read_function,
    write_details_v3,
    write_function,
    write_listed,
    write_listed_v3,
    write_revision,
)
from .write import write_request, write_request_v3

__all__ = [
    "DIALECT",
    "V1",
    "V3",
    "Call",
    "Decoder",
    "Encoder",
    "answer",
    "answer_v1",
    "answer_v3",
    "begin",
    "patched",
    "read_call",
    "read_call_v1",
    "read_call_v3",
    "read_function",
    "read_input",
    "span_of",
    "write_details_v3",
    "write_function",
    "write_listed",
    "write_listed_v3",
    "write_request",
    "write_request_v3",
    "write_revision",
]

_FRAMING: Final = replace(SSE, keepalive=b": ping\n\n")
"""A comment line inside of a block loses the block to the parser of npm 2.x."""

V1: Final = Dialect(
    name="opper/v1",
    framings=(_FRAMING,),
    decoder=Decoder,
    encoder=partial(Encoder, narrow=True),
    read_request=read_request_v1,
    error=error_v1,
    failure_breaks=True,
)

V3: Final = Dialect(
    name="opper/v3",
    framings=(_FRAMING,),
    decoder=decode_v3.Decoder,
    encoder=encode_v3.Encoder,
    read_request=read_request_v3,
    write_request=write_request_v3,
    request_path="/v3/call/stream",
    error=error_v3,
)

DIALECT: Final = Dialect(
    name="opper",
    framings=(_FRAMING,),
    decoder=Decoder,
    encoder=Encoder,
    read_request=read_request,
    write_request=write_request,
    request_path="/call/stream",
    error=error,
    ids=True,
    failure_breaks=True,
    variants={"v1": V1, "v3": V3},
)
