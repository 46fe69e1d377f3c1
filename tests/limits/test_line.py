"""The line of requests under a rate limit, with a clock that the tests move."""

import gc
import os
from typing import Any

import anyio
import pytest
from harness import Clock

from thrive_learning._limits.limiter import AsyncLimiter, SyncLimiter
from thrive_learning._limits.line import (
    LOOK_AGAIN_AFTER_S,
    LOST_AFTER_S,
    RESERVE,
    Limiter,
    LimitTurn,
    TooLong,
)
from thrive_learning._limits.memory import MemoryLimits
from thrive_learning._limits.reservations import LEFT_ALONE_S, Limit, Reservations
from thrive_learning._limits.server_limits import Slow


class Place:
    """Counts how often it is woken."""

    def __init__(self) -> None:
        self.cuts = 0

    def cut(self) -> None:
        self.cuts += 1


class Waiter:
    """A request with its time, which takes the steps of its turn."""

    def __init__(self, limiter: Limiter, clock: Clock, time_s: float = 60.0) -> None:
        self.connection: Any = None
        self.place = Place()
        self._clock = clock
        self._ends_at = clock.now + time_s
        self._limiter = limiter
        self.turn: Any = LimitTurn(limiter, self, self.place)
        self.turn.begin()

    def remaining(self) -> float:
        return self._ends_at - self._clock.now

    def step(self) -> float | None:
        """Take steps until the next wait. Return its length in seconds, or None at the end."""
        while (step := self.turn.step()) == RESERVE:
            longest_s = self.turn.longest_s
            self.turn.reserved(self._limiter.reservations.take_in_store(longest_s), longest_s)
        found: float | None = step
        return found

    def end(self) -> Any:
        self.turn.end()
        return self.turn.outcome


class Line:
    """A limiter of 10 requests per second without a burst, after its first request."""

    def __init__(self) -> None:
        self.clock = Clock()
        memory = MemoryLimits(self.clock)
        self.limiter = Limiter(Reservations(Limit("0" * 32, 10, 1), memory), self.clock)
        assert self.limiter.goes_at_once()

    def join(self, time_s: float = 60.0) -> Waiter:
        return Waiter(self.limiter, self.clock, time_s)


@pytest.fixture
def line() -> Line:
    return Line()


class Failing(MemoryLimits):
    """A store that fails until a time."""

    def __init__(self, clock: Clock, until: float) -> None:
        super().__init__(clock)
        self._now = clock
        self._until = until

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        if self._now() < self._until:
            raise OSError
        return super().take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)


def send_first(limiter: Limiter, clock: Clock) -> None:
    """Send a request that need not wait, for which the store is asked nevertheless."""
    assert not limiter.goes_at_once()
    first = Waiter(limiter, clock)
    assert first.step() is None
    assert first.end() == 0


def seconds(value: float) -> Any:
    return pytest.approx(value, abs=1e-6)


def test_a_request_goes_at_once_as_the_limit_allows(line: Line) -> None:
    assert not line.limiter.goes_at_once()
    line.clock.now += 0.1
    assert line.limiter.goes_at_once()


def test_a_request_waits_for_its_slot(line: Line) -> None:
    waiter = line.join()
    assert waiter.connection is waiter.place
    assert waiter.step() == seconds(0.1)
    line.clock.now += 0.06
    assert waiter.step() == seconds(0.04)  # it was woken early
    line.clock.now += 0.05
    assert waiter.step() is None
    assert waiter.step() is None
    assert waiter.end() == seconds(0.11)
    assert waiter.connection is None


def test_requests_are_sent_in_the_order_in_which_they_came(line: Line) -> None:
    first, second, third = (line.join() for _ in range(3))
    for _ in range(2):
        assert (third.step(), second.step()) == (LOOK_AGAIN_AFTER_S, LOOK_AGAIN_AFTER_S)
    assert first.step() == seconds(0.1)
    line.clock.now += 0.25
    assert not line.limiter.goes_at_once()  # others wait, although there is a slot
    assert second.step() == LOOK_AGAIN_AFTER_S
    assert first.step() is None
    cuts = second.place.cuts
    assert first.end() == seconds(0.25)
    assert second.place.cuts == cuts + 1
    assert (third.step(), second.step()) == (LOOK_AGAIN_AFTER_S, None)
    second.end()
    assert third.step() == seconds(0.1)


