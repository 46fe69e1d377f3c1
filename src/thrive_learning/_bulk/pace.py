"""Decides how many requests a bulk run has in flight, and when it pauses. Pure.

It uses no clock. `now` is the time of the caller's clock, in seconds.
"""

import math
import random
from collections.abc import Callable

from thrive_learning.policies import RetryPolicy

#: The number of rounds of requests in which the limit grows from half the concurrency to all of it.
ROUNDS_TO_RECOVER = 8

#: The number of requests in flight at first, if the CPU time of the run is known.
FIRST_IN_FLIGHT = 32

#: The share of time spent on work above which more requests in flight would gain little.
BUSY = 0.75


class Pace:
    """The number of requests that a run has in flight, by additive increase and multiplicative decrease.

    A transient failure halves the limit and pauses the run as long as the server asks, or else as long as a
    retry would wait. After the pause, one request is sent as a probe. A response to the probe restores the
    (halved) limit. Another failure doubles the pause.

    If the CPU time is known, the run starts with few requests in flight and doubles them as long as it has
    idle time between responses.

    Args:
        concurrency: The highest limit.
        retry: The policy that sets pauses if the server does not ask for one.
        draw: Returns a random number from 0 to 1.
        cpu_s: Returns the CPU time of the worker in seconds. None starts with the highest limit.
        now: The start time.
    """

    def __init__(
        self,
        concurrency: int,
        retry: RetryPolicy,
        draw: Callable[[], float] = random.random,
        cpu_s: Callable[[], float] | None = None,
        now: float = 0.0,
    ) -> None:
        self._concurrency = concurrency
        self._cpu_s = cpu_s
        self._ceiling = concurrency if cpu_s is None else min(concurrency, FIRST_IN_FLIGHT)
        self._answers = 0
        self._looked_at = now, 0.0 if cpu_s is None else cpu_s()
        self._limit = float(self._ceiling)
        self._step = max(1.0, concurrency / 2 / ROUNDS_TO_RECOVER)
        self._retry = retry
        self._draw = draw
        self._stalls = 0
        self._slowed_at = -math.inf
        self._failed_sent_at = -math.inf
        self._asked_until = -math.inf
        self._drawn_until = -math.inf
        #: The time since which nothing but failures arrived; None if the server is up as far as is known.
        self.down_since: float | None = None
        #: When the latest request that got a response was sent.
        self.answered_sent_at: float = -math.inf

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight."""
        return 1 if self.is_down else int(self._limit)

    @property
    def is_down(self) -> bool:
        """Whether the latest outcome was a failure, so that the next request is a probe."""
        return self.down_since is not None

    @property
    def resumes_at(self) -> float:
        """The end of the pause."""
        return max(self._asked_until, self._drawn_until)

    def backoff(self, failures: int) -> float:
        """Return the wait of a retry after this many failures, in seconds."""
        longest = min(self._retry.max_delay, self._retry.first_delay * 2.0 ** min(failures - 1, 63))
        return self._draw() * longest

    def answered(self, sent_at: float, now: float) -> bool:
        """Record a response that is not a transient failure. Return whether it shows that the server is up.

        Only the response to a request that was sent after the failed one shows this, because a server that
        restarts still answers older requests. It also ends a pause that the server did not ask for.
        """
        self.answered_sent_at = max(self.answered_sent_at, sent_at)
        recovers = self.is_down and sent_at > self._failed_sent_at
        if recovers:
            self.down_since = None
            self._stalls = 0
            self._drawn_until = -math.inf
        if self._cpu_s is not None and self._ceiling < self._concurrency:
            self._answers += 1
            if self._answers >= self._ceiling:
                self._look(now, self._cpu_s())
        if not self.is_down and not recovers:
            self._limit = min(float(self._ceiling), self._limit + self._step / self._limit)
        return recovers

    def _look(self, now: float, cpu_s: float) -> None:
        """Raise the number in flight if there was idle time since the last look."""
        then, cpu_then = self._looked_at
        self._answers, self._looked_at = 0, (now, cpu_s)
        if cpu_s - cpu_then < BUSY * (now - then):
            self._ceiling = min(2 * self._ceiling, self._concurrency)
            self._limit = float(self._ceiling)

    def slow(self, sent_at: float, now: float, asked_s: float, *, is_throttle: bool = False) -> None:
        """Record a transient failure, and pause.

        Failures of requests that were sent before the last failure do not halve the limit again.

        Args:
            sent_at: When the request was sent.
            now: The time.
            asked_s: The pause that the server asks for, in seconds, or 0.
            is_throttle: Whether it was a 429, so that only time ends the pause.
        """
        self.ask(now, asked_s)
        if sent_at < self._slowed_at:
            return
        self._stalls += 1
        until = now + max(self.backoff(self._stalls), asked_s)
        if is_throttle:
            self._asked_until = max(self._asked_until, until)
        else:
            self._drawn_until = max(self._drawn_until, until)
        self._slowed_at, self._failed_sent_at = now, sent_at
        self._limit = max(1.0, self._limit / 2)
        self._ceiling = self._concurrency  # from now on, the limit grows step by step
        if self.down_since is None:
            self.down_since = now

    def ask(self, now: float, asked_s: float) -> None:
        """Pause as long as the server asks."""
        self._asked_until = max(self._asked_until, now + asked_s)
