"""Export the activity records of one day. The programs for Airflow and Dagster call this."""

import datetime as dt
import tempfile
from pathlib import Path

from thrive_learning import ThriveClient


def export_day(client: ThriveClient, day: dt.date, folder: Path) -> Path:
    """Write the records of a day, one JSON object a line, and replace the file of an earlier run.

    Args:
        client: A client, which stays open.
        day: The day in UTC.
        folder: The folder of the file `day=2026-01-31.ndjson`; created if it is missing.

    Raises:
        ThriveError: A page of records could not be read. The file is as it was before.
    """
    begin = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = begin + dt.timedelta(days=1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"day={day}.ndjson"
    # A reader never sees half a file, and two runs at once do not mix theirs.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as unfinished:
        part = Path(unfinished, path.name)
        with (
            part.open("w", encoding="utf-8") as file,
            client.activities.iterate(since=begin - dt.timedelta(seconds=1), until=end) as records,
        ):
            for activity in records:
                # The API does not document whether a period includes its ends, so this decides.
                if activity.date is not None and begin <= activity.date < end:
                    file.write(activity.to_json() + "\n")
        part.replace(path)
    return path
