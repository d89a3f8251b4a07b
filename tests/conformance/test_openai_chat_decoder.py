"""
The chat decoder: every recorded body, however it is cut, and each rule of the contract (section 5).
"""

from __future__ import annotations

import json
from collections import defaultdict
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.dialects.openai_chat import Decoder
from penstock.errors import RemoteProtocolError
from penstock.events import (
    DataPart,
    Event,
    PartDelta,
    PartDone,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ResponseDone,
    ResponseFailed,
    SourcePart,
    TextPart,
    ToolCallPart,
    Usage,
    decode_events,
    encode_events,
)
from penstock.grammar import Grammar
from penstock.snapshot import Response, fold
from penstock.wire import Frame, jsontext
from recordings import RECORDINGS, Recording, decoded, pieces, response_of

FAILS = {
    "groq-tool-use-failed-error-streaming-with-text-0": "tool_use_failed",  # an error instead of a finish
    "openrouter-stream-error-0": "400",  # an error chunk after finish_reason length
    "litellm-proxy-completion-stream-multiple-choices-proxy-0": "truncated",  # choice 1 never finishes
    "openai-tools-streaming-variant-b-0": "truncated",  # [DONE], but no finish_reason anywhere
    "snowflake-thinking-0": "truncated",  # never sends one; see `finish_required`
}
"""Bodies that are no success, with the code they fail with."""

DISAGREES = {
    "mistral-model-thinking-part-iter-0": "openai-node adds a list of parts to a text as '[object Object]'",
    "perplexity-citations": "openai-python skips the last chunk, whose object is chat.completion.done",
}

REFUSED = {
    "azure-openai-azure-chat-completion-streamed-0": "async filter chunks: object '', no role",
    "groq-model-web-search-tool-0": "no role anywhere",
    "groq-tool-use-failed-error-streaming-with-text-0": "an error, which is ours too",
    "litellm-proxy-completion-stream-multiple-choices-proxy-0": "no finish_reason for choice 1, ours too",
    "mistral-incremental-tool-call": "no role anywhere",
    "mistral-synchronous-streaming-chat-completions-with-tool-call-response-e": "a tool call without index",
    "mistral-tool-call": "a tool call without index",
    "moonshotai-stream": "the first chunk has no content",
    "openai-chat-completions-post-5940fcfa-0": "openai-python raises at finish_reason length",
    "openai-chat-completions-post-ddb692c6-0": "openai-python raises at finish_reason length",
    "openai-sdk-snapshot-4cc50a61": "openai-python raises at finish_reason length",
    "openai-tools-streaming-variant-b-0": "no finish_reason, ours too",
    "openrouter-stream-error-0": "an error, which is ours too",
    "openrouter-web-search-annotations-0": "annotations without index",
    "snowflake-thinking-0": "no finish_reason, ours too",
    "vllm-trace-propagation-stream-async-chatopenai-0": "openai-python raises at finish_reason length",
}
"""Bodies on which an official helper raises or goes astray; our outcome is the entry's all the same."""


def test_the_tables_name_what_the_index_names() -> None:
    assert {r.name for r in RECORDINGS if r.entry.get("disagrees_with")} == DISAGREES.keys()
    assert {r.name for r in RECORDINGS if r.entry.get("sdk_refuses")} == REFUSED.keys()
    no_success = {
        r.name
        for r in RECORDINGS
        if r.expected.get("error") or any(c["finish_reason"] is None for c in r.expected["choices"])
    }
    assert no_success == FAILS.keys()  # fmt: skip


# -- every body, however it is cut

every_body = pytest.mark.parametrize("recording", RECORDINGS, ids=repr)


def told(response: Response, index: int) -> dict[str, Any]:
    """What one choice said, in the words of the index."""
    content = response.content(index)
    said = {
        name: "".join(part.text for part in content if isinstance(part, kind))
        for name, kind in (("text", TextPart), ("reasoning", ReasoningPart), ("refusal", RefusalPart))
    }
    calls = [
        {"id": part.call_id, "name": part.tool, "arguments": part.arguments}
        for part in content
        if isinstance(part, ToolCallPart)
    ]
    return {**said, "tool_calls": calls}  # fmt: skip


