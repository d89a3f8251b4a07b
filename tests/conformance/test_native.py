"""Our own wire, over both framings, and its requests."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from penstock.dialects import Wire, get
from penstock.dialects.native import Decoder, Encoder, cursor_of, read_message, read_request
from penstock.errors import RemoteProtocolError, RequestError
from penstock.events import (
    PRIVATE,
    Event,
    FilePart,
    MessageAdded,
    PartDelta,
    ResponseDone,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.requests import Candidate, Start, Tool, ToolChoice
from penstock.wire import Frame
from recordings import pieces
from streams import EVERY_EVENT, SESSION, WIRES, kept, records, spoken, written

both_framings = pytest.mark.parametrize(
    "wire", [WIRES["native"], WIRES["native-ndjson"]], ids=["sse", "ndjson"]
)


def public(event: Event) -> list[Event]:
    """What of an event leaves the server."""
    match event:
        case MessageAdded(role=role) if role in PRIVATE:
            return []
        case ResponseStarted():
            return [replace(event, request=UNSET)]
        case _:
            return [event]


def read(wire: Wire, *chunks: bytes) -> list[Frame]:
    reader = wire.framing.reader()
    return [frame for chunk in chunks for frame in reader.feed(chunk)] + reader.close()


@both_framings
@pytest.mark.parametrize("size", [10**6, 1, 7], ids=["whole", "bytes", "sevens"])
async def test_a_stream_comes_back(wire: Wire, size: int) -> None:
    said = await spoken(await kept(SESSION), wire)
    frames = read(wire, *pieces(written(wire, said), size))
    decoder = Decoder()
    events = [event for frame in frames for event in decoder.decode(frame)]
    assert events == [each for event in SESSION for each in public(event)]
    assert list(decoder.close()) == []
    assert [cursor_of(frame) for frame in frames] == [frame.id for frame in said]


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_an_event_is_one_frame_named_after_its_type(event: Event) -> None:
    frames = list(Encoder().encode(records([event])[0]))
    assert len(frames) == len(public(event))
    for frame in frames:
        data = json.loads(frame.data)
        assert list(data)[:2] == ["at", "type"]
        assert (data["at"], data["type"]) == (1763600000250, frame.event)
        assert list(Decoder().decode(frame)) == public(event)


def test_what_is_private_stays_on_the_server() -> None:
    encoder = Encoder()
    said = b"".join(frame.data for record in records(EVERY_EVENT) for frame in encoder.encode(record))
    for hush in (b"hush", b"Hush", b"Be terse", b'"request"', b'"system"', b'"developer"'):
        assert hush not in said


@pytest.mark.parametrize("extra", [UNSET, {"logprobs": [1]}], ids=["plain", "with more to it"])
@pytest.mark.parametrize("text", ["", "a", 'q"\\', "\n\u2028", "流 🌊", "\x00"])
def test_a_delta_says_the_same_on_its_short_way(text: str, extra: Any) -> None:
    delta = PartDelta('p"1', text, extra)
    [frame] = Encoder().encode(records([delta])[0])
    assert list(Decoder().decode(frame)) == [delta]
    assert frame.data.isascii()


def test_exactly_these_bytes() -> None:
    [frame] = Encoder().encode(records([PartDelta("p1", "é")])[0])
    placed = Frame(frame.data, frame.event, "e.7")
    data = rb'"at":1763600000250,"type":"part.delta","part_id":"p1","delta":"\u00e9"}'
    sse, ndjson = (WIRES[name].framing.write(placed) for name in ("native", "native-ndjson"))
    assert sse == b"event: part.delta\nid: e.7\ndata: {" + data + b"\n\n"
    assert ndjson == b'{"cursor":"e.7",' + data + b"\n"
    assert WIRES["native-ndjson"].framing.write(frame) == b"{" + data + b"\n"


def test_a_frame_without_a_cursor_has_none() -> None:
    assert cursor_of(Frame(b'{"type":"custom","name":"x"}')) == ""


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'{"type":"no.such"}', b'{"type":"part.delta"}', b'{"a":"\xff"}',
             b'{"type":"custom","name":"x","data":' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_event_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not a native event"):
        list(Decoder().decode(Frame(data)))


# -- requests

USER = MessageAdded("user", (TextPart("Hello"),))

STARTS: dict[str, tuple[dict[str, Any], Start]] = {
    "a text": ({"input": "Hello"}, Start("", (USER,))),
    "messages": (
        {"input": [{"content": "Hello"}, {"role": "assistant", "parts": [{"kind": "tool_call", "call_id": "c",
         "tool": "f", "arguments": "{}"}]}, {"role": "tool", "parts": [{"kind": "tool_result", "call_id": "c",
         "result": [1]}]}]},
        Start("", (USER, MessageAdded("assistant", (ToolCallPart("c", "f", "{}"),)),
                   MessageAdded("tool", (ToolResultPart("c", [1]),)))),
    ),
    "a file": (
        {"input": [{"parts": [{"kind": "file", "mime": "image/png", "url": "https://x.example/a.png"}]}]},
        Start("", (MessageAdded("user", (FilePart("image/png", "https://x.example/a.png"),)),)),
    ),
    "everything": (
        {"input": "Hello", "model": "m", "instructions": "i", "tools": [{"name": "f", "parameters": {}}],
         "tool_choice": {"mode": "tool", "tool": "f"}, "output_schema": {}, "output_name": "o", "choices": 2,
         "max_output_tokens": 3, "temperature": 0, "top_p": 0.5, "stop": ["a"], "keep_open": False,
         "max_time": 2, "metadata": {"k": 1}, "extra": {"seed": 1}, "fallbacks": [{"model": "n"}],
         "attempts": 3},
        Start("m", (USER,), "i", "", (Tool("f", parameters={}),), ToolChoice("tool", "f"), {}, "o", 2, 3,
              0.0, 0.5, ("a",), False, 2.0, {"k": 1}, {"seed": 1}, fallbacks=(Candidate("n"),), attempts=3),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "start"), STARTS.values(), ids=list(STARTS))
def test_a_request_is_read(body: dict[str, Any], start: Start) -> None:
    assert read_request(body) == start
    assert read_message({"input": body["input"]}) == start.input


BAD: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "no input": ({}, "input", "'input' is missing"),
    "empty input": ({"input": ""}, "input", "'input' is empty"),
    "no messages": ({"input": []}, "input", "'input' is empty"),
    "input": ({"input": 5}, "input", "'input': Expected"),
    "message": ({"input": ["x"]}, "input[0]", "Expected `object`"),
    "role": ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "robot"),
    "neither parts nor content": ({"input": [{"role": "user"}]}, "input[0]", "either 'parts' or 'content'"),
    "both": ({"input": [{"content": "x", "parts": []}]}, "input[0]", "either 'parts' or 'content'"),
    "unknown in a message": ({"input": [{"contnet": "x"}]}, "input[0].contnet", "did you mean 'content'?"),
    "part": ({"input": [{"parts": [{"kind": "hologram"}]}]}, "input[0].parts[0].kind", "hologram"),
    "part without": (
        {"input": [{"parts": [{"kind": "tool_call"}]}]}, "input[0].parts[0].call_id", "is missing",
    ),
    "unknown": ({"input": "x", "modle": "m"}, "modle", "'modle' is not known; did you mean 'model'?"),
    "unknown and like nothing": ({"input": "x", "zzz": 1}, "zzz", "'zzz' is not known"),
    "model": ({"input": "x", "model": None}, "model", "'model': Expected `str`"),
    "choices": ({"input": "x", "choices": 0}, "choices", "'choices' must be from 1 to 128"),
    "too many choices": ({"input": "x", "choices": 10**9}, "choices", "'choices' must be from 1 to 128"),
    "max_output_tokens": ({"input": "x", "max_output_tokens": 0}, "max_output_tokens", "must be more than 0"),
    "max_time": ({"input": "x", "max_time": -1}, "max_time", "must be more than 0"),
    "tool": ({"input": "x", "tools": [{}]}, "tools[0].name", "is missing"),
    "tool_choice": ({"input": "x", "tool_choice": {"mode": "maybe"}}, "tool_choice.mode", "maybe"),
    "nothing at all": ([], None, "Expected `object`"),  # type: ignore[dict-item]
}  # fmt: skip


@pytest.mark.parametrize(("body", "field", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_request_names_its_field(body: dict[str, Any], field: str | None, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(body)
    assert caught.value.field == field
    assert message in caught.value.message


def test_a_bad_message_names_its_field() -> None:
    with pytest.raises(RequestError) as caught:
        read_message({"input": "x", "model": "m"})
    assert (caught.value.field, caught.value.message) == ("model", "'model' is not known")


def test_an_error_is_an_object_of_ours() -> None:
    error = get("native").error
    assert error is not None
    assert json.loads(error(RequestError("no", field="model"))) == {
        "error": {"code": "invalid_request", "message": "no", "field": "model", "retryable": False}
    }
    assert "field" not in json.loads(error(RequestError("no")))["error"]


def test_every_event_is_in_the_session() -> None:
    """So that the tests above are about all of them."""
    assert {type(event) for event in SESSION} == set(get_args(Event))
    assert isinstance(SESSION[-2], get_args(Event)) and ResponseDone in {type(event) for event in SESSION}
