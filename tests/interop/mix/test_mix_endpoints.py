"""All that the SDK calls beside the stream, against a real server: what it answers, and with which status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from mix_python_sdk import errors, models

from interop.mix.users import BROWSER, ROLL, User, bodies, refused, scripted
from interop.opper.stage import Stage, opened, says
from mix_strict import EXPORT, ROW, SESSION_DATA, strict
from upstream import Script, Upstream

NOBODY: Final = "st_nobody"
CALLBACK: Final = {"toolName": "Bash", "type": "bash_script", "bashCommand": "ls", "bashTimeout": 120000}


def written(stage: Stage, path: str) -> Any:
    """What the server wrote, which the SDK hides: it forgives what others do not."""
    answer = stage.http("GET", path)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    return answer.json()


# -- sessions


def test_a_session_is_made_shown_listed_and_deleted(user: User, stage: Stage) -> None:
    made = user("sessions.create", title="Rivers", browser_mode=BROWSER)
    assert isinstance(made, models.SessionData)
    assert (made.title, made.session_type, made.browser_mode) == ("Rivers", "main", BROWSER)
    assert (made.user_message_count, made.assistant_message_count, made.tool_call_count) == (0, 0, 0)
    assert (made.prompt_tokens, made.completion_tokens, made.cost) == (0, 0, 0)
    assert made.created_at.tzinfo is not None
    assert user("sessions.get", id=made.id) == made
    younger = user.session("younger")
    listed = user("sessions.list")
    assert [each.id for each in listed][:2] == [younger, made.id] and made in listed
    for row in written(stage, "/api/sessions?includeSubagents=false"):
        strict(row, SESSION_DATA)
    assert user("sessions.delete", id=made.id) is None
    refused(user, "sessions.get", 404, "not_found", id=made.id)
    refused(user, "sessions.delete", 404, "not_found", id=made.id)
    assert made.id not in [each.id for each in user("sessions.list", include_subagents=True)]


def test_a_session_is_as_it_was_asked_for(user: User) -> None:
    mode, address = "remote-cdp-websocket", "wss://browser"
    made = user(
        "sessions.create", title="Ströme 🌊", browser_mode=mode, cdp_url=address, callbacks=[CALLBACK],
        custom_system_prompt="Be kind.", prompt_mode="append",
    )  # fmt: skip
    assert (made.title, made.browser_mode, made.cdp_url) == ("Ströme 🌊", mode, address)
    (callback,) = made.callbacks
    assert callback.model_dump(by_alias=True).items() >= CALLBACK.items()
    changed = user("sessions.update_session_callbacks", id=made.id, callbacks=[])
    assert changed.callbacks in (None, [])
    changed = user("sessions.update_session_callbacks", id=made.id, callbacks=[CALLBACK, CALLBACK])
    assert len(changed.callbacks) == 2 and user("sessions.get", id=made.id) == changed


def test_a_key_makes_creating_again_harmless(user: User) -> None:
    keys = [{"idempotency-key": key} for key in (f"a-{user.is_async}", f"b-{user.is_async}")]
    made = [user.session(http_headers=headers) for headers in (*keys, *keys)]
    assert made[:2] == made[2:] and made[0] != made[1]
    assert [each.id for each in user("sessions.list")].count(made[0]) == 1


def test_a_session_counts(user: User, stage: Stage) -> None:
    session = scripted(stage, *ROLL)
    user.turn(session, "Roll them.")
    shown = user("sessions.get", id=session)
    assert (shown.user_message_count, shown.assistant_message_count, shown.tool_call_count) == (1, 2, 1)
    assert shown.first_user_message == "Roll them."
    assert shown.prompt_tokens > 0 and shown.completion_tokens > 0
    assert next(each for each in user("sessions.list") if each.id == session) == shown
    strict(written(stage, f"/api/sessions/{session}"), SESSION_DATA)


# -- what was said


def test_a_history_says_what_was_said_and_done(user: User, stage: Stage) -> None:
    session = scripted(stage, *ROLL)
    heard = user.turn(session, "Roll them.")
    for row in written(stage, f"/api/sessions/{session}/messages"):
        strict(row, ROW)
    asked, working, said = user.history(session)
    assert asked == {
        "id": heard[0].data["messageId"], "sessionId": session, "role": "user", "userInput": "Roll them.",
    }  # fmt: skip
    assert (working["assistantResponse"], working["reasoning"]) == ("Let me roll.", "Dice, then.")
    (call,) = working["toolCalls"]
    assert (call["name"], call["input"]) == ("roll_dice", '{"dice":2}')
    assert call["finished"] is True and call["isError"] is False
    assert json.loads(call["result"])["total"] in range(2, 13)
    assert said["userInput"] == said["assistantResponse"] == "Rolled them."
    assert [row["role"] for row in (asked, working, said)] == ["user", "assistant", "assistant"]
    assert said["id"] == heard[-1].data["messageId"] and heard[-1].data["content"] == "Rolled them."


def test_all_that_the_user_said_comes_in_pages(user: User, stage: Stage) -> None:
    first, second = user.session(), user.session()
    for session, text in ((first, "one"), (second, "two"), (first, "three")):
        user.turn(session, text)

    def texts(**page: int) -> list[tuple[str, str]]:
        found = user("messages.get_history", **page)
        assert {each.role for each in found} <= {"user"}
        return [(each.session_id, each.user_input) for each in found]

    assert texts(limit=3) == [(first, "three"), (second, "two"), (first, "one")]
    assert texts(limit=1, offset=1) == texts()[1:2] == [(second, "two")]
    assert texts(offset=10**6) == []
    for row in written(stage, "/api/messages/history?limit=5"):
        strict(row, ROW)
    refused(user, "messages.get_history", 400, "bad_request", declared=False, limit=-1)


def test_a_session_is_rewound(user: User, stage: Stage) -> None:
    session = scripted(stage, *ROLL, says("Once more."), says("Instead."))
    first = user.turn(session, "Roll.")
    user.turn(session, "Again.")
    kept = user.history(session)[:3]
    back = user("sessions.rewind_session", id=session, message_id=first[-1].data["messageId"])
    assert (back.user_message_count, back.assistant_message_count) == (1, 2)
    assert user.history(session) == kept
    user.turn(session, "Do something else.")
    told = bodies(stage, session)[-1]["messages"]
    said = [message["content"] for message in told if message["role"] == "user"]
    assert said == ["Roll.", "Do something else."], "what was taken back is not told to the model"
    assert [row["userInput"] for row in user.history(session)[3:]] == ["Do something else.", "Instead."]
    refused(user, "sessions.rewind_session", 400, "bad_request", id=session, message_id="nothing")


def test_a_session_is_exported(user: User, stage: Stage) -> None:
    session = scripted(stage, *ROLL)
    user.turn(session, "Roll.")
    whole = user("sessions.export_session", id=session).result
    assert [(each.role, each.content) for each in whole.messages] == [
        ("user", "Roll."), ("assistant", "Let me roll."), ("assistant", "Rolled them."),
    ]  # fmt: skip
    assert [each.name for each in whole.messages[1].tool_calls] == ["roll_dice"]
    strict(written(stage, f"/api/sessions/{session}/export"), EXPORT)
    empty = user("sessions.export_session", id=user.session()).result
    assert empty.messages == []


# -- how it is answered


def test_a_message_says_how_it_is_to_be_answered(user: User, stage: Stage) -> None:
    facts = {"customSystemPrompt": "Speak like a sailor.", "promptMode": "append"}
    session = scripted(stage, says("Aye."), says("Aye."), **facts)
    user.turn(session, "Plan.", plan_mode=True, thinking_level="maximum")
    user.turn(session, "Do.")
    planned, plain = bodies(stage, session)
    assert planned["reasoning_effort"] == "high" and "reasoning_effort" not in plain
    assert planned["tool_choice"] == "none"
    system = planned["messages"][0]["content"]
    assert "Speak like a sailor." in system and "plan only" in system and "Use your tools" in system
    names = [tool["function"]["name"] for tool in plain["tools"]]
    assert names == ["roll_dice", "send_postcard"], "nobody is there to run those of the caller's"


def test_a_prompt_may_replace_the_agents(user: User, stage: Stage) -> None:
    facts = {"customSystemPrompt": "Speak like a sailor.", "promptMode": "replace"}
    session = scripted(stage, says("Aye."), **facts)
    user.turn(session)
    (body,) = bodies(stage, session)
    assert body["messages"][0] == {"role": "system", "content": "Speak like a sailor."}


def test_the_steps_of_an_answer_are_limited(user: User, stage: Stage) -> None:
    session = scripted(stage, *ROLL)
    heard = user.turn(session, max_steps=1)
    assert len(bodies(stage, session)) == 1
    assert heard[-1].event == "complete" and "error" not in [each.event for each in heard]


# -- what is refused

UNKNOWN: Final[dict[str, dict[str, Any]]] = {
    "sessions.get": {},
    "sessions.delete": {},
    "sessions.cancel_processing": {},
    "sessions.export_session": {},
    "sessions.rewind_session": {"message_id": "m1"},
    "sessions.update_session_callbacks": {"callbacks": []},
    "messages.list_session": {},
    "messages.send": {"text": "hello"},
}


@pytest.mark.parametrize("method", UNKNOWN)
@pytest.mark.parametrize("session", [NOBODY, "no such thing ü", "%2e", "a/b"])
def test_a_session_that_is_not_there_is_404(user: User, method: str, session: str) -> None:
    refused(user, method, 404, "not_found", id=session, **UNKNOWN[method])


def test_what_else_is_not_there_is_404(user: User) -> None:
    refused(user, "sessions.get", 404, "not_found", id="")
    refused(user, "streaming.stream_events", 404, "not_found", session_id=NOBODY)
    for method in ("permissions.grant", "permissions.deny"):
        for name in ("p1", "st_1.1-0123456789abcdef0123"):
            refused(user, method, 404, "not_found", id=name)
    refused(user, "notifications.respond_to_notification", 404, "not_found", id="n1", type_="acknowledge")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("sessions.create", {"title": "", "browser_mode": BROWSER}),
        ("sessions.create", {"title": "t", "browser_mode": BROWSER, "subagent_type": "magician"}),
        ("sessions.create", {"title": "t", "browser_mode": BROWSER, "prompt_mode": "append",
                             "custom_system_prompt": "x" * (50 * 1024 + 1)}),
        ("messages.send", {"text": ""}),
        ("messages.send", {"text": "hello", "max_steps": 0}),
        ("sessions.rewind_session", {"message_id": ""}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_400(user: User, method: str, arguments: dict[str, Any]) -> None:
    named: dict[str, Any] = {} if method == "sessions.create" else {"id": user.session()}
    refused(user, method, 400, "bad_request", **named, **arguments)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/stream", b""),
        ("GET", "/stream?sessionId=", b""),
        ("POST", "/api/sessions", b"{"),
        ("POST", "/api/sessions", b"[]"),
        ("POST", "/api/sessions", b""),
        ("POST", "/api/sessions", b'{"title": null}'),
        ("POST", "/api/sessions", b'{"title": "t", "browserMode": "netscape"}'),
    ],
)
def test_what_no_sdk_says_is_400_too(stage: Stage, method: str, path: str, body: bytes) -> None:
    answer = stage.http(method, path, content=body)
    assert answer.status_code == 400
    assert errors.ErrorResponseData.model_validate_json(answer.text).error.code == 400


def test_unknown_members_are_ignored(stage: Stage, ada: User) -> None:
    made = stage.http("POST", "/api/sessions", json={"title": "t", "colour": "blue"})
    assert made.status_code == 201 and made.json()["browserMode"] == BROWSER, "older SDKs send none"
    session = made.json()["id"]
    sent = {"text": "hello", "plan_mode": False, "thinking_level": None, "max_steps": None, "mood": [1]}
    answer = stage.http("POST", f"/api/sessions/{session}/messages", json=sent)
    assert (answer.status_code, answer.json()) == (202, {"sessionId": session, "status": "processing"})
    with ada.stream(session, "0") as stream:
        stream.until("complete")


def test_a_server_in_need_says_500(upstream: Upstream, scripts: dict[str, Script], tmp_path: Path) -> None:
    with opened(tmp_path, upstream, scripts) as stage, User(stage.url) as user:
        session = user.session()
        (tmp_path / "penstock-data" / "keys.json").write_text("not keys")
        refused(user, "sessions.list", 500, "internal_error")
        refused(user, "streaming.stream_events", 500, "internal_error", session_id=session)
        refused(user, "permissions.grant", 500, "internal_error", id="p")
        refused(user, "messages.send", 500, "internal_error", declared=False, id=session, text="hello")
        (tmp_path / "penstock-data" / "keys.json").unlink()
        assert user.history(session) == []


# -- around sessions


def test_what_is_asked_of_a_server_besides(user: User, stage: Stage) -> None:
    assert user("system.get_health").status == "ok"
    assert user("system.get_system_info").storage_base_path
    stored = user("authentication.store_api_key", provider="anthropic", api_key="sk-secret")
    assert (stored.status, stored.provider) == ("success", "anthropic")
    (status,) = user("authentication.get_auth_status").providers.values()
    assert status.authenticated and status.auth_method == "none"
    assert user("authentication.validate_preferred_provider").valid is True
    assert [each.name for each in user("tools.list_llm_tools").tools] == ["roll_dice", "send_postcard"]
    assert user("tools.get_tools_status").categories == {}
    assert user("tools.get_tool_credentials_status").categories == {}
    assert user("system.list_mcp_servers") == user("system.list_commands") == []
    assert list(user("preferences.get_preferences").available_providers) == ["penstock"]
    assert list(user("preferences.get_available_providers")) == ["penstock"]


OTHERS: Final[dict[str, dict[str, Any]]] = {
    "preferences.update_preferences": {},
    "preferences.reset_preferences": {},
    "authentication.start_o_auth_flow": {"provider": "anthropic"},
    "authentication.delete_credentials": {"provider": "anthropic"},
    "authentication.get_o_auth_health": {},
    "authentication.refresh_o_auth_tokens": {},
}


@pytest.mark.parametrize("method", OTHERS)
def test_what_is_not_offered_is_404(user: User, method: str) -> None:
    refused(user, method, 404, "not_found", declared=False, **OTHERS[method])


def test_there_are_no_commands_and_no_files(user: User) -> None:
    session = user.session()
    refused(user, "system.get_command", 404, "not_found", name="deploy")
    refused(user, "files.list_session_files", 404, "not_found", id=session)
    for method in ("files.get_session_file", "files.delete_session_file"):
        refused(user, method, 404, "not_found", id=session, filename="a.txt")
