import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._json_text import compact, dump, with_items

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["", " ", "\n", "\t\r\n "]), st.booleans())
def test_whitespace_between_tokens_alone_is_removed(value: object, space: str, ascii_only: bool) -> None:  # noqa: FBT001
    spaced = json.dumps(value, indent=space, separators=(f"{space},", f"{space}: "), ensure_ascii=ascii_only)
    assert compact(spaced) == json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)


@pytest.mark.parametrize("space", [" ", "\n", "\r\n", "\t  "])
@pytest.mark.parametrize(
    "parts",
    [["", "1", ""], ["", "null"], ["1", ""], ['"a b"', ""], ["[", "1", "]"], ["[1", ",2]"], ['{"a', '":1}']],
    ids=" ".join,
)
def test_whitespace_anywhere_is_found(parts: list[str], space: str) -> None:
    text = space.join(parts)
    is_within_a_string = parts[0] == '{"a'
    assert compact(text) == (text if is_within_a_string else "".join(parts))


@pytest.mark.parametrize(
    "text", ["1E2", "-0", "1.10", '"\\u00e9 \\/"', '" , "', '"\\\\"', '{"a":1,"a":2}', '"\u2028\u00a0\x7f"']
)
def test_tokens_are_kept_as_they_are(text: str) -> None:
    assert compact(f" [ {text} ,\n{text}\t] ") == f"[{text},{text}]"


@pytest.mark.parametrize(
    "text", ['"' + "\\n" * 400_000 + '"', '"\\' * 300_000, '" "' * 300_000, "1 " * 300_000, '"' + "a" * 10**6]
)
def test_no_text_takes_long(text: str) -> None:
    # The wrong expression needs minutes for some of them, and this one milliseconds.
    assert len(compact(text)) <= len(text)


def test_lone_surrogates_are_escaped() -> None:
    assert dump({"é": "é"}) == '{"é":"é"}'
    assert dump({"é": "\ud800"}) == r'{"\u00e9":"\ud800"}'


@pytest.mark.parametrize(("value", "error"), [(float("inf"), ValueError), ({1}, TypeError)])
def test_values_that_json_lacks_are_rejected(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        dump(value)


# The texts of items


class Item(NamedTuple):
    value: Any
    text: str


def with_item_texts(text: str, name: str | None, decoder: json.JSONDecoder) -> tuple[Any, list[str] | None]:
    """Return the value of a JSON text, and the texts of the items of an array; None if it is not there."""
    document = with_items(text, name, Item, decoder)
    items = document if name is None else document.get(name) if isinstance(document, dict) else None
    if not isinstance(items, list):
        return document, None
    values = [item.value for item in items]
    return values if name is None else document | {name: values}, [item.text for item in items]


SPACE = st.text(" \t\n\r", max_size=3)
NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?\Z")
STRINGS = st.builds(
    json.dumps, st.text(st.characters(codec=None, exclude_categories=())), ensure_ascii=st.booleans()
)
NAMES = STRINGS | st.sampled_from(['"results"', r'"result\u0073"', '"a"', '""'])


@st.composite
def spaced_arrays(draw: st.DrawFn, items: st.SearchStrategy[str]) -> str:
    texts = draw(st.lists(st.tuples(SPACE, items, SPACE), max_size=4))
    return "[" + (",".join(map("".join, texts)) or draw(SPACE)) + "]"


@st.composite
def spaced_objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(SPACE, NAMES, SPACE, st.just(":"), SPACE, values, SPACE), max_size=4))
    return "{" + (",".join(map("".join, members)) or draw(SPACE)) + "}"


VALUES: st.SearchStrategy[str] = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]),
    lambda inner: spaced_arrays(inner) | spaced_objects(inner),
    max_leaves=12,
)
DOCUMENTS = st.tuples(SPACE, VALUES | spaced_arrays(VALUES) | spaced_objects(VALUES), SPACE).map("".join)
#: Keeps each number as it is written, and both members of the same name.
EXACT: dict[str, Any] = {"parse_int": str, "parse_float": str, "object_pairs_hook": list}
DECODER = json.JSONDecoder()


