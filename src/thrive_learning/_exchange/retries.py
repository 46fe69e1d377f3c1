"""Decides whether a request is sent again, and after how long. Pure."""

import random
from collections.abc import Callable

from thrive_learning._budget import Budget
from thrive_learning.errors import Attempt

#: The retry quota of a client, and the cost of a retry.
QUOTA, THROTTLE_COST, OTHER_COST = 500, 5, 14

_TOO_MANY_REQUESTS = 429

#: The statuses of servers that did not process the request. Source: RFC 9110 section 15.5.9, RFC 6585 section
#: 4.
_NOT_PROCESSED = frozenset({408, _TOO_MANY_REQUESTS})


class RetryQuota:
    """Keeps a client from overloading a broken API. Retries spend the quota, and successes refill it.

    Source: botocore's standard retry mode, including its numbers.
    """

    # Without a lock, two threads can miscount by one retry, which is harmless. A lock could be held across a
    # fork.

    def __init__(self) -> None:
        self.available: int = QUOTA

    def take(self, cost: int) -> bool:
        """Spend part of the quota, or return False if not enough is left."""
        if cost > self.available:
            return False
        self.available -= cost
        return True

    def give(self, amount: int) -> None:
        """Refill the quota up to its maximum."""
        self.available = min(QUOTA, self.available + amount)


class Retries:
    """The attempts of one request.

    Args:
        budget: The call's time and attempts.
        quota: The retry quota of the client.
        on_attempt: Called after each attempt.
        history: The attempts of the call so far; each attempt is appended.
        draw: Returns a random number from 0 to 1.
        operation: The method that sends the request.
        subject: The requested item: an ID, or the service of a token.
        is_idempotent: Whether the request may be sent again after it may have been processed.
    """

    def __init__(  # noqa: PLR0913 - everything that retries depend on
        self,
        budget: Budget,
        quota: RetryQuota,
        on_attempt: Callable[[Attempt], object],
        history: list[Attempt],
        draw: Callable[[], float] = random.random,
        *,
        operation: str | None = None,
        subject: str | None = None,
        is_idempotent: bool = True,
    ) -> None:
        self._is_idempotent = is_idempotent
        self._operation = operation
        self._subject = subject
        self._budget = budget
        self._quota = quota
        self._on_attempt = on_attempt
        self.history: list[Attempt] = history
        self._draw = draw
        self._tried = 0
        self._spent = 0
        self._began = budget.elapsed()
        self._waited_s = 0.0

    def waited(self, waited_s: float) -> None:
        """Record how long the next attempt waited for the rate limit, in seconds."""
        self._waited_s = waited_s
        self._began = self._budget.elapsed()

    def after(  # noqa: PLR0913 - the facts of an attempt
        self,
        *,
        status_code: int | None,
        error: str | None,
        may_pass: bool,
        retry_after: float | None = None,
        request_id: str | None = None,
        was_sent: bool = True,
    ) -> float | None:
        """Record an attempt, and decide what follows.

        Args:
            status_code: The HTTP status; None without a response.
            error: Why the attempt failed; None for a success.
            may_pass: Whether the failure may be transient.
            retry_after: The seconds that the server asks to wait.
            request_id: The request ID of the response.
            was_sent: Whether the server may have received the request.

        Returns:
            The seconds to wait before the next attempt; None to stop.
        """
        self._tried += 1
        may_repeat = self._is_idempotent or not was_sent or status_code in _NOT_PROCESSED
        delay = self._delay(status_code, retry_after) if may_pass and may_repeat else None
        if error is None:
            # A success returns the cost of the last retry, or a little without a retry.
            self._quota.give(self._spent or 1)
        now = self._budget.elapsed()
        attempt = Attempt(
            len(self.history) + 1,
            status_code,
            error,
            delay,
            now - self._began,
            request_id,
            self._operation,
            self._subject,
            self._waited_s,
        )
        self._began, self._waited_s = now + (delay or 0.0), 0.0
        self.history.append(attempt)
        self._on_attempt(attempt)
        return delay

    def _delay(self, status_code: int | None, retry_after: float | None) -> float | None:
        policy, tried = self._budget.retry, self._tried
        if tried >= policy.attempts:
            return None
        # Beyond 2**63 the power has no effect, and could overflow a float.
        longest = min(policy.max_delay, policy.first_delay * 2.0 ** min(tried - 1, 63))
        delay = max(self._draw() * longest, retry_after or 0.0)
        if delay >= self._budget.remaining():
            return None
        cost = THROTTLE_COST if status_code == _TOO_MANY_REQUESTS else OTHER_COST
        if not self._quota.take(cost):
            return None
        self._spent = cost
        return delay
