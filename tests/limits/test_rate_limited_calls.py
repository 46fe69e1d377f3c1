"""Calls, lists, and retries of clients with a rate limit."""

import functools
import logging
import os
import pickle
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import pytest
from harness import ACTIVITY_ID, OAUTH, PAGE_EXAMPLE, REGIONS, ROOT, Flavour, page_response, token_response
from patience import PATIENCE_S, growing_limits, wait_in_task_until, wait_until

from thrive_learning import (
    AsyncThriveClient,
    Attempt,
    BasicCredentials,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    MemoryTokenStore,
    RateLimit,
    RateLimitedError,
    RetryPolicy,
    StoredToken,
    ThriveClient,
    _store_reports,
)
from thrive_learning._exchange import attempts
from thrive_learning._limits import limiter, reservations
from thrive_learning._limits.memory import MemoryLimits

#: So seldom that a second request never comes within a test.
SELDOM = RateLimit(per_second=0.01)


class Requests:
    """Answers and keeps the requests of a client."""

    def __init__(self, *responses: httpx.Response) -> None:
        self.paths: list[str] = []
        self._responses = list(responses)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if "token" in request.url.path:
            return token_response()
        self.paths.append(request.url.path)
        if self._responses:
            return self._responses.pop(0)
        return page_response(id=request.url.path.rpartition("/")[2])


