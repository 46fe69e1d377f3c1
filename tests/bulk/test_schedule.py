import copy
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import (
    Activity,
    ActivityResult,
    ApiError,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    ForbiddenError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    ThriveError,
    Timeout,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
)
from thrive_learning._budget import Budget
from thrive_learning._bulk.plan import Plan
from thrive_learning._bulk.schedule import HOPELESS_IN_A_ROW, ORDERED_WINDOW, WINDOW, Job, Schedule
from thrive_learning._bulk.walk import PAGES_AHEAD, PageResult, plan_of
from thrive_learning.errors import Attempt


def identifier(number: int) -> str:
    return f"{number:024x}"


def tried(error: ThriveError, status: int | None) -> Any:
    error.history = (Attempt(1, status, "failed", None, 0.1, None),)
    return error


def throttled(retry_after: float | None = None) -> RateLimitedError:
    error: RateLimitedError = tried(
        RateLimitedError("slow down", status_code=429, retry_after=retry_after), 429
    )
    error.url = "https://api.example/v1/activity"
    return error


def broken(retry_after: float | None = None) -> ServerError:
    error: ServerError = tried(ServerError("broken", status_code=503, retry_after=retry_after), 503)
    return error


def refused() -> ConnectionFailedError:
    error: ConnectionFailedError = tried(ConnectionFailedError("refused"), None)
    return error


def missing() -> NotFoundError:
    return NotFoundError("none", status_code=404, in_api_format=True)


TRANSIENT: dict[str, Any] = {
    "429": throttled,
    "503": broken,
    "503 with Retry-After": lambda: broken(1.0),
    "408": lambda: tried(ApiError("slow", status_code=408), 408),
    "no connection": refused,
    "a time-out": lambda: tried(DeadlineExceededError("read"), None),
    "the token endpoint": lambda: TokenError("busy", status_code=503, retry_after=0.5),
}


def schedule(
    concurrency: int = 4,
    *,
    ordered: bool = False,
    deadline: float | None = None,
    total: float = 60.0,
    **policy: Any,
) -> Schedule:
    plan = Plan(concurrency, ordered, Timeout(total=total), RetryPolicy(**policy), deadline)
    return Schedule(plan, now=0.0, draw=lambda: 1.0)


def begun(ours: Schedule, now: float = 0.0) -> list[Job]:
    """Begin as many fetches as may begin now."""
    jobs: list[Job] = []
    while (job := ours.next_job(now)) is not None:
        jobs.append(job)
    return jobs


def fill(ours: Schedule, now: float = 0.0, ids: Any = None) -> list[Job]:
    """Read and begin as much as may be."""
    numbers = iter(range(1000)) if ids is None else iter(ids)
    jobs: list[Job] = begun(ours, now)
    while ours.may_read(now):
        ours.add(identifier(next(numbers)))
        jobs += begun(ours, now)
    return jobs


def only(ours: Schedule, now: float = 0.0) -> Job:
    (job,) = begun(ours, now)
    return job


def taken(ours: Schedule) -> list[ActivityResult]:
    results: list[ActivityResult] = []
    while (result := ours.take()) is not None:
        results.append(result)
    return results


def record(job: Job) -> Activity:
    return Activity(id=job.activity_id)


# The plan


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "8", None])
def test_an_invalid_concurrency_is_rejected(concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"concurrency is .*whole number above 0"):
        Plan.of(concurrency, False, None, Budget(Timeout(), RetryPolicy()))  # noqa: FBT003


@pytest.mark.parametrize("deadline", [0, -1.0, True, "8", math.nan, math.inf])
def test_an_invalid_deadline_is_rejected(deadline: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"deadline is .*seconds above 0"):
        Plan.of(8, False, deadline, Budget(Timeout(), RetryPolicy()))  # noqa: FBT003


