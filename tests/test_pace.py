import copy
import itertools
import math
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import (
    Activity,
    ActivityResult,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    ThriveError,
    Timeout,
    TokenError,
    UnauthorizedError,
)
from thrive_learning._pace import (
    BUSY,
    FIRST_IN_FLIGHT,
    ORDERED_WINDOW,
    ROUNDS_TO_RECOVER,
    WINDOW,
    Job,
    Pace,
    Plan,
    Schedule,
)
from thrive_learning.errors import Attempt
from thrive_learning.policies import Budget


def pace(concurrency: int = 8, draw: float = 1.0, patience_s: float = 60.0, **policy: Any) -> Pace:
    return Pace(concurrency, RetryPolicy(**policy), patience_s, draw=lambda: draw)


def identifier(number: int) -> str:
    return f"{number:024x}"


def throttled(retry_after: float | None = None) -> RateLimitedError:
    error = RateLimitedError("slow down", status_code=429, retry_after=retry_after)
    error.history = (Attempt(1, 429, "status 429", None, 0.1, None),)
    return error


def schedule(
    concurrency: int = 4, *, ordered: bool = False, deadline: float | None = None, **policy: Any
) -> Schedule:
    plan = Plan(concurrency, ordered, Timeout(), RetryPolicy(**policy), deadline)
    return Schedule(plan, now=0.0, draw=lambda: 1.0)


def fill(ours: Schedule, now: float = 0.0, ids: Any = None) -> list[Job]:
    """Read and begin as much as may be."""
    numbers = iter(range(1000)) if ids is None else iter(ids)
    jobs: list[Job] = []
    while ours.may_read(now):
        ours.add(identifier(next(numbers)))
        while (job := ours.next_job(now)) is not None:
            jobs.append(job)
    return jobs


# The pace


def test_a_429_halves_the_limit_once_for_all_that_were_in_flight() -> None:
    ours = pace(8)
    for now in (1.0, 1.1, 1.2):
        assert ours.throttled(sent_at=0.5, now=now, retry_after=None)
    assert ours.limit == 4
    assert ours.throttled(sent_at=2.0, now=2.1, retry_after=None)
    assert ours.limit == 2
    for now in range(3, 9):
        ours.throttled(sent_at=now, now=now, retry_after=None)
    assert ours.limit == 1


def test_all_pause_as_long_as_the_server_asks_or_a_retry_would_wait() -> None:
    ours = pace(first_delay=0.5, max_delay=2.0)
    pauses: list[float] = []
    for now in (10.0, 20.0, 30.0, 40.0):
        ours.throttled(now, now, None)
        pauses.append(ours.resumes_at - now)
    assert pauses == [0.5, 1.0, 2.0, 2.0]
    ours.throttled(50.0, 50.0, 7.0)
    assert ours.resumes_at == 57.0
    ours.throttled(49.0, 51.0, 9.0)  # of before: it halves nothing, and what it asks for holds
    assert ours.resumes_at == 60.0
    ours.throttled(49.0, 51.5, 1.0)
    assert ours.resumes_at == 60.0


@pytest.mark.parametrize("concurrency", [1, 2, 8, 32, 256, 1000])
def test_the_limit_recovers_within_a_few_rounds(concurrency: int) -> None:
    ours = pace(concurrency)
    ours.throttled(1.0, 1.0, None)
    rounds = 0
    while ours.limit < concurrency:
        rounds += 1
        for _ in range(ours.limit):
            ours.answered(1.0)
    assert rounds <= ROUNDS_TO_RECOVER + 1
    for _ in range(10):
        ours.answered(1.0)
    assert ours.limit == concurrency


class Work:
    """A run whose time and CPU time are ours to say."""

    def __init__(self, concurrency: int) -> None:
        self.now = 100.0
        self.cpu_s = 7.0
        self.pace = Pace(concurrency, RetryPolicy(), 60.0, lambda: 1.0, lambda: self.cpu_s, self.now)

    def round(self, seconds: float, busy: float) -> int:
        """Get as many answers as are in flight; give how many are in flight then."""
        self.now += seconds
        self.cpu_s += seconds * busy
        for _ in range(self.pace.limit):
            self.pace.answered(self.now)
        return self.pace.limit


