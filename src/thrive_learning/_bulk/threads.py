"""Fetches many records in sync code, with a thread per request."""

import contextlib
import contextvars
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, cast

from thrive_learning._budget import Budget
from thrive_learning._bulk.plan import Plan
from thrive_learning._bulk.run import CLOSING_S, INTERRUPTED_S, Run, logger
from thrive_learning._bulk.schedule import Job
from thrive_learning._call.seam import Caller
from thrive_learning._clock import monotonic
from thrive_learning._interruptions import interruption
from thrive_learning._log import fields
from thrive_learning._threads import start_thread
from thrive_learning.errors import Attempt, ConfigurationError, ThriveError
from thrive_learning.models import ActivityResult

if TYPE_CHECKING:
    from thrive_learning._limits.limiter import SyncLimiter
    from thrive_learning._observation import Observation

#: Fetches an item by its key. The last argument is the earlier attempts for it.
Fetch = Callable[[str, Budget, tuple[Attempt, ...]], object]


class ThreadedRun(Run):
    """A run in threads.

    The IDs are read in the thread that requests results, because their source may belong to that thread, such
    as a cursor of sqlite3. If no thread can be started, requests are sent in that thread as well.
    """

    def __init__(
        self,
        http: Caller,
        fetch: Fetch,
        ids: Iterator[Any],
        plan: Plan,
        observation: "Observation | None" = None,
    ) -> None:
        super().__init__(plan, http.observer, observation)
        self._http = http
        self._limiter = http.limiter
        self._fetch = fetch
        self._ids = ids
        # Reentrant, because the garbage collector may drop a stream, which stops its run, at any moment.
        # Entered directly and not through the condition, so that a signal handler that raises does not leave
        # it locked.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()  # for the caller's thread
        self._threads: list[threading.Thread] = []
        self._budgets: set[Budget] = set()
        self._idle = self._working = 0
        self._is_short_of_threads = False
        self._process = os.getpid()

    def next(self) -> Any:
        """Return the next result; None at the end."""
        if os.getpid() != self._process:
            raise ConfigurationError(
                f"a run of {self.plan.kind.method} stays in its process. Start another one in this process."
            )
        if not self.started:
            self.begin(is_limited=self._limiter is not None)
            self.observe()
            self._http.runs.add(self)
        while not self.stopped:
            self._read()
            with self._lock:
                now = monotonic()
                self.schedule.expire(now)
                result = self.schedule.take()
                if result is not None:
                    self.took(result)
                    return result
                if self.schedule.is_over:
                    break
                wait_s = 0.0 if self.schedule.may_read(now) else self.schedule.wait_s(now)
                begun = None if self._threads else self._begin_job(now)
                waits = begun is None and not self._threads and self.schedule.asks_for_permit(now)
            if waits:
                self._get_permit()
            elif begun is None:
                self._wait_for_news(wait_s)
            else:
                with self.observed():
                    self._do(*begun)
        self.close()
        self.conclude()
        return None

    def _wait_for_news(self, wait_s: float | None) -> None:
        with contextlib.suppress(queue.Empty):
            self._news.get(timeout=None if wait_s is None else min(wait_s, threading.TIMEOUT_MAX))
            while True:
                self._news.get_nowait()

    def _read(self) -> None:
        """Read as many IDs as there are free slots."""
        while True:
            with self._lock:
                if self.stopped or not self.schedule.may_read(monotonic()):
                    return
            try:
                given = next(self._ids)
            except StopIteration:
                self.schedule.exhausted = True
                return
            except Exception as error:
                if interruption(error) is not None:
                    raise
                self.end_of_ids(error)  # from the caller's code, raised after the results
                return
            with self._lock:
                self.schedule.add(given)
                if self.schedule.pending:
                    self._call_worker()

    def _call_worker(self) -> None:
        if self.schedule.pending <= self._idle:
            self._work.notify()
        elif len(self._threads) < self.plan.concurrency:
            self._start_worker()

    def _start_worker(self) -> None:
        """Start another worker. If that fails, the existing workers continue, and the next ID tries again."""
        work = contextvars.copy_context().run
        # Daemon threads, so that a program that exits during a run does not wait for them.
        thread = threading.Thread(target=work, args=(self._run_worker,), name="thrive-bulk", daemon=True)
        self._threads.append(thread)
        problem = start_thread(thread)
        if problem is not None:
            self._threads.remove(thread)
            if not self._is_short_of_threads:
                self._is_short_of_threads = True
                count = len(self._threads)
                those = f"{count} thread{'' if count == 1 else 's'}" if count else "the calling thread alone"
                logger.warning(
                    "%s cannot start another thread (%s) and continues in %s",
                    self.plan.kind.method,
                    problem,
                    those,
                    extra=fields("thread_shortage", operation=self.plan.kind.operation, threads=count),
                )

    def _run_worker(self) -> None:
        with self._lock:
            self._working += 1
        try:
            with self.observed():
                while (begun := self._next_job()) is not None:
                    self._do(*begun)
        finally:
            with self._lock:
                self._working -= 1
                is_last = self.stopped and not self._working
            if is_last:
                self.end_observation()

    def _next_job(self) -> tuple[Job, Budget] | None:
        while not self.stopped:
            with self._lock:
                self._idle += 1
                try:
                    begun, waits = self._wait_for_job()
                finally:
                    self._idle -= 1
            if begun is not None:
                return begun
            if waits:
                self._get_permit()
        return None

    def _wait_for_job(self) -> tuple[tuple[Job, Budget] | None, bool]:
        """Return the next job, or True if this worker must get a permit for it."""
        while not self.stopped:
            now = monotonic()
            self._expire(now)
            begun = self._begin_job(now)
            if begun is not None:
                return begun, False
            if self.schedule.asks_for_permit(now):
                return None, True
            self._work.wait(self.schedule.wait_s(now) if self.schedule.pending else None)
        return None, False

    def _begin_job(self, now: float) -> tuple[Job, Budget] | None:
        job = self.schedule.next_job(now)
        if job is None:
            return None
        budget = self.schedule.budget(job, now)
        self._budgets.add(budget)
        if self._limiter is not None:
            self._news.put(None)  # another ID can be read
            if self.schedule.pending:
                self._work.notify()  # another worker gets the next permit
        return job, budget

    def _get_permit(self) -> None:
        """Wait for the rate limit on behalf of the next request of the run."""
        limiter = cast("SyncLimiter", self._limiter)
        budget = self.schedule.permit_budget(monotonic())
        self._budgets.add(budget)
        waited: object = None
        try:
            # If the run has been stopped meanwhile, the budget may not have been ended.
            waited = None if self.stopped else 0.0 if limiter.goes_at_once() else limiter.wait(budget)
        except BaseException as error:  # noqa: BLE001 - a defect, which must reach the caller
            self._fail(error)
        finally:
            self._budgets.discard(budget)
            with self._lock:
                self.schedule.permit(waited if isinstance(waited, float) else None, monotonic())
                self._news.put(None)

    def _expire(self, now: float) -> None:
        """Fail the IDs whose time limit is over, even if no caller waits."""
        before = self.schedule.pending
        self.schedule.expire(now)
        if self.schedule.pending != before:
            self._news.put(None)

    def _do(self, job: Job, budget: Budget) -> None:
        outcome: object
        try:
            outcome = self._fetch(job.activity_id, budget, job.history)
        except ThriveError as error:
            outcome = error
        except BaseException as error:  # noqa: BLE001 - a defect, which must reach the caller
            self._fail(error)
            return
        finally:
            self._budgets.discard(budget)
        with self._lock:
            self.schedule.finish(job, outcome, monotonic())
            self.announce_pause()
            self._news.put(None)
            if self.schedule.pending:
                self._work.notify()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self.schedule.failure = self.schedule.failure or error
            self._news.put(None)

    def stop(self) -> None:
        """Let every worker end as soon as possible, without waiting."""
        if os.getpid() != self._process:
            return  # a forked child lacks the workers, and the lock may be held
        with self._lock:
            self.stopped = True
            self._work.notify_all()
            self._news.put(None)
        for budget in list(self._budgets):
            budget.end()
        if not self._working:  # otherwise the last worker ends it, after its attempts
            self.end_observation()

    def close(self, within_s: float = CLOSING_S) -> None:
        """End the run, and wait for its workers. A caller that requests more results gets the reason."""
        if not self.started:
            self.begin(is_limited=False)
        self.note_closing(self._http.seam)
        self.stop()
        ends_at = monotonic() + within_s
        for thread in self._threads:
            # A thread whose start was interrupted is not alive and cannot be joined.
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(ends_at - monotonic(), 0.0))
        if os.getpid() == self._process:
            self.end_observation()


class ResultStream(Iterator[ActivityResult]):
    """The result of `activities.get_many`: an iterator of `ActivityResult` and a context manager.

    Use it in one thread at a time. It ends, and leaves no thread and no connection open, when it is
    exhausted, when `close()` is called, at the end of its `with` block, when the client closes, and when its
    last reference is dropped, as by `break` in a `for` loop. The first three wait for the end.
    """

    def __init__(self, run: ThreadedRun) -> None:
        self._run = run
        weakref.finalize(self, run.stop)

    def __next__(self) -> ActivityResult:
        try:
            result: ActivityResult | None = self._run.next()
        except BaseException as error:
            self._run.cut_off_by = type(error)
            self._run.close(INTERRUPTED_S)
            raise
        if result is None:
            raise StopIteration
        return result

    def close(self) -> None:
        """Cancel the requests in flight and end the run. Closing again does nothing."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
