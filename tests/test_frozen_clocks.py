"""Within freezegun and time-machine, calls end, and nothing is remembered for years."""

import asyncio
import datetime as dt
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import anyio
import freezegun
import httpx
import pytest
import time_machine
import trio
from harness import ACTIVITY_ID, ROOT

from thrive_learning import (
    AsyncThriveClient,
    Attempt,
    DeadlineExceededError,
    FileTokenStore,
    MemoryTokenStore,
    RateLimit,
    RetryPolicy,
    Service,
    ThriveClient,
    TokenError,
)
from thrive_learning._clock import is_replaced, monotonic
from thrive_learning.testing import ThriveSandbox

TWICE = RetryPolicy(attempts=2, first_delay=0.02)
THEN = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
TOOLS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "freezegun": lambda: freezegun.freeze_time(THEN),
    "freezegun, ticking": lambda: freezegun.freeze_time(THEN, tick=True),
    "freezegun, real asyncio": lambda: freezegun.freeze_time(THEN, real_asyncio=True),
    "freezegun, in the past": lambda: freezegun.freeze_time("1970-01-02"),
    "time-machine": lambda: time_machine.travel(THEN),
    "time-machine, standing still": lambda: time_machine.travel(THEN, tick=False),
}


@pytest.fixture(params=TOOLS)
def stopped(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Any]]:
    return TOOLS[request.param]


class Runner:
    """Runs an async function in a new event loop."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, work: Callable[[], Any]) -> Any:
        return asyncio.run(work()) if self.name == "asyncio" else trio.run(work)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param)


@pytest.fixture
def sandbox() -> Iterator[ThriveSandbox]:
    sandbox = ThriveSandbox()
    yield sandbox
    assert not sandbox.unused_faults


def test_the_clock_is_real(stopped: Callable[[], AbstractContextManager[Any]]) -> None:
    before = monotonic()
    assert not is_replaced()
    with stopped():
        assert before <= monotonic() < before + 60
        assert is_replaced() == (time.monotonic() != pytest.approx(monotonic(), abs=60))
    assert not is_replaced()


def test_calls_end(sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]]) -> None:
    with sandbox.client(retry=TWICE) as client:
        for _ in range(2):
            with stopped():
                assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
                sandbox.fail_next(429)
                assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
                sandbox.fail_next(429, times=3)
                results = list(client.activities.get_many([ACTIVITY_ID] * 50))
                assert [result.error for result in results] == [None] * 50
            assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_async_calls_end(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]], run: Runner
) -> None:
    async def use() -> None:
        async with sandbox.async_client(retry=TWICE) as client:
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID
            sandbox.fail_next(429)
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID
            sandbox.fail_next(429, times=3)
            results = [result async for result in client.activities.get_many([ACTIVITY_ID] * 50)]
            assert [result.error for result in results] == [None] * 50

    with stopped():
        run(use)


LIMIT = RateLimit(per_second=40, burst=1)


def test_calls_wait_for_the_rate_limit(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]]
) -> None:
    seen: list[Attempt] = []
    with sandbox.client(rate_limit=LIMIT, on_attempt=seen.append) as client:
        for _ in range(3):
            with stopped():
                assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
                assert len(list(client.activities.get_many([ACTIVITY_ID] * 3, ordered=True))) == 3
    assert all(0 <= attempt.waited < 20 for attempt in seen)


def test_async_calls_wait_for_the_rate_limit(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]], run: Runner
) -> None:
    seen: list[Attempt] = []

    async def use() -> None:
        async with sandbox.async_client(rate_limit=LIMIT, on_attempt=seen.append) as client:
            for _ in range(3):
                assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID
                assert len([found async for found in client.activities.get_many([ACTIVITY_ID] * 3)]) == 3

    with stopped():
        run(use)
    assert all(0 <= attempt.waited < 20 for attempt in seen)


class Silent(httpx.AsyncBaseTransport):
    """Never answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request
        await anyio.sleep_forever()
        raise AssertionError


