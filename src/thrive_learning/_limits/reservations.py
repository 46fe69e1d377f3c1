"""Reserves slots in a store that several processes share, or in the memory of this process if that fails."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from thrive_learning._clock import monotonic
from thrive_learning._interruptions import interruption
from thrive_learning._limits.memory import MemoryLimits
from thrive_learning._log import fields, logger_of
from thrive_learning._store_reports import ANSWER_S, describe_failure, describe_lateness, describe_store
from thrive_learning.rate_limits import RateLimitStore

logger = logger_of("limits")

T = TypeVar("T")

#: How long a store is not used after a failure, in seconds, and how many times as long as the failure took.
#: The longer of both applies. A store that hangs holds up calls, but the sooner all clients use it again, the
#: shorter some share the limit while others keep to their shares of it.
LEFT_ALONE_S, LEFT_ALONE_TIMES = 1.0, 3.0

#: The share of the rate, while the store fails, of a client that has reserved nothing in it of late, and the
#: least share of one that had no longer waits than at this rate, because it could have reserved more.
UNKNOWN_SHARE = 0.1


class Share:
    """The rate at which one client has reserved slots in a store, over the last half minute to minute.

    After a minute without slots, it is unknown again, as for a new client.

    Attributes:
        last_at: The time of the last slot.
    """

    _HALF_S = 30.0

    def __init__(self) -> None:
        self._began = self.last_at = -math.inf
        self._count = 0
        self._first_wait_s = self._longest_wait_s = 0.0
        self._before = 0, 0.0, 0.0  # the count, the seconds, and the longest wait before `_began`

    def count(self, slot_at: float, now: float) -> None:
        """Count a slot that was reserved now."""
        if self._is_over(now):
            self._before = 0, 0.0, 0.0
            self._began, self._count, self._first_wait_s = slot_at, 0, slot_at - now
            self._longest_wait_s = 0.0
        elif slot_at - self._began >= self._HALF_S:
            self._before = self._count, slot_at - self._began, self._longest_wait_s
            self._began, self._count, self._longest_wait_s = slot_at, 0, 0.0
        self._count += 1
        self._longest_wait_s = max(self._longest_wait_s, slot_at - now)
        self.last_at = slot_at

    def per_second(self, now: float) -> float | None:
        """Return the rate, with at least a second to judge by; None if it is unknown."""
        if self._is_over(now):
            return None
        count, before_s, _ = self._before
        seconds = max(now, self.last_at) - self._began + before_s
        count += self._count - 1  # without the first slot, because of the time before it
        if not count:  # only the wait for it is known
            count, seconds = 1, seconds + self._first_wait_s
        return count / max(seconds, 1.0)

    def longest_wait_s(self, now: float) -> float:
        """Return the longest wait for a slot in this time, in seconds; 0 if it is unknown."""
        return 0.0 if self._is_over(now) else max(self._longest_wait_s, self._before[2])

    def leave_out(self, seconds: float) -> None:
        """Leave out the last seconds, in which the store failed."""
        self._began += seconds
        self.last_at += seconds

    def _is_over(self, now: float) -> bool:
        return now - self.last_at > 2 * self._HALF_S


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


class Reservations:
    """The slots of one client.

    Args:
        limit: The rate limit.
        memory: The memory of this process, which is used without a store and while it fails.
        store: The store that several processes share; None for the memory of this process.
        clock: A monotonic clock in seconds.

    Attributes:
        blocks: Whether `take_in_store` and `slow` may block.
        take_now: Reserves a slot if that takes neither a wait nor a store, and returns whether it did.
        on_switch: Called when the store begins to fail, and when it works again.
    """

    def __init__(
        self,
        limit: Limit,
        memory: MemoryLimits,
        store: RateLimitStore | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limit: Limit = limit
        self.blocks: bool = store is not None
        self.take_now: Callable[[], bool] = memory.reserver(
            limit.key, per_second=limit.per_second, burst=limit.burst
        )
        if store is not None:
            self.take_now = lambda: False
        self.on_switch: Callable[[], object] = _ignore
        self._memory = memory
        self._store = store
        self._clock = clock
        self._left_alone_until = -math.inf
        self._failing_since: float | None = None
        self._silent_since = math.inf  # when the first of the unanswered requests began
        self._share = Share()
        self._rate_alone = limit.per_second
        self._alone = memory  # while the store fails; nothing of it outlives the outage

    @property
    def tries_again_at(self) -> float:
        """When the store is used again after a failure; infinity if it works."""
        return math.inf if self._failing_since is None else self._left_alone_until

    def take_in_store(self, longest_wait_s: float) -> float | None:
        """Reserve the next slot in the store, and return the seconds until then.

        If they are more than `longest_wait_s`, nothing is reserved. None without a store that works.
        """
        store = self._store
        if store is None or self._clock() < self._left_alone_until:
            return None
        key, per_second, burst = self.limit
        wait_s = self._tried(
            lambda: _seconds(
                store.take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)
            )
        )
        if wait_s is not None and wait_s <= longest_wait_s:
            now = self._clock()
            self._share.count(now + wait_s, now)
        return wait_s

    def take_here(self, longest_wait_s: float) -> float:
        """Reserve the next slot in memory, as `take_in_store` does in the store."""
        key, per_second, burst = self.limit
        memory = self._memory
        if self._failing_since is not None:
            memory, per_second, burst = self._alone, self._rate_alone, 1.0
        return memory.take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)

    def slow(self, pause_s: float, per_second: float | None, for_s: float) -> None:
        """Send nothing for some seconds, and less than usual for others."""
        key, store = self.limit.key, self._store
        self._memory.slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s)
        if self._failing_since is not None:
            self._alone.slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s)
            # Only a reservation tries the store again. This rate may be that of one process alone.
        elif store is not None:
            self._tried(lambda: store.slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s))

    def late(self, waited_s: float) -> None:
        """Record that the store has not answered after so many seconds, and will not be waited for."""
        # Several calls with short time limits may have waited one after the other.
        now = self._clock()
        self._silent_since = min(self._silent_since, now - waited_s)
        if waited_s >= ANSWER_S or now - self._silent_since >= ANSWER_S:
            self._fail(describe_lateness(), ANSWER_S)

    def _tried(self, operation: Callable[[], T]) -> T | None:
        began = self._clock()
        try:
            result = operation()
        except Exception as error:  # a store may raise anything, which must not break a call
            if interruption(error) is not None:
                raise
            took_s = self._clock() - began
            if took_s < ANSWER_S:
                self._silent_since = math.inf
                self._fail(describe_failure(error), took_s)
            return None
        if self._clock() >= began + ANSWER_S:
            return None  # the caller has given up
        self._silent_since = math.inf
        self._recover()
        return result

    def _fail(self, reason: str, took_s: float) -> None:
        now = self._clock()
        self._left_alone_until = now + max(LEFT_ALONE_TIMES * took_s, LEFT_ALONE_S)
        if self._failing_since is not None:
            return  # one warning per outage
        self._be_alone(now)
        self._failing_since = now
        store = describe_store(self._store, "rate limit store")
        logger.warning(
            "%s: %s; this client sends at most %.3g requests per second, its share of the limit, and tries "
            "again later",
            store,
            reason,
            self._rate_alone,
            extra=fields("limit_store_failed", store=store, error=reason),
        )
        self.on_switch()

    def _be_alone(self, now: float) -> None:
        """Keep to the share of this client from now on."""
        key, limit, _ = self.limit
        share = self._share.per_second(now) or 0.0
        longest_wait_s = self._share.longest_wait_s(now)
        least = 1 / max(longest_wait_s, 1 / (UNKNOWN_SHARE * limit))
        self._rate_alone = min(max(share, least), limit)
        # The first slot follows the last one of the store. Otherwise, each client would send a request more
        # than its share at once. A client that was not slowed by others does not wait for them.
        after_s = min(1 / self._rate_alone, max(longest_wait_s, 1 / limit))
        alone = MemoryLimits(self._clock, like=self._memory)
        alone.slow(key, pause_s=self._share.last_at + after_s - now)
        self._alone = alone

    def _recover(self) -> None:
        since, self._failing_since = self._failing_since, None
        if since is not None:
            self._share.leave_out(self._clock() - since)
            self._left_alone_until = -math.inf  # another thread may have failed just now
            self.on_switch()
            store = describe_store(self._store, "rate limit store")
            logger.info("%s: works again", store, extra=fields("limit_store_recovered", store=store))


def _ignore() -> None:
    """Do nothing, as long as no limiter listens."""


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and value == value:  # noqa: PLR0124 - not NaN
        return max(float(value), 0.0)
    raise TypeError  # a custom store
