"""Opper as an upstream: its frames to events, as its servers and their relays say them."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dialects import get
from penstock.dialects.opper import decode, decode_v3
from penstock.dialects.opper.gather import Gathering, path_of
from penstock.errors import RemoteProtocolError
from penstock.events import (
    TERMINAL,
    DataPart,
    Event,
    Part,
    PartDelta,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    TextPart,
    ToolCallPart,
    Usage,
)
from penstock.fields import spelled
from penstock.grammar import Grammar
from penstock.snapshot import fold
from penstock.wire import Frame
from penstock.wire.sse import SSEReader
from recordings import pieces

SPAN = "5a1d0c7e-6f0e-4a44-9d2b-0d6f0f8f7a10"
FIRST = {"span_id": SPAN}


def frames(*chunks: Any) -> list[Frame]:
    return [Frame(json.dumps(chunk).encode()) for chunk in chunks]


def read(*chunks: Any, **options: Any) -> list[Event]:
    """What v2 or v1 frames say, cleanly ended."""
    decoder = decode.Decoder(**options)
    events = [event for frame in frames(*chunks) for event in decoder.decode(frame)] + list(decoder.close())
    assert list(decoder.close()) == [], "the end is said once"
    Grammar().after(events)
    return events


def parts(events: list[Event]) -> list[Part]:
    [response] = fold(events).responses
    return response.content()


def deltas(events: list[Event]) -> str:
    return "".join(event.delta for event in events if isinstance(event, PartDelta))


def leaf(path: str | None, delta: Any) -> dict[str, Any]:
    named = {} if path is None else {"json_path": path}
    return {"delta": delta, **named, "chunk_type": "json"}


# -- v2: text


def test_text() -> None:
    said = read(FIRST, {"delta": "Wel", "chunk_type": "text"}, {"delta": "come", "chunk_type": "text"})
    assert said[0] == ResponseStarted(SPAN)
    assert [event.delta for event in said if isinstance(event, PartDelta)] == ["Wel", "come"]
    assert parts(said) == [TextPart("Welcome")] and said[-1] == ResponseDone("stop")


@pytest.mark.parametrize(
    "chunks",
    [
        [{}, FIRST, {"delta": "Hi"}],
        [{"span_id": SPAN, "delta": "Hi", "new_key": [1]}],
        [{"span_id": SPAN, "delta": None, "json_path": None, "chunk_type": None}, {"delta": "Hi"}],
        [FIRST, {"delta": "Hi"}, {}, {"delta": None}, {"delta": ""}],
        [FIRST, {"delta": "H"}, {"delta": "i", "chunk_type": "new"}],
    ],
)
def test_every_key_is_optional_and_unknown_ones_are_nothing(chunks: list[Any]) -> None:
    said = read(*chunks)
    assert said[0] == ResponseStarted(SPAN)
    assert parts(said) == [TextPart("Hi")]


def test_a_span_may_come_last() -> None:
    said = read({"delta": "Hi"}, FIRST)
    assert said[0] == ResponseStarted("") and parts(said) == [TextPart("Hi")]


def test_a_scalar_among_text_is_text() -> None:
    said = read(FIRST, *({"delta": each, "chunk_type": "text"} for each in ("a ", 36, " ", True, None, 1.50)))
    assert parts(said) == [TextPart("a 36 true1.5")]


def test_a_relay_that_says_done_has_ended() -> None:
    decoder = decode.Decoder()
    told = [*frames(FIRST, {"delta": "Hi"}), Frame(b"[DONE]"), *frames({"delta": "!"})]
    said = [event for frame in told for event in decoder.decode(frame)]
    assert said[-1] == ResponseDone("stop") and list(decoder.close(broken=True)) == []
    assert parts(said) == [TextPart("Hi")]


RECORDED = (
    b'data: {"span_id": "%b"}\r\n\r\ndata: {"delta": "Hej"}\r\n\r\n'
    b': ping\r\n\r\ndata: {"delta": " du \\ud83c\\udf0a"}\r\n\r\n'
) % SPAN.encode()


@pytest.mark.parametrize("size", [10**6, 1, 7])
def test_the_recorded_exchange_of_v1_in_any_pieces(size: int) -> None:
    reader = SSEReader()
    make = get("opper/v1").decoder
    assert make is not None
    decoder = make()
    said = [
        e for piece in pieces(RECORDED, size) for frame in reader.feed(piece) for e in decoder.decode(frame)
    ]
    said += decoder.close(reader.unfinished())
    assert said[0] == ResponseStarted(SPAN) and parts(said) == [TextPart("Hej du 🌊")]


def test_half_a_surrogate_pair_is_replaced() -> None:
    odd = [Frame(b'{"delta":"a\\ud83d"}'), Frame(b'{"delta":"b","json_path":"k\\ud83d","chunk_type":"json"}')]
    decoder = decode.Decoder()
    said = [event for frame in odd for event in decoder.decode(frame)] + list(decoder.close())
    assert parts(said) == [TextPart("a\ufffd"), DataPart({"k\ufffd": "b"})]


# -- v2: data

SEATING = [
    leaf("host", "Bo"), leaf("host", "ris"), leaf("guests[0].name", "Ida"), leaf("guests[0].vip", True),
    leaf("guests[1].name", ""), leaf("guests[1].vip", None), leaf("tables", 12), leaf("rate", 0.5),
]  # fmt: skip
SEATED = {
    "host": "Boris",
    "guests": [{"name": "Ida", "vip": True}, {"name": "", "vip": None}],
    "tables": 12,
    "rate": 0.5,
}


@pytest.mark.parametrize("structured", [True, False])
def test_leaves(structured: bool) -> None:
    said = read(FIRST, *SEATING, structured=structured)
    assert parts(said) == [DataPart(SEATED)]
    assert json.loads(deltas(said)) == SEATED, "the deltas are its JSON"
    assert [type(event) for event in read(FIRST, SEATING[0])][2:4] == [PartDelta, PartDelta]
    assert deltas(read(FIRST, SEATING[0])[:3]) == '{"host":"Bo', "at once"


def test_from_a_server_that_sends_everything_as_strings_strings_are_taken() -> None:
    said = read(FIRST, leaf("a", "36"), leaf("b", "true"), structured=True)
    assert parts(said) == [DataPart({"a": "36", "b": "true"})]


@pytest.mark.parametrize(
    ("delta", "value"), [(["Bo", "ris"], "Boris"), ([12], 12), ([True], True), ([None], None), ([""], "")]
)
def test_a_scalar_at_the_root(delta: list[Any], value: Any) -> None:
    for path in (None, ""):
        said = read(FIRST, *(leaf(path, each) for each in delta), structured=True)
        assert parts(said) == [DataPart(value)] and json.loads(deltas(said)) == value


def test_a_path_is_enough_to_know_data() -> None:
    said = read(FIRST, {"delta": "x", "json_path": "a"}, {"delta": 1, "json_path": "b"})
    assert parts(said) == [DataPart({"a": "x", "b": 1})]


@pytest.mark.parametrize("cut", [1, 4, 30])
def test_data_by_id_is_json_text(cut: int) -> None:
    text = json.dumps(SEATED)
    said = read(FIRST, {"delta": text[:cut]}, {"delta": text[cut:]}, structured=True)
    assert parts(said) == [DataPart(SEATED)] and deltas(said) == text


def test_a_scalar_without_a_word_about_it_is_json_text_too() -> None:
    for value in (12, True):
        assert parts(read(FIRST, {"delta": value}, {"delta": None}, structured=True)) == [DataPart(value)]
    assert parts(read(FIRST, {"delta": None}, structured=True)) == [], "it is as good as absent"


def test_a_structured_answer_may_be_text_all_the_same() -> None:
    said = read(FIRST, {"delta": "Sorry.", "chunk_type": "text"}, structured=True)
    assert parts(said) == [TextPart("Sorry.")]


def test_a_number_keeps_its_digits() -> None:
    decoder = decode.Decoder()
    odd = Frame(b'{"delta":12345678901234567890.10,"json_path":"n"}')
    assert deltas(list(decoder.decode(odd))) == '{"n":12345678901234567890.10'


ORDERS = [leaf("a", "x"), leaf("b.c[0]", 1), leaf("b.c[1].d", True), leaf("a", "y")]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_leaves_in_any_order_make_the_value(order: tuple[int, ...]) -> None:
    said = read(FIRST, *(ORDERS[n] for n in order), structured=True)
    text = "xy" if order.index(0) < order.index(3) else "yx"
    assert parts(said) == [DataPart({"a": text, "b": {"c": [1, {"d": True}]}})]


def test_deltas_stop_where_the_order_does() -> None:
    said = read(FIRST, leaf("a", 1), leaf("b.c", 2), leaf("a", 3), leaf("d", 4), structured=True)
    assert deltas(said) == '{"a":1,"b":{"c":2'
    assert parts(said) == [DataPart({"a": 3, "b": {"c": 2}, "d": 4})]


def test_positions_that_nobody_sends_are_null() -> None:
    said = read(FIRST, leaf("a[2].b[1]", "x"), leaf("a[4]", 1), structured=True)
    assert parts(said) == [DataPart({"a": [None, None, {"b": [None, "x"]}, None, 1]})]
    assert json.loads(deltas(said)) == {"a": [None, None, {"b": [None, "x"]}, None, 1]}


@pytest.mark.parametrize(
    "wrong",
    [
        b"hello", b"[1]", b"12", b'{"delta":', b'{"delta":[1],"json_path":"a"}', b'{"delta":{}}',
        b'{"delta":"x","json_path":1}', b'{"delta":1,"json_path":"a[999999999]"}', b'{"delta":"\xff"}',
        b"null", b'{"span_id":1}',
        b'{"delta":1,"json_path":"%b"}' % b".".join([b"a"] * 513),
    ],
)  # fmt: skip
def test_what_this_wire_cannot_say_is_the_upstreams_mistake(wrong: bytes) -> None:
    decoder = decode.Decoder(structured=True)
    with pytest.raises(RemoteProtocolError):
        list(decoder.decode(Frame(wrong)))


# -- paths

keys = st.text(st.characters(exclude_characters="."), min_size=1).filter(lambda key: "[" not in key)


@given(st.lists(keys | st.integers(0, 10**9 - 1), min_size=1, max_size=6))
def test_a_path_is_read_as_it_is_spelled(steps: list[str | int]) -> None:
    assert path_of(spelled(tuple(steps))) == tuple(steps)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ()),
        ("a..b", ("a", "", "b")),
        (".a", ("", "a")),
        ("[0][1].x", (0, 1, "x")),
        ("a.[0]", ("a", "", 0)),
        ("a[b]", ("a[b]",)),
        ("a[0]b", ("a[0]b",)),
        ("a[-1]", ("a[-1]",)),
        ("a[1][", ("a[1][",)),
        ("a[]", ("a[]",)),
        ("a[1234567890]", ("a[1234567890]",)),
    ],
)
def test_odd_paths(text: str, path: tuple[str | int, ...]) -> None:
    assert path_of(text) == path


def test_an_array_may_grow_with_its_leaves_but_not_by_its_paths() -> None:
    gathering = Gathering()
    for n in range(500):
        gathering.take(f"[{n}]", "number", "1")
    gathering.take("[550]", "number", "1")
    assert len(gathering.value) == 551
    with pytest.raises(RemoteProtocolError):
        gathering.take("[700]", "number", "1")


# -- v2: ends


@pytest.mark.parametrize(
    ("chunk", "event", "code", "message"),
    [
        (
            {"chunk_type": "error", "error_type": "ModelError", "error_message": "gone"},
            "",
            "ModelError",
            "gone",
        ),
        ({"chunk_type": "error"}, "", "upstream", "the upstream reported an error"),
        ({"error_message": "gone"}, "error", "upstream", "gone"),
    ],
)
def test_an_error_is_the_end(chunk: dict[str, Any], event: str, code: str, message: str) -> None:
    for begun in ([], frames(FIRST, {"delta": "Hi"})):
        decoder = decode.Decoder()
        told = [*begun, Frame(json.dumps(chunk).encode(), event), *frames({"delta": "no"})]
        said = [event for frame in told for event in decoder.decode(frame)]
        assert list(decoder.close(broken=True)) == []
        assert said[-1] == ResponseFailed(code, message)
        Grammar().after(said)


@pytest.mark.parametrize(
    ("chunks", "unfinished", "broken", "ends"),
    [
        ([FIRST, {"delta": "Hi"}], None, False, ["Hi"]),
        ([FIRST], None, False, [""]),
        ([FIRST, {"delta": "Hi"}], b'{"delta":"!"}', False, ["Hi!"]),
        ([FIRST, {"delta": "Hi"}], b'{"delta":"!"}', True, None),
        ([FIRST, {"delta": "Hi"}], b'{"delta":"', False, None),
        ([FIRST, {"delta": "Hi"}], None, True, None),
        ([FIRST], None, True, None),
        ([], None, False, None),
        ([{}], None, False, None),
        ([], b'{"delta":"', False, None),
    ],
)
def test_only_a_clean_end_is_an_end(
    chunks: list[Any], unfinished: bytes | None, broken: bool, ends: Any
) -> None:
    decoder = decode.Decoder()
    said = [event for frame in frames(*chunks) for event in decoder.decode(frame)]
    said += decoder.close(Frame(unfinished) if unfinished else None, broken=broken)
    assert list(decoder.close()) == []
    Grammar().after(said)
    assert [type(event) for event in said if isinstance(event, TERMINAL)] == [type(said[-1])]
    if ends is None:
        assert isinstance(said[-1], ResponseFailed)
        assert (said[-1].code, said[-1].retryable) == ("truncated", True)
    else:
        assert said[-1] == ResponseDone("stop") and [deltas(said)] == ends


# -- v3


def chunks_v3(*chunks: Any, complete: Any = None) -> list[Frame]:
    told = frames(*({"type": kind, **rest} for kind, rest in chunks))
    if complete is not None:
        told += [Frame(json.dumps(complete).encode(), "complete"), Frame(b"[DONE]")]
    return told


def read_v3(told: list[Frame], **options: Any) -> list[Event]:
    decoder = decode_v3.Decoder(**options)
    events = [event for frame in told for event in decoder.decode(frame)] + list(decoder.close())
    assert list(decoder.close()) == []
    Grammar().after(events)
    assert [type(event) for event in events if isinstance(event, TERMINAL)] == [type(events[-1])]
    return events


META = {"function_name": "seating", "execution_ms": 40, "llm_calls": 1}
CONTENT = [("content", {"delta": '{"host":"Bo'}), ("content", {"delta": 'ris"}'})]
DONE = ("done", {"usage": {"input_tokens": 9, "output_tokens": 4, "cache_read_tokens": 2}})


def test_v3_data() -> None:
    told = chunks_v3(*CONTENT, DONE, complete={"data": {"host": "Boris"}, "meta": META})
    said = read_v3(told, structured=True)
    assert parts(said) == [DataPart({"host": "Boris"})] and deltas(said) == '{"host":"Boris"}'
    end = said[-1]
    assert isinstance(end, ResponseDone) and end.finish_reason == "stop" and end.extra == {"meta": META}
    assert end.usage == Usage(9, 2, 4, extra=DONE[1]["usage"])


def test_v3_text() -> None:
    said = read_v3(chunks_v3(("content", {"delta": "Hi"}), complete={"data": "Hi", "meta": META}))
    assert parts(said) == [TextPart("Hi")]


@pytest.mark.parametrize(
    ("content", "complete", "structured", "part"),
    [
        (["Hi"], "Hi!", False, [TextPart("Hi!")]),  # it is authoritative
        (["{"], {"a": 1}, True, [DataPart({"a": 1})]),
        ([], "Hi", False, [TextPart("Hi")]),  # a script says all at once
        ([], {"a": 1}, True, [DataPart({"a": 1})]),
        ([], {"a": 1}, False, [DataPart({"a": 1})]),
        ([], "Hi", True, [DataPart("Hi")]),
        (["Hi"], {"a": 1}, False, [TextPart("Hi")]),  # a part ends as what it began
        (["null"], None, True, [DataPart(None)]),
        ([], None, False, []),
        ([], "", False, []),
    ],
)
def test_v3_complete_is_authoritative(content: list[str], complete: Any, structured: bool, part: Any) -> None:
    told = chunks_v3(*(("content", {"delta": each}) for each in content), complete={"data": complete})
    assert parts(read_v3(told, structured=structured)) == part


def test_v3_calls() -> None:
    told = chunks_v3(
        ("content", {"delta": "Hm"}),
        ("tool_call_start", {"tool_call_index": 0, "tool_call_id": "c1", "tool_call_name": "tide"}),
        ("tool_call_start", {"tool_call_index": 1, "tool_call_name": "moon"}),
        ("tool_call_delta", {"tool_call_index": 1, "tool_call_args": "{}"}),
        ("tool_call_delta", {"tool_call_index": 0, "tool_call_args": '{"a":1}'}),
        ("tool_call_start", {"tool_call_index": 0, "tool_call_id": "c3", "tool_call_name": "sun"}),
        DONE,
        complete={"data": "", "meta": META},
    )
    said = read_v3(told)
    assert parts(said) == [
        TextPart("Hm"),
        ToolCallPart("c1", "tide", '{"a":1}'),
        ToolCallPart("call_2", "moon", "{}"),
        ToolCallPart("c3", "sun"),
    ]
    end = said[-1]
    assert isinstance(end, ResponseDone)
    assert (end.finish_reason, end.pending_calls) == ("tool_calls", ("c1", "call_2", "c3"))


def test_v3_usage_may_be_in_meta_alone_and_the_reason_too() -> None:
    meta = {**META, "usage": {"input_tokens": 3}, "finish_reason": "length"}
    end = read_v3(chunks_v3(complete={"data": "Hi", "meta": meta}))[-1]
    assert isinstance(end, ResponseDone)
    assert end.usage == Usage(3, extra={"input_tokens": 3}) and end.finish_reason == "length"


def test_v3_done_alone_is_an_end_too() -> None:
    said = read_v3([*chunks_v3(*CONTENT, DONE), Frame(b"[DONE]")], structured=True)
    assert parts(said) == [DataPart({"host": "Boris"})] and isinstance(said[-1], ResponseDone)


def test_v3_unknown_chunks_are_nothing() -> None:
    told = [*frames({"type": "new", "x": 1}, {}, {"type": "content"}), *chunks_v3(complete={"data": "Hi"})]
    assert parts(read_v3(told)) == [TextPart("Hi")]


@pytest.mark.parametrize("error", ["gone", {"message": "gone"}, None])
def test_v3_an_error_is_the_end(error: Any) -> None:
    end = read_v3(chunks_v3(*CONTENT, ("error", {"error": error}), complete={"data": "no"}))[-1]
    assert isinstance(end, ResponseFailed)
    assert end.message == ("gone" if error == "gone" else "the upstream reported an error")


@pytest.mark.parametrize("told", [[], chunks_v3(*CONTENT), chunks_v3(*CONTENT, DONE)])
@pytest.mark.parametrize("broken", [False, True])
def test_v3_an_end_without_its_words_is_a_cut(told: list[Frame], broken: bool) -> None:
    decoder = decode_v3.Decoder(structured=True)
    said = [event for frame in told for event in decoder.decode(frame)]
    said += decoder.close(Frame(b'{"type":"con'), broken=broken)
    Grammar().after(said)
    assert isinstance(said[-1], ResponseFailed) and said[-1].code == "truncated"
    assert list(decoder.close()) == []


def test_v3_a_last_block_without_its_empty_line_counts() -> None:
    decoder = decode_v3.Decoder()
    said = list(decoder.close(Frame(b'{"data":"Hi","meta":{}}', "complete"), broken=True))
    assert parts(said) == [TextPart("Hi")] and said[-1] == ResponseDone("stop")


@pytest.mark.parametrize(
    "wrong",
    [b"x", b"[]", b'{"type":1}', b'{"type":"tool_call_delta","tool_call_index":7,"tool_call_args":"{"}'],
)
def test_v3_what_cannot_be_said_is_the_upstreams_mistake(wrong: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(decode_v3.Decoder().decode(Frame(wrong)))
