"""The runs of one command: a single run, or with a state file the interrupted run and then the next one."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.destinations import Destination
from thrive_learning.cli.export.output import Output, StreamTarget
from thrive_learning.cli.export.paths import ExportOrigin, ExportPaths
from thrive_learning.cli.export.period import Finished, PeriodJob, PeriodOptions, running, stop_if_partial
from thrive_learning.cli.export.query import PeriodQuery, filters_document, stamp
from thrive_learning.cli.export.run import export_origin
from thrive_learning.cli.export.state import Pending, State, StateFile
from thrive_learning.cli.filters import FilterOptions, warn_of_types
from thrive_learning.cli.options import Target
from thrive_learning.cli.terminal import say
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from thrive_learning.client import ThriveClient

#: The placeholder in `-o` for the end of the period.
UNTIL = "{until}"


def run_period(target: Target, options: PeriodOptions) -> None:
    """Write the activity records of a period to a file, a folder, or a stream."""
    # All checks come first, before anything is created.
    now = dt.datetime.now(dt.UTC)
    _check(options, now)
    filters = _filters(options.filters, now)
    warn_of_types(filters, quiet=options.quiet)
    destination = _destination(options, filters)
    settings = None if target.sandbox else target.settings()
    origin = export_origin(settings)
    if options.state is not None:
        with StateFile(Path(options.state)) as file, target.client(settings) as client:
            _Runs(client, file, origin, options, filters).make(destination, file.load())
        return
    job = PeriodJob(destination, query_of(options.filters, now), origin, options.resume, options.force)
    job.check()
    with target.client(settings) as client, running(client, job, options) as finished:
        pass
    stop_if_partial(finished)


def _check(options: PeriodOptions, now: dt.datetime) -> None:
    """Raise if two options contradict each other."""
    _check_filters(options.filters, now)
    if options.state is None:
        if UNTIL in options.output:
            raise click.UsageError(f"{UNTIL} in -o needs --state. Add --state, or remove {UNTIL}.")
    elif options.force and options.partition_by is not None:
        raise click.UsageError(
            "--force cannot be used with --state and --partition-by, because each run only adds files. "
            "Remove --force."
        )


def _check_filters(filters: FilterOptions, now: dt.datetime) -> None:
    filters.check()
    if filters.since is not None and filters.until is None and filters.since.at >= now:
        raise click.UsageError(
            f"--since ({_shown(filters.since.at)}) is in the future. Set it to an earlier time."
        )


def query_of(filters: FilterOptions, now: dt.datetime) -> PeriodQuery:
    """Return the query of an export of a period.

    Args:
        filters: The options.
        now: The current time, which is the end of the period without `--until`.

    Raises:
        click.UsageError: Two options contradict each other.
        ConfigurationError: A filter is not valid.
    """
    _check_filters(filters, now)
    since, until = filters.since, filters.until
    return PeriodQuery(_filters(filters, now), since.asked if since else "", until and until.asked)


def _filters(options: FilterOptions, now: dt.datetime) -> ActivityFilters:
    arguments = options.arguments()
    return ActivityFilters.of(**{**arguments, "until": arguments["until"] or now})


def _destination(options: PeriodOptions, filters: ActivityFilters) -> Destination:
    destination = Destination.of(
        _output(options, filters), options.to, by_day=options.partition_by is not None
    )
    form = destination.output.form
    if options.spreadsheet_safe and form != "csv":
        raise click.UsageError(
            f"--spreadsheet-safe applies only to CSV, but the output is {form}. Remove it."
        )
    if options.state is not None and isinstance(destination.output.records, StreamTarget):
        raise click.UsageError(
            f"--state needs a file as output, but {destination.output.records.name} is a stream. "
            "Set -o to a file."
        )
    if options.state is not None:
        _check_state_path(options.state, destination.output)
    return destination


def _check_state_path(name: str, output: Output) -> None:
    """Raise if the state or its lock is also a file of the export."""
    records = cast("Path", output.records)  # a stream was rejected before
    files = [*ExportPaths.of(records), output.table or records]
    if {Path(name).absolute(), Path(f"{name}.lock").absolute()} & {file.absolute() for file in files}:
        raise click.UsageError(
            f"--state {name} would overwrite a file of the export. Choose another path for the state."
        )


def _output(options: PeriodOptions, filters: ActivityFilters) -> str:
    until = filters.until
    return options.output if until is None else options.output.replace(UNTIL, stamp(until))


class _Runs:
    """The runs of a command with a state file."""

    def __init__(
        self,
        client: "ThriveClient",
        file: StateFile,
        origin: ExportOrigin,
        options: PeriodOptions,
        filters: ActivityFilters,
    ) -> None:
        self._client = client
        self._file = file
        self._origin = origin
        self._options = options
        self._filters = filters

    def make(self, destination: Destination, former: State | None) -> None:
        """Continue the interrupted run, if there is one, and then make the next run."""
        state = self._first() if former is None else self._checked(former)
        options = self._options
        output = str(Path(_output(options, self._filters)).absolute())
        pending = state.pending
        is_same = pending is not None and pending.output == output
        ended: list[Finished] = []
        if pending is not None and not (is_same and options.force):
            self._say(f"continuing the interrupted run: {pending.output}")
            before = Destination.of(pending.output, pending.form, by_day=pending.by_day)
            finished = self._run(before, pending, state, former)
            if finished.state is None or (is_same and not pending.by_day):
                stop_if_partial(finished)
                return
            state = former = finished.state
            ended.append(finished)
        until = self._filters.until
        if until is None or state.since >= until:
            self._say(f"nothing to export: {self._file.path} is already at {_shown(state.since)}")
            stop_if_partial(*ended)
            return
        by_day = options.partition_by is not None
        following = Pending(output, options.to, by_day, state.since, until)
        stop_if_partial(*ended, self._run(destination, following, state, former))

    def _say(self, message: str) -> None:
        if not self._options.quiet:
            say(message)

    def _first(self) -> State:
        """Return the state for the first run."""
        since = self._filters.since
        if since is None:
            raise click.UsageError(
                f"{self._file.path} does not exist, so this is the first run. Set --since to the beginning "
                "of the period."
            )
        return State(self._origin.name, filters_document(self._filters), since)

    def _checked(self, state: State) -> State:
        """Return the state, or raise if it belongs to another export."""
        problem = None
        if state.origin != self._origin.name:
            problem = f"it belongs to {state.origin}, not to {self._origin.name}"
        elif state.filters != filters_document(self._filters):
            problem = "it belongs to an export with other filters"
        if problem is not None:
            raise ConfigurationError(
                f"cannot use {self._file.path}: {problem}. Choose another file with --state."
            )
        return state

    def _run(self, destination: Destination, run: Pending, state: State, former: State | None) -> Finished:
        """Make one run. The state is saved before the run begins, and again after it has ended."""
        filters = self._filters._replace(since=run.since, until=run.until)
        query = PeriodQuery(filters, run.since.isoformat(), run.until.isoformat(), has_state=True)
        is_again = run == state.pending
        job = PeriodJob(
            destination,
            query,
            self._origin,
            is_again,
            self._options.force and not is_again,
            state,
            run.missing,
        )
        paths = job.check()
        self._file.save(state._replace(pending=run))
        try:
            with running(self._client, job, self._options) as finished:
                if finished.state is not None:
                    self._file.save(finished.state)
                elif finished.is_whole:
                    self._file.save(state._replace(pending=run._replace(missing=finished.missing)))
        except BaseException:
            if paths is not None and not paths.journal.exists():  # the run has left no files
                self._file.save(former)
            raise
        if finished.state is not None:
            self._say(f"the next run with {self._file.path} begins at {_shown(finished.state.since)}")
        elif finished.is_whole:
            self._say(f"the next run with {self._file.path} requests this period once more")
        return finished


def _shown(at: dt.datetime) -> str:
    return at.isoformat(" ").replace("+00:00", " UTC")
