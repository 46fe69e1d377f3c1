"""The table in Arrow."""

from typing import Any

from thrive_learning._tables.rows import COLUMNS


def arrow_schema(pa: Any) -> Any:
    """Return the schema of the table, for pyarrow."""
    kinds = {"string": pa.string(), "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
