"""JSON text to leaves, and back: the standard library and JSONTestSuite are the judges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import partial
from math import inf
from pathlib import Path as File
from typing import Any, NamedTuple, NoReturn

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.errors import InvalidJson, RemoteProtocolError
from penstock.fields import Fields, JsonText, Kind, Leaf, Path, Tree, number, spelled

FOLDER = File(__file__).parents[2] / "cases" / "json"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())["files"]

# -- texts


def strings() -> st.SearchStrategy[str]:
    """Any text; and one of characters that JSON or Unicode make something of."""
    return st.text() | st.text(st.sampled_from('ab"\\/\b\n\0\x7fé\u2028\ufeff🚀\ud83d\ude00'))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | strings(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings(), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A JSON text, written one way or another."""
    spaces = draw(st.sampled_from(["", " ", "\n", "\t\r\n "]))
    text = json.dumps(
        draw(values),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 3, "\t"])),
        separators=draw(st.sampled_from([None, (",", ":"), (" ,\n", "\t: ")])),
    )
    return spaces + text.replace("/", draw(st.sampled_from(["/", "\\/"]))) + spaces


@st.composite
def doubtful(draw: st.DrawFn) -> str:
    """A JSON text with something added, taken out or exchanged; or no JSON at all."""
    text = draw(texts() | st.sampled_from(WRITTEN))
    bits = st.text(
        st.sampled_from('{}[]:,"\\u0123dDeE89abB+-./tfnNI \n\t\0\v\u00a0\ufeff٣é\ud83d'), max_size=3
    )
    for _ in range(draw(st.integers(0, 2))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 2)))
        text = text[:begin] + draw(bits) + text[end:]
    return text


def cut(text: str, sizes: Iterable[int]) -> Iterator[str]:
    """Cut ``text`` into pieces of these sizes; the rest is one piece."""
    for size in sizes:
        yield text[:size]
        text = text[size:]
    yield text


sizes = st.lists(st.integers(0, 9), max_size=40)

WRITTEN = [
    '{"a": {"b": 1, "c": [true, null, "x\\ny"]}, "": [], "d": {}}',
    "[[], [[0]], {}, -0, -1.50e+07, 1E400, 12345678901234567890, 0.1e-2]",
    '"\\ud83d\\ude00 \\u00E9\\\\ud83d\\ude00 \\uD83D\\uDE00"',
    '["\\ud83d", "\\ude00", "\\ud83d\\ud83d\\ude00", "\\ud83dx", "\\ud83d\\n", "\\ud83d\\u0041"]',
    '{"\\ud83d\\ude00": "\\ud83d\\ude00", "\\ud83d": 0}',
    " -12.5e3 ",
    "0",
    '""',
    "false",
]


# -- what was read


class Reading(NamedTuple):
    """The leaves of a text, their pieces joined, and what went wrong."""

    leaves: list[Leaf]
    error: str


def read(pieces: Iterable[str], **options: Any) -> Reading:
    fields, leaves = Fields(**options), list[Leaf]()
    try:
        for piece in pieces:
            leaves += fields.feed(piece)
        leaves += fields.close()
    except InvalidJson as exc:
        return Reading(merged(leaves), exc.message)
    assert fields.complete
    return Reading(merged(leaves), "")


def merged(leaves: Iterable[Leaf]) -> list[Leaf]:
    """Join the pieces of each string."""
    whole: list[Leaf] = []
    for leaf in leaves:
        before = whole[-1] if whole else None
        if before is not None and before.path == leaf.path and not before.last:
            assert before.kind == leaf.kind == "string"
            whole[-1] = leaf._replace(piece=f"{before.piece}{leaf.piece}")
        else:
            whole.append(leaf)
    return whole


def leaves_of(text: str, **options: Any) -> list[Leaf]:
    leaves, error = read([text], **options)
    assert not error
    return leaves


