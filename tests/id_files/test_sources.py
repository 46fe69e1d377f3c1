"""Reading IDs from files of all formats."""

import codecs
import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._id_files import lines as input_lines
from thrive_learning._id_files.lines import InputLines, UnreadableInputError
from thrive_learning._id_files.sources import IdSource, format_of, ids_in

ONE, TWO = "60d5ec49b60b4b3a2c8f9a10", "665d7d88b60b4b3a2c000002"


class Pipe(io.BytesIO):
    """Returns a few bytes at a time, like a pipe."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read1(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002 - io's signature
        return self.read(self._size)


def read(content: bytes, form: str = "text", label: str = "id", **options: Any) -> list[str]:
    skipped = options.pop("skipped", [])
    source = IdSource("ids.x", form, label, **options)
    found = list(ids_in(InputLines(io.BytesIO(content), "ids.x"), source, lambda: skipped.append(1)))
    for size in (1, 3):
        assert list(ids_in(InputLines(Pipe(content, size), "ids.x"), source)) == found
    return found


def complaint(content: bytes, form: str = "text", label: str = "id", **options: Any) -> tuple[list[str], str]:
    """The lines before the unreadable line, and the message about it."""
    ids = ids_in(InputLines(io.BytesIO(content), "ids.x"), IdSource("ids.x", form, label, **options))
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
        ("b.json", "json"),
        ("b.TSV", "csv"),
        ("b.csv.GZ", "csv"),
        ("b.gz", "text"),
    ],
)
def test_the_format_is_guessed_from_the_ending(name: str, form: str) -> None:
    assert format_of(name) == form


def test_text() -> None:
    content = b"\xef\xbb\xbfa1\r\n\n  # no\n#\n  b2 \nnot an id\nlast"
    assert read(content) == ["a1", "b2", "not an id", "last"]
    assert read(b"a1\rb2\r\rc3\r") == ["a1", "b2", "c3"]
    assert read(b'\xef\xbb\xbf# my ids\r\n"ID"\r\na1\r\nid') == ["a1", "id"]  # the first is a header


def test_csv() -> None:
    content = 'user,id\r\n"x\ny",a1\n\nü, b2 \nz,"c3"\nq,\n'.encode()
    skipped: list[int] = []
    assert read(content, "csv", skipped=skipped) == ["a1", "b2", "c3"]
    assert len(skipped) == 1
    assert read(b"\xef\xbb\xbf the one ,x\na1,2\n", "csv", "the one") == ["a1"]
    assert read(b"n,ID\n1,a1\n", "csv") == ["a1"]
    assert read(b"Id,id\n1,a1\n", "csv") == ["a1"]
    assert read(b"id\r1,\ra1", "csv", delimiter=";") == ["1,", "a1"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_of_csv_is_found(delimiter: str, end: str) -> None:
    others = "".join({*",;\t|"} - {delimiter})
    rows = [["n", "id", ""], ["1", ONE, others], ["2", f'"{TWO}"', f'"a{delimiter}b{end}c"'], ["", "a1", ""]]
    content = end.join(delimiter.join(row) for row in rows).encode()
    assert read(content, "csv") == [ONE, TWO, "a1"]
    assert read(content, "csv", delimiter=delimiter) == [ONE, TWO, "a1"]


def test_a_header_may_have_line_ends_and_name_the_delimiter() -> None:
    assert read(b'"a\nb;c";id\r\n1;a1\r\n', "csv") == ["a1"]
    assert read(b"\n\nsep=;\r\nid;x,y,z\r\na1;2\r\n", "csv") == ["a1"]
    assert read(b"sep=;\nid,x\na1,2\n", "csv", delimiter=",") == ["a1"]
    assert read(b"id\na1\n", "csv") == ["a1"]


def test_a_long_cell_is_read() -> None:
    long = "x" * (16 * 1024 * 1024)
    assert list(
        ids_in(InputLines(io.BytesIO(f'id,n\na1,"{long}"\nb2,\n'.encode()), "x"), IdSource("x", "csv"))
    ) == ["a1", "b2"]


def test_a_line_that_would_fill_the_memory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_lines, "LONGEST_LINE", 1024 * 1024)
    before, said = complaint(b"a1\n" + b"x" * 2_000_000)
    assert (before, said) == (["a1"], "cannot read ids.x: a line is longer than 1 MiB")


def test_ndjson() -> None:
    content = b'{"id": " a1 ", "x": 1}\r\n\n{"id": 7}\n{"id": ["b"]}\n{"id": "\\ud800"}\n"c3"'
    assert read(content, "ndjson") == ["a1", "7", '["b"]', "\ud800", "c3"]
    assert read(b'\xef\xbb\xbf{"other": "a1"}', "ndjson", "other") == ["a1"]
    skipped: list[int] = []
    assert read(b'{"id":null}\n""\n{"id":" "}\nnull\n"a1"', "ndjson", skipped=skipped) == ["a1"]
    assert len(skipped) == 4


def test_a_json_array() -> None:
    content = json.dumps([ONE, {"id": TWO}, None, {"id": ""}, {"id": 5}], indent=2).encode()
    skipped: list[int] = []
    assert read(content, "json", skipped=skipped) == [ONE, TWO, "5"]
    assert len(skipped) == 2
    assert read(codecs.BOM_UTF8 + b'[{"x":"a1"}]', "json", "x") == ["a1"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# none\n\n#", codecs.BOM_UTF8, b"\xff\xfe", b"id\n"])
def test_an_input_without_ids_is_an_error(content: bytes) -> None:
    with pytest.raises(UnreadableInputError, match=r"^ids\.x contains no IDs\. Check the file"):
        read(content)


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        (b"", "csv", "contains no IDs."),
        (b"n,id\n", "csv", "contains no IDs."),
        (b"n,id\n1,\n2, \n", "csv", "contains no IDs but 2 empty cells."),
        (b"[]", "json", "contains no IDs."),
        (b'[""]', "json", "contains no IDs but 1 empty cell."),
        (b"  ", "json", "contains no IDs."),
        (b"\n", "ndjson", "contains no IDs."),
        (gzip.compress(b"", mtime=0), "text", "contains no IDs."),
    ],
)
def test_no_format_hides_that_there_are_no_ids(content: bytes, form: str, said: str) -> None:
    with pytest.raises(UnreadableInputError) as caught:
        read(content, form)
    assert said in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
def test_a_byte_order_mark_says_the_encoding(encoding: str) -> None:
    content = f"\ufeffn\tid\r\nÄ漢👍\t{ONE}\r\nx\t{TWO}\r\n".encode(encoding)
    assert read(content, "csv") == [ONE, TWO]
    assert read(gzip.compress(content), "csv") == [ONE, TWO]
    before, said = complaint(content[:-1] + (b"" if encoding != "utf-8" else b"\xff"), "csv")
    assert before[0] == ONE
    assert "not valid UTF" in said


def test_gzip() -> None:
    parts = gzip.compress(f"{ONE}\n".encode()) + gzip.compress(b"a1\nb2\n")
    assert read(parts) == [ONE, "a1", "b2"]
    assert read(parts + bytes(512)) == [ONE, "a1", "b2"]
    many = "".join(f"{number:024x}\n" for number in range(200_000)).encode()
    assert len(list(InputLines(io.BytesIO(gzip.compress(many)), "x"))) == 200_000


def test_gzip_that_is_cut_off_gives_what_is_whole() -> None:
    ids = [f"{number * 7919:024x}" for number in range(30_000)]
    content = gzip.compress("\n".join(ids).encode())
    for end in (3, len(content) // 2, len(content) - 8, len(content) - 1):
        before, said = complaint(content[:end])
        assert before == ids[: len(before)]  # and no partial ID
        assert len(before) < len(ids)
        assert said == "cannot read ids.x: the gzip data is truncated"
    for broken in (content[:-8] + bytes(8), content[:5000] + b"no" + content[5002:], content + b"rest"):
        _, said = complaint(broken)
        assert said == "cannot read ids.x: the gzip data is damaged"


def test_an_input_that_the_system_cannot_read_is_named() -> None:
    class Broken(Pipe):
        def read1(self, size: int | None = -1, /) -> bytes:
            if data := super().read1(size):
                return data
            raise OSError(5, "Input/output error")

    lines = InputLines(Broken(b"a1\nb2", 3), "ids.txt")
    found: list[str] = []
    with pytest.raises(UnreadableInputError, match=r"^cannot read ids\.txt: Input/output error$"):
        found.extend(text for _, text in lines)
    assert found == ["a1\n"]


def test_an_input_that_is_not_open_for_reading_is_named() -> None:
    class Closed(Pipe):
        def read1(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002 - io's signature
            raise io.UnsupportedOperation("not readable")

    with pytest.raises(UnreadableInputError, match=r"cannot read stdin: it is not open for reading$"):
        list(InputLines(Closed(b"", 1), "stdin"))


def test_lines_are_counted_as_they_are_read() -> None:
    lines = InputLines(io.BytesIO(b"a1\nb2\n"), "x")
    assert [(number, text, lines.read_bytes) for number, text in lines] == [(1, "a1\n", 3), (2, "b2\n", 6)]


@pytest.mark.parametrize(
    ("content", "form", "before", "said"),
    [
        (b"a1\n\nb\xff2\nc3", "text", ["a1"], "cannot read ids.x, line 3: byte 2 is not valid UTF-8"),
        (b"a1\nb\x002\n", "text", ["a1"], "line 2: it contains a NUL byte"),
        ("id\na1\n".encode("utf-16-le"), "text", [], "or as UTF-16 with a byte-order mark"),
        (f"{ONE},x\n".encode(), "text", [], "line 1: it looks like CSV. Use --from csv"),
        (b"name;Id\n", "text", [], "line 1: it looks like CSV. Use --from csv"),
        (f'\n["{ONE}"]'.encode(), "text", [], "line 2: it looks like JSON. Use --from json"),
        (b'{"id":"a1"}\n{"id":\n', "ndjson", ["a1"], "line 2: it is not JSON"),
        (b"[" * 100_000, "ndjson", [], "line 1: it is not JSON"),
        (b'{"id":"a1"}\n["id"]\n', "ndjson", ["a1"], "line 2: it is neither an object nor"),
        (b"123456\n", "ndjson", [], "line 1: it is neither an object nor a string"),
        (b'{"id":"a1"}\n\n{"x":1}\n', "ndjson", ["a1"], "line 3: it has no field 'id'"),
        (b'["a1",\n5', "json", [], "line 2: it is not JSON"),
        (b'{"id":"a1"}\n{"id":"b2"}', "json", [], "For one JSON object per line, use --from ndjson"),
        (b'{"id":"a1"}', "json", [], "cannot read ids.x: it is not a JSON array"),
        (b"[" * 100_000, "json", [], "cannot read ids.x: it is not JSON"),
        (b'["a1", 5]', "json", ["a1"], "item 2: it is neither an object nor a string"),
        (b'[{"x": 5}]', "json", [], "item 1: it has no field 'id'. Set the field with --field"),
        (b"x,y\n", "csv", [], "line 1: the header must contain 'id' once, but has 'x', 'y'"),
        (b"x;y,z;v\n", "csv", [], "but has 'x', 'y,z', 'v'. Set the column with --column"),
        (b"id,id\n", "csv", [], "line 1: the header must contain 'id' once"),
        (
            b'x,id\n"\n",a1\nb2\n',
            "csv",
            ["a1"],
            "line 4: it ends before column 2 ('id')",
        ),
        (b'id\na1\n"b2\n', "csv", ["a1"], "line 3: it is not CSV: "),
        (b"id\na1\n\xff\n", "csv", ["a1"], "line 3: byte 1 is not valid UTF-8"),
        (b'"id' + b"\n" * 300, "csv", [], "cannot read"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(content: bytes, form: str, before: list[str], said: str) -> None:
    found, message = complaint(content, form)
    assert found == before
    assert said in message


@given(st.lists(st.from_regex(r"[0-9a-fA-F]{24}", fullmatch=True), min_size=1))
def test_every_format_gives_the_same_ids(ids: list[str]) -> None:
    assert read("\n".join(ids).encode(), "text") == ids
    assert read("\n".join(["id,n", *(f"{one},1" for one in ids)]).encode(), "csv") == ids
    assert read("\n".join(json.dumps({"id": one}) for one in ids).encode(), "ndjson") == ids
    assert read(json.dumps(ids).encode(), "json") == ids
