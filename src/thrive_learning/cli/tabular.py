"""Records as a table, Parquet or CSV: a batch of rows at a time, so that memory stays flat."""

import datetime as dt
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thrive_learning.errors import ThriveError

FORMATS = ("parquet", "csv")

#: The columns, their types as Arrow calls them, and the names on the wire.
COLUMNS: dict[str, tuple[str, str | None]] = {
    "id": ("string", "id"),
    "type": ("string", "type"),
    "user": ("string", "user"),
    "date": ("timestamp[us, tz=UTC]", "date"),
    "context_id": ("string", "contextId"),
    "context_type": ("string", "contextType"),
    "name": ("string", "name"),
    "data": ("string", "data"),
    "with_": ("string", "with"),
    "extra": ("string", None),
}

_KNOWN = {wire for _, wire in COLUMNS.values()}
_AS_JSON = {"data", "with_"}
_BATCH_ROWS = 16_384
_BATCH_BYTES = 8 * 1024 * 1024
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - see _microseconds
_MICROSECOND = dt.timedelta(microseconds=1)

Row = dict[str, str | int | None]


class TableError(ThriveError):
    """Records could not be turned into a table."""


def check_arrow() -> None:
    """Find out whether pyarrow is there, before anything is fetched.

    Raises:
        ModuleNotFoundError: The extra `arrow` is not installed.
    """
    importlib.import_module("pyarrow")


def convert(source: Path, target: Path, form: str) -> int:
    """Write the records of a file as a table, in the place of what is there, once it is whole.

    Args:
        source: The records, one JSON object a line.
        target: The table.
        form: One of `FORMATS`.

    Returns:
        How many rows there are.

    Raises:
        TableError: A line is no record, or the table cannot be written.
    """
    unfinished = target.with_name(f"{target.name}.tmp")
    try:
        rows = _write(source, unfinished, form)
        unfinished.replace(target)
    except OSError as error:
        # pyarrow's own have their text and no more.
        problem = os.strerror(error.errno) if error.errno else str(error)
    else:
        return rows
    finally:
        unfinished.unlink(missing_ok=True)
    raise TableError(f"{target} cannot be written: {problem}")


def _write(source: Path, target: Path, form: str) -> int:
    pa: Any = importlib.import_module("pyarrow")
    schema = arrow_schema(pa)
    rows = 0
    with target.open("wb") as file:
        if form == "parquet":
            writer = importlib.import_module("pyarrow.parquet").ParquetWriter(file, schema)
        else:
            writer = importlib.import_module("pyarrow.csv").CSVWriter(file, schema)
        with writer:
            for batch in _batches(source):
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
                rows += len(batch)
        file.flush()
        os.fsync(file.fileno())
    return rows


def arrow_schema(pa: Any) -> Any:
    """Give the schema of the table, for pyarrow."""
    kinds = {"string": pa.string(), "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, (kind, _) in COLUMNS.items()])


def _batches(source: Path) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    with source.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                batch.append(row_of(json.loads(line)))
            except (ValueError, TypeError, AttributeError, RecursionError):
                problem = f"{source}, line {number}, is no record: was the file edited?"
                raise TableError(problem) from None
            size += len(line)
            if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    yield batch


def row_of(record: dict[str, Any]) -> Row:
    """Give a record's row. A field that is missing, and one that is null, is empty."""
    row: Row = {}
    for name, (_, wire) in COLUMNS.items():
        value: Any = record.get(wire) if wire else {k: v for k, v in record.items() if k not in _KNOWN}
        if value is None or (wire is None and not value):
            row[name] = None
        elif name == "date":
            row[name] = _microseconds(value)
        elif name in _AS_JSON or wire is None:
            row[name] = _json(value)
        else:
            row[name] = _encodable(value)
    return row


def _microseconds(text: str) -> int:
    # Counted, and not converted: the first and the last days of the calendar have no UTC in Python.
    date = dt.datetime.fromisoformat(text)
    offset = date.utcoffset() or dt.timedelta()
    return (date.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if _encodable(text) == text else json.dumps(value, separators=(",", ":"))


def _encodable(text: str) -> str:
    """Give text without lone surrogates, which JSON can say and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
