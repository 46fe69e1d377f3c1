"""What a bulk run decides: how much is in flight, which ID is next, which result comes out. Pure.

It moves no bytes and looks at no clock: `now` is what the caller's clock says, in seconds.
"""

import copy
import math
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import attrs

from thrive_learning.errors import (
    ApiError,
    Attempt,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    InvalidIdError,
    RateLimitedError,
    ThriveError,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
)
from thrive_learning.ids import activity_id as validated
from thrive_learning.models import Activity, ActivityFailed, ActivityFound, ActivityResult
from thrive_learning.policies import MAX_CONNECTIONS, Budget, RetryPolicy, Timeout

#: From half the concurrency back to the whole takes at most so many rounds of requests.
ROUNDS_TO_RECOVER = 8

#: So many requests a run has in flight at first, if its CPU time is known. More have to be worth it.
FIRST_IN_FLIGHT = 32

# Statuses of the token endpoint after which another try with the same credentials would fare no better.
_REFUSALS = frozenset({400, 401, 403, 404})

#: What works for a larger part of the time than this would gain little by having more in flight.
BUSY = 0.75

#: A server that asks for a longer pause ends the run: nobody would watch it stand still for so long.
LONGEST_PAUSE_S = 3600.0

#: How many IDs may be read whose results have not been taken, as a multiple of the concurrency.
WINDOW, ORDERED_WINDOW = 2, 4


class Pace:
    """How many requests a run has in flight: additive increase, multiplicative decrease.

    A 429 halves the limit and lets all workers pause: as long as the server asks, or else as long as a retry
    would wait. The 429s to requests that were sent before that say the same once more, and halve nothing.

    Where its CPU time is known, it begins with a few, and doubles them as long as there is time between the
    answers: what has none to spare would only open connections and wait longer for each.

    Args:
        concurrency: The highest limit.
        retry: How long to pause without a `Retry-After`; a policy of one attempt gives each 429 up at once.
        patience_s: How long a run that gets nothing but 429s goes on before it gives IDs up.
        draw: Gives a number evenly from 0 to 1.
        cpu_s: Gives the seconds of CPU time that who does the work has taken. None begins with the highest.
        now: The time at which it begins.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a pace depends on
        self,
        concurrency: int,
        retry: RetryPolicy,
        patience_s: float,
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
        self._patience_s = patience_s
        self._draw = draw
        self._slowed_at = -math.inf
        self._stalled_at = 0.0
        self._stalls = 0
        self.resumes_at: float = -math.inf

    @property
    def limit(self) -> int:
        """How many requests may be in flight."""
        return int(self._limit)

    def answered(self, now: float) -> None:
        """Take note of an answer that is no 429."""
        self._stalls = 0
        if self._cpu_s is not None and self._ceiling < self._concurrency:
            self._answers += 1
            if self._answers >= self._ceiling:
                self._look(now, self._cpu_s())
        self._limit = min(float(self._ceiling), self._limit + self._step / self._limit)

    def _look(self, now: float, cpu_s: float) -> None:
        """Have more in flight if there was time to spare since the last look."""
        then, cpu_then = self._looked_at
        self._answers, self._looked_at = 0, (now, cpu_s)
        if cpu_s - cpu_then < BUSY * (now - then):
            self._ceiling = min(2 * self._ceiling, self._concurrency)
            self._limit = float(self._ceiling)

    def throttled(self, sent_at: float, now: float, retry_after: float | None) -> bool:
        """Take note of a 429, and say whether its request is to be sent again.

        Args:
            sent_at: When the request was sent.
            now: The time.
            retry_after: How many seconds the server asks to wait.
        """
        pause = retry_after or 0.0
        if sent_at >= self._slowed_at:
            if not self._stalls:
                self._stalled_at = now
            longest = min(self._retry.max_delay, self._retry.first_delay * 2.0 ** min(self._stalls, 63))
            pause = max(pause, self._draw() * longest)
            self._stalls += 1
            self._slowed_at = now
            self._limit = max(1.0, self._limit / 2)
            self._ceiling = self._concurrency  # to be reached step by step from now on
        self.resumes_at = max(self.resumes_at, now + pause)
        if self._retry.attempts == 1:
            return False
        return self._stalls < self._retry.attempts or now - self._stalled_at < self._patience_s


class Plan(NamedTuple):
    """What a run was asked for; see `Activities.get_many`."""

    concurrency: int
    ordered: bool
    timeout: Timeout
    retry: RetryPolicy
    deadline_s: float | None

    @classmethod
    def of(cls, concurrency: object, ordered: object, deadline: object, budget: Budget) -> "Plan":
        """Check what a user asks for.

        Raises:
            ConfigurationError: It makes no sense.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency!r}: it must be a whole number above 0")
        if concurrency > MAX_CONNECTIONS:
            raise ConfigurationError(
                f"concurrency is {concurrency}: a client has {MAX_CONNECTIONS} connections at the most"
            )
        if not isinstance(ordered, bool):
            raise ConfigurationError(f"ordered is {ordered!r}: pass True or False")
        if deadline is not None and (
            isinstance(deadline, bool)
            or not isinstance(deadline, (int, float))
            or not 0 < deadline < math.inf
        ):
            raise ConfigurationError(
                f"deadline is {deadline!r}: it must be a number of seconds above 0 for the whole run, or None"
            )
        return cls(concurrency, ordered, budget.timeout, budget.retry, deadline)