def built(leaves: Iterable[Leaf]) -> Any:
    tree = Tree()
    for leaf in leaves:
        tree.apply(leaf)
    return tree.value


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def judged(text: str) -> Any:
    """What the standard library reads. Raises: ValueError."""
    return json.loads(text, parse_constant=refuse)


# -- reading


def test_leaves() -> None:
    fields = Fields()
    assert fields.feed('{"a": {"b": "x') == [Leaf(("a", "b"), "string", "x", False)]
    assert fields.feed("y") == [Leaf(("a", "b"), "string", "y", False)]
    assert fields.feed('", "c') == [Leaf(("a", "b"), "string", "", True)]
    assert fields.feed('": 1') == []
    assert fields.feed("0}, ") == [Leaf(("a", "c"), "number", "10", True)]
    assert fields.feed('"d": [true, nul') == [Leaf(("d", 0), "boolean", True, True)]
    assert fields.feed("l, {") == [Leaf(("d", 1), "null", None, True)]
    assert fields.feed("}, [], false]") == [
        Leaf(("d", 2), "object", None, True),
        Leaf(("d", 3), "array", None, True),
        Leaf(("d", 4), "boolean", False, True),
    ]
    assert not fields.complete
    assert fields.feed("}\n") == fields.close() == fields.close() == []
    assert fields.complete


def test_a_number_ends_with_what_follows() -> None:
    fields = Fields()
    assert (fields.feed("12"), fields.complete) == ([], False)
    assert fields.close() == [Leaf((), "number", "12", True)]
    assert fields.complete
    fields = Fields()
    fields.feed("12")
    assert fields.feed("\n") == [Leaf((), "number", "12", True)]
    assert fields.complete


@given(texts())
def test_what_is_read_is_what_the_standard_library_reads(text: str) -> None:
    assert repr(built(leaves_of(text, ends=True))) == repr(judged(text))  # 1, 1.0 and True are apart
    if not has_duplicates(text):
        assert repr(built(leaves_of(text))) == repr(judged(text))


@given(doubtful(), sizes)
@example('{"a":1', [])
@example("\ufeff1", [])
@example("[NaN]", [])
@example("-Infinity", [])
@example('"\ud83d\ude00"', [])
def test_what_is_accepted_is_what_the_standard_library_accepts(text: str, sizes: list[int]) -> None:
    leaves, error = read(cut(text, sizes), ends=True)
    try:
        expected = judged(text)
    except ValueError:
        assert error
    else:
        assert not error
        assert repr(built(leaves)) == repr(expected)


@given(
    st.from_regex(
        r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", fullmatch=True, alphabet="+-.0123456789eE"
    )
)
@example("-1.5E-3")
def test_a_number_comes_as_it_is_written(text: str) -> None:
    assert read([text]).leaves == read(text).leaves == [Leaf((), "number", text, True)]
    assert read(f"[{text}]").leaves == [Leaf((0,), "number", text, True)]


def test_only_control_characters_cannot_stand_in_a_string() -> None:
    for character in map(chr, [*range(0x300), 0x2028, 0xD800, 0xDFFF, 0xFEFF, 0xFFFF, 0x10FFFF]):
        for text in (f'"a{character}b"', f'{{"{character}":1}}'):
            if character not in '"\\':
                assert bool(read([text]).error) == bool(read(text).error) == (character < " ")


@given(doubtful(), sizes)
def test_cuts_make_no_difference(text: str, sizes: list[int]) -> None:
    whole = read([text], ends=True)
    assert read(text, ends=True) == whole
    assert read(cut(text, sizes), ends=True) == whole


