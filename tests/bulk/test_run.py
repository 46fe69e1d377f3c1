import asyncio
import contextlib
import contextvars
import gc
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio
from faults import chaos
from faults.chaos import Chaos, Trouble
from faults.watch import nothing_left
from harness import ACTIVITY_ID, BASIC, PAGE_EXAMPLE, ROOT, Flavour, Kept, page_response
from loopback_http import unused_port
from patience import PATIENCE_S, growing_limits, wait_in_task_until, wait_until
from workers import tasks, until_it_is, workers

from thrive_learning import (
    ActivityResult,
    ApiError,
    AsyncResultStream,
    AsyncThriveClient,
    Attempt,
    BasicCredentials,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    Region,
    ResultStream,
    RetryPolicy,
    ServerError,
    ThriveClient,
    ThriveError,
    Timeout,
    UnauthorizedError,
    UnexpectedResponseError,
)

SANDBOX_BASIC = BasicCredentials(chaos.SANDBOX.tenant_id, chaos.SANDBOX.api_secret)
KNOWN = list(chaos.SANDBOX.records)
ONCE = RetryPolicy(attempts=1)
QUICK = RetryPolicy(first_delay=0.01, max_delay=0.02)


def numbered(start: int = 0) -> Iterator[str]:
    """IDs without end, which the region does not know."""
    return (f"{number:024x}" for number in itertools.count(start))


def some(count: int) -> list[str]:
    return list(itertools.islice(numbered(), count))


@pytest.fixture
def server() -> Iterator[Chaos]:
    with Chaos() as server:
        yield server


def here(server: Chaos) -> Region:
    return Region.custom(
        "here", api_url=f"{server.origin}/rest/v1", token_url=server.origin + "/oauth2/token/{tenant_id}"
    )


def opened(flavour: Flavour, server: Chaos, **options: Any) -> Any:
    return flavour.open(here(server), SANDBOX_BASIC, **({"retry": ONCE} | options))


def well_then(fault: chaos.Fault, answers: int = 1) -> Trouble:
    """Answer so many requests as the sandbox does, and spoil those that follow."""
    calls = itertools.count()

    def play(line: chaos.Line, answer: chaos.Answer) -> None:
        if next(calls) < answers:
            line.send(answer.whole)
        else:
            fault(line, answer)

    return Trouble(play)


def check(results: list[ActivityResult]) -> None:
    for result in results:
        assert (result.activity is None) is (result.error is not None)


def echoing(request: httpx.Request) -> httpx.Response:
    return page_response(id=request.url.path.rpartition("/")[2])


# Results


def test_many_records(flavour: Flavour, server: Chaos) -> None:
    ids = KNOWN * 3
    with nothing_left(flavour), opened(flavour, server) as client:
        results = list(client.activities.get_many(iter(ids), concurrency=4))
    check(results)
    assert sorted(result.id for result in results) == sorted(ids)
    for result in results:
        assert result.activity is not None
        assert result.activity.to_dict() == chaos.SANDBOX.records[result.id]
    assert server.connections <= 4


def test_a_failure_is_a_result(flavour: Flavour) -> None:
    statuses = iter([404, 500, 403, 200])

    def handler(_request: httpx.Request) -> httpx.Response:
        status = next(statuses)
        body = {"status": status, "message": "m"}
        return page_response() if status == 200 else httpx.Response(status, json=body)

    with flavour.answering(handler) as client:
        ids: list[Any] = [*some(3), "x", 7, ACTIVITY_ID]
        results = list(client.activities.get_many(ids, concurrency=1, ordered=True))
    check(results)
    assert [result.id for result in results] == ids
    kinds = [NotFoundError, ServerError, ApiError, InvalidIdError, InvalidIdError, type(None)]
    for result, kind in zip(results, kinds, strict=True):
        assert isinstance(result.error, kind)
    record = results[-1].activity
    assert record is not None
    assert record.to_dict() == PAGE_EXAMPLE


def test_nothing_to_read(flavour: Flavour) -> None:
    with flavour.answering(echoing) as client:
        stream = client.activities.get_many([])
        assert list(stream) == []
        assert list(stream) == []


