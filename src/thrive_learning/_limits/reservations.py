"""Reserves slots in a store that several processes share, or in the memory of this process if that fails."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from thrive_learning._clock import monotonic
from thrive_learning._interruptions import interruption
from thrive_learning._limits.memory import MemoryLimits
from thrive_learning._log import fields, logger_of
from thrive_learning._store_reports import describe_failure, describe_store

logger = logger_of("limits")

T = TypeVar("T")

#: How long a store is not used after a failure, in seconds.
LEFT_ALONE_S = 30.0

#: The share of the rate, while the store fails, of a client that has reserved nothing in it of late.
UNKNOWN_SHARE = 0.1


class Share:
    """The rate at which one client has reserved slots in a store, over the last half minute to minute.

    After a minute without slots, it is unknown again, as for a new client.
    """

    _HALF_S = 30.0

    def __init__(self) -> None:
        self._began = self._last_at = -math.inf
        self._count = 0
        self._before = 0, 0.0  # the count and the seconds before `_began`

    def count(self, now: float) -> None:
        """Count a slot."""
        if self._is_over(now):
            self._before = 0, 0.0
            self._began, self._count = now, 0
        elif now - self._began >= self._HALF_S:
            self._before = self._count, now - self._began
            self._began, self._count = now, 0
        self._count += 1
        self._last_at = now

    def per_second(self, now: float) -> float | None:
        """Return the rate, with at least a second to judge by; None if it is unknown."""
        if self._is_over(now):
            return None
        count, before_s = self._before
        return (count + self._count) / max(now - self._began + before_s, 1.0)

    def leave_out(self, seconds: float) -> None:
        """Leave out the last seconds, in which the store failed."""
        self._began += seconds
        self._last_at += seconds

    def _is_over(self, now: float) -> bool:
        return now - self._last_at > 2 * self._HALF_S


class Limit(NamedTuple):
    """A rate limit, and what it applies to.

    Attributes:
        key: What it applies to, in a store.
        per_second: The number of requests per second.
        burst: How many requests may be sent at once after a quiet time.
    """

    key: str
    per_second: float
    burst: float


class Store(Protocol):
    """A store of rate limits; see `RateLimitStore`."""

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        """Reserve the next slot, and return the seconds until then."""
        ...

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        """Pause, or lower the rate for a while."""
        ...


class Reservations:
    """The slots of one client.

    Args:
        limit: The rate limit.
        memory: The memory of this process, which is used without a store and while it fails.
        store: The store that several processes share; None for the memory of this process.
        clock: A monotonic clock in seconds.

    Attributes:
        blocks: Whether the methods may block.
    """

    def __init__(
        self,
        limit: Limit,
        memory: MemoryLimits,
        store: Store | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limit: Limit = limit
        self.blocks: bool = store is not None
        self._memory = memory
        self._store = store
        #: Reserve a slot if that is possible without a wait, and return whether it was.
        self.reserve_now: Callable[[], bool] = memory.reserver(
            limit.key, per_second=limit.per_second, burst=limit.burst
        )
        if store is not None:
            self.reserve_now = lambda: self.reserve(0.0) == 0
        self._clock = clock
        self._left_alone_until = -math.inf
        self._failing_since: float | None = None
        self._share = Share()
        self._rate_alone = limit.per_second
        #: Called when the store begins to fail, and when it works again.
        self.on_switch: Callable[[], object] = _ignore

    @property
    def tries_again_at(self) -> float:
        """When the store is used again after a failure; infinity if it works."""
        return math.inf if self._failing_since is None else self._left_alone_until

    def reserve(self, longest_wait_s: float) -> float:
        """Reserve the next slot, and return the seconds until then.

        If they are more than `longest_wait_s`, nothing is reserved.
        """
        wait_s = self.reserve_in_store(longest_wait_s)
        if wait_s is not None:
            return wait_s
        key, per_second, burst = self.limit
        if self._failing_since is not None:
            per_second, burst = self._rate_alone, 1.0
        return self._memory.take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)

    def reserve_in_store(self, longest_wait_s: float) -> float | None:
        """Reserve the next slot as `reserve` does, but return None without a working store."""
        key, per_second, burst = self.limit
        store = self._store
        if store is None or self._clock() < self._left_alone_until:
            return None
        wait_s = self._tried(
            lambda: _seconds(
                store.take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)
            )
        )
        if wait_s is not None and wait_s <= longest_wait_s:
            self._share.count(self._clock())
        return wait_s

    def slow(self, pause_s: float, per_second: float | None, for_s: float) -> None:
        """Send nothing for some seconds, and less than usual for others."""
        key, store = self.limit.key, self._store
        self._memory.slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s)
        # After a failure, only `reserve` tries the store again. This rate may be that of one process alone.
        if store is not None and self._failing_since is None:
            self._tried(lambda: store.slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s))

    def _tried(self, operation: Callable[[], T]) -> T | None:
        try:
            result = operation()
        except Exception as error:  # a store may raise anything, which must not break a call
            if interruption(error) is not None:
                raise
            now = self._clock()
            self._left_alone_until = now + LEFT_ALONE_S
            if self._failing_since is None:  # once per outage
                share = self._share.per_second(now) or UNKNOWN_SHARE * self.limit.per_second
                self._rate_alone = min(share, self.limit.per_second)
                self._failing_since = now
                store, reason = describe_store(self._store, "rate limit store"), describe_failure(error)
                logger.warning(
                    "%s: %s; this client sends at most %.3g requests per second, its share of the limit, "
                    "and tries again later",
                    store,
                    reason,
                    self._rate_alone,
                    extra=fields("limit_store_failed", store=store, error=reason),
                )
                self.on_switch()
            return None
        since = self._failing_since
        if since is not None:
            self._failing_since = None
            self._share.leave_out(self._clock() - since)
            self._left_alone_until = -math.inf  # another thread may have failed just now
            self.on_switch()
            store = describe_store(self._store, "rate limit store")
            logger.info("%s: works again", store, extra=fields("limit_store_recovered", store=store))
        return result


def _ignore() -> None:
    """Do nothing, as long as no limiter listens."""


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and value == value:  # noqa: PLR0124 - not NaN
        return max(float(value), 0.0)
    raise TypeError  # a custom store