def test_a_slot_of_an_outage_is_kept_until_the_store_has_a_sooner_one() -> None:
    clock = Clock()
    store = Failing(clock, clock.now + LEFT_ALONE_S + 1)
    limiter = Limiter(Reservations(Limit("0" * 32, 0.1, 1), MemoryLimits(clock), store, clock), clock)
    send_first(limiter, clock)  # the next one is 100 s later, because the share is a tenth
    waiter = Waiter(limiter, clock, 200)
    assert waiter.step() == seconds(LEFT_ALONE_S)
    clock.now += LEFT_ALONE_S
    assert waiter.step() == seconds(LEFT_ALONE_S)  # the store still fails
    clock.now += LEFT_ALONE_S
    assert waiter.step() is None
    assert waiter.end() == seconds(2 * LEFT_ALONE_S)


def test_a_slot_of_an_outage_is_used_while_the_store_fails() -> None:
    clock = Clock()
    store = Failing(clock, clock.now + 1000)
    limiter = Limiter(Reservations(Limit("0" * 32, 0.25, 1), MemoryLimits(clock), store, clock), clock)
    send_first(limiter, clock)
    waiter = Waiter(limiter, clock, 200)
    assert waiter.step() == seconds(LEFT_ALONE_S)
    clock.now += 40 - LEFT_ALONE_S / 2
    assert waiter.step() == seconds(LEFT_ALONE_S / 2)
    clock.now += LEFT_ALONE_S / 2
    assert waiter.step() is None
    assert waiter.end() == seconds(40)


def alone(seconds_left: float, per_second: float = 0.1) -> tuple[Limiter, Clock]:
    """Return a limiter whose store fails for some more seconds, after a request, and its clock."""
    clock = Clock()
    store = Failing(clock, clock.now + seconds_left)
    reservations = Reservations(Limit("0" * 32, per_second, 1), MemoryLimits(clock), store, clock)
    limiter = Limiter(reservations, clock)
    send_first(limiter, clock)  # the next slot is 10 / per_second later, because the share is a tenth
    return limiter, clock


def test_a_request_is_not_refused_if_the_store_may_allow_it() -> None:
    limiter, clock = alone(2.5)
    waiter = Waiter(limiter, clock, 10)
    for _ in range(2):
        assert waiter.step() == seconds(LEFT_ALONE_S)
        clock.now += 0.5
        assert waiter.step() == seconds(LEFT_ALONE_S - 0.5)  # it was woken early
        clock.now += LEFT_ALONE_S - 0.5
    assert waiter.step() == seconds(LEFT_ALONE_S)
    clock.now += LEFT_ALONE_S
    assert waiter.step() is None
    assert waiter.end() == seconds(3)


def test_a_request_that_the_store_may_allow_is_refused_if_the_store_does_not_work_in_time() -> None:
    limiter, clock = alone(1000)
    hurried, waiter = Waiter(limiter, clock, 0.9), Waiter(limiter, clock, 1.9)
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(100), seconds(0.9))
    assert waiter.step() == seconds(LEFT_ALONE_S)
    clock.now += LEFT_ALONE_S
    assert waiter.step() is None
    assert waiter.end() == TooLong(seconds(99), seconds(0.9))
    assert Waiter(limiter, clock, 200).step() == seconds(LEFT_ALONE_S)
    assert limiter.spare_at < clock.now  # nothing was reserved


def test_a_slot_of_an_outage_that_is_passed_on_refuses_nothing_that_the_store_may_allow() -> None:
    limiter, clock = alone(0.5)
    waiter = Waiter(limiter, clock, 200)
    assert waiter.step() == seconds(LEFT_ALONE_S)
    waiter.end()
    hurried = Waiter(limiter, clock, 0.9)
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(100), seconds(0.9))
    other = Waiter(limiter, clock, 10)
    assert other.step() == seconds(LEFT_ALONE_S)
    clock.now += LEFT_ALONE_S
    assert other.step() is None
    assert other.end() == seconds(LEFT_ALONE_S)


@pytest.mark.parametrize("recovers", [True, False])
def test_a_slot_of_an_outage_does_not_refuse_those_behind(*, recovers: bool) -> None:
    limiter, clock = alone(0.5 if recovers else 1000, per_second=1)
    first = Waiter(limiter, clock)
    assert first.step() == seconds(LEFT_ALONE_S)  # its slot is in 10 s
    second = Waiter(limiter, clock, 5)
    assert second.step() == seconds(5)
    clock.now += LEFT_ALONE_S
    assert (first.step() is None) == recovers
    third = Waiter(limiter, clock, 5)
    assert third.step() == seconds(5)
    assert second.step() == seconds(4)
    if recovers:
        first.end()
        assert second.step() == seconds(1)


