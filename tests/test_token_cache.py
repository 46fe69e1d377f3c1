import datetime as dt
import threading

import anyio
import anyio.lowlevel
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import AccessToken, ConfigurationError, TokenError
from thrive_learning._token_cache import Flight, Lead, Minted, TokenCache

TOKEN = AccessToken(value="one", expires_at=dt.datetime(2030, 1, 1, tzinfo=dt.UTC), scopes=())


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> TokenCache:
    return TokenCache(clock)


def lead(cache: TokenCache) -> Flight:
    claim = cache.claim("key")
    assert isinstance(claim, Lead)
    return claim.flight


def test_the_first_caller_leads_and_the_others_wait(cache: TokenCache) -> None:
    flight = lead(cache)
    assert cache.claim("key") is flight
    assert isinstance(cache.claim("another key"), Lead)
    cache.settle("key", flight, Minted(TOKEN, 3600, 1000))
    assert flight.outcome() is TOKEN
    assert cache.claim("key") is TOKEN


@pytest.mark.parametrize(
    ("lifetime_s", "fresh_s"), [(3600, 3300), (601, 301), (600, 300), (100, 50), (1, 0.5), (86_400, 86_100)]
)
def test_for_how_long_a_token_is_fresh(
    cache: TokenCache, clock: Clock, lifetime_s: float, fresh_s: float
) -> None:
    cache.settle("key", lead(cache), Minted(TOKEN, lifetime_s, requested_at=1000))
    clock.now = 1000 + fresh_s - 0.01
    assert cache.claim("key") is TOKEN
    clock.now = 1000 + fresh_s
    assert isinstance(cache.claim("key"), Lead)


@given(st.floats(0.001, 1e9))
def test_a_token_is_never_renewed_more_than_half_its_life_early(lifetime_s: float) -> None:
    clock = Clock()
    cache = TokenCache(clock)
    cache.settle("key", lead(cache), Minted(TOKEN, lifetime_s, clock.now))
    start = clock.now
    clock.now = start + lifetime_s * 0.49
    assert cache.claim("key") is TOKEN
    clock.now = start + max(lifetime_s - 299, lifetime_s / 2 + 1)
    assert isinstance(cache.claim("key"), Lead)


def test_every_waiter_gets_an_error_of_its_own(cache: TokenCache) -> None:
    flight = lead(cache)
    cache.settle("key", flight, TokenError("no", status_code=401))
    with pytest.raises(TokenError) as first:
        flight.outcome()
    with pytest.raises(TokenError) as second:
        flight.outcome()
    assert first.value is not second.value
    assert vars(first.value) == vars(second.value)
    assert isinstance(cache.claim("key"), Lead)  # a failure is not kept


def test_a_leader_that_gives_up_is_followed_by_another(cache: TokenCache) -> None:
    flight = lead(cache)
    cache.settle("key", flight, None)
    assert flight.wait(0)
    assert flight.outcome() is None
    assert isinstance(cache.claim("key"), Lead)


def test_a_thread_waits_no_longer_than_it_may() -> None:
    assert not Flight().wait(0.001)
    assert not Flight().wait(-1)


def test_threads_wait_for_the_flight() -> None:
    flight = Flight()
    results: list[AccessToken | None] = []
    threads = [
        threading.Thread(target=lambda: results.append(flight.outcome() if flight.wait(10) else None))
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
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(flight.wait_async)
            await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(flight.settle, TOKEN)
        await flight.wait_async()  # a flight that has landed is not waited for
    assert flight.outcome() is TOKEN


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
