"""`thrive activity export`: its options."""

from typing import Any

import click

from thrive_learning._budget import MAX_CONNECTIONS
from thrive_learning.cli.options import Seconds, Target, Whole, talks_to_the_api
from thrive_learning.cli.suggestions import Choice

_EXPORT = """\b
Examples:
  thrive activity export ids.txt -o records.ndjson --sandbox
  thrive activity export ids.txt -o records.ndjson --sandbox --resume
  thrive activity export users.csv --column activity -o users.ndjson
  thrive activity export ids.txt -o records.parquet --concurrency 16
  thrive activity export - -o - --sandbox --quiet < ids.txt

IDS is a file with one ID a line, where blank lines and lines that begin with #
are skipped; CSV with a header (.csv, .tsv); NDJSON (.ndjson, .jsonl); a JSON
array (.json); or - for stdin. It may be gzip. An ID that is repeated is fetched
once, and empty cells are skipped and counted.

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
@click.argument("ids", metavar="IDS", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
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
def export(target: Target, **given: Any) -> None:
    """Write many activity records to a file."""
    # Neither --help nor the other commands need any of it.
    from thrive_learning.cli.export.run import ExportOptions, run_export  # noqa: PLC0415

    run_export(target, ExportOptions(**given))
