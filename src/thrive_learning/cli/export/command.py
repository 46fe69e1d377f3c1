"""`thrive activity export`: its options."""

from typing import Any

import click
from click.core import ParameterSource

from thrive_learning._budget import MAX_CONNECTIONS
from thrive_learning.cli.filters import FilterOptions, Span, filter_options
from thrive_learning.cli.options import Seconds, Target, Whole, talks_to_the_api
from thrive_learning.cli.suggestions import Choice

_EXPORT = """\b
Examples:
  thrive activity export ids.txt -o records.ndjson --sandbox
  thrive activity export ids.txt -o records.ndjson --sandbox --resume
  thrive activity export users.csv --column activity -o users.ndjson
  thrive activity export ids.txt -o records.parquet --concurrency 16
  thrive activity export - -o - --sandbox --quiet < ids.txt
  thrive activity export --since 2026-01-01 -o records.parquet
  thrive activity export --since 30d --type completed -o records.csv
  thrive activity export --since 2025-01-01 --partition-by day -o activities
  thrive activity export --since 30d --state run.json -o 'run-{until}.ndjson'

IDS is a file with one ID a line, where blank lines and lines that begin with #
are skipped; CSV with a header (.csv, .tsv); NDJSON (.ndjson, .jsonl); a JSON
array (.json); or - for stdin. It may be gzip. An ID that is repeated is fetched
once, and empty cells are skipped and counted.

Without IDS, all records since a time are exported, each once. A TIME is
2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00+02:00, or how long ago: 30m, 24h,
7d or 2w. It is in UTC unless it names a time zone. The end of the period is
fixed when the export begins, --resume included.

--state is for jobs that run again and again: the next run begins where this one
ended, less --overlap for records that arrive late, and drops those that were
exported before. The first run needs --since; later ones ignore it. Each run
writes an output of its own: {until} in its name stands for the end of the
period. A run that was interrupted is continued first, without --resume.

--partition-by day writes a folder with files such as
day=2026-01-31/part-….parquet, the layout that DuckDB, Spark, and Athena document
for partitions. The day is that of the record's date in UTC.

Each record becomes a line of JSON as it was received, in the order in which
they come. An ID that fails becomes a line of records.failures.ndjson.

If anything ends the export, the same command with --resume continues it: what
is in the output is neither fetched nor written again, and IDs that failed are
fetched again, unless the ID is not valid or the API itself says that there is
no such record. It needs records.ndjson.journal, which can be deleted once all
is done.

For Parquet and CSV, the records are written to .ndjson first, and turned into a
table at the end. That needs the extra 'arrow'.

A device or a FIFO is written as a stream, like stdout, and cannot be resumed.

Exit code 9: the export ended, and some records are missing. The summary says
how many of them --resume would fetch. Exit code 10: there are no IDs, or they
cannot be read. If the settings are wrong, or nothing else would work either,
the export ends after a few failures, with the exit code of the reason.
"""

_FORMATS = ("ndjson", "parquet", "csv")  # the formats of export_output, which --help does not load
_ID_FORMATS = ("text", "csv", "ndjson", "json")


@click.command(epilog=_EXPORT)
@click.argument(
    "ids", metavar="[IDS]", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@filter_options
@click.option(
    "--state",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Begin where the last run with this file ended.",
)
@click.option(
    "--overlap",
    type=Span(),
    default="5m",
    show_default=True,
    metavar="SPAN",
    help="With --state: how late a record may arrive, such as 5m, 12h or 2d.",
)
@click.option(
    "--partition-by",
    type=Choice(("day",)),
    help="Write a folder with files for each day, Parquet unless --to says otherwise.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(allow_dash=True),  # for shells that complete
    help="Where the records go; - for stdout.",
)
@click.option("--from", "from_", type=Choice(_ID_FORMATS), help="What IDS is.  [default: by its extension]")
@click.option("--column", metavar="NAME", help="The column of CSV that has the IDs.  [default: id]")
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help="What separates the cells of CSV, such as ';' or '\\t'.  [default: as its header shows]",
)
@click.option("--field", metavar="NAME", help="The field of JSON that has the IDs.  [default: id]")
@click.option("--to", type=Choice(_FORMATS), help="What to write.  [default: by the extension of FILE]")
@click.option(
    "--spreadsheet-safe",
    is_flag=True,
    help="Put ' in front of cells of CSV that a spreadsheet would run as a formula.",
)
@click.option("--resume", is_flag=True, help="Continue an export; begin it if there is none.")
@click.option("--force", is_flag=True, help="Overwrite an output that is there.")
@click.option(
    "--concurrency",
    type=Whole(1, MAX_CONNECTIONS),
    default=32,
    show_default=True,
    metavar="N",
    help="How many requests may be in flight.",
)
@click.option("--deadline", type=Seconds(), metavar="SECONDS", help="End the export after this long.")
@click.option("--quiet", is_flag=True, help="No progress and no summary on stderr; errors all the same.")
@talks_to_the_api
def export(target: Target, ids: str | None, **given: Any) -> None:
    """Write many activity records to a file: those with IDS, or those of a period."""
    # Neither --help nor the other commands need any of it.
    from thrive_learning.cli.export.period import PeriodOptions  # noqa: PLC0415
    from thrive_learning.cli.export.period_runs import run_period  # noqa: PLC0415
    from thrive_learning.cli.export.run import ExportOptions, run_export  # noqa: PLC0415

    _check_mode(ids)
    given["verbose"] = target.verbose
    if ids is None:
        run_period(target, PeriodOptions(**{name: given[name] for name in PeriodOptions._fields}))
    else:
        given["ids"] = ids
        run_export(target, ExportOptions(**{name: given[name] for name in ExportOptions._fields}))


#: The options that belong to one of the two kinds of export alone.
_FOR_IDS = ("from_", "column", "delimiter", "field", "concurrency")
_FOR_PERIODS = (*FilterOptions._fields, "state", "overlap", "partition_by")


def _check_mode(ids: str | None) -> None:
    """Raise if the options are those of the other kind of export, or of neither."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in (_FOR_IDS if ids is None else _FOR_PERIODS)
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if ids is not None and given:
        raise click.UsageError(
            f"{given[0]} is for an export without IDS, of all records of a period. Leave out one of the two."
        )
    if ids is None and not context.params["since"] and not context.params["state"]:
        raise click.UsageError("Name a file with IDS, or use --since to export all records of a period.")
    if given:
        raise click.UsageError(f"{given[0]} is for an export by IDS. Leave it out.")