@pytest.mark.parametrize("time_s", [10, 60])
def test_a_store_that_failed_before_a_pause_is_not_asked_within_it(time_s: float) -> None:
    limiter, clock = alone(0.5)
    limiter.reservations.slow(20, None, 0)
    limiter.paused(20)
    waiter = Waiter(limiter, clock, time_s)
    assert waiter.step() == (None if time_s < 20 else seconds(20))
    clock.now += 20
    assert waiter.step() is None
    assert isinstance(waiter.end(), TooLong) == (time_s < 20)


def test_a_wait_beyond_the_deadline_reserves_nothing(line: Line) -> None:
    hurried = line.join(0.05)
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(0.1), seconds(0.05))
    assert line.join().step() == seconds(0.1)


def test_a_request_behind_others_fails_at_once_if_they_take_too_long(line: Line) -> None:
    others = [line.join() for _ in range(5)]
    others[0].step()
    hurried = line.join(0.55)
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(0.6), seconds(0.55))
    patient = line.join(0.65)
    assert patient.step() == seconds(0.65)
    line.clock.now += 0.7
    assert patient.step() is None
    assert patient.end() == TooLong(0.0, 0.0)


def test_a_request_learns_that_it_would_wait_too_long(line: Line) -> None:
    first, _second, hurried = line.join(), line.join(), line.join(0.25)
    assert hurried.step() == seconds(0.25)  # as long as the store has not said anything
    assert first.step() == seconds(0.1)
    assert hurried.place.cuts == 1
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(0.3), seconds(0.25))


def test_a_request_that_gives_up_passes_its_slot_on(line: Line) -> None:
    canceled, following = line.join(), line.join()
    assert canceled.step() == seconds(0.1)
    line.clock.now += 0.03
    assert canceled.end() is None
    assert following.place.cuts
    assert following.step() == seconds(0.07)
    line.clock.now += 0.07
    assert following.step() is None
    assert following.end() == seconds(0.1)
    assert line.join().step() == seconds(0.1)


def test_a_slot_that_is_passed_on_too_late_for_the_next_request_is_passed_on_again(line: Line) -> None:
    canceled, hurried, following = line.join(), line.join(0.05), line.join()
    assert canceled.step() == seconds(0.1)
    canceled.end()
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(0.1), seconds(0.05))
    assert following.step() == seconds(0.1)


def test_the_slot_of_the_last_request_that_gives_up_is_lost_once(line: Line) -> None:
    canceled = line.join()
    canceled.step()
    canceled.end()
    line.clock.now += 0.15
    late = line.join()
    assert late.step() == seconds(0.05)  # the slot has passed, so this is the next one


def test_requests_look_again_if_others_have_taken_slots(line: Line) -> None:
    first, second, third, hurried, _last = (line.join(time_s) for time_s in (60, 60, 60, 0.45, 60))
    assert first.step() == seconds(0.1)
    news = line.limiter.news
    line.clock.now += 0.1
    assert first.step() is None
    first.end()
    assert second.step() == seconds(0.1)
    assert (line.limiter.news, hurried.place.cuts) == (news, 0)  # as expected
    assert line.limiter.reservations.take_here(60) == seconds(0.2)  # of another client
    line.clock.now += 0.1
    assert second.step() is None
    second.end()
    assert third.step() == seconds(0.2)
    assert hurried.place.cuts == 1
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(0.3), seconds(0.25))


def test_a_slot_that_is_free_at_once_delays_no_other() -> None:
    clock = Clock()
    limiter = Limiter(Reservations(Limit("0" * 32, 10, 3), MemoryLimits(clock)), clock)
    first, second, third = (Waiter(limiter, clock, 0.05) for _ in range(3))
    for waiter in (first, second):
        assert waiter.step() is None
        assert third.step() == seconds(0.05)
        assert waiter.end() == 0


def test_a_pause_makes_reserved_slots_void(line: Line) -> None:
    first, second = line.join(), line.join()
    first.step()
    second.step()
    line.limiter.reservations.slow(5.0, None, 0.0)
    line.limiter.paused(5.0)
    assert first.place.cuts
    line.clock.now += 0.2
    assert first.step() == seconds(4.8)
    canceled = line.join()
    line.limiter.reservations.slow(6.0, None, 0.0)
    line.limiter.paused(6.0)
    first.end()  # its slot is void as well
    assert second.step() == seconds(6.0)
    assert canceled.step() == LOOK_AGAIN_AFTER_S


def test_a_request_that_would_wait_for_the_end_of_a_pause_fails_at_once(line: Line) -> None:
    first, hurried = line.join(), line.join(3.0)
    assert (first.step(), hurried.step()) == (seconds(0.1), seconds(3.0))
    line.limiter.paused(5.0)
    assert hurried.step() is None
    assert hurried.end() == TooLong(seconds(5.0), seconds(3.0))


