"""The driver of PyPI ``opperai`` 2.x, which speaks v3."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import islice
from typing import Any

from opperai import Opper, RequestOptions  # type: ignore[import-not-found]

from interop.opper.drivers.lines import Asked, Seen, method, serve


@dataclass
class Guest:
    name: str
    vip: bool


@dataclass
class Seating:
    host: str
    guests: list[Guest]
    tables: int


CLASSES = {"Seating": Seating}
"""What may be given for a schema: ``{"class": its name}``."""


@cache
def client(arguments: str) -> Any:
    """Return the one client that has these arguments, so that its connections live on."""
    return Opper(**json.loads(arguments))


def called(asked: Asked) -> Any:
    opper = client(json.dumps(asked["client"]))
    return method(opper, asked)(
        *asked["args"], **{key: given(key, value) for key, value in asked["kwargs"].items()}
    )


def given(key: str, value: Any) -> Any:
    match key, value:
        case _, {"class": name}:
            return CLASSES[name]
        case "options", dict():
            return RequestOptions(**value)
        case _:
            return value


def perform(asked: Asked, seen: Seen) -> None:
    if asked["call"] == "trace":
        seen["value"] = traced(asked)
        return
    answer = called(asked)
    if not hasattr(answer, "__next__"):
        seen["value"] = plain(answer)
        return
    for chunk in islice(answer, asked["take"]):
        seen["events"].append(plain(chunk))
    answer.close()


async def perform_async(asked: Asked, seen: Seen) -> None:
    answer = await called(asked)
    if not hasattr(answer, "__anext__"):
        seen["value"] = plain(answer)
        return
    async for chunk in answer:
        seen["events"].append(plain(chunk))
        if len(seen["events"]) == asked["take"]:
            break
    await answer.aclose()


def traced(asked: Asked) -> Any:
    """Make a call within a trace of the caller's own."""
    opper = client(json.dumps(asked["client"]))
    with opper.trace(*asked["args"]) as span:
        answer = opper.call(*asked["args"], **asked["kwargs"], parent_span_id=span.id)
    return {"span": span.id, "trace": span.trace_id, "answer": plain(answer)}


def plain(value: Any) -> Any:
    """Return what an object holds, and of which class it is."""
    if is_dataclass(value):
        held = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {"class": type(value).__name__, **held}
    return [plain(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    serve(perform, perform_async)
