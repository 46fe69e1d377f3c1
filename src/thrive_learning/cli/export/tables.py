"""Convert records to Parquet or CSV, a batch of rows at a time so that memory stays constant."""

import datetime as dt
import importlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from thrive_learning._formats import read_date
from thrive_learning.cli.json_text import Member, members_of
from thrive_learning.cli.regular_files import open_regular, replacing
from thrive_learning.errors import ThriveError

#: The columns and their Arrow types. They have the names of the fields in the API, and `extra` has the rest.
COLUMNS: dict[str, str] = {
    "id": "string",
    "type": "string",
    "user": "string",
    "date": "timestamp[us, tz=UTC]",
    "contextId": "string",
    "contextType": "string",
    "name": "string",
    "data": "string",
    "with": "string",
    "extra": "string",
}

_REST = "extra"
_OBJECTS = {"data", "with"}
_BATCH_ROWS = 1024
_BATCH_BYTES = 1024 * 1024
_GROUP_BYTES = 8 * 1024 * 1024
_GROUP_ROWS = 16_384  # rows that are written at once, in Arrow's format, which takes a tenth of the memory
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - see microseconds_of
_MICROSECOND = dt.timedelta(microseconds=1)

#: Characters with which a formula of a spreadsheet begins, including their full-width forms.
#: Source: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

Row = dict[str, str | int | None]


class TableError(ThriveError):
    """Records could not be converted to a table."""


def convert(source: Path, target: Path, form: str, *, is_spreadsheet_safe: bool = False) -> int:
    """Convert the records of a file to a table, which replaces an existing one when it is complete.

    Args:
        source: The records, one JSON object a line.
        target: The table.
        form: "parquet" or "csv".
        is_spreadsheet_safe: Add `'` before text that a spreadsheet would run as a formula.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: One of the two files is not a regular file.
        TableError: A line is not a record, or the table cannot be written.
    """
    try:
        with replacing(target) as file:
            return _write(source, file, form, is_spreadsheet_safe=is_spreadsheet_safe)
    except OSError as error:
        # pyarrow's errors may have only a text.
        problem = os.strerror(error.errno) if error.errno else str(error)
    raise TableError(f"cannot write {target}: {problem}")


def _write(source: Path, file: BinaryIO, form: str, *, is_spreadsheet_safe: bool) -> int:
    pa: Any = importlib.import_module("pyarrow")
    schema = arrow_schema(pa)
    rows = 0
    if form == "parquet":
        writer = importlib.import_module("pyarrow.parquet").ParquetWriter(file, schema)
    else:
        writer = importlib.import_module("pyarrow.csv").CSVWriter(file, schema)
    group: list[Any] = []
    with writer:
        for batch in _batches(source):
            made = [safe_row(row) for row in batch] if is_spreadsheet_safe else batch
            group.append(pa.RecordBatch.from_pylist(made, schema=schema))
            rows += len(batch)
            size = sum(one.nbytes for one in group)
            if sum(map(len, group)) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group))
                group = []
        writer.write_table(pa.Table.from_batches(group, schema=schema))
    return rows


def arrow_schema(pa: Any) -> Any:
    """Return the schema of the table, for pyarrow."""
    kinds = {"string": pa.string(), "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def _batches(source: Path) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    with io.BufferedReader(open_regular(source)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                batch.append(row_of(line.decode()))
            except (ValueError, RecursionError):
                problem = f"{source}, line {number}, is not a record. Use --force to export again"
                raise TableError(problem) from None
            size += len(line)
            if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    yield batch


def row_of(line: str) -> Row:
    """Return the row of a record. Missing fields and null are empty.

    The last column has the fields that do not fit into a column, as received: unknown fields, and fields of
    another type or with a date that is not valid.

    Args:
        line: The record's JSON.

    Raises:
        ValueError: The line is not a record.
    """
    row: Row = dict.fromkeys(COLUMNS)
    rest: dict[str, str] = {}
    for name, member in members_of(line).items():
        cell = _cell(name, member)
        if cell is not None:
            row[name] = cell
        elif member.value is not None or name not in COLUMNS or name == _REST:
            rest[name] = member.text
    if row["id"] is None:
        raise ValueError("no ID")
    if rest:
        row[_REST] = "{" + ",".join(f"{_encodable_json(name)}:{text}" for name, text in rest.items()) + "}"
    return row


def safe_row(row: Row) -> Row:
    """Return a row whose cells a spreadsheet does not run as formulas."""
    return {
        name: f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
        for name, cell in row.items()
    }


def _cell(name: str, member: Member) -> str | int | None:
    """Return the cell for a field; None if the field has no column, or another type."""
    if name not in COLUMNS or name == _REST:
        return None
    if name in _OBJECTS:
        return member.text if isinstance(member.value, dict) else None
    if not isinstance(member.value, str):
        return None
    return microseconds_of(member.value) if name == "date" else _encodable(member.value)


def microseconds_of(text: str) -> int | None:
    """Return the microseconds since 1970 in UTC; None if the text is not a date and time with a zone."""
    # Calculated, because Python cannot convert the first and last days of the calendar to UTC.
    date = read_date(text)
    if date is None:
        return None
    offset = date.utcoffset() or dt.timedelta()
    return (date.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND


def _encodable_json(text: str) -> str:
    shown = json.dumps(text, ensure_ascii=False)
    return shown if _encodable(shown) == shown else json.dumps(text)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can express and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
