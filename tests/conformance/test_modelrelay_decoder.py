"""
ModelRelay as an upstream (section 10 of the contract): records of both generations to events, and back.
"""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonpatch import JsonPatch
from msgspec import UNSET

from penstock.dialects import Wire, get
from penstock.dialects.modelrelay import Decoder, decode_v1
from penstock.dialects.modelrelay.document import Document
from penstock.errors import RemoteProtocolError
from penstock.events import (
    TERMINAL,
    DataPart,
    Event,
    Part,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    ResponseDone,
    ResponseFailed,
    ResponseStarted,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolDone,
    ToolStarted,
    Usage,
)
from penstock.grammar import Grammar
from penstock.snapshot import fold, grown
from penstock.wire import Frame
from streams import SEATED, SESSION, WIRES, long_answer, records, written

V2, SSE, V1 = WIRES["modelrelay"], WIRES["modelrelay-sse"], WIRES["modelrelay-v1"]
START: Final = {"type": "start", "request_id": "resp_1", "model": "m", "provider": "p",
                "stream_mode": "text-delta", "stream_version": "v2"}  # fmt: skip
PATCHED: Final = {**START, "stream_mode": "structured-patch"}
END: Final = {
    "type": "completion",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 2},
}


def read(*found: Any, make: Any = Decoder, cut: bool = False, **options: Any) -> list[Event]:
    """What records say; the end is said once, whatever follows it."""
    decoder = make(**options)
    events = [event for each in found for event in decoder.decode(Frame(json.dumps(each).encode()))]
    assert cut or isinstance(events[-1], TERMINAL)
    events += decoder.close()
    assert list(decoder.close()) == []
    assert [type(event) for event in events if isinstance(event, TERMINAL)] == [type(events[-1])]
    Grammar().after(events)
    return events


def parts(events: list[Event]) -> list[Part]:
    [response] = fold(events).responses
    return response.content()


def deltas(events: list[Event]) -> list[str]:
    return [event.delta for event in events if isinstance(event, PartDelta)]


def update(**members: Any) -> dict[str, Any]:
    return {"type": "update", **members}


def think(thought: str) -> dict[str, Any]:
    return {"type": "reasoning_delta", "reasoning_delta": thought}


# -- text


def test_text() -> None:
    said = read(
        START,
        update(delta="Hello"),
        {"type": "keepalive"},
        update(delta=", you"),
        {**END, "content": "Hello, you"},
    )
    assert said[0] == ResponseStarted("resp_1", "m")
    assert deltas(said) == ["Hello", ", you"] and parts(said) == [TextPart("Hello, you")]
    done = said[-1]
    assert isinstance(done, ResponseDone) and isinstance(done.usage, Usage)
    assert (done.finish_reason, done.usage.input_tokens, done.usage.output_tokens) == ("stop", 1, 2)
    assert done.extra is UNSET


@pytest.mark.parametrize(
    "found",
    [
        [START, {**END, "content": "Hi"}],
        [{**END, "request_id": "resp_1", "model": "m", "content": "Hi"}],  # ids on any record
        [
            {"type": "keepalive"},
            {"type": "ping"},
            {**update(delta="Hi"), "request_id": "resp_1", "model": "m"},
            END,
        ],
        [START, {"type": "custom", "x": 1}, update(delta="H", y=[1]), {}, update(delta="i"), END],
        [START, update(delta="H", event="message_delta", text_delta="nonsense"), {**END, "content": "Hi"}],
        [
            START,
            update(delta=None),
            update(delta=""),
            update(delta="Hi", complete_fields=None),
            {**END, "usage": None},
        ],
        [START, update(delta="Hi"), {"type": "completion"}, update(delta="!"), END],  # the first end counts
    ],
)
def test_what_servers_may_leave_out_or_add(found: list[Any]) -> None:
    said = read(*found)
    assert said[0] == ResponseStarted("resp_1", "m") and parts(said) == [TextPart("Hi")]


def test_the_completion_is_right_where_the_deltas_are_not() -> None:
    assert parts(read(START, update(delta="Hx"), {**END, "content": "Hi"})) == [TextPart("Hi")]