def check(recording: Recording, events: list[Event]) -> None:
    expected, response = recording.expected, response_of(events)
    assert (response.response_id, response.model) == (expected.get("id", ""), expected["model"])
    for choice in expected["choices"]:
        silent = {"text": "", "reasoning": "", "refusal": ""}
        said = {name: value for name, value in choice.items() if name not in ("index", "finish_reason")}
        assert told(response, choice["index"]) == silent | said
    assert {part.choice for part in response.parts.values()} <= {c["index"] for c in expected["choices"]}
    check_end(recording, response.end)


def check_end(recording: Recording, end: ResponseDone | ResponseFailed | None) -> None:
    assert end is not None
    check_usage(recording.expected.get("usage"), end.usage)
    if recording.name in FAILS:
        assert isinstance(end, ResponseFailed) and end.code == FAILS[recording.name]
    else:
        assert isinstance(end, ResponseDone)
        reasons = [choice["finish_reason"] for choice in recording.expected["choices"]]
        assert list(end.finish_reasons or (end.finish_reason,)) == reasons


def check_usage(raw: dict[str, Any] | None, usage: Any) -> None:
    if raw is None:
        assert usage is UNSET
        return
    assert usage.extra == raw
    assert usage.input_tokens == raw["prompt_tokens"]
    assert usage.input_tokens + usage.output_tokens == raw["total_tokens"]
    assert usage.output_tokens >= raw["completion_tokens"]
    assert usage.source == "provider"


@every_body
def test_a_body_read_whole(recording: Recording) -> None:
    check(recording, decoded(recording.body))


@every_body
def test_a_body_read_byte_by_byte(recording: Recording) -> None:
    assert decoded(*pieces(recording.body)) == decoded(recording.body)


@every_body
def test_a_body_with_other_line_ends(recording: Recording) -> None:
    check(recording, decoded(*pieces(recording.body.replace(b"\n", b"\r\n"), 1000)))


@every_body
def test_a_body_can_be_stored(recording: Recording) -> None:
    events = decoded(recording.body)
    assert decode_events(encode_events(events)) == events


# -- law 7: the end of input is not an end


def finished(frames: list[Frame]) -> list[bool]:
    """After each frame, whether every choice that has spoken has finished: read from the JSON alone."""
    reasons: dict[int, str | None] = {}
    states = []
    for frame in frames:
        chunk = {} if frame.data == b"[DONE]" else json.loads(frame.data)
        for choice in chunk.get("choices") or ():
            reasons[choice["index"]] = choice.get("finish_reason") or reasons.get(choice["index"])
        states.append(bool(reasons) and all(reasons.values()))
    return states


@every_body
def test_a_body_cut_anywhere_is_said_to_be_cut(recording: Recording) -> None:
    """Only where all that was said has a finish reason may it count as whole; and then it is."""
    whole = response_of(decoded(recording.body))
    decoder, grammar, said = Decoder(), Grammar(), list[Event]()
    for frame, is_finished in zip(recording.frames, finished(recording.frames), strict=True):
        more = list(decoder.decode(frame))
        grammar, said = grammar.after(more), said + more
        rest = list(deepcopy(decoder).close())
        grammar.after(rest)
        last = (said + rest)[-1]
        if isinstance(last, ResponseFailed):
            assert not is_finished or (whole.end == last and last.code != "truncated")
            assert last.code in ("truncated", FAILS.get(recording.name))
        else:
            assert isinstance(last, ResponseDone) and is_finished
            [response] = fold(said + rest).responses
            assert [p.part for p in response.parts.values()] == [p.part for p in whole.parts.values()]


def test_nothing_at_all_is_truncated_too() -> None:
    response = response_of(decoded(b""))
    assert isinstance(response.end, ResponseFailed)
    assert (response.end.code, response.end.retryable) == ("truncated", True)


@pytest.mark.parametrize("name", ["openai-text", "mistral-tool-call"])
def test_a_frame_cut_in_the_middle_is_not_decoded(name: str) -> None:
    """The last event counts without its blank line, but only if its JSON is whole."""
    [recording] = [r for r in RECORDINGS if r.name == name]
    body = b"".join(b"data: %b\n\n" % frame.data for frame in recording.frames[:-1])
    assert decoded(body[:-2]) == decoded(body[:-1]) == decoded(body)
    shorter = decoded(b"".join(b"data: %b\n\n" % frame.data for frame in recording.frames[:-2]))
    assert decoded(body[:-3]) == shorter


