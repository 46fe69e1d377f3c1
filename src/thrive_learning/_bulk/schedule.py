"""What a bulk run decides: which ID is next, which is sent again or given up, and what ends the run. Pure.

It moves no bytes and looks at no clock: `now` is what the caller's clock says, in seconds.
"""

import copy
import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import attrs

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._bulk.pace import Pace
from thrive_learning._ids import activity_id as validated
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
from thrive_learning.models import Activity, ActivityFailed, ActivityFound, ActivityResult
from thrive_learning.policies import RetryPolicy, Timeout

#: A server that asks for a longer pause ends the run. Seconds.
LONGEST_PAUSE_S = 3600.0

#: After this many failures in a row that mean nothing will work, the run ends.
HOPELESS_IN_A_ROW = 5

#: A failure of a server that has answered nothing for this long counts as one of them. Seconds.
PATIENCE_S = 60.0

#: How many IDs may be read whose results have not been taken, as a multiple of the concurrency.
WINDOW, ORDERED_WINDOW = 2, 4

#: After a pause, an ID that may itself be to blame gives way to another one for up to this time. Seconds.
GIVES_WAY_S = 0.1


class JobKind(NamedTuple):
    """What a run fetches.

    Attributes:
        noun: What one job fetches, in words.
        method: The method that runs are started with.
        key: Validates what identifies one, and returns it as text.
        result: Returns the result for what identifies one, what was fetched, and why it was not.
        records: Returns the number of records in a result without an error.
        in_turn: Whether a job is read only after the outcome of the one before.
        tag: The tag of the contract to which the method belongs.
    """

    noun: str
    method: str
    key: Callable[[Any], str]
    result: Callable[[Any, Any, ThriveError | None], Any]
    records: Callable[[Any], int]
    in_turn: bool = False
    tag: str = "activities"

    @property
    def operation(self) -> str:
        """The method with its tag, such as `activities.get_many`."""
        return f"{self.tag}.{self.method}"


def _record_result(given: str, activity: Activity, error: ThriveError | None) -> ActivityResult:
    return (
        ActivityFound(id=given, activity=activity) if error is None else ActivityFailed(id=given, error=error)
    )


def _one_record(_result: object) -> int:
    return 1


#: Records by their IDs.
RECORDS = JobKind("record", "get_many", validated, _record_result, _one_record)


