"""Whether a request is tried again, and after what wait. Pure: it neither sends nor sleeps."""

import random
from collections.abc import Callable

from thrive_learning._budget import Budget
from thrive_learning.errors import TRANSIENT_STATUS_CODES, Attempt

#: What a client may spend on retries before it has to succeed again, and what one costs.
QUOTA, THROTTLE_COST, OTHER_COST = 500, 5, 14

_TOO_MANY_REQUESTS = 429

#: The statuses of a server that has not processed the request. Source: RFC 9110 section 15.5.9, RFC 6585
#: section 4.
_NOT_PROCESSED = frozenset({408, _TOO_MANY_REQUESTS})


class RetryQuota:
    """Keeps a client from hammering an API that is broken: retries spend of it, successes fill it up again.

    Source: the shape and the numbers are those of botocore's standard retry mode.
    """

    # No lock: two threads that meet here can miscount by one retry, which does no harm; a lock that another
    # thread holds while the process forks would.

    def __init__(self) -> None:
        self.available: int = QUOTA

    def take(self, cost: int) -> bool:
        """Spend, or say that there is not enough left."""
        if cost > self.available:
            return False
        self.available -= cost
        return True

    def give(self, amount: int) -> None:
        """Fill up, to the brim at the most."""
        self.available = min(QUOTA, self.available + amount)


class Retries:
    """The tries of one request.

    Args:
        budget: What the call may spend.
        quota: What the client may spend on retries.
        on_attempt: Called with what each try came to.
        history: Where each try is noted, behind those of earlier requests of the same call.
        draw: Gives a number evenly from 0 to 1.
        operation: What the request is sent for.
        subject: What it asks for: an ID, or the service of a token.
        is_idempotent: Whether it may be sent again after it may have been processed.
    """

    def __init__(  # noqa: PLR0913 - what the tries of a request depend on
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

    def after(  # noqa: PLR0913 - what there is to say of a try
        self,
        *,
        status_code: int | None,
        error: str | None,
        may_pass: bool,
        retry_after: float | None = None,
        request_id: str | None = None,
        was_sent: bool = True,
    ) -> float | None:
        """Take note of a try, and decide what follows it.

        Args:
            status_code: The HTTP status, None where there was no response.
            error: Why it was no success; None for a success.
            may_pass: Whether the failure is of a kind that may pass.
            retry_after: How many seconds the server asks to wait.
            request_id: What the response calls itself.
            was_sent: Whether the server may have received the request.

        Returns:
            The seconds to wait before the next try; None if there is none.
        """
        self._tried += 1
        may_repeat = self._is_idempotent or not was_sent or status_code in _NOT_PROCESSED
        delay = self._delay(status_code, retry_after) if may_pass and may_repeat else None
        if error is None:
            # A success gives back what the last retry took; one without a retry a little.
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
        )
        self._began = now + (delay or 0.0)
        self.history.append(attempt)
        self._on_attempt(attempt)
        return delay

    def _delay(self, status_code: int | None, retry_after: float | None) -> float | None:
        policy, tried = self._budget.retry, self._tried
        if tried >= policy.attempts:
            return None
        # Beyond 2**63 the power means nothing, and could leave the range of floats.
        longest = min(policy.max_delay, policy.first_delay * 2.0 ** min(tried - 1, 63))
        delay = max(self._draw() * longest, retry_after or 0.0)
        if delay >= self._budget.remaining():
            return None
        cost = THROTTLE_COST if status_code == _TOO_MANY_REQUESTS else OTHER_COST
        if not self._quota.take(cost):
            return None
        self._spent = cost
        return delay


def may_pass(status_code: int) -> bool:
    """Say whether a status is one after which the same request may well succeed a little later."""
    return status_code in TRANSIENT_STATUS_CODES
