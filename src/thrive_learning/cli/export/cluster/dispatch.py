"""Hand the parts to the workers of a cluster, and count the files that they have written."""

import contextlib
import queue
import secrets
from collections.abc import Generator, Mapping
from typing import Any

from thrive_learning._clock import monotonic
from thrive_learning._cluster.clients import ClientSource
from thrive_learning.cli.export.cluster.connection import is_visible
from thrive_learning.cli.export.cluster.folder import PartFailure, PartFolder
from thrive_learning.cli.export.cluster.parts import CountTask, PartTask, part_facts
from thrive_learning.cli.export.cluster.plan import PartsPlan, PlannedPart
from thrive_learning.cli.export.cluster.tally import ClusterTally
from thrive_learning.cli.export.counts import count_of
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.cli.export.progress import Show
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.cli.terminal import say
from thrive_learning.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailedError,
    ForbiddenError,
    UnauthorizedError,
    UnexpectedResponseError,
)

#: How many parts may fail in a row before the export ends.
HOPELESS_IN_A_ROW = 3

#: The seconds without any worker after which the export ends.
NO_WORKER_S = 60.0

#: The interval at which the progress, the workers, and the deadline are looked at.
TICK_S = 0.5

# The status of a task that has ended, and whose worker was lost before this process looked at it.
_RUNS_AGAIN = ("lost", "pending")

_PLAN = "plan"  # the name of the task that makes the plan