def test_an_invalid_order_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="ordered is 'yes'"):
        Plan.of(8, "yes", 3, Budget(Timeout(), RetryPolicy()))
    assert Plan.of(8, True, 3, Budget(Timeout(), RetryPolicy())).deadline_s == 3  # noqa: FBT003


# Reading and results


def test_an_id_is_read_when_there_is_a_slot_for_it() -> None:
    ours = schedule(4)
    jobs = fill(ours)
    assert [job.activity_id for job in jobs] == [identifier(number) for number in range(4)]
    assert ours.in_flight == 4
    ours.finish(jobs[2], record(jobs[2]), 1.0)
    assert len(fill(ours, ids=range(4, 9))) == 1


@pytest.mark.parametrize(("ordered", "window"), [(False, WINDOW), (True, ORDERED_WINDOW)])
def test_results_that_nobody_takes_end_the_reading(ordered: bool, window: int) -> None:  # noqa: FBT001
    ours = schedule(4, ordered=ordered)
    first, *jobs = fill(ours)
    read = 4
    while jobs:
        for job in jobs:
            ours.finish(job, record(job), 0.0)
        jobs = fill(ours, ids=range(read, read + 100))
        read += len(jobs)
    assert read == 4 * window
    ours.finish(first, record(first), 0.0)
    ids = [result.id for result in taken(ours)]
    assert len(ids) == read
    assert (ids == sorted(ids)) is ordered


def test_an_id_in_flight_is_not_fetched_twice_and_each_place_has_its_result() -> None:
    ours = schedule(4)
    ours.add(identifier(1))
    job = only(ours)
    for _ in range(3):
        ours.add(identifier(1))
        assert ours.next_job(0.0) is None
    ours.finish(job, missing(), 0.0)
    errors = [result.error for result in taken(ours)]
    assert len({id(found) for found in errors}) == 4
    assert {type(found) for found in errors} == {NotFoundError}
    ours.add(identifier(1))  # it is not in flight any more
    assert ours.next_job(0.0) is not None


def test_pages_are_requested_one_after_the_other_whatever_fails() -> None:
    plan = plan_of(Budget(Timeout(), RetryPolicy()))
    ours = Schedule(plan, now=0.0, draw=lambda: 1.0)
    numbers = iter(range(1, 100))
    now, asked = 0.0, 0

    def read() -> None:
        while ours.may_read(now):
            ours.add(next(numbers))

    for failures in (0, 3):
        asked += 1
        for left in range(failures, -1, -1):
            read()
            job = only(ours, now)
            assert job.activity_id == str(asked)
            read()
            assert begun(ours, now) == []
            error = broken() if left % 2 else throttled(1.0)
            ours.finish(job, error if left else "page", now + 0.1)
            now += 10.0
    read()
    assert asked == PAGES_AHEAD  # that nobody has taken
    assert begun(ours, now) == []
    for number in (1, 2):
        assert ours.take() == PageResult(number, "page", None)  # type: ignore[arg-type]
    read()
    assert only(ours, now).activity_id == "3"


def test_ids_compare_as_text_as_they_are_sent() -> None:
    ours = schedule(4)
    for text in ("a" * 24, "A" * 24):
        ours.add(text)
        assert ours.next_job(0.0) is not None


@pytest.mark.parametrize("bad", ["x", 7, None, "", "g" * 24])
def test_a_bad_id_is_a_result(bad: Any) -> None:
    ours = schedule(4)
    ours.add(bad)
    assert ours.next_job(0.0) is None
    (result,) = taken(ours)
    assert result.id is bad
    assert isinstance(result.error, InvalidIdError)
    assert result.error.__traceback__ is None
    assert result.activity is None


# Transient failures: the server may be down


