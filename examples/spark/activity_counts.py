"""Count exported activity records by type with Spark 4, and read their data.

Run it with `spark-submit activity_counts.py FOLDER 2026-01-01 2026-02-01`. The folder is what
`thrive activity export` has written with `--partition-by day`, or with `--dask`. The second day is not
included.
"""

import argparse
import datetime as dt
import sys

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as in Spark's documentation


def read_records(spark: SparkSession, folder: str, since: dt.date, until: dt.date) -> DataFrame:
    """Return the records of some days in UTC. The folders of other days are not opened.

    Args:
        spark: A session whose time zone is UTC.
        folder: The folder of the export.
        since: The first day.
        until: The day after the last one.
    """
    records = spark.read.parquet(folder).where((F.col("date") >= since) & (F.col("date") < until))
    if "day" in records.columns:  # with --partition-by
        records = records.where((F.col("day") >= since) & (F.col("day") < until))
    return records


def count_by_type(records: DataFrame) -> DataFrame:
    """Return the number of records, and of people who have one, by type."""
    return (
        records.groupBy("type")
        .agg(F.count("*").alias("records"), F.count_distinct("user").alias("people"))
        .orderBy(F.desc("records"), "type")
    )


def read_progress(records: DataFrame) -> DataFrame:
    """Return the progress of people in percent.

    `data` is JSON text whose members differ from record to record: the percentage is 62.5 in one and "45" in
    another. A value that is not a number is null.
    """
    data = F.try_parse_json("data")
    percent = F.try_variant_get(data, "$.progresspercentage", "double")
    return records.select("id", "user", "contextId", percent.alias("percent")).where(percent.isNotNull())


def main(folder: str, since: dt.date, until: dt.date) -> None:
    """Print the counts and the average progress."""
    spark = (
        SparkSession.builder.appName("activity-counts")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    records = read_records(spark, folder, since, until)
    count_by_type(records).show(100, truncate=False)
    read_progress(records).agg(F.round(F.avg("percent"), 1).alias("average progress")).show()
    spark.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    for day in ("since", "until"):
        parser.add_argument(day, type=dt.date.fromisoformat, help="such as 2026-01-01")
    try:
        main(**vars(parser.parse_args()))
    except AnalysisException as error:  # such as a folder that is missing
        sys.exit(str(error))