def test_a_last_done_counts_without_its_blank_line() -> None:
    body = stream(choice({"content": "a"}, "stop"))
    assert decoded(body + b"data: [DONE]") == decoded(body + b"data: [DONE]\n\n") == decoded(body)


def test_what_comes_after_the_end_is_ignored() -> None:
    body = stream(choice({"content": "a"}, "stop"), "[DONE]")
    assert decoded(body + stream(choice({"content": "b"}), {"error": {}})) == decoded(body)


# -- the rules of section 5, one by one


def choice(
    delta: dict[str, Any] | None, finish: str | None = None, index: int = 0, **rest: Any
) -> dict[str, Any]:
    chosen = {"index": index, "delta": delta, "finish_reason": finish}
    top: dict[str, Any] = {
        name: rest.pop(name) for name in ("usage", "x_groq", "error", "provider") if name in rest
    }
    return {"id": "r1", "model": "m", "choices": [chosen | rest], **top}


def stream(*chunks: Any) -> bytes:
    texts = (chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def call(arguments: Any = "", *, name: str | None = None, **rest: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}, **rest}]}


STOP, CALLED = choice({}, "stop"), choice({}, "tool_calls")
A: dict[str, Any] = {"id": "a", "name": "get", "index": 0}
B: dict[str, Any] = {"id": "b", "name": "put", "index": 1}
B0 = B | {"index": 0}
WHOLE = ToolCallPart("a", "get", '{"x":1}')

