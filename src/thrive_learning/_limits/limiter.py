"""Makes requests wait for the rate limit, in sync and async code. `line` decides for both."""

import contextlib
import functools
import queue
import threading
from collections.abc import Callable

from thrive_learning._clock import is_replaced
from thrive_learning._limits.line import RESERVE, Limiter, LimitTurn, Patience, TooLong
from thrive_learning._loops import from_any_thread, limit_by_timer
from thrive_learning._threads import run_in_thread


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
                    turn.reserved(turn.reserve(longest_s), longest_s)
                else:
                    place.wait(step)
        finally:
            turn.end()
        return turn.outcome or 0.0

    def slow(self, pause_s: float, per_second: float | None, for_s: float) -> None:
        """Send nothing for some seconds, and less than usual for others, as the server asks."""
        self.reservations.slow(pause_s, per_second, for_s)
        if pause_s > 0:
            self.paused(pause_s)


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

    def goes_at_once(self) -> bool:
        """Return whether a request may be sent now, and count it. False if that takes a thread."""
        return not self.reservations.blocks and super().goes_at_once()

    async def wait(self, patience: Patience) -> float | TooLong:
        """Wait until a request may be sent, and count it. See `SyncLimiter.wait`."""
        place = TaskPlace()
        turn = LimitTurn(self, patience, place)
        try:
            turn.begin()
            while (step := turn.step()) is not None:
                if step == RESERVE:
                    longest_s = turn.longest_s
                    turn.reserved(await self._reserve(turn.reserve, longest_s), longest_s)
                else:
                    await place.wait(step)
        finally:
            turn.end()
        return turn.outcome or 0.0

    async def _reserve(self, reserve: Callable[[float], float | None], longest_s: float) -> float | None:
        if not self.reservations.blocks:
            return reserve(longest_s)
        return await run_in_thread(functools.partial(reserve, longest_s))

    async def slow(self, pause_s: float, per_second: float | None, for_s: float) -> None:
        """Send nothing for some seconds, and less than usual for others, as the server asks."""
        slow = functools.partial(self.reservations.slow, pause_s, per_second, for_s)
        if self.reservations.blocks:
            await run_in_thread(slow)
        else:
            slow()
        if pause_s > 0:
            self.paused(pause_s)
