"""
The published Opper SDKs, unmodified, each in a process of its own, and what their callers see.

Three protocols, so three kinds of user: :class:`V1`, :class:`V2` and
:class:`V3`. Those of v2 are the same to a test, whichever SDK it is: names are
snake_case, as Python's SDK has them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, Final, Literal, NamedTuple, Self

__all__ = ["KEY", "V1", "V2", "V3", "Colour", "Failure", "Sdk", "Seen", "interpreter", "node", "python"]

KEY: Final = "test-key"
"""What SDKs are given for a key where the server wants none."""

Colour = Literal["sync", "async"]

_TESTS: Final = Path(__file__).parents[2]
_NODE: Final = _TESTS / "interop" / "node"
_DEAD: Final = "the process with the SDK has died; its last words are on stderr"
_PATIENCE: Final = 60.0
"""Seconds for one call: generous, as machines that run tests are busy."""


class Failure(NamedTuple):
    """An exception, as far as its reader can tell."""

    kind: str
    """The name of its class."""
    kinds: Sequence[str]
    """Those of its ancestors too, nearest first."""
    message: str
    fields: Mapping[str, Any]

    @property
    def status(self) -> int | None:
        """The HTTP status."""
        found: int | None = self.fields.get("status_code") or self.fields.get("status")
        return found

    @property
    def body(self) -> Any:
        """What the server said."""
        body = self.fields["body"]
        return json.loads(body) if isinstance(body, str) else body

    @property
    def told(self) -> dict[str, Any]:
        """What the SDK of v2 understood of it."""
        return {"message": self.message, **(self.fields.get("data") or self.fields)}


class Seen(NamedTuple):
    """What the caller of an SDK sees of one call."""

    value: Any
    """What was returned; of an SDK that hands over bytes, these as text."""
    events: list[dict[str, Any]]
    """What was streamed."""
    headers: Mapping[str, Sequence[str]]
    failure: Failure | None
    """What was raised, after all of the above."""

    @property
    def raised(self) -> Failure:
        assert self.failure is not None, f"nothing was raised: {self}"
        return self.failure

    def well(self) -> Self:
        """Return the same, if nothing was raised."""
        assert self.failure is None, self.failure
        return self


class Sdk:
    """A driver process; see ``drivers/lines.py``."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._process = Popen(
            command, cwd=folder, env=_environment(), stdin=PIPE, stdout=PIPE, text=True, bufsize=1
        )
        self._waiting: dict[int, Future[Seen]] = {}
        self._asked = 0
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    def begin(self, call: str, **members: Any) -> Future[Seen]:
        """Ask for a call, and return at once."""
        assert self._process.stdin is not None and self._process.poll() is None, _DEAD
        self._asked += 1
        answer = self._waiting[self._asked] = Future()
        asked = {"n": self._asked, "call": call, "args": [], "kwargs": {}, "take": None, "colour": "sync"}
        self._process.stdin.write(json.dumps({**asked, **members}) + "\n")
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._reader.join()

    def _read(self, replies: IO[str]) -> None:
        with replies:
            for line in replies:
                reply = json.loads(line)
                self._waiting.pop(reply["n"]).set_result(_seen(reply))
        for answer in self._waiting.values():
            answer.set_exception(AssertionError(_DEAD))


def _environment() -> dict[str, str]:
    """Return this process's environment without what SDKs would take from it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPPER_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(_TESTS)}


def _seen(reply: dict[str, Any]) -> Seen:
    error = reply["error"]
    failure = error and Failure(error.pop("kind"), error.pop("kinds"), error.pop("message"), error)
    return Seen(reply["value"], reply["events"], reply["headers"], failure)


def interpreter(release: str) -> str:
    """Return the Python that has the PyPI release ``release``, beside the one that runs the tests."""
    folder = Path(sys.prefix) / f"opperai-{release}"
    installed = (folder / ".installed").exists()  # which is touched last
    assert installed, f"opperai {release} is not installed: `make opper-sdks VENV={sys.prefix}`"
    return str(folder / "bin" / "python")


def python(release: str, driver: str) -> Sdk:
    """Return the PyPI release ``release``."""
    return Sdk([interpreter(release), "-m", f"interop.opper.drivers.{driver}"], _TESTS)


def node(major: int) -> Sdk:
    """Return the npm release of that major version."""
    assert (_NODE / "node_modules" / f"opperai-{major}").is_dir(), (
        "opperai for Node is not installed: `make test-node`"
    )
    return Sdk(["node", f"opper{major}.mjs"], _NODE)


# -- v2

_IDS: Final = ("function_id", "revision_id", "span_id", "trace_id")
_POSITIONAL: Final = {
    "functions.get_by_name": ("name",),
    "functions.list": ("name", "sort", "offset", "limit"),
    "functions.revisions.list": ("function_id", "offset", "limit"),
}
"""Calls whose arguments are positions in JavaScript; others take the ids in their path, then one object."""
_BODIES: Final = ("call", "call_revision", "create", "stream", "stream_revision", "update")
_VERBATIM: Final = ("configuration", "detail", "input_schema", "json_payload", "output_schema", "usage")
"""Members whose own members are the caller's."""


