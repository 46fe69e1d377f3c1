"""The program for Spark, with folders that the command has exported."""

import datetime as dt
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from command import Call
from example_programs import EXAMPLES, load

pyspark: Any = importlib.import_module("pyspark")

NO_JAVA = (
    "!!! NOT TESTED: the program for Spark, as java is neither on PATH nor in JAVA_HOME "
    "(Debian: apt-get install default-jre-headless)"
)
JUNE_2, JUNE_3, JUNE_4 = (dt.date(2024, 6, day) for day in (2, 3, 4))


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip(NO_JAVA)
    from pyspark.sql import SparkSession  # noqa: PLC0415 - after the check

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    options = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(tmp_path_factory.mktemp("spark")),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
    }
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("spark/activity_counts.py", monkeypatch)


@pytest.fixture
def folder(call: Call, tmp_path: Path) -> Path:
    """An export of the sandbox's records: four of June 2, 27 of June 3, and two without a date."""
    path = tmp_path / "activities"
    period = ["--since", "2024-06-01", "--partition-by", "day"]
    done = call("activity", "export", *period, "-o", str(path), "--sandbox")
    assert done.code == 0, done.err
    return path


def test_a_period_has_its_records(spark: Any, program: ModuleType, folder: Path) -> None:
    counts = {
        day: program.read_records(spark, str(folder), day, day + dt.timedelta(1)).count()
        for day in (JUNE_2, JUNE_3, JUNE_4)
    }
    assert counts == {JUNE_2: 4, JUNE_3: 27, JUNE_4: 0}
    assert program.read_records(spark, str(folder), JUNE_2, JUNE_4).count() == 31


def test_the_folders_of_other_days_are_not_opened(spark: Any, program: ModuleType, folder: Path) -> None:
    [other] = (folder / "day=2024-06-03").glob("*.parquet")
    other.write_bytes(b"not a table")
    assert program.read_records(spark, str(folder), JUNE_2, JUNE_3).count() == 4


def test_counts_and_data(spark: Any, program: ModuleType, folder: Path) -> None:
    records = program.read_records(spark, str(folder), JUNE_2, JUNE_4)
    counts = [tuple(row) for row in program.count_by_type(records).collect()]
    assert counts[0][:2] == ("viewed", 6)  # and two without a date
    assert sum(number for _, number, _ in counts) == 31
    assert all(1 <= people <= number for _, number, people in counts)
    assert sorted(row.percent for row in program.read_progress(records).collect()) == [45.0, 62.5]


def test_a_folder_without_days(spark: Any, program: ModuleType, folder: Path, tmp_path: Path) -> None:
    """As `--dask` writes it: the parts side by side, and its own files in `_thrive`."""
    flat = tmp_path / "flat"
    shutil.copytree(folder / "_thrive", flat / "_thrive")
    (flat / "_thrive" / "plan.parquet").write_bytes(b"not a table")
    for number, part in enumerate(sorted(folder.glob("day=*/*.parquet"))):
        part.rename(flat / f"part-{number:05}.parquet")
    assert program.read_records(spark, str(flat), JUNE_2, JUNE_3).count() == 4
    assert program.read_records(spark, str(flat), JUNE_3, JUNE_4).count() == 27


@pytest.mark.usefixtures("spark")  # or it is skipped
def test_the_command(folder: Path) -> None:
    environ = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": "--master local[1] pyspark-shell"}
    program = EXAMPLES / "spark" / "activity_counts.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", program, folder, "2024-06-02", "2024-06-04"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.replace(" ", "") for line in done.stdout.splitlines()]
    assert any(line.startswith("|viewed|6|") for line in lines), done.stdout
    assert "|53.8|" in lines, done.stdout
