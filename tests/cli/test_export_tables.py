"""Tables, read again by pyarrow."""

import datetime as dt
import errno
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from harness import PAGE_EXAMPLE, ROOT

from thrive_learning._tables import arrow
from thrive_learning._tables.arrow import arrow_schema
from thrive_learning._tables.rows import COLUMNS, row_of
from thrive_learning.cli.export import tables
from thrive_learning.cli.export.tables import TableError, convert
from thrive_learning.errors import ConfigurationError
from thrive_learning.models import Activity

pa: Any = importlib.import_module("pyarrow")
csv: Any = importlib.import_module("pyarrow.csv")
parquet: Any = importlib.import_module("pyarrow.parquet")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records.ndjson"


def fill(path: Path, *documents: Any) -> None:
    lines = (json.dumps(document, separators=(",", ":")) + "\n" for document in documents)
    path.write_text("".join(lines))


def test_the_columns_are_the_fields_of_a_record_and_what_else_there_is() -> None:
    everything = Activity(
        id="a", type="b", user="c", date=dt.datetime.now(dt.UTC), context_id="d", context_type="e", name="f",
        data={"g": 1}, with_={"h": 1},
    )  # fmt: skip
    assert {*COLUMNS} == {*everything.to_dict(), "extra"}  # under their names in NDJSON
    assert arrow_schema(pa).names == list(COLUMNS)


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
    assert {name: str(table.schema.field(name).type) for name in table.schema.names} == {**COLUMNS}
    first, second = table.to_pylist()
    assert first == {
        "id": "60d5ec49b60b4b3a2c8f9a10",
        "type": "viewed",
        "user": "60d5ec49b60b4b3a2c8f9a11",
        "date": dt.datetime(2020, 2, 12, 14, 58, 23, 621_000, tzinfo=dt.UTC),
        "contextId": "64b6f4a8c2e4a1b9d3f2c4a0",
        "contextType": "content",
        "name": None,
        "data": '{"source":{"source":"feed"},"duration":"3600"}',
        "with": None,
        "extra": None,
    }
    assert second["name"] == "x\ufffdy"
    assert json.loads(second["data"]) == {"é": "\ud800"}
    assert second["with"] == '{"a":[1]}'
    assert second["extra"] == '{"new":"\\u00e9","newer":1}'
    assert second["date"] is None


def test_csv(records: Path, tmp_path: Path) -> None:
    fill(records, PAGE_EXAMPLE, {"id": "b", "name": 'a "b",\nc'})
    assert convert(records, tmp_path / "t.csv", "csv") == 2
    text = (tmp_path / "t.csv").read_text()
    assert text.startswith('"id","type","user","date","contextId",')
    assert ",2020-02-12 14:58:23.621000Z," in text
    options = csv.ParseOptions(newlines_in_values=True)
    assert csv.read_csv(tmp_path / "t.csv", parse_options=options).to_pylist()[1]["name"] == 'a "b",\nc'


def test_departures_from_the_contract_are_kept_as_received(records: Path, tmp_path: Path) -> None:
    odd = (
        '{"id":"a","type":5,"user":{"a":[1]},"date":"yesterday","contextId":["x"],"contextType":true,"name":{"en":1.50},'
        '"data":[1E2],"with":"x","extra":{"y":0.1234567890123456789012},"new":null,"n\\ud800":"\\ud800"}'
    )
    plain = json.dumps(dict.fromkeys(COLUMNS) | {"id": "b", "extra": 1})
    records.write_text(f"{odd}\n{plain}\n")
    assert convert(records, tmp_path / "t.parquet", "parquet") == 2
    first, second = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert {name for name, value in first.items() if value is not None} == {"id", "extra"}
    assert json.loads(first["extra"]) == {k: v for k, v in json.loads(odd).items() if k != "id"}
    for text in (
        '"name":{"en":1.50}',
        '"data":[1E2]',
        '"extra":{"y":0.1234567890123456789012}',
        '"new":null',
    ):
        assert text in first["extra"]
    assert second == dict.fromkeys(COLUMNS) | {"id": "b", "extra": '{"extra":1}'}
    convert(records, tmp_path / "t.csv", "csv")


@pytest.mark.parametrize(
    "date", ["2020-02-12", "2020-02-12T14:58:23", "soon", "", "2020-02-12T14:58:23+25:00", "12:00Z", "\ud800"]
)
def test_a_date_that_cannot_be_read_is_kept(date: str) -> None:
    row = row_of(json.dumps({"id": "a", "date": date}))
    assert row["date"] is None
    assert json.loads(str(row["extra"])) == {"date": date}