def test_thoughts_and_text_take_turns() -> None:
    said = read(
        START, think("h"), think("m"), update(delta="a"), think("?"), update(delta="b"),
        {**END, "content": "ab"},
    )  # fmt: skip
    assert parts(said) == [ReasoningPart("hm"), TextPart("a"), ReasoningPart("?"), TextPart("b")]


def test_sources() -> None:
    cited = [{"url": "https://tides.example", "title": "Tides"}, {"url": None}]
    said = read(START, update(delta="a"), {**END, "citations": cited})
    assert parts(said) == [TextPart("a"), SourcePart("https://tides.example", "Tides"), SourcePart()]


@pytest.mark.parametrize(
    ("word", "reason"),
    [("stop_sequence", "stop"), ("completed", "stop"), ("length", "length"), ("max_len", "length"),
     ("time_limit", "length"), ("content_filter", "content_filter"), ("incomplete", "cancelled"),
     ("new", "stop"), ("", "stop")],
)  # fmt: skip
def test_the_reason_for_the_end(word: str, reason: str) -> None:
    done = read(START, {**END, "stop_reason": word})[-1]
    assert isinstance(done, ResponseDone) and done.finish_reason == reason
    kept = {"stop_reason": word} if word not in ("content_filter", "incomplete") else UNSET
    assert done.extra == kept


def test_usage() -> None:
    counts = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "reasoning_tokens": 3,
              "cache_read_input_tokens": 2}  # fmt: skip
    for basis, source in ((None, "provider"), ("exact", "provider"), ("incomplete", "estimated")):
        told = {**counts, **({"observation_basis": basis} if basis else {})}
        done = read(START, {**END, "usage": told})[-1]
        assert isinstance(done, ResponseDone)
        assert done.usage == Usage(7, 2, 5, 3, source, told)  # type: ignore[arg-type]
    for nothing in ({}, None, {**counts, "observation_basis": "unavailable"}):
        done = read(START, {**END, "usage": nothing})[-1]
        assert isinstance(done, ResponseDone) and done.usage is UNSET


# -- the end that is none


def test_an_end_of_the_body_is_not_an_end() -> None:
    whole = [
        START,
        update(delta="Hi"),
        {"type": "tool_use_start", "tool_call_delta": {"index": 0, "id": "c"}},
    ]
    for n in range(len(whole) + 1):
        said = read(*whole[:n], cut=True)
        end = said[-1]
        assert isinstance(end, ResponseFailed) and end.code == "truncated" and end.retryable
        assert isinstance(said[0], ResponseStarted)
    old = read({"event": "message_delta", "text_delta": "Hi"}, make=decode_v1.Decoder, cut=True)[-1]
    assert isinstance(old, ResponseFailed) and old.code == "truncated"


@pytest.mark.parametrize(
    ("record", "code", "status", "retryable"),
    [
        ({"code": "PROVIDER_ERROR", "message": "gone", "status": 502}, "PROVIDER_ERROR", 502, True),
        ({"code": "RATE_LIMIT", "message": "gone", "status": 429}, "RATE_LIMIT", 429, True),
        (
            {"code": "INVALID_INPUT", "message": "gone", "status": 400, "detail": "x"},
            "INVALID_INPUT",
            400,
            False,
        ),
        ({"message": "gone"}, "upstream", 502, True),
        ({"message": "gone", "status": 0}, "upstream", 502, True),
    ],
)
def test_an_error_is_a_failure(record: dict[str, Any], code: str, status: int, retryable: bool) -> None:
    for before in ([], [START], [START, update(delta="Hi")]):
        end = read(*before, {"type": "error", **record}, {**END, "content": "all is well"})[-1]
        assert end == ResponseFailed(code, "gone", retryable, extra={"status": status})


def test_generation_1_fails_without_a_reason() -> None:
    end = read({"event": "message_stop", "stop_reason": "error"}, make=decode_v1.Decoder)[-1]
    assert isinstance(end, ResponseFailed) and end.code == "upstream"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"type":', b'{"type":1}', b'{"type":"update","delta":[1]}', b"hello"]
)
def test_what_is_no_record_is_an_error(data: bytes) -> None:
    for make in (Decoder, decode_v1.Decoder):
        with pytest.raises(RemoteProtocolError):
            list(make().decode(Frame(data)))


