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
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from thrive_learning._tables.rows import microseconds_of
from thrive_learning.cli.export import tables
from thrive_learning.cli.export.output import EXTENSIONS
from thrive_learning.cli.export.paths import WORK_FOLDER, explained
from thrive_learning.cli.regular_files import (
    create,
    is_folder,
    kind_of,
    make_folder,
    open_regular,
    open_to_read,
    remove,
    replacing,
)
from thrive_learning.errors import ConfigurationError

#: The day of records without a valid date. Hive and compatible programs read it as null.
NO_DAY = "__HIVE_DEFAULT_PARTITION__"

_OUR_PART = re.compile(r"part-\d{8}T\d{6}Z-[0-9a-f]{8}\.(?:ndjson|csv|parquet)", re.ASCII)
_DAY = re.compile(rf"\d{{4}}-\d\d-\d\d|{NO_DAY}", re.ASCII)
_SPLIT = re.compile(r"days-[0-9a-f]{16}", re.ASCII)  # a folder of records that are being split
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
    """Yield the parts that exports have written, but no other files.

    Raises:
        ConfigurationError: Something else than a folder has the name of a day, such as a link.
        OSError: A folder cannot be read.
    """
    for day in _named_like_days(folder):
        is_folder(day)
        for path in day.iterdir():
            if _OUR_PART.fullmatch(path.name):
                yield path


def day_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders of days, without links and files of their names."""
    for day in _named_like_days(folder):
        if kind_of(day) == "a folder":
            yield day


def _named_like_days(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir() if folder.exists() else ():
        if _DAY.fullmatch(path.name.removeprefix("day=")) and path.name.startswith("day="):
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
        ConfigurationError: A link or another kind of file has the name of a folder or part.
        OutputError: The parts cannot be written.
        TableError: A table cannot be written.
    """
    name = f"part-{tag}.{form}"
    work = folder / WORK_FOLDER
    rows = 0
    with explained(folder):
        is_folder(work)
        _remove_split(work)  # of runs that were killed
        split = work / f"days-{secrets.token_hex(8)}"
        split.mkdir()
        days = _split(records_of(folder), split)
        if not keep_others:
            for path in parts_of(folder):
                if path.name != name:
                    remove(path)
        for day in sorted(days):
            target = folder / f"day={day}" / name
            make_folder(target.parent)
            rows += _write(split / day, target, form, is_spreadsheet_safe=is_spreadsheet_safe)
        _remove_split(work)
    return rows, len(days)


def _remove_split(work: Path) -> None:
    """Remove the folders of split records, but no files in them that no export has written."""
    for split in work.iterdir():
        if not _SPLIT.fullmatch(split.name) or kind_of(split) != "a folder":
            continue
        for path in split.iterdir():
            if _DAY.fullmatch(path.name) and kind_of(path) == "a regular file":
                path.unlink()
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            split.rmdir()


def _write(day: Path, target: Path, form: str, *, is_spreadsheet_safe: bool) -> int:
    if form != "ndjson":
        return tables.convert(day, target, form, is_spreadsheet_safe=is_spreadsheet_safe)
    with open_to_read(day) as source, replacing(target) as file:
        rows = 0
        for line in source:
            rows += 1
            file.write(line)
    return rows


def _split(records: Path, split: Path) -> set[str]:
    """Write the records of each day to a file of its own, and return the days. Few files are open at once."""
    days: set[str] = set()
    opened: dict[str, BinaryIO] = {}
    with contextlib.ExitStack() as everything, open_to_read(records) as lines:
        everything.callback(lambda: [file.close() for file in opened.values()])
        for line in lines:
            day = day_of(line)
            file = opened.pop(day, None)
            if file is None:
                if len(opened) >= _MOST_OPEN:
                    opened.pop(next(iter(opened))).close()
                file = io.BufferedWriter((open_regular if day in days else create)(split / day))
                days.add(day)
            opened[day] = file  # moves it to the end of the order of use
            file.write(line)
    return days


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
