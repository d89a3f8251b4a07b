"""JSON in ASCII, and the halves of surrogate pairs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events import PartDelta
from penstock.wire.jsontext import decode, encode, quote, scrub

texts = st.text(st.characters(exclude_categories=["Cs"]))
any_texts = st.text(st.characters() | st.characters(categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | texts, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4)
)


@given(values)
def test_a_value_comes_back_in_ascii(value: Any) -> None:
    assert encode(value).isascii()
    assert decode(encode(value)) == json.loads(encode(value)) == value


@given(any_texts)
def test_a_text_comes_back_even_with_half_a_pair(text: str) -> None:
    assert quote(text).isascii()
    assert decode(quote(text)) == json.loads(json.dumps(text))


def test_what_ends_a_line_somewhere_is_escaped() -> None:
    assert encode("a\u2028\u2029\u0085\r\n😀") == rb'"a\u2028\u2029\u0085\r\n\ud83d\ude00"'
    assert quote("a\u2028\u2029\u0085\r\n😀") == rb'"a\u2028\u2029\u0085\r\n\ud83d\ude00"'


def test_our_own_types_are_encoded_too() -> None:
    assert encode(PartDelta("p1", "é")) == rb'{"type":"part.delta","part_id":"p1","delta":"\u00e9"}'


def test_a_lone_surrogate_is_read_as_it_is() -> None:
    assert decode(rb'{"a":"\ud83d"}') == {"a": "\ud83d"}
    assert decode(rb'"\ud83d\ude00"') == "😀"


BAD = {
    "empty": b"",
    "half": b'{"a":',
    "two values": b"1 2",
    "single quotes": b"{'a':1}",
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "a number beyond all numbers": b"1e999",
    "that number beside half a pair": rb'["\ud83d",1e999]',
    "not UTF-8": b'"\xff"',
    "too deep": b"[" * 100_000,
    "too deep, but whole": b"[" * 100_000 + b"]" * 100_000,
    "an integer without end": b"9" * 10_000 + rb' "\ud83d"',
}


@pytest.mark.parametrize("text", BAD.values(), ids=list(BAD))
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)


SCRUBBED = {
    "nothing to do": ("aé😀", "aé😀"),
    "a pair is joined": ("\ud83d\ude00", "😀"),
    "a first half": ("a\ud83db", "a�b"),
    "a second half": ("\ude00", "�"),
    "halves in the wrong order": ("\ude00\ud83d", "��"),
    "in keys and values": ({"\ud83d": ["\ude00", 1, None]}, {"�": ["�", 1, None]}),
}


@pytest.mark.parametrize(("given_", "clean"), SCRUBBED.values(), ids=list(SCRUBBED))
def test_scrub(given_: Any, clean: Any) -> None:
    assert scrub(given_) == clean


@given(any_texts)
def test_what_is_scrubbed_can_be_stored(text: str) -> None:
    assert scrub(text).encode().decode() == scrub(text)
