"""Run an export by IDs: check the options, open the files, and write each result to the right file."""

import contextlib
import importlib
import os
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import click

from thrive_learning._id_files.lines import InputLines, open_input
from thrive_learning._id_files.sources import IdSource, format_of, ids_in
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.export import tables
from thrive_learning.cli.export.counts import Counts, count_of
from thrive_learning.cli.export.done import IS_REPEATED, Done, key_of
from thrive_learning.cli.export.failures import FailedId
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.output import Output, StreamTarget, output_of
from thrive_learning.cli.export.paths import ExportOrigin, ExportPaths
from thrive_learning.cli.export.progress import Show, announced, shown, summarized
from thrive_learning.cli.export.streams import StreamOutput
from thrive_learning.cli.export.tally import Tally
from thrive_learning.cli.options import Target
from thrive_learning.cli.terminal import say
from thrive_learning.models import Activity, ActivityResult

if TYPE_CHECKING:
    import io

    from thrive_learning._settings.resolution import Settings

_TAB = ("\\t", "tab")  # ways to write a tab on a command line

#: Where records and failures go.
Sink = ExportFiles | StreamOutput


class ExportOptions(NamedTuple):
    """The options of an export by IDs, by their names."""

    ids: str
    output: str
    from_: str | None
    column: str | None
    delimiter: str | None
    field: str | None
    to: str | None
    spreadsheet_safe: bool
    resume: bool
    force: bool
    concurrency: int
    deadline: float | None
    quiet: bool
    verbose: bool


def run_export(target: Target, options: ExportOptions) -> None:
    """Write many activity records to a file or a stream."""
    # All checks come first, before anything is created.
    outputs = output_of(options.output, options.to)
    if options.spreadsheet_safe and outputs.form != "csv":
        raise click.UsageError(
            f"--spreadsheet-safe applies only to CSV, but the output is {outputs.form}. Remove it."
        )
    source = _source(options)
    paths = checked_paths(outputs, resume=options.resume, force=options.force)
    settings = None if target.sandbox else target.settings()
    tally = Tally()
    with _opened(options.ids, [*(paths or ()), *filter(None, [outputs.table])]) as file:
        tally.size_bytes = None if options.ids == "-" else os.fstat(file.fileno()).st_size or None
        with target.client(settings) as client:
            lines = InputLines(cast("io.BufferedIOBase", file), source.name)
            found = ids_in(counted(lines, tally), source, tally.note_empty)
            found = chain([next(found)], found)  # raises here if the input has no IDs
            with (
                summarized(
                    tally,
                    lambda: tally.summary(paths, outputs.table),
                    kept=f"records so far are kept in {outputs.records}",
                    needed=None if paths is None else paths.journal,
                    last="the last ID",
                    quiet=options.quiet,
                ),
                _sink(outputs, paths, export_origin(settings), options, tally) as sink,
            ):
                tally.begin(sink.records, sink.kept_failures)
                wanted = unseen(found, sink.done, tally)
                with (
                    client.activities.get_many(
                        wanted, concurrency=options.concurrency, deadline=options.deadline
                    ) as results,
                    shown(tally, quiet=options.quiet, to_terminal=sink.is_terminal) as show,
                    announced(tally, show, quiet=options.quiet, verbose=options.verbose),
                ):
                    take(results, sink, tally, show)
                if isinstance(sink, ExportFiles) and outputs.table is not None:
                    sink.sync()
                    tally.rows = tables.convert(
                        sink.paths.output,
                        outputs.table,
                        outputs.form,
                        is_spreadsheet_safe=options.spreadsheet_safe,
                    )
    if tally.is_partial:
        raise click.exceptions.Exit(ExitCode.INCOMPLETE)


def checked_paths(outputs: Output, *, resume: bool, force: bool) -> ExportPaths | None:
    """Check whether an export can begin or continue there, and return its files; None for a stream."""
    if not isinstance(outputs.records, Path):
        if resume:
            raise click.UsageError(
                f"cannot resume {outputs.records.name}, because it is a stream. Remove --resume, or choose a "
                "file."
            )
        return None
    paths = ExportPaths.of(outputs.records)
    if outputs.table is not None:
        importlib.import_module("pyarrow")  # a missing package must be reported before anything is fetched
        if outputs.table.exists() and not (resume or force):
            raise click.UsageError(
                f"{outputs.table} already exists. Use --resume to continue or --force to overwrite."
            )
    paths.check(resume=resume, force=force)
    return paths