@pytest.mark.parametrize("text", WRITTEN)
def test_no_cut_makes_a_difference(text: str) -> None:
    whole = read([text])
    assert not whole.error
    assert all(read([text[:k], "", text[k:]]) == whole for k in range(len(text) + 1))
    assert all(read(cut(text, [size] * len(text))) == whole for size in range(1, 9))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_the_corpus_is_judged_as_it_says_at_every_cut(case: dict[str, Any]) -> None:
    body = (FOLDER / case["file"]).read_bytes()
    assert len(body) == case["bytes"]
    if not case["utf8"]:
        assert case["must"] != "accept"
        with pytest.raises(UnicodeDecodeError):
            body.decode()
        return
    text = body.decode()
    whole = read([text])
    assert bool(whole.error) == (case["must"] == "reject"), "the grammar has what a reader may refuse"
    shown = range(len(text) + 1) if len(text) < 2000 else range(0, 1200, 7)  # the mistake is at the 512th
    assert all(read([text[:k], text[k:]]) == whole for k in shown)
    assert read(text[:2000]).leaves == read([text[:2000]]).leaves


def test_the_corpus_is_there() -> None:
    assert len(CASES) == len(list(FOLDER.glob("*.json"))) - 1 == 165


@pytest.mark.parametrize("high", ["\\ud83d", "\\uD83D"])
@pytest.mark.parametrize("low", ["\\ude00", "\\uDE00"])
def test_a_pair_of_surrogates_is_one_character_at_every_cut(high: str, low: str) -> None:
    text = f'{{"k{high}{low}": "a{high}{low}{high}{low}b"}}'
    for k in range(len(text) + 1):
        fields = Fields()
        leaves = fields.feed(text[:k]) + fields.feed(text[k:])
        assert {leaf.path for leaf in leaves} == {("k😀",)}
        assert "".join(str(leaf.piece) for leaf in leaves) == "a😀😀b"
        assert all(str(leaf.piece).encode() for leaf in leaves if leaf.piece), "no piece has half of one"


def test_an_end_follows_what_is_in_a_container() -> None:
    text = '[{"a": [], "b": {"c": 1}}, [[2]], {}]'
    leaves = leaves_of(text, ends=True)
    assert [leaf for leaf in leaves if leaf.kind != "end"] == leaves_of(text)
    assert [leaf.path for leaf in leaves if leaf.kind == "end"] == [(0, "b"), (0,), (1, 0), (1,), ()]
    assert all(leaf.last and leaf.piece is None for leaf in leaves if leaf.kind == "end")


def test_it_is_said_when_a_path_becomes_complete() -> None:
    text = '{"a":{"b":1,"c":"x"},"d":[],"e":[true]}'
    fields, at = Fields(ends=True), dict[str, str]()
    for n, character in enumerate(text):
        for leaf in fields.feed(character):
            if leaf.last:
                at[spelled(leaf.path)] = text[: n + 1]
    assert at == {
        "a.b": '{"a":{"b":1,',
        "a.c": '{"a":{"b":1,"c":"x"',
        "a": '{"a":{"b":1,"c":"x"}',
        "d": '{"a":{"b":1,"c":"x"},"d":[]',
        "e[0]": '{"a":{"b":1,"c":"x"},"d":[],"e":[true',
        "e": '{"a":{"b":1,"c":"x"},"d":[],"e":[true]',
        "": text,
    }


# -- mistakes


