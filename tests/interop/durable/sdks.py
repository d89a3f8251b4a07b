"""
SDKs in environments of their own, with the durable transport and without.

They are driven as elsewhere (``interop/opper/drivers/lines.py``). The transport
needs nothing there but our sources and msgspec, which are put beside the SDK.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from interop.opper.sdks import Colour, Sdk, Seen

__all__ = ["Driven", "driven", "interpreter"]

_TESTS: Final = Path(__file__).parents[2]
_SOURCES: Final = _TESTS.parent / "src"
_PATIENCE: Final = 60.0

_TASK: Final = {"name": "durable", "instructions": "Go on.", "input": "rivers"}
_ORQ: Final = {
    "agent_key": "demo",
    "message": {"role": "user", "parts": [{"kind": "text", "text": "Go on"}]},
    "stream": True,
}
_LONG: Final = 6000
"""For wires on which a last frame repeats the whole answer."""


class _Asking(NamedTuple):
    """How a release is asked for a streamed answer."""

    driver: str
    call: str
    client: dict[str, str]
    """Its arguments; ``URL`` stands for the server."""
    args: list[Any]
    kwargs: dict[str, Any]
    longest: int = 1500
    """Bytes that a connection may bring at most: answers are several times as long, no frame is."""


_ORQ_ASKED: Final = _Asking(
    "orq", "agents.responses.create", {"api_key": "any", "server_url": "URL"}, [], _ORQ, _LONG
)
_ASKED: Final = {
    "opperai-1.7.2": _Asking(
        "opper1", "stream", {"http_bearer": "any", "server_url": "URL/v2"}, [], {**_TASK, "model": "demo"}
    ),
    "opperai-2.1.1": _Asking(
        "opper2", "stream", {"api_key": "any", "base_url": "URL"}, ["durable"],
        {"instructions": "Go on.", "input": "rivers", "model": "demo"}, longest=_LONG,
    ),
    "orq-ai-sdk-4.1.3": _ORQ_ASKED,
    "orq-ai-sdk-4.17.13": _ORQ_ASKED,
}  # fmt: skip


class Driven(NamedTuple):
    """One release."""

    release: str
    process: Sdk

    @property
    def longest(self) -> int:
        return _ASKED[self.release].longest

    def ask(self, url: str, colour: Colour, *, durable: bool = True, **more: Any) -> Seen:
        """Ask for an answer, streamed, and return what the caller sees of it; ``more`` of the request."""
        asked = _ASKED[self.release]
        client = {name: value.replace("URL", url) for name, value in asked.client.items()}
        return self.process.begin(
            asked.call, client={**client, "durable": durable}, args=asked.args,
            kwargs={**asked.kwargs, **more}, colour=colour,
        ).result(_PATIENCE)  # fmt: skip


def interpreter(release: str, folder: Path) -> list[str]:
    """Return the command that runs a release's Python; into ``folder`` is put what is beside it."""
    home = Path(sys.prefix) / release
    assert (home / ".installed").exists(), f"{release} is not installed: `make opper-sdks orq-sdks`"
    (folder / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    path = ":".join(map(str, (_TESTS, _SOURCES, folder)))
    return ["env", f"PYTHONPATH={path}", str(home / "bin" / "python")]


@contextmanager
def driven(release: str, folder: Path) -> Iterator[Driven]:
    """Run a release; ``folder`` is as for :func:`interpreter`."""
    module = f"interop.durable.drivers.{_ASKED[release].driver}"
    process = Sdk([*interpreter(release, folder), "-m", module], _TESTS)
    try:
        yield Driven(release, process)
    finally:
        process.close()