def _source(options: ExportOptions) -> IdSource:
    column, delimiter, field = options.column, options.delimiter, options.field
    guessed = format_of(options.ids)
    if column or delimiter:
        guessed = "csv"
    elif field and guessed != "json":
        guessed = "ndjson"
    form = options.from_ or guessed
    for option, value, fits in (
        ("--column", column, {"csv"}),
        ("--delimiter", delimiter, {"csv"}),
        ("--field", field, {"ndjson", "json"}),
    ):
        if value is not None and form not in fits:
            raise click.UsageError(
                f"{option} applies only to {' and '.join(sorted(fits))}, but IDS is read as {form}. "
                "Set the format with --from."
            )
    separator = "\t" if delimiter in _TAB else delimiter
    if separator is not None and (len(separator) != 1 or separator in '"\r\n' or separator.isalnum()):
        raise click.UsageError(f"--delimiter is {delimiter!r}. Use one character, such as ';' or '\\t'.")
    return IdSource("stdin" if options.ids == "-" else options.ids, form, column or field or "id", separator)


def export_origin(settings: "Settings | None") -> ExportOrigin:
    """Return where records come from: the region of the settings, or the sandbox without settings."""
    if settings is None:
        return ExportOrigin("the sandbox")
    region = settings.region
    return ExportOrigin(f"region {region.name}, tenant {settings.credentials.tenant_id}", region.api_url)


@contextlib.contextmanager
def _opened(ids: str, written: Sequence[Path]) -> Generator[BinaryIO, None, None]:
    """Open the input, which must not be a file that the export writes."""
    with contextlib.ExitStack() as opened:
        file: BinaryIO = sys.stdin.buffer if ids == "-" else opened.enter_context(open_input(Path(ids), ids))
        with contextlib.suppress(OSError):  # a stdin without a descriptor
            status = os.fstat(file.fileno())
            if any(path.exists() and os.path.samestat(path.stat(), status) for path in written):
                name = "stdin" if ids == "-" else ids
                raise click.UsageError(
                    f"{name} is both the input and a file of the export. Choose another output."
                )
        yield file


@contextlib.contextmanager
def _sink(
    outputs: Output, paths: ExportPaths | None, origin: ExportOrigin, options: ExportOptions, tally: Tally
) -> Generator[Sink, None, None]:
    if paths is None:
        with StreamOutput(cast("StreamTarget", outputs.records)) as stream:
            yield stream
        return
    with writing(ExportFiles(paths, origin, resume=options.resume, force=options.force), tally) as files:
        yield files


@contextlib.contextmanager
def writing(files: ExportFiles, counts: Counts) -> Generator[ExportFiles, None, None]:
    """Close files after a block, and count what is in them then."""
    try:
        with files:
            say_what_was_cut(files)
            yield files
    finally:
        counts.end_with(files.records, is_kept=files.is_kept)


def say_what_was_cut(files: ExportFiles) -> None:
    """Print how many bytes were cut off the output, if any."""
    if files.cut_bytes:
        cut = count_of(files.cut_bytes, "byte")
        say(f"removed incomplete data ({cut}) from the end of {files.paths.output}")


def counted(lines: InputLines, tally: Tally) -> Iterator[tuple[int, str]]:
    """Yield the lines of the input, and count how many bytes were read."""
    for line in lines:
        tally.read_bytes = lines.read_bytes
        yield line


def unseen(ids: Iterable[str], done: Done, tally: Tally) -> Iterator[str]:
    """Yield each ID once, without those that need no request."""
    for given in ids:
        key = key_of(given)
        if key in done:
            tally.note_done(done[key])
        else:
            done[key] = IS_REPEATED
            yield given
    tally.is_whole = True


def take(results: Iterable[ActivityResult], sink: Sink, tally: Tally, show: Show) -> None:
    """Write each result when it arrives."""
    for result in results:
        failure = None
        if result.error is None:
            sink.write_record(key_of(result.id), record_line(result.activity))
        else:
            failure = FailedId.of(result.id, result.error)
            sink.write_failure(failure)
        tally.note(failure)
        show()


def record_line(activity: Activity) -> bytes:
    """Return a record's JSON as received, as one line."""
    return activity.to_json().encode() + b"\n"
