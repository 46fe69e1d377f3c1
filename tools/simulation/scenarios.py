"""The scenarios of the simulation, and one run of each."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import anyio
from distributed.protocol.serialize import ToPickle

from thrive_learning import (
    AsyncThriveClient,
    ClientCredentials,
    MemoryTokenStore,
    RateLimit,
    Region,
    ThriveClient,
)
from thrive_learning._auth import sharing
from thrive_learning._cluster import reading
from thrive_learning._cluster.reading import Part
from thrive_learning._cluster.scheduler_store import SchedulerTokenStore, StoreKeeper
from thrive_learning._filters import ActivityFilters
from thrive_learning.sandbox import API_URL, TOKEN_URL, WEBHOOKS_TOKEN_URL, Sandbox, SandboxRateLimit
from thrive_learning.sandbox.rate_limit import RateLimitHeaders
from tools.simulation import clock
from tools.simulation.bridge import Await, BlockingClient, in_steps
from tools.simulation.cluster import Scheduler, Worker
from tools.simulation.figures import RATES, RATES_OF_AN_OUTAGE, Outcome
from tools.simulation.server import Network, Server

#: The period that is read, which contains all records.
PERIOD = ActivityFilters(since=datetime(2025, 7, 1, tzinfo=UTC), until=datetime(2026, 7, 1, tzinfo=UTC))

#: The wall-clock time at the start, in Unix seconds.
STARTS_AT = datetime(2026, 7, 2, tzinfo=UTC).timestamp()

_REGION = Region.custom(
    "simulation", api_url=API_URL, token_url=TOKEN_URL, webhooks_token_url=WEBHOOKS_TOKEN_URL
)


class Scenario(NamedTuple):
    """A scenario.

    Attributes:
        name: Its name.
        limit: The limit of the server, in requests per second.
        set_limit: The limit that the workers are given.
        workers: The number of workers.
        records: The number of records on the server.
        records_per_window: The bound of a window.
        headers: The headers with which the server describes its limit.
        lost: The number of workers that are lost.
        outage: The time in which the shared store fails, in seconds since the workers start.
        token_lifetime_s: The lifetime of a token.
        shares_limit: Whether the workers share the limit. Otherwise, each has one of its own.
    """

    name: str
    limit: float = 20.0
    set_limit: float = 20.0
    workers: int = 100
    records: int = 30_000
    records_per_window: int = 25
    headers: RateLimitHeaders = "ietf"
    lost: int = 0
    outage: tuple[float, float] | None = None
    token_lifetime_s: int = 3600
    shares_limit: bool = True


SCENARIOS = (
    Scenario("the limit of the server is known"),
    Scenario("the limit is set three times too high", 10.0, 30.0, records=15_000),
    Scenario("the same at 20/s, and the server says so only with 429", set_limit=60.0, headers="none"),
    Scenario("20 workers are lost", lost=20),
    Scenario("the shared store fails for 10 seconds", 10.0, 10.0, outage=(20.0, 30.0)),
    Scenario("tokens live for a minute", token_lifetime_s=60),
)


class SimulatedStore(SchedulerTokenStore):
    """The store of a worker in the scheduler's memory, whose messages arrive at once or fail.

    Args:
        keeper: The scheduler's part.
        address: The worker.
        is_failing: Returns whether messages fail now.
    """

    def __init__(self, keeper: StoreKeeper, address: str, is_failing: Callable[[], bool]) -> None:
        self._keeper = keeper
        self._is_failing = is_failing
        self._worker = SimpleNamespace(address=address)

    def _call_scheduler(self, message: str, **arguments: Any) -> Any:
        del message  # there is only one
        if self._is_failing():
            raise ConnectionError("the scheduler does not respond")
        result = self._keeper.carry_out(**{name: _as_sent(value) for name, value in arguments.items()})
        return _as_sent(result)


def _as_sent(value: Any) -> Any:
    """Return a value as it arrives in another process."""
    return value.data if isinstance(value, ToPickle) else value


async def _simulate(scenario: Scenario, seed: int, loop: clock.SimulatedLoop) -> Outcome:
    now, choices = loop.time, random.Random(seed)  # noqa: S311 - nothing secret
    server = Server(
        Sandbox(records={}, generated=scenario.records, token_lifetime_s=scenario.token_lifetime_s),
        SandboxRateLimit(scenario.limit, headers=scenario.headers),
        now,
    )
    began = float("inf")

    def is_failing() -> bool:
        return scenario.outage is not None and scenario.outage[0] <= now() - began < scenario.outage[1]

    keeper = StoreKeeper()
    workers: list[Worker] = []
    for number in range(scenario.workers):
        network = Network(server, choices.random())
        client = AsyncThriveClient(
            _REGION,
            ClientCredentials(
                server.sandbox.tenant_id, server.sandbox.client_id, server.sandbox.client_secret
            ),
            transport=network,
            token_store=SimulatedStore(keeper, f"worker-{number}", is_failing),
            rate_limit=RateLimit(
                scenario.set_limit, store=None if scenario.shares_limit else MemoryTokenStore()
            ),
        )
        workers.append(Worker(client, network))
    parts = await in_steps(
        lambda wait_for: reading.plan_parts(
            _blocking(workers[0].client, wait_for), PERIOD, scenario.records_per_window
        )
    )
    began = now()
    scheduler = Scheduler(parts, _read, now)
    async with anyio.create_task_group() as group:
        for worker in workers:
            group.start_soon(scheduler.work, worker)
        for worker in choices.sample(workers, scenario.lost):
            group.start_soon(scheduler.lose, worker, choices.uniform(1.0, 30.0))
    for worker in workers:
        await worker.client.aclose()
    return Outcome(
        arrivals=server.arrivals,
        limit=scenario.limit,
        results=scheduler.results,
        windows=len(parts),
        expected=frozenset(record_id for record_id, _ in server.sandbox.collection.some(scenario.records)),
        given=scheduler.given,
        lost=scheduler.lost,
        busy=(began, scheduler.emptied_at),
        token_lifetime_s=scenario.token_lifetime_s,
        is_known=scenario.set_limit <= scenario.limit or scenario.headers != "none",
        allowed=RATES if scenario.outage is None else RATES_OF_AN_OUTAGE,
    )


def _read(client: AsyncThriveClient, part: Part) -> Awaitable[tuple[str, ...]]:
    def read(wait_for: Await) -> tuple[str, ...]:
        table = reading.read_part(_blocking(client, wait_for), part)
        return tuple(table.column("id").to_pylist())

    return in_steps(read)


def _blocking(client: AsyncThriveClient, wait_for: Await) -> ThriveClient:
    return cast("ThriveClient", BlockingClient(client, wait_for))


def simulate(scenario: Scenario, seed: int = 1) -> Outcome:
    """Run a scenario.

    Args:
        scenario: The scenario.
        seed: The seed of all random choices.
    """
    names: Any = sharing
    iterations = names._ITERATIONS  # noqa: SLF001
    state = random.getstate()
    random.seed(seed)  # for the jitter of retries
    names._ITERATIONS = 1  # noqa: SLF001 - it would take seconds of real time for 100 clients
    try:
        return clock.run(lambda loop: _simulate(scenario, seed, loop), starts_at=STARTS_AT)
    finally:
        random.setstate(state)
        names._ITERATIONS = iterations  # noqa: SLF001
