"""The program for pandas."""

import datetime as dt
import functools
import itertools
from types import ModuleType
from typing import Any

import pytest
from example_programs import load

from thrive_learning import Activity, ThriveClient
from thrive_learning.testing import ThriveSandbox

pytest.importorskip("pandas", reason="pandas is not installed")

SINCE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
ODD: tuple[dict[str, Any], ...] = (
    {"date": "0001-01-01T00:00:00Z", "data": {"big": 12345678901234567890123456789}},
    {"date": "9999-12-31T23:59:59.999999Z", "type": "new in 2030"},
    {"date": "2026-01-31 12:00:00", "type": 5, "name": ["x"], "with": []},
    {},
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("pipelines/pandas_frames.py", monkeypatch)


def types_of(frame: Any) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def test_a_frame_has_every_record_with_the_right_types(
    program: ModuleType,
    thrive_client: ThriveClient,
    thrive_sandbox: ThriveSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thrive_sandbox.generate(2500)  # three pages
    # So that the types of the batches differ, as they do in batches of the usual size.
    monkeypatch.setattr(program, "frames_of", functools.partial(program.frames_of, rows=10))
    with thrive_client.activities.iterate(since=SINCE) as records:
        frame = program.frame_of(records)
    assert types_of(frame) == program.DTYPES
    with thrive_client.activities.iterate(since=SINCE) as records:
        expected = {record.id: (record.type, record.date) for record in records}
    assert len(expected) == 2500
    # `str()` would be "nan" for a type that is missing.
    found = zip(
        frame["id"],
        frame["type"].astype("str"),
        map(dt.datetime.fromisoformat, frame["date"].map(str)),
        strict=True,
    )
    assert {identifier: (kind, date) for identifier, kind, date in found} == expected
    assert len(frame) == 2500
    assert frame["type"].memory_usage(index=False) < 5000  # a byte for each row, and the categories


def test_wrong_values_are_missing_and_raise_nothing(program: ModuleType) -> None:
    odd = [Activity.from_dict({"id": f"{number:024x}", **fields}) for number, fields in enumerate(ODD)]
    frame = program.frame_of(odd)
    assert types_of(frame) == program.DTYPES
    assert list(frame["date"].isna()) == [False, False, True, True]
    assert [date.year for date in frame["date"].dropna()] == [1, 9999]
    assert list(frame["type"].isna()) == [True, False, True, True]
    assert frame["type"][1] == "new in 2030"
    assert frame["data"][0] == '{"big":12345678901234567890123456789}'
    assert frame["extra"][2] == '{"date":"2026-01-31 12:00:00","type":5,"name":["x"],"with":[]}'
    assert list(frame["name"].isna()) == [True] * 4


def test_frames_hold_no_more_than_one_batch(program: ModuleType) -> None:
    taken = 0

    def records() -> Any:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield Activity.from_dict({"id": f"{number:024x}", "type": f"type {number}"})

    frames = program.frames_of(records(), 10)
    for number in range(1, 4):
        frame = next(frames)
        assert len(frame) == 10
        assert taken == number * 10
        assert len(frame["type"].cat.categories) == 10  # its own only


def test_no_records_are_an_empty_frame(program: ModuleType) -> None:
    assert types_of(program.frame_of([])) == program.DTYPES
    assert len(program.frame_of([])) == 0
    assert list(program.frames_of([])) == []
