"""The table in Arrow. Rows are converted in batches, because cells in Python take much more memory."""

import importlib
from collections.abc import Mapping
from typing import Any

from thrive_learning._tables.rows import COLUMNS, row_of

# The number of rows of a batch, and their size as JSON, at which it ends.
_BATCH_ROWS = 1024
_BATCH_SIZE = 1024 * 1024


def arrow_schema(pa: Any, columns: Mapping[str, str] = COLUMNS) -> Any:
    """Return the schema of a table with these columns, for pyarrow, which is the first argument."""
    kinds = {"string": pa.string(), "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])


class TableBuilder:
    """Builds a table from records.

    Args:
        columns: The columns of the table.

    Attributes:
        rows: The number of rows so far.
        arrow_bytes: The size of those that are already in Arrow's form.
    """

    def __init__(self, columns: Mapping[str, str] = COLUMNS) -> None:
        self._pa: Any = importlib.import_module("pyarrow")
        self._schema = arrow_schema(self._pa, columns)
        self._batches: list[Any] = []
        self._cells: dict[str, list[str | int | None]] = {name: [] for name in columns}
        self._waiting = 0
        self._size = 0
        self.rows: int = 0
        self.arrow_bytes: int = 0

    def add(self, line: str) -> None:
        """Add a record, given as its JSON.

        Raises:
            ValueError: The line is not a record.
        """
        self.add_row(row_of(line), len(line))

    def add_row(self, row: Mapping[str, str | int | None], size: int = 0) -> None:
        """Add a row. Its missing cells are empty.

        Args:
            row: The row.
            size: Its approximate size in bytes.
        """
        for name, cells in self._cells.items():
            cells.append(row.get(name))
        self.rows += 1
        self._waiting += 1
        self._size += size
        if self._waiting >= _BATCH_ROWS or self._size >= _BATCH_SIZE:
            self._end_batch()

    def _end_batch(self) -> None:
        arrays = [self._pa.array(self._cells[field.name], type=field.type) for field in self._schema]
        batch = self._pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self.arrow_bytes += batch.nbytes
        self._batches.append(batch)
        self._cells = {name: [] for name in self._cells}
        self._waiting = self._size = 0

    def table(self) -> Any:
        """Return the table of all rows."""
        self._end_batch()
        return self._pa.Table.from_batches(self._batches, schema=self._schema)
