"""The export of a period: its options, and one run from the checks to the summary."""

import contextlib
import datetime as dt
import math
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from thrive_learning._clock import monotonic
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.export.destinations import Destination, stored_query
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.overlap import Overlap
from thrive_learning.cli.export.paths import ExportOrigin, ExportPaths
from thrive_learning.cli.export.progress import AGAIN, announced, shown, summarized
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.cli.export.run import writing
from thrive_learning.cli.export.seen import SeenKeys
from thrive_learning.cli.export.state import State
from thrive_learning.cli.export.streams import StreamOutput
from thrive_learning.cli.export.walk import PeriodWalk, note_written
from thrive_learning.cli.export.walk_tally import WalkTally
from thrive_learning.cli.filters import FilterOptions

if TYPE_CHECKING:
    from thrive_learning.cli.export.output import StreamTarget
    from thrive_learning.client import ThriveClient


class PeriodOptions(NamedTuple):
    """The options of an export of a period, by their names."""

    filters: FilterOptions
    output: str
    to: str | None
    state: str | None
    overlap: dt.timedelta
    partition_by: str | None
    spreadsheet_safe: bool
    resume: bool
    force: bool
    deadline: float | None
    quiet: bool
    verbose: bool


class PeriodJob(NamedTuple):
    """One run of an export of a period.

    Attributes:
        destination: Where the records go.
        query: Which records are exported.
        origin: Where the records come from.
        resume: Whether to continue an existing run.
        force: Whether to overwrite existing output.
        state: The state that the previous run has saved; None without a state file.
        missing: How many records were missing at the end of an earlier attempt; None before one has ended.
    """

    destination: Destination
    query: PeriodQuery
    origin: ExportOrigin
    resume: bool
    force: bool
    state: State | None = None
    missing: int | None = None

    def check(self) -> ExportPaths | None:
        """Check whether the run can begin, before anything is created."""
        return self.destination.check(resume=self.resume, force=self.force, has_state=self.state is not None)


class Finished(NamedTuple):
    """The result of a run.

    Attributes:
        is_whole: Whether all pages were read.
        is_partial: Whether records are missing.
        missing: The number of records that the server counted, but that were on no page.
        state: The state for the next run; None without a state file, or if this run must be continued.
    """

    is_whole: bool
    is_partial: bool
    missing: int
    state: State | None


@contextlib.contextmanager
def running(
    client: "ThriveClient", job: PeriodJob, options: PeriodOptions
) -> Generator[Finished, None, None]:
    """Perform one run. Within the block, its output is on disk, and still locked against other processes."""
    paths = job.check()
    destination = job.destination
    query = _query(job, paths)
    tally = WalkTally()
    end = math.inf if options.deadline is None else monotonic() + options.deadline

    def has_ended() -> bool:
        return monotonic() >= end

    output = None if paths is None else paths.output
    # The file with the records is temporary, or not part of the result.
    is_hidden = destination.folder is not None or (bool(options.state) and destination.result is not None)
    state = job.state
    overlap = state and Overlap(state.since, query.until, options.overlap, state.keys)
    with (
        SeenKeys() as seen,
        summarized(
            tally,
            lambda: tally.summary(None if is_hidden else output, destination.result),
            kept=f"records so far are kept in {output}",
            needed=None if paths is None else paths.journal,
            last="the last record",
            again="Run the same command to continue" if options.state else AGAIN,
            quiet=options.quiet,
        ),
        _sink(job, paths, query, seen, tally) as sink,
    ):
        tally.begin_after(sink.records)
        if state is not None and overlap is not None and paths is not None:
            for key in state.keys:
                seen.add(key)
            note_written(paths.output, overlap)
        with (
            shown(tally, quiet=options.quiet, to_terminal=sink.is_terminal) as show,
            announced(tally, show, quiet=options.quiet, verbose=options.verbose),
        ):
            walk = PeriodWalk(query, seen, tally, overlap=overlap, has_ended=has_ended, show=show)
            walk.run(client.activities, sink)
        if tally.is_whole and isinstance(sink, ExportFiles):
            sink.sync()
            tally.rows, tally.parts = destination.finish(
                query.tag(), is_spreadsheet_safe=options.spreadsheet_safe, has_state=state is not None
            )
            destination.sync(sink.paths)
        after = None
        # Missing records are requested once more, but a wrong count must not stop the next runs.
        is_settled = not tally.missing or (job.missing is not None and tally.missing >= job.missing)
        if tally.is_whole and is_settled and state is not None and overlap is not None:
            after = State(state.origin, state.filters, overlap.since, overlap.keys)
        yield Finished(tally.is_whole, tally.is_partial, tally.missing, after)
        if after is not None and isinstance(sink, ExportFiles):
            destination.remove_work(sink)


def _query(job: PeriodJob, paths: ExportPaths | None) -> PeriodQuery:
    """Return the query of the run to continue, if its options are the same, or else the query of the job."""
    stored = stored_query(paths) if job.resume and paths is not None else None
    return job.query if stored is None else job.query.resuming(stored)


@contextlib.contextmanager
def _sink(
    job: PeriodJob, paths: ExportPaths | None, query: PeriodQuery, seen: SeenKeys, tally: WalkTally
) -> Generator[ExportFiles | StreamOutput, None, None]:
    if paths is None:
        with StreamOutput(cast("StreamTarget", job.destination.output.records)) as stream:
            yield stream
        return
    job.destination.prepare()
    # The next run with a state does not need the work files that a finished run has left in the folder.
    force = job.force or (job.state is not None and not job.resume and job.destination.folder is not None)
    files = ExportFiles(
        paths, job.origin, resume=job.resume, force=force, query=query.document(), mark=seen.add
    )
    with writing(files, tally):
        yield files


def stop_if_partial(*finished: Finished) -> None:
    """Exit with the code for an incomplete export if records are missing in one of these runs."""
    if any(run.is_partial for run in finished):
        raise click.exceptions.Exit(ExitCode.INCOMPLETE)
