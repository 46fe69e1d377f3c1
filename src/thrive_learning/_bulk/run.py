"""The shared part of runs in threads and in tasks. `schedule` decides for both.

The user holds a stream. The workers hold the run behind it and not the stream, so a stream that is dropped,
as by `break`, is collected at once and ends its run.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from thrive_learning._bulk.plan import Plan
from thrive_learning._bulk.schedule import Schedule
from thrive_learning._call.seam import Seam
from thrive_learning._clock import monotonic
from thrive_learning._exchange.attempts import closed_error
from thrive_learning._log import fields, logger_of
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from thrive_learning._observation import Observation, Observer

logger = logger_of("bulk")

#: The seconds to wait for workers on close. Only work that cannot be interrupted takes that long.
CLOSING_S = 5.0

#: The same if an exception ends the run, such as a job's time limit, which must not wait.
INTERRUPTED_S = 0.5


class Run:
    """The shared part of runs in threads and in tasks. Nothing happens until the first result is requested.

    Args:
        plan: The arguments of the run.
        observer: The client's observer.
        observation: The observation of the walk that the run belongs to; None for its own observation.

    Attributes:
        cut_off_by: The class of the exception that ended the run while a result was requested, such as a
            cancellation.
    """

    def __init__(self, plan: Plan, observer: "Observer | None", observation: "Observation | None") -> None:
        self.plan: Plan = plan
        self.cut_off_by: type[BaseException] | None = None
        self._observer = observer if observation is None else None
        self._observation = observation
        self.started: bool = False
        self.stopped: bool = False
        self.source_error: Exception | None = None
        self.schedule: Schedule

    def begin(self, *, is_limited: bool, cpu_s: Callable[[], float] | None = None) -> None:
        """Start the clock.

        Args:
            is_limited: Whether the client has a rate limit.
            cpu_s: Returns the CPU time if one thread does all the work.
        """
        self.started = True
        self.schedule = Schedule(self.plan, monotonic(), cpu_s=cpu_s, is_limited=is_limited)

    def observe(self) -> None:
        """Begin the span of the run, if the client has an observer and the run does not belong to a walk."""
        if self._observer is not None:
            self._observation = self._observer.run(self.plan.kind.operation)

    def observed(self) -> AbstractContextManager[object]:
        """Attach this thread or task to the span of the run within a block."""
        return nullcontext() if self._observation is None else self._observation.attached()

    def took(self, result: Any) -> None:
        """Count a result that the caller gets."""
        if self._observation is not None:
            failures = int(result.error is not None)
            self._observation.took(0 if failures else self.plan.kind.records(result), failures)

    def end_observation(self) -> None:
        """End the span of the run. Ending it again does nothing."""
        if self._observer is not None and self._observation is not None:
            error = self.schedule.failure or self.source_error
            failure = self.cut_off_by if error is None else type(error)
            self._observation.end(failure, is_complete=failure is None and self.schedule.is_over)

    def end_of_ids(self, error: Exception) -> None:
        """Remember the exception of the IDs. It is raised after the results."""
        self.schedule.exhausted = True
        self.source_error = error

    def announce_pause(self) -> None:
        """Log the pause that has begun, if any."""
        text = self.schedule.announcement()
        if text is not None and not self.stopped:  # requests cut off by the end of a run have not failed
            logger.warning("%s", text, extra=fields("pause", operation=self.plan.kind.operation))

    def note_closing(self, seam: Seam) -> None:
        """Remember that the client was closed, if that ends the run."""
        if seam.closed and not self.stopped and not self.schedule.is_over:
            self.schedule.failure = closed_error()

    def conclude(self) -> None:
        """Raise the exception that ended the run, if any."""
        failure, self.source_error = self.schedule.failure or self.source_error, None
        self.schedule.failure = None
        if failure is not None:
            raise failure


def iterator_of(ids: object) -> Iterator[str]:
    """Return an iterator of IDs.

    Raises:
        ConfigurationError: The value is not iterable, or is text, whose characters would be the IDs.
    """
    kind = type(ids).__name__
    if isinstance(ids, (str, bytes)):
        raise ConfigurationError(f"ids is of type {kind}. Pass a list of IDs, or another iterable of them.")
    try:
        return iter(cast("Iterable[str]", ids))
    except TypeError:
        problem = f"ids is of type {kind}, which is not iterable here. Pass a list of IDs, or any iterable."
    raise ConfigurationError(problem)