@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_transient_failure_of_any_kind_pauses_all_and_sends_one_probe(kind: str) -> None:
    ours = schedule(8)
    jobs = fill(ours)
    for job in jobs:
        ours.finish(job, TRANSIENT[kind](), 1.0)
    assert not ours.failure
    assert taken(ours) == []
    pause_s = ours.wait_s(1.0)
    assert pause_s is not None
    assert pause_s >= 0.5
    assert fill(ours, 1.0 + pause_s - 0.01, ids=range(100, 200)) == []
    (probe,) = fill(ours, 2.5, ids=range(100, 200))
    assert fill(ours, 99.0, ids=range(200, 300)) == []
    ours.finish(probe, record(probe), 2.6)
    assert len(fill(ours, 2.6, ids=range(300, 400))) == 4  # half of 8


class Simulation:
    """A run against a server that is a function, by a clock of its own.

    Args:
        ours: The schedule.
        answer: Gives the outcome for a fetch that ends at a time.
        count: How many IDs there are.
        latency_s: How long a fetch takes.
    """

    def __init__(
        self,
        ours: Schedule,
        answer: Callable[[Job, float], Activity | ThriveError],
        count: int,
        latency_s: float = 0.05,
    ) -> None:
        self.ours = ours
        self.answer = answer
        self.source = iter(range(count))
        self.latency_s = latency_s
        self.now = 0.0
        self.sent: list[tuple[float, str]] = []
        self.results: list[ActivityResult] = []
        self.announcements: list[str] = []
        self._running: deque[tuple[float, Job]] = deque()

    def run(self, until: float = 1000.0) -> "Simulation":
        while not self.ours.is_over and self.now < until:
            self._step()
            self.now += 0.01
        return self

    def _begin(self) -> None:
        for job in begun(self.ours, self.now):
            self.sent.append((self.now, job.activity_id))
            self._running.append((self.now + self.latency_s, job))

    def _step(self) -> None:
        ours = self.ours
        ours.expire(self.now)
        self._begin()
        while ours.may_read(self.now):
            number = next(self.source, None)
            if number is None:
                ours.exhausted = True
                break
            ours.add(identifier(number))
            self._begin()
        while self._running and self._running[0][0] <= self.now:
            _at, job = self._running.popleft()
            ours.finish(job, self.answer(job, self.now), self.now)
            text = ours.announcement()
            self.announcements += [] if text is None else [text]
        self.results += taken(ours)

    @property
    def errors(self) -> list[ThriveError]:
        return [result.error for result in self.results if result.error is not None]


@pytest.mark.parametrize("kind", TRANSIENT)
@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_a_server_that_is_down_loses_no_id_and_gets_few_requests(kind: str, concurrency: int) -> None:
    def answer(job: Job, now: float) -> Activity | ThriveError:
        error: ThriveError = TRANSIENT[kind]()
        return error if 0.2 <= now < 3.2 else record(job)

    run = Simulation(schedule(concurrency), answer, 500).run()
    assert run.errors == []
    assert len(run.results) == 500
    assert sum(0.15 <= at < 3.15 for at, _id in run.sent) <= concurrency + 8


@pytest.mark.parametrize("attempts", [2, 3])
def test_a_server_that_comes_and_goes_loses_no_id_that_got_no_answer(attempts: int) -> None:
    ours = schedule(8, attempts=attempts)
    run = Simulation(ours, lambda job, now: refused() if now % 1 < 0.4 else record(job), 500).run()
    assert run.errors == []
    assert len(run.results) == 500


def test_one_attempt_means_no_other() -> None:
    ours = schedule(8, attempts=1)
    run = Simulation(ours, lambda job, now: broken() if 0.2 <= now < 3.2 else record(job), 500).run()
    assert len(run.results) == 500
    assert 8 <= len(run.errors) <= 16  # and the run slows down all the same
    assert {error.attempts for error in run.errors} == {1}
    assert ours.failure is None


def test_a_server_that_stays_down_ends_the_run_and_ids_in_flight_are_not_given_up() -> None:
    ours = schedule(32)
    run = Simulation(ours, lambda _job, _now: refused(), 10_000).run()
    assert isinstance(ours.failure, ConnectionFailedError)
    assert 60 <= run.now < 80
    assert len(run.results) < HOPELESS_IN_A_ROW
    assert len(run.sent) < 32 + 40