WRONG = {
    "": "expected a value, but the text ends at character 0",
    " ": "expected a value, but the text ends at character 1",
    "\ufeff1": "expected a value, found '\\ufeff' at character 0",
    "NaN": "expected a value, found 'N' at character 0",
    "nil": "expected null, found 'i' at character 1",
    "tru": "expected a value, but the text ends at character 3",
    "true1": "expected nothing more, found '1' at character 4",
    "1 2": "expected nothing more, found '2' at character 2",
    "01": "expected nothing more, found '1' at character 1",
    "[01]": "expected ',' or ']', found '1' at character 2",
    "[12": "expected ',' or ']', but the text ends at character 3",
    "-": "expected a digit, but the text ends at character 1",
    "-x": "expected a digit, found 'x' at character 1",
    "[1.]": "expected a digit, found ']' at character 3",
    "1e+": "expected a digit, but the text ends at character 3",
    "[]]": "expected nothing more, found ']' at character 2",
    "[1,]": "expected a value, found ']' at character 3",
    "[,": "expected a value or ']', found ',' at character 1",
    "[1}": "expected ',' or ']', found '}' at character 2",
    "{,": "expected a key or '}', found ',' at character 1",
    '{"a" 1': "expected ':', found '1' at character 5",
    '{"a":1]': "expected ',' or '}', found ']' at character 6",
    '{"a":1,}': "expected a key, found '}' at character 7",
    '{"a': "expected more of a key, but the text ends at character 3",
    '{"\\x': "expected more of a key, found 'x' at character 3",
    '"a': "expected more of a string, but the text ends at character 2",
    '"a\nb"': "expected more of a string, found '\\n' at character 2",
    '"a\\x"': "expected more of a string, found 'x' at character 3",
    '"a\\ud83d\\u12g4"': "expected more of a string, found 'g' at character 12",
    '"a\\ud83d': "expected more of a string, but the text ends at character 8",
}


@pytest.mark.parametrize(("text", "error"), WRONG.items(), ids=map(repr, WRONG))
def test_a_mistake_is_named_with_its_place(text: str, error: str) -> None:
    assert read([text]).error == read(text).error == error


def test_leaves_before_a_mistake_are_not_lost() -> None:
    fields = Fields()
    assert fields.feed('["a", "b\0c", 1]') == [
        Leaf((0,), "string", "a", True),
        Leaf((1,), "string", "b", False),
    ]
    assert not fields.complete
    for again in (partial(fields.feed, "x"), partial(fields.feed, ""), fields.close):
        with pytest.raises(InvalidJson, match=r"^expected more of a string, found '\\x00' at character 8$"):
            again()


@pytest.mark.parametrize("text", ["01", "-01", "1x", "1.5.", "1-", "0e0e", "1\v"])
def test_a_number_that_goes_on_wrongly_is_none(text: str) -> None:
    for reading in (read([text]), read(text)):
        assert reading.error and not reading.leaves


def test_a_mistake_after_no_leaf_is_raised_at_once() -> None:
    fields = Fields()
    fields.feed("[")
    with pytest.raises(InvalidJson, match="found ':' at character 1") as first:
        fields.feed(":")
    with pytest.raises(InvalidJson) as second:
        fields.close()
    assert first.value.message == second.value.message
    assert first.value.code == "invalid_json" and isinstance(first.value, RemoteProtocolError)


def test_a_text_that_ended_too_early_has_ended() -> None:
    fields = Fields()
    fields.feed('["a')
    for again in (fields.close, partial(fields.feed, '"]'), fields.close):
        with pytest.raises(InvalidJson, match="but the text ends at character 3"):
            again()
    assert not fields.complete


def test_depth_is_bounded() -> None:
    assert read(['[{"a":[]},[[]]]'], depth=3).error == ""
    assert read(['[{"a":[{}]}]'], depth=3).error == "nested deeper than 3 at character 7"
    assert read("[[[[", depth=3).error == "nested deeper than 3 at character 3"
    assert read(["1"], depth=0).error == ""
    assert read(["[" * 512 + "]" * 512]).error == ""
    assert read(["[" * 513]).error == "nested deeper than 512 at character 512"


# -- long texts


def kept(fields: Fields) -> int:
    """How many characters and steps are kept for later, without a key or number that is not whole."""
    state = [getattr(fields, name) for name in Fields.__slots__ if name != "_whole"]
    return sum(len(each) for each in state if isinstance(each, str | list | tuple))


LONG = {
    "a string": '{"a": "' + "ab\\n\\ud83d\\ude00" * 5000 + '"}',
    "a key": '{"' + "ab\\n\\ud83d\\ude00" * 5000 + '": 1}',
    "a whole number": "[" + "1234567890" * 5000 + "]",
    "a number": "[-1" + "0123456789" * 2000 + "." + "0123456789" * 2000 + "e+" + "7" * 20000 + "]",
    "a list": json.dumps([[n, str(n), {"a": None}] for n in range(5000)], indent=2),
}


