"""`thrive activity export`: its options and help."""

from typing import Any

import click
from click.core import ParameterSource

from thrive_learning._budget import MAX_CONNECTIONS
from thrive_learning.cli.filters import SPAN, FilterOptions, filter_options
from thrive_learning.cli.options import SECONDS, Target, max_body_option, talks_to_the_api, whole
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
  thrive activity export --since 2024-06-01 --dask local -o lake --sandbox

IDS is a file, or - for stdin: text with one ID per line, CSV with a header (.csv,
.tsv), NDJSON (.ndjson, .jsonl), or a JSON array (.json), plain or gzip. Repeated
IDs are fetched once. Empty cells, blank lines, and text lines that begin with #
are skipped.

Without IDS, all records of a period are exported, each once. A TIME is
2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00+02:00, or how long ago: 30m,
24h, 7d, or 2w. Times without a zone are in UTC. Without --until, the period ends
when the export begins.

Records are written as received, one JSON object per line. IDs that fail go to a
file beside the output, such as records.failures.ndjson. Parquet and CSV are
converted from .ndjson at the end, and need the extra 'arrow'.

--resume continues an interrupted export from its journal, such as
records.ndjson.journal. Records in the output are not fetched again. IDs that
failed are, unless the ID is not valid or the API has no such record. Output to
stdout, a FIFO, or a device cannot be resumed.

--state is for scheduled jobs. Each run begins --overlap before the newest record of
the last one, for records that arrive late, and skips records that were already
exported. The first run needs --since; later runs ignore it. Each run needs its
own output: {until} in the name is replaced by the end of the period. An
interrupted run is continued first, without --resume.

--partition-by day writes files such as day=2026-01-31/part-….parquet, the Hive
layout that DuckDB, Spark, and Athena document. Days are in UTC.

--dask exports a period with several processes, and needs the extra 'dask'. 'local'
starts them on this machine. The address of a scheduler uses the workers of that Dask
cluster, which need the same folder at the same path, and settings of their own for
the secret. All share one access token and one rate limit. The folder has Parquet
files, each with the records of a part of the period.