def test_ids_with_a_short_time_limit_fail_in_an_outage_and_the_run_goes_on() -> None:
    ours = schedule(8, total=2.0)
    run = Simulation(ours, lambda job, now: broken() if 0.2 <= now < 5.2 else record(job), 500).run()
    assert ours.failure is None
    assert len(run.results) == 500
    assert 8 <= len(run.errors) <= 16
    assert {type(error) for error in run.errors} <= {ServerError, DeadlineExceededError}


@pytest.mark.parametrize("kind", TRANSIENT)
def test_every_pause_is_announced_once(kind: str) -> None:
    def answer(job: Job, now: float) -> Activity | ThriveError:
        error: ThriveError = TRANSIENT[kind]()
        return error if now < 0.1 else record(job)

    run = Simulation(schedule(8), answer, 100).run()
    (text,) = run.announcements
    assert text.startswith("pausing all requests of this run for ")
    assert "429" not in kind or text.endswith(" s: status 429 from https://api.example/v1/activity")


def test_a_pause_is_announced_in_words() -> None:
    texts = []
    for error in (
        throttled(12.0),
        broken(3600.0),
        refused(),
        tried(DeadlineExceededError("x"), None),
        TokenError("x", status_code=503),
    ):
        ours = schedule(2, total=9999.0)
        ours.finish(fill(ours)[0], error, 0.0)
        texts.append(ours.announcement())
        assert ours.announcement() is None
    beginning = "pausing all requests of this run for "
    assert texts == [
        beginning + "12 s: status 429 from https://api.example/v1/activity",
        beginning + "3600 s: status 503",
        beginning + "0.5 s: no complete response",
        beginning + "0.5 s: no response in time",
        beginning + "0.5 s: status 503",
    ]


def test_a_pause_that_becomes_much_longer_is_announced_again() -> None:
    ours = schedule(4, total=9999.0)
    jobs = fill(ours)
    asked = [(1.0, True), (1.5, False), (60.0, True), (60.5, False)]
    for job, (seconds, is_told) in zip(jobs, asked, strict=True):
        ours.finish(job, throttled(seconds), 0.0)
        assert (ours.announcement() is not None) is is_told


def test_a_pause_after_which_nothing_is_left_is_not_announced() -> None:
    ours = schedule(4, total=2.0)
    ours.add(identifier(0))
    ours.exhausted = True
    ours.finish(only(ours), throttled(3600.0), 0.1)
    assert ours.announcement() is None
    (result,) = taken(ours)
    assert isinstance(result.error, RateLimitedError)
    assert result.error.retry_after == 3600.0
    assert ours.is_over


def test_a_restart_that_still_answers_what_was_in_flight_is_not_taken_for_recovery() -> None:
    ours = schedule(8)
    first, *others = fill(ours)
    ours.finish(first, record(first), 0.5)
    (late,) = fill(ours, 0.5, ids=range(100, 200))
    ours.finish(late, refused(), 0.6)
    for job in others:
        ours.finish(job, record(job), 0.7)
    assert fill(ours, 0.8, ids=range(200, 300)) == []


def test_the_answer_to_a_later_request_ends_a_pause_that_nobody_asked_for() -> None:
    ours = schedule(4)
    ours.add(identifier(0))
    poisoned = only(ours, 0.0)
    later = fill(ours, 0.1, ids=range(1, 9))
    ours.finish(poisoned, broken(), 0.2)
    assert fill(ours, 0.2, ids=range(10, 20)) == []
    ours.finish(later[0], record(later[0]), 0.3)
    ours.finish(later[1], record(later[1]), 0.3)
    assert fill(ours, 0.3, ids=range(10, 20)) != []