def test_a_run_that_waits_has_more_in_flight() -> None:
    work = Work(200)
    assert [work.pace.limit, *(work.round(0.05, BUSY - 0.01) for _ in range(4))] == [32, 64, 128, 200, 200]
    assert work.round(0.05, 1.0) == 200


def test_a_run_that_has_no_time_to_spare_has_no_more_in_flight() -> None:
    work = Work(200)
    assert [work.round(0.05, BUSY) for _ in range(4)] == [32, 32, 32, 32]
    assert work.round(0.05, 0.0) == 64  # each round is looked at for itself


def test_a_few_are_in_flight_at_once() -> None:
    for concurrency in (1, 8, FIRST_IN_FLIGHT):
        assert Work(concurrency).pace.limit == concurrency


def test_a_run_that_was_slowed_does_not_leap() -> None:
    work = Work(200)
    work.pace.throttled(sent_at=work.now, now=work.now, retry_after=None)
    limits = [16, *(work.round(0.05, 0.0) for _ in range(20))]
    assert max(after - before for before, after in itertools.pairwise(limits)) < FIRST_IN_FLIGHT / 2
    assert limits[-1] == 200


def test_an_id_is_given_up_only_when_nothing_has_come_for_long() -> None:
    ours = pace(attempts=3, patience_s=60)
    assert [ours.throttled(now, now, None) for now in (0.0, 1.0, 2.0, 59.0)] == [True] * 4
    assert not ours.throttled(61.0, 61.0, None)
    ours.answered(1.0)
    assert ours.throttled(62.0, 62.0, None)
    # A server that asks for more patience than that has it, as often as the policy tries.
    ours = pace(attempts=3, patience_s=60)
    assert [ours.throttled(now, now, 100.0) for now in (0.0, 100.0, 200.0)] == [True, True, False]


def test_one_attempt_means_no_other() -> None:
    ours = pace(attempts=1)
    assert not ours.throttled(0.0, 0.0, None)
    assert ours.limit == 4


@given(
    concurrency=st.integers(1, 64),
    events=st.lists(st.none() | st.tuples(st.floats(0, 5), st.none() | st.floats(0, 100))),
)
def test_the_limit_stays_between_1_and_what_was_asked_for(
    concurrency: int, events: list[tuple[float, float | None] | None]
) -> None:
    ours = pace(concurrency)
    now = 0.0
    for event in events:
        before, resumes_at = ours.limit, ours.resumes_at
        if event is None:
            ours.answered(1.0)
            assert ours.limit >= before
        else:
            now += event[0]
            ours.throttled(now, now, event[1])
            assert ours.limit == max(1, before // 2) or ours.limit <= before / 2 + 1
            assert ours.resumes_at >= max(resumes_at, now + (event[1] or 0.0))
        assert 1 <= ours.limit <= concurrency


# The plan


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "8", None])
def test_what_is_no_concurrency(concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"concurrency is .*whole number above 0"):
        Plan.of(concurrency, False, None, Budget(Timeout(), RetryPolicy()))  # noqa: FBT003


@pytest.mark.parametrize("deadline", [0, -1.0, True, "8", math.nan, math.inf])
def test_what_is_no_deadline(deadline: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"deadline is .*seconds above 0"):
        Plan.of(8, False, deadline, Budget(Timeout(), RetryPolicy()))  # noqa: FBT003


def test_what_is_no_order() -> None:
    with pytest.raises(ConfigurationError, match="ordered is 'yes'"):
        Plan.of(8, "yes", 3, Budget(Timeout(), RetryPolicy()))
    assert Plan.of(8, True, 3, Budget(Timeout(), RetryPolicy())).deadline_s == 3  # noqa: FBT003


# The schedule


def test_an_id_is_read_when_there_is_a_slot_for_it() -> None:
    ours = schedule(4)
    jobs = fill(ours)
    assert [job.activity_id for job in jobs] == [identifier(number) for number in range(4)]
    assert ours.in_flight == 4
    ours.finish(jobs[2], Activity(id="x"), 1.0)
    assert len(fill(ours, ids=range(4, 9))) == 1