@given(DOCUMENTS, st.sampled_from([None, "results", "a", ""]))
def test_the_texts_of_items_are_those_of_the_document(text: str, name: str | None) -> None:
    value, texts = with_item_texts(text, name, DECODER)
    expected = json.loads(text)
    assert value == expected
    if isinstance(value, dict):
        assert [*value] == [*expected]  # in the same order
    array = expected if name is None else expected.get(name) if isinstance(expected, dict) else None
    if not isinstance(array, list):
        assert texts is None
        return
    assert texts is not None
    assert [json.loads(item) for item in texts] == array
    assert texts == [item.strip(" \t\n\r") for item in texts]
    exact = json.loads(text, **EXACT)
    found = exact if name is None else [member for key, member in exact if key == name][-1]
    assert [json.loads(item, **EXACT) for item in texts] == found
    assert all(item in text for item in texts)


def outcome(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ValueError as error:
        return type(error)


CHARACTERS = st.text('[]{},:" \t\n\\u1e-.Etrufalsn\x00\u00a0\ufeffresults', max_size=12)


@given(CHARACTERS | DOCUMENTS, CHARACTERS, st.floats(0, 1), st.integers(0, 3), st.sampled_from([None, "a"]))
def test_invalid_json_is_rejected_as_by_the_json_module(
    text: str, inserted: str, position: float, deleted: int, name: str | None
) -> None:
    at = round(position * len(text))
    text = text[:at] + inserted + text[at + deleted :]
    assert outcome(lambda: with_item_texts(text, name, DECODER)[0]) == outcome(lambda: json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1]]",
            "[1] x",
            "[1}",
            "]",
            "nul",
            "[\u00a01]",
        ),
        *("{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{,}", "{1:2}", '{"a" 1}', '{"a":1 "b":2}'),
        *('{"a":1}}', '{"a":[1,]}', '{"a":[1', '{"a":[1]', '{"a":[1 2]}', "{a:1}", '{"a\n":1}', "{'a':1}"),
        *('{"a":[1]]', '{"a":[}', '{"a":[1],"a"}', '{"a":[\x0b1]}', '{"a",1}', '{"a":[1]:1}'),
    ],
)
@pytest.mark.parametrize("name", [None, "a"])
def test_broken_json_is_rejected(text: str, name: str | None) -> None:
    for read in (json.loads, lambda broken: with_item_texts(broken, name, DECODER)):
        with pytest.raises(json.JSONDecodeError):
            read(text)


def test_items_without_space_between_them() -> None:
    text = '{"a":[{"b":1.0},{}, {"c":[2]},3]}'
    assert with_item_texts(text, "a", DECODER) == (json.loads(text), ['{"b":1.0}', "{}", '{"c":[2]}', "3"])


def test_the_last_of_several_arrays_counts() -> None:
    assert with_item_texts('{"a":[1],"a":[ 2 , 3]}', "a", DECODER) == ({"a": [2, 3]}, ["2", "3"])
    assert with_item_texts('{"a":[1],"a":{}}', "a", DECODER) == ({"a": {}}, None)
    assert with_item_texts('{"a":{},"a":[]}', "a", DECODER) == ({"a": []}, [])
    assert with_item_texts('{"b":{"a":[1]},"a":[[2]]}', "a", DECODER) == (
        {"b": {"a": [1]}, "a": [[2]]},
        ["[2]"],
    )


def test_a_document_without_the_array() -> None:
    assert with_item_texts(" { } ", "a", DECODER) == ({}, None)
    assert with_item_texts('{"b": 1}', "a", DECODER) == ({"b": 1}, None)
    assert with_item_texts("[ 1 ]", "a", DECODER) == ([1], None)
    assert with_item_texts('{"a": [1]}', None, DECODER) == ({"a": [1]}, None)
    assert with_item_texts(" [ ] ", None, DECODER) == ([], [])


def test_the_texts_of_a_large_array_take_little_time() -> None:
    text = "[" + ",\n".join(['{"id": "1", "data": [1, 2, "]"]}'] * 100_000) + "]"
    value, texts = with_item_texts(text, None, DECODER)
    assert texts is not None
    assert (len(value), len(texts)) == (100_000, 100_000)
    assert {*texts} == {'{"id": "1", "data": [1, 2, "]"]}'}
