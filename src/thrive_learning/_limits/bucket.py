"""Decides when the next request of a rate limit may be sent. Pure.

A limit is a leaky bucket as a meter, also called the generic cell rate algorithm (GCRA). Its state is the
time at which the requests so far would have been sent at the exact rate, so it needs no timer and no history.
Of a burst, all requests but one may be early. A server that asks for less adds a step: a lower
rate until a time, or 0 for a pause. Bursts are not allowed during a step.

Stores keep the state as text. `now` is the time of the store's clock, in seconds.

Source: ITU-T I.371 annex A; ATM Forum, Traffic Management Specification 4.0, section 4.4.2.
"""

import itertools
import math
from typing import NamedTuple

#: A state from further in the future than this is from another clock, such as before a restart. Seconds.
CLOCK_STEP_S = 1.0

#: The longest pause and the longest time of a lower rate, in seconds.
LONGEST_SLOW_S = 3600.0

#: The furthest reservation: the longest call (a year), and a request a day. Seconds.
LONGEST_AHEAD_S = 367 * 86_400.0

#: The number of steps that are kept. More become one, with the lower rate and the later end.
MOST_STEPS = 4

_VERSION, _END = "1", "."


class Step(NamedTuple):
    """A time of a lower rate.

    Attributes:
        until: Its end.
        per_second: The highest rate, in requests per second; 0 for a pause.
    """

    until: float
    per_second: float


class BucketState(NamedTuple):
    """A rate limit at a time.

    Attributes:
        written_at: That time.
        free_at: When the requests so far would have been sent at the exact rate.
        steps: Lower rates, with rising ends and rates.
    """

    written_at: float
    free_at: float
    steps: tuple[Step, ...] = ()


def take(
    state: BucketState | None, now: float, *, per_second: float, burst: float, longest_wait_s: float
) -> tuple[float, BucketState | None]:
    """Reserve the next request, unless its time is too late.

    Args:
        state: The state; None for a new limit.
        now: The time.
        per_second: The rate, in requests per second.
        burst: The number of requests that may be sent at once after a quiet time.
        longest_wait_s: The longest wait, in seconds.

    Returns:
        The seconds until the request may be sent, and the new state; without one, nothing is reserved.
    """
    before = _sensible(state, now)
    free_at = max(before.free_at, now)
    if before.steps:
        first = before.steps[0]
        send_at = free_at = max(free_at, now if first.per_second else first.until)
    else:
        send_at = max(now, free_at - (burst - 1) / per_second)
    wait_s = send_at - now
    if wait_s > longest_wait_s:
        return wait_s, None
    return wait_s, BucketState(now, _after_one_more(free_at, now, before.steps, per_second), before.steps)


def _after_one_more(at: float, now: float, steps: tuple[Step, ...], per_second: float) -> float:
    """Return when one more request has been sent at the exact rates from a time on.

    Reservations beyond the last step continue its rate for as long again, because the server probably renews
    it. Otherwise, a hundred clients that wait would have their later requests at the full rate.
    """
    rest = 1.0
    for index, (end, lower) in enumerate(steps, 1):
        until = 2 * end - now if index == len(steps) and lower else end
        if until > at:
            rate = min(lower, per_second)
            room = (until - at) * rate
            if room >= rest:
                return at + rest / rate
            rest -= room
            at = until
    return at + rest / per_second


def slow(
    state: BucketState | None,
    now: float,
    *,
    pause_s: float = 0.0,
    per_second: float | None = None,
    for_s: float = 0.0,
) -> BucketState:
    """Return the state with a pause, a lower rate, or both. Neither is longer than an hour.

    Args:
        state: The state; None for a new limit.
        now: The time.
        pause_s: The pause, in seconds.
        per_second: The highest rate for a time, in requests per second; None for no other rate.
        for_s: That time, in seconds.
    """
    before = _sensible(state, now)
    steps = before.steps
    if pause_s > 0:
        steps = _with_step(steps, Step(now + min(pause_s, LONGEST_SLOW_S), 0.0))
    if per_second is not None and per_second < math.inf and for_s > 0:
        steps = _with_step(steps, Step(now + min(for_s, LONGEST_SLOW_S), max(per_second, 0.0)))
    return BucketState(now, before.free_at, steps)


def _with_step(steps: tuple[Step, ...], new: Step) -> tuple[Step, ...]:
    if any(step.per_second <= new.per_second and step.until >= new.until for step in steps):
        return steps  # it changes nothing
    kept = [step for step in steps if step.per_second < new.per_second or step.until > new.until]
    kept = sorted([*kept, new])
    if len(kept) > MOST_STEPS:
        *kept, last, later = kept
        kept.append(Step(later.until, last.per_second))
    return tuple(kept)


def _sensible(state: BucketState | None, now: float) -> BucketState:
    """Return the state with the steps that still apply, or a new one if it cannot be right."""
    if state is None or not _is_sensible(state, now):
        return BucketState(now, now)
    return state._replace(steps=tuple(step for step in state.steps if step.until > now))


def _is_sensible(state: BucketState, now: float) -> bool:
    """Return whether a state was written by this clock. A wrong one could stop all requests for long."""
    written_at, free_at, steps = state
    return (
        written_at <= now + CLOCK_STEP_S
        and free_at <= written_at + LONGEST_AHEAD_S
        and len(steps) <= MOST_STEPS
        and all(until <= written_at + LONGEST_SLOW_S and rate >= 0 for until, rate in steps)
    )


def encode(state: BucketState) -> str:
    """Return a state as text, with all digits."""
    numbers = [state.written_at, state.free_at, *itertools.chain(*state.steps)]
    return " ".join([_VERSION, *map(repr, numbers), _END])


def decode(text: str) -> BucketState | None:
    """Return the state of a text; None if `encode` did not write it, or not all of it arrived."""
    version, *words = text.split(" ")
    if version != _VERSION or len(words) < 3 or len(words) % 2 == 0 or words.pop() != _END:  # noqa: PLR2004
        return None
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    if not all(map(math.isfinite, numbers)):
        return None
    written_at, free_at, *rest = numbers
    return BucketState(written_at, free_at, tuple(map(Step, rest[::2], rest[1::2])))