class Job:
    """One fetch, for each place at which its ID stood while it was on its way."""

    __slots__ = ("activity_id", "history", "places", "sent_at")

    def __init__(self, activity_id: str) -> None:
        self.activity_id: str = activity_id
        self.places: list[tuple[int, str]] = []
        self.history: tuple[Attempt, ...] = ()
        self.sent_at: float = 0.0


class Schedule:
    """One run: IDs go in, jobs come out; what they came to goes in, results come out.

    Args:
        plan: What the run was asked for.
        now: The time at which it begins.
        draw: Gives a number evenly from 0 to 1.
        cpu_s: See `Pace`.
    """

    def __init__(
        self,
        plan: Plan,
        now: float,
        draw: Callable[[], float] = random.random,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        self.plan: Plan = plan
        self.exhausted: bool = False
        self.failure: BaseException | None = None
        self.in_flight: int = 0
        self._pace = Pace(plan.concurrency, plan.retry, plan.timeout.total, draw, cpu_s, now)
        self._ends_at = math.inf if plan.deadline_s is None else now + plan.deadline_s
        self._window = plan.concurrency * (ORDERED_WINDOW if plan.ordered else WINDOW)
        self._pending: deque[Job] = deque()
        self._jobs: dict[str, Job] = {}
        self._ready: deque[ActivityResult] = deque()  # as they complete
        self._by_place: dict[int, ActivityResult] = {}  # in order
        self._read = 0
        self._taken = 0

    def may_read(self, now: float) -> bool:
        """Say whether another ID may be read: there is a slot for it, and a place for its result."""
        return (
            not self.exhausted
            and self.failure is None
            and self._read - self._taken < self._window
            and self._may_send(now, len(self._pending))
        )

    def _may_send(self, now: float, before: int = 0) -> bool:
        return self.in_flight + before < self._pace.limit and self._pace.resumes_at <= now < self._ends_at

    def add(self, given: str) -> None:
        """Take an ID in."""
        place, self._read = self._read, self._read + 1
        try:
            activity_id = validated(given)
        except InvalidIdError as error:
            self._put(place, given, None, error)
            return
        job = self._jobs.get(activity_id)
        if job is None:
            job = self._jobs[activity_id] = Job(activity_id)
            self._pending.append(job)
        job.places.append((place, given))

    def next_job(self, now: float) -> Job | None:
        """Give the next fetch to begin; None if none may begin now."""
        if not self._pending or self.failure is not None or not self._may_send(now):
            return None
        job = self._pending.popleft()
        job.sent_at = now
        self.in_flight += 1
        return job

    def budget(self, now: float) -> Budget:
        """Start the clock of a fetch, which ends with the run at the latest."""
        timeout, left = self.plan.timeout, max(self._ends_at - now, 1e-3)
        if left < timeout.total:
            timeout = attrs.evolve(timeout, total=left)
        return Budget(timeout, self.plan.retry)

    def finish(self, job: Job, outcome: Activity | ThriveError, now: float) -> None:
        """Take note of what a fetch came to."""
        self.in_flight -= 1
        if not isinstance(outcome, ThriveError):
            self._pace.answered(now)
            self._settle(job, outcome, None)
            return
        outcome.__traceback__ = None  # its frames would live as long as the result
        if _is_common(outcome):
            self.failure = self.failure or outcome
            return
        if isinstance(outcome, RateLimitedError):
            if (outcome.retry_after or 0.0) > LONGEST_PAUSE_S:
                self.failure = self.failure or outcome
                return
            again = self._pace.throttled(job.sent_at, now, outcome.retry_after)
            if again and max(now, self._pace.resumes_at) < self._ends_at:
                job.history += outcome.history
                self._pending.appendleft(job)
                return
        elif isinstance(outcome, (ApiError, UnexpectedResponseError)):
            self._pace.answered(now)
        elif isinstance(outcome, DeadlineExceededError) and now >= self._ends_at:
            outcome, history = self._too_late(), outcome.history
            outcome.history = history
        self._settle(job, None, outcome)

    def expire(self, now: float) -> None:
        """At the deadline, read no further ID, and give those up that no request is in flight for.

        The same where a pause outlasts the deadline, and nothing more can come.
        """
        if now >= self._ends_at or (self._pace.resumes_at >= self._ends_at and not self.in_flight):
            self.exhausted = True
            while self._pending:
                self._settle(self._pending.popleft(), None, self._too_late())

    def wait_s(self, now: float) -> float | None:
        """Give the seconds until something may begin or end by itself; None if nothing does."""
        at = self._ends_at
        if self._pace.resumes_at > now and (self._pending or not self.exhausted):
            at = min(at, self._pace.resumes_at)
        elif now >= at:
            return None  # what is in flight ends by itself
        return None if math.isinf(at) else max(at - now, 0.0)

    def take(self) -> ActivityResult | None:
        """Give the next result; None if there is none yet.

        In the order of the IDs, if that was asked for; once the run has failed, those before its end are not
        waited for.
        """
        result = None
        if self._ready:
            result = self._ready.popleft()
        elif self._by_place:
            place = self._taken if self.failure is None else min(self._by_place)
            result = self._by_place.pop(place, None)
        if result is not None:
            self._taken += 1
        return result

    @property
    def pending(self) -> int:
        """How many fetches wait for their beginning."""
        return len(self._pending)

    @property
    def is_over(self) -> bool:
        """Whether no result is to come, once those that are there have been taken."""
        return self.failure is not None or (self.exhausted and self._read == self._taken)

    def _too_late(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"the run's deadline={self.plan.deadline_s:g} s was over before this record came: "
            "try again later, or allow more time with deadline="
        )

    def _settle(self, job: Job, activity: Activity | None, error: ThriveError | None) -> None:
        del self._jobs[job.activity_id]
        if error is not None and job.history:
            tries = enumerate((*job.history, *error.history), start=1)
            error.history = tuple(attempt._replace(number=number) for number, attempt in tries)
        for index, (place, given) in enumerate(job.places):
            # Whoever raises an error changes it: each place has its own.
            own = copy.copy(error) if index and error is not None else error
            self._put(place, given, activity, own)

    def _put(self, place: int, given: str, activity: Activity | None, error: ThriveError | None) -> None:
        if error is not None:
            error.__traceback__ = None
        result: ActivityResult
        if error is None:
            result = ActivityFound(id=given, activity=cast("Activity", activity))
        else:
            result = ActivityFailed(id=given, error=error)
        if self.plan.ordered:
            self._by_place[place] = result
        else:
            self._ready.append(result)


def _is_common(error: ThriveError) -> bool:
    """Say whether an error is that of the client, which every other ID would get as well."""
    if isinstance(error, TokenError):
        return error.status_code in _REFUSALS
    return isinstance(error, (ClientClosedError, ConfigurationError, UnauthorizedError))
