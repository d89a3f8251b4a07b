"""Names of streams and responses, and the spans that streams are."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine import ids
from penstock.errors import StreamNotFound
from penstock.names import next_response, response_name, stream_name, stream_of, stream_of_uuid, uuid_of

bits = st.integers(0, 2**128 - 1)


@given(bits)
def test_a_stream_and_its_uuid_lead_to_each_other(number: int) -> None:
    name = stream_name(number)
    assert re.fullmatch("st_[0-7][0-9a-hjkmnp-tv-z]{25}", name)
    assert uuid_of(name) == str(uuid.UUID(int=number))
    assert stream_of_uuid(uuid_of(name)) == name
    assert stream_of_uuid(uuid_of(name).upper()) == name


@given(bits, bits)
def test_names_sort_as_their_bits_do(one: int, other: int) -> None:
    assert (stream_name(one) < stream_name(other)) == (one < other)


def test_what_is_minted_is_spelled_so() -> None:
    for name in (ids.new_stream(), ids.keyed_stream("ada", "key")):
        assert stream_of_uuid(uuid_of(name)) == name
    assert (
        ids.keyed_stream("ada", "key") == "st_2rz6d8knmjnac1w9eawvffdpe0"
    )  # or no key finds its stream again
    assert ids.keyed_stream("ad", "akey") != ids.keyed_stream("ada", "key")


@pytest.mark.parametrize(
    "name", ["st_1", "", "chat", "st_" + "z" * 26, "st_" + "0" * 27, "st_" + "U" * 26, "é"]
)
def test_a_name_of_another_shape_has_a_uuid_of_its_own(name: str) -> None:
    assert str(uuid.UUID(uuid_of(name))) == uuid_of(name)
    assert uuid_of(name) != uuid_of(name + "0")
    assert stream_of_uuid(uuid_of(name)) != name


@pytest.mark.parametrize(
    "text",
    ["", "st_1", "0" * 32, "0f6f2b1c-3a55-4a0e-8a57-2f1f3e0f9b7", "0f6f2b1c-3a55-4a0e-8a57-2f1f3e0f9b7g",
     "0f6f2b1c-3a554-a0e-8a57-2f1f3e0f9b77", "0f6f2b1c-3a55-4a0e-8a57-2f1f3e0f9b77\n"],
)  # fmt: skip
def test_what_is_no_uuid_leads_nowhere(text: str) -> None:
    with pytest.raises(StreamNotFound):
        stream_of_uuid(text)


def test_a_response_is_named_after_its_stream_and_its_number() -> None:
    first = response_name("st_x", 1)
    assert (first, next_response(first), stream_of(first)) == ("st_x.1", "st_x.2", "st_x")
    assert next_response("st_x.9") == "st_x.10"
    assert stream_of("st_x") == "st_x"
