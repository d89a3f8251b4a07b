"""A server with keys: who may do what, and what belongs to whom, as the SDK tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import pytest

from interop.mix.users import BROWSER, POSTCARD, User, content, refused, scripted
from interop.opper.stage import Stage, opened
from serving import create_key
from upstream import Script, Upstream

SCOPES: Final = {
    "ada": ("run:write", "run:read", "run:cancel", "run:review"),
    "ben": ("run:write", "run:read", "run:cancel", "run:review"),
    "reader": ("run:read",),
    "writer": ("run:write",),
    "admin": ("admin",),
}


class Guarded(NamedTuple):
    stage: Stage
    users: dict[str, User]
    key: str
    """Ada's."""


@pytest.fixture(scope="module", params=["sync", "async"])
def keyed(
    request: pytest.FixtureRequest,
    upstream: Upstream,
    scripts: dict[str, Script],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Guarded]:
    """A server, and users by name; two have no key that is worth anything."""
    folder = tmp_path_factory.mktemp("keyed")
    keys = {name: create_key(folder, *scopes) for name, scopes in SCOPES.items()}
    keys |= {"nobody": "", "liar": f"{keys['ada']}x"}
    with opened(folder, upstream, scripts) as stage, ExitStack() as stack:
        users = {
            name: stack.enter_context(User(stage.url, request.param, key=key)) for name, key in keys.items()
        }
        yield Guarded(stage, users, keys["ada"])


EVERYTHING: Final[dict[str, tuple[dict[str, Any], bool]]] = {
    "streaming.stream_events": ({"session_id": "s"}, False),
    "sessions.create": ({"title": "t", "browser_mode": BROWSER}, False),
    "sessions.list": ({}, True),
    "sessions.get": ({"id": "s"}, False),
    "sessions.delete": ({"id": "s"}, False),
    "sessions.cancel_processing": ({"id": "s"}, False),
    "sessions.rewind_session": ({"id": "s", "message_id": "m"}, False),
    "sessions.export_session": ({"id": "s"}, False),
    "sessions.update_session_callbacks": ({"id": "s", "callbacks": []}, False),
    "messages.send": ({"id": "s", "text": "hello"}, False),
    "messages.list_session": ({"id": "s"}, False),
    "messages.get_history": ({}, True),
    "permissions.grant": ({"id": "p"}, True),
    "permissions.deny": ({"id": "p"}, True),
    "notifications.respond_to_notification": ({"id": "n", "type_": "acknowledge"}, True),
    "tools.list_llm_tools": ({}, False),
    "system.get_system_info": ({}, False),
}
"""Arguments, and whether the SDK knows that the answer may be 401."""


@pytest.mark.parametrize("method", EVERYTHING)
def test_who_has_no_key_is_refused(keyed: Guarded, method: str) -> None:
    arguments, declared = EVERYTHING[method]
    for name in ("nobody", "liar"):
        refused(keyed.users[name], method, 401, "unauthorized", declared=declared, **arguments)


def test_a_key_may_do_what_it_is_for(keyed: Guarded) -> None:
    ada, reader, writer = keyed.users["ada"], keyed.users["reader"], keyed.users["writer"]

    def forbidden(user: User, method: str) -> None:
        refused(user, method, 403, "unauthorized", declared=False, **EVERYTHING[method][0])

    for method in ("sessions.create", "sessions.delete", "messages.send", "sessions.cancel_processing",
                   "permissions.grant"):  # fmt: skip
        forbidden(reader, method)
    for method in ("streaming.stream_events", "sessions.list", "sessions.cancel_processing",
                   "permissions.deny"):  # fmt: skip
        forbidden(writer, method)
    assert reader("sessions.list") == [] and isinstance(writer.session(), str)
    assert content(ada.turn(ada.session())) == "At home."
    admin = keyed.users["admin"]
    assert content(admin.turn(admin.session())) == "At home."
    assert keyed.users["nobody"]("system.get_health").status == "ok"


def test_what_is_somebody_elses_is_not_there(keyed: Guarded) -> None:
    ada, ben = keyed.users["ada"], keyed.users["ben"]
    session = ada.session("hers", http_headers={"Idempotency-Key": "k"})
    heard = ada.turn(session, "Ada's words")
    for method, (arguments, _) in EVERYTHING.items():
        named = {key: session for key in ("id", "session_id") if arguments.get(key) == "s"}
        if named:
            refused(ben, method, 404, "not_found", **{**arguments, **named})
    refused(
        ben, "streaming.stream_events", 404, "not_found", session_id=session, last_event_id=heard[0].id
    )  # fmt: skip
    assert session not in [each.id for each in ben("sessions.list")]
    assert "Ada's words" not in [each.user_input for each in ben("messages.get_history")]
    assert ben.session("his", http_headers={"Idempotency-Key": "k"}) != session
    assert len(ada.history(session)) == 2


def test_only_who_was_asked_decides(keyed: Guarded) -> None:
    """It is the session's owner, with a key that may."""
    ada, ben, reader = (keyed.users[name] for name in ("ada", "ben", "reader"))
    session = scripted(keyed.stage, *POSTCARD, key=keyed.key)
    with ada.stream(session) as stream:
        ada.send(session)
        asked = stream.until("permission")[-1].data["id"]
        for verb in ("grant", "deny"):
            refused(ben, f"permissions.{verb}", 404, "not_found", id=asked)
            refused(reader, f"permissions.{verb}", 403, "unauthorized", declared=False, id=asked)
        assert ada("permissions.grant", id=asked).granted is True
        assert stream.until("complete")[0].data["success"] is True
