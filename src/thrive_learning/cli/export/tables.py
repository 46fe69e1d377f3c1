"""Convert records to Parquet or CSV, a batch of rows at a time so that memory stays constant."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from thrive_learning._tables.arrow import TableBuilder, arrow_schema
from thrive_learning._tables.rows import Row, row_of
from thrive_learning.cli.regular_files import open_to_read, replacing
from thrive_learning.errors import ThriveError

# The number of rows, and their size in Arrow's form in bytes, that are written at once.
_GROUP_ROWS = 16_384
_GROUP_BYTES = 8 * 1024 * 1024

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
    schema = arrow_schema(importlib.import_module("pyarrow"))
    if form == "parquet":
        writer = importlib.import_module("pyarrow.parquet").ParquetWriter(file, schema)
    else:
        writer = importlib.import_module("pyarrow.csv").CSVWriter(file, schema)
    rows = 0
    builder = TableBuilder()
    with writer:
        for row, size in _rows(source):
            rows += 1
            builder.add_row(safe_row(row) if is_spreadsheet_safe else row, size)
            if builder.rows >= _GROUP_ROWS or builder.arrow_bytes >= _GROUP_BYTES:
                writer.write_table(builder.table())
                builder = TableBuilder()
        writer.write_table(builder.table())
    return rows


def _rows(source: Path) -> Iterator[tuple[Row, int]]:
    """Yield each row, and the size of its record as JSON."""
    with open_to_read(source) as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = row_of(line.decode())
            except (ValueError, RecursionError):
                problem = f"{source}, line {number}, is not a record. Use --force to export again"
                raise TableError(problem) from None
            yield row, len(line)


def safe_row(row: Row) -> Row:
    """Return a row whose cells a spreadsheet does not run as formulas."""
    return {
        name: f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
        for name, cell in row.items()
    }