@pytest.mark.parametrize(("ordered", "window"), [(False, WINDOW), (True, ORDERED_WINDOW)])
def test_results_that_nobody_takes_end_the_reading(ordered: bool, window: int) -> None:  # noqa: FBT001
    ours = schedule(4, ordered=ordered)
    first, *jobs = fill(ours)
    read = 4
    while jobs:
        for job in jobs:
            ours.finish(job, Activity(id=job.activity_id), 0.0)
        jobs = fill(ours, ids=range(read, read + 100))
        read += len(jobs)
    assert read == 4 * window
    ours.finish(first, Activity(id=first.activity_id), 0.0)
    taken = [ours.take() for _ in range(read)]
    ids = [result.id for result in taken if result is not None]
    assert len(ids) == read
    assert (ids == sorted(ids)) is ordered
    assert ours.take() is None


def test_an_id_in_flight_is_not_fetched_twice_and_each_place_has_its_result() -> None:
    ours = schedule(4)
    ours.add(identifier(1))
    job = ours.next_job(0.0)
    assert job is not None
    for _ in range(3):
        ours.add(identifier(1))
        assert ours.next_job(0.0) is None
    error = NotFoundError("none", status_code=404)
    ours.finish(job, error, 0.0)
    results = [ours.take() for _ in range(4)]
    errors = [result.error for result in results if result is not None]
    assert len({id(found) for found in errors}) == 4
    assert {type(found) for found in errors} == {NotFoundError}
    ours.add(identifier(1))  # it is not in flight any more
    assert ours.next_job(0.0) is not None


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
    result = ours.take()
    assert result is not None
    assert result.id is bad
    assert isinstance(result.error, InvalidIdError)
    assert result.error.__traceback__ is None
    assert result.activity is None


def test_a_throttled_id_goes_first_when_the_pause_is_over() -> None:
    ours = schedule(2)
    one, two = fill(ours)
    ours.finish(one, throttled(retry_after=5.0), 1.0)
    assert ours.pending == 1
    assert not ours.may_read(1.0)
    assert ours.next_job(5.9) is None
    assert ours.wait_s(5.0) == 1.0
    assert ours.next_job(6.0) is None  # the limit is 1, and one is in flight
    ours.finish(two, Activity(id="x"), 6.0)
    assert ours.next_job(6.0) is one
    ours.finish(one, NotFoundError("none", status_code=404), 7.0)
    ours.take()
    result = ours.take()
    assert result is not None
    assert result.error is not None
    assert [attempt.number for attempt in result.error.history] == [1]


def test_what_was_tried_is_told() -> None:
    ours = schedule(1, attempts=2)
    ours.add(identifier(1))
    for now in (0.0, 100.0):
        job = ours.next_job(now)
        assert job is not None
        ours.finish(job, throttled(), now)
    result = ours.take()
    assert result is not None
    assert isinstance(result.error, RateLimitedError)
    assert [attempt.number for attempt in result.error.history] == [1, 2]


@pytest.mark.parametrize(
    "error",
    [
        ClientClosedError("closed"),
        ConfigurationError("a secret's function failed"),
        UnauthorizedError("no", status_code=401),
        TokenError("no", status_code=400),
    ],
)
def test_what_every_id_would_get_ends_the_run(error: ThriveError) -> None:
    ours = schedule(3, ordered=True)
    jobs = fill(ours)
    ours.finish(jobs[2], Activity(id="x"), 0.0)
    assert ours.take() is None
    ours.finish(jobs[1], error, 0.0)
    assert ours.failure is error
    assert ours.is_over
    assert not ours.may_read(0.0)
    assert ours.next_job(0.0) is None
    result = ours.take()  # it is there, so it is not lost
    assert result is not None
    assert result.id == identifier(2)
    ours.finish(jobs[0], ClientClosedError("another"), 0.0)
    assert ours.failure is error