def test_half_a_surrogate_pair_is_replaced() -> None:
    decoder = Decoder()
    said = list(decoder.decode(Frame(b'{"type":"update","delta":"a\\ud83d"}')))
    assert deltas(said) == ["a\ufffd"]


def test_a_line_that_nothing_ended_is_taken_if_it_is_whole() -> None:
    decoder = Decoder()
    list(decoder.decode(Frame(json.dumps(START).encode())))
    assert isinstance(list(decoder.close(Frame(json.dumps(END).encode())))[-1], ResponseDone)
    decoder = Decoder()
    assert isinstance(list(decoder.close(Frame(json.dumps(END).encode()[:-1])))[-1], ResponseFailed)


# -- tool calls


def begin(index: int, call_id: str, name: str, **more: Any) -> dict[str, Any]:
    call = {"index": index, "id": call_id, "type": "function", "function": {"name": name, **more}}
    return {"type": "tool_use_start", "tool_call_delta": call}


def go_on(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    piece = {"index": index, "function": {"arguments": arguments, **more}}
    return {"type": "tool_use_delta", "tool_call_delta": piece}


def whole(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


TIDE, MOON = ToolCallPart("c1", "tide", '{"a":1}'), ToolCallPart("c2", "moon", "{}")
CALLED: Final = {**END, "stop_reason": "tool_calls"}


@pytest.mark.parametrize(
    "found",
    [
        [begin(0, "c1", "tide"), begin(1, "c2", "moon", arguments="{"), go_on(0, '{"a"'), go_on(1, "}"),
         go_on(0, ":1}"), CALLED],  # deltas alone
        [{**CALLED, "tool_calls": [whole("c1", "tide", '{"a":1}'), whole("c2", "moon", "{}")]}],
        [begin(0, "c1", "tide"), go_on(0, '{"a":1}'),
         {"type": "tool_use_stop", "tool_calls": [whole("c1", "tide", '{"a":1}')]},
         begin(1, "c2", "moon"), {"type": "tool_use_stop", "tool_call": whole("c2", "moon", "{}")},
         {**CALLED, "tool_calls": [whole("c1", "tide", '{"a":1}'), whole("c2", "moon", "{}")]}],
        [begin(0, "c1", "ti"), go_on(0, '{"a":', name="tide"), begin(1, "c2", "moon"),
         {**CALLED, "tool_calls": [whole("c1", "", '{"a":1}'), whole("c2", "moon", "{}")]}],  # it is right
        [begin(0, "c1", "tide"),
         {"type": "tool_use_stop", "tool_calls": [whole("c1", "tide", '{"a":1}'), whole("c2", "moon", "{}")]},
         CALLED],
    ],
)  # fmt: skip
def test_calls(found: list[Any]) -> None:
    said = read(START, *found)
    assert parts(said) == [TIDE, MOON]
    done = said[-1]
    assert isinstance(done, ResponseDone)
    assert (done.finish_reason, done.pending_calls) == ("tool_calls", ("c1", "c2"))


def test_text_ends_where_a_call_begins() -> None:
    said = read(START, update(delta="Hm"), begin(0, "c1", "tide"), update(delta="So"), go_on(0, '{"a":1}'),
                {**CALLED, "content": "HmSo"})  # fmt: skip
    assert parts(said) == [TextPart("Hm"), TIDE, TextPart("So")]
    kinds = [type(event).__name__ for event in said[1:6]]
    assert kinds == ["PartStarted", "PartDelta", "PartDone", "PartStarted", "PartStarted"]


def test_a_call_without_an_id_is_called_by_its_number() -> None:
    said = read(START, begin(0, "", "tide"), go_on(0, "{}"), CALLED)
    assert parts(said) == [ToolCallPart("call_1", "tide", "{}")]


def test_a_tool_that_the_server_ran_is_not_the_callers() -> None:
    stop = {
        "type": "tool_use_stop",
        "tool_calls": [whole("c1", "tide", '{"a":1}')],
        "tool_result": {"at": "12:40"},
    }
    said = read(
        START, begin(0, "c1", "tide"), stop, update(delta="At 12:40."), {**END, "stop_reason": "end_turn"}
    )
    assert [event for event in said if isinstance(event, ToolStarted | ToolDone)] == [
        ToolStarted("c1", "tide", '{"a":1}'), ToolDone("c1", {"at": "12:40"}),
    ]  # fmt: skip
    done = said[-1]
    assert isinstance(done, ResponseDone) and (done.finish_reason, done.pending_calls) == ("stop", ())


def test_of_several_tools_those_that_the_server_did_not_run_are_the_callers() -> None:
    stop = {"type": "tool_use_stop", "tool_call": whole("c1", "tide", "{}"), "tool_result": "12:40"}
    done = read(START, begin(0, "c1", "tide"), begin(1, "c2", "moon"), stop, CALLED)[-1]
    assert isinstance(done, ResponseDone) and done.pending_calls == ("c2",)


def test_calls_whose_end_has_no_word_are_calls_all_the_same() -> None:
    done = read(START, begin(0, "c1", "tide"), {**END, "stop_reason": "tool_use"})[-1]
    assert isinstance(done, ResponseDone) and done.finish_reason == "tool_calls"


# -- structured

SEA = {"title": "A quiet sea", "tags": ["calm", "blue"]}
SEA_PATCHES: Final = [
    [{"op": "add", "path": "/title", "value": "A qui"}],
    [{"op": "replace", "path": "/title", "value": "A quiet sea"}],
    [{"op": "add", "path": "/tags", "value": ["calm"]}],
    [{"op": "add", "path": "/tags/-", "value": "blue"}],
]


def test_text_beside_patches_is_what_streams() -> None:
    found = [
        update(delta='{"a":', patch=[]),
        update(delta="1}", patch=[{"op": "add", "path": "/a", "value": 1}]),
    ]
    for options in ({}, {"structured": True}):
        said = read(PATCHED, *found, {**END, "payload": {"a": 1}, "content": '{"a":1}'}, **options)
        assert deltas(said) == ['{"a":', "1}"] and parts(said) == [DataPart({"a": 1})]


def test_patches_alone_stream_too() -> None:
    said = read(PATCHED, *(update(patch=patch) for patch in SEA_PATCHES), {**END, "payload": SEA})
    assert deltas(said) == ['{"title":"A qui', "et sea", '","tags":["calm', '","blue', '"]}']
    assert json.loads("".join(deltas(said))) == SEA and parts(said) == [DataPart(SEA)]


def test_text_and_patches_are_never_told_one_after_the_other() -> None:
    patch, text = update(patch=[{"op": "add", "path": "/a", "value": 1}]), update(delta='{"a":1}')
    assert deltas(read(PATCHED, patch, text, {**END, "payload": {"a": 1}})) == ['{"a":1', "}"]
    assert deltas(read(PATCHED, text, patch, {**END, "payload": {"a": 1}})) == ['{"a":1}']


def test_the_payload_is_right_and_is_not_needed() -> None:
    told = [update(patch=patch) for patch in SEA_PATCHES]
    assert parts(read(PATCHED, *told, {**END, "payload": {"other": 1}})) == [DataPart({"other": 1})]
    assert parts(read(PATCHED, *told, END)) == [DataPart(SEA)]
    assert parts(read(PATCHED, {**END, "payload": SEA})) == [DataPart(SEA)]
    assert parts(read(PATCHED, {**END, "payload": SEA, "content": json.dumps(SEA)})) == [DataPart(SEA)]
    assert parts(read(PATCHED, {**END, "payload": None})) == [DataPart(None)]


def test_a_server_that_was_asked_for_data_may_say_it_as_text() -> None:
    assert parts(read(START, update(delta='{"a":'), update(delta="1}"), END, structured=True)) == [
        DataPart({"a": 1})
    ]
    assert parts(read(START, {**END, "content": '{"a":1}'}, structured=True)) == [DataPart({"a": 1})]
    assert parts(read(START, update(delta="No."), END, structured=True)) == [DataPart(text="No.")]


def test_calls_in_place_of_data_leave_no_data() -> None:
    found = {**CALLED, "payload": {}, "tool_calls": [whole("c1", "tide", '{"a":1}')]}
    assert parts(read(PATCHED, found)) == [TIDE]


@pytest.mark.parametrize(
    ("patches", "text", "value"),
    [
        ([[{"op": "add", "path": "/a", "value": {}}], [{"op": "add", "path": "/a/b", "value": []}]],
         '{"a":{"b":[]}}', {"a": {"b": []}}),
        ([[{"op": "add", "path": "/a~1b~0", "value": [1, True, None, 0.5]}]], '{"a/b~":[1,true,null,0.5]}',
         {"a/b~": [1, True, None, 0.5]}),
        ([[{"op": "add", "path": "/a", "value": [[]]}], [{"op": "add", "path": "/a/0/0", "value": "x"}],
          [{"op": "replace", "path": "/a/0/0", "value": "xy"}]], '{"a":[["xy"]]}', {"a": [["xy"]]}),
        ([[{"op": "add", "path": "", "value": [1]}], [{"op": "add", "path": "/1", "value": 2}]], "[1,2]",
         [1, 2]),
        ([[{"op": "add", "path": "", "value": "x"}], [{"op": "replace", "path": "", "value": "xy"}]], '"xy"',
         "xy"),
        ([[]], "", {}),
        ([[{"op": "add", "path": "/a", "value": "x"}], [{"op": "replace", "path": "/a", "value": "yz"}]],
         '{"a":"x', {"a": "yz"}),  # no string that grows
    ],
)  # fmt: skip
def test_a_document_that_grows_is_told(patches: list[Any], text: str, value: Any) -> None:
    document = Document()
    assert "".join([*map(document.patch, patches), document.close()]) == text
    assert document.value == value


@pytest.mark.parametrize(
    "later",
    [
        {"op": "replace", "path": "/a", "value": "other"},
        {"op": "replace", "path": "/b", "value": 2},
        {"op": "remove", "path": "/b"},
        {"op": "add", "path": "/c/0", "value": 1},
        {"op": "replace", "path": "/c/1", "value": 1},
        {"op": "add", "path": "", "value": {"x": 1}},
    ],
)
def test_what_comes_out_of_order_is_in_the_value_alone(later: Any) -> None:
    patches = [
        [{"op": "add", "path": f"/{key}", "value": value}]
        for key, value in (("a", "x"), ("b", 1), ("c", [7, 8]))
    ]
    patches += [[later], [{"op": "add", "path": "/d", "value": 1}]]
    document, judge = Document(), dict[str, Any]()
    told = "".join(map(document.patch, deepcopy(patches))) + document.close()
    for patch in patches:
        judge = JsonPatch(patch).apply(judge)
    assert document.value == judge
    assert told == '{"a":"x","b":1,"c":[7,8'


@pytest.mark.parametrize(
    "wrong",
    [{"op": "add", "path": "/x/y", "value": 1}, {"op": "test", "path": "/a", "value": 1},
     {"op": "add", "path": "/a"}, {"path": "/a"}, 7, {"op": "remove", "path": "/x"},
     {"op": "add", "path": "/a/0", "value": 1}, {"op": "add", "path": 7, "value": 1},
     {"op": "remove", "path": ""}],
)  # fmt: skip
def test_a_patch_that_cannot_be_applied_leaves_the_payload(wrong: Any) -> None:
    told = update(patch=[{"op": "add", "path": "/a", "value": "x"}, wrong])
    assert parts(read(PATCHED, told, update(patch=[wrong]), {**END, "payload": SEA})) == [DataPart(SEA)]
    assert isinstance(read(PATCHED, told, END)[-1], ResponseDone)


# -- there and back


def back(wire: Wire, events: list[Event], **options: Any) -> list[Event]:
    """An answer through a wire, keepalives between its frames and its bytes cut anywhere."""
    encoder, make = wire.encoder(), wire.dialect.decoder
    assert make is not None
    frames = [frame for record in records(events) for frame in encoder.encode(record)]
    body = wire.framing.keepalive.join(written(wire, [frame]) for frame in frames)
    reader, decoder = wire.framing.reader(), make(**options)
    pieces = [body[at : at + 11] for at in range(0, len(body), 11)]
    said = [event for piece in pieces for frame in reader.feed(piece) for event in decoder.decode(frame)]
    said += [event for frame in reader.close() for event in decoder.decode(frame)]
    said += decoder.close(reader.unfinished())
    Grammar().after(said)
    return said


OURS: Final = {"v2": V2, "sse": SSE, "v1": V1}
every_wire = pytest.mark.parametrize("wire", OURS.values(), ids=list(OURS))
STARTS: Final = [n for n, event in enumerate(SESSION) if isinstance(event, ResponseStarted)]
RESPONSES: Final = [SESSION[a:b] for a, b in pairwise([*STARTS, len(SESSION)])]


@every_wire
def test_a_session_comes_back(wire: Wire) -> None:
    calls, stopped, choices, failed = (back(wire, events) for events in RESPONSES)
    thoughts = [ReasoningPart("Two ports, two calls.")] if wire is not V1 else []
    assert parts(calls) == [
        *thoughts, TextPart("Let me look."), ToolCallPart("call_1", "get_tide", '{"port":"Brest"}'),
        ToolCallPart("call_2", "get_tide", '{"port":"Bordeaux"}'),
    ]  # fmt: skip
    done = calls[-1]
    assert isinstance(done, ResponseDone) and isinstance(done.usage, Usage)
    assert (done.finish_reason, done.pending_calls) == ("tool_calls", ("call_1", "call_2"))
    assert (done.usage.input_tokens, done.usage.output_tokens) == (31, 9)
    if wire is not V1:
        assert (done.usage.cached_input_tokens, done.usage.reasoning_tokens) == (8, 4)
    assert calls[0] == ResponseStarted("st_1.1", "demo")
    end = stopped[-1]
    assert parts(stopped) == [TextPart("High tide is at 🌊")]
    assert isinstance(end, ResponseDone) and end.finish_reason == "cancelled"
    assert parts(choices) == [TextPart('{"a":1}')]
    assert isinstance(failed[-1], ResponseFailed) and deltas(failed) == ["Well"]


@every_wire
def test_deltas_come_back_one_by_one(wire: Wire) -> None:
    events = long_answer(50)
    sent = [event.delta for event in events if isinstance(event, PartDelta)]
    assert [delta for delta in deltas(back(wire, events)) if delta != "{}"] == sent


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def cut_data(draw: st.DrawFn) -> tuple[Any, list[Event]]:
    """A value that was asked for, and the answer that it is, in any pieces."""
    value = draw(values)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    places = sorted({0, len(text), *draw(st.sets(st.integers(0, len(text)), max_size=6))})
    return value, [
        ResponseStarted("st_1.1", "m", request={"output_schema": {}}),
        PartStarted("p1", DataPart()),
        *(PartDelta("p1", text[a:b]) for a, b in pairwise(places)),
        PartDone("p1", grown(DataPart(), text)),
        ResponseDone("stop"),
    ]


@settings(deadline=None)
@given(cut_data())
def test_data_comes_back(given_: tuple[Any, list[Event]]) -> None:
    value, events = given_
    for wire in OURS.values():
        said = back(wire, events, structured=True)
        assert parts(said) == [DataPart(value)]
        assert json.loads("".join(deltas(said))) == value


@settings(deadline=None)
@given(cut_data())
def test_data_comes_back_from_its_patches_alone(given_: tuple[Any, list[Event]]) -> None:
    """As from a server that says no text beside them: it streams, and its text is its value."""
    value, events = given_
    encoder = V2.encoder()
    found = [json.loads(frame.data) for record in records(events) for frame in encoder.encode(record)]
    for each in found:
        each.pop("delta", None)
        each.pop("content", None)
    said = read(*found)
    assert parts(said) == [DataPart(value)]
    text = "".join(deltas(said))
    assert value == {} or json.loads(text) == value


def test_seats_come_back_through_v1_as_text() -> None:
    text = json.dumps(SEATED)
    events: list[Event] = [ResponseStarted("r", "m"), PartStarted("p1", DataPart()), PartDelta("p1", text),
                           PartDone("p1", DataPart(SEATED)), ResponseDone("stop")]  # fmt: skip
    assert parts(back(V1, events, structured=True)) == [DataPart(SEATED)]
    assert get("modelrelay/run").decoder is None, "a log of runs is not an answer"
