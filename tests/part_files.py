"""Writes the files of parts as workers of an export by a cluster do."""

import importlib
import json
from pathlib import Path
from typing import Any


def write_part(path: Path, *, rows: int = 2, unreadable: int = 0) -> None:
    """Write a complete part with IDs that count from 0.

    Args:
        path: Its file.
        rows: The number of records.
        unreadable: The number of items without an ID.
    """
    facts = {"part": path.name, "rows": rows, "unreadable": unreadable, "missing": 0}
    table: Any = importlib.import_module("pyarrow").table({"id": [f"{row:024x}" for row in range(rows)]})
    table = table.replace_schema_metadata({"thrive_export": json.dumps(facts)})
    importlib.import_module("pyarrow.parquet").write_table(table, path, write_page_checksum=True)