PARTS: dict[str, tuple[list[dict[str, Any]], list[Any]]] = {
    "texts are joined": (
        [choice({"role": "assistant", "content": ""}), choice({"content": "a"}), choice({"content": "b"}),
         STOP],
        [TextPart("ab")],
    ),
    "text on the finish chunk": (
        [choice({"content": "a"}), choice({"content": "b"}, "stop")], [TextPart("ab")],
    ),
    "a null delta": ([choice({"content": "a"}), choice(None), STOP], [TextPart("a")]),
    "reasoning, then text": (
        [choice({"reasoning_content": "r"}), choice({"content": "t"}), STOP],
        [ReasoningPart("r"), TextPart("t")],
    ),
    "reasoning by its other name": ([choice({"reasoning": "r"}), STOP], [ReasoningPart("r")]),
    "reasoning by both names": (
        [choice({"reasoning_content": "r", "reasoning": "r"}), STOP], [ReasoningPart("r")],
    ),
    "reasoning details are kept": (
        [choice({"reasoning": "r", "reasoning_details": [{"signature": "s"}]}), STOP],
        [ReasoningPart("r", "s", {"reasoning_details": [{"signature": "s"}]})],
    ),
    "a refusal": ([choice({"refusal": "n"}), choice({"refusal": "o"}), STOP], [RefusalPart("no")]),
    "content as a list of parts": (
        [choice({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]},
                             {"type": "text", "text": "t"}]}), STOP],
        [ReasoningPart("r"), TextPart("t")],
    ),
    "thinking as a text": (
        [choice({"content": [{"type": "thinking", "thinking": "r"}]}), STOP], [ReasoningPart("r")],
    ),
    "a call in fragments": (
        [choice(call(**A)), choice(call('{"x"', index=0)), choice(call(":1}", index=0)), CALLED],
        [WHOLE],
    ),
    "a whole call on the finish chunk": (
        [choice(call('{"x":1}', id="a", name="get"), "tool_calls")], [WHOLE],
    ),
    "calls without index go by id": (
        [choice(call('{"x"', id="a", name="get")), choice(call("[]", id="b", name="put")),
         choice(call(":1}", id="a")), CALLED],
        [WHOLE, ToolCallPart("b", "put", "[]")],
    ),
    "a fragment without index and id goes to the call under way": (
        [choice(call('{"x"', id="a", name="get")), choice(call(":1}")), CALLED], [WHOLE],
    ),
    "parallel calls, interleaved": (
        [choice(call(**A)), choice(call(**B)),
         choice(call('{"x":1}', index=0)), choice(call("[]", index=1)), CALLED],
        [WHOLE, ToolCallPart("b", "put", "[]")],
    ),
    "another id on a used index is another call": (
        [choice(call('{"x":1}', **A)), choice(call("[]", **B0)), CALLED],
        [WHOLE, ToolCallPart("b", "put", "[]")],
    ),
    "id and name repeated": (
        [choice(call('{"x"', **A)), choice(call(":1}", **A)), CALLED],
        [WHOLE],
    ),
    "an empty id is no id": (
        [choice(call('{"x"', **A)), choice(call(":1}", id="", name="", index=0)), CALLED],
        [WHOLE],
    ),
    "the name comes after the id": (
        [choice(call(id="a", index=0)), choice(call('{"x":1}', name="get", index=0)), CALLED], [WHOLE],
    ),
    "the id comes after the name": (
        [choice(call(name="get", index=0)), choice(call('{"x":1}', id="a", index=0)), CALLED], [WHOLE],
    ),
    "a call that never gets an id": (
        [choice(call('{"x"', name="get", index=0)), choice(call(":1}", index=0)), CALLED],
        [ToolCallPart("call_1", "get", '{"x":1}')],
    ),
    "an id that comes too late is ignored": (
        [choice(call('{"x"', name="get", index=0)), choice(call(":1}", id="a", index=0)), CALLED],
        [ToolCallPart("call_1", "get", '{"x":1}')],
    ),
    "a call of which only the id came": (
        [choice(call(id="a", index=0)), CALLED], [ToolCallPart("a", "")],
    ),
    "null arguments are empty": (
        [choice(call(None, **A)), choice(call('{"x":1}', index=0)), CALLED], [WHOLE],
    ),
    "arguments as an object": ([choice(call({"x": 1}, **A)), CALLED], [WHOLE]),
    "text, then calls, then text": (
        [choice({"content": "a"}), choice(call('{"x":1}', **A)), choice({"content": "b"}), CALLED],
        [TextPart("ab"), WHOLE],
    ),
    "a legacy function call": (
        [choice({"function_call": {"name": "get", "arguments": '{"x"'}}),
         choice({"function_call": {"arguments": ":1}"}}), choice({}, "function_call")],
        [ToolCallPart("call_legacy", "get", '{"x":1}')],
    ),
    "annotations": (
        [choice({"content": "a", "annotations": [
            {"type": "url_citation", "url_citation": {"url": "http://x", "title": "X"}}]}), STOP],
        [TextPart("a"), SourcePart("http://x", "X",
            {"type": "url_citation", "url_citation": {"url": "http://x", "title": "X"}})],
    ),
    "an annotation of another shape": (
        [choice({"annotations": [{"url_citation": "odd"}, {"url_citation": {"url": 5}}]}), STOP],
        [SourcePart(extra={"url_citation": "odd"}), SourcePart(extra={"url_citation": {"url": 5}})],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("chunks", "parts"), PARTS.values(), ids=list(PARTS))
@pytest.mark.parametrize("done", [(), ("[DONE]",)], ids=["closed", "DONE"])
def test_parts(chunks: list[dict[str, Any]], parts: list[Any], done: tuple[str, ...]) -> None:
    response = response_of(decoded(stream(*chunks, *done)))
    assert response.content() == parts
    assert isinstance(response.end, ResponseDone)
    assert response.end.pending_calls == tuple(
        part.call_id for part in parts if isinstance(part, ToolCallPart)
    )


@pytest.mark.parametrize(("chunks", "parts"), PARTS.values(), ids=list(PARTS))
def test_deltas_say_the_same_as_the_parts(chunks: list[dict[str, Any]], parts: list[Any]) -> None:
    """A reader who is there from the beginning needs no ``part.done``."""
    events = decoded(stream(*chunks))
    live = [event for event in events if not isinstance(event, PartDone | ResponseDone)]
    shown = [
        getattr(part, "arguments", "") or getattr(part, "text", "")
        for part in fold(live).responses[0].content()
    ]
    assert shown == [getattr(part, "arguments", "") or getattr(part, "text", "") for part in parts]


