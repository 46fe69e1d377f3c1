"""Where slots are reserved: a store, or the memory of the process while the store fails."""

import itertools
import logging
import math
from typing import Any

import pytest
from harness import Clock
from hypothesis import example, given
from hypothesis import strategies as st

from thrive_learning import FileTokenStore
from thrive_learning._limits.line import Limiter
from thrive_learning._limits.memory import MemoryLimits
from thrive_learning._limits.reservations import LEFT_ALONE_S, LEFT_ALONE_TIMES, Limit, Reservations, Share
from thrive_learning._limits.server_limits import HOLD_S, Slow
from thrive_learning._store_reports import ANSWER_S

LIMIT = Limit("0" * 32, 10, 1)
AFTER_SILENCE_S = LEFT_ALONE_TIMES * ANSWER_S


class Breakable(MemoryLimits):
    """A store that can fail, and whose `repr` has a secret."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.answer: Any = None
        self.takes = self.slows = 0

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        self.takes += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            found: float = self.answer
            return found
        return super().take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        self.slows += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        super().slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s)

    def __repr__(self) -> str:
        return "fake-secret"


class Shared:
    """Two clients that share a store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = Breakable(self.clock)
        self.one, self.other = (
            Reservations(LIMIT, MemoryLimits(self.clock), self.store, self.clock) for _ in range(2)
        )


def reserve(reservations: Reservations, longest_wait_s: float) -> float:
    found_s = reservations.take_in_store(longest_wait_s)
    return reservations.take_here(longest_wait_s) if found_s is None else found_s


@pytest.fixture
def shared(caplog: pytest.LogCaptureFixture) -> Shared:
    caplog.set_level(logging.INFO, "thrive_learning.limits")
    return Shared()


def test_clients_share_the_slots_of_a_store(shared: Shared) -> None:
    assert shared.one.blocks
    assert not shared.one.take_now()  # the store may block
    assert reserve(shared.one, 60) == 0
    assert reserve(shared.other, 60) == pytest.approx(0.1)
    assert reserve(shared.one, 0.05) == pytest.approx(0.2)
    assert reserve(shared.other, 60) == pytest.approx(0.2)
    shared.one.slow(5, 0.5, 60)
    assert [reserve(shared.other, 60) for _ in range(2)] == [pytest.approx(5), pytest.approx(7)]
    apart = Reservations(Limit("1" * 32, 10, 1), MemoryLimits(shared.clock), shared.store, shared.clock)
    assert reserve(apart, 60) == 0


def test_without_a_store_nothing_blocks() -> None:
    clock = Clock()
    alone = Reservations(LIMIT, MemoryLimits(clock), clock=clock)
    assert not alone.blocks
    assert alone.take_now()
    assert not alone.take_now()
    assert reserve(alone, 60) == pytest.approx(0.1)
    alone.slow(5, None, 0)
    assert reserve(alone, 0) == pytest.approx(5)