def test_numbers_are_not_changed(records: Path, tmp_path: Path) -> None:
    digits = "9" * 5000  # more digits than Python converts to a number
    data = f'{{"a":0.1234567890123456789012,"b":1e-400,"c":1E2,"d":-0.0,"e":{digits},"f":1.10}}'
    rest = f'{{"x":{data},"y":{digits}}}'
    records.write_text(f'{{ "id" : "a" , "data" :{data},"with":{data} , {rest[1:]}\n')
    for form, read in (("parquet", parquet.read_table), ("csv", csv.read_csv)):
        convert(records, tmp_path / "t", form)
        [row] = read(tmp_path / "t").to_pylist()
        assert [row[name] for name in ("data", "with", "extra")] == [data, data, rest], form


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_cells_are_safe_for_spreadsheets_if_asked(records: Path, tmp_path: Path, begin: str) -> None:
    hostile = f"{begin}cmd|'/c calc'!A1"
    fill(records, {"id": hostile, "name": hostile, "date": "2020-02-12T14:58:23.621Z", "data": {"=": "="}})
    options = csv.ParseOptions(newlines_in_values=True)
    convert(records, tmp_path / "t.csv", "csv")
    assert csv.read_csv(tmp_path / "t.csv", parse_options=options)["name"].to_pylist() == [hostile]
    convert(records, tmp_path / "t.csv", "csv", is_spreadsheet_safe=True)
    [row] = csv.read_csv(tmp_path / "t.csv", parse_options=options).to_pylist()
    assert (row["id"], row["name"], row["data"]) == (f"'{hostile}", f"'{hostile}", '{"=":"="}')
    assert str(row["date"]).startswith("2020-02-12 14:58:23.621")


def test_a_table_replaces_regular_files_only(records: Path, tmp_path: Path) -> None:
    fill(records, {"id": "a"})
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "t.csv").symlink_to(victim)
    with pytest.raises(ConfigurationError, match=r"t\.csv is a symbolic link, not a regular file"):
        convert(records, tmp_path / "t.csv", "csv")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError, match=r"fifo is a FIFO, not a regular file"):
        convert(tmp_path / "fifo", tmp_path / "u.csv", "csv")
    assert victim.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "records.ndjson", "t.csv", "victim"]


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
    assert row_of(json.dumps({"id": "a", "date": text}))["date"] == stored


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_many_records_are_written_in_batches(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(arrow, "_BATCH_ROWS", 10)
    fill(records, *({"id": str(number)} for number in range(25)))
    assert convert(records, tmp_path / "t", form) == 25
    if form == "parquet":
        assert parquet.ParquetFile(tmp_path / "t").num_row_groups == 1
    monkeypatch.setattr(tables, "_GROUP_ROWS", 20)
    assert convert(records, tmp_path / "t", form) == 25
    if form == "parquet":
        assert parquet.ParquetFile(tmp_path / "t").num_row_groups == 2
    monkeypatch.setattr(arrow, "_BATCH_SIZE", 40)
    monkeypatch.setattr(tables, "_GROUP_BYTES", 40)
    assert convert(records, tmp_path / "t", form) == 25
    read = parquet.read_table if form == "parquet" else csv.read_csv
    assert [int(one) for one in read(tmp_path / "t")["id"].to_pylist()] == list(range(25))
    if form == "parquet":
        assert parquet.ParquetFile(tmp_path / "t").num_row_groups >= 7


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_no_records_are_a_table_without_rows(records: Path, tmp_path: Path, form: str) -> None:
    fill(records)
    assert convert(records, tmp_path / "t", form) == 0
    assert (tmp_path / "t").stat().st_size


@pytest.mark.parametrize("line", ["[]", "{", "5", '{"id": 5}', '{"id": null}', "{}", "[" * 100_000, ""])
def test_a_line_that_is_not_a_record_is_named_and_the_old_table_stays(
    records: Path, tmp_path: Path, line: str
) -> None:
    fill(records, {"id": "a"})
    convert(records, tmp_path / "t", "parquet")
    before = (tmp_path / "t").read_bytes()
    records.write_text('{"id":"a"}\n' + line + "\n")
    with pytest.raises(TableError, match=r"records\.ndjson, line 2, is not a record"):
        convert(records, tmp_path / "t", "parquet")
    assert (tmp_path / "t").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.ndjson", "t"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), OSError("No space left on device")])
def test_a_full_disk_is_reported(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(_descriptor: int) -> None:
        raise error

    fill(records, {"id": "a"})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TableError, match=r"cannot write .*t: No space left on device"):
        convert(records, tmp_path / "t", "csv")
    assert not (tmp_path / "t").exists()


def test_the_columns_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    _, _, section = page.partition("### Columns of a table")
    table = section.partition("## Commands")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", table, re.MULTILINE)) == {**COLUMNS}