def test_calls_are_streamed_as_they_come() -> None:
    decoder = Decoder()
    frames = [Frame(json.dumps(choice(call(text, **A))).encode()) for text in ("", "{", "}")]
    said = [[type(event) for event in decoder.decode(frame)][-1] for frame in frames]
    assert said == [PartStarted, PartDelta, PartDelta]


def test_structured_text_is_data() -> None:
    body = stream(choice({"content": '{"a"'}), choice({"content": ":1}"}), STOP)
    assert response_of(decoded(body, structured=True)).content() == [DataPart({"a": 1})]


def test_structured_text_that_is_no_json_stays_text() -> None:
    body = stream(choice({"content": "[" * 5000}), STOP)
    assert response_of(decoded(body, structured=True)).content() == [DataPart(text="[" * 5000)]


def test_several_choices_are_kept_apart() -> None:
    body = stream(
        choice({"content": "b"}, index=1), choice({"content": "a"}), choice({"content": "B"}, "length", 1),
        choice({"content": "A"}, "stop"),
    )  # fmt: skip
    response = response_of(decoded(body))
    assert (response.text(0), response.text(1)) == ("aA", "bB")
    assert isinstance(response.end, ResponseDone)
    assert response.end.finish_reasons == ("stop", "length")


def test_logprobs_travel_with_the_piece_they_are_about() -> None:
    probs = {"content": [{"token": "a", "logprob": -0.1}]}
    events = decoded(stream(choice({"content": "a"}, logprobs=probs), choice({"content": "b"}), STOP))
    assert [event.extra for event in events if isinstance(event, PartDelta)] == [{"logprobs": probs}, UNSET]


def test_audio_is_kept_beside() -> None:
    response = response_of(decoded(stream(choice({"audio": {"id": "x", "data": "AA=="}}), STOP)))
    assert [custom.data for custom in response.customs] == [
        {"choice": 0, "audio": {"id": "x", "data": "AA=="}}
    ]


FINISHES = {
    "stop": ("stop", None),
    "length": ("length", None),
    "tool_calls": ("tool_calls", None),
    "function_call": ("tool_calls", None),
    "content_filter": ("content_filter", None),
    "eos_token": ("stop", ["eos_token"]),
}


@pytest.mark.parametrize(("raw", "reason", "kept"), [(raw, *told) for raw, told in FINISHES.items()])
def test_finish_reasons_are_normalised_and_unknown_ones_kept(raw: str, reason: str, kept: Any) -> None:
    end = response_of(decoded(stream(choice({"content": "a"}, raw)))).end
    assert isinstance(end, ResponseDone)
    extra = {} if end.extra is UNSET else end.extra
    assert (end.finish_reason, extra.get("finish_reason")) == (reason, kept)


def test_a_finish_reason_may_come_before_the_rest() -> None:
    """What a choice says after its finish reason is not lost."""
    response = response_of(decoded(stream(choice({"content": "a"}, "stop"), choice({"content": "b"}))))
    assert response.text() == "ab"
    assert isinstance(response.end, ResponseDone)


COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
LAST = Usage(3, 0, 2, extra=COUNTS)
FIRST = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
DETAILED = {**COUNTS, "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
APART = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9,
         "completion_tokens_details": {"reasoning_tokens": 4}}  # fmt: skip
ODD: dict[str, Any] = {
    "prompt_tokens": "3",
    "completion_tokens": None,
    "prompt_tokens_details": [],
    "completion_tokens_details": 1,
}

USAGES: dict[str, tuple[list[Any], Any]] = {
    "nowhere": ([STOP], UNSET),
    "null": ([choice({}, "stop", usage=None)], UNSET),
    "a chunk of its own": ([STOP, {"choices": [], "usage": COUNTS}], LAST),
    "a chunk of its own, then null": (
        [STOP, {"choices": [], "usage": COUNTS}, {"choices": [], "usage": None}],
        LAST,
    ),
    "the finish chunk": ([choice({}, "stop", usage=COUNTS)], LAST),
    "every chunk, cumulative": (
        [choice({"content": "a"}, usage=FIRST), choice({}, "stop", usage=COUNTS)],
        LAST,
    ),
    "x_groq": ([choice({}, "stop", x_groq={"id": "q", "usage": COUNTS})], LAST),
    "x_groq without counts": ([choice({}, "stop", usage=COUNTS, x_groq={"id": "q"})], LAST),
    "before anything is said": ([{"choices": [], "usage": COUNTS}, STOP], LAST),
    "with details": ([choice({}, "stop", usage=DETAILED)], Usage(3, 1, 2, 2, extra=DETAILED)),
    "reasoning counted apart": ([choice({}, "stop", usage=APART)], Usage(3, 0, 6, 4, extra=APART)),
    "cached by DeepSeek's name": (
        [choice({}, "stop", usage=COUNTS | {"prompt_cache_hit_tokens": 2})],
        Usage(3, 2, 2, extra=COUNTS | {"prompt_cache_hit_tokens": 2}),
    ),
    "of odd types": ([choice({}, "stop", usage=ODD)], Usage(extra=ODD)),
}


