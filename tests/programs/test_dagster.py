"""The program for Dagster, in Dagster."""

import importlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from example_programs import load

from thrive_learning.testing import ServedSandbox

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def environ(thrive_server: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**thrive_server.environ, "EXPORT_FOLDER": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)


def run_dagster(monkeypatch: pytest.MonkeyPatch) -> Any:
    dg: Any = importlib.import_module("dagster")
    assets = load("pipelines/dagster_assets.py", monkeypatch)
    with dg.DagsterInstance.ephemeral() as instance:
        job = assets.defs.resolve_job_def("export_activities")
        return job.execute_in_process(partition_key="2026-01-31", instance=instance, raise_on_error=False)


def test_dagster_exports_a_day(
    thrive_server: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity = thrive_server.sandbox.add(date=NOON)
    assert run_dagster(monkeypatch).success
    assert json.loads((tmp_path / "day=2026-01-31.ndjson").read_text()) == activity.to_dict()


@pytest.mark.filterwarnings("ignore:.*run_request_for_partition` is deprecated")  # Dagster's own call
def test_dagster_exports_the_day_before_at_two(monkeypatch: pytest.MonkeyPatch) -> None:
    dg: Any = importlib.import_module("dagster")
    assets = load("pipelines/dagster_assets.py", monkeypatch)
    schedule = assets.defs.resolve_schedule_def("export_activities_schedule")
    at = datetime(2026, 2, 1, 2, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at,
            repository_def=assets.defs.get_repository_def(),
        )
        [request] = schedule.evaluate_tick(context).run_requests
    assert (schedule.cron_schedule, request.partition_key) == ("0 2 * * *", "2026-01-31")


@pytest.mark.parametrize(("fault", "retries"), [("503:900s", 1), ("403", 0)])
def test_dagster_runs_a_transient_failure_again_and_no_other(
    thrive_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch, fault: str, retries: int
) -> None:
    dg: Any = importlib.import_module("dagster")
    requests: list[dict[str, Any]] = []

    retry_requested = dg.RetryRequested

    def retry_at_once(**options: Any) -> Exception:
        requests.append(options)
        error: Exception = retry_requested(**{**options, "seconds_to_wait": 0})
        return error

    monkeypatch.setattr(dg, "RetryRequested", retry_at_once)
    thrive_server.sandbox.add(date=NOON)
    thrive_server.sandbox.fail_next(fault)
    assert run_dagster(monkeypatch).success is (retries == 1)
    assert requests == [{"max_retries": 3, "seconds_to_wait": 300}] * retries
