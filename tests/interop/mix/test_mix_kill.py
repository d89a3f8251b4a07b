"""``kill -9`` while Mix's users look on: nothing that they heard is lost, and what was asked is answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from interop.mix.users import POSTCARD, ROLL, User, content, names, refused, scripted
from interop.opper.stage import Stage, opened, says
from upstream import Script, Upstream, chunk, hang


@pytest.fixture
def mortal(upstream: Upstream, scripts: dict[str, Script], tmp_path: Path) -> Iterator[Stage]:
    """A server to kill."""
    with opened(tmp_path, upstream, scripts, drain_time=0.1) as stage:
        yield stage


def kill(stage: Stage) -> None:
    """Kill it, and start it again where it was."""
    stage.server.port = urlsplit(stage.url).port or 0
    stage.server.kill()
    stage.server.start()


def test_a_turn_that_was_killed_ends_once_and_what_waits_is_answered(mortal: Stage) -> None:
    session = scripted(mortal, says("Before."), hang(chunk("Ha"), chunk("lf")), *ROLL, says("C"))
    with User(mortal.url) as user, User(mortal.url, "async") as other:
        before = user.turn(session)
        with user.stream(session) as stream, other.stream(session) as behind:
            user.send(session, "a")
            heard = stream.until("content", 2)
            part = behind.until("content")
            for text in ("b", "c"):
                user.send(session, text)
            kill(mortal)
            for each in (stream, behind):
                with pytest.raises(httpx.TransportError):
                    each.until("complete")
        with user.stream(session, heard[-1].id) as stream, other.stream(session, part[-1].id) as behind:
            rest = stream.until("complete", 3)
            assert behind.until("complete", 3) == heard[len(part) :] + rest
        assert names(rest[:2]) == ["error", "complete"]
        assert rest[0].data["type"] == "interrupted" and rest[1].data["content"] == "Half"
        turns = rest[2:]
        second = turns[: names(turns).index("complete") + 1]
        third = turns[len(second) :]
        assert (second[0].data["content"], content(second)) == ("b", "Let me roll.Rolled them.")
        assert names(third) == ["user_message_created", "content", "complete"]
        assert (third[0].data["content"], content(third)) == ("c", "C")
        with user.stream(session, "0") as everything:
            assert everything.until("complete", 4) == before + heard + rest
        kill(mortal)
        with user.stream(session, "0") as everything:
            assert everything.until("complete", 4) == before + heard + rest
        assert [row["userInput"] for row in user.history(session) if row["role"] == "user"] == [
            "hello", "a", "b", "c",
        ]  # fmt: skip


def test_a_permission_survives(mortal: Stage) -> None:
    session = scripted(mortal, *POSTCARD, says("Next."))
    with User(mortal.url) as user:
        with user.stream(session) as stream:
            user.send(session)
            heard = stream.until("permission")
            user.send(session, "And then?")
        kill(mortal)
        with user.stream(session) as fresh, user.stream(session, heard[-1].id) as stream:
            assert fresh.until("permission") == heard
            asked = heard[-1].data["id"]
            assert user("permissions.grant", id=asked).granted is True
            rest = stream.until("complete", 2)
            assert fresh.until("complete", 2) == rest
        assert names(rest).count("complete") == 2 and "error" not in names(rest)
        assert rest[0].event == "tool_execution_complete" and rest[0].data["success"] is True
        assert content(rest) == "That was it.Next."
        refused(user, "permissions.deny", 404, "not_found", id=asked)


def test_a_permission_that_survived_can_be_cancelled(mortal: Stage) -> None:
    session = scripted(mortal, *POSTCARD)
    with User(mortal.url) as user:
        with user.stream(session) as stream:
            user.send(session)
            stream.until("permission")
            user.send(session, "And then?")
        kill(mortal)
        with user.stream(session) as stream:
            stream.until("permission")
            assert user("sessions.cancel_processing", id=session).cancelled is True
            assert names(stream.until("complete")) == ["tool_execution_complete", "error", "complete"]
        assert [row["userInput"] for row in user.history(session) if row["role"] == "user"] == ["hello"]


def test_what_was_kept_is_kept(mortal: Stage) -> None:
    with User(mortal.url) as user:
        session, gone = user.session("kept"), user.session("gone")
        heard = user.turn(session)
        user("sessions.update_session_callbacks", id=session, callbacks=[
            {"toolName": "Bash", "type": "send_message", "messageContent": "x"}
        ])  # fmt: skip
        user("sessions.delete", id=gone)
        made = user.session("once", http_headers={"Idempotency-Key": "k"})
        before = user("sessions.list"), user.history(session)
        kill(mortal)
        assert (user("sessions.list"), user.history(session)) == before
        assert user.session("once", http_headers={"Idempotency-Key": "k"}) == made
        with user.stream(session, heard[0].id) as stream:
            assert stream.until("complete") == heard[1:]
        refused(user, "sessions.get", 404, "not_found", id=gone)
        assert content(user.turn(session)) == "At home."


def test_a_server_that_is_told_to_stop_ends_its_turns(mortal: Stage) -> None:
    """Its readers are broken off: they are to come back."""
    session = scripted(mortal, hang(chunk("Half")))
    with User(mortal.url) as user:
        with user.stream(session) as stream:
            user.send(session)
            heard = stream.until("content")
            mortal.server.signal()
            heard += stream.until("complete")
            with pytest.raises(httpx.TransportError):
                stream.next()
        mortal.server.wait()
        assert names(heard) == ["user_message_created", "content", "error", "complete"]
        assert heard[2].data["type"] == "interrupted"
        mortal.server.port = urlsplit(mortal.url).port or 0
        mortal.server.start()
        with user.stream(session, "0") as stream:
            assert stream.until("complete") == heard