class Plan(NamedTuple):
    """What a run was asked for; see `Activities.get_many`.

    Attributes:
        most_ahead: How many jobs may be read whose results have not been taken; None for a multiple of the
            concurrency.
    """

    concurrency: int
    ordered: bool
    timeout: Timeout
    retry: RetryPolicy
    deadline_s: float | None
    most_ahead: int | None = None
    kind: JobKind = RECORDS

    @classmethod
    def of(cls, concurrency: object, ordered: object, deadline: object, budget: Budget) -> "Plan":
        """Check the arguments of `get_many`.

        Raises:
            ConfigurationError: An argument is not valid.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency!r}: it must be a whole number above 0")
        if concurrency > MAX_CONNECTIONS:
            raise ConfigurationError(
                f"concurrency is {concurrency}: a client has at most {MAX_CONNECTIONS} connections"
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
    """One ID that is being fetched, for each of its occurrences in the meantime.

    Attributes:
        activity_id: The ID.
        places: The positions of its occurrences, each with the ID as given.
        history: The attempts so far.
        error: The last failure.
        begun_at: When its time limit began: when it was sent first, or when a pause kept it from being sent.
        sent_at: When it was sent last.
        failed_at: When it failed last.
        failed_sent_at: When the request was sent that failed last.
        retries_at: When it may be sent again.
        strikes: How many failures were about this ID, because other IDs succeeded.
        is_suspect: Whether other IDs have succeeded since it failed.
    """

    __slots__ = (
        *(
            "activity_id",
            "error",
            "failed_at",
            "failed_sent_at",
            "begun_at",
            "history",
            "is_suspect",
            "places",
        ),
        *("retries_at", "sent_at", "strikes"),
    )

    def __init__(self, activity_id: str) -> None:
        self.activity_id: str = activity_id
        self.places: list[tuple[int, Any]] = []
        self.history: tuple[Attempt, ...] = ()
        self.error: ThriveError | None = None
        self.begun_at: float | None = None
        self.sent_at: float = 0.0
        self.failed_at: float = 0.0
        self.failed_sent_at: float = math.inf
        self.retries_at: float = 0.0
        self.strikes: int = 0
        self.is_suspect: bool = False

    def begin(self, now: float) -> None:
        """Note that it is sent."""
        self.sent_at = now
        if self.begun_at is None:
            self.begun_at = now
        if self.history:
            waited = self.history[-1]._replace(delay=now - self.failed_at)
            self.history = (*self.history[:-1], waited)


class Schedule:
    """One run: IDs go in, jobs come out; outcomes go in, results come out.

    Args:
        plan: What the run was asked for.
        now: The start time.
        draw: Returns a number evenly distributed between 0 and 1.
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
        self._pace = Pace(plan.concurrency, plan.retry, draw, cpu_s, now)
        self._ends_at = math.inf if plan.deadline_s is None else now + plan.deadline_s
        self._window = plan.most_ahead or plan.concurrency * (ORDERED_WINDOW if plan.ordered else WINDOW)
        self._pending: deque[Job] = deque()  # those that may be sent
        self._waiting: list[tuple[float, int, Job]] = []  # those that failed, by the time of their retry
        self._numbers = itertools.count()
        self._next_limit_at = math.inf  # no ID that waits for a retry reaches its time limit before
        self._probe: Job | None = None
        self._blamed: Job | None = None  # the only ID that has failed since the server was up
        self._hopeless = 0
        self._paused_at: float | None = None  # the time, if an ID is read in a pause
        self._announced_until = -math.inf
        self._announcement: str | None = None
        self._cause = ""  # of the last pause
        self._jobs: dict[str, Job] = {}
        self._ready: deque[Any] = deque()  # as they complete
        self._by_place: dict[int, Any] = {}  # in order
        self._read = 0
        self._taken = 0

    # What may begin

    def may_read(self, now: float) -> bool:
        """Say whether another ID may be read: there is a slot for it, and room for its result."""
        if self.exhausted or self.failure is not None or self._read - self._taken >= self._window:
            return False
        self._wake(now)
        if self.plan.kind.in_turn and not self.is_idle:
            return False
        self._paused_at = now if now < self._pace.resumes_at else None
        if self.is_idle and now < self._ends_at:
            return True  # even in a pause: only reading on tells whether there is anything left to wait for
        if self._pace.is_down:
            return self._may_send(now) and not any(map(self._is_fit, self._pending))
        return self._may_send(now, len(self._pending))

    def _may_send(self, now: float, before: int = 0) -> bool:
        if not self._pace.resumes_at <= now < self._ends_at:
            return False
        if self._pace.is_down:
            return self._probe is None and self.in_flight < self.plan.concurrency
        return self.in_flight + before < self._pace.limit

    def _is_fit(self, job: Job) -> bool:
        """Say whether an ID is fit for a probe: if it fails, then it is not to blame itself."""
        return not job.is_suspect and job is not self._blamed

    def add(self, given: Any) -> None:
        """Take an ID in."""
        place, self._read = self._read, self._read + 1
        try:
            activity_id = self.plan.kind.key(given)
        except InvalidIdError as error:
            self._put(place, given, None, error)
            return
        job = self._jobs.get(activity_id)
        if job is None:
            job = self._jobs[activity_id] = Job(activity_id)
            job.begun_at = self._paused_at  # its time limit holds in a pause as well
            self._next_limit_at = min(self._next_limit_at, self._limit_at(job))
            self._pending.append(job)
        job.places.append((place, given))

    def next_job(self, now: float) -> Job | None:
        """Return the next fetch to begin; None if none may begin now."""
        if self.failure is not None or not self._may_send(now):
            return None
        self._wake(now)
        if not self._pending:
            return None
        if self._pace.is_down:
            fit = next(filter(self._is_fit, self._pending), None)
            if fit is None and self._may_find_fit_one(now):
                return None
            job = self._probe = fit or self._pending[0]
            self._pending.remove(job)
        else:
            job = self._pending.popleft()
        job.begin(now)
        self.in_flight += 1
        return job

    def _may_find_fit_one(self, now: float) -> bool:
        """Say whether an ID that is fit for a probe may yet be read; it is not waited for long."""
        return self.may_read(now) and now < self._pace.resumes_at + GIVES_WAY_S

    def _wake(self, now: float) -> None:
        """Let those be sent again whose retry is due, behind those that wait already: each has its turn."""
        while self._waiting and self._waiting[0][0] <= now:
            self._pending.append(heapq.heappop(self._waiting)[2])

    def budget(self, job: Job, now: float) -> Budget:
        """Start the clock of a fetch, which ends with the time limit of its ID, or with the run.

        It is one attempt: the retries are up to the schedule, which sees all IDs.
        """
        timeout, left = self.plan.timeout, max(self._ends_at - now, 1e-3)
        spent = 0.0 if job.begun_at is None else now - job.begun_at
        if left < timeout.total - spent:
            timeout, spent = attrs.evolve(timeout, total=left), 0.0
        return Budget(timeout, RetryPolicy(attempts=1), spent)

    # What has come back

    def finish(self, job: Job, outcome: object, now: float) -> None:
        """Note the outcome of a fetch."""
        self.in_flight -= 1
        if job is self._probe:
            self._probe = None
        if not isinstance(outcome, ThriveError):
            self._hear(job, now)
            self._hopeless = 0
            self._settle(job, outcome, None)
            return
        outcome.__traceback__ = None  # its frames would live as long as the result
        outcome.history = _joined(job.history, outcome.history)
        if _ends_run(outcome):
            self.failure = self.failure or outcome
        elif outcome.is_transient:
            self._retry(job, outcome, now)
        else:
            self._hear(job, now)
            if not _is_hopeless(outcome):
                self._hopeless = 0
            elif self._despair(outcome):
                return
            self._settle(job, None, outcome)

    def _hear(self, job: Job, now: float) -> None:
        """Note an answer that is not a transient failure."""
        if self._pace.answered(job.sent_at, now):
            self._announced_until = -math.inf
            blamed, self._blamed = self._blamed, None
            if blamed is not None and isinstance(blamed.error, ApiError):
                blamed.strikes += 1

    def _retry(self, job: Job, error: ThriveError, now: float) -> None:
        """Send an ID again after a transient failure, if it is not to be given up."""
        pace, asked_s = self._pace, _asked_s(error)
        if asked_s > LONGEST_PAUSE_S:
            self.failure = self.failure or error
            return
        was_down, is_throttle = pace.is_down, isinstance(error, RateLimitedError)
        job.is_suspect = job.is_suspect or pace.answered_sent_at > job.failed_sent_at
        is_alone = job.is_suspect or pace.answered_sent_at > job.sent_at
        fails_again = job.error is not None
        job.error, job.history, job.failed_at, job.failed_sent_at = error, error.history, now, job.sent_at
        if _may_be_about_the_id(error) and (job.is_suspect or (is_alone and not was_down)):
            # The server answers others. So they wait only if it says so, and not each time.
            job.strikes += isinstance(error, ApiError) and not was_down
            if not fails_again:
                pace.ask(now, asked_s)
            job.retries_at = now + max(asked_s, pace.backoff(max(len(job.history), 1)))
        else:
            pace.slow(job.sent_at, now, asked_s, is_throttle=is_throttle)
            pause_s = max(pace.resumes_at - now, 0.0)
            job.retries_at = now + pause_s
            if not was_down:
                self._probe, self._blamed = None, job if _may_be_about_the_id(error) else None
            elif self._blamed is not job:
                self._blamed = None
        for other in self._pending:
            other.begun_at = now if other.begun_at is None else other.begun_at
            self._next_limit_at = min(self._next_limit_at, self._limit_at(other))
        self._announce(error, now)
        attempts, limit_at = self.plan.retry.attempts, self._limit_at(job)
        if attempts == 1 or job.strikes >= attempts or now + asked_s >= min(limit_at, self._ends_at):
            self._give_up(job, now)
        else:
            heapq.heappush(self._waiting, (job.retries_at, next(self._numbers), job))
            self._next_limit_at = min(self._next_limit_at, limit_at)

    def _limit_at(self, job: Job) -> float:
        """Return when the time limit of an ID is over; it counts from its first request."""
        return math.inf if job.begun_at is None else job.begun_at + self.plan.timeout.total

    def _give_up(self, job: Job, now: float) -> None:
        """Make the last failure of an ID its result."""
        error = job.error or self._held_up(now)
        if now >= self._ends_at:
            self._settle(job, None, self._too_late() if isinstance(error, DeadlineExceededError) else error)
            return
        down_since, sent_at = self._pace.down_since, cast("float", job.begun_at)
        lasts = down_since is not None and now >= min(down_since, sent_at) + PATIENCE_S
        if not (lasts and self._despair(error)):
            self._settle(job, None, error)

    def _despair(self, error: ThriveError) -> bool:
        """Count a failure that means that nothing will work, and say whether it ends the run."""
        self._hopeless += 1
        if self._hopeless >= HOPELESS_IN_A_ROW:
            self.failure = self.failure or error
        return self.failure is not None

    def expire(self, now: float) -> None:
        """Give up the IDs whose time is over.

        At the deadline of the run, or if a pause outlasts it, those are all that no request is in flight for.
        """
        if now >= self._next_limit_at:
            self._expire_at_their_limits(now)
        if now >= self._ends_at or (self._pace.resumes_at >= self._ends_at and not self.in_flight):
            self.exhausted = True
            waiting = [*self._pending, *(job for _at, _number, job in self._waiting)]
            self._pending.clear()
            self._waiting.clear()
            self._next_limit_at = math.inf
            for job in waiting:
                self._settle(job, None, self._too_late())

    def _expire_at_their_limits(self, now: float) -> None:
        self._wake(math.inf)  # and those that are not due yet go back
        tried = [job for job in self._pending if job.begun_at is not None]
        fresh = [job for job in self._pending if job.begun_at is None]
        self._pending = deque(fresh)
        self._next_limit_at = math.inf
        for job in tried:
            limit_at = self._limit_at(job)
            if now >= limit_at and self.failure is None:
                self._give_up(job, now)
            else:
                heapq.heappush(self._waiting, (job.retries_at, next(self._numbers), job))
                self._next_limit_at = min(self._next_limit_at, limit_at)
        self._wake(now)

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until something may begin or end by itself; None if nothing does."""
        times = [self._next_limit_at]
        if now < self._ends_at:
            times.append(self._ends_at)
        if self._waiting:
            times.append(max(self._waiting[0][0], self._pace.resumes_at))
        if self._pending or not self.exhausted:
            times += (self._pace.resumes_at, self._pace.resumes_at + GIVES_WAY_S)
        at = min((at for at in times if at > now), default=math.inf)
        return 0.0 if now >= self._next_limit_at else None if math.isinf(at) else at - now

    # What comes out

    def _announce(self, error: ThriveError, now: float) -> None:
        resumes_at = self._pace.resumes_at
        # The same pause is told again only if it becomes much longer.
        if resumes_at > now and (now >= self._announced_until or resumes_at > self._announced_until + 1):
            self._announced_until = resumes_at
            self._cause = _cause(error) if error.url is None else f"{_cause(error)} from {error.url}"
            pause_s = round(resumes_at - now, 2)
            self._announcement = f"pausing all requests of this run for {pause_s:g} s: {self._cause}"

    def announcement(self) -> str | None:
        """Return what to log of a pause, once; None if there is nothing to log, or nothing left to do."""
        text, self._announcement = self._announcement, None
        return None if self.failure is not None or (self.exhausted and self.is_idle) else text

    @property
    def is_idle(self) -> bool:
        """Whether no fetch is in flight, and none waits for its beginning."""
        return not self.in_flight and not self.pending

    def take(self) -> Any:
        """Return the next result; None if there is none yet.

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
        """The number of fetches that wait for their beginning, or for another one."""
        return len(self._pending) + len(self._waiting)

    @property
    def is_over(self) -> bool:
        """Whether no result is to come, once those that are there have been taken."""
        return self.failure is not None or (self.exhausted and self._read == self._taken)

    def _too_late(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"the run's deadline={self.plan.deadline_s:g} s was over before this {self.plan.kind.noun} came: "
            "try again later, or allow more time with deadline="
        )

    def _held_up(self, now: float) -> DeadlineExceededError:
        error = DeadlineExceededError(
            f"Timeout.total={self.plan.timeout.total:g} s was over before this "
            f"{self.plan.kind.noun} could be requested: all requests of the run pause ({self._cause}). "
            "Try again later, or allow more time with timeout=."
        )
        error.retry_after = math.ceil(max(self._pace.resumes_at - now, 0.0))
        return error

    def _settle(self, job: Job, fetched: object, error: ThriveError | None) -> None:
        del self._jobs[job.activity_id]
        if error is not None and not error.history:
            error.history = job.history
        if error is not None and self.plan.kind.in_turn:
            self.exhausted = True  # what comes after it is of no use
        for index, (place, given) in enumerate(job.places):
            # Whoever raises an error changes it: each place has its own.
            own = copy.copy(error) if index and error is not None else error
            self._put(place, given, fetched, own)

    def _put(self, place: int, given: object, fetched: object, error: ThriveError | None) -> None:
        if error is not None:
            error.__traceback__ = None
        result = self.plan.kind.result(given, fetched, error)
        if self.plan.ordered:
            self._by_place[place] = result
        else:
            self._ready.append(result)