def test_results_in_the_order_of_the_ids(flavour: Flavour, server: Chaos) -> None:
    turns = itertools.count()

    def uneven(line: chaos.Line, answer: chaos.Answer) -> None:
        line.pause(0.03 * (next(turns) % 3 == 0))
        line.send(answer.whole)

    server.plan(Trouble(uneven))
    ids = [*KNOWN, "bad", *KNOWN]
    with opened(flavour, server) as client:
        results = list(client.activities.get_many(ids, concurrency=4, ordered=True))
    assert [result.id for result in results] == ids


def test_ids_are_read_as_slots_become_free(flavour: Flavour) -> None:
    read = 0

    def ids() -> Iterator[str]:
        nonlocal read
        for text in numbered():
            read += 1
            yield text

    with nothing_left(flavour), flavour.answering(echoing) as client:
        stream = client.activities.get_many(ids(), concurrency=4)
        assert read == 0  # nothing happens before the first result is asked for
        for taken, _result in enumerate(itertools.islice(stream, 200), start=1):
            assert read <= taken + 2 * 4
        del stream


def test_an_id_in_flight_is_not_fetched_twice(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.latency(0.05)))
    with opened(flavour, server) as client:
        results = list(client.activities.get_many([ACTIVITY_ID] * 8, concurrency=4))
    assert [result.id for result in results] == [ACTIVITY_ID] * 8
    check(results)
    assert len(server.requests) == 1


def test_an_error_of_the_ids_comes_behind_the_results(flavour: Flavour) -> None:
    def ids() -> Iterator[str]:
        yield from some(10)
        raise LookupError("the database is gone")

    results: list[ActivityResult] = []
    with nothing_left(flavour), flavour.answering(echoing) as client:
        stream = client.activities.get_many(ids(), concurrency=4)
        with pytest.raises(LookupError, match="the database is gone"):
            results.extend(stream)
        assert list(stream) == []
    assert len(results) == 10


# Failures


def test_connections_that_are_cut(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.cut_in_body(10), times=3))
    with nothing_left(flavour), opened(flavour, server) as client:
        results = list(client.activities.get_many(KNOWN, concurrency=4))
        check(results)
        failed = [result for result in results if result.error is not None]
        assert [type(result.error) for result in failed] == [ConnectionFailedError] * 3
        server.plan(Trouble(chaos.cut_in_body(10), times=3))
        again = client.activities.get_many((result.id for result in failed), concurrency=4, retry=QUICK)
        assert all(result.activity for result in again)


def test_a_storm_of_429_loses_nothing(flavour: Flavour) -> None:
    """Of twelve requests in a row the server refuses the last two, and says no more than that."""
    numbers = itertools.count()

    def handler(request: httpx.Request) -> httpx.Response:
        return echoing(request) if next(numbers) % 12 < 10 else httpx.Response(429)

    ids = some(300)
    with flavour.answering(handler, retry=QUICK) as client:
        results = list(client.activities.get_many(ids, concurrency=32))
    assert sorted(result.id for result in results) == ids
    assert [result.error for result in results if result.error] == []
    assert next(numbers) > len(ids)


def test_all_wait_as_long_as_the_server_asks(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.status("429 Said", b"", retry_after="1"), times=1))
    began = time.monotonic()
    with opened(flavour, server, retry=QUICK) as client:
        results = list(client.activities.get_many(KNOWN, concurrency=2))
    assert time.monotonic() - began >= 1.0
    assert all(result.activity for result in results)
    assert len(server.requests) == len(KNOWN) + 1


class Outage:
    """Spoils all answers from a certain request on, and ends a while after the client has noticed.

    On a busy machine, a shorter one would be over before the first timeout, and then nothing pauses.
    """

    def __init__(self, fault: chaos.Fault, seconds: float, seen: list[Attempt]) -> None:
        self._fault = fault
        self._seconds = seconds
        self._seen = seen
        self._requests = itertools.count()
        self._ends_at = float("inf")

    def __call__(self, line: chaos.Line, answer: chaos.Answer) -> None:
        has_begun = next(self._requests) >= 12
        if self._ends_at == float("inf") and any(attempt.error for attempt in self._seen):
            self._ends_at = time.monotonic() + self._seconds
        if has_begun and time.monotonic() < self._ends_at:
            self._fault(line, answer)
        else:
            line.send(answer.whole)