class V2(NamedTuple):
    """A user of PyPI 1.x, or of npm 3.x: ``colour`` is None there."""

    sdk: Sdk
    colour: Colour | None

    def begin(
        self, url: str, call: str, *, take: int | None = None, headers: Mapping[str, str] | None = None,
        key: str = KEY, path: str = "/v2", retries: Mapping[str, float] | None = None, **arguments: Any,
    ) -> Future[Seen]:  # fmt: skip
        """
        Call a method, and return at once.

        Args:
            url: of the server.
            take: how many events to read before leaving.
            path: what the user appends to the server's address.
            retries: how the SDK is to try again, in milliseconds.
        """
        if self.colour is None:
            client = {"httpBearer": key, "serverURL": url + path}
            options = {"headers": headers, "retries": retries and _retrying(retries)}
            args = [*_placed(call, arguments), {name: value for name, value in options.items() if value}]
            return self.sdk.begin(_camel(call), client=client, args=args, take=take)
        client = {"http_bearer": key, "server_url": url + path}
        options = {"http_headers": headers, "retries": retries}
        options = {name: value for name, value in options.items() if value}
        return self.sdk.begin(
            call, client=client, kwargs={**arguments, **options}, take=take, colour=self.colour
        )

    def ask(self, url: str, call: str, **arguments: Any) -> Seen:
        """Call a method and wait; arguments as for :meth:`begin`."""
        return self.seen(self.begin(url, call, **arguments))

    def seen(self, answer: Future[Seen]) -> Seen:
        """Wait for what :meth:`begin` began."""
        seen = answer.result(_PATIENCE)
        if self.colour is not None:
            return seen
        return seen._replace(value=_snaked(seen.value), events=_snaked(seen.events))


def _placed(call: str, arguments: dict[str, Any]) -> list[Any]:
    """Return the arguments of a call in JavaScript."""
    if call in _POSITIONAL:
        return [arguments.get(name) for name in _POSITIONAL[call]]
    placed = [arguments[name] for name in _IDS if name in arguments]
    if call.rpartition(".")[2] not in _BODIES:
        return placed
    body = {_camel(key): value for key, value in arguments.items() if key not in _IDS}
    if isinstance(configuration := body.get("configuration"), dict) and call != "functions.update":
        body["configuration"] = {_camel(key): value for key, value in configuration.items()}
    return [*placed, body]


def _retrying(times: Mapping[str, float]) -> dict[str, Any]:
    backoff = {_camel(name): value for name, value in times.items()}
    return {"strategy": "backoff", "backoff": backoff, "retryConnectionErrors": True}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def _snaked(value: Any) -> Any:
    match value:
        case dict():
            renamed = ((_snake(key), inner) for key, inner in value.items())
            return {key: inner if key in _VERBATIM else _snaked(inner) for key, inner in renamed}
        case list():
            return [_snaked(each) for each in value]
        case _:
            return value


# -- v3 and v1


class V3(NamedTuple):
    """A user of PyPI 2.x."""

    sdk: Sdk
    colour: Colour

    def begin(
        self, url: str, call: str, *args: Any, take: int | None = None, key: str = KEY, **kwargs: Any
    ) -> Future[Seen]:
        """Call a method, and return at once."""
        client = {"api_key": key, "base_url": url}
        return self.sdk.begin(call, client=client, args=args, kwargs=kwargs, take=take, colour=self.colour)

    def ask(self, url: str, call: str, *args: Any, **kwargs: Any) -> Seen:
        """Call a method and wait; arguments as for :meth:`begin`."""
        return self.begin(url, call, *args, **kwargs).result(_PATIENCE)


class V1(NamedTuple):
    """A user of npm 2.x."""

    sdk: Sdk

    def begin(
        self, url: str, call: str, *args: Any, take: int | None = None, key: str = KEY,
        bearer: bool = False, **body: Any,
    ) -> Future[Seen]:  # fmt: skip
        """
        Call a method, and return at once.

        Args:
            take: how many blocks to read before leaving.
            bearer: whether the key goes into ``Authorization``.
        """
        client = {"apiKey": key, "baseURL": url, "isUsingAuthorization": bearer}
        return self.sdk.begin(call, client=client, args=[*args, *([body] if body else [])], take=take)

    def ask(self, url: str, call: str, *args: Any, **body: Any) -> Seen:
        """Call a method and wait; arguments as for :meth:`begin`."""
        return self.begin(url, call, *args, **body).result(_PATIENCE)
