"""Decides which ID of a bulk run is next, which is sent again or has failed, and what ends the run. Pure.

It does no I/O and uses no clock. `now` is the time of the caller's clock, in seconds.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import attrs

from thrive_learning._budget import Budget
from thrive_learning._bulk.failures import (
    cause_of,
    ends_run,
    held_up,
    is_hopeless,
    joined_attempts,
    may_be_about_the_id,
    pause_asked_s,
    too_late,
)
from thrive_learning._bulk.pace import Pace
from thrive_learning._bulk.permits import CHECK_AGAIN_S, READ_AHEAD, Permits
from thrive_learning._bulk.plan import Plan
from thrive_learning._bulk.results import Results
from thrive_learning.errors import (
    ApiError,
    Attempt,
    DeadlineExceededError,
    InvalidIdError,
    RateLimitedError,
    ThriveError,
)
from thrive_learning.policies import RetryPolicy

#: The longest pause that a server can ask for without ending the run, in seconds.
LONGEST_PAUSE_S = 3600.0

#: The number of failures in a row that end the run, if they would affect every ID.
HOPELESS_IN_A_ROW = 5

#: A failure of a server that has not responded for this long counts as one of them. Seconds.
PATIENCE_S = 60.0

#: The number of IDs that may be read before their results are taken, as a multiple of the concurrency.
WINDOW, ORDERED_WINDOW = 2, 4

#: How long a run without a deadline waits for a permit, in seconds.
LONGEST_WAIT_S = 365 * 86_400.0

#: How long an ID that may have caused the failures waits for another ID after a pause, in seconds.
GIVES_WAY_S = 0.1


@attrs.define(eq=False)
class Job:
    """One ID in progress, with all of its occurrences in the meantime.

    Attributes:
        activity_id: The ID.
        places: The positions of its occurrences, each with the ID as passed.
        history: The attempts so far.
        error: The last failure.
        begun_at: When its time limit began: when it was first sent, or when a pause prevented that.
        sent_at: When it was last sent.
        failed_at: When it last failed.
        failed_sent_at: When the request that last failed was sent.
        retries_at: When it may be sent again.
        strikes: The number of failures that are attributed to this ID, because other IDs succeeded.
        is_suspect: Whether other IDs have succeeded since it failed.
        held_from: How long the rate limit had held up the run when this ID was ready to be sent, in seconds.
            Its time limit does not include what came after that. None if it is not ready.
        permit: How long the run waited for the permit of its request, in seconds; None without a rate limit.
    """

    activity_id: str
    places: list[tuple[int, Any]] = attrs.field(factory=list[tuple[int, Any]])
    history: tuple[Attempt, ...] = ()
    error: ThriveError | None = None
    begun_at: float | None = None
    sent_at: float = 0.0
    failed_at: float = 0.0
    failed_sent_at: float = math.inf
    retries_at: float = 0.0
    strikes: int = 0
    is_suspect: bool = False
    held_from: float | None = None
    permit: float | None = None

    def begin(self, now: float, held_s: float = 0.0) -> None:
        """Record that it is sent, after the rate limit has held up the run for some seconds."""
        self.sent_at = now
        self.begun_at = now if self.begun_at is None else self.begun_at + self.held_up_s(held_s)
        self.held_from = None
        if self.history:
            waited = self.history[-1]._replace(delay=now - self.failed_at)
            self.history = (*self.history[:-1], waited)

    def held_up_s(self, held_s: float) -> float:
        """Return how long the rate limit has held up this ID, which is ready, in seconds."""
        return 0.0 if self.held_from is None else held_s - self.held_from


class Schedule:
    """The schedule of one run. IDs and outcomes go in; jobs and results come out.

    Args:
        plan: The arguments of the run.
        now: The start time.
        draw: Returns a random number from 0 to 1.
        cpu_s: See `Pace`.
        is_limited: Whether the client has a rate limit.
    """

    def __init__(
        self,
        plan: Plan,
        now: float,
        draw: Callable[[], float] = random.random,
        cpu_s: Callable[[], float] | None = None,
        *,
        is_limited: bool = False,
    ) -> None:
        self.plan: Plan = plan
        self.exhausted: bool = False
        self.failure: BaseException | None = None
        self.in_flight: int = 0
        self._permits = Permits(is_limited=is_limited)
        self._pace = Pace(plan.concurrency, plan.retry, draw, cpu_s, now)
        self._ends_at = math.inf if plan.deadline_s is None else now + plan.deadline_s
        self._window = plan.most_ahead or plan.concurrency * (ORDERED_WINDOW if plan.ordered else WINDOW)
        self._pending: deque[Job] = deque()  # jobs that may be sent
        self._waiting: list[tuple[float, int, Job]] = []  # failed jobs, by the time of their retry
        self._numbers = itertools.count()
        self._next_limit_at = math.inf  # no waiting ID reaches its time limit before this time
        self._probe: Job | None = None
        self._blamed: Job | None = None  # the only ID that has failed since the server was up
        self._hopeless = 0
        self._paused_at: float | None = None  # the time, if an ID is read in a pause
        self._announced_until = -math.inf
        self._announcement: str | None = None
        self._cause = ""  # of the last pause
        self._jobs: dict[str, Job] = {}
        self._results = Results(plan)

    # Starting jobs

    def may_read(self, now: float) -> bool:
        """Return whether another ID may be read, because there is a free slot and room for its result."""
        if self.exhausted or self.failure is not None or self._results.outstanding >= self._window:
            return False
        self._wake(now)
        if self.plan.kind.in_turn and not self.is_idle:
            return False
        self._paused_at = now if now < self._pace.resumes_at else None
        if self.is_idle and now < self._ends_at:
            return True  # even in a pause, to find out whether any IDs are left
        if self._pace.is_down:
            return self._may_send(now) and not any(map(self._is_fit, self._pending))
        if self._permits.is_limited and len(self._pending) >= READ_AHEAD:
            return False
        return self._may_send(now, len(self._pending))

    def _may_send(self, now: float, before: int = 0) -> bool:
        if not self._pace.resumes_at <= now < self._ends_at:
            return False
        if self._pace.is_down:
            return self._probe is None and self.in_flight < self.plan.concurrency
        return self.in_flight + before < self._pace.limit

    def _is_fit(self, job: Job) -> bool:
        """Return whether an ID is fit for a probe, because its failure would not be its own fault."""
        return not job.is_suspect and job is not self._blamed

    def add(self, given: Any) -> None:
        """Add an ID."""
        place = self._results.next_place()
        try:
            activity_id = self.plan.kind.key(given)
        except InvalidIdError as error:
            self._results.put([(place, given)], None, error)
            return
        job = self._jobs.get(activity_id)
        if job is None:
            job = self._jobs[activity_id] = Job(activity_id)
            if self._paused_at is not None:
                self._begin_time_limit(job, self._paused_at)  # it includes pauses
            self._pending.append(job)
        job.places.append((place, given))

    def next_job(self, now: float) -> Job | None:
        """Return the next fetch to begin; None if none may begin now."""
        job = self._next(now) if self._permits.is_ready else None
        if job is None:
            return None
        if self._pace.is_down:
            self._probe = job
        self._pending.remove(job)  # it is one of the first
        job.begin(now, self._permits.held_s(now))
        job.permit = self._permits.use()
        self.in_flight += 1
        return job

    def _next(self, now: float) -> Job | None:
        if self.failure is not None or not self._may_send(now):
            return None
        self._wake(now)
        if not self._pending:
            return None
        if not self._pace.is_down:
            return self._pending[0]
        fit = next(filter(self._is_fit, self._pending), None)
        return None if fit is None and self._may_find_fit_one(now) else fit or self._pending[0]

    def asks_for_permit(self, now: float) -> bool:
        """Return whether the caller must get a permit for the next fetch, and call `permit` afterwards."""
        if not self._permits.may_ask or self._next(now) is None:
            return False
        self._permits.ask(now)
        return True

    def permit(self, waited_s: float | None, now: float) -> None:
        """Record that the next fetch may begin.

        Args:
            waited_s: How long the run has waited for it, in seconds. None if it may not begin, because that
                would be after the deadline of the run, or because the run ends.
            now: The time.
        """
        self._permits.answer(waited_s, now)

    def permit_budget(self, now: float) -> Budget:
        """Return the budget of waiting for a permit, which ends at the deadline of the run."""
        left_s = min(max(self._ends_at - now, 1e-3), LONGEST_WAIT_S)
        return Budget(attrs.evolve(self.plan.timeout, total=left_s), RetryPolicy(attempts=1))

    def _may_find_fit_one(self, now: float) -> bool:
        """Return whether an ID that is fit for a probe may soon be read."""
        return self.may_read(now) and now < self._pace.resumes_at + GIVES_WAY_S

    def _wake(self, now: float) -> None:
        """Queue the IDs whose retry is due behind those that already wait."""
        while self._waiting and self._waiting[0][0] <= now:
            job = heapq.heappop(self._waiting)[2]
            if job.held_from is None:
                job.held_from = self._permits.held_s(now)
            self._pending.append(job)

    def budget(self, job: Job, now: float) -> Budget:
        """Return the budget of a fetch, which ends with the time limit of its ID or of the run.

        It is for one attempt, because the schedule, which sees all IDs, decides about retries.
        """
        timeout, left = self.plan.timeout, max(self._ends_at - now, 1e-3)
        spent = 0.0 if job.begun_at is None else now - job.begun_at
        if left < timeout.total - spent:
            timeout, spent = attrs.evolve(timeout, total=left), 0.0
        budget = Budget(timeout, RetryPolicy(attempts=1), spent)
        budget.permit = job.permit
        return budget

    # Handling outcomes

    def finish(self, job: Job, outcome: object, now: float) -> None:
        """Record the outcome of a fetch."""
        self.in_flight -= 1
        if job is self._probe:
            self._probe = None
        if not isinstance(outcome, ThriveError):
            self._hear(job, now)
            self._hopeless = 0
            self._settle(job, outcome, None)
            return
        outcome.__traceback__ = None  # its frames would live as long as the result
        outcome.history = joined_attempts(job.history, outcome.history)
        if ends_run(outcome):
            self.failure = self.failure or outcome
        elif outcome.is_transient:
            self._retry(job, outcome, now)
        else:
            self._hear(job, now)
            if not is_hopeless(outcome):
                self._hopeless = 0
            elif self._despair(outcome):
                return
            self._settle(job, None, outcome)

    def _hear(self, job: Job, now: float) -> None:
        """Record a response that is not a transient failure."""
        if self._pace.answered(job.sent_at, now):
            self._announced_until = -math.inf
            blamed, self._blamed = self._blamed, None
            if blamed is not None and isinstance(blamed.error, ApiError):
                blamed.strikes += 1

    def _retry(self, job: Job, error: ThriveError, now: float) -> None:
        """Send an ID again after a transient failure, unless it has failed."""
        pace, asked_s = self._pace, pause_asked_s(error)
        if asked_s > LONGEST_PAUSE_S:
            self.failure = self.failure or error
            return
        was_down, is_throttle = pace.is_down, isinstance(error, RateLimitedError)
        job.is_suspect = job.is_suspect or pace.answered_sent_at > job.failed_sent_at
        is_alone = job.is_suspect or pace.answered_sent_at > job.sent_at
        fails_again = job.error is not None
        job.error, job.history, job.failed_at, job.failed_sent_at = error, error.history, now, job.sent_at
        if may_be_about_the_id(error) and (job.is_suspect or (is_alone and not was_down)):
            # The server answers other requests, so they wait only if it asks for that, and not each time.
            job.strikes += isinstance(error, ApiError) and not was_down
            if not fails_again:
                pace.ask(now, asked_s)
            job.retries_at = now + max(asked_s, pace.backoff(max(len(job.history), 1)))
        else:
            pace.slow(job.sent_at, now, asked_s, is_throttle=is_throttle)
            pause_s = max(pace.resumes_at - now, 0.0)
            job.retries_at = now + pause_s
            if not was_down:
                self._probe, self._blamed = None, job if may_be_about_the_id(error) else None
            elif self._blamed is not job:
                self._blamed = None
        self._permits.pause(pace.resumes_at, now)
        for other in self._pending:
            if other.begun_at is None:
                self._begin_time_limit(other, now)
        self._announce(error, now)
        attempts, limit_at = self.plan.retry.attempts, self._limit_at(job, now)
        if attempts == 1 or job.strikes >= attempts or now + asked_s >= min(limit_at, self._ends_at):
            self._give_up(job, now)
        else:
            heapq.heappush(self._waiting, (job.retries_at, next(self._numbers), job))
            self._next_limit_at = min(self._next_limit_at, limit_at)

    def _begin_time_limit(self, job: Job, now: float) -> None:
        job.begun_at, job.held_from = now, self._permits.held_s(now)
        self._next_limit_at = min(self._next_limit_at, self._limit_at(job, now))

    def _limit_at(self, job: Job, now: float) -> float:
        """Return the end of an ID's time limit, which begins with its first request or with a pause.

        It does not include waits for the rate limit.
        """
        held_up_s = job.held_up_s(self._permits.held_s(now))
        return cast("float", job.begun_at) + self.plan.timeout.total + held_up_s

    def _give_up(self, job: Job, now: float) -> None:
        """Return the last failure of an ID as its result."""
        error = job.error or held_up(self.plan, self._cause, self._pace.resumes_at - now)
        if now >= self._ends_at:
            self._settle(job, None, self._too_late() if isinstance(error, DeadlineExceededError) else error)
            return
        down_since, sent_at = self._pace.down_since, cast("float", job.begun_at)
        lasts = down_since is not None and now >= min(down_since, sent_at) + PATIENCE_S
        if not (lasts and self._despair(error)):
            self._settle(job, None, error)

    def _despair(self, error: ThriveError) -> bool:
        """Count a failure that would affect every ID, and return whether it ends the run."""
        self._hopeless += 1
        if self._hopeless >= HOPELESS_IN_A_ROW:
            self.failure = self.failure or error
        return self.failure is not None

    def expire(self, now: float) -> None:
        """Fail the IDs whose time limit is over.

        At the deadline of the run, or if a pause lasts beyond it, these are all IDs without a request in
        flight.
        """
        if now >= self._next_limit_at:
            self._expire_at_their_limits(now)
        # Without a deadline, only the end of the client or of the run refuses a permit.
        is_refused = self._permits.refused and self.plan.deadline_s is not None
        begins_no_more = is_refused or self._pace.resumes_at >= self._ends_at
        if now >= self._ends_at or (begins_no_more and not self.in_flight):
            self.exhausted = True
            waiting = [*self._pending, *(job for _at, _number, job in self._waiting)]
            self._pending.clear()
            self._waiting.clear()
            self._next_limit_at = math.inf
            for job in waiting:
                self._settle(job, None, self._too_late())

    def _expire_at_their_limits(self, now: float) -> None:
        tried = [job for job in self._pending if job.begun_at is not None]
        tried += [heapq.heappop(self._waiting)[2] for _ in range(len(self._waiting))]
        fresh = [job for job in self._pending if job.begun_at is None]
        self._pending = deque(fresh)
        self._next_limit_at = math.inf
        for job in tried:
            limit_at = self._limit_at(job, now)
            if now >= limit_at and self.failure is None:
                self._give_up(job, now)
            else:
                heapq.heappush(self._waiting, (job.retries_at, next(self._numbers), job))
                if self._permits.is_limited:
                    limit_at = max(limit_at, now + CHECK_AGAIN_S)
                self._next_limit_at = min(self._next_limit_at, limit_at)
        self._wake(now)

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until something may begin or end without a response; None if nothing may."""
        times = [self._next_limit_at]
        if now < self._ends_at:
            times.append(self._ends_at)
        if self._waiting:
            times.append(max(self._waiting[0][0], self._pace.resumes_at))
        if self._pending or not self.exhausted:
            times += (self._pace.resumes_at, self._pace.resumes_at + GIVES_WAY_S)
        at = min((at for at in times if at > now), default=math.inf)
        return 0.0 if now >= self._next_limit_at else None if math.isinf(at) else at - now

    # Returning results

    def _announce(self, error: ThriveError, now: float) -> None:
        resumes_at = self._pace.resumes_at
        # The same pause is logged again only if it becomes much longer.
        if resumes_at > now and (now >= self._announced_until or resumes_at > self._announced_until + 1):
            self._announced_until = resumes_at
            self._cause = cause_of(error)
            pause_s = round(resumes_at - now, 2)
            self._announcement = f"pausing all requests of this run for {pause_s:g} s: {self._cause}"

    def announcement(self) -> str | None:
        """Return a message about a pause, once; None if there is nothing to log or no job left."""
        text, self._announcement = self._announcement, None
        return None if self.failure is not None or (self.exhausted and self.is_idle) else text

    @property
    def is_idle(self) -> bool:
        """Whether no fetch is in flight or waits to begin."""
        return not self.in_flight and not self.pending

    def take(self) -> Any:
        """Return the next result; None if it is not available yet.

        Results are in the order of the IDs if requested. After the run has failed, earlier results are not
        waited for.
        """
        return self._results.take(in_order=self.failure is None)

    @property
    def pending(self) -> int:
        """The number of fetches that wait to begin or to be sent again."""
        return len(self._pending) + len(self._waiting)

    @property
    def is_over(self) -> bool:
        """Whether no more results will become available."""
        return self.failure is not None or (self.exhausted and not self._results.outstanding)

    def _too_late(self) -> DeadlineExceededError:
        return too_late(self.plan, is_refused=self._permits.refused)

    def _settle(self, job: Job, fetched: object, error: ThriveError | None) -> None:
        del self._jobs[job.activity_id]
        if error is not None and not error.history:
            error.history = job.history
        if error is not None and self.plan.kind.in_turn:
            self.exhausted = True  # results after it are of no use
        self._results.put(job.places, fetched, error)
