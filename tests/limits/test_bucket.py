"""The arithmetic of a rate limit, against its promises and against a model that is written differently."""

import itertools
import math
from typing import NamedTuple

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from thrive_learning._limits import bucket
from thrive_learning._limits.bucket import BucketState, Step
from thrive_learning._limits.memory import MemoryLimits

RATES = st.floats(0.01, 1000) | st.integers(1, 100).map(float)
BURSTS = st.floats(1, 50) | st.integers(1, 20).map(float)
GAPS = st.floats(0, 3) | st.just(0.0)
#: The time of a clock that has been running for long, as one of Redis.
BEGINNING = 1.8e9


class Call(NamedTuple):
    """A caller who comes some seconds after the one before, and can wait for some."""

    gap_s: float
    longest_wait_s: float


class Slowed(NamedTuple):
    """A server that asks for less, some seconds after the event before."""

    gap_s: float
    pause_s: float
    per_second: float | None
    for_s: float


CALLS = st.builds(Call, GAPS, st.floats(0, 100) | st.just(math.inf))
SLOWED = st.builds(Slowed, GAPS, st.floats(0, 2) | st.just(0.0), st.none() | RATES, st.floats(0, 3))


class Sent(NamedTuple):
    """A request: the number of its event, and when it was sent."""

    number: int
    sent_at: float


def run(
    events: list[Call | Slowed], per_second: float, burst: float
) -> tuple[list[Sent], BucketState | None]:
    """Return when the requests were sent."""
    now, state, sent = BEGINNING, None, list[Sent]()
    for number, event in enumerate(events):
        now += event.gap_s
        if isinstance(event, Slowed):
            _, pause_s, lower, for_s = event
            state = bucket.slow(state, now, pause_s=pause_s, per_second=lower, for_s=for_s)
            continue
        wait_s, changed = bucket.take(
            state, now, per_second=per_second, burst=burst, longest_wait_s=event.longest_wait_s
        )
        assert (changed is None) == (wait_s > event.longest_wait_s)
        if changed is not None:
            state = changed
            sent.append(Sent(number, now + wait_s))
    return sent, state


def check_windows(times: list[float], per_second: float, burst: float) -> None:
    """Check that in each window of w seconds, at most w times the rate plus the burst are sent."""
    times = sorted(times)
    for first, last in itertools.combinations_with_replacement(range(len(times)), 2):
        window_s = times[last] - times[first]
        # A time in Unix seconds is exact to a quarter of a microsecond, and errors add up.
        assert (
            last - first + 1 <= window_s * per_second + burst + 1e-6 * per_second * (last - first + 2) + 1e-9
        )


@given(st.lists(CALLS | SLOWED, max_size=60), RATES, BURSTS)
def test_no_window_has_more_than_its_rate_and_the_burst(
    events: list[Call | Slowed], per_second: float, burst: float
) -> None:
    sent, _ = run(events, per_second, burst)
    check_windows([one.sent_at for one in sent], per_second, burst)


@given(st.lists(CALLS, max_size=60), RATES, BURSTS)
def test_it_is_a_bucket_of_tokens_that_nobody_takes_in_vain(
    calls: list[Call], per_second: float, burst: float
) -> None:
    """The model counts tokens, and a negative number of them for reservations."""
    now, tokens, state = BEGINNING, burst, None
    for call in calls:
        now += call.gap_s
        tokens = min(burst, tokens + call.gap_s * per_second)
        expected_s = max(0.0, (1 - tokens) / per_second)
        assume(abs(expected_s - call.longest_wait_s) > 1e-4)
        wait_s, changed = bucket.take(
            state, now, per_second=per_second, burst=burst, longest_wait_s=call.longest_wait_s
        )
        assert wait_s == pytest.approx(expected_s, abs=1e-4)
        if changed is not None:
            state = changed
            tokens -= 1


@given(st.integers(1, 200), RATES, BURSTS)
def test_while_there_is_work_the_rate_is_used(count: int, per_second: float, burst: float) -> None:
    sent, _ = run([Call(0.0, math.inf)] * count, per_second, burst)
    for number, one in enumerate(sent):
        assert one.sent_at - BEGINNING == pytest.approx(
            max(0.0, (number + 1 - burst) / per_second), abs=1e-3, rel=1e-6
        )


