"""The one tree of errors."""

from __future__ import annotations

import inspect
import re

import pytest

from penstock import errors
from penstock.errors import AnswerFailed, PenstockError, UpstreamError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PenstockError)]
RAISED = [kind for kind in TREE if kind is not AnswerFailed]

every_error = pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)


def drawn() -> dict[str, str]:
    """Each class in the module's docstring, and the class it is drawn below."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for indent, name in re.findall(r"^( *)\* :exc:`(\w+)`", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 4
        del above[depth:]
        parents[name] = above[-1] if above else "Exception"
        above.append(name)
    return parents


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in TREE}


def test_all_of_them_are_public() -> None:
    assert errors.__all__ == sorted(kind.__name__ for kind in TREE)


@every_error
def test_each_says_what_went_wrong(kind: type[PenstockError]) -> None:
    sentence = (kind.__doc__ or "").partition("\n")[0]
    assert sentence.endswith(".") or ";" in sentence
    assert re.fullmatch(r"[a-z][a-z_]+", kind.code)
    assert 400 <= kind.status < 600
    assert isinstance(kind.retryable, bool)


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_the_docstring_is_the_default_message(kind: type[PenstockError]) -> None:
    assert kind().message == str(kind()) == (kind.__doc__ or "").partition("\n")[0]
    assert kind("other", field="x").message == "other"
    assert (kind("other", field="x").field, kind().field) == ("x", None)


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_what_may_be_tried_again_is_not_the_callers_fault(kind: type[PenstockError]) -> None:
    assert not kind.retryable or kind.status in (409, 429, 502, 503, 504)


def test_codes_tell_errors_apart() -> None:
    own = [kind.code for kind in TREE if "code" in vars(kind)]
    assert len(own) == len(set(own))


def test_an_upstream_error_remembers_what_it_was_told() -> None:
    error = UpstreamError("no", upstream_status=500, retry_after=1.5, body={"error": 1})
    assert (error.upstream_status, error.retry_after, error.body) == (500, 1.5, {"error": 1})


def test_a_failed_answer_takes_the_code_of_its_event() -> None:
    error = AnswerFailed("truncated", "cut", status=502, retryable=True)
    assert (error.code, error.message, error.status, error.retryable) == ("truncated", "cut", 502, True)
    assert AnswerFailed.code == "internal"