@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_a_long_text_leaves_nothing_behind_in_tiny_pieces(text: str) -> None:
    fields, leaves, most = Fields(), list[Leaf](), 0
    for piece in cut(text, [4] * (len(text) // 4)):
        leaves += fields.feed(piece)
        most = max(most, kept(fields))
    assert merged([*leaves, *fields.close()]) == leaves_of(text)
    assert most < 100, "a piece is read together with what is kept: its cost has a bound"


def test_a_piece_may_be_one_long_run_of_escapes() -> None:
    assert leaves_of('"' + "\\n\\ud83d\\ude00" * 10_000 + '"') == [Leaf((), "string", "\n😀" * 10_000, True)]


@given(st.integers().map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr))
@example("-0")
@example("-0.0")
@example("1E400")
@example("-1e400")
@example("1e-400")
@example("9" * 4300)
def test_a_number_is_what_the_standard_library_makes_of_it(text: str) -> None:
    assert repr(number(text)) == repr(judged(text))


def test_a_number_longer_than_python_reads_is_a_float() -> None:
    digits = "9" * 5000
    with pytest.raises(ValueError, match="Exceeds the limit"):
        judged(digits)
    assert (number(digits), number(f"-{digits}")) == (inf, -inf)
    assert number("0." + digits) == 1.0
    assert built(leaves_of(f"[{digits}]")) == [inf]


# -- copies


@given(doubtful(), st.integers(0, 60))
def test_a_copy_goes_on_where_the_original_was(text: str, k: int) -> None:
    fields = Fields()
    try:
        fields.feed(text[:k])
    except InvalidJson:
        pass
    copies = [deepcopy(fields), deepcopy(fields)]
    assert len({repr(rest(each, text[k:])) for each in [*copies, fields]}) == 1, "and does not know of it"


def rest(fields: Fields, text: str) -> tuple[list[Leaf], str]:
    leaves: list[Leaf] = []
    try:
        for character in text:
            leaves += fields.feed(character)
        leaves += fields.close()
    except InvalidJson as exc:
        return leaves, exc.message
    return leaves, ""


def test_trees_and_texts_can_be_copied_too() -> None:
    leaves = Fields(ends=True).feed(WRITTEN[0])
    for k in range(len(leaves)):
        tree, text = Tree(), JsonText()
        said = "".join(text.feed(leaf) for leaf in leaves[:k])
        for leaf in leaves[:k]:
            tree.apply(leaf)
        for copied in (deepcopy(text), text):
            whole = said + "".join(copied.feed(leaf) for leaf in leaves[k:]) + copied.close()
            assert json.loads(whole) == json.loads(WRITTEN[0])
        for grown in (deepcopy(tree), tree):
            for leaf in leaves[k:]:
                grown.apply(leaf)
            assert grown.value == json.loads(WRITTEN[0])


# -- paths


SPELLED: dict[Path, str] = {
    (): "",
    ("a",): "a",
    ("a", "b", 0, "c"): "a.b[0].c",
    (0,): "[0]",
    (1, 2, "a"): "[1][2].a",
    ("a b", "c.d"): "a b.c.d",
    (".a",): ".a",
}


@pytest.mark.parametrize(("path", "text"), SPELLED.items())
def test_spelled(path: Path, text: str) -> None:
    assert spelled(path) == text


# -- the value so far


SO_FAR: dict[str, Any] = {
    "": UNSET,
    '{"a": {': UNSET,
    "[1": UNSET,
    "[1,": [1],
    '"': UNSET,
    '"ab': "ab",
    '{"a": {"b": "x': {"a": {"b": "x"}},
    '{"a": {"b": "xy", "c": [': {"a": {"b": "xy"}},
    '{"a": {"b": "xy", "c": [[1]': {"a": {"b": "xy", "c": [[1]]}},
    '{"a": {}, "b": [], "c': {"a": {}, "b": []},
}


@pytest.mark.parametrize(("text", "value"), SO_FAR.items())
def test_the_value_so_far(text: str, value: Any) -> None:
    tree, fields = Tree(), Fields(ends=True)
    for character in text:
        for leaf in fields.feed(character):
            tree.apply(leaf)
            repr(tree.value)  # looking changes nothing
    assert tree.value == value


DUPLICATES = [
    '{"a": 1, "b": 2, "a": 3}',
    '{"a": {"b": 1}, "a": {"c": 2}}',
    '{"a": {"b": {"c": 1, "d": 2}, "b": {"c": 3}}, "a": {"b": {"e": 4}}}',
    '{"a": {"b": 1}, "a": {}}',
    '{"a": {"b": 1}, "a": "x"}',
    '{"a": "x", "a": {"b": 1}, "c": 0}',
    '{"a": [1, 2], "a": [3]}',
    '[{"a": [[1]]}, {"a": [[2, 3], 4], "a": [[5]]}]',
    '{"a": "xy", "a": "z"}',
    '{"a": {"b": "xy"}, "a": {"b": "z"}}',
    '{"": {"": {"": 1}, "": 2}}',
]


@pytest.mark.parametrize("text", DUPLICATES)
def test_the_last_of_a_key_counts(text: str) -> None:
    for k in range(len(text) + 1):
        assert repr(built(read([text[:k], text[k:]], ends=True).leaves)) == repr(json.loads(text))


def test_without_ends_only_a_repeated_container_is_not_seen() -> None:
    assert built(leaves_of('{"a": {"b": 1}, "a": "x", "c": 2}')) == {"a": "x", "c": 2}
    assert built(leaves_of('{"a": {"b": 1}, "a": {"c": 2}}')) == {"a": {"b": 1, "c": 2}}


# -- leaves to text


def written(leaves: Iterable[Leaf]) -> str:
    text = JsonText()
    return "".join([*map(text.feed, leaves), text.close()])


def has_duplicates(text: str) -> bool:
    found: list[bool] = []
    json.loads(text, object_pairs_hook=lambda pairs: found.append(len(dict(pairs)) < len(pairs)))
    return any(found)


@given(texts(), sizes, st.booleans(), st.booleans())
def test_text_of_the_leaves_of_a_text_says_the_same(
    text: str, sizes: list[int], ends: bool, knows_last: bool
) -> None:
    assume(is_utf8(text) and not has_duplicates(text))
    fields, leaves = Fields(ends=ends), list[Leaf]()
    for piece in cut(text, sizes):
        leaves += fields.feed(piece)
    leaves += fields.close()
    if not knows_last:
        leaves = [leaf._replace(last=False) for leaf in leaves]
    said = written(leaves)
    assert repr(judged(said)) == repr(judged(text))
    assert is_utf8(said), "halves of pairs are escaped"


def is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def test_text_comes_with_its_leaves() -> None:
    text = JsonText()
    said = [
        text.feed(leaf) for leaf in Fields(ends=True).feed('{"a": {"é\\n": "x\\ty", "c": [1, [2]]}, "d": ""}')
    ]
    assert said == ['{"a":{"é\\n":"x\\ty"', ',"c":[1', ",[2", "]", "]", "}", ',"d":""', "}"]
    assert text.close() == text.close() == ""


def test_text_is_closed_wherever_it_is() -> None:
    text = JsonText()
    assert text.feed(Leaf(("a", 0, "b"), "string", "x", False)) == '{"a":[{"b":"x'
    assert text.feed(Leaf(("a", 0, "b"), "string", "y", False)) == "y"
    assert text.close() == '"}]}'
    assert text.close() == ""
    with pytest.raises(InvalidJson):
        text.feed(Leaf(("b",), "null", None, True))
    assert JsonText().close() == ""


MISPLACED: dict[str, tuple[list[Path], str]] = {
    "twice": ([("a",), ("a",)], "'a' cannot follow 'a'"),
    "the root twice": ([(), ()], "'' cannot follow ''"),
    "a key that was": ([("a",), ("b",), ("a",)], "'a' cannot follow 'b'"),
    "an object that was": ([("a", "b"), ("c",), ("a", "d")], "'a.d' cannot follow 'c'"),
    "in a leaf": ([("a",), ("a", "b")], "'a.b' cannot follow 'a'"),
    "instead of a container": ([("a", "b"), ("a",)], "'a' cannot follow 'a.b'"),
    "after the root": ([(), ("a",)], "'a' cannot follow ''"),
    "a gap": ([(0,), (2,)], "'[2]' cannot follow '[0]'"),
    "backwards": ([(0,), (1,), (0,)], "'[0]' cannot follow '[1]'"),
    "not from the beginning": ([("a", 1)], "'a[1]' cannot follow the beginning"),
    "deeper not from the beginning": ([(0,), (1, 1)], "'[1][1]' cannot follow '[0]'"),
    "a key in an array": ([(0,), ("a",)], "'a' cannot follow '[0]'"),
    "a position in an object": ([("a",), (1,)], "'[1]' cannot follow 'a'"),
}


@pytest.mark.parametrize(("paths", "error"), MISPLACED.values(), ids=list(MISPLACED))
def test_a_leaf_out_of_order_is_refused(paths: list[Path], error: str) -> None:
    text = JsonText()
    *fine, wrong = [Leaf(path, "number", "1", True) for path in paths]
    for leaf in fine:
        text.feed(leaf)
    with pytest.raises(InvalidJson) as caught:
        text.feed(wrong)
    assert caught.value.message == error
    for path in [*paths, ("new",), (3,)]:
        with pytest.raises(InvalidJson):
            text.feed(Leaf(path, "number", "1", True))


def test_an_end_is_that_of_an_open_container() -> None:
    for path in [(), ("a",), ("a", "b"), ("a", "c"), ("x",)]:
        text = JsonText()
        text.feed(Leaf(("a", "b"), "number", "1", True))
        end = Leaf(path, "end", None, True)
        if path in [(), ("a",)]:
            assert text.feed(end) == "}" * (2 - len(path))
        else:
            with pytest.raises(InvalidJson):
                text.feed(end)
    with pytest.raises(InvalidJson, match="'' cannot follow the beginning"):
        JsonText().feed(Leaf((), "end", None, True))


def test_each_kind_of_leaf_has_its_text() -> None:
    assert written([]) == ""
    for text in ("1", '""', "null", "[]", "{}", '[true,false,null,{"a":{},"b":[]}]'):
        assert written(leaves_of(text)) == text


steps = st.sampled_from(["a", "b", 0, 1])
kinds: st.SearchStrategy[tuple[Kind, str | bool | None]] = st.sampled_from(
    [("string", "x"), ("string", ""), ("number", "7"), ("boolean", False), ("null", None), ("array", None)]
)
any_leaves = st.builds(
    lambda path, kind, last: Leaf(path, kind[0], kind[1], last or kind[0] != "string"),
    st.lists(steps, max_size=3).map(tuple),
    kinds,
    st.booleans(),
)


@given(st.lists(any_leaves, min_size=1, max_size=4))
@example([Leaf(("a", 0), "string", "x", False), Leaf(("a", 0), "string", "x", True)])
def test_what_is_not_refused_can_be_read_again(leaves: list[Leaf]) -> None:
    try:
        text = written(leaves)
    except InvalidJson:
        return  # what must not be refused is in the tests above
    assert leaves_of(text) == [leaf._replace(last=True) for leaf in merged(leaves)]