@given(st.lists(CALLS | SLOWED, max_size=60), RATES, BURSTS)
@example([Slowed(0.0, 0.0, 1.0, 3.0), Slowed(0.0, 1.0, None, 0.0), Call(0.0, 9.0)], 10.0, 1.0)
def test_a_pause_and_a_lower_rate_are_kept(
    events: list[Call | Slowed], per_second: float, burst: float
) -> None:
    sent, _ = run(events, per_second, burst)
    now = BEGINNING
    for number, event in enumerate(events):
        now += event.gap_s
        if isinstance(event, Slowed):
            later = [one.sent_at for one in sent if one.number > number]
            if event.pause_s:
                assert all(time >= now + event.pause_s - 1e-6 for time in later)
            if event.per_second and event.for_s:
                check_windows([time for time in later if time < now + event.for_s], event.per_second, 1.0)


def test_waiting_requests_leave_a_pause_at_the_rate() -> None:
    events: list[Call | Slowed] = [Slowed(0.0, 5.0, None, 0.0), *[Call(0.0, 100.0)] * 3]
    assert [one.sent_at - BEGINNING for one in run(events, 10.0, 3.0)[0]] == pytest.approx([5.0, 5.1, 5.2])


def test_after_a_lower_rate_the_own_rate_and_the_burst_are_back() -> None:
    events: list[Call | Slowed] = [Slowed(0.0, 0.0, 2.0, 0.75), *[Call(0.0, 9.0)] * 6, Call(10.0, 0.0)]
    events += [Call(0.0, 0.0), Call(0.0, 0.0), Call(0.0, 0.5)]
    sent = [one.sent_at - BEGINNING for one in run(events, 10.0, 3.0)[0]]
    assert sent == pytest.approx([0.0, 0.5, 1.0, 1.5, 1.6, 1.7, 10.0, 10.0, 10.0, 10.1], abs=1e-6)


def test_many_reservations_keep_a_lower_rate_beyond_its_end_but_not_for_long() -> None:
    events: list[Call | Slowed] = [Slowed(0.0, 0.0, 10.0, 10.0), *[Call(0.0, 99.0)] * 230]
    sent = [one.sent_at - BEGINNING for one in run(events, 30.0, 3.0)[0]]
    assert sent[:201] == pytest.approx([number / 10 for number in range(201)], abs=1e-3)
    assert sent[-1] == pytest.approx(20 + 29 / 30, abs=1e-3)
    rare: list[Call | Slowed] = [Slowed(0.0, 0.0, 0.001, 10.0), *[Call(0.0, 99.0)] * 2]
    assert [one.sent_at - BEGINNING for one in run(rare, 30.0, 3.0)[0]] == pytest.approx([0.0, 20.0], abs=0.1)


def test_a_slot_takes_its_part_of_each_step_that_it_crosses() -> None:
    state = bucket.slow(None, BEGINNING, per_second=1.0, for_s=0.5)
    state = bucket.slow(state, BEGINNING, per_second=2.0, for_s=0.75)  # kept for as long again, see above
    waits: list[float] = []
    for _ in range(5):
        wait_s, changed = bucket.take(state, BEGINNING, per_second=10.0, burst=1.0, longest_wait_s=9.0)
        assert changed is not None
        waits.append(wait_s)
        state = changed
    assert waits == pytest.approx([0.0, 0.75, 1.25, 1.55, 1.65], abs=1e-6)


def test_a_short_and_strict_step_does_not_make_a_long_and_mild_one_strict() -> None:
    state = bucket.slow(None, 100.0, per_second=10.0, for_s=60.0)
    state = bucket.slow(state, 100.0, per_second=1.0, for_s=2.0)
    assert state.steps == (Step(102.0, 1.0), Step(160.0, 10.0))
    for needless in ((5.0, 1.0), (1.0, 1.0), (10.0, 60.0)):
        assert bucket.slow(state, 100.0, per_second=needless[0], for_s=needless[1]) == state
    assert bucket.slow(state, 100.0, per_second=0.5, for_s=70.0).steps == (Step(170.0, 0.5),)
    assert bucket.slow(state, 100.0, per_second=0.5, for_s=60.0).steps == (Step(160.0, 0.5),)
    assert bucket.slow(state, 102.0).steps == (Step(160.0, 10.0),)
    assert bucket.slow(state, 102.0, per_second=0.5).steps == (Step(160.0, 10.0),)  # for no time


def test_more_steps_than_are_kept_become_one_that_is_stricter() -> None:
    state = None
    for number in range(1, 7):
        state = bucket.slow(state, 100.0, per_second=number, for_s=number)
    assert state is not None
    assert state.steps == (Step(101.0, 1.0), Step(102.0, 2.0), Step(103.0, 3.0), Step(106.0, 4.0))


def test_no_step_is_longer_than_an_hour() -> None:
    state = bucket.slow(None, 0.0, pause_s=1e9, per_second=5.0, for_s=math.inf)
    assert state.steps == (Step(3600.0, 0.0),)
    assert bucket.slow(None, 0.0, per_second=-1.0, for_s=math.inf).steps == (Step(3600.0, 0.0),)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_rate_that_is_not_finite_is_ignored(value: float) -> None:
    state = bucket.slow(None, 100.0, per_second=10.0, for_s=60.0)
    assert bucket.slow(state, 100.0, per_second=value, for_s=60.0) == state