def test_a_throttled_id_goes_first_when_the_pause_is_over() -> None:
    ours = schedule(2)
    one, two = fill(ours)
    ours.finish(one, throttled(retry_after=5.0), 1.0)
    assert ours.pending == 1
    assert not ours.may_read(1.0)
    assert ours.next_job(5.9) is None
    assert ours.wait_s(5.0) == 1.0
    assert ours.next_job(6.0) is one
    ours.finish(two, record(two), 6.0)
    assert ours.next_job(6.1) is None  # one is the probe
    ours.finish(one, missing(), 7.0)
    assert [result.error is None for result in taken(ours)] == [True, False]


def test_an_attempt_tells_how_long_its_id_has_waited_before_the_next_one() -> None:
    ours = schedule(1, attempts=2)
    ours.add(identifier(1))
    ours.finish(only(ours), throttled(3.0), 1.0)
    job = only(ours, 4.5)
    again = throttled(100.0)
    again.history = (*job.history, Attempt(2, 429, "failed", None, 0.1, None))
    ours.finish(job, again, 5.0)
    (result,) = taken(ours)
    assert result.error is not None
    assert [(attempt.number, attempt.delay) for attempt in result.error.history] == [(1, 3.5), (2, None)]


def test_attempts_that_a_fetch_does_not_know_of_are_joined_to_its_own() -> None:
    ours = schedule(1)
    ours.add(identifier(1))
    ours.finish(only(ours), throttled(3.0), 1.0)
    job = only(ours, 4.0)
    ours.finish(job, tried(TokenError("no", status_code=503, retry_after=100.0), 503), 5.0)
    (result,) = taken(ours)
    assert result.error is not None
    assert [(attempt.number, attempt.status_code) for attempt in result.error.history] == [(1, 429), (2, 503)]


# Transient failures: the ID may be to blame


def poisoned(
    error: Callable[[], ThriveError], ids: set[str]
) -> Callable[[Job, float], Activity | ThriveError]:
    return lambda job, _now: error() if job.activity_id in ids else record(job)


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("attempts", [2, 3, 5])
@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("number", [0, 20])
def test_an_id_that_always_fails_while_others_succeed_fails_after_the_attempts_of_the_policy(
    concurrency: int, attempts: int, retry_after: float | None, number: int
) -> None:
    poison = identifier(number)
    ours = schedule(concurrency, attempts=attempts)
    run = Simulation(ours, poisoned(lambda: broken(retry_after), {poison}), 600).run()
    assert [result.id for result in run.results if result.error] == [poison]
    assert len(run.results) == 600
    assert sum(activity_id == poison for _at, activity_id in run.sent) == attempts
    assert len(run.announcements) == 1
    well = Simulation(schedule(concurrency), poisoned(broken, set()), 600).run()
    assert run.now < well.now + 4


def test_many_ids_that_always_fail_do_not_stall_the_run() -> None:
    poison = {identifier(number) for number in range(0, 2000, 100)}
    run = Simulation(schedule(8), poisoned(broken, poison), 2000).run()
    assert {result.id for result in run.results if result.error} == poison
    assert len(run.results) == 2000
    well = Simulation(schedule(8), poisoned(broken, set()), 2000).run()
    assert run.now < 2 * well.now


def test_an_id_without_any_answer_does_not_fail_before_its_time_limit() -> None:
    poison = identifier(20)
    run = Simulation(schedule(4, total=10.0), poisoned(refused, {poison}), 2000).run()
    assert [result.id for result in run.results if result.error] == [poison]
    times = [at for at, activity_id in run.sent if activity_id == poison]
    assert 3 < len(times) < 20
    assert times[-1] - times[0] > 5
    assert run.now >= times[0] + 10


def test_the_last_id_of_a_run_is_tried_until_its_time_limit() -> None:
    """Nothing tells whether it is the ID or the server."""
    run = Simulation(schedule(4, total=10.0), lambda _job, _now: broken(), 1).run()
    (error,) = run.errors
    assert isinstance(error, ServerError)
    assert 10 <= run.now < 11
    assert error.attempts > 3
    assert [attempt.delay is None for attempt in error.history] == [*[False] * (error.attempts - 1), True]