OUTAGES: dict[str, chaos.Fault] = {
    "503": chaos.status("503 Said", b""),
    "503 with Retry-After": chaos.status("503 Said", b"", retry_after="1"),
    "429": chaos.status("429 Said", b""),
    "408": chaos.status("408 Said", b""),
    "reset": chaos.reset_after_reading,
    "cut": chaos.cut_in_body(10),
    "silence": chaos.silence,
}
PATIENT = RetryPolicy(first_delay=0.1, max_delay=0.2)


@pytest.mark.parametrize("engine", ["httpx", "fast"])
@pytest.mark.parametrize("kind", OUTAGES)
def test_a_server_that_is_down_for_a_while_loses_no_id_and_gets_few_requests(
    flavour: Flavour, server: Chaos, kept: Kept, kind: str, engine: str
) -> None:
    failed: list[Attempt] = []
    server.plan(Trouble(Outage(OUTAGES[kind], 0.5, failed)))
    timeout = Timeout(read=1.0) if kind == "silence" else Timeout()
    with (
        nothing_left(flavour),
        opened(flavour, server, retry=PATIENT, engine=engine, on_attempt=failed.append) as client,
    ):
        ids = KNOWN * 12
        results = list(client.activities.get_many(ids, concurrency=8, timeout=timeout))
    assert sorted(result.id for result in results) == sorted(ids)
    assert [result.error for result in results if result.error] == []
    assert 0 < sum(attempt.error is not None for attempt in failed) <= 8 + 24
    pauses = [record for record in kept.records if "pausing all requests" in record.getMessage()]
    assert {record.levelname for record in pauses} == {"WARNING"}
    assert len(pauses) <= 24


@pytest.mark.parametrize("engine", ["httpx", "fast"])
def test_a_server_that_is_restarted_loses_no_id(flavour: Flavour, engine: str) -> None:
    seen: list[Attempt] = []
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        server = first.enter_context(Chaos(port=unused_port()))

        def ids() -> Iterator[str]:
            for number, text in enumerate(KNOWN * 12):
                if number == 40:
                    first.close()
                    threading.Timer(0.4, lambda: second.enter_context(Chaos(port=server.port))).start()
                yield text

        with opened(flavour, server, retry=PATIENT, engine=engine, on_attempt=seen.append) as client:
            results = list(client.activities.get_many(ids(), concurrency=8))
    check(results)
    assert len(results) == len(KNOWN) * 12
    assert [result.error for result in results if result.error] == []
    assert 0 < sum(attempt.error is not None for attempt in seen) <= 8 + 24


def test_one_id_that_always_fails_does_not_hold_up_the_others(flavour: Flavour) -> None:
    poison, asked = f"{77:024x}", []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(poison):
            asked.append(request)
            return httpx.Response(503)
        return echoing(request)

    with flavour.answering(handler, retry=RetryPolicy(first_delay=0.01)) as client:
        results = list(client.activities.get_many(some(300), concurrency=4))
    assert [result.id for result in results if result.error] == [poison]
    assert len(results) == 300
    (error,) = [result.error for result in results if result.error]
    # As many as the policy says, but for a probe that no other ID was there for.
    assert 3 <= len(asked) == error.attempts <= 5
    assert [attempt.number for attempt in error.history] == [*range(1, error.attempts + 1)]
    assert [attempt.delay is None for attempt in error.history] == [*[False] * (error.attempts - 1), True]


