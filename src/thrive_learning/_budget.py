"""What one call may spend: time and attempts. Pure: it reads the clock, and neither waits nor sends."""

from typing import TYPE_CHECKING, Protocol

import attrs

from thrive_learning._clock import monotonic
from thrive_learning.policies import RetryPolicy, Timeout

if TYPE_CHECKING:
    from thrive_learning.errors import ThriveError

#: How many requests of a client are on their way at the most in one process and event loop; others wait, for
#: `Timeout.pool`. Systems allow a process some 1,000 open files, unless told otherwise.
MAX_CONNECTIONS = 1000


class Connection(Protocol):
    """What a thread may wait for, and another thread may cut."""

    def cut(self) -> None:
        """Let whatever waits for it fail."""


class Budget:
    """What one call may spend: time, counted from the moment that this is made, and attempts.

    Args:
        timeout: How long the call and its phases may take.
        retry: How often a request may be tried again.
        spent_s: How long the call has been under way, in seconds.
    """

    __slots__ = ("_ends", "_started", "connection", "retry", "timeout", "too_late", "waits_for")

    def __init__(self, timeout: Timeout, retry: RetryPolicy, spent_s: float = 0.0) -> None:
        self.timeout: Timeout = timeout
        self.retry: RetryPolicy = retry
        #: What the thread of the call is waiting for, or was last.
        self.connection: Connection | None = None
        #: What the call waits for, if it waits for another call's request.
        self.waits_for: str | None = None
        #: The error of an attempt that the end of the time has cut off, in async code.
        self.too_late: ThriveError | None = None
        self._started = monotonic() - spent_s
        self._ends = self._started + timeout.total

    def elapsed(self) -> float:
        """Give the seconds since the call began."""
        return monotonic() - self._started

    def remaining(self) -> float:
        """Give the seconds that are left; 0 or less when the call is over."""
        return self._ends - monotonic()

    def end(self) -> None:
        """Let the call be over: what it waits for is cut, and whatever it does next is too late."""
        self._ends = self._started
        connection = self.connection
        if connection is not None:
            connection.cut()

    @property
    def is_ended(self) -> bool:
        """Whether `end()` was called. What the call comes to says nothing about the server then."""
        return self._ends == self._started

    def phases(self) -> dict[str, float]:
        """Give each phase's limit in seconds, none of them longer than what is left of the call.

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
        """Give what a caller may spend to renew a token that it could do without: one try, half its time."""
        total = max(min(self.remaining() / 2, _RENEWAL_S), 1e-3)
        return Budget(attrs.evolve(self.timeout, total=total), RetryPolicy(attempts=1))


_RENEWAL_S = 10.0
