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
    for text in (json.dumps(document), json.dumps(document, indent=1)):
        received = json.loads(text)
        members = members_of(f" {text}\n")
        assert {name: json.loads(member.text) for name, member in members.items()} == received
        assert list(members) == list(received)


@pytest.mark.parametrize("text", ["", "[]", "5", "{", '{"a":1', '{"a":1}}', '{"a":1,}', "{5:1}"])
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
