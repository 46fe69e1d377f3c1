"""Tables, read again by pyarrow."""

import datetime as dt
import errno
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from harness import PAGE_EXAMPLE, ROOT

from thrive_learning.cli import tabular
from thrive_learning.cli.tabular import COLUMNS, FORMATS, TableError, convert, row_of
from thrive_learning.models import Activity

pa: Any = importlib.import_module("pyarrow")
csv: Any = importlib.import_module("pyarrow.csv")
parquet: Any = importlib.import_module("pyarrow.parquet")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records.ndjson"


def fill(path: Path, *documents: Any) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))


def test_the_columns_are_the_fields_of_a_record_and_what_else_there_is() -> None:
    fields = [field.name for field in attrs.fields(Activity) if field.alias != "json"]
    assert list(COLUMNS) == [*fields, "extra"]
    assert tabular.arrow_schema(pa).names == list(COLUMNS)


def test_parquet(records: Path, tmp_path: Path) -> None:
    strange = {
        "id": "b",
        "name": "x\ud800y",
        "data": {"é": "\ud800"},
        "with": {"a": [1]},
        "new": "é",
        "newer": 1,
    }
    fill(records, PAGE_EXAMPLE, strange)
    assert convert(records, tmp_path / "t.parquet", "parquet") == 2
    table = parquet.read_table(tmp_path / "t.parquet")
    assert {name: str(table.schema.field(name).type) for name in table.schema.names} == {
        name: kind for name, (kind, _) in COLUMNS.items()
    }
    first, second = table.to_pylist()
    assert first == {
        "id": "60d5ec49b60b4b3a2c8f9a10",
        "type": "viewed",
        "user": "60d5ec49b60b4b3a2c8f9a11",
        "date": dt.datetime(2020, 2, 12, 14, 58, 23, 621_000, tzinfo=dt.UTC),
        "context_id": "64b6f4a8c2e4a1b9d3f2c4a0",
        "context_type": "content",
        "name": None,
        "data": '{"source":{"source":"feed"},"duration":"3600"}',
        "with_": None,
        "extra": None,
    }
    assert second["name"] == "x\ufffdy"
    assert json.loads(second["data"]) == {"é": "\ud800"}
    assert second["with_"] == '{"a":[1]}'
    assert second["extra"] == '{"new":"é","newer":1}'
    assert second["date"] is None


def test_csv(records: Path, tmp_path: Path) -> None:
    fill(records, PAGE_EXAMPLE, {"id": "b", "name": 'a "b",\nc'})
    assert convert(records, tmp_path / "t.csv", "csv") == 2
    text = (tmp_path / "t.csv").read_text()
    assert text.startswith('"id","type","user","date","context_id",')
    assert ",2020-02-12 14:58:23.621000Z," in text
    options = csv.ParseOptions(newlines_in_values=True)
    assert csv.read_csv(tmp_path / "t.csv", parse_options=options).to_pylist()[1]["name"] == 'a "b",\nc'


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.123456789-12:00"])
def test_the_first_and_the_last_days_of_the_calendar(records: Path, tmp_path: Path, text: str) -> None:
    fill(records, {"id": "a", "date": text})
    convert(records, tmp_path / "t.parquet", "parquet")
    [stored] = parquet.read_table(tmp_path / "t.parquet")["date"].cast("int64").to_pylist()
    date = dt.datetime.fromisoformat(text)
    epoch = dt.datetime(1970, 1, 1, tzinfo=date.tzinfo)  # in the date's own zone, where there is no overflow
    offset = date.utcoffset()
    assert offset is not None
    assert dt.timedelta(microseconds=stored) == date - epoch - offset
    assert row_of({"date": text})["date"] == stored


@pytest.mark.parametrize("form", FORMATS)
def test_many_records_are_written_in_batches(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(tabular, "_BATCH_ROWS", 10)
    fill(records, *({"id": str(number)} for number in range(25)))
    assert convert(records, tmp_path / "t", form) == 25
    monkeypatch.setattr(tabular, "_BATCH_BYTES", 40)
    assert convert(records, tmp_path / "t", form) == 25
    read = parquet.read_table if form == "parquet" else csv.read_csv
    assert [int(one) for one in read(tmp_path / "t")["id"].to_pylist()] == list(range(25))
    if form == "parquet":
        assert parquet.ParquetFile(tmp_path / "t").num_row_groups >= 7


@pytest.mark.parametrize("form", FORMATS)
def test_no_records_are_a_table_without_rows(records: Path, tmp_path: Path, form: str) -> None:
    fill(records)
    assert convert(records, tmp_path / "t", form) == 0
    assert (tmp_path / "t").stat().st_size


@pytest.mark.parametrize("line", ["[]", "{", '{"id": 5}', '{"id": "a", "date": "soon"}', "[" * 100_000])
def test_a_line_that_is_no_record_is_named_and_the_old_table_stays(
    records: Path, tmp_path: Path, line: str
) -> None:
    fill(records, {"id": "a"})
    convert(records, tmp_path / "t", "parquet")
    before = (tmp_path / "t").read_bytes()
    records.write_text('{"id":"a"}\n' + line)
    with pytest.raises(TableError, match=r"records\.ndjson, line 2, is no record"):
        convert(records, tmp_path / "t", "parquet")
    assert (tmp_path / "t").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.ndjson", "t"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), OSError("No space left on device")])
def test_a_disk_that_is_full_is_said(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(_descriptor: int) -> None:
        raise error

    fill(records, {"id": "a"})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TableError, match="t cannot be written: No space left on device"):
        convert(records, tmp_path / "t", "csv")
    assert not (tmp_path / "t").exists()


def test_the_columns_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    _, _, section = page.partition("### Columns of a table")
    table = section.partition("## Commands")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", table, re.MULTILINE)) == {
        name: kind for name, (kind, _) in COLUMNS.items()
    }
