"""How long a call may take, and how often it may try."""

import contextvars
import math
import time
from typing import Protocol

import attrs

from thrive_learning.errors import ConfigurationError, ThriveError

_LONGEST_S = 366 * 86_400.0

#: How many requests of a client are on their way at the most in one process and event loop; others wait, for
#: `Timeout.pool`. Systems allow a process some 1,000 open files, unless told otherwise.
MAX_CONNECTIONS = 1000


def _seconds(_instance: "Timeout", attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST_S:
        raise ConfigurationError(
            f"Timeout.{attribute.name} is {value!r}: it must be a number of seconds above 0, at most a year. "
            "A call without a limit could hang for ever, so there is no way to ask for one; "
            "pass a large number instead."
        )


@attrs.frozen
class Timeout:
    """How long one call and its phases may take, in seconds.

    Args:
        total: The whole call: token, connection, waits and every byte of the response.
        connect: Opening one connection; TLS has as much again.
        read: Waiting for the next bytes of a response.
        write: Sending the next bytes of a request.
        pool: Waiting for a free connection.

    Raises:
        ConfigurationError: A value is no finite number above 0.
    """

    total: float = attrs.field(default=60.0, validator=_seconds)
    connect: float = attrs.field(default=5.0, validator=_seconds)
    read: float = attrs.field(default=30.0, validator=_seconds)
    write: float = attrs.field(default=10.0, validator=_seconds)
    pool: float = attrs.field(default=10.0, validator=_seconds)

    @classmethod
    def of(cls, value: "Timeout | float | None", default: "Timeout") -> "Timeout":
        """Give the time-outs of one call.

        Args:
            value: Time-outs, or seconds for the whole call, or None for those of the client.
            default: The client's time-outs.

        Raises:
            ConfigurationError: The value is none of these.
        """
        if value is None:
            return default
        if isinstance(value, Timeout):
            return value
        return attrs.evolve(default, total=value)


def _attempts(_instance: "RetryPolicy", attribute: "attrs.Attribute[int]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}: it must be a whole number above 0; 1 turns retries "
            "off"
        )


def _delay(_instance: "RetryPolicy", attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}: it must be a number of seconds, 0 or above"
        )


@attrs.frozen
class RetryPolicy:
    """How often a request is tried again after a failure that may pass.

    Those are connection failures, bodies that are cut off, and the statuses 408, 429, 500, 502, 503, 504 and
    520 to 524. The wait before try number n + 1 is drawn evenly from 0 to first_delay times 2 to the power
    n - 1, at most max_delay; a `Retry-After` of the server is its floor. No wait outlasts `Timeout.total`.

    Args:
        attempts: How many requests may be sent at the most; 1 turns retries off.
        first_delay: The longest wait before the second request, in seconds.
        max_delay: The longest wait before any request, in seconds, unless the server asks for more.

    Raises:
        ConfigurationError: A value makes no sense.
    """

    attempts: int = attrs.field(default=3, validator=_attempts)
    first_delay: float = attrs.field(default=0.5, validator=_delay)
    max_delay: float = attrs.field(default=8.0, validator=_delay)

    @classmethod
    def of(cls, value: object, default: "RetryPolicy") -> "RetryPolicy":
        """Give the policy of one call: its own, or that of the client.

        Raises:
            ConfigurationError: The value is neither a policy nor None.
        """
        if value is None:
            return default
        if not isinstance(value, RetryPolicy):
            raise ConfigurationError(
                f"retry is {value!r}: pass a RetryPolicy; RetryPolicy(attempts=1) turns retries off"
            )
        return value


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
        self._started = time.monotonic() - spent_s
        self._ends = self._started + timeout.total

    def elapsed(self) -> float:
        """Give the seconds since the call began."""
        return time.monotonic() - self._started

    def remaining(self) -> float:
        """Give the seconds that are left; 0 or less when the call is over."""
        return self._ends - time.monotonic()

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

    def check(self) -> None:
        """Raise the built-in TimeoutError when the call is over."""
        if self.remaining() <= 0:
            raise TimeoutError

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

#: The budget of the call that this thread is in. It travels beside the calls, because httpcore's backends
#: have no argument for it.
current_budget: contextvars.ContextVar[Budget] = contextvars.ContextVar("thrive_learning_budget")
