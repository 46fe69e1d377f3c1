"""The program for polars. `nox -s recipes` runs this."""

import contextlib
import datetime as dt
import importlib
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from example_programs import load

from thrive_learning import Activity, ThriveClient
from thrive_learning.testing import ThriveSandbox

pl: Any = importlib.import_module("polars")

SINCE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
ODD: tuple[dict[str, Any], ...] = (
    {"date": "0001-01-01T00:00:00Z", "data": {"big": 12345678901234567890123456789}},
    {"date": "9999-12-31T23:59:59.999999Z", "type": "new in 2030"},
    {"date": "2026-01-31 12:00:00", "type": 5, "name": ["x"], "with": []},
    {},
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("pipelines/polars_scan.py", monkeypatch)


def client_of(records: Any) -> Any:
    """A client whose `iterate` returns these records."""
    return SimpleNamespace(
        activities=SimpleNamespace(iterate=lambda **_filters: contextlib.nullcontext(iter(records)))
    )


def test_a_scan_has_every_record_with_the_right_types(
    program: ModuleType, thrive_client: ThriveClient, thrive_sandbox: ThriveSandbox
) -> None:
    thrive_sandbox.generate(2500)  # three pages
    scan = program.scan_activities(thrive_client, since=SINCE)
    assert not thrive_sandbox.requests  # nothing is requested before a query
    frame = scan.collect()
    assert frame.schema == program.SCHEMA == scan.collect_schema()
    with thrive_client.activities.iterate(since=SINCE) as records:
        expected = {record.id: (record.type, record.date) for record in records}
    found = {identifier: rest for identifier, *rest in frame.select("id", "type", "date").rows()}
    assert {identifier: tuple(rest) for identifier, rest in found.items()} == expected
    assert len(frame) == len(expected) == 2500


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_queries_have_the_results_of_a_whole_frame(
    program: ModuleType, thrive_client: ThriveClient, thrive_sandbox: ThriveSandbox, engine: str
) -> None:
    thrive_sandbox.generate(3000)
    scan = program.scan_activities(thrive_client, since=SINCE)
    whole = scan.collect()
    completed = pl.col("type") == "completed"
    queries: Any = (
        lambda frame: frame.filter(completed).select("user", "date"),
        lambda frame: frame.filter(completed).head(7),
        lambda frame: frame.head(1500).filter(completed),
        lambda frame: frame.filter(pl.col("data").str.json_path_match("$.duration") > "5").select("id"),
        lambda frame: frame.group_by("type").len().sort("len", "type"),
        lambda frame: frame.select(pl.len()),
        lambda frame: frame.tail(3),
    )
    for query in queries:
        assert query(scan).collect(engine=engine).equals(query(whole))


def test_a_scan_of_the_first_rows_ends_early(
    program: ModuleType, thrive_client: ThriveClient, thrive_sandbox: ThriveSandbox
) -> None:
    thrive_sandbox.generate(50_000)
    assert len(program.scan_activities(thrive_client, since=SINCE).head(5).collect()) == 5
    assert len(thrive_sandbox.activity_requests) <= 4  # of 50 pages, with those requested in advance


def test_wrong_values_are_missing_and_raise_nothing(program: ModuleType) -> None:
    odd = [Activity.from_dict({"id": f"{number:024x}", **fields}) for number, fields in enumerate(ODD)]
    frame = program.scan_activities(client_of(odd)).collect()
    assert [date and date.year for date in frame["date"]] == [1, 9999, None, None]
    assert list(frame["type"]) == [None, "new in 2030", None, None]
    assert frame["data"][0] == '{"big":12345678901234567890123456789}'
    assert frame["extra"][2] == '{"date":"2026-01-31 12:00:00","type":5,"name":["x"],"with":[]}'
    assert frame["name"].is_null().all()


def test_a_batch_holds_no_more_than_its_rows(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(program, "ROWS", 10)
    kept = pl.DataFrame

    def frame(columns: Any, schema: Any) -> Any:
        made.append(len(columns["id"]))
        return kept(columns, schema)

    monkeypatch.setattr(program.pl, "DataFrame", frame)
    records = (Activity.from_dict({"id": f"{number:024x}"}) for number in range(10_000))
    assert len(program.scan_activities(client_of(records)).head(25).collect()) == 25
    assert made == [10, 10, 5]


def test_no_records_are_an_empty_frame(program: ModuleType) -> None:
    frame = program.scan_activities(client_of([])).collect()
    assert (len(frame), frame.schema) == (0, program.SCHEMA)
