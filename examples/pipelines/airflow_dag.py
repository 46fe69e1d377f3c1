"""Export activity records each day with Airflow 3.

Put this file and `export_day.py` into the folder of your DAGs. The credentials come from the environment of
the workers. EXPORT_FOLDER is the folder of the files.
"""

import datetime as dt
import os
from pathlib import Path

from airflow.sdk import CronDataIntervalTimetable, dag, task
from airflow.sdk.exceptions import AirflowFailException
from export_day import export_day

from thrive_learning import ThriveClient, ThriveError


@dag(
    # The day before, two hours after its end, because records may arrive late. With a text alone, Airflow 3
    # gives a run a period without length.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=True,
    max_active_runs=1,
)
def thrive_export() -> None:
    """Write one file for each day."""

    @task(retries=3, retry_delay=dt.timedelta(minutes=5), execution_timeout=dt.timedelta(hours=1))
    def export_activities(data_interval_start: dt.datetime | None = None) -> str:
        """Return the path of the file. Airflow runs the task again after a transient failure only."""
        if data_interval_start is None:
            raise AirflowFailException("The run has no logical date, so no day. Trigger it with one.")
        try:
            with ThriveClient.from_env() as client:
                path = export_day(client, data_interval_start.date(), Path(os.environ["EXPORT_FOLDER"]))
        except ThriveError as error:
            if error.is_transient:
                raise
            raise AirflowFailException(str(error)) from None
        return str(path)

    export_activities()


thrive_export()
