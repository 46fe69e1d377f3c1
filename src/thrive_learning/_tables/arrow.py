"""The table in Arrow. Rows are converted in batches, because rows in Python take ten times the memory."""

import importlib
from collections.abc import Mapping
from typing import Any

from thrive_learning._tables.rows import COLUMNS, row_of

#: The number of rows of a batch, and their maximum size as JSON, in characters.
_BATCH_ROWS = 1024
_BATCH_SIZE = 1024 * 1024


def arrow_schema(pa: Any, columns: Mapping[str, str] = COLUMNS) -> Any:
    """Return the schema of a table, for pyarrow.

    Args:
        pa: pyarrow.
        columns: The columns and their types.
    """
    kinds = {"string": pa.string(), "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])


class TableBuilder:
    """Builds a table from records.

    Args:
        columns: The columns of the table.
    """

    def __init__(self, columns: Mapping[str, str] = COLUMNS) -> None:
        self._pa: Any = importlib.import_module("pyarrow")
        self._schema = arrow_schema(self._pa, columns)
        self._batches: list[Any] = []
        self._rows: list[Mapping[str, str | int | None]] = []
        self._size = 0

    def add(self, line: str) -> None:
        """Add a record.

        Args:
            line: The record's JSON.

        Raises:
            ValueError: The line is not a record.
        """
        self._size += len(line)
        self.add_row(row_of(line))

    def add_row(self, row: Mapping[str, str | int | None]) -> None:
        """Add a row. Its missing cells are empty."""
        self._rows.append(row)
        if len(self._rows) >= _BATCH_ROWS or self._size >= _BATCH_SIZE:
            self._end_batch()

    def _end_batch(self) -> None:
        self._batches.append(self._pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows, self._size = [], 0

    def table(self) -> Any:
        """Return the table of all rows."""
        self._end_batch()
        return self._pa.Table.from_batches(self._batches, schema=self._schema)
