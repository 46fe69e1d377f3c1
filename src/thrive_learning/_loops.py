"""The process and the event loop of the caller. Connections, locks, and tasks belong to one of each.

trio is looked up among the loaded modules, and only names that all its versions have are used. So a trio that
is installed but not in use changes nothing, whatever its version.
"""

import contextlib
import contextvars
import functools
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    import anyio

#: The oldest supported trio, whose `CancelScope.cancel` accepts the reason that anyio passes.
OLDEST_TRIO = (0, 31)

#: The ID of a process, and an event loop in it: an asyncio loop, a trio token, or None in sync code.
ProcessAndLoop = tuple[int, Any]


def current_process() -> ProcessAndLoop:
    """Return this process, without a loop. A forked child must not use the connections of its parent."""
    return os.getpid(), None


def current_loop() -> ProcessAndLoop:
    """Return this process and the event loop of this task. A connection works only in its own loop.

    Raises:
        RuntimeError: No event loop is running in this thread.
    """
    token = _trio_token()
    if token is not None:
        return os.getpid(), token
    return os.getpid(), _asyncio_loop()


def unsupported_loop() -> str | None:
    """Return why async calls do not work in the current event loop; None if they do.

    An old trio is a problem only where it is in use.
    """
    version: str = getattr(sys.modules.get("trio"), "__version__", "")
    if _is_supported_trio(version) or _trio_token() is None:
        return None
    return f"trio {version} is too old. Install trio {'.'.join(map(str, OLDEST_TRIO))} or newer."


@functools.lru_cache(maxsize=8)
def _is_supported_trio(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is None or (int(numbers[1]), int(numbers[2])) >= OLDEST_TRIO


def has_ended(owner: ProcessAndLoop) -> bool:
    """Return whether an event loop has ended. False for a process without a loop and for another process."""
    process, loop = owner
    if loop is None or process != os.getpid():
        return False
    if hasattr(loop, "is_closed"):
        return bool(loop.is_closed())
    try:
        loop.run_sync_soon(int)  # trio has no other way to check
    except RuntimeError:
        return True
    return False


class PerLoop(Generic[T]):
    """A value per process and event loop. Values of loops that have ended are dropped.

    Args:
        owner: Returns the caller's process and loop: `current_process` or `current_loop`.
        create: Creates a value. It is called at once for the first owner, so that an error is raised early.
    """

    def __init__(self, owner: Callable[[], ProcessAndLoop], create: Callable[[], T]) -> None:
        self._owner = owner
        self._create = create
        self._values: dict[ProcessAndLoop, T] = {}
        self._spare = [create()]

    def get(self) -> T:
        """Return the value of this process and event loop."""
        owner = self._owner()
        value = self._values.get(owner)
        if value is None:
            for ended in filter(has_ended, list(self._values)):
                self._values.pop(ended, None)
            try:
                value = self._spare.pop()
            except IndexError:
                value = self._create()
            # If two threads get here at once, both use the value that the first one stored.
            value = self._values.setdefault(owner, value)
        return value

    def take(self) -> list[T]:
        """Remove and return the value of this process and event loop, and one that was never used."""
        found, self._spare = self._spare, []
        with contextlib.suppress(RuntimeError, KeyError):  # no event loop is running, or it has no value
            found.append(self._values.pop(self._owner()))
        return found


class ThreadPermits:
    """Limits how many threads do something at once, ten times as fast as a semaphore."""

    def __init__(self, count: int) -> None:
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(count):
            self.release()

    def acquire(self, timeout_s: float) -> bool:
        """Wait for a permit for at most this many seconds. Return whether one was acquired."""
        try:
            self._permits.get(timeout=max(timeout_s, 0))
        except queue.Empty:
            return False
        return True

    def release(self) -> None:
        """Return a permit."""
        self._permits.put(None)


class TaskPermits:
    """Limits how many tasks of one event loop do something at once. See `ThreadPermits`."""

    def __init__(self, count: int) -> None:
        self._count = count

    @functools.cached_property
    def _permits(self) -> "anyio.Semaphore":
        import anyio  # noqa: PLC0415 - not needed by sync code

        return anyio.Semaphore(self._count)  # it belongs to the event loop that it is created in

    async def acquire(self, timeout_s: float) -> bool:
        """Wait for a permit for at most this many seconds. Return whether one was acquired."""
        if self._permits.value:
            self._permits.acquire_nowait()
            return True
        import anyio  # noqa: PLC0415 - see above

        with anyio.move_on_after(timeout_s):
            await self._permits.acquire()
            return True
        return False

    def release(self) -> None:
        """Return a permit."""
        self._permits.release()


def from_any_thread(callback: Callable[[], object]) -> Callable[[], object]:
    """Return a function that runs a callback in the current event loop and may be called in any thread.

    It does nothing if the loop has ended.

    Raises:
        RuntimeError: No event loop is running in this thread.
    """
    token = _trio_token()
    if token is not None:
        schedule: Callable[..., object] = token.run_sync_soon
    else:
        schedule = _asyncio_loop().call_soon_threadsafe

    def run_soon() -> None:
        with contextlib.suppress(RuntimeError):  # trio's RunFinishedError is a RuntimeError as well
            schedule(callback)

    return run_soon


@contextlib.contextmanager
def limit_by_timer(limit_s: float) -> "Generator[anyio.CancelScope]":
    """Cancel the block after this many seconds, even if the loop's clock is frozen."""
    import anyio  # noqa: PLC0415 - not needed by sync code

    with anyio.CancelScope() as scope:
        timer = threading.Timer(limit_s, from_any_thread(scope.cancel))
        timer.daemon = True
        timer.start()
        try:
            yield scope
        finally:
            timer.cancel()


async def sleep_by_timer(delay_s: float) -> None:
    """Sleep for this many seconds, even if the loop's clock is frozen."""
    import anyio  # noqa: PLC0415 - see above

    with limit_by_timer(delay_s):
        await anyio.sleep_forever()


def spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start a task in the current event loop, outside of the caller's scopes. `work` must not raise.

    Raises:
        RuntimeError: No event loop is running in this thread.
    """
    if _trio_token() is not None:
        sys.modules["trio"].lowlevel.spawn_system_task(work, context=contextvars.copy_context())
    else:
        task = _asyncio_loop().create_task(work())
        _tasks.add(task)  # the loop alone would allow its collection
        task.add_done_callback(_tasks.discard)


_tasks: set[Any] = set()


def _trio_token() -> Any:
    """Return the token of the trio run of this task; None if it is not a task of trio.

    trio 0.28 and older do not have `in_trio_task`. `in_trio_run` is not used, because it is also true in
    tasks of asyncio while trio runs as its guest.
    """
    trio = sys.modules.get("trio")
    try:
        lowlevel: Any = trio.lowlevel  # type: ignore[union-attr]  # None has no `lowlevel`
        if hasattr(lowlevel, "in_trio_task"):
            return lowlevel.current_trio_token() if lowlevel.in_trio_task() else None
        lowlevel.current_task()
    except (AttributeError, RuntimeError):  # not loaded, still being imported, or not in use here
        return None
    return lowlevel.current_trio_token()


def _asyncio_loop() -> Any:
    import asyncio  # noqa: PLC0415 - already loaded in async code, and not needed by sync code

    return asyncio.get_running_loop()