@pytest.mark.parametrize(("chunks", "usage"), USAGES.values(), ids=list(USAGES))
def test_the_last_usage_counts_wherever_it_is(chunks: list[Any], usage: Any) -> None:
    assert response_of(decoded(stream(*chunks))).usage == usage


@pytest.mark.parametrize("total", [-1, 10**40, 1.5])
def test_odd_numbers_can_be_stored(total: float) -> None:
    events = decoded(stream(choice({"content": "a"}, "stop", usage={"prompt_tokens": total})))
    assert decode_events(encode_events(events)) == events


ERRORS: dict[str, tuple[bytes, str, str, bool]] = {
    "an error alone": (
        stream({"error": {"message": "no", "type": "server_error", "code": None}}),
        "server_error", "no", False,
    ),
    "after a text": (
        stream(choice({"content": "a"}), {"error": {"message": "no", "code": "overloaded"}}),
        "overloaded", "no", True,
    ),
    "beside a choice": (
        stream(choice({"content": "a"}, error={"code": 502, "message": "no"})), "502", "no", True,
    ),
    "after a finish reason": (
        stream(choice({"content": "a"}, "length"), {"error": {"code": 400, "message": "no"}}),
        "400", "no", False,
    ),
    "as a text": (stream({"error": "no"}), "upstream", "no", False),
    "under its event name": (
        b"event: error\n" + stream({"error": {"message": "no"}}), "upstream", "no", False,
    ),
    "without a message": (stream({"error": {}}), "upstream", "the upstream reported an error", False),
    "of small number": (stream({"error": {"code": 99}}), "99", "the upstream reported an error", False),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "message", "retryable"), ERRORS.values(), ids=list(ERRORS))
def test_an_error_ends_the_answer(body: bytes, code: str, message: str, retryable: bool) -> None:
    end = response_of(decoded(body + stream("[DONE]"))).end
    assert isinstance(end, ResponseFailed)
    assert (end.code, end.message, end.retryable) == (code, message, retryable)
    assert end.extra is not UNSET and "error" in end.extra


BROKEN_OFF: dict[str, tuple[list[Any], list[Any]]] = {
    "a call without a name yet": ([choice(call(id="a", index=0))], [ToolCallPart("a", "")]),
    "a call without an id yet": ([choice(call(name="get", index=0))], [ToolCallPart("call_1", "get")]),
    "half a pair": ([r'{"choices":[{"delta":{"content":"a\ud83d"}}]}'], [TextPart("a�")]),
}


@pytest.mark.parametrize(("chunks", "parts"), BROKEN_OFF.values(), ids=list(BROKEN_OFF))
@pytest.mark.parametrize("last", [(), ({"error": {"code": "gone"}},)], ids=["truncated", "gone"])
def test_an_answer_that_fails_withholds_nothing(
    chunks: list[Any], parts: list[Any], last: tuple[Any]
) -> None:
    response = response_of(decoded(stream(*chunks, *last)))
    assert isinstance(response.end, ResponseFailed)
    assert response.content() == parts


def test_the_flag_for_vendors_without_finish_reasons() -> None:
    """They must say [DONE] at least; and nobody gets the flag's leniency unasked."""
    [snowflake] = [r for r in RECORDINGS if r.name == "snowflake-thinking-0"]
    lenient = response_of(decoded(snowflake.body, finish_required=False))
    assert isinstance(lenient.end, ResponseDone) and lenient.end.finish_reason == "stop"
    assert told(lenient, 0)["text"] == snowflake.expected["choices"][0]["text"]
    cut = response_of(decoded(snowflake.body.replace(b"data: [DONE]\n\n", b""), finish_required=False))
    assert isinstance(cut.end, ResponseFailed) and cut.end.code == "truncated"


