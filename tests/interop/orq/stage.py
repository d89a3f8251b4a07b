"""
Where the SDKs' tests play: a server, the models behind it, the endpoint of its agents' tools.

Whatever a test waits for is something that has happened: a model said a word, a
tool was asked, the server sent an event. Nothing waits for time to pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2

from interop.modelrelay.saying import begun, ended
from interop.opper.sdks import Seen
from interop.opper.stage import Stage, Tap, opened
from interop.orq.sdks import KEY, User, seen
from interop.orq.workshop import Workshop
from upstream import Script, Upstream, sse

__all__ = [
    "House", "Keyed", "Waiting", "asks", "checked", "function", "given", "heard", "housed", "kinds", "of",
    "said", "spoken_to",
]  # fmt: skip

_NUMBERS: Final = count()
_EVENT: Final = re.compile(rb"^(?:id: [^\n]+\n)?data: (\{.*\})$", re.MULTILINE)


def asks(*calls: tuple[str, Any]) -> Script:
    """Call these tools: name and arguments. The calls are named after the tools."""
    begins = [begun(n, name, json.dumps(arguments)) for n, (name, arguments) in enumerate(calls)]
    return sse(*begins, *ended("tool_calls"))


def function(name: str, **properties: Any) -> dict[str, Any]:
    """Return a function of the caller's, as an agent's settings describe one."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    described = {"name": name, "description": f"Does {name}.", "parameters": parameters}
    return {"type": "function", "key": name, "function": described}


# -- what is said


def said(text: str) -> dict[str, Any]:
    """Return a user's message."""
    return {"role": "user", "parts": [{"kind": "text", "text": text}]}


def given(**results: Any) -> dict[str, Any]:
    """Return the message that tells what calls of these tools have resulted in."""
    parts = [
        {"kind": "tool_result", "tool_call_id": f"call_{name}", "result": result}
        for name, result in results.items()
    ]
    return {"role": "tool", "parts": parts}


# -- what is heard


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    """Return the types of events, those of parts left out."""
    return [event["type"] for event in events if not event["type"].startswith("part.")]