class Counting(MemoryLimits):
    """A store that keeps what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any]] = []
        self.keys: set[str] = set()

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        self.keys.add(key)
        wait_s = super().take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)
        if wait_s <= longest_wait_s:
            self.calls.append(("take", wait_s))
        return wait_s

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        self.calls.append(("slow", pause_s))
        super().slow(key, pause_s=pause_s, per_second=per_second, for_s=for_s)


class Late(MemoryLimits):
    """A store that lets the first request go, and all others after a while."""

    def __init__(self, wait_s: float = 0.02) -> None:
        super().__init__()
        self._waits = iter([0.0])
        self._wait_s = wait_s

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        del key, per_second, burst, longest_wait_s
        return next(self._waits, self._wait_s)


def identifier(number: int) -> str:
    return f"{number:024x}"


def waiting(client: Any) -> int:
    """Return how many requests wait in line."""
    return len(client._http.limiter._line)


@contextmanager
def calls_in_line(client: Any, ids: list[str], caught: list[BaseException] | None = None) -> Iterator[None]:
    """Make a call for each ID in a thread of its own, one behind the other, and end them afterwards."""

    def call(activity_id: str) -> None:
        try:
            client.activities.get(activity_id)
        except Exception as error:
            if caught is None:
                raise
            caught.append(error)

    threads = [threading.Thread(target=call, args=(activity_id,)) for activity_id in ids]

    def are_in_line(started: list[threading.Thread]) -> bool:
        return waiting(client) + sum(not thread.is_alive() for thread in started) >= len(started)

    for number, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(functools.partial(are_in_line, threads[:number]))
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def test_calls_wait_and_say_so(flavour: Flavour) -> None:
    requests, seen = Requests(), list[Attempt]()
    limit = RateLimit(per_second=50, store=Late())
    with flavour.answering(requests, on_attempt=seen.append, rate_limit=limit) as client:
        for _ in range(3):
            client.activities.get(ACTIVITY_ID)
    _first, *others = seen
    assert all(attempt.waited >= 0.02 for attempt in others)


def test_without_a_limit_no_call_waits(flavour: Flavour) -> None:
    seen = list[Attempt]()
    with flavour.answering(Requests(), on_attempt=seen.append) as client:
        assert client._http.limiter is None
        client.activities.get(ACTIVITY_ID)
    assert [attempt.waited for attempt in seen] == [0.0]


def test_calls_are_sent_in_the_order_in_which_they_were_made(flavour: Flavour) -> None:
    requests, ids = Requests(), [identifier(number) for number in range(6)]
    with flavour.answering(requests, rate_limit=RateLimit(per_second=2, burst=1)) as client:
        client.activities.get(ACTIVITY_ID)
        with calls_in_line(client, ids):
            pass
        assert not waiting(client)
    assert [path.rpartition("/")[2] for path in requests.paths] == [ACTIVITY_ID, *ids]


def test_a_call_that_would_wait_beyond_its_deadline_fails_at_once(flavour: Flavour) -> None:
    requests = Requests()
    with flavour.answering(requests, rate_limit=SELDOM) as client:
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(DeadlineExceededError) as raised:
            client.activities.get(ACTIVITY_ID, timeout=30)
        assert not waiting(client)
    assert len(requests.paths) == 1
    error = raised.value
    assert str(error).startswith("Waiting for the rate limit of 0.01 requests per second would take ")
    assert str(error).endswith(
        " Allow more time with timeout=, or make fewer calls at once; nothing was sent."
    )
    assert (error.history, error.is_transient, error.reason) == ((), True, "timeout")
    assert (error.operation, error.url is not None) == ("activities.get", True)


def test_the_error_names_the_pause_that_the_server_asked_for(flavour: Flavour) -> None:
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3600"}
    requests = Requests(httpx.Response(200, headers=used_up, json=PAGE_EXAMPLE))
    with flavour.answering(requests, rate_limit=RateLimit(per_second=1000)) as client:
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(DeadlineExceededError) as raised:
            client.activities.get(ACTIVITY_ID, timeout=9)
    assert len(requests.paths) == 1
    waiting_s = r"would take (30\.0|2\d\.\d) s, and the call has (9\.0|\d\.\d) s left\."
    assert re.search(rf"{waiting_s} The server has asked for a pause\. Allow", str(raised.value))


def test_the_error_counts_earlier_attempts(flavour: Flavour) -> None:
    requests = Requests(httpx.Response(503))
    once_more = RetryPolicy(attempts=2, first_delay=0)
    with (
        flavour.answering(requests, rate_limit=SELDOM, retry=once_more) as client,
        pytest.raises(DeadlineExceededError, match=r"; 1 earlier attempt failed\.$") as raised,
    ):
        client.activities.get(ACTIVITY_ID, timeout=30)
    assert [attempt.status_code for attempt in raised.value.history] == [503]


def test_every_attempt_counts_and_no_token_request(flavour: Flavour) -> None:
    store = Counting()
    requests = Requests(httpx.Response(503), httpx.Response(401), page_response())
    limit = RateLimit(per_second=1000, store=store)
    retry = RetryPolicy(attempts=2, first_delay=0)
    with flavour.answering(requests, OAUTH, rate_limit=limit, retry=retry) as client:
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert [call for call, _wait in store.calls] == ["take"] * 3


def test_a_failed_connection_says_nothing_of_the_limit(flavour: Flavour) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with flavour.answering(fail, rate_limit=RateLimit(50)) as client, pytest.raises(ConnectionFailedError):
        client.activities.get(ACTIVITY_ID)


def test_a_wait_that_the_server_asks_for_is_waited_for_once(flavour: Flavour) -> None:
    requests, seen = Requests(httpx.Response(429, headers={"Retry-After": "1"})), list[Attempt]()
    limit = RateLimit(per_second=1000, burst=1)
    retry = RetryPolicy(attempts=2, first_delay=0)
    with flavour.answering(requests, on_attempt=seen.append, rate_limit=limit, retry=retry) as client:
        client.activities.get(ACTIVITY_ID)
    refused, answered = seen
    assert refused.delay == pytest.approx(1.0)
    assert answered.waited < 0.9


def test_other_clients_learn_from_a_429_through_the_store(flavour: Flavour) -> None:
    store = Counting()
    limit = RateLimit(per_second=1000, store=store)
    refused = Requests(httpx.Response(429, headers={"Retry-After": "20"}))
    with flavour.answering(refused, rate_limit=limit) as client, pytest.raises(RateLimitedError):
        client.activities.get(ACTIVITY_ID)
    other = Requests()
    with (
        flavour.answering(other, rate_limit=limit) as client,
        pytest.raises(DeadlineExceededError, match=r"would take (?:20|1\d)"),
    ):
        client.activities.get(ACTIVITY_ID, timeout=10)
    assert other.paths == []
    assert len(store.keys) == 1


def test_waits_are_logged(
    flavour: Flavour, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_LONG_WAIT_S", 0.02)
    with flavour.answering(Requests(), rate_limit=RateLimit(per_second=50, store=Late())) as client:
        client.activities.get(ACTIVITY_ID)
        caplog.set_level(logging.DEBUG, "thrive_learning.limits")
        client.activities.get(ACTIVITY_ID)
    [record] = caplog.records
    assert (record.levelname, record.name) == ("INFO", "thrive_learning.limits")
    values = vars(record)
    assert values["thrive_waited"] >= 0.02
    assert {name: values[f"thrive_{name}"] for name in ("event", "region", "operation", "subject")} == {
        "event": "rate_limit_wait",
        "region": "production",
        "operation": "activities.get",
        "subject": ACTIVITY_ID,
    }


def test_short_waits_are_logged_at_debug(flavour: Flavour, caplog: pytest.LogCaptureFixture) -> None:
    for level, number in ((logging.DEBUG, 1), (logging.INFO, 0)):
        limit = RateLimit(per_second=50, store=Late())
        with flavour.answering(Requests(), rate_limit=limit) as client:
            client.activities.get(ACTIVITY_ID)
            caplog.clear()
            caplog.set_level(level, "thrive_learning.limits")
            client.activities.get(ACTIVITY_ID)
            caplog.set_level(logging.WARNING, "thrive_learning.limits")
        assert len(caplog.records) == number


def test_a_pause_and_a_lower_rate_of_a_server_are_logged(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "thrive_learning.limits")
    policy = {"RateLimit-Policy": '"default";q=100;w=10', "RateLimit": '"default";r=90;t=9'}
    requests = Requests(
        httpx.Response(200, headers=policy, json=PAGE_EXAMPLE),
        httpx.Response(429, headers={"Retry-After": "20"}),
    )
    with flavour.answering(requests, rate_limit=RateLimit(per_second=1000)) as client:
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(RateLimitedError):
            client.activities.get(ACTIVITY_ID)
    found = [(record.levelname, vars(record)) for record in caplog.records]
    assert [(level, values["thrive_event"]) for level, values in found] == [
        ("INFO", "rate_limit_learned"),
        ("WARNING", "rate_limit_pause"),
        ("INFO", "rate_limit_learned"),
    ]
    assert found[0][1]["thrive_per_second"] == 10
    assert found[0][1]["thrive_lasts"] == 10
    assert found[1][1]["thrive_delay"] == 20


def test_clients_of_other_tenants_and_regions_have_limits_of_their_own() -> None:
    store = Counting()
    limit = RateLimit(per_second=0.01, store=store)
    clients = [(region, tenant) for region in REGIONS[:2] for tenant in ("one", "two")]
    for region, tenant in clients:
        transport = httpx.MockTransport(Requests())
        credentials = BasicCredentials(tenant, "fake-api-secret")
        with ThriveClient(region, credentials, transport=transport, rate_limit=limit) as client:
            client.activities.get(ACTIVITY_ID)
    assert len(store.keys) == len(clients)
    assert all(len(key) == 32 and int(key, 16) for key in store.keys)


def test_clients_with_one_memory_share_a_limit() -> None:
    store = MemoryTokenStore()
    credentials = BasicCredentials("one", "fake-api-secret")
    options: Any = {"transport": httpx.MockTransport(Requests()), "rate_limit": SELDOM, "token_store": store}
    with ThriveClient(REGIONS[0], credentials, **options) as client:
        client.activities.get(ACTIVITY_ID)
    with pytest.raises(DeadlineExceededError, match="rate limit"):
        with ThriveClient(REGIONS[0], credentials, **options) as client:
            client.activities.get(ACTIVITY_ID)


def test_a_token_store_without_limits_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    class TokensOnly:
        def load(self, key: str) -> StoredToken | None:
            raise NotImplementedError

        def save(self, key: str, token: StoredToken) -> None:
            raise NotImplementedError

        def forget(self, key: str, value: str) -> None:
            raise NotImplementedError

        def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
            raise NotImplementedError

        def __repr__(self) -> str:
            return "canary"

    credentials = BasicCredentials("one", "fake-api-secret")
    for limit in (None, RateLimit(20), RateLimit(20), RateLimit(20, store=Counting())):
        ThriveClient(REGIONS[0], credentials, token_store=TokensOnly(), rate_limit=limit).close()
    AsyncThriveClient(REGIONS[0], credentials, token_store=TokensOnly(), rate_limit=RateLimit(20))
    ThriveClient(REGIONS[0], credentials, rate_limit=RateLimit(20)).close()
    [record] = caplog.records
    assert record.getMessage() == (
        "the token store TokensOnly: has no methods of RateLimitStore; each client keeps to the rate limit "
        "on its own"
    )
    assert (record.name, record.levelname) == ("thrive_learning.limits", "WARNING")


def test_closing_the_client_ends_the_waits(flavour: Flavour) -> None:
    caught: list[BaseException] = []
    with flavour.answering(Requests(), rate_limit=SELDOM, timeout=3600) as client:
        client.activities.get(ACTIVITY_ID)
        with calls_in_line(client, [ACTIVITY_ID] * 3, caught):
            client.close()
        assert not waiting(client)
    assert [type(error) for error in caught] == [ClientClosedError] * 3


def test_a_closed_client_does_not_wait(flavour: Flavour) -> None:
    with flavour.answering(Requests(), rate_limit=SELDOM) as client:
        client.close()
        with pytest.raises(ClientClosedError):
            client.activities.get(ACTIVITY_ID)


def test_clients_share_the_limit_of_a_token_store(flavour: Flavour) -> None:
    store = MemoryTokenStore()
    limit = RateLimit(per_second=0.01)
    requests = Requests()
    for is_first in (True, False):
        with flavour.answering(requests, OAUTH, rate_limit=limit, token_store=store) as client:
            assert not client._http.limiter.reservations.blocks
            if is_first:
                client.activities.get(ACTIVITY_ID)
            else:
                with pytest.raises(DeadlineExceededError):
                    client.activities.get(ACTIVITY_ID, timeout=30)
    assert len(requests.paths) == 1


def test_only_retries_and_token_requests_sleep_before_a_request() -> None:
    """Other waits end early if the client closes, and are those of the limiter and of bulk runs."""
    sleeps = re.compile(r"\b(?:time|anyio|asyncio|trio)\.sleep\((?!0\))|sleep_by_timer if")
    source = ROOT / "src" / "thrive_learning"
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if sleeps.search(path.read_text(encoding="utf-8"))
    }
    of_calls = {name for name in found if name.split("/")[0] not in {"cli", "sandbox"}}
    # The last two wait for a file that another process has locked.
    assert of_calls == {
        *("_auth/authorizer.py", "_exchange/attempts.py", "_busy_files.py", "token_stores/files.py"),
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_of_its_parent() -> None:
    with ThriveClient.sandbox(rate_limit=RateLimit(1, 1)) as client:
        client.activities.get(ACTIVITY_ID)
        with calls_in_line(client, [ACTIVITY_ID]):
            child = os.fork()
            if not child:
                try:
                    client.activities.get(ACTIVITY_ID, timeout=30)
                    os._exit(0)
                except BaseException:  # noqa: BLE001 - the child must not return into the test run
                    os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


class Hanging(MemoryLimits):
    """A store that hangs from its second request on."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.hangs = self.is_waiting = False

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        if self.hangs:
            self.is_waiting = True
            self.may_end.wait(PATIENCE_S)
        return super().take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)

    def slow(self, key: str, **options: Any) -> None:
        self.may_end.wait(PATIENCE_S)
        super().slow(key, **options)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    store = Hanging()
    yield store
    store.may_end.set()


