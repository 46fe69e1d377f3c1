import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning.cli.id_sources import IdSource, UnreadableInputError, format_of, ids_in


def read(content: bytes, form: str, label: str = "id") -> list[str]:
    return list(ids_in(content.splitlines(keepends=True), IdSource("ids.x", form, label)))


def complaint(content: bytes, form: str, label: str = "id") -> tuple[list[str], str]:
    """What came before the line that cannot be read, and what is said of that."""
    ids = ids_in(content.splitlines(keepends=True), IdSource("ids.x", form, label))
    before: list[str] = []
    with pytest.raises(UnreadableInputError) as caught:  # noqa: PT012 - what came before counts as well
        for one in ids:
            before.append(one)  # noqa: PERF402 - a list of all of them would be lost
    return before, str(caught.value)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("ids.txt", "text"),
        ("ids", "text"),
        ("-", "text"),
        ("a.CSV", "csv"),
        ("a/b.ndjson", "ndjson"),
        ("b.jsonl", "ndjson"),
    ],
)
def test_the_format_is_guessed_from_the_ending(name: str, form: str) -> None:
    assert format_of(name) == form


def test_text() -> None:
    content = b"\xef\xbb\xbfa1\r\n\n  # no\n#\n  b2 \nnot an id\nlast"
    assert read(content, "text") == ["a1", "b2", "not an id", "last"]
    assert read(b"", "text") == []


def test_csv() -> None:
    content = 'user,id\r\n"x\ny",a1\n\nü, b2 \nz,"c3"\nq,\n'.encode()
    assert read(content, "csv") == ["a1", "b2", "c3", ""]
    assert read(b"\xef\xbb\xbf the one ,x\na1,2\n", "csv", "the one") == ["a1"]
    assert read(b"", "csv") == []


def test_ndjson() -> None:
    content = b'{"id": " a1 ", "x": 1}\n\n{"id": 7}\n{"id": null}\n{"id": ["b"]}\n{"id": "\\ud800"}'
    assert read(content, "ndjson") == ["a1", "7", "null", '["b"]', "\ud800"]
    assert read(b'\xef\xbb\xbf{"other": "a1"}', "ndjson", "other") == ["a1"]


@pytest.mark.parametrize(
    ("content", "form", "before", "said"),
    [
        (b"a1\n\nb\xff2\nc3", "text", ["a1"], "ids.x, line 3, cannot be read: its byte 2 is no UTF-8"),
        (b'{"id":"a1"}\n{"id":\n', "ndjson", ["a1"], "line 2, cannot be read: it is no JSON"),
        (b"[" * 100_000, "ndjson", [], "line 1, cannot be read: it is no JSON"),
        (b'{"id":"a1"}\n["id"]\n', "ndjson", ["a1"], "line 2, cannot be read: it is no JSON object"),
        (b'{"id":"a1"}\n\n{"x":1}\n', "ndjson", ["a1"], "line 3, cannot be read: there is no field 'id'"),
        (b"x,y\n", "csv", [], "line 1, cannot be read: the header has to name 'id' once, and has 'x', 'y'"),
        (b"id,id\n", "csv", [], "line 1, cannot be read: the header has to name 'id' once"),
        (
            b'x,id\n"\n",a1\nb2\n',
            "csv",
            ["a1"],
            "line 4, cannot be read: it ends before column 2, which is 'id'",
        ),
        (b'id\na1\n"b2\n', "csv", ["a1"], "line 3, cannot be read: it is no CSV: "),
        (b"id\na1\n\xff\n", "csv", ["a1"], "line 3, cannot be read: its byte 1 is no UTF-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(content: bytes, form: str, before: list[str], said: str) -> None:
    found, message = complaint(content, form)
    assert found == before
    assert said in message


@given(st.lists(st.from_regex(r"[0-9a-fA-F]{24}", fullmatch=True)))
def test_every_format_gives_the_same_ids(ids: list[str]) -> None:
    assert read("\n".join(ids).encode(), "text") == ids
    assert read("\n".join(["id,n", *(f"{one},1" for one in ids)]).encode(), "csv") == ids
    assert read("\n".join(json.dumps({"id": one}) for one in ids).encode(), "ndjson") == ids
