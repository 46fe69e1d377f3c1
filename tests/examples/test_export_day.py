"""The function that the programs for Airflow and Dagster share. `tests/programs` runs both programs."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from example_programs import load

from thrive_learning import RateLimitedError, ThriveClient
from thrive_learning.testing import ThriveSandbox

DAY = dt.date(2026, 1, 31)
NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)

Export = Callable[[ThriveClient, dt.date, Path], Path]


@pytest.fixture
def export_day(monkeypatch: pytest.MonkeyPatch) -> Export:
    function: Export = load("pipelines/export_day.py", monkeypatch).export_day
    return function


def ids_in(path: Path) -> set[str]:
    return {json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()}


def test_a_day_has_its_records_and_no_others(
    export_day: Export, thrive_client: ThriveClient, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    half_a_second_before = -12 - 0.5 / 3600  # which the API returns, as it has whole seconds
    hours = {
        hour: thrive_sandbox.add(date=NOON + dt.timedelta(hours=hour)).id
        for hour in (half_a_second_before, -12, 0, 11.9, 12)
    }
    path = export_day(thrive_client, DAY, tmp_path / "new")
    assert path == tmp_path / "new" / "day=2026-01-31.ndjson"
    assert ids_in(path) == {hours[-12], hours[0], hours[11.9]}


def test_an_export_replaces_an_earlier_one(
    export_day: Export, thrive_client: ThriveClient, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    first = thrive_sandbox.add(date=NOON).id
    assert ids_in(export_day(thrive_client, DAY, tmp_path)) == {first}
    late = thrive_sandbox.add(date=NOON).id
    assert ids_in(export_day(thrive_client, DAY, tmp_path)) == {first, late}


def test_a_failure_leaves_the_earlier_file_and_nothing_else(
    export_day: Export, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    thrive_sandbox.add(date=NOON)
    with thrive_sandbox.client() as client:
        path = export_day(client, DAY, tmp_path)
        before = path.read_bytes()
        thrive_sandbox.fail_next("429:3600s")
        with pytest.raises(RateLimitedError):
            export_day(client, DAY, tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