def of(events: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return what the one event of a type says."""
    [data] = [event["data"] for event in events if event["type"] == kind]
    return dict(data)


def spoken_to(events: Sequence[dict[str, Any]], kind: str = "text") -> str:
    """Return what the parts of a kind say, when they are done."""
    parts = [event["data"]["part"] for event in events if event["type"] == "part.done"]
    return "".join(part[kind] for part in parts if part["kind"] == kind)


def checked(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a whole turn, if they keep to the laws of the contract, sections 4 and 5."""
    types = [event["type"] for event in events]
    ends = [kind for kind in types if kind in ("response.done", "response.failed")]
    assert types[0] == "response.started" and types.count("response.started") == 1
    assert ends == types[-1:]
    _check_parts(events)
    _check_tools(events)
    return list(events)


def _check_parts(events: Sequence[dict[str, Any]]) -> None:
    """The deltas of a part are what it says when it is done; only a failure leaves one undone."""
    pieces: dict[str, str] = {}
    done: set[str] = set()
    for event in events:
        data = event["data"]
        match event["type"]:
            case "part.delta":
                assert data["part_id"] not in done
                delta = data["delta"]
                pieces[data["part_id"]] = pieces.get(data["part_id"], "") + delta[delta["kind"]]
            case "part.done":
                assert data["part_id"] not in done
                done.add(data["part_id"])
                part = data["part"]
                whole = part["kind"] in ("data", "file") or part[part["kind"]]
                assert whole is True or pieces.get(data["part_id"], "") == whole
            case _:
                pass
    assert done >= {*pieces} or events[-1]["type"] == "response.failed"


def _check_tools(events: Sequence[dict[str, Any]]) -> None:
    """Of each call: perhaps a review, asked for and decided; then, unless it is refused, start and end."""
    calls: dict[str, list[str]] = {}
    for event in events:
        if event["type"].startswith("tool."):
            data = event["data"]
            calls.setdefault(data["tool_call_id"], []).append(data.get("review", event["type"]))
    asked = "tool.review.requested"
    allowed = [
        [*review, "tool.started", end]
        for review in ([], [asked, "approved"])
        for end in ("tool.done", "tool.failed")
    ]
    assert all(life in [*allowed, [asked, "rejected"]] for life in calls.values()), calls


# -- where


class House(NamedTuple):
    """A server, the endpoint of its models, and that of its agents' tools."""

    stage: Stage
    workshop: Workshop

    @property
    def url(self) -> str:
        return self.stage.url

    def agent(
        self, *scripts: Script, tools: Sequence[dict[str, Any]] = (), model: Any = None, key: str = KEY,
        **settings: Any,
    ) -> str:  # fmt: skip
        """Define an agent and return its key; its model answers as these scripts say, one after the other."""
        name = f"agent-{next(_NUMBERS)}"
        body = {
            "key": name, "role": "tester", "description": "For tests.", "instructions": "Go on.",
            "path": "Default", "model": model or self.stage.plays(*scripts),
            "settings": {"tools": list(tools), **settings},
        }  # fmt: skip
        answer = self.http("POST", "/v2/agents", key=key, json=body)
        assert answer.status_code == 201, answer.text
        return name

    def tool(self, name: str) -> str:
        """Store an HTTP tool and return its id."""
        body = {"path": "Default", **self.workshop.tool(f"/{name}")}
        del body["requires_approval"]
        stored: dict[str, Any] = self.http("POST", "/v2/tools", json=body).raise_for_status().json()
        return str(stored["_id"])

    def http(self, method: str, path: str, *, key: str = KEY, **options: Any) -> httpx2.Response:
        """Ask what no SDK asks."""
        return self.stage.http(method, path, headers={"authorization": f"Bearer {key}"}, **options)

    def review(self, agent: str, task: str, action: str, review: str, **more: Any) -> httpx2.Response:
        """Decide about an action; ``more`` of the body, or the ``key`` of who decides."""
        path = f"/v2/agents/{agent}/tasks/{task}/actions/{action}/review"
        key = more.pop("key", KEY)
        return self.http("POST", path, key=key, json={"review": review, **more})

    def stored(self, agent: str, task: str, *, key: str = KEY) -> dict[str, Any]:
        """Return a task's latest turn."""
        answer = self.http("GET", f"/v2/agents/{agent}/responses/{task}", key=key).raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def turn(self, agent: str, **more: Any) -> dict[str, Any]:
        """Begin a turn without an SDK."""
        body = {"message": said("Go on"), **more}
        answer = self.http("POST", f"/v2/agents/{agent}/responses", json=body).raise_for_status()
        begun: dict[str, Any] = answer.json()
        return begun

    def task(self, agent: str, task: str) -> dict[str, Any]:
        """Return a task as it stands."""
        shown: dict[str, Any] = self.http("GET", f"/v2/agents/{agent}/tasks/{task}").raise_for_status().json()
        return shown

    def actions(self, agent: str, task: str) -> list[dict[str, Any]]:
        """Return what is there to decide about in a task, and was."""
        answer = self.http("GET", f"/v2/agents/{agent}/tasks/{task}/actions").raise_for_status()
        listed: list[dict[str, Any]] = answer.json()["data"]
        return listed

    def until_begun(self, agent: str) -> str:
        """Return the task that an agent has begun last, once there is one."""
        while True:
            for stream in self.http("GET", "/v1/streams?limit=5").json()["streams"]:
                if self.http("GET", f"/v2/agents/{agent}/tasks/{stream['id']}").status_code == 200:
                    return str(stream["id"])

    def until_asked(self, agent: str, task: str) -> None:
        """Return once a human is asked about something in a task."""
        while self.task(agent, task)["status"]["state"] != "input-required":
            pass

    def until_ended(self, agent: str, task: str) -> None:
        """Return once a task's turn has ended."""
        while self.stored(agent, task)["status"] == "in_progress":
            pass

    def attached(self, user: User, agent: str, task: str, **more: Any) -> Future[Seen]:
        """Watch the latest turn of a task: say nothing."""
        url = more.pop("url", self.url)
        asked = {"agent_key": agent, "task_id": task, "stream": True, **more}
        return user.begin(url, "agents.responses.create", message={"role": "user", "parts": []}, **asked)

    def ended(self, user: User, agent: str, task: str) -> dict[str, Any]:
        """Wait for the end of a task's latest turn, and return it as it is stored."""
        checked(seen(self.attached(user, agent, task)).well().events)
        return self.stored(agent, task)

    @contextmanager
    def waiting(self, user: User, agent: str, **more: Any) -> Iterator[Waiting]:
        """Let somebody begin a turn of an agent, and wait until a human is asked about a call in it."""
        asked = {"agent_key": agent, "message": said("Go on"), "stream": True, **more}
        with Tap(self.stage.server) as tap:
            answer = user.begin(tap.url, "agents.responses.create", **asked)
            tap.until(b'"tool.review.requested"')
            events = heard(tap)  # several may be asked for at once
            asked = next(event["data"] for event in events if event["type"] == "tool.review.requested")
            yield Waiting(of(events, "response.started")["taskId"], asked["toolCallId"], answer, tap)


class Keyed(NamedTuple):
    """A house with keys: of whoever defines agents, asks them, and may decide about what they do as well."""

    house: House
    defining: str
    asking: str
    trusted: str


class Waiting(NamedTuple):
    """A turn in which a human is to decide about a call."""

    task: str
    call: str
    answer: Future[Seen]
    """What the one sees who began it."""
    tap: Tap
    """Between that one and the server."""


def heard(tap: Tap) -> list[dict[str, Any]]:
    """Return the events that the server has sent through ``tap``, as they were on the wire."""
    return [json.loads(data) for data in _EVENT.findall(tap.said)]


@contextmanager
def housed(folder: Path, **settings: Any) -> Iterator[House]:
    """Run a server with models that do as they are told, and tools that do as they are told."""
    scripts: dict[str, Script] = {}
    with ExitStack() as stack:
        upstream, workshop = stack.enter_context(Upstream(scripts)), stack.enter_context(Workshop())
        stage = stack.enter_context(opened(folder, upstream, scripts, tool_hosts="127.0.0.1", **settings))
        yield House(stage, workshop)
