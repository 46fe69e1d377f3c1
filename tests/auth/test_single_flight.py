import datetime as dt
import threading
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.from_thread import start_blocking_portal
from harness import Clock
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S

from thrive_learning import (
    AccessToken,
    Attempt,
    ConfigurationError,
    Scope,
    Secret,
    Service,
    TokenError,
    UnauthorizedError,
)
from thrive_learning._auth import single_flight
from thrive_learning._auth.outcomes import Failure, Key, Minted
from thrive_learning._auth.single_flight import Flight, Lead, Remembered, SingleFlight

TOKEN, OTHER = (
    AccessToken(value=value, expires_at=dt.datetime(2030, 1, 1, tzinfo=dt.UTC), scopes=()) for value in "ab"
)

KEY = Key(Service.API, frozenset({Scope.READ}))
OTHER_KEY = Key(Service.API, frozenset({Scope.WRITE}))
WEBHOOKS_KEY = Key(Service.WEBHOOKS, frozenset({Scope.WEBHOOKS}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> SingleFlight:
    return SingleFlight(clock, draw=lambda: 0.0)


def lead(cache: SingleFlight) -> Flight:
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    return claim.flight


def test_the_first_caller_leads_and_the_others_wait(cache: SingleFlight) -> None:
    flight = lead(cache)
    assert cache.claim(KEY) is flight
    assert isinstance(cache.claim(OTHER_KEY), Lead)
    cache.settle(KEY, flight, Minted(TOKEN, 3600, 1000))
    assert flight.outcome() is TOKEN
    assert cache.claim(KEY) is TOKEN


@pytest.mark.parametrize(
    ("lifetime_s", "draw", "fresh_s"),
    [
        (3600, 0.0, 3300),
        (3600, 0.5, 3330),
        (3600, 1.0, 3360),
        (601, 0.0, 301),
        (600, 0.0, 300),
        (600, 1.0, 360),
        (100, 0.0, 50),
        (100, 1.0, 50),
        (1, 0.0, 0.5),
        (86_400, 0.0, 86_100),
    ],
)
def test_for_how_long_a_token_is_fresh(clock: Clock, lifetime_s: float, draw: float, fresh_s: float) -> None:
    cache = SingleFlight(clock, draw=lambda: draw)
    cache.settle(KEY, lead(cache), Minted(TOKEN, lifetime_s, requested_at=1000))
    clock.now = 1000 + fresh_s - 0.01
    assert cache.claim(KEY) is TOKEN
    clock.now = 1000 + fresh_s
    assert isinstance(cache.claim(KEY), Lead)


@given(st.floats(0.001, 1e9), st.floats(0, 1))
def test_a_token_is_never_renewed_more_than_half_its_life_early(lifetime_s: float, draw: float) -> None:
    clock = Clock()
    cache = SingleFlight(clock, draw=lambda: draw)
    start = clock.now
    cache.settle(KEY, lead(cache), Minted(TOKEN, lifetime_s, start))
    clock.now = start + lifetime_s * 0.49
    assert cache.claim(KEY) is TOKEN
    clock.now = start + max(lifetime_s - 239, lifetime_s / 2 + 1)
    assert isinstance(cache.claim(KEY), Lead)


def renewing(cache: SingleFlight, clock: Clock, since_renewal_is_due_s: float = 0.0) -> None:
    """Put a token of an hour into the cache, and move to the time when it is to be renewed."""
    cache.settle(KEY, lead(cache), Minted(TOKEN, 3600, requested_at=1000))
    clock.now = 1000 + 3300 + since_renewal_is_due_s


def test_one_caller_renews_while_the_others_go_on(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    assert claim.fallback is TOKEN
    assert cache.claim(KEY) is TOKEN
    cache.settle(KEY, claim.flight, Minted(OTHER, 3600, clock.now))
    assert cache.claim(KEY) is OTHER


def test_a_renewal_that_fails_leaves_the_token_and_pauses(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, refused(is_transient=True))
    clock.now += 23.9  # the pause is 30 s less a fifth at least
    assert cache.claim(KEY) is TOKEN
    clock.now += 0.2
    assert isinstance(cache.claim(KEY), Lead)


def test_a_renewal_pauses_for_as_long_as_the_server_asks(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, refused(is_transient=True, pause_s=100.0))
    clock.now += 99.9
    assert cache.claim(KEY) is TOKEN
    clock.now += 0.2
    assert isinstance(cache.claim(KEY), Lead)


def test_an_expired_token_is_not_used_however_long_the_pause(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, refused(is_transient=True, pause_s=3600.0))
    clock.now = 1000 + 3600 - 30 - 0.1
    assert cache.claim(KEY) is TOKEN
    clock.now += 0.1
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    assert claim.fallback is None


def test_a_failure_that_may_pass_is_remembered_once_the_token_has_expired(
    cache: SingleFlight, clock: Clock
) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    clock.now = 1000 + 3600 - 30
    cache.settle(KEY, claim.flight, refused(is_transient=True))
    remembered(cache)


def test_the_pause_varies_by_a_fifth(clock: Clock) -> None:
    cache = SingleFlight(clock, draw=lambda: 1.0)
    renewing(cache, clock, since_renewal_is_due_s=60)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, None)
    clock.now += 35.9
    assert cache.claim(KEY) is TOKEN
    clock.now += 0.2
    assert isinstance(cache.claim(KEY), Lead)


def test_in_its_last_seconds_all_wait_for_the_next_token(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock, since_renewal_is_due_s=269.9)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    assert cache.claim(KEY) is TOKEN
    clock.now += 0.2  # 30 s before the end
    assert cache.claim(KEY) is claim.flight
    cache.settle(KEY, claim.flight, None)
    later = cache.claim(KEY)
    assert isinstance(later, Lead)
    assert later.fallback is None


def test_at_its_very_end_a_token_serves_nobody(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    clock.now = 1000 + 3600 - 30
    assert cache.claim(KEY) is claim.flight
    cache.settle(KEY, claim.flight, None)
    assert isinstance(cache.claim(KEY), Lead)


def refused(error: TokenError | None = None, **options: Any) -> Failure:
    options = {"pause_s": 30.0} | options
    return Failure(error or TokenError("no.", status_code=401), **options)


def remembered(cache: SingleFlight, key: Key = KEY) -> Remembered:
    claim = cache.claim(key)
    assert isinstance(claim, Remembered)
    return claim


def test_a_failure_is_remembered_for_all_scopes_of_its_service(cache: SingleFlight, clock: Clock) -> None:
    cache.settle(KEY, lead(cache), refused())
    assert remembered(cache) is remembered(cache, OTHER_KEY)
    assert isinstance(cache.claim(WEBHOOKS_KEY), Lead)
    clock.now += 29.9
    remembered(cache)
    clock.now += 0.1
    cache.settle(KEY, lead(cache), Minted(TOKEN, 3600, clock.now))
    assert cache.claim(KEY) is TOKEN


def test_a_remembered_error_says_so(cache: SingleFlight, clock: Clock) -> None:
    error = TokenError("no.", status_code=401, error="invalid_client")
    error.history = (Attempt(1, 401, "status 401", None, 0.1, None),)
    error.url = "https://token.example/{tenant_id}"
    cache.settle(KEY, lead(cache), refused(error))
    clock.now += 2.4
    first, second = remembered(cache).error(), remembered(cache).error()
    assert first is not second
    assert str(first) == "no. This was 2 s ago, and no token is requested for another 28 s."
    assert first.retry_after == 28
    assert (first.history, first.attempts) == ((), 0)  # nothing was sent for this caller
    assert vars(error) | {"history": (), "retry_after": 28} == vars(first)
    assert str(error) == "no."
    clock.now += 27.5
    assert str(remembered(cache).error()).endswith("for another 1 s.")


def test_a_failure_of_scopes_says_nothing_about_others(cache: SingleFlight) -> None:
    cache.settle(KEY, lead(cache), refused(is_about_scopes=True))
    remembered(cache)
    assert isinstance(cache.claim(OTHER_KEY), Lead)


@pytest.mark.parametrize("outcome", [None, Failure(ConfigurationError("m"))])
def test_other_outcomes_are_not_remembered(cache: SingleFlight, outcome: Failure | None) -> None:
    cache.settle(KEY, lead(cache), outcome)
    assert isinstance(cache.claim(KEY), Lead)


def test_a_failure_lasts_as_long_as_the_server_asks(cache: SingleFlight, clock: Clock) -> None:
    cache.settle(KEY, lead(cache), refused(pause_s=100.0))
    clock.now += 99.9
    remembered(cache)
    clock.now += 0.1
    assert isinstance(cache.claim(KEY), Lead)


def test_a_token_ends_what_is_remembered(cache: SingleFlight, clock: Clock) -> None:
    flight = lead(cache)
    other = cache.claim(OTHER_KEY)
    assert isinstance(other, Lead)
    cache.settle(OTHER_KEY, other.flight, refused())
    cache.settle(KEY, flight, Minted(TOKEN, 3600, clock.now))
    assert isinstance(cache.claim(OTHER_KEY), Lead)


def test_failures_can_be_forgotten(cache: SingleFlight) -> None:
    first, second = Secret("first"), Secret("second")
    about_scopes = refused(secret=first, is_about_scopes=True)
    cache.settle(KEY, lead(cache), about_scopes)
    other = cache.claim(OTHER_KEY)
    assert isinstance(other, Lead)
    cache.settle(OTHER_KEY, other.flight, refused(secret=first))
    cache.forget_failures(but_of=first)
    assert remembered(cache).failure is about_scopes
    remembered(cache, OTHER_KEY)
    cache.forget_failures(but_of=second)
    assert isinstance(cache.claim(KEY), Lead)
    assert isinstance(cache.claim(OTHER_KEY), Lead)


def test_all_failures_can_be_forgotten(cache: SingleFlight) -> None:
    cache.settle(KEY, lead(cache), refused(secret=Secret("first"), is_about_scopes=True))
    cache.forget_failures()
    assert isinstance(cache.claim(KEY), Lead)


def test_a_valid_token_serves_on_while_a_failure_is_remembered(cache: SingleFlight, clock: Clock) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, refused(pause_s=100.0))
    remembered(cache, OTHER_KEY)
    clock.now += 99
    assert cache.claim(KEY) is TOKEN
    clock.now += 1
    assert isinstance(cache.claim(KEY), Lead)


def test_a_renewal_that_fails_for_its_scopes_says_nothing_about_others(
    cache: SingleFlight, clock: Clock
) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, refused(is_about_scopes=True, pause_s=400.0))
    assert cache.claim(KEY) is TOKEN
    assert isinstance(cache.claim(OTHER_KEY), Lead)
    clock.now += 290  # the token is about to expire, and the pause is not over
    remembered(cache)


def test_a_renewal_that_may_pass_says_nothing_to_callers_without_a_token(
    cache: SingleFlight, clock: Clock
) -> None:
    renewing(cache, clock)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    cache.settle(KEY, claim.flight, refused(is_transient=True))
    assert cache.claim(KEY) is TOKEN
    assert isinstance(cache.claim(OTHER_KEY), Lead)


REJECTION = Failure(UnauthorizedError("rejected.", status_code=401), secret=Secret("fake"))


def keep(cache: SingleFlight, clock: Clock, token: AccessToken) -> None:
    cache.settle(KEY, lead(cache), Minted(token, 3600, clock.now))


def test_a_rejected_token_is_replaced_once(cache: SingleFlight, clock: Clock) -> None:
    keep(cache, clock, TOKEN)
    assert cache.renounce(KEY, TOKEN, REJECTION)
    keep(cache, clock, OTHER)
    assert not cache.renounce(KEY, OTHER, REJECTION)
    assert not cache.renounce(KEY, TOKEN, REJECTION)  # a late answer to an earlier call
    error = remembered(cache).error()
    assert isinstance(error, UnauthorizedError)
    assert str(error) == "rejected. This was 0 s ago, and no token is requested for another 30 s."
    assert isinstance(cache.claim(OTHER_KEY), Lead)
    clock.now += 30
    assert cache.renounce(KEY, OTHER, REJECTION)  # nothing is remembered any more
    keep(cache, clock, TOKEN)
    assert not cache.renounce(KEY, TOKEN, REJECTION)  # still none that the API accepts
    remembered(cache)


def test_a_token_that_has_served_for_a_while_is_replaced_again(cache: SingleFlight, clock: Clock) -> None:
    keep(cache, clock, TOKEN)
    assert cache.renounce(KEY, TOKEN, REJECTION)
    keep(cache, clock, OTHER)
    clock.now += 30
    assert cache.renounce(KEY, OTHER, REJECTION)
    assert isinstance(cache.claim(KEY), Lead)


def test_a_renewed_token_replaces_none_that_was_rejected(cache: SingleFlight, clock: Clock) -> None:
    keep(cache, clock, OTHER)
    assert cache.renounce(KEY, OTHER, REJECTION)
    keep(cache, clock, OTHER)
    clock.now += 3400
    keep(cache, clock, TOKEN)
    assert cache.renounce(KEY, TOKEN, REJECTION)
    assert isinstance(cache.claim(KEY), Lead)


def test_a_call_is_repeated_while_another_caller_replaces_the_token(
    cache: SingleFlight, clock: Clock
) -> None:
    keep(cache, clock, TOKEN)
    assert cache.renounce(KEY, TOKEN, REJECTION)
    assert cache.renounce(KEY, TOKEN, REJECTION)  # nothing is remembered, and no token is there yet
    flight = lead(cache)
    assert cache.renounce(KEY, TOKEN, REJECTION)
    cache.settle(KEY, flight, Minted(OTHER, 3600, clock.now))
    assert cache.renounce(KEY, TOKEN, REJECTION)
    assert cache.claim(KEY) is OTHER


def test_only_the_token_that_was_refused_is_renounced(cache: SingleFlight, clock: Clock) -> None:
    cache.renounce(KEY, TOKEN, REJECTION)
    cache.settle(KEY, lead(cache), Minted(TOKEN, 3600, clock.now))
    cache.renounce(KEY, OTHER, REJECTION)
    assert cache.claim(KEY) is TOKEN
    cache.renounce(KEY, TOKEN, REJECTION)
    claim = cache.claim(KEY)
    assert isinstance(claim, Lead)
    assert claim.fallback is None


def test_a_forked_child_keeps_the_token_and_not_what_others_were_at(
    cache: SingleFlight, clock: Clock
) -> None:
    cache.settle(KEY, lead(cache), Minted(TOKEN, 3600, clock.now))
    assert isinstance(cache.claim(OTHER_KEY), Lead)
    cache._lock.acquire()  # as another thread of the parent may have
    single_flight._after_fork()
    assert cache.claim(KEY) is TOKEN
    assert isinstance(cache.claim(OTHER_KEY), Lead)


def test_every_waiter_gets_an_error_of_its_own(cache: SingleFlight) -> None:
    flight = lead(cache)
    cache.settle(KEY, flight, refused())
    with pytest.raises(TokenError) as first:
        flight.outcome()
    with pytest.raises(TokenError) as second:
        flight.outcome()
    assert first.value is not second.value
    assert vars(first.value) == vars(second.value)


def test_a_leader_that_gives_up_is_followed_by_another(cache: SingleFlight) -> None:
    flight = lead(cache)
    cache.settle(KEY, flight, None)
    assert flight.wait(0)
    assert flight.outcome() is None
    assert isinstance(cache.claim(KEY), Lead)


def test_a_thread_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return super().wait(0)

    monkeypatch.setattr(single_flight, "threading", SimpleNamespace(**vars(threading) | {"Event": Event}))
    assert not Flight().wait(0.001)
    assert not Flight().wait(-1)
    assert waits == [0.001, 0]


def test_threads_wait_for_the_flight() -> None:
    flight = Flight()
    results: list[AccessToken | None] = []
    threads = [
        threading.Thread(target=lambda: results.append(flight.outcome() if flight.wait(PATIENCE_S) else None))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    flight.settle(TOKEN)
    for thread in threads:
        thread.join()
    assert results == [TOKEN] * 8


@pytest.mark.anyio
async def test_tasks_wait_for_a_flight_that_another_thread_settles() -> None:
    flight = Flight()
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(flight.wait_async)
            await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(flight.settle, TOKEN)
        await flight.wait_async()  # a flight that has landed is not waited for
    assert flight.outcome() is TOKEN


@pytest.mark.anyio
async def test_tasks_wait_no_longer_than_their_limit() -> None:
    with anyio.fail_after(PATIENCE_S):
        await Flight().wait_async(0.001)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_has_ended_does_not_harm_the_others(backend: str) -> None:
    flight = Flight()

    async def give_up() -> None:
        with anyio.move_on_after(0):
            await flight.wait_async()

    with start_blocking_portal(backend) as portal:
        portal.call(give_up)
    flight.settle(ConfigurationError("m"))  # its waiter's loop is gone
    with pytest.raises(ConfigurationError):
        flight.outcome()


def test_a_leader_that_is_lost_is_replaced_when_its_time_is_up(cache: SingleFlight, clock: Clock) -> None:
    claim = cache.claim(KEY, 10)
    assert isinstance(claim, Lead)
    lost = claim.flight
    assert cache.claim(KEY) is lost
    clock.now += 10
    successor = cache.claim(KEY, 10)
    assert isinstance(successor, Lead)
    assert lost.wait(0)
    assert lost.outcome() is None
    cache.settle(KEY, lost, None)  # it comes back after all
    assert cache.claim(KEY) is successor.flight


def test_a_thread_does_not_wait_for_itself(cache: SingleFlight) -> None:
    """An exception of a signal handler may end a leader before it can say so."""
    claim = cache.claim(KEY, 10, thread=1)
    assert isinstance(claim, Lead)
    assert cache.claim(KEY, 10, thread=2) is claim.flight
    assert cache.claim(KEY, 10) is claim.flight  # a task, which may run in the same thread
    successor = cache.claim(KEY, 10, thread=1)
    assert isinstance(successor, Lead)
    assert claim.flight.wait(0)
    assert cache.claim(KEY, 10, thread=2) is successor.flight


def test_the_lock_does_not_shut_out_its_own_thread(cache: SingleFlight) -> None:
    """The garbage collector may end an abandoned leader, which settles, while the same thread claims."""
    flight = lead(cache)
    with cache._lock:
        cache.settle(KEY, flight, None)
    assert isinstance(cache.claim(KEY), Lead)
