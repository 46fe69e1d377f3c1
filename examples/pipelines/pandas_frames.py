"""Read activity records into pandas, in batches.

Put this file and `activity_rows.py` into one folder. The credentials come from the environment.
"""

import datetime as dt
import itertools
import sys
from collections.abc import Iterable, Iterator

import pandas as pd
from activity_rows import COLUMNS, Row, row_of

from thrive_learning import Activity, ThriveClient, ThriveError

DTYPES = dict.fromkeys(COLUMNS, "string") | {"type": "category", "date": "datetime64[us, UTC]"}


def frames_of(records: Iterable[Activity], rows: int = 50_000) -> Iterator[pd.DataFrame]:
    """Yield frames of at most this many rows, so that memory does not grow with the number of records.

    Args:
        records: The records, such as the result of `client.activities.iterate`.
        rows: The largest number of rows of a frame.
    """
    converted = map(row_of, records)
    while batch := list(itertools.islice(converted, rows)):
        yield _frame(batch)


def frame_of(records: Iterable[Activity]) -> pd.DataFrame:
    """Return one frame of all records.

    Args:
        records: The records, such as the result of `client.activities.iterate`.
    """
    frames = [*frames_of(records)] or [_frame([])]
    # Columns with different categories would lose their type.
    types = sorted({name for frame in frames for name in frame["type"].cat.categories})
    for frame in frames:
        frame["type"] = frame["type"].cat.set_categories(types)
    return pd.concat(frames, ignore_index=True)


def _frame(batch: list[Row]) -> pd.DataFrame:
    # One column at a time with its type, because pandas would guess another type for some values.
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in batch], dtype=dtype) for name, dtype in DTYPES.items()}
    )


if __name__ == "__main__":
    last_week = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
    try:
        with ThriveClient.from_env() as client, client.activities.iterate(since=last_week) as activities:
            for frame in frames_of(activities):
                print(frame["type"].value_counts())
    except ThriveError as error:
        sys.exit(f"{type(error).__name__}: {error}")
