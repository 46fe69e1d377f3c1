"""Makes requests wait for the rate limit, in sync and async code. `line` decides for both."""

import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from thrive_learning._clock import is_replaced
from thrive_learning._limits.line import RESERVE, Limiter, LimitTurn, Patience, TooLong
from thrive_learning._limits.server_limits import Slow
from thrive_learning._loops import from_any_thread, limit_by_timer
from thrive_learning._store_reports import ANSWER_S
from thrive_learning._threads import arun_in_time, run_in_time

T = TypeVar("T")


class ThreadPlace:
    """Where a thread waits in line."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def cut(self) -> None:
        """Wake the thread, from any thread."""
        self._calls.put(None)

    def wait(self, limit_s: float) -> None:
        """Wait until the thread is woken, for at most this many seconds."""
        with contextlib.suppress(queue.Empty):
            self._calls.get(timeout=min(limit_s, threading.TIMEOUT_MAX))


class SyncLimiter(Limiter):
    """The line of a sync client."""

    def wait(self, patience: Patience) -> float | TooLong:
        """Wait until a request may be sent, and count it. Return the seconds that it waited.

        It also returns if the client closes.
        """
        place = ThreadPlace()
        turn = LimitTurn(self, patience, place)
        try:
            turn.begin()
            while (step := turn.step()) is not None:
                if step == RESERVE:
                    longest_s = turn.longest_s
                    take = functools.partial(self.reservations.take_in_store, longest_s)
                    turn.reserved(self._ask(take, longest_s), longest_s)
                else:
                    place.wait(step)
        finally:
            turn.end()
        return turn.outcome or 0.0

    def slow(self, slow: Slow, longest_s: float) -> None:
        """Apply what the server asks for. Wait for the store for at most `longest_s` seconds."""
        self._ask(functools.partial(self.reservations.slow, *slow), longest_s)
        self.paused(slow.pause_s)

    def _ask(self, operation: Callable[[], T], longest_s: float) -> T | None:
        """Return the answer of the store; None if it takes too long."""
        if not self.reservations.blocks:
            return operation()
        limit_s = min(longest_s, ANSWER_S)
        for answer in run_in_time(operation, limit_s):
            return answer
        self.reservations.late(limit_s)
        return None


class TaskPlace:
    """Where a task waits in line."""

    __slots__ = ("_event", "_wake_soon")

    def __init__(self) -> None:
        import anyio  # noqa: PLC0415 - not needed by sync code

        self._event = anyio.Event()
        self._wake_soon = from_any_thread(self._wake)

    def cut(self) -> None:
        """Wake the task, from any thread."""
        self._wake_soon()

    def _wake(self) -> None:
        self._event.set()

    async def wait(self, limit_s: float) -> None:
        """Wait until the task is woken, for at most this many seconds."""
        import anyio  # noqa: PLC0415 - see above

        with limit_by_timer(limit_s) if is_replaced() else anyio.move_on_after(limit_s):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()


class AsyncLimiter(Limiter):
    """The line of an async client, for all its event loops."""

    async def wait(self, patience: Patience) -> float | TooLong:
        """Wait until a request may be sent, and count it. See `SyncLimiter.wait`."""
        place = TaskPlace()
        turn = LimitTurn(self, patience, place)
        try:
            turn.begin()
            while (step := turn.step()) is not None:
                if step == RESERVE:
                    longest_s = turn.longest_s
                    take = functools.partial(self.reservations.take_in_store, longest_s)
                    turn.reserved(await self._ask(take, longest_s), longest_s)
                else:
                    await place.wait(step)
        finally:
            turn.end()
        return turn.outcome or 0.0

    async def slow(self, slow: Slow, longest_s: float) -> None:
        """Apply what the server asks for. See `SyncLimiter.slow`."""
        await self._ask(functools.partial(self.reservations.slow, *slow), longest_s)
        self.paused(slow.pause_s)

    async def _ask(self, operation: Callable[[], T], longest_s: float) -> T | None:
        """Return the answer of the store; None if it takes too long."""
        if not self.reservations.blocks:
            return operation()
        limit_s = min(longest_s, ANSWER_S)
        for answer in await arun_in_time(operation, limit_s):
            return answer
        self.reservations.late(limit_s)
        return None
