"""Runs a blocking function in a thread, so that its caller can leave it.

A thread that has ended its work waits for more for a while, because a store may keep connections per thread.
A function that does not return keeps its thread, and the next one gets another.
"""

import contextlib
import contextvars
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from thrive_learning._clock import is_replaced
from thrive_learning._interruptions import interruption
from thrive_learning._loops import from_any_thread, limit_by_timer

T = TypeVar("T")

# How long a thread waits for another function, in seconds.
_IDLE_S = 10.0


async def arun_in_time(operation: Callable[[], T], limit_s: float) -> list[T]:
    """Run a blocking function in a thread, from async code. See `run_in_time`."""
    import anyio  # noqa: PLC0415 - most clients have no store

    has_ended = anyio.Event()
    work = _Work(operation, from_any_thread(has_ended.set))
    work.begin()
    with limit_by_timer(limit_s) if is_replaced() else anyio.move_on_after(limit_s):
        await has_ended.wait()
    return work.results(0.0)


def run_in_time(operation: Callable[[], T], limit_s: float) -> list[T]:
    """Run a blocking function in a thread, from sync code, and leave it running if it takes long.

    If no thread can be started, it runs here, without a time limit.

    Args:
        operation: The function.
        limit_s: The time limit, in seconds.

    Returns:
        Its result in a list, which is empty if it takes longer.
    """
    work = _Work(operation)
    work.begin()
    return work.results(min(max(limit_s, 0.0), threading.TIMEOUT_MAX))


def start_thread(thread: threading.Thread) -> str | None:
    """Start a thread, and let the exception of a signal handler pass.

    Returns:
        Why the thread cannot be started; None if it was started.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if interruption(error) is not None:
            raise
        return f"{error}"
    except KeyError as error:
        # Of `threading` itself, if a handler raises in `start` after the thread has begun.
        raised = error.__context__
        if raised is None or interruption(raised) is None:
            raise
    else:
        return None
    raise raised


class _Work(Generic[T]):
    """A function for a thread, and what became of it."""

    def __init__(self, operation: Callable[[], T], on_end: Callable[[], object] = int) -> None:
        self._operation = operation
        self._on_end = on_end
        self._context = contextvars.copy_context()
        self._outcomes: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()

    def begin(self) -> None:
        """Start the function in a thread, or run it here if no thread can be started."""
        try:
            _idle.pop().works.put(self)
        except IndexError:
            thread = _Thread()
            thread.works.put(self)
            if start_thread(thread) is not None:
                self.end(self.run())

    def run(self) -> tuple[list[T], BaseException | None]:
        # In two steps, because freezegun does not replace clocks within five calls of `threading`.
        return self._context.run(self._outcome)

    def _outcome(self) -> tuple[list[T], BaseException | None]:
        try:
            return [self._operation()], None
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            return [], error

    def end(self, outcome: tuple[list[T], BaseException | None]) -> None:
        self._outcomes.put(outcome)
        self._on_end()

    def results(self, limit_s: float) -> list[T]:
        try:
            results, failure = self._outcomes.get(timeout=limit_s)
        except queue.Empty:
            return []
        if failure is not None:
            raise failure
        return results


class _Thread(threading.Thread):
    """Runs functions. It is a daemon, because the end of the process must not wait for it."""

    def __init__(self) -> None:
        super().__init__(name="thrive-store", daemon=True)
        self.works: queue.SimpleQueue[_Work[Any] | None] = queue.SimpleQueue()

    def run(self) -> None:
        while (work := self._next()) is not None:
            outcome = work.run()
            _idle.append(self)  # first, so that the next function of the same caller gets this thread
            work.end(outcome)
            del work, outcome  # which may hold a token

    def _next(self) -> _Work[Any] | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self.works.get(timeout=_IDLE_S)
            with contextlib.suppress(ValueError):  # it was taken at this moment
                _idle.remove(self)
                return None


# The threads without a function. The one at the end was used last.
_idle: list[_Thread] = []


def _end_idle() -> None:
    """End the threads without a function before a fork, because Python warns if there are other threads."""
    with contextlib.suppress(IndexError):
        while True:
            thread = _idle.pop()
            thread.works.put(None)
            thread.join(1.0)


# Without fork there is nothing to register, and dict() accepts the keywords silently.
_register: Callable[..., object] = getattr(os, "register_at_fork", dict)
_register(before=_end_idle, after_in_child=_idle.clear)
