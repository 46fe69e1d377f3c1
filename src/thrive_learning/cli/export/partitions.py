"""Write a folder with files for each day, in the Hive layout that DuckDB, Spark, and Athena read.

A file gets its final name when it is complete. Everything else is in the folder `_thrive`, which these
programs ignore because its name begins with an underscore.
See docs/decisions/0035-exports-of-a-period.md.
"""

import contextlib
import datetime as dt
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from thrive_learning._tables.rows import microseconds_of
from thrive_learning.cli.export import tables
from thrive_learning.cli.export.output import EXTENSIONS
from thrive_learning.cli.export.paths import WORK_FOLDER, explained
from thrive_learning.cli.regular_files import create, open_regular, open_to_read, remove, replacing
from thrive_learning.errors import ConfigurationError

#: The day of records without a valid date. Hive and compatible programs read it as null.
NO_DAY = "__HIVE_DEFAULT_PARTITION__"

_OUR_PART = re.compile(r"part-\d{8}T\d{6}Z-[0-9a-f]{8}\.(?:ndjson|csv|parquet)", re.ASCII)
_MOST_OPEN = 32
_DAY_US = 86_400_000_000
_EPOCH = dt.date(1970, 1, 1)


def folder_of(name: str, option: str = "--partition-by") -> Path:
    """Return the folder for the value of `-o`, which need not exist.

    Args:
        name: The value.
        option: The option that makes the output a folder.

    Raises:
        ConfigurationError: The path cannot be a folder, or has the extension of a file.
    """
    if name in ("", "-") or "\0" in name:
        raise ConfigurationError(f"-o is {name!r}, but {option} writes a folder. Choose a folder.")
    path = Path(name)
    if path.suffix.lower() in EXTENSIONS:
        raise ConfigurationError(
            f"-o is {name}, the name of a file, but {option} writes a folder. Use a name such as "
            f"{path.with_suffix('')}."
        )
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        if path.exists() and not path.is_dir():
            raise ConfigurationError(f"{name} is not a folder, but {option} writes one. Choose a folder.")
        if not path.exists() and not path.parent.is_dir():
            raise ConfigurationError(f"the folder {path.parent} does not exist. Create it first.")
    except OSError as error:
        problem = error.strerror or str(error)
    else:
        return path
    raise ConfigurationError(f"cannot write {name}: {problem}. Choose another folder.")


def records_of(folder: Path) -> Path:
    """Return the path of the records before they are split into parts."""
    return folder / WORK_FOLDER / "records"


def parts_of(folder: Path) -> Iterator[Path]:
    """Yield the parts that exports have written, but no other files."""
    for path in folder.glob("day=*/part-*"):
        if _OUR_PART.fullmatch(path.name):
            yield path


def publish(
    folder: Path, form: str, tag: str, *, is_spreadsheet_safe: bool = False, keep_others: bool = False
) -> tuple[int, int]:
    """Split the records into parts. This can be repeated: the same records and tag give the same parts.

    Args:
        folder: The folder.
        form: "ndjson", "csv", or "parquet".
        tag: The common part of the file names.
        is_spreadsheet_safe: See `tables.convert`.
        keep_others: Keep the parts of other exports instead of removing them.

    Returns:
        The number of rows, and the number of parts.

    Raises:
        OutputError: The parts cannot be written.
        TableError: A table cannot be written.
    """
    name = f"part-{tag}.{form}"
    days = folder / WORK_FOLDER / "days"
    rows = parts = 0
    with explained(folder):
        shutil.rmtree(days, ignore_errors=True)
        days.mkdir()
        _split(records_of(folder), days)
        if not keep_others:
            for path in parts_of(folder):
                if path.name != name:
                    remove(path)
        for day in sorted(days.iterdir()):
            target = folder / f"day={day.name}" / name
            target.parent.mkdir(exist_ok=True)
            rows += _write(day, target, form, is_spreadsheet_safe=is_spreadsheet_safe)
            parts += 1
        shutil.rmtree(days)
    return rows, parts


def _write(day: Path, target: Path, form: str, *, is_spreadsheet_safe: bool) -> int:
    if form != "ndjson":
        return tables.convert(day, target, form, is_spreadsheet_safe=is_spreadsheet_safe)
    with open_to_read(day) as source, replacing(target) as file:
        rows = 0
        for line in source:
            rows += 1
            file.write(line)
    return rows


def _split(records: Path, days: Path) -> None:
    """Write the records of each day to a separate file. Few of the files are open at the same time."""
    opened: dict[str, BinaryIO] = {}
    with contextlib.ExitStack() as everything, open_to_read(records) as lines:
        everything.callback(lambda: [file.close() for file in opened.values()])
        for line in lines:
            day = day_of(line)
            file = opened.pop(day, None)
            if file is None:
                if len(opened) >= _MOST_OPEN:
                    opened.pop(next(iter(opened))).close()
                path = days / day
                file = io.BufferedWriter(open_regular(path) if path.exists() else create(path))
            opened[day] = file  # moves it to the end of the order of use
            file.write(line)


def day_of(line: bytes) -> str:
    """Return the day of a record in UTC, such as `2026-01-31`; `NO_DAY` without a valid date."""
    try:
        document: Any = json.loads(line)
        date = document.get("date")
    except (ValueError, AttributeError, RecursionError):
        date = None
    microseconds = microseconds_of(date) if isinstance(date, str) else None
    if microseconds is None:
        return NO_DAY
    try:
        return (_EPOCH + dt.timedelta(microseconds // _DAY_US)).isoformat()
    except OverflowError:  # a date that Python cannot convert to UTC
        return NO_DAY