def test_a_pause_that_outlasts_the_time_limit_of_an_id_is_not_waited_for(flavour: Flavour) -> None:
    throttle = httpx.Response(429, headers={"retry-after": "3600"})
    with flavour.answering(lambda _request: throttle, retry=RetryPolicy()) as client:
        # One ID, because another that begins after the response would begin after the pause.
        stream = client.activities.get_many(some(1), timeout=PATIENCE_S)
        [error] = [result.error for result in stream if result.error is not None]
    assert isinstance(error, (RateLimitedError, DeadlineExceededError))
    assert 3590 < (error.retry_after or 0) <= 3600


def test_pages_in_the_place_of_the_api_end_the_run(flavour: Flavour) -> None:
    def ids() -> Iterator[str]:
        for text in numbered():
            read.append(text)
            yield text

    for status, kind in ((200, UnexpectedResponseError), (302, ApiError), (403, ApiError), (404, ApiError)):
        read: list[str] = []
        results: list[ActivityResult] = []
        page = httpx.Response(status, html="<p>Maintenance</p>")
        with nothing_left(flavour), flavour.answering(lambda _request: page) as client:  # noqa: B023
            with pytest.raises(kind):
                results.extend(client.activities.get_many(ids(), concurrency=4))
        assert len(results) < len(read) <= 16


def test_a_429_is_a_result_where_nothing_is_tried_again(flavour: Flavour) -> None:
    with flavour.answering(lambda _request: httpx.Response(429)) as client:
        results = list(client.activities.get_many(some(3), concurrency=2))
        assert [type(result.error) for result in results] == [RateLimitedError] * 3
        stream = client.activities.get_many(some(9), concurrency=4, retry=QUICK, timeout=0.5)
        results = list(stream)
    assert len(results) == 9
    assert {type(result.error) for result in results} <= {RateLimitedError, DeadlineExceededError}


def test_the_deadline(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.silence))
    read: list[str] = []

    def ids() -> Iterator[str]:
        for text in numbered():
            read.append(text)
            yield text

    with nothing_left(flavour), opened(flavour, server, retry=QUICK) as client:
        for limit_s in growing_limits(0.3):
            read.clear()
            results = list(client.activities.get_many(ids(), concurrency=4, deadline=limit_s))
            if len(read) >= 4:
                break
        else:
            pytest.fail("no limit was long enough")
    assert sorted(result.id for result in results) == read
    assert [type(result.error) for result in results] == [DeadlineExceededError] * 4
    assert {str(result.error).partition(" was")[0] for result in results} == {
        f"The run's deadline={limit_s:g} s"
    }


def test_the_deadline_in_a_pause(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.status("429 Said", b"", retry_after="1")))
    with opened(flavour, server, retry=QUICK) as client:
        for limit_s in growing_limits(1.5):
            ids = iter(KNOWN)
            results = list(client.activities.get_many(ids, concurrency=2, deadline=limit_s))
            if results:
                break
        else:
            pytest.fail("no limit was long enough")
    assert {type(result.error) for result in results} <= {RateLimitedError, DeadlineExceededError}
    left = list(ids)
    assert 0 < len(left) < len(KNOWN)
    assert {result.id for result in results} == set(KNOWN) - set(left)  # whatever was read is a result


def test_an_error_that_every_id_would_get_is_raised(flavour: Flavour) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(401)

    with nothing_left(flavour), flavour.answering(handler) as client:
        stream = client.activities.get_many(numbered(), concurrency=4)
        with pytest.raises(UnauthorizedError):
            list(stream)
        assert list(stream) == []
    assert len(requests) <= 8


