"""Read activity records into polars, lazily and in batches.

Put this file and `activity_rows.py` into one folder. The credentials come from the environment.
"""

import datetime as dt
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from activity_rows import COLUMNS, row_of
from polars.io.plugins import register_io_source

from thrive_learning import ThriveClient, ThriveError

SCHEMA = {name: pl.String() for name in COLUMNS} | {
    "type": pl.Categorical(),
    "date": pl.Datetime("us", "UTC"),
}
ROWS = 10_000  # the largest number of rows of a batch


def scan_activities(
    client: ThriveClient, *, since: dt.datetime | None = None, until: dt.datetime | None = None
) -> pl.LazyFrame:
    """Return a lazy frame of the records of a period. Each query on it requests the records again.

    Args:
        client: A client, which must be open when a query runs.
        since: The earliest time; None for no limit.
        until: The latest time; None for the time at which a query runs.
    """

    def batches(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        with client.activities.iterate(since=since, until=until) as records:
            rows = map(row_of, itertools.islice(records, n_rows))
            while batch := list(itertools.islice(rows, min(batch_size or ROWS, ROWS))):
                frame = pl.DataFrame({name: [row[name] for row in batch] for name in SCHEMA}, SCHEMA)
                if predicate is not None:
                    frame = frame.filter(predicate)
                yield frame if columns is None else frame.select(columns)

    return register_io_source(batches, schema=SCHEMA)


if __name__ == "__main__":
    last_week = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
    try:
        with ThriveClient.from_env() as open_client:
            activities = scan_activities(open_client, since=last_week)
            print(activities.group_by("type").len().sort("len", descending=True).collect(engine="streaming"))
            activities.filter(pl.col("type") == "completed").sink_parquet(Path("completed.parquet"))
    except ThriveError as error:
        sys.exit(f"{type(error).__name__}: {error}")
