"""Many records at once: what runs in threads and in tasks have in common. `schedule` decides for both.

What the user holds is a stream; the workers know the run behind it, and nothing of the stream. So a stream
that is dropped, as by `break`, is collected at once, and ends its run.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from thrive_learning._bulk.schedule import Plan, Schedule
from thrive_learning._call.seam import Seam
from thrive_learning._clock import monotonic
from thrive_learning._exchange.attempts import closed_error
from thrive_learning._log import fields, logger_of
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from thrive_learning._observation import Observation, Observer

logger = logger_of("bulk")

#: How long to wait for what is being closed, in seconds. Only what cannot be interrupted takes that long.
CLOSING_S = 5.0

#: The same if an exception ends the run, such as that of a job's time limit, which must not wait. Seconds.
INTERRUPTED_S = 0.5


class Run:
    """What runs in threads and in tasks share. Nothing happens before the first result is asked for.

    Args:
        plan: What was asked for.
        observer: The client's.
        observation: That of the walk of which the run is a part; None for one of its own.

    Attributes:
        cut_off_by: The class of the exception that ended it while a result was asked for, such as that of a
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

    def begin(self, cpu_s: Callable[[], float] | None = None) -> None:
        """Start the clock; `cpu_s` is that of the CPU time, if there is one thread that does the work."""
        self.started = True
        self.schedule = Schedule(self.plan, monotonic(), cpu_s=cpu_s)

    def observe(self) -> None:
        """Begin the span of the run, if the client has an observer and the run is not part of a walk."""
        if self._observer is not None:
            self._observation = self._observer.run(self.plan.kind.operation)

    def observed(self) -> AbstractContextManager[object]:
        """Let this thread or task belong to the span of the run within a block."""
        return nullcontext() if self._observation is None else self._observation.attached()

    def took(self, result: Any) -> None:
        """Count a result that the caller gets."""
        if self._observation is not None:
            failures = int(result.error is not None)
            self._observation.took(0 if failures else self.plan.kind.records(result), failures)

    def end_observation(self) -> None:
        """End the span of the run. It is safe to do so twice."""
        if self._observer is not None and self._observation is not None:
            error = self.schedule.failure or self.source_error
            failure = self.cut_off_by if error is None else type(error)
            self._observation.end(failure, is_complete=failure is None and self.schedule.is_over)

    def end_of_ids(self, error: Exception) -> None:
        """Remember what the IDs raised: it comes behind the results."""
        self.schedule.exhausted = True
        self.source_error = error

    def announce_pause(self) -> None:
        """Log the pause that has begun, if one has."""
        text = self.schedule.announcement()
        if text is not None and not self.stopped:  # what is cut off by the end of a run is not a failure
            logger.warning("%s", text, extra=fields("pause", operation=self.plan.kind.operation))

    def note_closing(self, seam: Seam) -> None:
        """Remember that the client was closed, if that is what ends the run."""
        if seam.closed and not self.stopped and not self.schedule.is_over:
            self.schedule.failure = closed_error()

    def conclude(self) -> None:
        """Raise what ended the run, if it was not the end of the IDs."""
        failure, self.source_error = self.schedule.failure or self.source_error, None
        self.schedule.failure = None
        if failure is not None:
            raise failure


def iterator_of(ids: object) -> Iterator[str]:
    """Give an iterator of IDs.

    Raises:
        ConfigurationError: They are not iterable, or text, each character of which would be an ID.
    """
    kind = type(ids).__name__
    if isinstance(ids, (str, bytes)):
        raise ConfigurationError(f"ids is of type {kind}: pass a list of IDs, or another iterable of them")
    try:
        return iter(cast("Iterable[str]", ids))
    except TypeError:
        problem = f"ids is of type {kind}, which is not iterable here: pass a list of IDs, or any iterable"
    raise ConfigurationError(problem)