def test_a_process_keeps_to_the_limit_while_its_store_fails(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    shared.store.answer = OSError(28, "fake-secret")
    waits = [reserve(shared.one, 60) for _ in range(3)]
    assert waits == [0, pytest.approx(1), pytest.approx(2)]  # a tenth, because its share is not known
    shared.one.slow(5, None, 0)
    assert reserve(shared.one, 60) == pytest.approx(5)
    assert shared.store.takes == 1  # it is left alone
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert vars(record)["thrive_event"] == "limit_store_failed"
    assert vars(record)["thrive_store"] == "the rate limit store Breakable"
    assert vars(record)["thrive_error"] == "OSError (No space left on device)"
    assert record.getMessage() == (
        "the rate limit store Breakable: OSError (No space left on device); this client sends at most 1 "
        "requests per second, its share of the limit, and tries again later"
    )


@pytest.mark.parametrize("seconds", [4, 20, 45, 200])
def test_clients_keep_to_the_shares_that_they_had_while_their_store_fails(
    shared: Shared, seconds: int
) -> None:
    clock, clients = shared.clock, [*[shared.one] * 3, shared.other]
    for number in range(10 * seconds):
        clock.now += reserve(clients[number % 4], 60)
    shared.store.answer = OSError()
    waits = [[reserve(client, 1e6) for _ in range(31)][-1] for client in (shared.one, shared.other)]
    assert waits == [pytest.approx(30 / 7.5, rel=0.1), pytest.approx(30 / 2.5, rel=0.2)]


@given(st.lists(st.floats(0, 2) | st.sampled_from([0, 1]), min_size=1, max_size=150), st.floats(0, 59))
@example([0.0] * 4, 0.0)
@example([1.0] * 150, 0.0)
def test_a_share_is_the_rate_of_the_last_half_minute_to_minute(gaps: list[float], quiet_s: float) -> None:
    share = Share()
    times = [*itertools.accumulate(gaps, initial=1000.0)]
    for time in times:
        share.count(time, time)
    now = times[-1] + quiet_s
    since = [
        time for time in times if (time == times[0] or times[-1] - time >= 30) and times[-1] - time <= 62
    ]
    # The slots after the first one, because nothing is known of the time before that.
    rates = [max(len(times) - times.index(time) - 1, 1) / max(now - time, 1) for time in since]
    assert share.per_second(now) in [pytest.approx(rate) for rate in rates]


def test_the_share_of_a_client_that_was_idle_for_a_minute_is_unknown() -> None:
    share = Share()
    assert share.per_second(0.0) is None
    for time in (0.0, 1.0, 40.0, 100.0):
        share.count(time, time)
    assert share.per_second(160.0) == pytest.approx(1 / 120)
    assert share.per_second(160.1) is None
    for time in (200.0, 201.0, 202.0):
        share.count(time, time)
    assert share.per_second(202.0) == pytest.approx(1)  # as for a new client


def test_the_share_of_a_client_with_few_slots_counts_the_waits_for_them() -> None:
    share = Share()
    share.count(100.0, 0.0)
    assert [share.per_second(now) for now in (50.0, 100.0, 125.0)] == pytest.approx(
        [1 / 100, 1 / 100, 1 / 125]
    )
    for slot_at in (200.0, 300.0):
        share.count(slot_at, slot_at - 99.0)
    assert share.per_second(201.0) == pytest.approx(1 / 100)
    share.count(310.0, 309.0)
    assert share.per_second(310.0) == pytest.approx(2 / 110)


def test_an_outage_does_not_change_the_share(shared: Shared) -> None:
    for _ in range(20):
        assert reserve(shared.one, 60) == 0
        shared.clock.now += 0.2
    for number, outage_s in enumerate((30, 90, 30, 90), 21):
        assert reserve(shared.one, 60) == 0
        shared.store.answer = OSError()
        waits = [reserve(shared.one, 60) for _ in range(number)]
        assert waits[-1] - waits[0] == pytest.approx(4)
        shared.clock.now += outage_s
        shared.store.answer = None


def test_a_client_has_no_burst_while_its_store_fails(shared: Shared) -> None:
    shared.store.answer = OSError()
    client = Reservations(LIMIT._replace(burst=5), MemoryLimits(shared.clock), shared.store, shared.clock)
    assert [reserve(client, 60) for _ in range(2)] == [0, pytest.approx(1)]


def test_a_slot_that_is_too_late_does_not_count_as_a_share(shared: Shared) -> None:
    reserve(shared.one, 60)
    for _ in range(50):
        assert reserve(shared.one, 0.01) > 0.01
    shared.clock.now += 10
    shared.store.answer = OSError()
    assert [reserve(shared.one, 60) for _ in range(2)] == [0, pytest.approx(1)]


@pytest.mark.parametrize("times", [[0], [0, 50], [0, 20, 40], [0, 0.5]], ids=str)
@pytest.mark.parametrize("quiet_s", [0.2, 1, 59])
def test_a_client_that_had_no_waits_takes_a_tenth_at_least(
    shared: Shared, times: list[float], quiet_s: float
) -> None:
    began = shared.clock.now
    for time in times:
        shared.clock.now = began + time
        assert reserve(shared.one, 60) == 0
    shared.clock.now += quiet_s
    shared.store.answer = OSError()
    waits = [reserve(shared.one, 60) for _ in range(3)]
    assert waits[0] == 0
    assert waits[1] <= 1.0001
    assert waits[2] <= 2.0001


def test_a_client_waits_in_an_outage_as_long_as_before_at_most(shared: Shared) -> None:
    shared.store.answer = 4.0
    shared.clock.now += reserve(shared.one, 60)
    shared.clock.now += 40  # one slot in 44 s
    shared.store.answer = OSError()
    assert [reserve(shared.one, 60) for _ in range(2)] == [0, pytest.approx(4)]


def test_the_longest_wait_of_a_share_is_that_of_the_last_half_minute_to_minute() -> None:
    share = Share()
    assert share.longest_wait_s(0.0) == 0
    for slot_at, wait_s, longest_s in [
        (5, 5, 5),
        (10, 1, 5),
        (36, 2, 5),
        (40, 0, 5),
        (70, 0, 2),
        (100, 0, 0),
    ]:
        share.count(slot_at, slot_at - wait_s)
        assert share.longest_wait_s(slot_at) == longest_s
    share.count(107, 100)
    assert [share.longest_wait_s(now) for now in (167, 168)] == [7, 0]
    share.count(201, 200)
    assert share.longest_wait_s(201) == 1


def test_the_wait_of_an_outage_ends_with_it(shared: Shared) -> None:
    shared.store.answer = 50.0
    shared.clock.now += reserve(shared.one, 60)
    shared.store.answer = OSError()
    assert reserve(shared.one, 60) == pytest.approx(50)
    shared.clock.now += LEFT_ALONE_S
    shared.store.answer = None
    for _ in range(700):
        shared.clock.now += 0.1
        assert reserve(shared.one, 60) == 0
    shared.store.answer = OSError()
    assert [reserve(shared.one, 60) for _ in range(2)] == [pytest.approx(0.1), pytest.approx(0.2, rel=0.1)]


@pytest.mark.parametrize("wait_s", [0.0, 7.0])
def test_the_first_slot_of_an_outage_follows_the_last_one_of_the_store(shared: Shared, wait_s: float) -> None:
    shared.store.answer = 4.0
    for _ in range(3):
        shared.clock.now += reserve(shared.one, 60)
    if wait_s:
        shared.store.answer = wait_s
        assert reserve(shared.one, 60) == wait_s
    shared.store.answer = OSError()
    if wait_s:
        shared.one.slow(0.0, None, 0.0)  # fails while the slot is ahead
    # 2 slots in 8 s after the first one, or 3 in 15 s.
    between_s = 5 if wait_s else 4
    waits = [reserve(shared.one, 60) for _ in range(2)]
    assert waits == [pytest.approx(wait_s + between_s), pytest.approx(wait_s + 2 * between_s)]


@pytest.mark.parametrize(
    ("takes_s", "leaves_s"), [(0.0, 1.0), (0.3, 1.0), (0.5, 1.5), (2.0, 6.0), (4.9, 14.7)]
)
def test_a_store_is_left_alone_for_three_times_as_long_as_it_took_to_fail(
    shared: Shared, takes_s: float, leaves_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> float:
        shared.clock.now += takes_s
        raise OSError

    monkeypatch.setattr(shared.store, "take", fail)
    reserve(shared.one, 60)
    assert shared.one.tries_again_at == pytest.approx(shared.clock.now + leaves_s)


def test_a_store_is_tried_again_later(shared: Shared, caplog: pytest.LogCaptureFixture) -> None:
    shared.store.answer = RuntimeError()
    reserve(shared.one, 60)
    for _ in range(2):
        shared.clock.now += LEFT_ALONE_S
        reserve(shared.one, 60)
    assert shared.store.takes == 3
    assert len(caplog.records) == 1  # once per outage
    shared.store.answer = None
    shared.clock.now += LEFT_ALONE_S
    assert reserve(shared.one, 60) == 0
    assert reserve(shared.other, 60) == pytest.approx(0.1)
    recovered = caplog.records[-1]
    assert (recovered.levelname, vars(recovered)["thrive_event"]) == ("INFO", "limit_store_recovered")
    assert recovered.getMessage() == f"{vars(recovered)['thrive_store']}: works again"
    assert vars(recovered)["thrive_store"] == "the rate limit store Breakable"
    shared.store.answer = RuntimeError()
    reserve(shared.one, 60)
    assert [vars(record)["thrive_event"] for record in caplog.records] == [
        *("limit_store_failed", "limit_store_recovered", "limit_store_failed"),
    ]


def test_a_store_that_works_for_one_thread_is_used_by_all(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = shared.store.take

    def slowly(*arguments: Any, **options: Any) -> float:
        shared.store.answer = OSError()
        monkeypatch.setattr(shared.store, "take", take)
        reserve(shared.one, 60)  # of another thread
        shared.store.answer = None
        return take(*arguments, **options)

    monkeypatch.setattr(shared.store, "take", slowly)
    assert reserve(shared.one, 60) == 0
    assert reserve(shared.other, 60) == pytest.approx(0.1)
    assert reserve(shared.one, 60) == pytest.approx(0.2)


def test_a_pause_is_kept_although_the_store_fails(shared: Shared) -> None:
    shared.store.answer = RuntimeError()
    shared.one.slow(5, 0.5, 60)
    assert [reserve(shared.one, 60) for _ in range(2)] == [pytest.approx(5), pytest.approx(7)]
    shared.one.slow(6, None, 0)
    assert shared.store.slows == 1


@pytest.mark.parametrize("answer", [float("nan"), "soon", [1]], ids=str)
def test_an_invalid_wait_is_a_failure_of_the_store(shared: Shared, answer: Any) -> None:
    shared.store.answer = answer
    assert [reserve(shared.one, 60) for _ in range(2)] == [0, pytest.approx(1)]
    assert shared.store.takes == 1


def test_a_negative_wait_is_none(shared: Shared) -> None:
    shared.store.answer = -1
    assert reserve(shared.one, 60) == 0


def test_a_store_of_ours_is_named(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    reservations = Reservations(LIMIT, MemoryLimits(), FileTokenStore(folder))
    assert reserve(reservations, 60) == 0
    assert caplog.records[0].getMessage().startswith(f"FileTokenStore('{folder}'): ")


def test_an_interruption_is_not_taken_for_a_failure_of_the_store(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("thrive_learning._limits.reservations.interruption", lambda error: error)
    shared.store.answer = TimeoutError("of a signal handler")
    with pytest.raises(TimeoutError):
        reserve(shared.one, 60)
    assert not caplog.records


def test_an_answer_that_comes_too_late_changes_nothing(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(Breakable):
        def take(self, key: str, **options: Any) -> float:
            shared.clock.now += ANSWER_S
            for _ in range(2):
                one.late(ANSWER_S)  # the caller has given up, and so has another one
            shared.clock.now += ANSWER_S
            if self.answer is not None:
                raise self.answer
            return super().take(key, **options)

    store = Hanging(shared.clock)
    one = Reservations(LIMIT, MemoryLimits(shared.clock), store, shared.clock)
    one.late(ANSWER_S / 2)
    assert one.tries_again_at == math.inf
    for answer in (None, OSError("fake-secret")):
        shared.clock.now += AFTER_SILENCE_S
        store.answer = answer
        assert one.take_in_store(60) is None
        assert one.tries_again_at == shared.clock.now - ANSWER_S + AFTER_SILENCE_S
    [record] = caplog.records
    assert record.getMessage() == (
        "the rate limit store Hanging: no answer within 5 s; this client sends at most 1 requests per "
        "second, its share of the limit, and tries again later"
    )


def test_the_waits_of_calls_with_short_time_limits_add_up(shared: Shared) -> None:
    one = shared.one
    for answer in (None, OSError()):  # both end the silence
        for _ in range(2):
            shared.clock.now += 2
            one.late(2)
        assert one.tries_again_at == math.inf
        shared.store.answer = answer
        reserve(one, 60)
        if answer is not None:  # it works again
            shared.clock.now += LEFT_ALONE_S
            shared.store.answer = None
            reserve(one, 60)
    for _ in range(2):
        shared.clock.now += 2
        one.late(2)
    assert one.tries_again_at == math.inf
    shared.clock.now += 2
    one.late(2)
    assert one.tries_again_at == shared.clock.now + AFTER_SILENCE_S
    shared.clock.now += AFTER_SILENCE_S
    one.late(0.1)  # it has still not answered
    assert one.tries_again_at == shared.clock.now + AFTER_SILENCE_S


def test_only_a_reservation_tries_a_failed_store_again(shared: Shared) -> None:
    shared.store.answer = RuntimeError()
    reserve(shared.one, 60)
    shared.store.answer = None
    shared.clock.now += LEFT_ALONE_S
    # This process has found the rate without the others, so it must not reach them.
    shared.one.slow(0, 0.1, 30)
    assert shared.store.slows == 0
    assert reserve(shared.one, 60) == 0
    shared.one.slow(0, 5, 30)
    assert shared.store.slows == 1


def test_a_process_that_is_alone_or_no_longer_alone_forgets_what_it_learned(shared: Shared) -> None:
    limiter = Limiter(shared.one, shared.clock)
    assert limiter.server.after(429, {}, shared.clock.now) == Slow(1, 8, HOLD_S)
    assert reserve(shared.one, 60) == 0
    for answer, leaves in [(RuntimeError(), True), (RuntimeError(), False), (None, True), (None, False)]:
        shared.store.answer = answer
        shared.clock.now += LEFT_ALONE_S
        before = limiter.server
        reserve(shared.one, 60)
        assert (limiter.server is not before) == leaves
