"""`thrive activity export`: many records into a file."""

import contextlib
import os
import sys
from collections.abc import Generator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import click

from thrive_learning._budget import MAX_CONNECTIONS
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.options import Seconds, Target, Whole, talks_to_the_api
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import say

if TYPE_CHECKING:
    from thrive_learning._settings.resolution import Settings
    from thrive_learning.cli.export.files import ExportOrigin, ExportPaths
    from thrive_learning.cli.export.id_sources import IdSource
    from thrive_learning.cli.export.output import Output, StreamTarget
    from thrive_learning.cli.export.run import Sink
    from thrive_learning.cli.export.tally import Tally
    from thrive_learning.cli.input_lines import Readable

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
_ID_FORMATS = ("text", "csv", "ndjson", "json")  # id_sources.FORMATS
_TAB = ("\\t", "tab")  # how a tab can be written on a command line


class _Input(NamedTuple):
    """The open file of IDs, and how long it is; None where nobody knows."""

    file: "Readable"
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
def export(  # noqa: PLR0913 - its options
    target: Target,
    *,
    ids: str,
    output: str,
    from_: str | None,
    column: str | None,
    delimiter: str | None,
    field: str | None,
    to: str | None,
    spreadsheet_safe: bool,
    resume: bool,
    force: bool,
    concurrency: int,
    deadline: float | None,
    quiet: bool,
) -> None:
    """Write many activity records to a file."""
    # Neither --help nor the other commands need any of these.
    from thrive_learning.cli.export import run, tables  # noqa: PLC0415
    from thrive_learning.cli.export.id_sources import ids_in  # noqa: PLC0415
    from thrive_learning.cli.export.output import output_of  # noqa: PLC0415
    from thrive_learning.cli.export.progress import shown  # noqa: PLC0415
    from thrive_learning.cli.export.tally import Tally  # noqa: PLC0415
    from thrive_learning.cli.input_lines import InputLines  # noqa: PLC0415

    # Everything that can be checked is, before anything is created.
    outputs = output_of(output, to)
    if spreadsheet_safe and outputs.form != "csv":
        raise click.UsageError(f"--spreadsheet-safe is for CSV, and the output is {outputs.form}.")
    source = _source(ids, from_, column, delimiter, field)
    paths = _checked(outputs, resume=resume, force=force)
    settings = None if target.sandbox else target.settings()
    tally = Tally()
    with _opened(ids, source, outputs) as given, target.client(settings) as client:
        tally.size_bytes = given.size_bytes
        lines = InputLines(given.file, source.name)
        found = ids_in(run.counted(lines, tally), source, tally.note_empty)
        found = chain([next(found)], found)  # an input without IDs ends it here
        with (
            _told(tally, outputs, paths, quiet=quiet),
            _sink(outputs, paths, _origin(settings), resume=resume, force=force) as sink,
        ):
            tally.begin(sink.records, sink.kept_failures)
            wanted = run.unseen(found, sink.done, tally)
            with (
                client.activities.get_many(wanted, concurrency=concurrency, deadline=deadline) as results,
                shown(tally.advance, quiet=quiet, to_terminal=_is_terminal(outputs)) as display,
                run.pauses_shown(tally, display, quiet=quiet),
            ):
                run.take(results, sink, tally, display.show)
            if paths is not None and outputs.table is not None:
                tally.rows = tables.convert(
                    paths.output, outputs.table, outputs.form, is_spreadsheet_safe=spreadsheet_safe
                )
    if tally.is_partial:
        raise click.exceptions.Exit(ExitCode.INCOMPLETE)


def _checked(outputs: "Output", *, resume: bool, force: bool) -> "ExportPaths | None":
    """Check whether an export can begin or go on there, and return its files; None for a stream."""
    from thrive_learning.cli.export import tables  # noqa: PLC0415 - see above
    from thrive_learning.cli.export.files import ExportPaths  # noqa: PLC0415 - see above

    if resume and force:
        raise click.UsageError("--resume and --force exclude each other.")
    if not isinstance(outputs.records, Path):
        if resume:
            raise click.UsageError(
                f"cannot resume {outputs.records.name}: records are written to it as a stream. "
                "Leave out --resume, or name a file."
            )
        return None
    paths = ExportPaths.of(outputs.records)
    if outputs.table is not None:
        tables.check_arrow()
        if outputs.table.exists() and not (resume or force):
            raise click.UsageError(
                f"{outputs.table} already exists. Use --resume to continue or --force to overwrite."
            )
    paths.check(resume=resume, force=force)
    return paths


