"""Export activity records each day with Dagster.

Run it with `dagster dev -f dagster_assets.py`. The credentials come from the environment. EXPORT_FOLDER is
the folder of the files.
"""

import datetime as dt
import os
from pathlib import Path

import dagster as dg
from export_day import export_day

from thrive_learning import ThriveClient, ThriveError


@dg.asset(partitions_def=dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC"))
def thrive_activities(context: dg.AssetExecutionContext) -> None:
    """Write the records of one day to a file."""
    day = dt.date.fromisoformat(context.partition_key)
    try:
        with ThriveClient.from_env() as client:
            path = export_day(client, day, Path(os.environ["EXPORT_FOLDER"]))
    except ThriveError as error:
        if not error.is_transient:  # such as rejected credentials
            raise dg.Failure(str(error), allow_retries=False) from None
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=300) from error
    context.add_output_metadata({"path": dg.MetadataValue.path(path)})


export_activities = dg.define_asset_job("export_activities", [thrive_activities])
defs = dg.Definitions(
    assets=[thrive_activities],
    jobs=[export_activities],
    # The day before, two hours after its end, because records may arrive late.
    schedules=[dg.build_schedule_from_partitioned_job(export_activities, hour_of_day=2)],
)
