"""
A chat chunk as it lies on the wire, as tolerant as its vendors are inventive (contract, section 3).

Only what the decoder asks for is named; the rest is looked up where it matters.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, json

__all__ = ["NAMED", "Call", "Choice", "Chunk", "Delta", "Function", "decode_chunk"]


class Function(Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class Call(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(Struct, gc=False):
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: Any = None


class Choice(Struct, gc=False):
    delta: Delta | None = None
    index: int = 0
    finish_reason: str | None = None
    logprobs: Any = None


class XGroq(Struct, gc=False):
    usage: dict[str, Any] | None = None
    error: Any = None


class Chunk(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: XGroq | None = None


NAMED: Final = frozenset((*Chunk.__struct_fields__, "object", "created", "obfuscation"))
"""Members of a chunk that mean something here, or nothing to anybody."""

decode_chunk = json.Decoder(Chunk).decode
"""Return the chunk that bytes hold. Raises msgspec's errors."""