@pytest.mark.parametrize(
    "error",
    [
        ServerError("broken", status_code=500),
        ConnectionFailedError("reset"),
        TokenError("busy", status_code=503),
        DeadlineExceededError("slow"),
    ],
)
def test_other_errors_are_results(error: ThriveError) -> None:
    ours = schedule(3)
    job = fill(ours)[0]
    ours.finish(job, error, 0.0)
    result = ours.take()
    assert result is not None
    assert result.error is error
    assert ours.failure is None


def test_at_the_deadline_every_id_that_was_read_has_its_result() -> None:
    ours = schedule(2, deadline=10.0)
    one, two = fill(ours)
    ours.finish(one, throttled(retry_after=20.0), 1.0)
    assert ours.wait_s(0.5) == 9.5
    assert ours.budget(4.0).timeout.total == 6.0
    ours.expire(9.9)
    assert not ours.exhausted
    ours.expire(10.0)
    assert ours.exhausted
    assert not ours.may_read(10.0)
    assert not ours.is_over
    ours.finish(two, DeadlineExceededError("Timeout.total=6 s"), 10.1)
    results = [ours.take(), ours.take()]
    # The pause outlasts the run: the first one has its 429 at once.
    errors = [str(result.error).split(" was")[0] for result in results if result is not None]
    assert errors == ["slow down", "the run's deadline=10 s"]
    assert ours.is_over


def test_what_waits_at_the_deadline_has_its_result() -> None:
    ours = schedule(2, deadline=10.0)
    one, _two = fill(ours)
    ours.finish(one, throttled(retry_after=5.0), 1.0)
    assert ours.wait_s(1.0) == 5.0
    ours.expire(10.0)
    result = ours.take()
    assert result is not None
    assert isinstance(result.error, DeadlineExceededError)
    assert not ours.is_over  # one is in flight


def test_a_pause_that_outlasts_the_deadline_is_not_waited_for() -> None:
    ours = schedule(1, deadline=10.0)
    ours.add(identifier(1))
    job = ours.next_job(0.0)
    assert job is not None
    ours.finish(job, throttled(retry_after=11.0), 0.0)
    ours.expire(0.0)
    assert ours.exhausted


def test_a_server_that_asks_for_hours_ends_the_run() -> None:
    ours = schedule(1)
    ours.add(identifier(1))
    job = ours.next_job(0.0)
    assert job is not None
    ours.finish(job, throttled(retry_after=86_400.0), 0.0)
    assert isinstance(ours.failure, RateLimitedError)


def test_a_429_at_the_deadline_is_the_result() -> None:
    ours = schedule(1, deadline=10.0)
    ours.add(identifier(1))
    job = ours.next_job(0.0)
    assert job is not None
    ours.finish(job, throttled(), 10.0)
    result = ours.take()
    assert result is not None
    assert isinstance(result.error, RateLimitedError)


def test_how_long_to_wait() -> None:
    assert schedule().wait_s(0.0) is None
    assert schedule(deadline=3.0).wait_s(1.0) == 2.0
    assert schedule(deadline=3.0).wait_s(4.0) is None
    ours = schedule(2)
    one, two = fill(ours)
    for job in (one, two):
        ours.finish(job, throttled(retry_after=4.0), 0.0)
    assert ours.wait_s(1.0) == 3.0
    assert schedule().budget(0.0).timeout == Timeout()


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
        while ours.may_read(now):
            if not source:
                ours.exhausted = True
                break
            ours.add(source.popleft())
            while (job := ours.next_job(now)) is not None:
                assert job.activity_id not in {other.activity_id for other in running}
                running.append(job)
        while (job := ours.next_job(now)) is not None:
            running.append(job)
        assert len(running) == ours.in_flight <= concurrency
        assert len(given_) - len(source) - len(results) <= concurrency * (
            ORDERED_WINDOW if ordered else WINDOW
        )
        if running:
            job = running.pop(choice % len(running))
            outcomes: list[Activity | ThriveError] = [
                Activity(id=job.activity_id),
                throttled(2.0),
                ConnectionFailedError("cut"),
            ]
            ours.finish(job, copy.copy(outcomes[choice % 3 if script else 0]), now)
        if choice % 2 == 0 and (result := ours.take()) is not None:
            results.append(result)
    assert sorted(result.id for result in results) == sorted(given_)
    if ordered:
        assert [result.id for result in results] == given_