def _ends_run(error: ThriveError) -> bool:
    """Say whether every other ID would certainly get the same error."""
    if isinstance(error, TokenError):
        return not error.is_transient
    if isinstance(error, UnauthorizedError):
        return error.in_api_format
    return isinstance(error, (ClientClosedError, ConfigurationError))


def _is_hopeless(error: ThriveError) -> bool:
    """Say whether an error suggests that every other ID would get the same.

    That is the case if the credentials are not accepted or not sufficient, or if the response is a redirect
    or is not in the API's own format, so that another server seems to have answered.
    """
    if isinstance(error, UnexpectedResponseError):
        return not error.in_api_format
    return isinstance(error, ApiError) and (
        not error.in_api_format or error.status_code in {401, 403} or 300 <= error.status_code <= 399  # noqa: PLR2004
    )


def _may_be_about_the_id(error: ThriveError) -> bool:
    """Say whether a transient failure may be about the ID, and not about the client and its token."""
    return not isinstance(error, (RateLimitedError, TokenError))


def _asked_s(error: ThriveError) -> float:
    """Return the pause in seconds that a server asks for; 0 if it asks for none."""
    return getattr(error, "retry_after", None) or 0.0


def _cause(error: ThriveError) -> str:
    if isinstance(error, (ApiError, TokenError)):
        return f"status {error.status_code}"
    return "no response in time" if isinstance(error, DeadlineExceededError) else "no complete response"


def _joined(earlier: tuple[Attempt, ...], later: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Join the attempts of a fetch to those before, if it does not know of them."""
    if later[: len(earlier)] == earlier:
        return later
    attempts = enumerate((*earlier, *later), start=1)
    return tuple(attempt._replace(number=number) for number, attempt in attempts)