def test_an_outage_does_not_count_against_an_id_that_has_failed_before() -> None:
    poison = identifier(0)

    def answer(job: Job, now: float) -> Activity | ThriveError:
        is_down = 1 <= now < 4 or (job.activity_id == poison and now < 1)
        return broken() if is_down else record(job)

    run = Simulation(schedule(8, attempts=4), answer, 1000).run()
    assert run.errors == []


# Time limits


def test_a_fetch_is_one_attempt_and_has_the_time_that_its_id_has_left() -> None:
    ours = schedule(1, deadline=71.0)
    ours.add(identifier(0))
    job = only(ours, 10.0)
    assert ours.budget(job, 10.0).timeout == Timeout()
    assert ours.budget(job, 10.0).retry == RetryPolicy(attempts=1)
    ours.finish(job, broken(), 11.0)
    assert only(ours, 20.0) is job
    budget = ours.budget(job, 20.0)
    assert budget.timeout == Timeout()
    assert 10 <= budget.elapsed() < 11
    assert 49 < budget.remaining() <= 50
    late = Job(identifier(1))
    late.begin(60.0)
    assert ours.budget(late, 60.0).timeout.total == 11.0  # that is left of the run
    assert schedule().budget(Job(identifier(1)), 0.0).timeout == Timeout()


def test_a_pause_that_outlasts_the_time_limit_of_an_id_makes_the_failure_its_result() -> None:
    ours = schedule(2, total=2.0)
    one, two = fill(ours)
    ours.finish(one, throttled(3600.0), 0.1)
    ours.finish(two, broken(), 0.1)
    (result,) = taken(ours)
    assert isinstance(result.error, RateLimitedError)
    assert ours.wait_s(0.1) == pytest.approx(1.9)
    ours.expire(1.99)
    assert taken(ours) == []
    ours.expire(2.0)
    (result,) = taken(ours)
    assert isinstance(result.error, ServerError)
    assert ours.failure is None


def test_an_id_that_a_pause_keeps_from_being_sent_has_its_time_limit_as_well() -> None:
    ours = schedule(2, total=2.0)
    ours.add(identifier(0))
    sent = only(ours, 0.0)
    ours.add(identifier(1))
    ours.finish(sent, throttled(3600.0), 0.5)
    ours.expire(2.4)
    assert [type(result.error) for result in taken(ours)] == [RateLimitedError]
    ours.expire(2.5)
    (result,) = taken(ours)
    assert isinstance(result.error, DeadlineExceededError)
    assert str(result.error) == (
        "Timeout.total=2 s was over before this record could be requested, because all requests of the run "
        "pause (status 429 from https://api.example/v1/activity). Try again later, or allow more time with "
        "timeout=."
    )
    assert (result.error.retry_after, result.error.attempts) == (3598, 0)


def test_only_ids_whose_time_is_over_are_given_up() -> None:
    ours = schedule(2, total=10.0, first_delay=100.0, max_delay=100.0)
    ours.add(identifier(0))
    early = only(ours, 0.0)
    ours.add(identifier(1))
    late = only(ours, 5.0)
    for job in (early, late):
        ours.finish(job, broken(), 6.0)
    ours.add(identifier(2))
    ours.expire(10.0)
    assert [result.id for result in taken(ours)] == [identifier(0)]
    assert ours.pending == 2
    assert ours.wait_s(10.0) == 5.0
    assert ours.wait_s(15.5) == 0.0
    ours.expire(15.5)
    assert [result.id for result in taken(ours)] == [identifier(1)]
    assert ours.pending == 1


