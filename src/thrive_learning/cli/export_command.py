"""`thrive activity export`: many records into a file."""

import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import click

from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.options import Target, talks_to_the_api
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import say

if TYPE_CHECKING:
    from thrive_learning.cli.export_run import Sink, Tally
    from thrive_learning.cli.id_sources import IdSource
    from thrive_learning.settings import Settings

_EXPORT = """\b
Examples:
  thrive activity export ids.txt -o records.ndjson --sandbox
  thrive activity export ids.txt -o records.ndjson --sandbox --resume
  thrive activity export users.csv --column activity -o users.ndjson
  thrive activity export ids.txt -o records.parquet --concurrency 16
  thrive activity export - -o - --sandbox --quiet < ids.txt

IDS is a file with an ID a line, where blank lines and those that begin with #
are skipped; a CSV file (.csv) with a header; NDJSON (.ndjson, .jsonl); or - for
stdin. An ID that stands in it several times is fetched once.

Each record becomes a line of JSON as it was received, in the order in which
they come. An ID that fails becomes a line of records.failures.ndjson: id,
error, message, status, and retryable, which says if trying again may help.

If anything ends the export, the same command with --resume goes on: what is in
the output is neither fetched nor written again, and retryable failures are
tried again. It needs records.ndjson.journal, which can go once all is done.

For Parquet and CSV, the records are written to .ndjson first, and turned into a
table at the end. That needs the extra 'arrow'.

Exit code 9: the export came to its end, and some records are missing.
"""

_FORMATS = ("ndjson", "parquet", "csv")  # tabular.FORMATS, which --help does not load
_ID_FORMATS = ("text", "csv", "ndjson")  # id_sources.FORMATS
_SECONDS = click.FloatRange(min=0, min_open=True)


class _Outputs(NamedTuple):
    """Where the records go.

    Attributes:
        records: The NDJSON file; None for stdout.
        table: The table; None if there is none.
        form: The table's format.
    """

    records: Path | None
    table: Path | None
    form: str


class _Input(NamedTuple):
    """The open file of IDs, and how long it is; None where nobody knows."""

    file: BinaryIO
    size_bytes: int | None


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
@click.option("--from", "from_", type=Choice(_ID_FORMATS), help="What IDS is.  [default: as its ending says]")
@click.option("--column", metavar="NAME", help="The column of CSV that has the IDs.  [default: id]")
@click.option("--field", metavar="NAME", help="The field of NDJSON that has the IDs.  [default: id]")
@click.option("--to", type=Choice(_FORMATS), help="What to write.  [default: as FILE's ending says]")
@click.option(
    "--resume", is_flag=True, help="Go on with an export that was begun; begin it if there is none."
)
@click.option("--force", is_flag=True, help="Overwrite an output that is there.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="How many requests may be in flight.",
)
@click.option("--deadline", type=_SECONDS, metavar="SECONDS", help="End the export after this long.")
@click.option("--quiet", is_flag=True, help="No progress and no summary on stderr; errors all the same.")
@talks_to_the_api
def export(  # noqa: PLR0913 - its options
    target: Target,
    *,
    ids: str,
    output: str,
    from_: str | None,
    column: str | None,
    field: str | None,
    to: str | None,
    resume: bool,
    force: bool,
    concurrency: int,
    deadline: float | None,
    quiet: bool,
) -> None:
    """Write many activity records to a file."""
    # Neither --help nor the other commands need any of these.
    from thrive_learning.cli import export_progress, export_run, id_sources, tabular  # noqa: PLC0415

    outputs = _outputs(output, to)
    if resume and (force or outputs.records is None):
        other = "--force" if force else "-o -"
        raise click.UsageError(f"--resume and {other} exclude each other.")
    if outputs.table is not None:
        tabular.check_arrow()
        if outputs.table.exists() and not (resume or force):
            raise click.UsageError(f"{outputs.table} is there already: --resume or --force overwrites it.")
    source = _source(ids, from_, column, field)
    settings = None if target.sandbox else target.settings()
    tally = export_run.Tally()
    with (
        _opened(ids, source, outputs) as given,
        _told(tally, outputs, quiet=quiet),
        _sink(outputs, _origin(settings), resume=resume, force=force) as sink,
        target.client(settings) as client,
    ):
        tally.begin(sink, given.size_bytes)
        found = id_sources.ids_in(export_run.counted(given.file, source.name, tally), source)
        to_terminal = outputs.records is None and sys.stdout.isatty()
        with (
            client.activities.get_many(
                export_run.unseen(found, sink.done, tally), concurrency=concurrency, deadline=deadline
            ) as results,
            export_progress.shown(tally.advance, quiet=quiet, to_terminal=to_terminal) as show,
        ):
            export_run.take(results, sink, tally, show)
    if outputs.records is not None and outputs.table is not None:
        rows = tabular.convert(outputs.records, outputs.table, outputs.form)
        if not quiet:
            say(f"{rows:,} {'row is' if rows == 1 else 'rows are'} in {outputs.table}")
    if tally.is_partial:
        raise click.exceptions.Exit(ExitCode.INCOMPLETE)


