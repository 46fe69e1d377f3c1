"""Many records at once: what runs in threads and in tasks have in common. `schedule` decides for both.

What the user holds is a stream; the workers know the run behind it, and nothing of the stream. So a stream
that is dropped, as by `break`, is collected at once, and ends its run.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from thrive_learning._bulk.schedule import Plan, Schedule
from thrive_learning._call.seam import Seam
from thrive_learning._clock import monotonic
from thrive_learning._exchange.attempts import closed_error
from thrive_learning.errors import ConfigurationError

logger = logging.getLogger("thrive_learning")

#: How long to wait for what is being closed, in seconds. Only what cannot be interrupted takes that long.
CLOSING_S = 5.0

#: The same if an exception ends the run, such as that of a job's time limit, which must not wait. Seconds.
INTERRUPTED_S = 0.5


class Run:
    """What runs in threads and in tasks share. Nothing happens before the first result is asked for."""

    def __init__(self, plan: Plan) -> None:
        self.plan: Plan = plan
        self.started: bool = False
        self.stopped: bool = False
        self.source_error: Exception | None = None
        self.schedule: Schedule

    def begin(self, cpu_s: Callable[[], float] | None = None) -> None:
        """Start the clock; `cpu_s` is that of the CPU time, if there is one thread that does the work."""
        self.started = True
        self.schedule = Schedule(self.plan, monotonic(), cpu_s=cpu_s)

    def end_of_ids(self, error: Exception) -> None:
        """Remember what the IDs raised: it comes behind the results."""
        self.schedule.exhausted = True
        self.source_error = error

    def announce_pause(self) -> None:
        """Log the pause that has begun, if one has."""
        text = self.schedule.announcement()
        if text is not None and not self.stopped:  # what is cut off by the end of a run is not a failure
            logger.warning("%s", text)

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
