"""The budget of one call: time and attempts. Pure, except that it reads the clock."""

from typing import TYPE_CHECKING, Protocol

import attrs

from thrive_learning._clock import monotonic
from thrive_learning.policies import RetryPolicy, Timeout

if TYPE_CHECKING:
    from thrive_learning.errors import ThriveError

#: The maximum number of requests in flight of a client in one process and event loop. Others wait up to
#: `Timeout.pool`. Systems allow a process some 1,000 open files by default.
MAX_CONNECTIONS = 1000


class Connection(Protocol):
    """A connection that a thread may wait for and another thread may cut."""

    def cut(self) -> None:
        """Make all waits for the connection fail."""


class Budget:
    """The time and attempts of one call. The time counts from the creation of this object.

    Args:
        timeout: The time limits of the call and its phases.
        retry: The policy for sending a request again.
        spent_s: How long the call has already been running, in seconds.
    """

    __slots__ = ("_ends", "_started", "connection", "permit", "retry", "timeout", "too_late", "waits_for")

    def __init__(self, timeout: Timeout, retry: RetryPolicy, spent_s: float = 0.0) -> None:
        self.timeout: Timeout = timeout
        self.retry: RetryPolicy = retry
        #: The connection that the thread of the call waits for or waited for last, or its turn under the rate
        #: limit.
        self.connection: Connection | None = None
        #: The name of another caller's request that the call waits for.
        self.waits_for: str | None = None
        #: How long a run waited for the rate limit on behalf of the first request, in seconds; None if the
        #: request must wait itself.
        self.permit: float | None = None
        #: The error of an attempt that the deadline cut off, in async code.
        self.too_late: ThriveError | None = None
        self._started = monotonic() - spent_s
        self._ends = self._started + timeout.total

    def elapsed(self) -> float:
        """Return the seconds since the call began."""
        return monotonic() - self._started

    def remaining(self) -> float:
        """Return the remaining seconds; 0 or less after the deadline."""
        return self._ends - monotonic()

    def is_over(self) -> bool:
        """Return whether no time remains."""
        return self._ends <= monotonic()

    def end(self) -> None:
        """End the call. Its current wait is cut, and every later operation times out."""
        self._ends = self._started
        connection = self.connection
        if connection is not None:
            connection.cut()

    @property
    def is_ended(self) -> bool:
        """Whether `end()` was called. The outcome of the call then does not depend on the server."""
        return self._ends == self._started

    def phases(self) -> dict[str, float]:
        """Return the limit of each phase in seconds, at most the remaining time.

        The names are those of httpx's `timeout` extension.
        """
        left = max(self.remaining(), 0.0)
        timeout = self.timeout
        return {
            "connect": min(timeout.connect, left),
            "read": min(timeout.read, left),
            "write": min(timeout.write, left),
            "pool": min(timeout.pool, left),
        }

    def for_renewal(self) -> "Budget":
        """Return the budget for renewing a token that is still valid: one attempt, and half of the time."""
        total = max(min(self.remaining() / 2, _RENEWAL_S), 1e-3)
        return Budget(attrs.evolve(self.timeout, total=total), RetryPolicy(attempts=1))


_RENEWAL_S = 10.0
