"""Turns through the real SDK: its helpers, what waits, what is stopped, what fails, what is sent twice."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mix_python_sdk import Mix, errors, helpers

from interop.mix.users import (
    AGAIN,
    AT_ONCE,
    BROWSER,
    POSTCARD,
    ROLL,
    ROLLED,
    Heard,
    User,
    bodies,
    content,
    names,
    refused,
    scripted,
)
from interop.opper.stage import END, Stage, Tap, opened, paused, says
from upstream import Script, Upstream, chunk, hang, refusal, reset, sse

# -- several turns


def test_a_session_of_several_turns(user: User, stage: Stage) -> None:
    session = scripted(stage, says("Fine."), *ROLL, says("Bye."))
    with user.stream(session) as stream:
        heard: list[list[Heard]] = []
        for text in ("How are you?", "Roll.", "Good night."):
            user.send(session, text)
            heard.append(stream.until("complete"))
    short = ["user_message_created", "content", "complete"]
    assert [names(turn) for turn in heard] == [short, ROLLED, short]
    told = [(message["role"], message["content"]) for message in bodies(stage, session)[-1]["messages"][1:]]
    assert told[0] == ("user", "How are you?") and told[1] == ("assistant", "Fine.")
    assert [role for role, _ in told[2:]] == ["user", "assistant", "tool", "assistant", "user"]


def test_a_turn_is_one_complete_with_all_that_was_said(user: User, stage: Stage) -> None:
    turn = user.turn(scripted(stage, *ROLL))
    assert names(turn) == ROLLED
    end = turn[-1].data
    assert (end["type"], end["done"], end["content"]) == ("complete", True, "Rolled them.")
    first, second = dict.fromkeys(each.data["assistantMessageId"] for each in turn if each.event == "content")
    assert end["messageId"] == second != first
    begun, complete = turn[7].data, turn[8].data
    assert begun["toolName"] == complete["toolName"] == "roll_dice" and complete["success"] is True
    assert turn[6].data["id"] == begun["toolCallId"] == complete["toolCallId"]


async def test_query(stage: Stage) -> None:
    session = scripted(stage, *ROLL, says("Fresh."))
    async with Mix(server_url=stage.url) as mix:
        found = [event async for event in helpers.query(mix, session, "Roll.")]
        assert [event.type for event in found] == [
            "thinking", "content", "content", "tool_execution_start", "tool_execution_complete",
            "content", "content", "complete",
        ]  # fmt: skip
        assert "".join(filter(None, (event.content for event in found[:-1]))) == "Let me roll.Rolled them."
        found = [event async for event in helpers.query(mix, session, "And?")]
        assert [event.type for event in found] == ["content", "complete"], "nothing of the turn before"


async def test_send_with_callbacks(stage: Stage) -> None:
    session = scripted(stage, *ROLL, *POSTCARD, refusal(400, {"error": {"message": "No."}}))
    heard: list[Any] = []
    async with Mix(server_url=stage.url) as mix:

        def note(kind: str) -> Any:
            return lambda *said: heard.append((kind, *said))

        def grant(asked: Any) -> None:
            heard.append(("permission", asked.tool_name))
            mix.permissions.grant(id=asked.id)

        on = {
            f"on_{kind}": note(kind)
            for kind in ("thinking", "content", "tool_execution_start", "tool_execution_complete", "error",
                         "complete")
        }  # fmt: skip
        for text in ("Roll.", "Write.", "Fail."):
            await helpers.send_with_callbacks(mix, session, text, on_permission=grant, **on)
            heard.append(text)
    kinds = [each if isinstance(each, str) else each[0] for each in heard]
    assert kinds == [
        "thinking", "content", "content", "tool_execution_start", "tool_execution_complete",
        "content", "content", "complete", "Roll.",
        "tool_execution_start", "permission", "tool_execution_complete", "content", "content", "complete",
        "Write.", "error", "Fail.",
    ]  # fmt: skip
    assert ("permission", "send_postcard") in heard


# -- waiting


def test_messages_are_answered_one_after_the_other(user: User, stage: Stage, gate: threading.Event) -> None:
    answers = [paused(sse(chunk("0")), gate.wait, *END), *(says(str(n)) for n in range(1, 4))]
    session = scripted(stage, *answers)
    with user.stream(session) as stream:
        user.send(session, "first")
        stream.until("content")
        with ThreadPoolExecutor(3) as pool, User(stage.url) as crowd:
            list(pool.map(lambda text: crowd.send(session, text), ("a", "b", "c")))
        assert [row["userInput"] for row in user.history(session)][:2] == ["first", "0"]
        assert user("sessions.get", id=session).user_message_count == 4, "what waits is said"
        gate.set()
        stream.until("complete")
        turns = [stream.until("complete") for _ in range(3)]
    assert [names(turn) for turn in turns] == [["user_message_created", "content", "complete"]] * 3
    assert [content(turn) for turn in turns] == ["1", "2", "3"]
    asked = [turn[0].data["content"] for turn in turns]
    assert sorted(asked) == ["a", "b", "c"]
    said = [row["userInput"] for row in user.history(session) if row["role"] == "user"]
    assert said == ["first", *asked], "in the order in which they came"


def test_messages_that_come_while_turns_end_are_answered(stage: Stage) -> None:
    """Nobody waits for anybody here: some of them come just when the turn before has ended."""
    with User(stage.url) as user:
        for _ in range(15):
            session = scripted(stage, *[says("A")] * 6)
            with user.stream(session) as stream:
                for n in range(6):
                    user.send(session, str(n))
                turns = stream.until("complete", 6)
            assert [turn.data["content"] for turn in turns if turn.event == "user_message_created"] == [
                *"012345"
            ]


def test_a_waiting_message_keeps_its_own_settings(user: User, stage: Stage, gate: threading.Event) -> None:
    session = scripted(stage, paused(sse(chunk("A")), gate.wait, *END), says("B"))
    with user.stream(session) as stream:
        user.send(session)
        stream.until("content")
        user.send(session, "plan", plan_mode=True, thinking_level="basic")
        gate.set()
        stream.until("complete", 2)
    first, second = bodies(stage, session)
    assert (second["tool_choice"], second["reasoning_effort"]) == ("none", "low")
    assert "tool_choice" not in first or first["tool_choice"] == "auto"


# -- stopping


def test_a_cancel_ends_the_turn_and_drops_what_waits(user: User, stage: Stage) -> None:
    session = scripted(stage, hang(chunk("A")), says("B"))
    with user.stream(session) as stream:
        user.send(session, "one")
        heard = stream.until("content")
        user.send(session, "two")
        user.send(session, "three")
        assert user("sessions.cancel_processing", id=session).cancelled is True
        heard += stream.until("complete")
        assert names(heard) == ["user_message_created", "content", "error", "complete"]
        assert heard[2].data["type"] == "cancelled" and heard[3].data["content"] == "A"
        assert user("sessions.cancel_processing", id=session).cancelled is False
        user.send(session, "four")
        turn = stream.until("complete")
    assert (turn[0].data["content"], content(turn)) == ("four", "B"), "what had waited is not answered"
    assert [row["userInput"] for row in user.history(session)] == ["one", "A", "four", "B"]
    assert user("sessions.get", id=session).user_message_count == 2


def test_who_is_idle_cannot_be_cancelled(user: User, stage: Stage) -> None:
    session = scripted(stage, says("A"))
    assert user("sessions.cancel_processing", id=session).cancelled is False
    user.turn(session)
    assert user("sessions.cancel_processing", id=session).cancelled is False


def test_a_session_under_way_cannot_be_rewound(user: User, stage: Stage) -> None:
    session = scripted(stage, hang(chunk("A")))
    with user.stream(session) as stream:
        user.send(session)
        message_id = stream.until("content")[0].data["messageId"]
        named: dict[str, Any] = {"id": session, "message_id": message_id}
        refused(user, "sessions.rewind_session", 409, "bad_request", declared=False, **named)
        user("sessions.cancel_processing", id=session)
        stream.until("complete")


# -- failing

FAILURES: Final[dict[str, tuple[Script, str, str]]] = {
    "refused": (refusal(400, {"error": {"message": "No.", "code": "nope"}}), "", "No."),
    "broken": (refusal(500, {"error": {"message": "Alas."}}), "", "Alas."),
    "cut short": (sse(chunk("Half")), "Half", ""),
    "reset": (reset(chunk("Half")), "Half", ""),
    "nonsense": (sse(b"data: {oops\n\n"), "", ""),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_model_that_fails_ends_its_turn(user: User, stage: Stage, name: str) -> None:
    script, said, why = FAILURES[name]
    session = scripted(stage, script, says("Better."))
    turn = user.turn(session)
    assert names(turn) == ["user_message_created", *["content"] * bool(said), "error", "complete"]
    assert content(turn) == said and turn[-1].data.get("content", "") == said
    assert turn[-2].data["error"] and why in turn[-2].data["error"]
    assert turn[-2].data["type"] not in ("", "cancelled")
    assert content(user.turn(session)) == "Better.", "the session goes on"
    with user.stream(session, turn[-2].id) as between:
        assert between.next() == turn[-1], "a cut between the two loses neither"


def test_a_model_that_nobody_has_is_404(stage: Stage, upstream: Upstream, tmp_path: Path) -> None:
    with opened(tmp_path, upstream, {}, model="known") as other, User(other.url) as user:
        refused(user, "messages.send", 404, "not_found", id=user.session(), text="hello")


# -- sending again


class Forgetful(httpx.BaseTransport):
    """A way to the server on which the first answers are lost: the requests have arrived."""

    def __init__(self, losses: int) -> None:
        self._way, self._losses = httpx.HTTPTransport(verify=False), losses

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._way.handle_request(request)
        if request.method == "POST" and self._losses:
            self._losses -= 1
            answer.read()
            answer.close()
            raise httpx.ConnectError("lost", request=request)
        return answer

    def close(self) -> None:
        self._way.close()


def test_a_key_makes_sending_again_harmless(user: User, stage: Stage) -> None:
    session = scripted(stage, says("A"), says("B"))
    key = {"Idempotency-Key": "k 1"}
    turn = user.turn(session, "one", http_headers=key)
    user.send(session, "one", http_headers=key)
    with pytest.raises(errors.MixDefaultError) as clash:
        user.send(session, "something else", http_headers=key)
    assert clash.value.status_code == 409
    other = user.turn(session, "one", http_headers={"Idempotency-Key": "k 2"})
    assert (content(turn), content(other)) == ("A", "B")
    assert len(user.history(session)) == 4


def test_a_key_is_one_of_a_session(user: User, stage: Stage) -> None:
    key = {"Idempotency-Key": "k"}
    turns = [user.turn(scripted(stage, says(text)), "hello", http_headers=key) for text in ("A", "B")]
    assert [content(turn) for turn in turns] == ["A", "B"]
    assert len({turn[0].data["messageId"] for turn in turns}) == 2


def test_the_sdks_own_retry_is_one_turn(stage: Stage) -> None:
    session = scripted(stage, says("A"), says("B"))
    with User(stage.url, transport=Forgetful(2)) as user, user.stream(session) as stream:
        user.send(session, "one", http_headers={"Idempotency-Key": "k"}, retries=AGAIN)
        first = stream.until("complete")
        user.send(session, "two")
        second = stream.until("complete")
    assert [content(turn) for turn in (first, second)] == ["A", "B"]
    assert [row["userInput"] for row in user_rows(stage, session)] == ["one", "two"]


def user_rows(stage: Stage, session: str) -> list[dict[str, Any]]:
    rows = stage.http("GET", f"/api/sessions/{session}/messages").json()
    return [row for row in rows if row["role"] == "user"]


def test_a_retry_of_create_is_one_session(stage: Stage) -> None:
    with User(stage.url, transport=Forgetful(1)) as user:
        made = user.session("once only", http_headers={"Idempotency-Key": "once"}, retries=AGAIN)
        assert [each.id for each in user("sessions.list") if each.title == "once only"] == [made]


def test_a_server_that_is_full_takes_the_message_later(
    upstream: Upstream, scripts: dict[str, Script], tmp_path: Path
) -> None:
    """It says 503 before it has accepted anything, and the SDK comes again by itself."""
    with opened(tmp_path, upstream, scripts, max_runs=1) as stage, User(stage.url) as user:
        first, second = scripted(stage, hang(chunk("A"))), scripted(stage, says("B"))
        with user.stream(first) as busy, user.stream(second) as stream:
            user.send(first)
            busy.until("content")
            with pytest.raises(errors.MixDefaultError) as full:
                user.send(second, retries=AT_ONCE)
            assert (full.value.status_code, full.value.headers["retry-after"]) == (503, "1")
            with ThreadPoolExecutor(1) as pool, Tap(stage.server) as tap, User(tap.url) as other:
                sending = pool.submit(other.send, second, retries=AGAIN)
                tap.until(b" 503 ")
                user("sessions.cancel_processing", id=first)
                sending.result()
            assert content(stream.until("complete")) == "B"
        assert len(user.history(second)) == 2


async def test_many_sessions_side_by_side(stage: Stage) -> None:
    answers = stage.crowd(8)
    async with Mix(server_url=stage.url, retry_config=AT_ONCE) as mix:

        async def speak(model: str, said: list[str]) -> None:
            body = {"title": "t", "browserMode": BROWSER, "modelId": model}
            session = stage.http("POST", "/api/sessions", json=body).json()["id"]
            answer = await mix.streaming.stream_events_async(session_id=session)
            await mix.messages.send_async(id=session, text="hello")
            heard = []
            async with answer.result as stream:
                async for event in stream:
                    if event.event == "content":
                        heard.append(event.data.content)
                    if event.event == "complete":
                        break
            assert heard == said

        await asyncio.gather(*(speak(*each) for each in answers.items()))