def test_the_deadline_of_a_call_holds_while_a_store_hangs(
    flavour: Flavour, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (limiter, reservations):
        monkeypatch.setattr(module, "ANSWER_S", 2 * PATIENCE_S)
    requests = Requests()
    with flavour.answering(requests, rate_limit=RateLimit(10, store=hanging)) as client:
        client.activities.get(ACTIVITY_ID)
        hanging.hangs = True
        for limit_s in growing_limits(0.5):
            with pytest.raises(DeadlineExceededError) as raised:
                client.activities.get(ACTIVITY_ID, timeout=limit_s)
            assert not waiting(client)
            if hanging.is_waiting:
                break
        else:
            pytest.fail("no limit was long enough")
    assert str(raised.value).startswith(
        f"The call waited for the rate limit of 10 requests per second until Timeout.total={limit_s:g} s was"
    )
    assert raised.value.operation == "activities.get"
    assert len(requests.paths) == 1


def test_a_store_that_hangs_has_failed(
    flavour: Flavour, hanging: Hanging, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (limiter, reservations, _store_reports):
        monkeypatch.setattr(module, "ANSWER_S", 0.3)
    hanging.hangs = True
    requests = Requests()
    with flavour.answering(requests, rate_limit=RateLimit(1000, store=hanging)) as client:
        for _ in range(3):
            client.activities.get(ACTIVITY_ID)
    assert len(requests.paths) == 3
    [record] = caplog.records
    assert record.getMessage().startswith("the rate limit store Hanging: no answer within 0.3 s; ")


def test_a_response_does_not_wait_for_a_store_that_hangs(
    flavour: Flavour, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (limiter, reservations, _store_reports):
        monkeypatch.setattr(module, "ANSWER_S", 0.3)
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "20"}
    requests = Requests(httpx.Response(200, headers=used_up, json=PAGE_EXAMPLE))
    with flavour.answering(requests, rate_limit=RateLimit(10, store=hanging)) as client:
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(DeadlineExceededError, match="The server has asked for a pause"):
            client.activities.get(ACTIVITY_ID, timeout=10)


def test_a_canceled_task_passes_its_slot_on(anyio_backend: str) -> None:
    store = Counting()

    async def use() -> None:
        # The slot is so late that it has not passed when it is passed on, however busy the machine is.
        async with AsyncThriveClient.sandbox(rate_limit=RateLimit(1 / 20, 1, store)) as client:
            limiter: Any = client._http.limiter
            await client.activities.get(ACTIVITY_ID)
            async with anyio.create_task_group() as tasks:
                canceled = anyio.CancelScope()

                async def canceled_call() -> None:
                    with canceled:
                        await client.activities.get(ACTIVITY_ID)

                tasks.start_soon(canceled_call)
                await wait_in_task_until(lambda: len(store.calls) == 2)
                tasks.start_soon(client.activities.get, ACTIVITY_ID)
                await wait_in_task_until(lambda: waiting(client) == 2)
                canceled.cancel()
                await wait_in_task_until(
                    lambda: waiting(client) == 1 and limiter.first(limiter._line)._due is not None
                )
                tasks.cancel_scope.cancel()
            assert not waiting(client)

    anyio.run(use, backend=anyio_backend)
    assert len(store.calls) == 2


def test_tasks_of_several_event_loops_share_a_line() -> None:
    client = AsyncThriveClient.sandbox(rate_limit=RateLimit(100, 1))
    done: list[str] = []

    def run(backend: str) -> None:
        async def use() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(client.activities.get, ACTIVITY_ID)

        anyio.run(use, backend=backend)
        done.append(backend)

    threads = [threading.Thread(target=run, args=(backend,)) for backend in ("asyncio", "trio", "asyncio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["asyncio", "asyncio", "trio"]
    assert not waiting(client)


def call_forever(client: ThriveClient) -> None:
    while True:
        client.activities.get(ACTIVITY_ID)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers of this kind")
def test_an_interrupted_wait_holds_up_no_other() -> None:
    with ThriveClient.sandbox(rate_limit=RateLimit(4, 1)) as client:
        client.activities.get(ACTIVITY_ID)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            for _ in range(3):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                with pytest.raises(KeyboardInterrupt):
                    call_forever(client)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        client.activities.get(ACTIVITY_ID)
        assert not waiting(client)


@pytest.mark.parametrize("kind", [ThriveClient, AsyncThriveClient])
def test_a_client_with_a_limit_can_be_pickled(kind: Any) -> None:
    limit = RateLimit(per_second=0.01, burst=2)
    client = kind.sandbox(rate_limit=limit)
    twin = pickle.loads(pickle.dumps(client))
    assert twin._options.rate_limit == limit
    assert twin._http.limiter.reservations.limit.per_second == limit.per_second


@pytest.mark.parametrize("value", [20, "20", RateLimit])
def test_an_invalid_limit_is_rejected(flavour: Flavour, value: Any) -> None:
    with (
        pytest.raises(ConfigurationError, match="Pass RateLimit"),
        flavour.answering(Requests(), rate_limit=value),
    ):
        pass


def test_a_check_counts(flavour: Flavour) -> None:
    store = Counting()
    with flavour.answering(Requests(), rate_limit=RateLimit(10, store=store)) as client:
        client.check(ACTIVITY_ID)
    # The second one shows whether the server checks credentials at all.
    assert len(store.calls) == 2