def _outputs(output: str, to: str | None) -> _Outputs:
    """Work out the names of the files: that of the records and that of the table differ in their endings."""
    path = Path(output)
    ending = path.suffix.lower().removeprefix(".")
    form = to or (ending if ending in _FORMATS else "ndjson")
    if ending in _FORMATS and ending not in {"ndjson", form}:
        raise click.UsageError(f"--to {form} and -o {output} contradict each other.")
    if output == "-":
        if form != "ndjson":
            raise click.UsageError(f"--to {form} needs a file: name it with -o.")
        return _Outputs(None, None, form)
    if form == "ndjson":
        return _Outputs(path, None, form)
    stem = path.stem if ending in _FORMATS else path.name
    return _Outputs(path.with_name(f"{stem}.ndjson"), path.with_name(f"{stem}.{form}"), form)


def _source(ids: str, form: str | None, column: str | None, field: str | None) -> "IdSource":
    from thrive_learning.cli.id_sources import IdSource, format_of  # noqa: PLC0415 - see above

    asked = "csv" if column else "ndjson" if field else format_of(ids)
    found = form or asked
    for option, value, fits in (("--column", column, "csv"), ("--field", field, "ndjson")):
        if value and found != fits:
            raise click.UsageError(f"{option} is for {fits}, and IDS is read as {found}: see --from.")
    return IdSource("stdin" if ids == "-" else ids, found, column or field or "id")


def _origin(settings: "Settings | None") -> str:
    if settings is None:
        return "the sandbox"
    return f"region {settings.region.name}, tenant {settings.credentials.tenant_id}"


@contextlib.contextmanager
def _opened(ids: str, source: "IdSource", outputs: _Outputs) -> Generator[_Input, None, None]:
    """Open the input, which must be none of the files that are written."""
    if ids == "-":
        yield _Input(sys.stdin.buffer, None)
        return
    path = Path(ids)
    for written in _written(outputs):
        if written.exists() and written.samefile(path):
            raise click.UsageError(f"{source.name} is a file of the export itself: name another output.")
    with path.open("rb") as file:
        yield _Input(file, path.stat().st_size if path.is_file() else None)


def _written(outputs: _Outputs) -> list[Path]:
    from thrive_learning.cli.export_files import ExportPaths  # noqa: PLC0415 - see above

    if outputs.records is None:
        return []
    return [*ExportPaths.of(outputs.records), *([outputs.table] if outputs.table else [])]


@contextlib.contextmanager
def _sink(outputs: _Outputs, origin: str, *, resume: bool, force: bool) -> "Generator[Sink, None, None]":
    from thrive_learning.cli.export_files import ExportFiles, ExportPaths  # noqa: PLC0415 - see above
    from thrive_learning.cli.export_progress import count_of  # noqa: PLC0415 - see above
    from thrive_learning.cli.export_run import StandardOutput  # noqa: PLC0415 - see above

    if outputs.records is None:
        yield StandardOutput()
        return
    with ExportFiles(ExportPaths.of(outputs.records), origin, resume=resume, force=force) as files:
        if files.cut_bytes:
            say(f"cut {count_of(files.cut_bytes, 'byte')} off {outputs.records}: a record that was not whole")
        yield files


@contextlib.contextmanager
def _told(tally: "Tally", outputs: _Outputs, *, quiet: bool) -> Generator[None, None, None]:
    """Say at the end what was done, and how to go on if that was not all."""
    again = "the same command with --resume goes on from there"
    try:
        yield
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt):
        if tally.has_begun:
            if not quiet:
                _summarise(tally, outputs)
            if outputs.records is not None:
                say(f"what came so far is safe in {outputs.records}: {again}")
        raise
    if not quiet:
        _summarise(tally, outputs)
        if not tally.is_whole:
            say(f"the deadline came before the end of the IDs{f': {again}' if outputs.records else ''}")


def _summarise(tally: "Tally", outputs: _Outputs) -> None:
    from thrive_learning.cli.export_files import ExportPaths  # noqa: PLC0415 - see above

    for line in tally.summary(None if outputs.records is None else ExportPaths.of(outputs.records)):
        say(line)