def test_a_pause_that_is_repeated_or_none_changes_nothing(line: Line) -> None:
    line.limiter.paused(0.0)
    assert line.limiter.epoch == 0
    line.limiter.paused(5.0)
    line.clock.now += 1.0
    for pause_s in (4.0, 3.0, 4.04):
        line.limiter.paused(pause_s)
    assert line.limiter.epoch == 1


def test_a_request_that_was_dropped_holds_up_no_other(line: Line) -> None:
    dropped, following = line.join(), line.join()
    dropped.step()
    del dropped
    gc.collect()
    assert following.step() == seconds(0.2)


def test_a_request_whose_loop_was_stopped_holds_up_no_other(line: Line) -> None:
    stopped, following = line.join(), line.join(LOST_AFTER_S + 30)
    stopped.step()
    line.clock.now += 0.1 + LOST_AFTER_S
    assert following.step() == LOOK_AGAIN_AFTER_S
    line.clock.now += 0.1
    assert following.step() is None
    assert stopped.step() is None  # it continues after all
    assert isinstance(stopped.end(), float)
    assert isinstance(following.end(), float)


def test_a_request_that_was_taken_for_lost_fails_as_usual(line: Line) -> None:
    stopped, following = line.join(1.0), line.join()
    line.clock.now += 1.1 + LOST_AFTER_S
    following.step()
    assert stopped.step() is None
    assert stopped.end() == TooLong(0.0, 0.0)


def test_a_request_that_was_taken_for_lost_joins_the_line_again_after_a_pause(line: Line) -> None:
    stopped, following = line.join(), line.join()
    stopped.step()
    line.clock.now += 0.2 + LOST_AFTER_S
    assert following.step() is None
    following.end()
    line.limiter.paused(1.0)
    line.limiter.reservations.slow(1.0, None, 0.0)
    assert stopped.step() == seconds(1.0)
    line.clock.now += 1.0
    assert stopped.step() is None
    stopped.end()
    line.clock.now += 0.1
    assert line.limiter.goes_at_once()


def test_the_end_of_the_client_ends_all_waits(line: Line) -> None:
    waiters = [line.join() for _ in range(4)]
    assert [waiter.step() for waiter in waiters][1:] == [LOOK_AGAIN_AFTER_S] * 3
    del waiters[2]
    gc.collect()
    for waiter in waiters:
        waiter.place.cuts = 0
    line.limiter.close()
    assert [waiter.place.cuts for waiter in waiters] == [1, 1, 1]
    for waiter in waiters:
        assert waiter.step() is None
        assert isinstance(waiter.end(), TooLong)


def test_a_forked_child_has_a_line_of_its_own(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = line.join()
    parent.step()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    child = line.join()
    assert child.step() == seconds(0.2)
    parent.end()
    assert child.step() == seconds(0.2)


def test_a_slot_wakes_only_the_requests_that_it_concerns(line: Line) -> None:
    waiters = [line.join() for _ in range(50)]
    assert {waiter.step() for waiter in waiters[1:]} == {LOOK_AGAIN_AFTER_S}
    first, hasty, *others = waiters
    late = line.join(3.0)  # 50 requests are before it
    assert late.step() == 3.0
    hasty.step()
    assert first.step() == seconds(0.1)  # only now it is known when the others can be sent
    assert late.place.cuts == 1
    assert late.step() is None
    assert late.end() == TooLong(seconds(5.1), seconds(3.0))
    line.clock.now += 0.1
    for waiter in (first, hasty, *others[:10]):
        waiter.step()
        line.clock.now += 0.1
        assert waiter.step() is None
        waiter.end()
    assert [waiter.place.cuts for waiter in others[11:]] == [0] * 37


@pytest.mark.parametrize("blocks", [False, True])
def test_a_pause_of_the_server_reaches_the_store_and_the_line(*, blocks: bool, anyio_backend: str) -> None:
    def reservations() -> Reservations:
        store = MemoryLimits() if blocks else None
        return Reservations(Limit("0" * 32, 10, 1), MemoryLimits(), store)

    sync, other = SyncLimiter(reservations()), AsyncLimiter(reservations())
    for slow in (Slow(50.0, None, 0.0), Slow(0.0, 1.0, 10.0)):
        sync.slow(slow, 60.0)
        anyio.run(other.slow, slow, 60.0, backend=anyio_backend)
    for limiter in (sync, other):
        assert limiter.epoch == 1
        found_s = limiter.reservations.take_in_store(0.0) if blocks else limiter.reservations.take_here(0.0)
        assert found_s is not None
        assert 40 < found_s <= 50
