"""Load new activity records into DuckDB with dlt.

Put this file and `activity_rows.py` into one folder, and run it as often as you like. The credentials come
from the environment. OVERLAP_DAYS is how late records may arrive or be corrected.
"""

import datetime as dt
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dlt
from activity_rows import COLUMNS, Row, row_of
from dlt.common.pipeline import LoadInfo
from dlt.common.schema.typing import TColumnSchema
from dlt.pipeline.exceptions import PipelineStepFailed

from thrive_learning import ThriveClient

SINCE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)  # where the first run begins
try:
    OVERLAP_S = float(os.environ.get("OVERLAP_DAYS", "2")) * 24 * 3600
except ValueError as error:
    sys.exit(f"OVERLAP_DAYS is not a number: {error}")
PAGE = 1000

# Without types, dlt would create columns for fields of the first records only.
TYPES: dict[str, TColumnSchema] = {
    **{name: {"data_type": "text", "nullable": name != "id"} for name in COLUMNS},
    "date": {"data_type": "timestamp", "timezone": True, "precision": 6, "nullable": True},
}


@dlt.resource(primary_key="id", write_disposition="merge", columns=TYPES)
def activities(
    dates: dlt.sources.incremental[dt.datetime] = dlt.sources.incremental(  # noqa: B008 - dlt's interface
        "date",
        initial_value=SINCE,
        lag=OVERLAP_S,
        on_cursor_value_missing="include",
        allow_external_schedulers=False,  # the interval of a scheduler would have no overlap
    ),
) -> Iterator[list[Row]]:
    """Yield pages of the records since the newest one that was loaded, and of the overlap before it."""
    with (
        ThriveClient.from_env() as client,
        client.activities.iterate(since=dates.start_value, per_page=PAGE) as records,
    ):
        rows = map(row_of, records)
        while page := list(itertools.islice(rows, PAGE)):
            yield page
        if records.unreadable:
            logging.getLogger(__name__).warning("left out items without an ID: %d", records.unreadable)


def load(database: str = "activities.duckdb") -> LoadInfo:
    """Load all records that are new or have changed into the table `thrive.activities`.

    Args:
        database: The file of the database. It also keeps the date of the newest record for the next run.

    Raises:
        PipelineStepFailed: A step failed. The next run begins at the same date.
    """
    file = str(Path(database).resolve())  # dlt would look for a relative path in the folder of the first run
    pipeline = dlt.pipeline(
        pipeline_name="thrive",
        dataset_name="thrive",
        # With this naming convention, columns keep the names of the API, such as contextId.
        destination=dlt.destinations.duckdb(file, naming_convention="direct"),
    )
    # dlt's default for DuckDB is INSERT statements, which take many times the memory and the time.
    return pipeline.run(activities(), loader_file_format="jsonl")


if __name__ == "__main__":
    try:
        print(load())
    except PipelineStepFailed as failure:
        sys.exit(str(failure.exception))
