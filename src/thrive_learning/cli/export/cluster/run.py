"""An export by a cluster: its options, its checks, and its summary."""

import datetime as dt
import math
from collections.abc import Iterator
from typing import NamedTuple

import click

from thrive_learning._clock import monotonic
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.export.cluster.connection import LOCAL, check_address, check_shared, connected
from thrive_learning.cli.export.cluster.dispatch import Dispatcher
from thrive_learning.cli.export.cluster.folder import PartFolder
from thrive_learning.cli.export.cluster.parts import plan_path
from thrive_learning.cli.export.cluster.plan import PartsPlan, stored_form
from thrive_learning.cli.export.cluster.tally import ClusterTally
from thrive_learning.cli.export.cluster.worker_settings import source_for
from thrive_learning.cli.export.partitions import folder_of
from thrive_learning.cli.export.period_runs import query_of
from thrive_learning.cli.export.progress import AGAIN, announced, shown, summarized
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.cli.export.run import export_origin
from thrive_learning.cli.filters import FilterOptions, warn_of_types
from thrive_learning.cli.options import Target
from thrive_learning.cli.terminal import say

_RECORDS_PER_PART = 100_000  # as in the help


class ClusterOptions(NamedTuple):
    """The options of an export by a cluster, by their names."""

    dask: str
    workers: int | None
    records_per_part: int | None
    filters: FilterOptions
    output: str
    to: str | None
    resume: bool
    force: bool
    deadline: float | None
    quiet: bool
    verbose: bool


def run_cluster(target: Target, options: ClusterOptions) -> None:
    """Write the activity records of a period to a folder."""
    # All checks come first, before anything is created.
    check_address(options.dask)
    if options.workers is not None and options.dask != LOCAL:
        raise click.UsageError(f"--workers applies only to --dask {LOCAL}. Remove it.")
    if options.to not in (None, "parquet"):
        raise click.UsageError(f"--dask writes Parquet, and --to is {options.to}. Remove --to.")
    query = stored_form(query_of(options.filters, dt.datetime.now(dt.UTC)))
    warn_of_types(query.filters, quiet=options.quiet)
    folder = PartFolder(folder_of(options.output, "--dask"))
    folder.check(resume=options.resume, force=options.force)
    settings = None if target.sandbox else target.settings()
    origin = export_origin(settings).name
    if options.resume:  # whether it can be continued must be known before a cluster is started
        begun = folder.resumed(origin, query)
        for line in () if begun is None or options.quiet else _kept(begun, query, options):
            say(line)
    source = source_for(target, settings)
    tally = ClusterTally()
    ends_at = math.inf if options.deadline is None else monotonic() + options.deadline
    with (
        summarized(
            tally,
            lambda: tally.summary(folder.name, folder.failures),
            kept=f"complete parts are kept in {folder.name}",
            needed=plan_path(folder.path),
            last="the last part",
            quiet=options.quiet,
        ),
        folder.locked(),
    ):
        folder.check(resume=options.resume, force=options.force)  # another command may have just ended
        plan = folder.resumed(origin, query) if options.resume else None
        if plan is None or not _is_complete(plan, folder, tally):
            with (
                connected(options.dask, options.workers, ends_at, quiet=options.quiet) as client,
                shown(tally, quiet=options.quiet, to_terminal=False) as show,
                announced(tally, show, quiet=options.quiet, verbose=options.verbose),
            ):
                if client is not None:
                    dispatcher = Dispatcher(
                        *(client, source, folder, tally, show),
                        ends_at=ends_at,
                        quiet=options.quiet,
                        verbose=options.verbose,
                    )
                    check_shared(client, folder.work)
                    most = options.records_per_part or _RECORDS_PER_PART
                    wanted = dispatcher.plan(origin, query, most) if plan is None else plan
                    if wanted is not None:
                        dispatcher.write(wanted, is_new=plan is None)
    if tally.failures:
        say(f"{AGAIN}. It exports only the parts that are missing")
    if tally.is_partial:
        raise click.exceptions.Exit(ExitCode.INCOMPLETE)


def _is_complete(plan: PartsPlan, folder: PartFolder, tally: ClusterTally) -> bool:
    """Return whether no part is missing, so that no cluster is needed, and count the parts if so."""
    folder.begin(plan, is_new=False)
    complete = folder.complete(plan)
    if len(complete) < len(plan.parts):
        return False
    tally.begin([part.window.records for part in plan.parts], [*complete.values()])
    return True


def _kept(plan: PartsPlan, query: PeriodQuery, options: ClusterOptions) -> Iterator[str]:
    """Yield what an export that is continued keeps, although the command asks for something else."""
    if (plan.query.since, plan.query.until) != (query.since, query.until):
        yield (
            f"continuing the period from {plan.query.since:%Y-%m-%d %H:%M:%S} to "
            f"{plan.query.until:%Y-%m-%d %H:%M:%S} UTC, which was fixed when the export began"
        )
    if options.records_per_part not in (None, plan.most):
        yield (
            f"--records-per-part {options.records_per_part} has no effect, because {options.output} was "
            f"planned with {plan.most}. Use --force to export the period again"
        )
