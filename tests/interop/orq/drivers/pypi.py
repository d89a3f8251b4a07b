"""The driver of PyPI ``orq-ai-sdk``, of whichever release its interpreter has."""

from __future__ import annotations

import json
import os
from functools import cache
from itertools import islice
from typing import Any

from orq_ai_sdk import Orq  # type: ignore[import-not-found]
from orq_ai_sdk.utils import BackoffStrategy, RetryConfig  # type: ignore[import-not-found]
from pydantic import BaseModel

from interop.opper.drivers.lines import Asked, Seen, method, serve

os.environ.pop("ORQ_API_KEY", None)


@cache
def client(arguments: str) -> Any:
    """Return the one client that has these arguments, so that its connections live on."""
    return Orq(**json.loads(arguments))


def called(asked: Asked) -> Any:
    orq = client(json.dumps(asked["client"]))
    kwargs = dict(asked["kwargs"])
    if times := kwargs.get("retries"):
        kwargs["retries"] = RetryConfig("backoff", BackoffStrategy(**times), True)
    return method(orq, asked)(*asked["args"], **kwargs)


def perform(asked: Asked, seen: Seen) -> None:
    answer = called(asked)
    if not hasattr(answer, "generator"):
        seen["value"] = plain(answer)
        return
    with answer as stream:
        for item in islice(stream, asked["take"]):
            seen["events"].append(plain(item.data))


async def perform_async(asked: Asked, seen: Seen) -> None:
    answer = await called(asked)
    if not hasattr(answer, "generator"):
        seen["value"] = plain(answer)
        return
    async with answer as stream:
        async for item in stream:
            seen["events"].append(plain(item.data))
            if len(seen["events"]) == asked["take"]:
                break


def plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value


if __name__ == "__main__":
    serve(perform, perform_async)
