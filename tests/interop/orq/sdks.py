"""
The published SDKs of orq.ai, unmodified, each in a process of its own, and what their callers see.

To a test they are the same, whichever release in whichever language: names are
snake_case, as Python's SDK has them, and what is not there is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple

from interop.opper.sdks import Colour, Sdk, Seen

__all__ = ["ACTIONS", "KEY", "NODE", "PYTHON", "User", "node", "python"]

KEY: Final = "test-key"
"""What SDKs are given for a key where the server wants none."""
PYTHON: Final = ("4.1.3", "4.17.13")
NODE: Final = ("4.4", "4.15")
ACTIONS: Final = "3"
"""The generation of npm's that could still list actions."""

_TESTS: Final = Path(__file__).parents[2]
_NODE: Final = _TESTS / "interop" / "node"
_PATIENCE: Final = 60.0
"""Seconds for one call: generous, as machines that run tests are busy."""


def python(release: str) -> Sdk:
    """Return the PyPI release, from its environment beside the one that runs the tests."""
    folder = Path(sys.prefix) / f"orq-ai-sdk-{release}"
    installed = (folder / ".installed").exists()  # which is touched last
    assert installed, f"orq-ai-sdk {release} is not installed: `make orq-sdks VENV={sys.prefix}`"
    return Sdk([str(folder / "bin" / "python"), "-m", "interop.orq.drivers.pypi"], _TESTS)


def node(release: str) -> Sdk:
    """Return the npm release."""
    name = f"orq-{release}"
    assert (_NODE / "node_modules" / name).is_dir(), "orq.ai for Node is not installed: `make test-node`"
    return Sdk(["node", "orq.mjs", name], _NODE)


# -- users

_POSITIONAL: Final[dict[str, tuple[str, ...]]] = {
    "agents.responses.create": ("", "agent_key"),
    "agents.list": ("limit", "starting_after", "ending_before"),
    "agents.retrieve": ("agent_key",),
    "agents.update": ("", "agent_key"),
    "agents.delete": ("agent_key",),
}
"""Arguments of calls in JavaScript; an empty name: all others, in one object. That is all of other calls."""
_VERBATIM: Final = ("metadata", "parameters", "result", "variables")
"""Members whose own members are the caller's."""


class User(NamedTuple):
    """Somebody who has one of the SDKs; ``colour`` is None in JavaScript."""

    sdk: Sdk
    release: str
    colour: Colour | None

    @property
    def reads_answers(self) -> bool:
        """Whether the release has a method that reads a stored answer."""
        return self.release not in ("4.1.3", "4.4")

    def begin(
        self, url: str, call: str, *, take: int | None = None, api_key: str | None = KEY,
        **arguments: Any,
    ) -> Future[Seen]:  # fmt: skip
        """
        Call a method, and return at once.

        Args:
            url: of the server.
            take: how many events to read before leaving.
            arguments: those of Python's SDK, also ``timeout_ms``, ``retries`` and ``accept_header_override``.
        """
        if self.colour is not None:
            client = {"api_key": api_key, "server_url": url}
            return self.sdk.begin(call, client=client, kwargs=arguments, take=take, colour=self.colour)
        client = {"serverURL": url, **({} if api_key is None else {"apiKey": api_key})}
        return self.sdk.begin(call, client=client, args=_placed(call, arguments), take=take)

    def ask(self, url: str, call: str, **arguments: Any) -> Seen:
        """Call a method and wait; arguments as for :meth:`begin`."""
        return seen(self.begin(url, call, **arguments))


def seen(answer: Future[Seen]) -> Seen:
    """Wait for what :meth:`User.begin` began."""
    found = answer.result(_PATIENCE)
    return found._replace(value=_snaked(found.value), events=_snaked(found.events))


# -- from one language to the other

_OPTIONS: Final = ("timeout_ms", "retries", "accept_header_override")


def _placed(call: str, arguments: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of a call in JavaScript, its options last."""
    given = {name: value for name, value in arguments.items() if name not in _OPTIONS}
    options = {_camel(name): _optional(name, arguments[name]) for name in _OPTIONS if name in arguments}
    given = given.get("request", given)  # what Python calls the body of a tool
    places = _POSITIONAL.get(call, ("",))
    rest = {name: value for name, value in given.items() if name not in places}
    placed = [given.get(name) if name else _cameled(rest) for name in places]
    return [*placed, *([options] if options else [])]


def _optional(name: str, value: Any) -> Any:
    if name == "retries":
        backoff = {_camel(key): number for key, number in value.items()}
        return {"strategy": "backoff", "backoff": backoff, "retryConnectionErrors": True}
    return value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _snake(name: str) -> str:
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    return snake.removeprefix("_")


def _cameled(value: Any) -> Any:
    match value:
        case dict():
            return {
                _camel(key): inner if key in _VERBATIM else _cameled(inner) for key, inner in value.items()
            }
        case list():
            return [_cameled(each) for each in value]
        case _:
            return value


def _snaked(value: Any) -> Any:
    """Return ``value`` as a caller in Python has it, without what is None: some SDKs fill that in."""
    match value:
        case dict():
            said = {_snake(key): inner for key, inner in value.items() if inner is not None}
            content = said.get("kind") == "data"
            return {
                key: inner if key in _VERBATIM or _callers(key, inner, content) else _snaked(inner)
                for key, inner in said.items()
            }
        case list():
            return [_snaked(each) for each in value]
        case _:
            return value


def _callers(key: str, value: Any, content: bool) -> bool:
    """Whether a member is the caller's by what it stands in: ``data`` is content in a part alone."""
    return (key == "data" and content) or (key == "arguments" and isinstance(value, dict))