class Dispatcher:
    """Hands the parts to the workers.

    Args:
        client: The connection to the cluster, a `distributed.Client`.
        source: What workers create their clients from.
        folder: The folder of the parts.
        tally: The counts of the run.
        show: Shows the progress.
        ends_at: When the deadline of the run is, by the monotonic clock.
        quiet: Whether to print only errors.
        verbose: Whether to print a message for each part.
    """

    def __init__(  # noqa: PLR0913 - the parts of a run
        self,
        client: Any,
        source: ClientSource,
        folder: PartFolder,
        tally: ClusterTally,
        show: Show,
        *,
        ends_at: float,
        quiet: bool,
        verbose: bool,
    ) -> None:
        self._client = client
        self._source = source
        self._folder = folder
        self._tally = tally
        self._show = show
        self._ends_at = ends_at
        self._quiet = quiet
        self._verbose = verbose and not quiet
        # Two runs must not share tasks on one scheduler, which would remember a failure of the first.
        self._prefix = f"thrive-export-{secrets.token_hex(4)}-"
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._failed_in_a_row = 0
        self._had_workers_at = self._looks_at = monotonic()

    def plan(self, origin: str, query: PeriodQuery, most: int) -> PartsPlan | None:
        """Make a plan; None if the deadline is reached before.

        A worker counts the records, and gets the access token that all workers share.

        Args:
            origin: Where the records come from.
            query: Which records are exported.
            most: The maximum number of records per part.

        Raises:
            ThriveError: The records cannot be counted.
        """
        with self._submitted({_PLAN: CountTask(self._source, query.filters, most, query.per_page)}):
            future = self._next()
            if future is None:
                return None
            self._raise(self._error_of(future))
            return PartsPlan.new(origin, query, future.result(), most)

    def write(self, plan: PartsPlan, *, is_new: bool) -> None:
        """Let the workers write the parts that are missing.

        Raises:
            ThriveError: No other part could succeed either.
        """
        folder, tally = self._folder, self._tally
        folder.begin(plan, is_new=is_new)
        complete = folder.complete(plan)
        tally.begin([part.window.records for part in plan.parts], [*complete.values()])
        missing = {plan.part_name(part): part for part in plan.parts if part not in complete}
        tasks = {
            name: PartTask(
                self._source, plan.wanted(part), folder.path / name, plan.first_line, plan.query.per_page
            )
            for name, part in missing.items()
        }
        try:
            with self._submitted(tasks):
                while missing and (future := self._next()) is not None:
                    name = future.key.removeprefix(self._prefix)
                    self._take(future, name, missing.pop(name))
            if not missing:
                folder.tidy()
        finally:
            if tally.failures:
                folder.write_failures(tally.failures)

    def _take(self, future: Any, name: str, part: PlannedPart) -> None:
        """Count a part that has ended."""
        error = self._error_of(future)
        if error is None:
            path = self._folder.path / name
            facts = part_facts(path) if is_visible(path) else None
            if facts is None:
                raise OutputError(
                    f"a worker has written {path}, and this machine cannot read it. Choose a folder "
                    "that this machine and all workers share, at the same path."
                )
            self._failed_in_a_row = 0
            self._tally.note(facts)
            self._mention(f"{name}: {count_of(facts.rows, 'record')} {part.period}")
        else:
            self._failed_in_a_row += 1
            if future.cancelled() or not _is_about_part(error) or self._failed_in_a_row >= HOPELESS_IN_A_ROW:
                self._raise(error)
            self._tally.failures.append(PartFailure.of(part.period, error))
            self._mention(f"{name}: failed: {error}")
        self._show()

    def _mention(self, message: str) -> None:
        if self._verbose:
            say(message)

    @contextlib.contextmanager
    def _submitted(self, tasks: Mapping[str, CountTask | PartTask]) -> Generator[None, None, None]:
        """Submit tasks, and cancel at the end of a block those that have not ended."""
        futures = [
            self._client.submit(task.run, key=f"{self._prefix}{name}", pure=False)
            for name, task in tasks.items()
        ]
        for future in futures:
            future.add_done_callback(self._ended.put)
        try:
            yield
        finally:
            if self._client.status == "running":
                self._client.cancel(futures, force=True)

    def _next(self) -> Any:
        """Wait for the next task that ends, and return it; None if the deadline is reached before."""
        while monotonic() < self._ends_at:
            if monotonic() >= self._looks_at:  # also if tasks end all the time
                self._look_at_workers()
                self._looks_at = monotonic() + TICK_S
            with contextlib.suppress(queue.Empty):
                future = self._ended.get(timeout=TICK_S)
                if future.status not in _RUNS_AGAIN:
                    return future
                future.add_done_callback(self._ended.put)
            self._show()
        return None

    def _look_at_workers(self) -> None:
        """Count the workers, and raise if the cluster has been without any for a long time."""
        now = monotonic()
        count = len(self._client.nthreads())
        if count < self._tally.workers and not self._quiet:
            lost = count_of(self._tally.workers - count, "worker")
            say(f"lost {lost}, {count} left. Unfinished parts are written again")
        self._tally.workers = count
        if count:
            self._had_workers_at = now
        elif now - self._had_workers_at >= NO_WORKER_S:
            raise ConnectionFailedError(
                f"the cluster has had no workers for {NO_WORKER_S:.0f} s. Start workers, and run the same "
                "command with --resume."
            )

    def _error_of(self, future: Any) -> BaseException | None:
        """Return why a task failed; None if it succeeded."""
        if future.status == "finished":
            return None
        if future.status == "error":
            return _in_plain_words(future.exception())
        return ConnectionFailedError(
            "the connection to the Dask scheduler was lost. Run the same command with --resume."
        )

    def _raise(self, error: BaseException | None) -> None:
        if isinstance(error, ImportError):
            raise ConfigurationError(
                f"a worker cannot import {error.name}. Install 'thrive-learning[dask]' there."
            )
        if error is not None:
            raise error


def _in_plain_words(error: BaseException) -> BaseException:
    """Return the error of a task, or an error of ours in place of one of Dask."""
    from distributed import KilledWorker  # noqa: PLC0415 - of an extra, which the export has already imported

    if not isinstance(error, KilledWorker):
        return error
    return ConnectionFailedError(
        f"{error.allowed_failures + 1} workers were lost during the same work, perhaps because they had too "
        "little memory. Look into the logs of the system and of the workers, or use a smaller "
        "--records-per-part, which needs --force after the export has begun."
    )


def _is_about_part(error: BaseException) -> bool:
    """Return whether other parts may succeed after a failure."""
    if isinstance(error, (UnauthorizedError, ForbiddenError)):
        return False
    is_of_server = isinstance(error, (ApiError, UnexpectedResponseError))
    is_of_connection = isinstance(error, ConnectionFailedError) and error.is_transient
    return is_of_server or is_of_connection
