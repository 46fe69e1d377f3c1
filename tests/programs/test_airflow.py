"""The program for Airflow, in Airflow. `nox -s airflow` runs this in an environment of its own."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example_programs import EXAMPLES

from thrive_learning.testing import ServedSandbox

pytest.importorskip("airflow", reason="Airflow is not installed; `nox -s airflow` runs this")

# In a process of its own, because Airflow reads its settings when it is imported.
RUN = """
import datetime as dt
import sys
from airflow_dag import thrive_export

dag = thrive_export()
dag.get_task("export_activities").retry_delay = dt.timedelta(0)  # `test()` waits as long
at = dt.datetime.fromisoformat(sys.argv[1]) if sys.argv[1] else None
run = dag.test(logical_date=at)
[task] = run.get_task_instances()
print("state", task.state, task.try_number, run.data_interval_start and run.data_interval_start.isoformat())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Airflow that has a database and no DAG."""
    folder = tmp_path_factory.mktemp("airflow")
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=settings(folder), check=True, capture_output=True, timeout=300)
    return folder


def settings(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES / "pipelines"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(EXAMPLES / "pipelines"),
    }


def run_dag(
    home: Path, server: ServedSandbox, folder: Path, *, at: str = "2026-02-01T02:00+00:00"
) -> tuple[str, str]:
    """Run the DAG as Airflow would for January 31, 2026. Returns the last line of its output, and all of it.

    Args:
        home: The folder of an Airflow.
        server: The API.
        folder: The folder of the exports.
        at: The time of the run; empty for a run by hand without a logical date.
    """
    environ = {**settings(home), **server.environ, "EXPORT_FOLDER": str(folder)}
    command = [sys.executable, "-c", RUN, at]
    done = subprocess.run(command, env=environ, capture_output=True, check=False, text=True, timeout=300)
    output = done.stdout + done.stderr
    states = [line for line in done.stdout.splitlines() if line.startswith("state ")]
    assert states, output
    return states[-1], output


def test_airflow_exports_the_day_before(home: Path, thrive_server: ServedSandbox, tmp_path: Path) -> None:
    activity = thrive_server.sandbox.add(date=dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC))
    state, output = run_dag(home, thrive_server, tmp_path)
    assert state == "state success 1 2026-01-31T02:00:00+00:00", output
    exported: Any = json.loads((tmp_path / "day=2026-01-31.ndjson").read_text(encoding="utf-8"))
    assert exported == activity.to_dict()


@pytest.mark.parametrize(("fault", "state"), [("503:900s", "success 2"), ("403", "failed 1")])
def test_airflow_runs_a_transient_failure_again_and_no_other(
    home: Path, thrive_server: ServedSandbox, tmp_path: Path, fault: str, state: str
) -> None:
    thrive_server.sandbox.fail_next(fault)
    assert run_dag(home, thrive_server, tmp_path)[0].startswith(f"state {state} ")


def test_airflow_fails_a_run_without_a_day_at_once(
    home: Path, thrive_server: ServedSandbox, tmp_path: Path
) -> None:
    state, output = run_dag(home, thrive_server, tmp_path, at="")
    assert state == "state failed 1 None", output
    assert "Trigger it with one" in output
