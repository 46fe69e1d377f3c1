import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import RetryPolicy
from thrive_learning._bulk.pace import BUSY, FIRST_IN_FLIGHT, ROUNDS_TO_RECOVER, Pace


def pace(concurrency: int = 8, draw: float = 1.0, **policy: Any) -> Pace:
    return Pace(concurrency, RetryPolicy(**policy), draw=lambda: draw)


def up_again(ours: Pace, now: float) -> None:
    assert ours.answered(now, now)


def test_a_failure_halves_the_limit_once_for_all_that_were_in_flight() -> None:
    ours = pace(8)
    for now in (1.0, 1.1, 1.2):
        ours.slow(0.5, now, 0.0)
    assert ours.limit == 1  # a probe
    up_again(ours, 2.0)
    assert ours.limit == 4
    ours.slow(3.0, 3.1, 0.0)
    up_again(ours, 4.0)
    assert ours.limit == 2
    for now in range(5, 12):
        ours.slow(now, now, 0.0)
    up_again(ours, 12.0)
    assert ours.limit == 1


def test_all_pause_as_long_as_the_server_asks_or_a_retry_would_wait() -> None:
    ours = pace(first_delay=0.5, max_delay=2.0)
    pauses: list[float] = []
    for now in (10.0, 20.0, 30.0, 40.0):
        ours.slow(now, now, 0.0)
        pauses.append(ours.resumes_at - now)
    assert pauses == [0.5, 1.0, 2.0, 2.0]
    ours.slow(50.0, 50.0, 7.0)
    assert ours.resumes_at == 57.0
    ours.slow(49.0, 51.0, 9.0)  # sent before the pause, so the limit stays, but the longer pause counts
    assert ours.resumes_at == 60.0
    ours.slow(49.0, 51.5, 1.0)
    assert ours.resumes_at == 60.0


def test_only_the_answer_to_a_later_request_shows_that_the_server_is_up() -> None:
    ours = pace(8)
    ours.slow(5.0, 6.0, 0.0)
    assert ours.is_down
    assert ours.down_since == 6.0
    assert not ours.answered(4.9, 6.1)  # a server that shuts down still answers what it has begun
    assert (ours.limit, ours.resumes_at) == (1, 6.5)
    assert ours.answered(5.1, 6.2)
    assert not ours.is_down
    assert ours.limit == 4
    assert ours.resumes_at <= 6.2  # nobody has asked for the pause
    assert not ours.answered(5.2, 6.3)


@pytest.mark.parametrize(("asked_s", "is_throttle"), [(3.0, False), (0.0, True)])
def test_a_pause_that_the_server_asks_for_is_kept(asked_s: float, is_throttle: bool) -> None:  # noqa: FBT001
    ours = pace(8, first_delay=3.0)
    ours.slow(5.0, 6.0, asked_s, is_throttle=is_throttle)
    up_again(ours, 6.5)
    assert ours.resumes_at == 9.0


def test_a_late_failure_of_before_the_pause_says_nothing_of_the_time_after_it() -> None:
    ours = pace(8)
    ours.slow(5.0, 6.0, 0.0)
    up_again(ours, 7.0)
    limit = ours.limit
    ours.slow(5.5, 40.0, 0.0)
    assert not ours.is_down
    assert ours.limit == limit
    assert ours.resumes_at <= 40.0


@pytest.mark.parametrize("concurrency", [1, 2, 8, 32, 256, 1000])
def test_the_limit_recovers_within_a_few_rounds(concurrency: int) -> None:
    ours = pace(concurrency)
    ours.slow(1.0, 1.0, 0.0)
    up_again(ours, 2.0)
    rounds = 0
    while ours.limit < concurrency:
        rounds += 1
        for _ in range(ours.limit):
            ours.answered(3.0, 3.0)
    assert rounds <= ROUNDS_TO_RECOVER + 1
    for _ in range(10):
        ours.answered(3.0, 3.0)
    assert ours.limit == concurrency


class Work:
    """A run whose time and CPU time are ours to say."""

    def __init__(self, concurrency: int) -> None:
        self.now = 100.0
        self.cpu_s = 7.0
        self.pace = Pace(concurrency, RetryPolicy(), lambda: 1.0, lambda: self.cpu_s, self.now)

    def round(self, seconds: float, busy: float) -> int:
        """Get as many answers as are in flight, and return how many are in flight then."""
        self.now += seconds
        self.cpu_s += seconds * busy
        for _ in range(self.pace.limit):
            self.pace.answered(self.now, self.now)
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
    work.pace.slow(work.now, work.now, 0.0)
    limits = [work.round(0.05, 0.0) for _ in range(22)]
    assert limits[0] == 16
    assert max(after - before for before, after in itertools.pairwise(limits)) < FIRST_IN_FLIGHT / 2
    assert limits[-1] == 200


def test_a_backoff_stays_finite() -> None:
    ours = pace(first_delay=0.5, max_delay=8.0)
    assert [ours.backoff(failures) for failures in (1, 2, 3, 4, 5, 9999)] == [0.5, 1, 2, 4, 8, 8]


@given(
    concurrency=st.integers(1, 64),
    events=st.lists(st.none() | st.tuples(st.floats(0, 5), st.floats(0, 100))),
)
def test_the_limit_stays_between_1_and_what_was_asked_for(
    concurrency: int, events: list[tuple[float, float] | None]
) -> None:
    ours = pace(concurrency)
    now = 0.0
    for event in events:
        before, resumes_at = ours.limit, ours.resumes_at
        if event is None:
            was_down = ours.is_down
            ours.answered(now + 1e-9, now)
            assert ours.limit >= before or was_down
        else:
            now += event[0] + 1e-6
            ours.slow(now, now, event[1])
            assert ours.limit == 1
            assert ours.resumes_at >= max(resumes_at, now + event[1])
        assert 1 <= ours.limit <= concurrency
        assert not math.isnan(ours.resumes_at)