def _is_terminal(outputs: "Output") -> bool:
    """Return whether the records go to the terminal that would show the progress."""
    return not isinstance(outputs.records, Path) and outputs.records.is_stdout and sys.stdout.isatty()


def _source(
    ids: str, form: str | None, column: str | None, delimiter: str | None, field: str | None
) -> "IdSource":
    from thrive_learning.cli.export.id_sources import IdSource, format_of  # noqa: PLC0415 - see above

    guessed = format_of(ids)
    if column or delimiter:
        guessed = "csv"
    elif field and guessed not in {"ndjson", "json"}:
        guessed = "ndjson"
    found = form or guessed
    for option, value, fits in (
        ("--column", column, {"csv"}),
        ("--delimiter", delimiter, {"csv"}),
        ("--field", field, {"ndjson", "json"}),
    ):
        if value is not None and found not in fits:
            raise click.UsageError(
                f"{option} is for {' and '.join(sorted(fits))}, and IDS is read as {found}: see --from."
            )
    separator = "\t" if delimiter in _TAB else delimiter
    if separator is not None and (len(separator) != 1 or separator in '"\r\n' or separator.isalnum()):
        raise click.UsageError(f"--delimiter is {delimiter!r}. Write one character, such as ';' or '\\t'.")
    return IdSource("stdin" if ids == "-" else ids, found, column or field or "id", separator)


def _origin(settings: "Settings | None") -> "ExportOrigin":
    from thrive_learning.cli.export.files import ExportOrigin  # noqa: PLC0415 - see above

    if settings is None:
        return ExportOrigin("the sandbox")
    region = settings.region
    return ExportOrigin(f"region {region.name}, tenant {settings.credentials.tenant_id}", region.api_url)


@contextlib.contextmanager
def _opened(ids: str, source: "IdSource", outputs: "Output") -> Generator[_Input, None, None]:
    """Open the input, which must not be one of the files that are written."""
    with contextlib.ExitStack() as opened:
        file: BinaryIO = sys.stdin.buffer if ids == "-" else opened.enter_context(Path(ids).open("rb"))
        size_bytes = None
        with contextlib.suppress(OSError):  # a stdin without a descriptor
            status = os.fstat(file.fileno())
            if _is_written(status, outputs):
                raise click.UsageError(f"{source.name} is a file of the export itself. Name another output.")
            size_bytes = status.st_size or None
        yield _Input(cast("Readable", file), None if ids == "-" else size_bytes)


def _is_written(status: os.stat_result, outputs: "Output") -> bool:
    from thrive_learning.cli.export.files import ExportPaths  # noqa: PLC0415 - see above

    if not isinstance(outputs.records, Path):
        return False
    written = [*ExportPaths.of(outputs.records), *([outputs.table] if outputs.table else [])]
    return any(path.exists() and os.path.samestat(path.stat(), status) for path in written)


@contextlib.contextmanager
def _sink(
    outputs: "Output", paths: "ExportPaths | None", origin: "ExportOrigin", *, resume: bool, force: bool
) -> "Generator[Sink, None, None]":
    from thrive_learning.cli.export.files import ExportFiles  # noqa: PLC0415 - see above
    from thrive_learning.cli.export.progress import count_of  # noqa: PLC0415 - see above
    from thrive_learning.cli.export.streams import StreamOutput  # noqa: PLC0415 - see above

    if paths is None:
        with StreamOutput(cast("StreamTarget", outputs.records)) as stream:
            yield stream
        return
    with ExportFiles(paths, origin, resume=resume, force=force) as files:
        if files.cut_bytes:
            cut = count_of(files.cut_bytes, "byte")
            say(f"cut {cut} off {paths.output}: a record that was not whole")
        yield files


@contextlib.contextmanager
def _told(
    tally: "Tally", outputs: "Output", paths: "ExportPaths | None", *, quiet: bool
) -> Generator[None, None, None]:
    """Say at the end what was done, and how to go on if that was not all."""
    again = "the same command with --resume continues from there"
    try:
        yield
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt):
        if tally.has_begun:
            if not quiet:
                _say_all(tally.summary(paths, outputs.table))
            if paths is not None and tally.has_results:
                say(f"what came so far is safe in {paths.output}: {again}")
        raise
    if not quiet:
        _say_all(tally.summary(paths, outputs.table))
        if not tally.is_whole:
            say(f"the deadline came before the end of the IDs{'' if paths is None else f': {again}'}")


def _say_all(lines: list[str]) -> None:
    for line in lines:
        say(line)