def test_at_the_deadline_every_id_that_was_read_has_its_result() -> None:
    ours = schedule(2, deadline=10.0)
    one, two = fill(ours)
    ours.finish(one, throttled(retry_after=20.0), 1.0)
    assert ours.wait_s(0.5) == 9.5
    ours.expire(9.9)
    assert not ours.exhausted
    ours.expire(10.0)
    assert ours.exhausted
    assert not ours.may_read(10.0)
    assert not ours.is_over
    ours.finish(two, DeadlineExceededError("Timeout.total=6 s"), 10.1)
    # The pause outlasts the run: the first one has its 429 at once.
    errors = [str(result.error).split(" was")[0] for result in taken(ours)]
    assert errors == ["slow down", "The run's deadline=10 s"]
    assert ours.is_over


def test_ids_that_wait_at_the_deadline_get_a_result() -> None:
    ours = schedule(2, deadline=10.0)
    one, _two = fill(ours)
    ours.finish(one, throttled(retry_after=5.0), 1.0)
    assert ours.wait_s(1.0) == 5.0
    ours.expire(10.0)
    (result,) = taken(ours)
    assert isinstance(result.error, DeadlineExceededError)
    assert result.error.attempts == 1
    assert not ours.is_over  # one is in flight


def test_a_pause_that_outlasts_the_deadline_is_not_waited_for() -> None:
    ours = schedule(1, deadline=10.0, total=100.0)
    ours.add(identifier(1))
    ours.finish(only(ours), throttled(retry_after=11.0), 0.0)
    ours.expire(0.0)
    assert ours.exhausted


@pytest.mark.parametrize("error", [throttled(86_400.0), broken(86_400.0)])
def test_a_server_that_asks_for_hours_ends_the_run(error: ThriveError) -> None:
    ours = schedule(1)
    ours.add(identifier(1))
    ours.finish(only(ours), error, 0.0)
    assert ours.failure is error
    assert ours.announcement() is None


def test_a_429_at_the_deadline_is_the_result() -> None:
    ours = schedule(1, deadline=10.0)
    ours.add(identifier(1))
    ours.finish(only(ours), throttled(), 10.0)
    (result,) = taken(ours)
    assert isinstance(result.error, RateLimitedError)


def test_how_long_to_wait() -> None:
    assert schedule().wait_s(0.0) is None
    assert schedule(deadline=3.0).wait_s(1.0) == 2.0
    assert schedule(deadline=3.0).wait_s(4.0) is None
    ours = schedule(2)
    for job in fill(ours):
        ours.finish(job, throttled(retry_after=4.0), 0.0)
    assert ours.wait_s(1.0) == 3.0


def test_an_id_is_read_in_a_pause_if_nothing_else_is_left_to_wait_for() -> None:
    """Only that shows whether there is anything left to do after the pause."""
    ours = schedule(1, total=2.0)
    ours.add(identifier(0))
    ours.finish(only(ours), throttled(3600.0), 0.1)
    assert ours.may_read(0.1)
    ours.add(identifier(1))
    assert not ours.may_read(0.1)
    assert ours.next_job(0.1) is None
    ours.expire(2.1)
    assert [type(result.error) for result in taken(ours)] == [RateLimitedError, DeadlineExceededError]


# Ends of runs


@pytest.mark.parametrize(
    "error",
    [
        ClientClosedError("closed"),
        ConfigurationError("a secret's function failed"),
        UnauthorizedError("no", status_code=401, in_api_format=True),
        TokenError("no", status_code=400),
        TokenError("a redirect", status_code=302),
        TokenError("a page", status_code=200),
    ],
)
def test_an_error_that_every_id_would_get_ends_the_run(error: ThriveError) -> None:
    ours = schedule(3, ordered=True)
    jobs = fill(ours)
    ours.finish(jobs[2], record(jobs[2]), 0.0)
    assert ours.take() is None
    ours.finish(jobs[1], error, 0.0)
    assert ours.failure is error
    assert ours.is_over
    assert not ours.may_read(0.0)
    assert ours.next_job(0.0) is None
    (result,) = taken(ours)  # it is there, so it is not lost
    assert result.id == identifier(2)
    ours.finish(jobs[0], ClientClosedError("another"), 0.0)
    assert ours.failure is error