def test_the_flag_for_an_answer_that_calls_tools() -> None:
    body = stream(choice(call('{"x":1}', **A)), "[DONE]")
    end = response_of(decoded(body, finish_required=False)).end
    assert isinstance(end, ResponseDone)
    assert (end.finish_reason, end.pending_calls) == ("tool_calls", ("a",))


def test_unknown_members_are_kept() -> None:
    body = stream(choice({"content": "a"}, provider="Novita"), choice({}, "stop", provider="Novita"))
    end = response_of(decoded(body)).end
    assert end is not None and end.extra == {"chunk": {"provider": "Novita"}}


# -- halves of surrogate pairs

HALVES: dict[str, tuple[list[str], str]] = {
    "a pair cut in two": ([r"a\ud83d", r"\ude00b"], "a😀b"),
    "with an empty piece between": ([r"\ud83d", "", r"\ude00"], "😀"),
    "a half that stays alone": ([r"\ud83d", "b"], "�b"),
    "a half at the very end": (["a", r"\ud83d"], "a�"),
    "a second half first": ([r"\ude00", "a"], "�a"),
}
CARRIERS = {
    "content": '{"content":"%s"}',
    "reasoning": '{"reasoning_content":"%s"}',
    "refusal": '{"refusal":"%s"}',
    "arguments": '{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"%s"}}]}',
}


@pytest.mark.parametrize(("texts", "whole"), HALVES.values(), ids=list(HALVES))
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=list(CARRIERS))
def test_a_pair_cut_in_two_is_made_whole(texts: list[str], whole: str, carrier: str) -> None:
    chunks = ['{"choices":[{"delta":%s}]}' % (carrier % text) for text in texts]
    events = decoded(stream(*chunks, STOP))
    assert decode_events(encode_events(events)) == events, "what is said can be stored"
    [part] = response_of(events).content()
    assert whole in (getattr(part, "text", ""), getattr(part, "arguments", ""))
    assert "".join(event.delta for event in events if isinstance(event, PartDelta)) == whole


CALL = r'{"choices":[{"delta":{"tool_calls":[{"id":"%s","function":{"name":"%s","arguments":%s}}]}}]}'

ODD_PLACES = {
    "id": r'{"id":"\ud83d","choices":[{"delta":{"content":"a"}}]}',
    "metadata": r'{"provider":{"\ud83d":["\ude00"]},"choices":[{"delta":{"content":"a"}}]}',
    "logprobs": r'{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"\ud83d"}]}}]}',
    "name": CALL % (r"\ud83d", r"\ud83d", '"{}"'),
    "arguments": CALL % ("a", "f", r'{"content":"\ud83d"}'),
    "details": r'{"choices":[{"delta":{"reasoning":"a","reasoning_details":[{"text":"\ud83d"}]}}]}',
    "finish": r'{"choices":[{"delta":{"content":"a"},"finish_reason":"\ud83d"}]}',
    "usage": r'{"choices":[{"delta":{"content":"a"}}],"usage":{"\ud83d":1}}',
    "error": r'{"error":{"message":"\ud83d"}}',
}  # fmt: skip


@pytest.mark.parametrize("chunk", ODD_PLACES.values(), ids=list(ODD_PLACES))
def test_half_a_pair_anywhere_can_be_stored(chunk: str) -> None:
    events = decoded(stream(chunk, STOP))
    assert decode_events(encode_events(events)) == events


# -- what is no chat chunk

NOT_CHUNKS = {
    "no JSON": b"<html>",
    "half a JSON": b'{"choices":[',
    "a list": b"[]",
    "not UTF-8": b'{"id":"\xff"}',
    "choices of another type": b'{"choices":{}}',
    "choices of another type, beside half a pair": rb'{"id":"\ud83d","choices":{}}',
    "a delta of another type": b'{"choices":[{"delta":"a"}]}',
    "too deep": b'{"choices":' + b"[" * 100_000,
    "a number beyond all numbers": b'{"usage":{"prompt_tokens":1e999}}',
}


