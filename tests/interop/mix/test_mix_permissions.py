"""Permissions through the real SDK: asked for, granted, denied, expired, cancelled, wherever somebody is."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from interop.mix.users import POSTCARD, Heard, User, blocks, bodies, content, names, refused, scripted
from interop.modelrelay.saying import begun, ended
from interop.opper.stage import Stage, says
from upstream import Script, sse

ASKED: Final = [
    "user_message_created", "tool_use_start", "tool_use_parameter_delta",
    "tool_use_parameter_streaming_complete", "tool_execution_start", "permission",
]  # fmt: skip
ANSWERED: Final = ["tool_execution_complete", "content", "content", "complete"]


def results(stage: Stage, session: str) -> list[dict[str, Any]]:
    """What the model was told of its tools."""
    return [message for message in bodies(stage, session)[-1]["messages"] if message["role"] == "tool"]


def calls(user: User, session: str) -> list[dict[str, Any]]:
    return [call for row in user.history(session) for call in row.get("toolCalls", [])]


def test_a_permission_says_what_a_human_has_to_know(user: User, stage: Stage) -> None:
    session = scripted(stage, *POSTCARD)
    with user.stream(session) as stream:
        user.send(session)
        heard = stream.until("permission")
        asked = heard[-1].data
        assert names(heard) == ASKED
        assert (asked["toolName"], asked["action"]) == ("send_postcard", "execute")
        assert asked["sessionId"] == session
        assert "Ida" in asked["description"] and "Hi 🌊" in asked["description"]
        assert calls(user, session)[0]["finished"] is False
        assert user("permissions.deny", id=asked["id"]).denied is True
        stream.until("complete")


def test_what_is_granted_is_done(user: User, stage: Stage) -> None:
    session = scripted(stage, *POSTCARD)
    with user.stream(session) as stream:
        user.send(session)
        asked = stream.until("permission")[-1].data["id"]
        assert user("permissions.grant", id=asked).granted is True
        rest = stream.until("complete")
    assert names(rest) == ANSWERED and rest[0].data["success"] is True
    assert content(rest) == "That was it."
    (call,), (told,) = calls(user, session), results(stage, session)
    assert (call["finished"], call["isError"]) == (True, False)
    assert json.loads(call["result"]) == json.loads(told["content"]) and "Ida" in told["content"]
    for method in ("permissions.grant", "permissions.deny"):
        refused(user, method, 404, "not_found", id=asked)


def test_what_is_denied_is_not_done_and_the_model_goes_on(user: User, stage: Stage) -> None:
    session = scripted(stage, *POSTCARD)
    with user.stream(session) as stream:
        user.send(session)
        asked = stream.until("permission")[-1].data["id"]
        assert user("permissions.deny", id=asked).denied is True
        rest = stream.until("complete")
    assert names(rest) == ANSWERED and rest[0].data["success"] is False
    (call,), (told,) = calls(user, session), results(stage, session)
    assert (call["finished"], call["isError"]) == (True, True)
    assert "rejected" in told["content"]
    refused(user, "permissions.grant", 404, "not_found", id=asked)


def test_who_does_not_decide_in_time_has_denied(hasty: Stage) -> None:
    session = scripted(hasty, *POSTCARD)
    with User(hasty.url) as user:
        turn = user.turn(session)
        assert names(turn) == ASKED + ANSWERED
        assert turn[6].data["success"] is False
        (told,) = results(hasty, session)
        assert "not approved in time" in told["content"]
        for method in ("permissions.grant", "permissions.deny"):
            refused(user, method, 404, "not_found", id=turn[5].data["id"])


def test_a_cancel_takes_the_question_back(user: User, stage: Stage) -> None:
    session = scripted(stage, POSTCARD[0], says("Next."))
    with user.stream(session) as stream:
        user.send(session)
        asked = stream.until("permission")[-1].data["id"]
        user.send(session, "I wait.")
        assert user("sessions.cancel_processing", id=session).cancelled is True
        rest = stream.until("complete")
        assert names(rest) == ["tool_execution_complete", "error", "complete"]
        assert rest[0].data["success"] is False and rest[1].data["type"] == "cancelled"
        refused(user, "permissions.grant", 404, "not_found", id=asked)
        assert user("sessions.cancel_processing", id=session).cancelled is False
        user.send(session, "Go on.")
        assert content(stream.until("complete")) == "Next.", "the session goes on, and not with what waited"


def test_a_message_waits_while_a_human_is_asked(user: User, stage: Stage) -> None:
    session = scripted(stage, *POSTCARD, says("Next."))
    with user.stream(session) as stream:
        user.send(session)
        asked = stream.until("permission")[-1].data["id"]
        user.send(session, "And then?")
        user("permissions.grant", id=asked)
        first, second = stream.until("complete"), stream.until("complete")
    assert names(first) == ANSWERED
    assert names(second) == ["user_message_created", "content", "complete"]


def test_another_device_decides(user: User, stage: Stage) -> None:
    """One that was not there when it was asked, and had been cut off right before that."""
    session = scripted(stage, *POSTCARD)
    with user.stream(session) as stream, User(stage.url) as phone:
        user.send(session)
        heard = stream.until("permission")
        with phone.stream(session, heard[-2].id) as screen:
            (asked,) = screen.until("permission")
            assert asked == heard[-1]
            phone("permissions.grant", id=asked.data["id"])
            assert screen.until("complete") == stream.until("complete")


def test_nobody_has_to_be_there(user: User, stage: Stage) -> None:
    session = scripted(stage, *POSTCARD)
    user.send(session)
    with user.stream(session, "0") as stream:
        asked = stream.until("permission")[-1].data["id"]
    user("permissions.grant", id=asked)
    with user.stream(session, "0") as stream:
        assert names(stream.until("complete")) == ASKED + ANSWERED
    assert len(blocks(stage.url, session, "0")) == 1 + len(ASKED + ANSWERED)


BOTH: Final[tuple[Script, ...]] = (
    sse(
        begun(0, "send_postcard", '{"to":"Ida","text":"Hi"}'),
        begun(1, "roll_dice", '{"dice":1}'),
        *ended("tool_calls"),
    ),
    sse(begun(0, "send_postcard", '{"to":"Ben","text":"Ho"}'), *ended("tool_calls")),
    says("Done."),
)


@pytest.mark.parametrize("verdicts", [("grant", "deny"), ("deny", "grant")])
def test_each_question_has_its_own_answer(user: User, stage: Stage, verdicts: tuple[str, str]) -> None:
    """One of two calls asks, then one of the next round: a decision is about one of them."""
    session = scripted(stage, *BOTH)
    heard: list[Heard] = []
    with user.stream(session) as stream:
        user.send(session)
        for verdict in verdicts:
            heard += stream.until("permission")
            user(f"permissions.{verdict}", id=heard[-1].data["id"])
        heard += stream.until("complete")
    assert len({each.data["id"] for each in heard if each.event == "permission"}) == 2
    found = {
        (each.data["toolName"], each.data["success"])
        for each in heard
        if each.event == "tool_execution_complete"
    }
    assert found == {("send_postcard", True), ("send_postcard", False), ("roll_dice", True)}
    first, _, second = (call["isError"] for call in calls(user, session))
    assert [first, second] == [verdict == "deny" for verdict in verdicts]


def test_a_permission_is_one_of_its_turn(user: User, stage: Stage) -> None:
    """Though the same tool is to do the same under the same name, it was not asked about that."""
    session = scripted(stage, *POSTCARD, *POSTCARD)
    with user.stream(session) as stream:
        user.send(session)
        first = stream.until("permission")[-1].data["id"]
        user("permissions.grant", id=first)
        stream.until("complete")
        user.send(session)
        second = stream.until("permission")[-1].data["id"]
        assert second != first
        refused(user, "permissions.grant", 404, "not_found", id=first)
        user("permissions.deny", id=second)
        assert stream.until("complete")[0].data["success"] is False


def test_a_permission_that_is_nearly_right_is_none(user: User, stage: Stage) -> None:
    session = scripted(stage, *POSTCARD)
    with user.stream(session) as stream:
        user.send(session)
        asked = stream.until("permission")[-1].data["id"]
        other = scripted(stage, says("x"))
        last = "0" if asked[-1] != "0" else "1"
        moved = asked.replace(session, other)
        for wrong in (asked[:-1], asked[:-1] + last, moved, asked.upper(), f"{asked}0"):
            refused(user, "permissions.grant", 404, "not_found", id=wrong)
        user("permissions.grant", id=asked)
        stream.until("complete")