def test_an_async_call_has_its_time_limit(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]], run: Runner
) -> None:
    async def use() -> None:
        async with AsyncThriveClient(
            sandbox.region, sandbox.credentials, transport=Silent(), timeout=0.1
        ) as client:
            with pytest.raises(DeadlineExceededError):
                await client.activities.get(ACTIVITY_ID)
            with pytest.raises(DeadlineExceededError):
                await client.tokens.get(Service.API)

    with stopped():
        run(use)


def test_an_async_call_waits_for_the_token_of_another_process(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]], run: Runner
) -> None:
    looks: list[str] = []

    class Busy(MemoryTokenStore):
        """Another process has the lock when it is first asked for."""

        def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
            looks.append(key)
            return super().try_lock(key, lease_s) if len(looks) > 1 else None

    async def use() -> None:
        transport = sandbox.transport()
        async with AsyncThriveClient(
            sandbox.region, sandbox.credentials, transport=transport, token_store=Busy()
        ) as client:
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID

    with stopped():
        run(use)
    assert len(looks) == 2


def test_a_rejection_is_not_remembered_for_years(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]]
) -> None:
    with sandbox.client(retry=TWICE) as client:
        with stopped():
            sandbox.fail_next(400, token=True)
            with pytest.raises(TokenError):
                client.activities.get(ACTIVITY_ID)
            with pytest.raises(TokenError) as within:
                client.activities.get(ACTIVITY_ID)
        with pytest.raises(TokenError) as after:
            client.activities.get(ACTIVITY_ID)
    waits = within.value.retry_after, after.value.retry_after
    assert all(wait is not None and 0 < wait <= 30 for wait in waits)


@pytest.mark.parametrize("is_in_files", [True, False])
def test_a_shared_token_is_used_within_a_stopped_clock(
    sandbox: ThriveSandbox,
    stopped: Callable[[], AbstractContextManager[Any]],
    tmp_path: Any,
    *,
    is_in_files: bool,
) -> None:
    store = FileTokenStore(tmp_path) if is_in_files else MemoryTokenStore()
    with stopped():
        for _ in range(2):
            transport = sandbox.transport()
            with ThriveClient(
                sandbox.region, sandbox.credentials, transport=transport, token_store=store
            ) as client:
                client.activities.get(ACTIVITY_ID)
    assert len(sandbox.token_requests) == 1


def test_the_expiry_of_a_token_is_a_date_of_the_stopped_clock(
    sandbox: ThriveSandbox, stopped: Callable[[], AbstractContextManager[Any]]
) -> None:
    with stopped(), sandbox.client() as client:
        left = client.tokens.get(Service.API).expires_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=50) < left <= dt.timedelta(hours=1)


def test_only_one_module_reads_the_monotonic_clock_of_python() -> None:
    source = ROOT / "src" / "thrive_learning"
    reads = re.compile(r"\btime\.monotonic|from time import[^\n]*monotonic")
    found = [path.name for path in source.rglob("*.py") if reads.search(path.read_text(encoding="utf-8"))]
    assert found == ["_clock.py"]


FIRST_IMPORT = f"""
import anyio
import freezegun
import httpx
with freezegun.freeze_time("2030-01-01"):
    from thrive_learning import ThriveClient
    client = ThriveClient.sandbox()
    client.activities.get({ACTIVITY_ID!r})
client.activities.get({ACTIVITY_ID!r})
with freezegun.freeze_time("2030-01-01"):
    print(len([result.activity.id for result in client.activities.get_many([{ACTIVITY_ID!r}] * 3)]))
client.close()
from thrive_learning import _clock
print(_clock.is_replaced(), _clock.monotonic() < 1e9)
"""


def test_the_clock_is_real_although_it_is_first_imported_while_stopped() -> None:
    command = [sys.executable, "-W", "error", "-c", FIRST_IMPORT]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.split() == ["3", "False", "True"], run.stderr
