"""The program for dlt, as a process in a folder of its own. `nox -s recipes` runs this."""

import datetime as dt
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from example_programs import EXAMPLES

from thrive_learning import Activity
from thrive_learning.testing import ServedSandbox, ThriveSandbox, make_activity

duckdb: Any = importlib.import_module("duckdb")

# Python imports this in each process. It records every attempt to reach another machine, and fails it.
GUARD = """
import os, sys

def audit(event, arguments):
    if event == "socket.connect" and arguments[1][0] not in {"127.0.0.1", "::1"}:
        refuse(event, arguments[1])
    if event == "socket.getaddrinfo" and arguments[0] not in {"127.0.0.1", "::1", "localhost", None}:
        refuse(event, arguments[0])

def refuse(event, target):
    with open(os.environ["REFUSED"], "a") as file:
        print(event, target, file=file)
    raise OSError("this test has no network")

sys.addaudithook(audit)
"""
NOW = dt.datetime.now(dt.UTC)

Load = Callable[..., str]


def ago(**duration: float) -> dt.datetime:
    return NOW - dt.timedelta(**duration)


@pytest.fixture
def load(thrive_server: ServedSandbox, tmp_path: Path) -> Load:
    """Run the program in a folder and a `home` where it has run before, or in others. Returns its output."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")

    def run(home: str = "home", code: int = 0, folder: str = "folder", **variables: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / home),
            "DLT_DATA_DIR": str(tmp_path / home / "dlt"),  # which root has elsewhere
            "PYTHONPATH": str(guard),
            "REFUSED": str(tmp_path / "refused"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            **thrive_server.environ,
            **variables,
        }
        command = [sys.executable, str(EXAMPLES / "pipelines" / "dlt_activities.py")]
        done = subprocess.run(
            command,
            cwd=tmp_path / folder,
            env=environ,
            capture_output=True,
            check=False,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def table(tmp_path: Path, columns: str = "id", folder: str = "folder") -> list[Any]:
    with duckdb.connect(str(tmp_path / folder / "activities.duckdb"), read_only=True) as connection:
        query = f"SELECT {columns} FROM thrive.activities ORDER BY id"  # noqa: S608 - columns of this file
        rows: list[Any] = connection.execute(query).fetchall()
    return rows if "," in columns else [row[0] for row in rows]


def since_of(sandbox: ThriveSandbox) -> dt.datetime:
    """Return the beginning of the period of the last request."""
    found = re.search("timestampFrom=([^&]+)", unquote_plus(sandbox.activity_requests[-1].path))
    assert found
    return dt.datetime.fromisoformat(found[1]).replace(tzinfo=dt.UTC)


def test_each_record_is_loaded_once_with_its_last_correction(
    load: Load, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    thrive_sandbox.generate(2500)  # three pages
    newest = thrive_sandbox.add(date=ago(hours=1), data={"score": 1, "more": {"big": 10**25}})
    load()
    first = table(tmp_path)
    assert len(first) == len(set(first)) == 2501
    assert newest.id in first

    new = thrive_sandbox.add(date=ago(minutes=30))
    late = thrive_sandbox.add(date=ago(days=1, hours=23))
    too_late = thrive_sandbox.add(date=ago(days=2, hours=2))  # as the page says
    thrive_sandbox.add(Activity.from_dict(newest.to_dict() | {"data": {"score": 2}}))
    load()
    assert table(tmp_path) == sorted([*first, new.id, late.id])
    assert too_late.id not in table(tmp_path)
    assert dict(table(tmp_path, "id, data"))[newest.id] == '{"score":2}'
    expected = newest.date
    assert expected is not None
    assert since_of(thrive_sandbox) == expected.replace(microsecond=0) - dt.timedelta(days=2)

    load(home="another")  # dlt restores its state from the database
    assert table(tmp_path) == sorted([*first, new.id, late.id])
    assert since_of(thrive_sandbox) >= ago(days=2, hours=1)

    load(OVERLAP_DAYS="3")
    assert table(tmp_path) == sorted([*first, new.id, late.id, too_late.id])
    assert not (tmp_path / "refused").exists()


def test_another_folder_has_a_database_of_its_own_with_all_records(load: Load, tmp_path: Path) -> None:
    load()
    load(folder="another")
    assert table(tmp_path, folder="another") == table(tmp_path) != []


def test_columns_have_the_names_and_the_text_of_the_api(
    load: Load, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    record = make_activity(
        date=ago(days=3), name="Café \0 \n'\"", data={"big": 10**25, "of": [{"a": 1}]}, with_={"users": ["x"]}
    )
    odd = {"date": "2026-01-31 12:00:00", "type": 5, "contentType": "video", "data": []}
    thrive_sandbox.add(record)
    thrive_sandbox.add(Activity.from_dict({"id": "f" * 24, **odd}))
    nameless = {"type": "viewed", "date": "2026-01-31T12:00:00Z"}
    thrive_sandbox.sandbox = thrive_sandbox.sandbox.with_records({"e" * 24: nameless})
    assert "left out items without an ID: 1\n" in load()
    columns = 'id, type, "user", date, contextId, contextType, name, data, "with", extra'
    rows = {row[0]: row[1:] for row in table(tmp_path, columns)}
    assert rows[record.id] == (
        *("viewed", record.user, record.date, record.context_id, "content", record.name),
        *('{"big":10000000000000000000000000,"of":[{"a":1}]}', '{"users":["x"]}', None),
    )
    # Its date cannot be read, so dlt cannot compare it, and it is loaded all the same.
    wrong = '{"date":"2026-01-31 12:00:00","type":5,"contentType":"video","data":[]}'
    assert rows["f" * 24] == (None,) * 8 + (wrong,)
    with duckdb.connect(str(tmp_path / "folder" / "activities.duckdb"), read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'thrive'")
        assert {name for (name,) in tables.fetchall()} >= {"activities"}
        described = connection.execute("DESCRIBE thrive.activities").fetchall()
        duration = connection.execute(
            "SELECT data ->> '$.source.source' FROM thrive.activities WHERE id = '60d5ec49b60b4b3a2c8f9a10'"
        )
        assert duration.fetchall() == [("feed",)]
    kinds = {name: kind for name, kind, *_ in described if not name.startswith("_dlt")}
    assert list(kinds) == re.findall(r"\w+", columns)
    assert kinds.pop("date") == "TIMESTAMP WITH TIME ZONE"
    assert set(kinds.values()) == {"VARCHAR"}


def test_a_run_that_fails_loads_nothing_and_the_next_one_everything(
    load: Load, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    load()
    before = table(tmp_path)
    arrived = thrive_sandbox.arrive(1500)
    thrive_sandbox.fail_next("slow:0s")  # the first page arrives
    thrive_sandbox.fail_next("403")
    error = load(code=1)
    assert "do not allow this" in error
    assert "Traceback" not in error
    assert table(tmp_path) == before
    load()
    assert table(tmp_path) == sorted([*before, *arrived])
