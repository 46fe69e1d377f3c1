"""The rows that the programs for dlt, pandas, and polars share."""

import datetime as dt
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from command import Call
from example_programs import load

from thrive_learning import Activity, ThriveClient
from thrive_learning.sandbox.records import seeded_records
from thrive_learning.testing import ServedSandbox, make_activity

# Records like those of a server that breaks the contract in many ways.
ODD: tuple[dict[str, Any], ...] = (
    {"date": "0001-01-01T00:00:00Z", "data": {"score": 1.0, "big": 12345678901234567890123456789}},
    {"date": "9999-12-31T23:59:59.999999Z", "type": "\ud800lone", "name": 4},
    {"date": "2026-01-31T23:30:00.1234567-05:30", "with": {"lone": ["\udfff"]}, 'é"': None},
    {"date": 20260131, "data": "text", "with": [], "user": True, "extra": {"of": "the API"}},
    {"type": None, "date": None, "data": None, "with": None, "unknown": [{"a": [1]}]},
    {"type": "", "data": {}, "with": {}, "date": "2026-01-31 12:00:00"},
    {},
)


def odd_records() -> list[Activity]:
    return [Activity.from_dict({"id": f"{number:024x}", **fields}) for number, fields in enumerate(ODD)]


def parsed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose `extra` is compared as JSON, because its names may be escaped or not."""
    return row | {"extra": row["extra"] and json.loads(row["extra"])}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("pipelines/activity_rows.py", monkeypatch)


def test_rows_are_those_of_an_exported_table(
    rows: ModuleType,
    thrive_client: ThriveClient,
    thrive_server: ServedSandbox,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    records = [*odd_records(), *map(Activity.from_dict, seeded_records().values())]
    for record in records:
        thrive_server.sandbox.add(record)
    for name, value in thrive_server.environ.items():
        monkeypatch.setenv(name, value)
    ids, table = tmp_path / "ids.txt", tmp_path / "table.parquet"
    ids.write_text("\n".join(record.id for record in records), encoding="utf-8")
    result = call("activity", "export", str(ids), "-o", str(table), "--quiet")
    assert result.code == 0, result
    exported = {row["id"]: parsed(row) for row in parquet.read_table(table).to_pylist()}
    assert list(rows.COLUMNS) == list(exported[records[0].id])
    received = [thrive_client.activities.get(record.id) for record in records]
    assert {record.id: parsed(rows.row_of(record)) for record in received} == exported


def test_a_date_that_utc_does_not_have_stays_in_extra(rows: ModuleType) -> None:
    record = Activity.from_dict({"id": "0" * 24, "date": "0001-01-01T00:00:00+05:00"})
    assert record.date is not None
    row = rows.row_of(record)
    assert row["date"] is None
    assert row["extra"] == '{"date":"0001-01-01T00:00:00+05:00"}'


def test_a_record_created_in_python_has_the_same_columns(rows: ModuleType) -> None:
    date = dt.datetime(2026, 1, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    row = rows.row_of(make_activity(date=date, data={"score": 1}, context_type="course"))
    assert row["date"] == date
    assert row["date"].tzinfo is dt.UTC
    assert (row["data"], row["contextType"], row["extra"]) == ('{"score":1}', "course", None)