@pytest.mark.parametrize("data", NOT_CHUNKS.values(), ids=list(NOT_CHUNKS))
def test_what_is_no_chunk_is_the_upstreams_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not a chat chunk"):
        list(Decoder().decode(Frame(data)))


@pytest.mark.parametrize("data", [b"<html>", b'{"choices":[', b"[]", b'"a"', b"[DON"])
def test_what_the_end_cut_short_counts_for_nothing(data: bytes) -> None:
    assert list(Decoder().close(Frame(data))) == list(Decoder().close())


members = st.sampled_from([
    "index", "content", "function", "name", "arguments", "id", "url_citation", "url", "code", "type", "text",
    "thinking", "prompt_tokens", "completion_tokens_details", "reasoning_tokens", "odd",
])  # fmt: skip
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text("ab\ud83d\ude00", max_size=3)
    | st.floats(allow_nan=False),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(members, v, max_size=3),
    max_leaves=6,
)
deltas = st.fixed_dictionaries({}, optional={
    "content": junk, "refusal": st.none() | st.text(max_size=3), "reasoning": st.none() | st.text(max_size=3),
    "reasoning_details": st.lists(junk, max_size=2), "annotations": st.lists(st.dictionaries(members, junk)),
    "tool_calls": st.lists(st.fixed_dictionaries({}, optional={
        "index": st.integers(0, 1), "id": st.sampled_from(["", "a", "b"]),
        "function": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(["", "f"]), "arguments": junk}),
    }), max_size=2),
    "function_call": st.fixed_dictionaries({}, optional={"name": st.just("f"), "arguments": junk}),
    "audio": junk,
})  # fmt: skip
chunks = st.fixed_dictionaries({}, optional={
    "choices": st.lists(st.fixed_dictionaries({"delta": deltas}, optional={
        "index": st.integers(0, 1), "finish_reason": st.sampled_from([None, "stop", "odd"]), "logprobs": junk,
    }), max_size=2),
    "usage": st.dictionaries(members, junk, max_size=3), "error": junk, "odd": junk,
})  # fmt: skip


@given(st.lists(chunks, max_size=5))
def test_whatever_the_upstream_says_is_legal_and_can_be_stored_or_is_its_fault(said: list[Any]) -> None:
    try:
        events = decoded(stream(*said, "[DONE]"))
    except RemoteProtocolError:
        return
    assert response_of(events).end is not None
    assert decode_events(encode_events(events)) == events
    by_part: dict[str, str] = defaultdict(str)
    for event in events:
        if isinstance(event, PartDelta):
            by_part[event.part_id] += event.delta
    done = {event.part_id: event.part for event in events if isinstance(event, PartDone)}
    for key, part in done.items():
        assert by_part.get(key, "") == (getattr(part, "arguments", "") or getattr(part, "text", ""))


def test_a_call_whose_arguments_are_whole_ends_when_another_begins() -> None:
    def chunk(*calls: dict[str, object], finish: str | None = None) -> Frame:
        choice = {"index": 0, "delta": {"tool_calls": calls}, "finish_reason": finish}
        return Frame(jsontext.encode({"id": "c", "choices": [choice]}))

    def call(index: int, arguments: str, **more: object) -> dict[str, object]:
        return {"index": index, **more, "function": {"name": f"tool{index}", "arguments": arguments}}

    decoder = Decoder()
    said = [
        list(decoder.decode(frame))
        for frame in (
            chunk(call(0, '{"a":1}', id="x")),
            chunk(call(1, '{"b"', id="y")),
            chunk(call(0, " ")),
            chunk(call(2, "{}", id="z")),
            chunk(call(1, ":2}"), finish="tool_calls"),
        )
    ]
    done = [[event.part_id for event in events if isinstance(event, PartDone)] for events in said]
    assert done == [[], ["p1"], [], [], ["p2", "p3"]]
    parts = [event.part for events in said for event in events if isinstance(event, PartDone)]
    arguments = [part.arguments for part in parts if isinstance(part, ToolCallPart)]
    assert arguments == ['{"a":1}', '{"b":2}', "{}"]