# States that cannot be right


def wait(state: BucketState | None, now: float) -> float:
    return bucket.take(state, now, per_second=10.0, burst=1.0, longest_wait_s=0.0)[0]


@pytest.mark.parametrize(
    "state",
    [
        BucketState(9_000.0, 9_000.0),  # from before a restart of the machine, or from another machine
        BucketState(101.1, 110.0),
        BucketState(100.0, 100.0 + 368 * 86_400),
        BucketState(100.0, math.nan),
        BucketState(math.nan, 200.0),
        BucketState(100.0, 100.0, (Step(100.0 + 3601, 0.0),)),
        BucketState(100.0, 100.0, (Step(200.0, -1.0),)),
        BucketState(100.0, 100.0, (Step(200.0, math.nan),)),
        BucketState(100.0, 100.0, (Step(math.nan, 0.0),)),
        BucketState(100.0, 100.0, tuple(Step(200.0 + number, 0.0) for number in range(5))),
    ],
    ids=str,
)
def test_a_state_that_cannot_be_right_is_replaced_and_not_waited_for(state: BucketState) -> None:
    assert wait(state, 100.0) == 0.0
    wait_s, changed = bucket.take(state, 100.0, per_second=10.0, burst=1.0, longest_wait_s=0.0)
    assert (wait_s, changed) == (0.0, BucketState(100.0, 100.1))
    assert bucket.slow(state, 100.0, pause_s=1.0) == BucketState(100.0, 100.0, (Step(101.0, 0.0),))


def test_a_state_that_can_be_right_is_kept() -> None:
    assert wait(BucketState(101.0, 110.0), 100.0) == 10.0  # the clock of Redis was set back
    assert wait(BucketState(50.0, 110.0), 100.0) == 10.0
    assert wait(BucketState(100.0, 100.0 + 367 * 86_400), 100.0) == 367 * 86_400
    assert wait(BucketState(100.0, 100.0, (Step(3700.0, 0.0),)), 100.0) == 3600.0


# Text


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS, st.lists(st.tuples(NUMBERS, NUMBERS).map(Step._make), max_size=4).map(tuple))
def test_a_state_comes_back_as_it_was(written_at: float, free_at: float, steps: tuple[Step, ...]) -> None:
    state = BucketState(written_at, free_at, steps)
    assert bucket.decode(bucket.encode(state)) == state


def test_the_text_of_a_state() -> None:
    assert bucket.encode(BucketState(1.5, 2.0, (Step(3.0, 0.25),))) == "1 1.5 2.0 3.0 0.25 ."


@given(st.integers(0, 30))
def test_a_state_that_is_cut_is_not_a_state(length: int) -> None:
    text = bucket.encode(BucketState(1.5, 2.0, (Step(3.0, 0.25),)))
    assert bucket.decode(text[:length]) is None or length >= len(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1", "1 .", "1 1 .", "1 1 2 3 .", "2 1 2 .", "1 1 x .", "1 1 nan .", "1 inf 2 .", "1 1 2 ,"],
)
def test_other_text_is_not_a_state(text: str) -> None:
    assert bucket.decode(text) is None


# Memory, which has a short way for requests that do not wait


@given(st.lists(st.tuples(GAPS, st.none() | RATES), max_size=60), RATES, BURSTS)
@example([(0.0, None)] * 5 + [(0.1, None)] * 5, 10.0, 3.0)
def test_the_short_way_of_memory_is_that_of_the_bucket(
    events: list[tuple[float, float | None]], per_second: float, burst: float
) -> None:
    now, state = BEGINNING, None
    limits = MemoryLimits(lambda: now)
    reserve = limits.reserver("key", per_second=per_second, burst=burst)
    for gap_s, lower in events:
        now += gap_s
        if lower is not None:
            limits.slow("key", per_second=lower, for_s=1.0)
            state = bucket.slow(state, now, per_second=lower, for_s=1.0)
        wait_s, changed = bucket.take(state, now, per_second=per_second, burst=burst, longest_wait_s=0.0)
        assert reserve() == (wait_s == 0)
        state = changed or state


def test_a_rate_without_a_time_changes_nothing() -> None:
    limits = MemoryLimits(lambda: BEGINNING)
    limits.slow("key", per_second=0.1)
    waits = [limits.take("key", per_second=10.0, burst=1.0, longest_wait_s=9.0) for _ in range(2)]
    assert waits == pytest.approx([0.0, 0.1], abs=1e-6)
