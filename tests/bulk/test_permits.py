"""A bulk run under a rate limit: one waiter, and no item fails because of the wait."""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from harness import PAGE_EXAMPLE, Flavour, page_response
from patience import PATIENCE_S

from thrive_learning import (
    Attempt,
    ClientClosedError,
    DeadlineExceededError,
    RateLimit,
    RetryPolicy,
    ServerError,
    Timeout,
)
from thrive_learning._bulk.permits import CHECK_AGAIN_S, READ_AHEAD, Permits
from thrive_learning._bulk.plan import Plan
from thrive_learning._bulk.schedule import Job, Schedule
from thrive_learning._limits.memory import MemoryLimits


def identifier(number: int) -> str:
    return f"{number:024x}"


def test_there_is_always_a_permit_without_a_limit() -> None:
    permits = Permits(is_limited=False)
    assert (permits.is_ready, permits.may_ask) == (True, False)
    assert permits.use() is None


def test_a_permit_is_for_one_request() -> None:
    permits = Permits(is_limited=True)
    assert (permits.is_ready, permits.may_ask) == (False, True)
    permits.ask(1.0)
    assert (permits.is_ready, permits.may_ask) == (False, False)
    permits.answer(0.5, 1.5)
    assert (permits.is_ready, permits.may_ask) == (True, False)
    assert permits.use() == 0.5
    assert (permits.is_ready, permits.may_ask) == (False, True)


def test_after_a_refusal_there_is_no_permit() -> None:
    permits = Permits(is_limited=True)
    permits.ask(1.0)
    permits.answer(None, 1.0)
    assert (permits.is_ready, permits.may_ask, permits.refused) == (False, False, True)


def test_the_time_without_a_permit_is_measured() -> None:
    permits = Permits(is_limited=True)
    assert permits.held_s(5.0) == 0
    permits.ask(10.0)
    assert permits.held_s(12.0) == 2
    permits.answer(3.0, 13.0)
    assert permits.held_s(20.0) == 3
    permits.pause(50.0, 20.0)  # it does not wait
    permits.ask(60.0)
    assert permits.held_s(61.0) == 4


def test_a_pause_for_another_reason_does_not_count() -> None:
    permits = Permits(is_limited=True)
    permits.ask(10.0)
    permits.pause(20.0, 12.0)
    assert permits.held_s(15.0) == 2
    permits.pause(18.0, 15.0)  # it is shorter
    assert permits.held_s(19.0) == 2
    assert permits.held_s(21.0) == 3
    permits.pause(5.0, 21.0)  # it is over
    permits.answer(11.0, 22.0)
    assert permits.held_s(30.0) == 4


class Limited:
    """The schedule of a run with a rate limit, and its clock."""

    def __init__(self, deadline_s: float | None = None, **options: Any) -> None:
        plan = Plan(
            100, ordered=False, timeout=Timeout(60), retry=RetryPolicy(5), deadline_s=deadline_s, **options
        )
        self.now = 0.0
        self.schedule = Schedule(plan, 0.0, lambda: 0.5, is_limited=True)
        self._numbers = iter(range(10_000))

    def read(self) -> int:
        """Read as many IDs as the schedule takes, and return how many."""
        count = 0
        while self.schedule.may_read(self.now):
            self.schedule.add(identifier(next(self._numbers)))
            count += 1
        return count

    def send(self, waits_s: float = 0.0) -> Job:
        """Get a permit after a wait, and begin the next fetch."""
        assert self.schedule.next_job(self.now) is None
        assert self.schedule.asks_for_permit(self.now)
        assert not self.schedule.asks_for_permit(self.now)
        self.now += waits_s
        self.schedule.permit(waits_s, self.now)
        job = self.schedule.next_job(self.now)
        assert job is not None
        return job


def broken() -> ServerError:
    error = ServerError("broken", status_code=503)
    error.history = (Attempt(1, 503, "status 503", None, 0.1, None),)
    return error


def test_a_fetch_begins_with_a_permit_and_its_time_limit_after_the_wait() -> None:
    run = Limited()
    run.read()
    job = run.send(1000.0)
    budget = run.schedule.budget(job, run.now)
    assert budget.permit == 1000
    assert 59 < budget.remaining() <= 60


