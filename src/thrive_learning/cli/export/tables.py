"""Convert records to Parquet or CSV, a batch of rows at a time so that memory stays constant."""

import importlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from thrive_learning._tables.arrow import arrow_schema
from thrive_learning._tables.rows import Row, row_of
from thrive_learning.cli.regular_files import open_regular, replacing
from thrive_learning.errors import ThriveError

_BATCH_ROWS = 1024
_BATCH_BYTES = 1024 * 1024
_GROUP_BYTES = 8 * 1024 * 1024
_GROUP_ROWS = 16_384  # rows that are written at once, in Arrow's format, which takes a tenth of the memory

#: Characters with which a formula of a spreadsheet begins, including their full-width forms.
#: Source: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


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


def safe_row(row: Row) -> Row:
    """Return a row whose cells a spreadsheet does not run as formulas."""
    return {
        name: f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
        for name, cell in row.items()
    }
