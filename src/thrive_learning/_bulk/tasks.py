"""Fetches many records in async code, with a task per request, on asyncio and trio."""

import time
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import attrs

from thrive_learning._budget import Budget
from thrive_learning._bulk.plan import Plan
from thrive_learning._bulk.run import CLOSING_S, Run
from thrive_learning._bulk.schedule import Job
from thrive_learning._call.seam import AsyncCaller
from thrive_learning._clock import is_replaced, monotonic
from thrive_learning._interruptions import interruption
from thrive_learning._loops import current_loop, from_any_thread, limit_by_timer, spawn, unsupported_loop
from thrive_learning.errors import Attempt, ConfigurationError, ThriveError
from thrive_learning.models import ActivityResult

if TYPE_CHECKING:
    from thrive_learning._limits.limiter import AsyncLimiter
    from thrive_learning._observation import Observation

#: Fetches an item by its key. The last argument is the earlier attempts for it.
AsyncFetch = Callable[[str, Budget, tuple[Attempt, ...]], Awaitable[object]]


@attrs.define(eq=False)
class _Seat:
    """The place where an idle worker waits for a job."""

    event: anyio.Event = attrs.field(factory=anyio.Event)
    job: Job | None = None


class TaskRun(Run):
    """A run in tasks of its own. A parent task of theirs belongs to the event loop and not to a caller.

    A task group that stays open between results would violate the nesting of the caller's own scopes, which
    neither asyncio nor trio allows.
    """

    stopped: bool  # type checkers would otherwise not find the attribute of the parent class

    def __init__(
        self,
        http: AsyncCaller,
        fetch: AsyncFetch,
        ids: Iterator[Any] | AsyncIterable[str],
        plan: Plan,
        observation: "Observation | None" = None,
    ) -> None:
        super().__init__(plan, http.observer, observation)
        self._http = http
        self._limiter = http.limiter
        self._fetch = fetch
        self._ids = ids
        self._scope: anyio.CancelScope
        self._workers = 0
        self._idle: list[_Seat] = []
        self._waiting: list[anyio.Event] = []
        self._changed: anyio.Event
        self._slot: anyio.Event | None = None
        self._reading: anyio.CancelScope | None = None
        self._waits_for_id = False
        self._has_ended: anyio.Event
        self._group: Any
        self._place: tuple[int, Any] | None = None
        self._soon: Callable[[], object] | None = None

    async def next(self) -> Any:
        """Return the next result; None at the end."""
        if not self.started:
            self._start()
        elif self._place is not None and current_loop() != self._place:
            raise ConfigurationError(
                f"a run of {self.plan.kind.method} stays in its event loop. Start another one in this loop."
            )
        while not self.stopped:
            self.schedule.expire(monotonic())
            result = self.schedule.take()
            if result is not None:
                self.took(result)
                self._advance()
                return result
            if self.schedule.is_over:
                break
            event = anyio.Event()
            self._waiting.append(event)
            await event.wait()
        await self.aclose()
        self.conclude()
        return None

    def _start(self) -> None:
        if (problem := unsupported_loop()) is not None:
            raise ConfigurationError(problem)
        self.begin(is_limited=self._limiter is not None, cpu_s=time.thread_time)
        self.observe()
        self._place = current_loop()
        self._has_ended, self._changed = anyio.Event(), anyio.Event()
        self._soon = from_any_thread(self.stop)
        self._scope = anyio.CancelScope()
        self._http.runs.add(self)
        spawn(self._supervise)

    async def _supervise(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as self._group:
                    if isinstance(self._ids, AsyncIterable):
                        self._group.start_soon(self._read_async, self._ids)
                    while True:  # until it is canceled
                        self._changed = anyio.Event()
                        now = monotonic()
                        self.schedule.expire(now)
                        self._tell()
                        self._advance()
                        limit_s = self.schedule.wait_s(now)
                        goes_on = limit_s is None or not is_replaced()
                        with anyio.move_on_after(limit_s) if goes_on else limit_by_timer(limit_s or 0):
                            await self._changed.wait()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - it must reach the caller, and trio would end with it
            self._fail(error)
        finally:
            if not self.stopped:
                self._fail(ThriveError("The event loop ended the run. Request results while it runs."))
            self.stopped = True
            self.end_observation()
            self._has_ended.set()
            self._tell()

    def _tell(self) -> None:
        """Wake the caller that waits for a result."""
        while self._waiting:
            self._waiting.pop().set()

    def _advance(self) -> None:
        """Read as many IDs as allowed, and pass jobs to idle workers."""
        if self.stopped:
            return
        if self._slot is not None and (self.schedule.exhausted or self.schedule.may_read(monotonic())):
            self._slot.set()
        if not self._idle and self._workers == self.plan.concurrency:
            return
        if not isinstance(self._ids, AsyncIterable):
            self._read(self._ids)
        while self._idle or self._workers < self.plan.concurrency:
            job = self.schedule.next_job(monotonic())
            if job is None and self._has_permit():
                job = self.schedule.next_job(monotonic())
            if job is None:
                return
            if self._idle:
                seat = self._idle.pop()
                seat.job = job
                seat.event.set()
            else:
                self._workers += 1
                self._group.start_soon(self._run_worker, job)

    def _has_permit(self) -> bool:
        """Get a permit for the next request if it needs one. Return False if that takes time, or if not."""
        if self._limiter is None or not self.schedule.asks_for_permit(monotonic()):
            return False
        if self._limiter.goes_at_once():
            self.schedule.permit(0.0, monotonic())
            return True
        self._group.start_soon(self._get_permit, self._limiter)
        return False

    async def _get_permit(self, limiter: "AsyncLimiter") -> None:
        """Wait for the rate limit on behalf of the next request of the run."""
        waited: object = None
        try:
            waited = await limiter.wait(self.schedule.permit_budget(monotonic()))
        except Exception as error:  # noqa: BLE001 - a defect, which must reach the caller
            self._fail(error)
        self.schedule.permit(waited if isinstance(waited, float) else None, monotonic())
        self._advance()
        self._changed.set()

    def _read(self, ids: Iterator[Any]) -> None:
        while self.schedule.may_read(monotonic()):
            try:
                given = next(ids)
            except StopIteration:
                self.schedule.exhausted = True
            except Exception as error:  # noqa: BLE001 - from the caller's code
                self._end_of_ids(error)
            else:
                self.schedule.add(given)

    def _end_of_ids(self, error: Exception) -> None:
        if interruption(error) is None:
            self.end_of_ids(error)
        else:
            self._fail(error)

    async def _read_async(self, ids: AsyncIterable[str]) -> None:
        """Read IDs in one task from beginning to end, because their source may have scopes of its own.

        So the task is canceled only while it waits for an ID, and closes the source in the scopes that it
        began in.
        """
        with anyio.CancelScope(shield=True) as self._reading:
            source = aiter(ids)
            try:
                while not self.stopped and not self.schedule.exhausted:
                    if self.schedule.may_read(monotonic()):
                        self._waits_for_id = True
                        self.schedule.add(await anext(source))
                        self._waits_for_id = False
                        self.schedule.expire(monotonic())
                        self._advance()
                        self._tell()
                    else:
                        self._slot = anyio.Event()
                        await self._slot.wait()
                if isinstance(source, AsyncGenerator):  # an unfinished generator would cause a warning
                    await source.aclose()
            except StopAsyncIteration:
                self.schedule.exhausted = True
            except Exception as error:  # noqa: BLE001 - from the caller's code
                self._end_of_ids(error)
        self._tell()

    async def _run_worker(self, job: Job) -> None:
        with self.observed():
            while True:
                await self._do(job)
                job = await self._next_job()

    async def _next_job(self) -> Job:
        if not isinstance(self._ids, AsyncIterable):
            self._read(self._ids)
        job = self.schedule.next_job(monotonic())
        if job is not None:
            self._advance()  # the limit may have increased
            return job
        seat = _Seat()
        self._idle.append(seat)
        self._advance()
        await seat.event.wait()
        return cast("Job", seat.job)

    async def _do(self, job: Job) -> None:
        outcome: object
        try:
            budget = self.schedule.budget(job, monotonic())
            outcome = await self._fetch(job.activity_id, budget, job.history)
        except ThriveError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - a defect, which must reach the caller
            self._fail(error)
            return
        self.schedule.finish(job, outcome, monotonic())
        self.announce_pause()
        if isinstance(outcome, ThriveError):
            self._changed.set()  # wake the waiting caller
        self._tell()

    def _fail(self, error: BaseException) -> None:
        self.schedule.failure = self.schedule.failure or error
        self._tell()

    def stop(self) -> None:
        """Cancel every task without waiting."""
        self.stopped = True
        self._scope.cancel()
        if self._slot is not None:
            self._slot.set()
        if self._reading is not None and self._waits_for_id:
            self._reading.cancel()
        self._tell()

    def drop(self) -> None:
        """Stop, from any thread, because the garbage collector runs in any thread."""
        if self._soon is not None:
            self._soon()

    async def aclose(self) -> None:
        """End the run, and wait for its tasks. If others closed it, the next request for a result raises."""
        if not self.started:
            self.stopped = True
            self.begin(is_limited=False)
            return
        if current_loop() != self._place:
            self.drop()
            return
        self.note_closing(self._http.seam)
        self.stop()
        with anyio.move_on_after(CLOSING_S, shield=True):
            await self._has_ended.wait()


class AsyncResultStream(AsyncIterator[ActivityResult]):
    """The result of `activities.get_many`: an iterator of `ActivityResult` and a context manager.

    Use it in one event loop. It ends, and leaves no task and no connection open, when it is exhausted, when a
    task that waits for a result is canceled, when `aclose()` is called, at the end of its `async with` block,
    when the client closes, and when its last reference is dropped, as by `break` in an `async for` loop. All
    but the last wait for the end. After a `break`, the event loop ends it in its next steps.
    """

    def __init__(self, run: TaskRun) -> None:
        self._run = run
        weakref.finalize(self, run.drop)

    async def __anext__(self) -> ActivityResult:
        try:
            result: ActivityResult | None = await self._run.next()
        except BaseException as error:
            self._run.cut_off_by = type(error)
            await self.aclose()
            raise
        if result is None:
            raise StopAsyncIteration
        return result

    async def aclose(self) -> None:
        """Cancel the requests in flight and end the run. Closing again does nothing."""
        await self._run.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()