def test_no_permit_is_asked_for_that_is_not_needed() -> None:
    run = Limited()
    assert not run.schedule.asks_for_permit(0.0)  # there is no ID
    run.read()
    run.send()
    run.schedule.finish(Job(identifier(0)), ClientClosedError("closed"), 0.0)
    assert not run.schedule.asks_for_permit(0.0)


def test_few_ids_are_read_ahead() -> None:
    run = Limited()
    assert run.read() == READ_AHEAD
    run.send()
    assert run.read() == 1


def test_an_id_that_failed_is_not_lost_although_its_next_permit_comes_late() -> None:
    run = Limited()
    run.read()
    first = run.send()
    others = [run.send() for _ in range(5)]
    run.now = 10.0
    for other in others:
        run.schedule.finish(other, object(), run.now)
    run.schedule.finish(first, broken(), run.now)
    run.now = 20.0  # the pause is over
    sent: list[Job] = []
    while first not in sent:
        run.schedule.expire(run.now)
        sent.append(run.send(30.0))
        run.schedule.finish(sent[-1], object(), run.now)
    assert run.now > 200
    budget = run.schedule.budget(first, run.now)
    # The request, its backoff, and the pause count, and not the waits for permits.
    assert 30 < budget.remaining() < 55
    results = []
    while (result := run.schedule.take()) is not None:
        results.append(result)
    assert [result.error for result in results] == [None] * len(results)


def test_the_time_limit_of_an_id_that_waits_for_a_permit_is_looked_at_from_time_to_time() -> None:
    run = Limited()
    run.read()
    first, second = run.send(), run.send()
    run.schedule.finish(second, object(), 1.0)
    run.schedule.finish(first, broken(), 1.0)
    run.now = 59.9
    while run.schedule.next_job(run.now) is None and run.schedule.asks_for_permit(run.now):
        pass
    for _ in range(100):
        run.now += 0.2
        run.schedule.expire(run.now)
        wait_s = run.schedule.wait_s(run.now)
        assert wait_s is not None
        assert wait_s >= CHECK_AGAIN_S / 2
    assert run.schedule.take().error is None  # of the second
    assert run.schedule.take() is None


def test_pauses_count_for_ids_that_wait() -> None:
    run = Limited()
    run.read()
    job = run.send()
    assert run.schedule.asks_for_permit(0.0)
    run.schedule.finish(job, broken(), 0.0)
    run.schedule.expire(61.0)
    errors = []
    while (result := run.schedule.take()) is not None:
        errors.append(result.error)
    # The run asks for a permit, but pauses, so the first one fails. The others wait for the permit.
    assert [type(error) for error in errors] == [ServerError]


def test_a_run_ends_early_if_no_permit_comes_before_its_deadline() -> None:
    run = Limited(deadline_s=10.0)
    run.read()
    job = run.send()
    assert 9 < run.schedule.permit_budget(0.0).remaining() <= 10
    assert run.schedule.asks_for_permit(0.0)
    run.schedule.permit(None, 0.0)
    run.schedule.expire(1.0)
    assert run.schedule.take() is None  # a request is in flight
    run.schedule.finish(job, object(), 2.0)
    run.schedule.expire(2.0)
    assert run.schedule.take().error is None
    late = run.schedule.take()
    assert isinstance(late.error, DeadlineExceededError)
    assert str(late.error) == (
        "The run's deadline=10 s is over before the rate limit allows another request, so this record was "
        "not requested. Allow more time with deadline=."
    )


class Requests:
    def __init__(self, respond: Callable[[int], httpx.Response] | None = None) -> None:
        self.ids: list[str] = []
        self._respond = respond or (lambda _number: page_response(id=self.ids[-1]))
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.ids.append(request.url.path.rpartition("/")[2])
            return self._respond(len(self.ids))


def test_no_id_fails_because_of_the_wait_for_the_limit(flavour: Flavour) -> None:
    requests, seen = Requests(), list[Attempt]()
    ids = [identifier(number) for number in range(12)]
    limit = RateLimit(per_second=5, burst=1)
    with flavour.answering(requests, rate_limit=limit, on_attempt=seen.append) as client:
        # In a line of single calls, the last ones would wait longer than that.
        results = list(client.activities.get_many(ids, concurrency=1000, timeout=2.0))
    assert [result.error for result in results] == [None] * len(ids)
    assert sorted(requests.ids) == ids
    assert sum(attempt.waited for attempt in seen) > 0.5


