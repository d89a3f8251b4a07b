"""Where a reader stands, and what was never a place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cursor import Cursor
from penstock.errors import CursorGone

numbers = st.integers(0, 10**18 - 1)
epochs = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1)


@given(st.builds(Cursor, epochs, numbers, numbers))
def test_it_comes_back_from_its_text(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@given(st.lists(st.builds(Cursor, st.just("e"), st.integers(0, 3), st.integers(0, 3))))
def test_cursors_of_a_stream_sort_in_reading_order(cursors: list[Cursor]) -> None:
    assert sorted(cursors) == sorted(cursors, key=lambda cursor: (cursor.offset, cursor.frame))


def test_what_it_looks_like() -> None:
    assert str(Cursor("e")) == "e.0"
    assert str(Cursor("e", 7)) == "e.7"
    assert str(Cursor("e", 7, 2)) == "e.7.2"


WRONG = ["", ".", "e", "e.", ".1", "e.x", "e.-1", "e.1.", "e.1.x", "e.1.2.3", "e.1e3", "e. 1", "e.١", "é.1",
         "e-f.1", "e.1\n", "e." + "9" * 19, "e.1." + "9" * 5000, "null", "0", "\0"]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorGone) as caught:
        Cursor.parse(text)
    assert caught.value.field == "cursor"
    assert len(caught.value.message) < 400, "it does not repeat all that it was given"


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except CursorGone:
        return
    assert Cursor.parse(str(cursor)) == cursor