def test_a_defect_is_raised(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    with nothing_left(flavour), flavour.answering(echoing) as client:
        seam = client._http.seam
        monkeypatch.setattr(seam, "request", lambda *_args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(client.activities.get_many(numbered(), concurrency=4))


@pytest.mark.anyio
async def test_an_end_of_the_program_reaches_the_caller(client: AsyncThriveClient) -> None:
    class Ends(BaseException):
        """Neither an Exception nor a cancellation."""

    def ids() -> Iterator[str]:
        yield ACTIVITY_ID
        raise Ends

    with pytest.raises((Ends, BaseExceptionGroup)):
        async for _result in client.activities.get_many(ids(), concurrency=1):
            pass


# Endings


@pytest.mark.parametrize("fault", [chaos.latency(0.02), chaos.silence], ids=["slow", "silent"])
def test_a_break_leaves_nothing_behind(flavour: Flavour, server: Chaos, fault: chaos.Fault) -> None:
    server.plan(well_then(fault, answers=2))
    with nothing_left(flavour), opened(flavour, server) as client:
        for _result in client.activities.get_many(numbered(), concurrency=4):
            break
        wait_until(lambda: workers() == 0)
        stream = client.activities.get_many(numbered(), concurrency=4, timeout=1)
        next(stream)
        del stream
        wait_until(lambda: workers() == 0)


@pytest.mark.parametrize("fault", [chaos.silence, chaos.status("503 Said", retry_after="40")])
def test_the_end_of_a_with_block_ends_what_is_in_flight(
    flavour: Flavour, server: Chaos, fault: chaos.Fault
) -> None:
    server.plan(well_then(fault))
    with nothing_left(flavour), opened(flavour, server, retry=RetryPolicy()) as client:
        began = time.monotonic()
        with client.activities.get_many(numbered(), concurrency=4) as results:
            assert next(results).error
        assert time.monotonic() - began < 20  # what is in flight, or waits, would take longer
        assert list(results) == []
        results.close()


def test_a_stream_that_was_never_read(flavour: Flavour) -> None:
    with nothing_left(flavour), flavour.answering(echoing) as client:
        stream = client.activities.get_many(numbered())
        stream.close()
        stream.close()
        assert list(stream) == []
        client.activities.get_many(numbered())


def test_the_client_closes_in_the_middle(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.silence))
    with nothing_left(flavour), opened(flavour, server) as client:

        def close() -> None:
            wait_until(lambda: server.requests)
            client.close()

        stream = client.activities.get_many(numbered(), concurrency=4)
        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(ClientClosedError):
            list(stream)
        closing.join()
        with pytest.raises(ClientClosedError):
            client.activities.get_many([])
        assert list(stream) == []


def test_the_client_closes_between_two_results(flavour: Flavour) -> None:
    with nothing_left(flavour), flavour.answering(echoing) as client:
        stream = client.activities.get_many(numbered(), concurrency=4)
        late = client.activities.get_many(numbered(), concurrency=4)
        assert next(stream).activity
        client.close()
        for results in (stream, late):
            with pytest.raises(ClientClosedError):
                list(results)


# Arguments


@pytest.mark.parametrize("ids", [ACTIVITY_ID, ACTIVITY_ID.encode(), None, 7])
def test_invalid_ids_argument_is_rejected(flavour: Flavour, ids: Any) -> None:
    with flavour.answering(echoing) as client, pytest.raises(ConfigurationError, match="ids is of type"):
        client.activities.get_many(ids)


def test_arguments_are_checked_at_once(flavour: Flavour) -> None:
    with flavour.answering(echoing) as client:
        for wrong in (
            {"concurrency": 0},
            {"concurrency": 1001},
            {"deadline": -1},
            {"timeout": -1},
            {"retry": 3},
            {"ordered": 1},
        ):
            with pytest.raises(ConfigurationError):
                client.activities.get_many([], **wrong)


# Transports and context


def test_an_injected_transport_is_used_for_everything(flavour: Flavour) -> None:
    with flavour.answering(echoing) as client:
        assert len(list(client.activities.get_many(some(9)))) == 9
    built: list[object] = []

    def build() -> Any:
        built.append(httpx.MockTransport(echoing))
        return built[-1]

    with flavour.open(Region.PRODUCTION, BASIC, transport=build) as client:
        assert len(list(client.activities.get_many(some(9)))) == 9
    assert len(built) == 1


def test_a_connection_that_the_server_has_closed_is_replaced(flavour: Flavour, server: Chaos) -> None:
    ended: list[chaos.Line] = []

    def last(line: chaos.Line, answer: chaos.Answer) -> None:
        line.send(answer.whole)
        line._sock.shutdown(socket.SHUT_WR)
        ended.append(line)
        line.stay_silent()

    def ids() -> Iterator[str]:
        for number, text in enumerate(KNOWN[:5]):
            expected = min(number, 3)
            wait_until(lambda: len(ended) == expected)  # noqa: B023 - it is called here
            yield text

    server.plan(Trouble(last, times=3))
    with nothing_left(flavour), opened(flavour, server) as client:
        for result in client.activities.get_many(ids(), concurrency=1):
            assert result.activity, result.error
    assert server.connections == 4


def test_surplus_goes_to_no_other_id(flavour: Flavour, server: Chaos) -> None:
    server.plan(Trouble(chaos.two_answers))
    with opened(flavour, server) as client:
        results = list(client.activities.get_many(KNOWN, concurrency=2))
    assert {result.activity.id == result.id for result in results if result.activity} == {True}
    assert len(results) == len(KNOWN)


name_of_run: contextvars.ContextVar[str] = contextvars.ContextVar("name_of_run", default="nobody's")


def test_workers_have_the_context_of_their_caller() -> None:
    seen: set[str] = set()
    name_of_run.set("mine")
    with ThriveClient.sandbox(on_attempt=lambda _attempt: seen.add(name_of_run.get())) as client:
        list(client.activities.get_many(KNOWN, concurrency=3))
    assert seen == {"mine"}


@pytest.mark.anyio
async def test_tasks_have_the_context_of_their_caller() -> None:
    seen: set[str] = set()
    name_of_run.set("mine")
    async with AsyncThriveClient.sandbox(on_attempt=lambda _: seen.add(name_of_run.get())) as client:
        assert len([result async for result in client.activities.get_many(KNOWN, concurrency=3)]) == len(
            KNOWN
        )
    assert seen == {"mine"}


# Only in threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_run_does_not_follow_into_a_forked_child() -> None:
    with ThriveClient.sandbox() as client:
        stream = client.activities.get_many(numbered(), concurrency=2)
        next(stream)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                next(stream)
            except ConfigurationError:
                client.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        next(stream)
        stream.close()


def test_a_run_knows_its_process() -> None:
    with ThriveClient.sandbox() as client:
        stream = client.activities.get_many(numbered(), concurrency=2)
        next(stream)
        ours, stream._run._process = stream._run._process, -1
        with pytest.raises(ConfigurationError, match="stays in its process"):
            next(stream)
        stream._run._process = ours
        assert next(stream).error


def test_a_client_that_is_closed_by_a_worker() -> None:
    clients: list[ThriveClient] = []

    def close(_attempt: object) -> None:
        clients[0].close()

    clients.append(ThriveClient.sandbox(on_attempt=close))
    with pytest.raises(ClientClosedError):
        list(clients[0].activities.get_many(numbered(), concurrency=1))


def test_every_worker_that_may_work_does(server: Chaos) -> None:
    server.plan(Trouble(chaos.latency(0.05)))
    with ThriveClient(here(server), SANDBOX_BASIC, retry=ONCE) as client:
        assert len(list(client.activities.get_many(some(60), concurrency=20))) == 60
    assert server.connections == 20


# Only in event loops


@pytest.fixture
async def client(server: Chaos, anyio_backend: str) -> AsyncIterator[AsyncThriveClient]:  # noqa: ARG001
    async with AsyncThriveClient(here(server), SANDBOX_BASIC, retry=ONCE) as client:
        yield client


@pytest.mark.anyio
async def test_a_break_in_an_event_loop(client: AsyncThriveClient) -> None:
    before = tasks()
    async for _result in client.activities.get_many(numbered(), concurrency=4):
        break
    await until_it_is(before)
    async with client.activities.get_many(numbered(), concurrency=4) as results:
        async for _result in results:
            break
        assert tasks() > before
    await until_it_is(before)


@pytest.mark.anyio
async def test_cancellation_ends_a_run(client: AsyncThriveClient, server: Chaos) -> None:
    server.plan(Trouble(chaos.silence))
    before = tasks()
    with anyio.move_on_after(0.1) as scope:
        async for _result in client.activities.get_many(numbered(), concurrency=4):
            pass
    assert scope.cancelled_caught
    assert tasks() <= before + 1  # the task that reported the end


@pytest.mark.anyio
async def test_results_may_be_asked_for_within_any_scope(client: AsyncThriveClient) -> None:
    stream = client.activities.get_many(KNOWN, concurrency=4)
    with anyio.fail_after(PATIENCE_S):
        await anext(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, stream)
    with anyio.CancelScope() as scope:
        await anext(stream)
        scope.cancel()
    assert len([result async for result in stream]) == len(KNOWN) - 3


class Source:
    """IDs that come over a network, with a scope of their own around it."""

    def __init__(
        self, ids: Iterator[str], *, error: Exception | None = None, fails_to_close: bool = False
    ) -> None:
        self._ids = ids
        self._error = error
        self._fails_to_close = fails_to_close
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            with anyio.CancelScope():
                for text in self._ids:
                    await anyio.lowlevel.checkpoint()
                    yield text
            if self._error is not None:
                raise self._error
        finally:
            self.closed += 1
            if self._fails_to_close:
                raise LookupError("cannot close")


@pytest.mark.anyio
async def test_async_ids(client: AsyncThriveClient) -> None:
    for ordered in (False, True):
        source = Source(iter(KNOWN * 2))
        results = [
            result async for result in client.activities.get_many(source, concurrency=3, ordered=ordered)
        ]
        assert sorted(result.id for result in results) == sorted(KNOWN * 2)
        assert source.closed == 1
    assert [result async for result in client.activities.get_many(Source(iter([])))] == []


@pytest.mark.anyio
async def test_async_ids_without_end(client: AsyncThriveClient) -> None:
    before = tasks()
    source = Source(numbered())
    async for _result in client.activities.get_many(source, concurrency=3):
        break
    await until_it_is(before)
    assert source.closed == 1


@pytest.mark.anyio
async def test_async_ids_that_fail(client: AsyncThriveClient) -> None:
    source = Source(iter(KNOWN), error=LookupError("gone"))
    results: list[ActivityResult] = []
    with pytest.raises(LookupError, match="gone"):  # noqa: PT012 - the results before it are wanted
        async for result in client.activities.get_many(source, concurrency=3):
            results.append(result)  # noqa: PERF401 - a list would not be there
    assert len(results) == len(KNOWN)
    with pytest.raises(LookupError, match="cannot close"):
        async for _result in client.activities.get_many(Source(iter(KNOWN), fails_to_close=True)):
            pass


@pytest.mark.anyio
async def test_async_ids_and_a_deadline(client: AsyncThriveClient, server: Chaos) -> None:
    server.plan(Trouble(chaos.silence))
    for limit_s in growing_limits(0.5):
        source = Source(numbered())
        stream = client.activities.get_many(source, concurrency=3, deadline=limit_s)
        results = [result async for result in stream]
        if len(results) >= 3:
            break
    else:
        pytest.fail("no limit was long enough")
    assert [type(result.error) for result in results] == [DeadlineExceededError] * 3
    assert source.closed == 1


@pytest.mark.anyio
async def test_async_ids_wait_for_a_pause_to_end(client: AsyncThriveClient, server: Chaos) -> None:
    server.plan(Trouble(chaos.status("429 Said", b""), times=2))
    stream = client.activities.get_many(Source(iter(KNOWN)), concurrency=3, retry=QUICK)
    assert all([result.activity async for result in stream])


class Endless:
    """Async IDs that do not come from a generator."""

    def __aiter__(self) -> "Endless":
        return self

    async def __anext__(self) -> str:
        await anyio.lowlevel.checkpoint()
        return ACTIVITY_ID


@pytest.mark.anyio
async def test_async_ids_without_a_generator(client: AsyncThriveClient) -> None:
    async with client.activities.get_many(Endless(), concurrency=2) as results:
        for _ in range(20):
            assert (await anext(results)).id == ACTIVITY_ID
        await anyio.sleep(0.1)  # until it has read all that it may


@pytest.mark.anyio
async def test_a_run_canceled_before_it_begins(client: AsyncThriveClient) -> None:
    before = tasks()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(client.activities.get_many(numbered()))
    await until_it_is(before)


def test_a_run_stays_in_its_event_loop() -> None:
    client = AsyncThriveClient.sandbox()
    kept: list[AsyncResultStream] = []

    async def first() -> None:
        kept.append(client.activities.get_many(numbered(), concurrency=2))
        await anext(kept[0])

    async def second() -> None:
        with pytest.raises(ConfigurationError, match="event loop"):
            await anext(kept[0])
        await client.aclose()

    asyncio.run(first())
    asyncio.run(second())
    kept.clear()
    gc.collect()


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_an_event_loop_that_ends_takes_the_run_with_it(run: Callable[[Any], object], server: Chaos) -> None:
    server.plan(well_then(chaos.silence))  # an idle connection would be the loop's, and end in its warning
    kept: list[object] = []

    async def main() -> None:
        client = AsyncThriveClient(here(server), SANDBOX_BASIC, retry=ONCE)
        stream = client.activities.get_many(numbered(), concurrency=2)
        await anext(stream)
        kept.extend((client, stream))

    run(main() if run is asyncio.run else main)
    kept.clear()
    gc.collect()


@pytest.mark.anyio
async def test_a_waiting_caller_learns_that_the_loop_ended_the_run(
    client: AsyncThriveClient, server: Chaos, anyio_backend: str
) -> None:
    if anyio_backend != "asyncio":
        pytest.skip("trio cancels its own tasks last")
    server.plan(Trouble(chaos.silence))
    before = asyncio.all_tasks()

    async def cancel_all() -> None:
        await wait_in_task_until(lambda: server.requests)
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
            task.cancel()

    killer = asyncio.create_task(cancel_all())
    with pytest.raises(ThriveError, match="The event loop ended the run"):
        await anext(client.activities.get_many(numbered(), concurrency=2))
    await killer


# Programs

PROGRAM = """
import asyncio, itertools, sys, threading
from thrive_learning import AsyncThriveClient, BasicCredentials, Region, ThriveClient
origin, tenant, secret, way = sys.argv[1:]
region = Region.custom("here", api_url=origin + "/rest/v1", token_url=origin + "/{tenant_id}")
credentials = BasicCredentials(tenant, secret)
ids = (f"{number:024x}" for number in itertools.count())

def sync():
    client = ThriveClient(region, credentials)
    global stream
    stream = client.activities.get_many(ids, concurrency=4)
    for result in stream:
        print("ready", flush=True)
        if way == "exit":
            sys.exit(3)

async def main():
    client = AsyncThriveClient(region, credentials)
    async for result in client.activities.get_many(ids, concurrency=4):
        print("ready", flush=True)

try:
    if way == "trio":
        import trio
        trio.run(main)
    elif way == "asyncio":
        asyncio.run(main())
    else:
        sync()
except KeyboardInterrupt:
    print("interrupted", [thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize("way", ["sync", "exit", "asyncio", "trio"])
def test_ctrl_c_and_exit_do_not_hang(server: Chaos, way: str) -> None:
    server.plan(well_then(chaos.silence))
    program = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "error",
        "-c",
        PROGRAM,
        server.origin,
        *vars_of_basic(),
        way,
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("src", "generated")),
    }
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if way != "exit":
            time.sleep(0.2)  # until it waits for the next result
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == (3 if way == "exit" else 0), err
    assert "Traceback" not in err
    if way != "exit":
        assert out == "interrupted ['MainThread']\n"


def vars_of_basic() -> tuple[str, str]:
    return SANDBOX_BASIC.tenant_id, chaos.SANDBOX.api_secret


def test_streams_have_the_exported_types() -> None:
    with ThriveClient.sandbox() as client:
        assert isinstance(client.activities.get_many([]), ResultStream)
    assert isinstance(AsyncThriveClient.sandbox().activities.get_many([]), AsyncResultStream)
