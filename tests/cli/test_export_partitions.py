"""A folder with a part for each day."""

import json
from pathlib import Path
from typing import Any

import pytest

from thrive_learning.cli.export import partitions
from thrive_learning.cli.export.partitions import (
    NO_DAY,
    day_folders,
    day_of,
    folder_of,
    parts_of,
    publish,
    records_of,
)
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.errors import ConfigurationError

TAG = "20260131T120000Z-0123abcd"


def line(number: int, date: object) -> bytes:
    return json.dumps({"id": f"{number:024x}", "date": date}).encode() + b"\n"


def write(folder: Path, *lines: bytes) -> None:
    records_of(folder).parent.mkdir(parents=True, exist_ok=True)
    records_of(folder).write_bytes(b"".join(lines))


def parts(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("day=*/*"))}


@pytest.mark.parametrize(
    ("date", "day"),
    [
        ("2026-01-31T23:59:59.999Z", "2026-01-31"),
        ("2026-01-31T23:59:59+01:00", "2026-01-31"),
        ("2026-01-31T23:59:59-01:00", "2026-02-01"),
        ("1969-12-31T23:59:59Z", "1969-12-31"),
        ("9999-12-31T23:00:00-02:00", NO_DAY),
        ("0001-01-01T00:00:00+01:00", NO_DAY),
        ("2026-01-31", NO_DAY),
        (None, NO_DAY),
        (5, NO_DAY),
    ],
)
def test_the_day_of_a_record_is_that_of_its_date_in_utc(date: object, day: str) -> None:
    assert day_of(line(1, date)) == day


@pytest.mark.parametrize("text", [b"{}\n", b"[]\n", b"x\n", b"[" * 100_000])
def test_a_line_without_a_date_has_no_day(text: bytes) -> None:
    assert day_of(text) == NO_DAY


def test_each_day_has_a_part_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_MOST_OPEN", 2)
    lines = [line(number, f"2026-01-{number % 5 + 1:02}T00:00:00Z") for number in range(20)]
    write(tmp_path, *lines, line(99, None))
    assert publish(tmp_path, "ndjson", TAG) == (21, 6)
    assert parts(tmp_path) == {
        f"day={NO_DAY}/part-{TAG}.ndjson": line(99, None),
        **{f"day=2026-01-{day + 1:02}/part-{TAG}.ndjson": b"".join(lines[day::5]) for day in range(5)},
    }
    assert [path.name for path in records_of(tmp_path).parent.iterdir()] == ["records"]


def test_the_same_records_make_the_same_parts(tmp_path: Path) -> None:
    write(tmp_path, line(1, "2026-01-01T00:00:00Z"))
    left = records_of(tmp_path).parent / "days-0123456789abcdef"
    left.mkdir()
    (left / "2020-01-01").write_bytes(b"of a run that was killed\n")
    publish(tmp_path, "ndjson", TAG)
    assert not left.exists()
    first = parts(tmp_path)
    publish(tmp_path, "ndjson", TAG)
    assert parts(tmp_path) == first
    assert len(first) == 1


