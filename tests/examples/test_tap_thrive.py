"""The Singer tap, as a process whose messages a small target reads."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_programs import EXAMPLES
from jsonschema import Draft7Validator

from thrive_learning import Activity
from thrive_learning.testing import ServedSandbox, ThriveSandbox

NOW = dt.datetime.now(dt.UTC)

# The messages of Singer's specification that the tap uses.
MESSAGES = {
    "SCHEMA": {
        "required": ["type", "stream", "schema", "key_properties"],
        "properties": {
            "stream": {"type": "string"},
            "schema": {"type": "object"},
            "key_properties": {"type": "array", "items": {"type": "string"}},
            "bookmark_properties": {"type": "array", "items": {"type": "string"}},
        },
    },
    "RECORD": {
        "required": ["type", "stream", "record"],
        "properties": {"stream": {"type": "string"}, "record": {"type": "object"}},
    },
    "STATE": {"required": ["type", "value"], "properties": {"value": {"type": "object"}}},
}


class Target:
    """A target that keeps the last record of each key, and the last state.

    Attributes:
        tables: The records of each stream, by key.
        received: The number of records.
        state: The state, if it came after the last record.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.received = 0
        self.state: dict[str, Any] | None = None
        self._streams: dict[str, tuple[Draft7Validator, list[str]]] = {}

    def read(self, output: str) -> None:
        self.received = 0
        for line in output.splitlines():
            message = json.loads(line)
            Draft7Validator(MESSAGES[message["type"]]).validate(message)
            match message["type"]:
                case "SCHEMA":
                    Draft7Validator.check_schema(message["schema"])
                    validator = Draft7Validator(
                        message["schema"], format_checker=Draft7Validator.FORMAT_CHECKER
                    )
                    self._streams[message["stream"]] = (validator, message["key_properties"])
                case "RECORD":
                    validator, keys = self._streams[message["stream"]]
                    record = message["record"]
                    validator.validate(record)
                    self.tables.setdefault(message["stream"], {})[tuple(record[key] for key in keys)] = record
                    self.received += 1
                    self.state = None  # a state before the end would not cover this record
                case _:
                    self.state = message["value"]

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records by ID."""
        return {key: record for (key,), record in self.tables.get("activities", {}).items()}


@pytest.fixture
def target() -> Target:
    return Target()


Tap = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tap(thrive_server: ServedSandbox, tmp_path: Path) -> Tap:
    """Run the tap with files of these contents."""

    def run(*arguments: str, **files: Any) -> "subprocess.CompletedProcess[str]":
        files.setdefault("config", {"start_date": "2020-01-01"})
        for name, content in files.items():
            if content is not None:
                (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
                arguments = (*arguments, f"--{name}", f"{name}.json")
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **thrive_server.environ}
        command = [sys.executable, "-W", "error", str(EXAMPLES / "pipelines" / "tap_thrive.py"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, check=False, text=True, timeout=120
        )

    return run


def ago(**duration: float) -> dt.datetime:
    return NOW - dt.timedelta(**duration)


def test_each_record_arrives_with_its_last_correction(
    tap: Tap, target: Target, thrive_sandbox: ThriveSandbox
) -> None:
    thrive_sandbox.generate(2500)  # three pages
    newest = thrive_sandbox.add(date=ago(hours=1), data={"score": 1})
    target.read(tap().stdout)
    assert target.received == len(target.records()) == 2501
    assert newest.date is not None
    kept = newest.date.isoformat().replace("+00:00", "Z")
    assert target.state == {"bookmarks": {"activities": {"date": kept}}}

    new = thrive_sandbox.add(date=ago(minutes=30))
    late = thrive_sandbox.add(date=ago(days=1, hours=23))
    too_late = thrive_sandbox.add(date=ago(days=2, hours=2))
    thrive_sandbox.add(Activity.from_dict(newest.to_dict() | {"data": {"score": 2}}))
    target.read(tap(state=target.state).stdout)
    assert target.received == 3
    assert target.records()[newest.id]["data"] == '{"score":2}'
    assert {new.id, late.id} <= target.records().keys()

    config = {"start_date": "2020-01-01", "overlap_days": 3}
    target.read(tap(state=target.state, config=config).stdout)
    assert too_late.id in target.records()
    assert len(target.records()) == 2504


def test_a_run_without_new_records_keeps_the_state(tap: Tap, target: Target) -> None:
    config = {"start_date": NOW.isoformat()}
    state = {"bookmarks": {"activities": {"date": NOW.isoformat()}, "other": {"date": "x"}}, "more": 1}
    target.read(tap(state=state, config=config).stdout)
    assert (target.received, target.state) == (0, state)
    target.read(tap(config=config, state={}).stdout)
    assert (target.received, target.state) == (0, {})


def test_records_that_break_the_contract_follow_the_schema(
    tap: Tap, target: Target, thrive_sandbox: ThriveSandbox
) -> None:
    odd = {"date": "2026-01-31 12:00:00", "type": 5, "name": ["x"], "data": [], "new": {"a": 1.5}}
    thrive_sandbox.add(Activity.from_dict({"id": "f" * 24, **odd}))
    target.read(tap().stdout)
    record = target.records()["f" * 24]
    assert {name: value for name, value in record.items() if value is not None} == {
        "id": "f" * 24,
        "extra": json.dumps(odd, separators=(",", ":")),
    }


def test_items_without_an_id_are_reported(tap: Tap, target: Target, thrive_sandbox: ThriveSandbox) -> None:
    nameless = {"type": "viewed", "date": "2026-01-31T12:00:00Z"}
    thrive_sandbox.sandbox = thrive_sandbox.sandbox.with_records({"f" * 24: nameless})
    done = tap()
    target.read(done.stdout)
    assert target.received == 34
    assert "left out items without an ID: 1\n" in done.stderr


def test_discovery_and_selection(tap: Tap, target: Target) -> None:
    done = tap("--discover")
    catalog = json.loads(done.stdout)
    [stream] = catalog["streams"]
    assert (stream["tap_stream_id"], stream["key_properties"]) == ("activities", ["id"])
    assert {tuple(entry["breadcrumb"]) for entry in stream["metadata"]} == {
        (),
        *(("properties", name) for name in stream["schema"]["properties"]),
    }
    target.read(tap(catalog=catalog).stdout)
    assert target.received == 34
    for selected, count in ((False, 0), (True, 34)):
        stream["metadata"][0]["metadata"]["selected"] = selected
        done = tap(catalog=catalog)
        assert (done.returncode, done.stdout.count('"type": "RECORD"')) == (0, count)
    assert tap(catalog={"streams": []}).stdout == ""


def test_an_error_is_one_line_without_a_state(tap: Tap, thrive_sandbox: ThriveSandbox) -> None:
    thrive_sandbox.generate(2500)
    thrive_sandbox.fail_next("slow:0s")  # the first page arrives
    thrive_sandbox.fail_next("403")
    done = tap()
    assert done.returncode == 1
    assert done.stderr.startswith("ForbiddenError: ")
    assert done.stderr.count("\n") == 1
    assert '"type": "STATE"' not in done.stdout


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"config": {}}, 'start_date is null. Write a date such as "2026-01-01".'),
        (
            {"config": {"start_date": "yesterday"}},
            'start_date is "yesterday". Write a date such as "2026-01-01".',
        ),
        ({"config": {"start_date": 5}}, 'start_date is 5. Write a date such as "2026-01-01".'),
        (
            {"state": {"bookmarks": {"activities": {"date": "x"}}}},
            'date in the state is "x". Write a date such as "2026-01-01".',
        ),
        (
            {
                "config": {"start_date": "2020-01-01", "overlap_days": "two"},
                "state": {"bookmarks": {"activities": {"date": "2026-01-01"}}},
            },
            'overlap_days is "two". Write a number such as 2.',
        ),
        ({"config": ["x"]}, "config.json is not a JSON object"),
        ({"catalog": {"start_date": "x"}}, "The catalog has no streams. Write it with --discover."),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tap: Tap, files: dict[str, Any], problem: str) -> None:
    done = tap(**files)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{problem}\n")


def test_a_file_that_cannot_be_read_is_one_line(tap: Tap, tmp_path: Path) -> None:
    done = tap("--config", "missing.json", config=None)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("cannot read missing.json: ")
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    done = tap("--state", "state.json")
    assert done.stderr.startswith("cannot read state.json: Expecting property name")


def test_the_catalog_needs_no_config(tap: Tap) -> None:
    assert "streams" in json.loads(tap("--discover", config=None).stdout)
    done = tap(config=None)
    assert done.returncode == 2
    assert done.stderr.endswith("error: --config is needed to read records\n")
