"""JSON text keeps its numbers and escapes when it is split and indented."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._tables.members import members_of
from thrive_learning.cli.json_text import indented
from thrive_learning.cli.rendering import as_json_text, as_table
from thrive_learning.models import Activity

NUMBERS = '{"id":"a","data":{"a":0.1234567890123456789012,"b":1e-400,"c":1E2,"d":-0.0,"e":1.10},"n":1E2}'

texts = st.text(st.characters(codec=None, exclude_categories=()))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@given(documents, st.integers(0, 4))
def test_the_layout_is_that_of_json_dumps(document: Any, indent: int) -> None:
    text = json.dumps(document, separators=(",", ":"))
    assert indented(text, indent) == json.dumps(document, indent=indent)


@given(st.dictionaries(texts, documents))
def test_members_are_those_of_the_object(document: dict[str, Any]) -> None:
    compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for text in (compact, json.dumps(document), json.dumps(document, indent=1)):
        received = json.loads(text)
        members = members_of(f" {text}\n")
        assert {name: json.loads(value) for name, value in members.items()} == received
        assert list(members) == list(received)


@given(st.text('{}":,[]a1\\u0 \n', max_size=20).map(lambda inner: f'{{"a":{inner}'))
def test_text_is_split_only_if_it_is_an_object(text: str) -> None:
    try:
        received = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            members_of(text)
    else:
        assert {name: json.loads(value) for name, value in members_of(text).items()} == received


BROKEN = {
    "empty": "",
    "array": "[]",
    "number": "5",
    "only a brace": "{",
    "no end": '{"a":1',
    "no end after a string": '{"a":"b"',
    "more after the end": '{"a":1}}',
    "more after the end and a string": '{"a":"b"}}',
    "comma at the end": '{"a":1,}',
    "comma at the end after a string": '{"a":"b",}',
    "no comma": '{"a":1"b":2}',
    "no comma after a string": '{"a":"b""c":"d"}',
    "no value": '{"a":}',
    "no colon": '{"a"}',
    "another name": "{5:1}",
    "control character in a name": '{"a\x01":1}',
    "control character in a string": '{"a":"\x01"}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_text_that_is_not_an_object_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        members_of(text)


def test_numbers_are_printed_as_received() -> None:
    for indent in (None, 2):
        shown = as_json_text(NUMBERS, "utf-8", indent)
        assert shown.replace("\n", "").replace(" ", "") == NUMBERS
    table = as_table(Activity.from_dict(json.loads(NUMBERS)), "utf-8")
    assert "id" in table


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    assert as_json_text('{"n":"Tr\u00e8s \\u00e9"}', "ascii", None) == '{"n":"Tr\\u00e8s \\u00e9"}'
    assert as_json_text('{"n":"\U0001f44d"}', "latin-1", None) == '{"n":"\\ud83d\\udc4d"}'
    assert as_json_text('{"n":"\u00e8\u200b"}', "latin-1", None) == '{"n":"\\u00e8\\u200b"}'
    assert as_json_text('{"n":"\u00e8\u200b"}', "utf-8", None) == '{"n":"\u00e8\\u200b"}'