Exit code 9 means that records are missing. The summary says how many of them
--resume would fetch. If no other ID could succeed, such as when the credentials
are rejected, the export stops early with the exit code of that error.
"""

_FORMATS = ("ndjson", "parquet", "csv")  # those of `output`, which --help does not load
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
    help="Export what is new since the last run with this state file.",
)
@click.option(
    "--overlap",
    type=SPAN,
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="With --state: how late records may arrive, such as 5m, 12h, or 2d.",
)
@click.option(
    "--partition-by",
    type=Choice(("day",)),
    help="Write a folder with files for each day, in Parquet unless --to is used.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Export to a folder with several processes: local, or a Dask scheduler such as tcp://10.0.0.5:8786.",
)
@click.option(
    "--workers",
    type=whole(1, 1000),
    metavar="N",
    help="With --dask local: number of worker processes.  [default: one per core]",
)
@click.option(
    "--records-per-part",
    type=whole(1, 10_000_000),
    metavar="N",
    help="With --dask: maximum number of records in a file when they are counted.  [default: 100000]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(allow_dash=True),  # for shells that complete
    help="Output file or folder; - for stdout.",
)
@click.option("--from", "from_", type=Choice(_ID_FORMATS), help="Format of IDS.  [default: by its extension]")
@click.option("--column", metavar="NAME", help="CSV column with the IDs.  [default: id]")
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help="CSV delimiter, such as ';' or '\\t'.  [default: detected from the header]",
)
@click.option("--field", metavar="NAME", help="JSON field with the IDs.  [default: id]")
@click.option("--to", type=Choice(_FORMATS), help="Output format.  [default: by the extension of FILE]")
@click.option(
    "--spreadsheet-safe",
    is_flag=True,
    help="Add ' before CSV cells that a spreadsheet would run as a formula.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted export, or begin one.")
@click.option("--force", is_flag=True, help="Overwrite existing output.")
@click.option(
    "--concurrency",
    type=whole(1, MAX_CONNECTIONS),
    default=32,
    show_default=True,
    metavar="N",
    help=f"Maximum number of requests in flight, up to {MAX_CONNECTIONS:,}.",
)
@click.option("--deadline", type=SECONDS, metavar="SECONDS", help="Stop the export after this long.")
@click.option("--quiet", is_flag=True, help="Show only errors, without progress, warnings, or a summary.")
@max_body_option
@talks_to_the_api
def export(target: Target, ids: str | None, **given: Any) -> None:
    """Export activity records to a file or folder, by ID or by period."""
    # Imported here because neither --help nor the other commands need them.
    from thrive_learning.cli.export.period import PeriodOptions  # noqa: PLC0415
    from thrive_learning.cli.export.period_runs import run_period  # noqa: PLC0415
    from thrive_learning.cli.export.run import ExportOptions, run_export  # noqa: PLC0415

    _check_mode(ids)
    given["verbose"] = target.verbose
    if given["dask"] is not None:
        from thrive_learning.cli.export.cluster.run import ClusterOptions, run_cluster  # noqa: PLC0415

        run_cluster(target, ClusterOptions(**{name: given[name] for name in ClusterOptions._fields}))
    elif ids is None:
        run_period(target, PeriodOptions(**{name: given[name] for name in PeriodOptions._fields}))
    else:
        given["ids"] = ids
        run_export(target, ExportOptions(**{name: given[name] for name in ExportOptions._fields}))


#: The options that apply to only one of the two kinds of export.
_FOR_IDS = ("from_", "column", "delimiter", "field", "concurrency")
_FOR_CLUSTERS = ("dask", "workers", "records_per_part")
_FOR_PERIODS = (*FilterOptions._fields, "state", "overlap", "partition_by", *_FOR_CLUSTERS)

#: The options that an export with --dask cannot have, and what to do instead.
_NOT_FOR_CLUSTERS = {
    "state": "Export the whole period, or remove --dask to add new records with each run.",
    "partition_by": "Remove one of them, because each file of --dask has a part of the period.",
    "spreadsheet_safe": "It applies only to CSV, and --dask writes Parquet. Remove one of them.",
}


def _check_mode(ids: str | None) -> None:
    """Raise if no kind of export was chosen, or if two options exclude each other."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in (_FOR_IDS if ids is None else _FOR_PERIODS)
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if ids is not None and given:
        raise click.UsageError(
            f"{given[0]} is for an export of a period and cannot be used with IDS. Remove one of them."
        )
    if ids is None and not context.params["since"] and not context.params["state"]:
        raise click.UsageError(
            "No records are selected. Pass a file with IDs, or use --since to export a period."
        )
    if given:
        raise click.UsageError(
            f"{given[0]} is for an export by IDs and cannot be used with a period. Remove it."
        )
    _check_cluster_options(context)
    if context.params["resume"] and context.params["force"]:
        raise click.UsageError("--resume and --force cannot be used together. Remove one of them.")
    is_overlapping = context.get_parameter_source("overlap") is ParameterSource.COMMANDLINE
    if is_overlapping and not context.params["state"]:
        raise click.UsageError("--overlap has no effect without --state. Add --state FILE, or remove it.")


def _check_cluster_options(context: click.Context) -> None:
    """Raise if an option needs --dask, or cannot be used with it."""
    has_dask = context.params["dask"] is not None
    others = _NOT_FOR_CLUSTERS if has_dask else {"workers": "", "records_per_part": ""}
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in others or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if has_dask:
            raise click.UsageError(f"{parameter.opts[0]} cannot be used with --dask. {others[name]}")
        raise click.UsageError(
            f"{parameter.opts[0]} has no effect without --dask. Add --dask local, or remove it."
        )
