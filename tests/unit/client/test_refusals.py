"""What refusals mean, in whichever dialect they are said."""

from __future__ import annotations

import pytest

from penstock import errors
from penstock.client.refusals import failure, refusal
from penstock.client.ways import Name
from penstock.dialects import get
from penstock.errors import AnswerFailed, PenstockError
from penstock.events import ResponseFailed

SPOKEN: tuple[Name, ...] = ("native", "openai-chat", "opper", "opper/v3", "modelrelay", "mix", "orq")
BY_STATUS = {
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.RequestError,
    410: errors.CursorGone,
    413: errors.RequestTooLarge,
    422: errors.Unprocessable,
    429: errors.UpstreamRateLimited,
    500: errors.UpstreamError,
    503: errors.UpstreamUnavailable,
    504: errors.UpstreamTimeout,
}


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n not in ("PenstockError", "AnswerFailed")])
def test_what_a_server_raises_is_raised_again(name: str) -> None:
    kind: type[PenstockError] = getattr(errors, name)
    error = kind("so it is", field="x")
    render = get("native").error
    assert render is not None
    found = refusal(error.status, {}, render(error))
    assert (found.message, found.field, found.status) == ("so it is", "x", error.status)
    assert found.retryable == error.retryable
    if "code" in kind.__dict__ and kind.code != "invalid_request":
        assert type(found) is kind


@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize("error", [errors.StreamNotFound("no st_1"), errors.Overloaded("too many")])
def test_every_dialect_says_why_and_whether_to_try_again(dialect: str, error: PenstockError) -> None:
    render = get(dialect).error
    assert render is not None
    headers = {"x-should-retry": "true" if error.retryable else "false"}
    found = refusal(error.status, headers, render(error))
    assert found.message == error.message and found.status == error.status
    assert found.retryable == error.retryable


@pytest.mark.parametrize(("status", "kind"), BY_STATUS.items())
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"x"', b'{"error": "no"}'])
def test_a_status_says_enough(status: int, kind: type[PenstockError], body: bytes) -> None:
    found = refusal(status, {}, body)
    assert type(found) is kind and found.message
    assert found.retryable == (status >= 500 or status == 429)


def test_what_has_moved_says_where() -> None:
    assert "moved to https://x/" in refusal(307, {"location": "https://x/"}, b"").message


def test_a_failed_answer_is_an_error_with_its_own_code() -> None:
    error = failure(ResponseFailed("truncated", "cut", True, extra={"status": 504, "field": "f"}))
    assert isinstance(error, AnswerFailed)
    assert (error.code, error.status, error.retryable, error.field) == ("truncated", 504, True, "f")