HOPELESS: list[ThriveError] = [
    UnauthorizedError("a proxy", status_code=401),
    ForbiddenError("no", status_code=403, in_api_format=True),
    ForbiddenError("a page", status_code=403),
    ApiError("a redirect", status_code=302),
    ApiError("a gateway", status_code=404),
    ApiError("a teapot", status_code=418),
    UnexpectedResponseError("a page", status_code=200),
]


@pytest.mark.parametrize("error", HOPELESS, ids=str)
@pytest.mark.parametrize("ordered", [False, True])
def test_failures_in_a_row_that_mean_nothing_will_work_end_the_run(
    error: ThriveError,
    ordered: bool,  # noqa: FBT001
) -> None:
    ours = schedule(8, ordered=ordered)
    run = Simulation(ours, lambda job, now: copy.copy(error) if now > 1 else record(job), 10_000).run()
    assert type(ours.failure) is type(error)
    assert len(run.errors) == HOPELESS_IN_A_ROW - 1
    assert len({result.id for result in run.results}) == len(run.results)
    assert run.now < 1.2


@pytest.mark.parametrize("error", HOPELESS, ids=str)
def test_failures_with_a_success_between_them_are_results(error: ThriveError) -> None:
    ours = schedule(1)

    def answer(job: Job, _now: float) -> Activity | ThriveError:
        number = int(job.activity_id, 16)
        if number % HOPELESS_IN_A_ROW:
            return copy.copy(error)
        return record(job) if number % 2 else missing()

    run = Simulation(ours, answer, 100).run()
    assert ours.failure is None
    assert len(run.results) == 100


@pytest.mark.parametrize(
    "error",
    [
        missing(),
        ApiError("no", status_code=422, in_api_format=True),
        UnexpectedResponseError("no record", status_code=200, in_api_format=True),
    ],
)
def test_other_errors_are_results(error: ThriveError) -> None:
    ours = schedule(8)
    run = Simulation(ours, lambda _job, _now: copy.copy(error), 100).run()
    assert ours.failure is None
    assert len(run.errors) == 100


# Whatever happens


@given(
    ids=st.lists(st.integers(0, 6), max_size=40),
    concurrency=st.integers(1, 5),
    ordered=st.booleans(),
    choices=st.lists(st.integers(0, 99), max_size=300),
)
def test_every_place_has_one_result_whatever_happens(
    ids: list[int],
    concurrency: int,
    ordered: bool,  # noqa: FBT001
    choices: list[int],
) -> None:
    ours = schedule(concurrency, ordered=ordered)
    source = deque(identifier(number) if number else "bad" for number in ids)
    given_ = list(source)
    running: list[Job] = []
    results: list[ActivityResult] = []
    script = deque(choices)
    now = 0.0
    while not ours.is_over:
        now += 1.0
        choice = script.popleft() if script else 0
        ours.expire(now)
        running += begun(ours, now)
        while ours.may_read(now):
            if not source:
                ours.exhausted = True
                break
            ours.add(source.popleft())
            running += begun(ours, now)
        assert len({job.activity_id for job in running}) == len(running) == ours.in_flight <= concurrency
        assert len(given_) - len(source) - len(results) <= concurrency * (
            ORDERED_WINDOW if ordered else WINDOW
        )
        if running:
            job = running.pop(choice % len(running))
            outcomes: list[Activity | ThriveError] = [
                record(job),
                throttled(2.0),
                refused(),
                broken(),
                missing(),
            ]
            ours.finish(job, outcomes[choice % 5 if script else 0], now)
        if choice % 2 == 0 and (result := ours.take()) is not None:
            results.append(result)
        wait_s = ours.wait_s(now)
        assert wait_s is None or wait_s >= 0
    assert ours.failure is None or len(choices) > 60
    if ours.failure is None:
        assert sorted(result.id for result in results) == sorted(given_)
    if ordered:
        assert [result.id for result in results] == given_[: len(results)]
