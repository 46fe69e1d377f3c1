"""Runs a blocking function in a thread, so that its caller can leave it."""

import contextvars
import functools
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from thrive_learning._clock import is_replaced
from thrive_learning._interruptions import interruption
from thrive_learning._loops import limit_by_timer

T = TypeVar("T")


async def run_in_thread(operation: Callable[[], T]) -> T:
    """Run a blocking function in a thread of its own, and leave it running when canceled.

    If no thread can be started, it runs here and blocks the event loop meanwhile.
    """
    import anyio.to_thread  # noqa: PLC0415 - most clients have no store

    has_begun = False

    def begin() -> T:
        nonlocal has_begun
        has_begun = True
        return operation()

    try:
        limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(begin, abandon_on_cancel=True, limiter=limiter)
    except RuntimeError as error:
        if has_begun or interruption(error) is not None:
            raise
    return operation()


async def arun_in_time(operation: Callable[[], T], limit_s: float) -> list[T]:
    """Run a blocking function in a thread, from async code. See `run_in_time`."""
    import anyio  # noqa: PLC0415 - most clients have no store

    # The end of the process waits for threads of anyio, so such a thread does not wait for the function.
    work = functools.partial(run_in_time, operation, limit_s)
    with limit_by_timer(limit_s) if is_replaced() else anyio.move_on_after(limit_s):
        return await run_in_thread(work)
    return []


def run_in_time(operation: Callable[[], T], limit_s: float) -> list[T]:
    """Run a blocking function in a thread of its own, from sync code, and leave it running if it takes long.

    If no thread can be started, it runs here, without a time limit.

    Args:
        operation: The function.
        limit_s: The time limit, in seconds.

    Returns:
        Its result in a list, which is empty if it takes longer.
    """
    work = _Work(operation)
    try:
        work.start()
    except RuntimeError as error:
        if interruption(error) is not None:
            raise
        work.run()
    try:
        results, failure = work.outcomes.get(timeout=min(max(limit_s, 0.0), threading.TIMEOUT_MAX))
    except queue.Empty:
        return []
    if failure is not None:
        raise failure
    return results


class _Work(threading.Thread, Generic[T]):
    """Runs a function. It is a daemon, because the end of the process must not wait for it."""

    def __init__(self, operation: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self.outcomes: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()
        self._operation = operation
        self._context = contextvars.copy_context()

    def run(self) -> None:
        # In two steps, because freezegun does not replace clocks within five calls of `threading`.
        self._context.run(self._carry_out)

    def _carry_out(self) -> None:
        try:
            self.outcomes.put(([self._operation()], None))
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            self.outcomes.put(([], error))