def test_a_single_call_waits_for_one_request_of_a_run(flavour: Flavour) -> None:
    requests = Requests()
    ids = (identifier(number) for number in range(1000))
    other = identifier(5000)
    with flavour.answering(requests, rate_limit=RateLimit(per_second=2, burst=1)) as client:
        stream = client.activities.get_many(ids, concurrency=1000)
        next(stream)
        before = len(requests.ids)
        client.activities.get(other)
        assert requests.ids.index(other) - before <= 3  # its own time to come in line included
        stream.close()


def test_retries_of_a_run_count(flavour: Flavour) -> None:
    takes: list[float] = []

    class Counting(MemoryLimits):
        def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
            wait_s = super().take(key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s)
            if wait_s <= longest_wait_s:
                takes.append(wait_s)
            return wait_s

    requests = Requests(lambda n: httpx.Response(503) if n == 2 else httpx.Response(200, json=PAGE_EXAMPLE))
    limit = RateLimit(per_second=1000, store=Counting())
    retry = RetryPolicy(first_delay=0.01)
    with flavour.answering(requests, rate_limit=limit, retry=retry) as client:
        results = list(client.activities.get_many([identifier(n) for n in range(5)], concurrency=1))
    assert len(results) == 5
    assert len(takes) >= len(requests.ids)
    assert len(takes) <= len(requests.ids) + 1  # a permit may be left over


def test_the_deadline_of_a_run_holds(flavour: Flavour) -> None:
    requests = Requests()
    with flavour.answering(requests, rate_limit=RateLimit(per_second=0.01)) as client:
        first, second = client.activities.get_many([identifier(1), identifier(2)], deadline=30)
    assert first.error is None
    assert isinstance(second.error, DeadlineExceededError)
    assert "before the rate limit allows another request" in str(second.error)
    assert len(requests.ids) == 1


def test_closing_the_client_ends_a_run_that_waits(flavour: Flavour) -> None:
    with flavour.answering(Requests(), rate_limit=RateLimit(per_second=0.01)) as client:
        stream = client.activities.get_many([identifier(1), identifier(2)])
        next(stream)
        client.close()
        with pytest.raises(ClientClosedError):
            next(stream)
        assert not client._http.limiter._line


def test_closing_a_run_that_waits_leaves_the_line(flavour: Flavour) -> None:
    with flavour.answering(Requests(), rate_limit=RateLimit(per_second=0.01)) as client:
        with client.activities.get_many([identifier(1), identifier(2)]) as stream:
            next(stream)
        assert not client._http.limiter._line


def test_a_defect_of_the_limiter_ends_a_run(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    with flavour.answering(Requests(), rate_limit=RateLimit(per_second=0.01)) as client:
        limiter = client._http.limiter

        def fail(*_arguments: object) -> float:
            raise RuntimeError("mine")

        monkeypatch.setattr(limiter, "wait", fail)
        with pytest.raises(RuntimeError, match="mine"):
            list(client.activities.get_many([identifier(1), identifier(2)]))


@pytest.mark.parametrize("flavour", ["sync"], indirect=True)
def test_a_run_without_threads_waits_as_well(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    requests = Requests()
    with flavour.answering(requests, rate_limit=RateLimit(per_second=20, burst=1)) as client:
        monkeypatch.setattr(threading.Thread, "start", start)
        results = list(client.activities.get_many([identifier(n) for n in range(4)]))
    assert [result.error for result in results] == [None] * 4


def test_pages_wait_for_the_limit(flavour: Flavour) -> None:
    class Late(MemoryLimits):
        """A store that lets each request go after a while, however slow the machine is."""

        def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
            del key, per_second, burst, longest_wait_s
            return 0.02

    seen: list[Attempt] = []
    limit = RateLimit(10, 1, store=Late())
    with flavour_sandbox(flavour, rate_limit=limit, on_attempt=seen.append) as client:
        records = list(client.activities.iterate(per_page=10, timeout=PATIENCE_S))
    assert len(records) > 20
    assert sum(attempt.waited > 0 for attempt in seen) >= 2


def flavour_sandbox(flavour: Flavour, **options: Any) -> Any:
    return closing(flavour.wrap(flavour.client_class.sandbox(**options)))