def test_folders_and_files_of_others_stay(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write(folder, line(1, "2026-01-01T00:00:00Z"))
    work = records_of(folder).parent
    killed = work / "days-0123456789abcdef"
    theirs = [
        work / "days" / "2020-01-01",
        work / "days-mine" / "2020-01-01",
        killed / "mine",
        killed / "2020-01-01" / "mine",
        elsewhere / "2020-01-01",
        folder / "day=mine" / f"part-{TAG}.parquet",
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (work / "days-fedcba9876543210").symlink_to(elsewhere)
    publish(folder, "ndjson", TAG)
    assert all(path.exists() for path in theirs)
    assert [path.name for path in parts_of(folder)] == [f"part-{TAG}.ndjson"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    for path in (folder, other):
        write(path, line(1, "2026-01-01T00:00:00Z"))
    publish(other, "ndjson", TAG)
    before = parts(other)
    (folder / "day=2026-01-01").symlink_to(other / "day=2026-01-01")
    later = TAG.replace("31T", "30T")
    problem = "day=2026-01-01 is a symbolic link, not a folder. Move it, or choose another folder"
    for keeps in (False, True):
        with pytest.raises(ConfigurationError, match=problem):
            publish(folder, "ndjson", later, keep_others=keeps)
        assert parts(other) == before
    (folder / "day=2026-01-01").unlink()
    (folder / "day=2025-01-01").symlink_to(other / "day=2026-01-01")  # such as slower storage
    assert publish(folder, "ndjson", later, keep_others=True) == (1, 1)
    assert [*day_folders(folder)] == [folder / "day=2026-01-01"]
    work = records_of(folder).parent
    work.rename(tmp_path / "elsewhere")
    work.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="_thrive is a symbolic link, not a folder"):
        publish(folder, "ndjson", later)
    assert [path.name for path in work.iterdir()] == ["records"]


def test_parts_of_other_exports_stay_or_go_and_other_files_stay(tmp_path: Path) -> None:
    write(tmp_path, line(1, "2026-01-01T00:00:00Z"))
    publish(tmp_path, "ndjson", TAG)
    others = ["mine.parquet", "part-0.parquet", f"part-{TAG}.parquet.crc"]
    for name in others:
        (tmp_path / "day=2026-01-01" / name).touch()
    later = TAG.replace("31T", "30T")
    publish(tmp_path, "ndjson", later, keep_others=True)
    assert [path.name for path in sorted(parts_of(tmp_path))] == [
        f"part-{later}.ndjson",
        f"part-{TAG}.ndjson",
    ]
    publish(tmp_path, "ndjson", later)
    assert [path.name for path in parts_of(tmp_path)] == [f"part-{later}.ndjson"]
    assert all((tmp_path / "day=2026-01-01" / name).exists() for name in others)


def test_parts_are_read_as_one_table(tmp_path: Path) -> None:
    dataset: Any = pytest.importorskip("pyarrow.dataset")
    write(
        tmp_path, *(line(number, f"2026-01-{number + 1:02}T12:00:00Z") for number in range(3)), line(9, "?")
    )
    assert publish(tmp_path, "parquet", TAG) == (4, 4)
    table = dataset.dataset(tmp_path, format="parquet", partitioning="hive").to_table().to_pylist()
    found = {row["id"][-1]: (row["day"], row["date"] and row["date"].day) for row in table}
    assert found == {
        "0": ("2026-01-01", 1),
        "1": ("2026-01-02", 2),
        "2": ("2026-01-03", 3),
        "9": (None, None),
    }
    assert publish(tmp_path, "csv", TAG) == (4, 4)
    assert [*tmp_path.glob("day=*/*.parquet")] == []


def test_an_invalid_folder_is_rejected(tmp_path: Path) -> None:
    assert folder_of(str(tmp_path / "new")) == tmp_path / "new"
    (tmp_path / "link").symlink_to(tmp_path)
    assert folder_of(str(tmp_path / "link")) == tmp_path
    (tmp_path / "file").touch()
    for name, problem in (
        ("", "Choose a folder"),
        ("-", "Choose a folder"),
        ("a\0", "Choose a folder"),
        (str(tmp_path / "file"), "is not a folder"),
        (str(tmp_path / "a" / "b"), "does not exist. Create it first"),
        ("x" * 5000, "File name too long"),
        (
            str(tmp_path / "d.ndjson"),
            "d.ndjson, the name of a file, but --partition-by writes a folder",
        ),
        (str(tmp_path / "d.CSV"), "Use a name such as .*d\\.$"),
        ("d.parquet", "Use a name such as d\\.$"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            folder_of(name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path, line(1, None))
    (tmp_path / f"day={NO_DAY}").touch()
    with pytest.raises(ConfigurationError, match=f"day={NO_DAY} is a regular file, not a folder"):
        publish(tmp_path, "ndjson", TAG)
    records_of(tmp_path).unlink()
    with pytest.raises(OutputError, match=r"cannot write .*records: "):
        publish(tmp_path, "ndjson", TAG)
