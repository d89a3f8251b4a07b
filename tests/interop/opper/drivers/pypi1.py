"""The driver of PyPI ``opperai`` 1.x, which speaks v2."""

from __future__ import annotations

import json
from functools import cache
from itertools import islice
from typing import Any, Literal

from opperai import Opper  # type: ignore[import-not-found]
from opperai.utils import BackoffStrategy, RetryConfig  # type: ignore[import-not-found]
from pydantic import BaseModel

from interop.opper.drivers.lines import Asked, Seen, method, serve


class Guest(BaseModel):
    name: str
    vip: bool
    plus_one: str | None


class Seating(BaseModel):
    host: str
    guests: list[Guest]
    mood: Literal["calm", "merry"]
    tables: int = 1


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
        case "retries", dict():
            return RetryConfig("backoff", BackoffStrategy(**value), True)
        case _:
            return value


def perform(asked: Asked, seen: Seen) -> None:
    answer = called(asked)
    if not hasattr(answer, "result"):
        seen["value"] = plain(answer)
        return
    seen["headers"] = answer.headers
    with answer.result as stream:
        for event in islice(stream, asked["take"]):
            seen["events"].append(shown(event))


async def perform_async(asked: Asked, seen: Seen) -> None:
    answer = await called(asked)
    if not hasattr(answer, "result"):
        seen["value"] = plain(answer)
        return
    seen["headers"] = answer.headers
    async with answer.result as stream:
        async for event in stream:
            seen["events"].append(shown(event))
            if len(seen["events"]) == asked["take"]:
                break


def shown(event: Any) -> dict[str, Any]:
    """Return an event with the members of its data that are set."""
    data = {name: getattr(event.data, name) for name in event.data.model_fields_set}
    return {"id": event.id, "event": event.event, "retry": event.retry, "data": data}


def plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value


if __name__ == "__main__":
    serve(perform, perform_async)
