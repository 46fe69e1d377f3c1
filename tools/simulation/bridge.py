"""Runs blocking code of the SDK on simulated time, with an async client in place of a sync one.

Planning and reading are written for threads. Here, they run in a thread while the event loop waits for the
thread's next step in real time, so that simulated time does not pass, and only one of both runs.
"""

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from thrive_learning import AsyncThriveClient

T = TypeVar("T")

# How many records are passed from the loop to the thread at once. It changes nothing but the real time.
_AT_ONCE = 1000

#: Waits for an asynchronous call in a thread of `in_steps`.
Await = Callable[[Callable[[], Awaitable[Any]]], Any]


async def in_steps(work: Callable[[Await], T]) -> T:
    """Run blocking code in a thread, and its asynchronous calls here.

    Args:
        work: The code. It gets a function that runs an asynchronous call and returns its result.
    """
    calls: queue.SimpleQueue[Callable[[], Awaitable[Any]] | None] = queue.SimpleQueue()
    replies: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def wait_for(call: Callable[[], Awaitable[Any]]) -> Any:
        calls.put(call)
        value, error = replies.get()
        if error is not None:
            raise error
        return value

    def begin() -> None:
        try:
            outcome.append(work(wait_for))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failure.append(error)
        calls.put(None)

    thread = threading.Thread(target=begin, daemon=True)
    thread.start()
    while (call := calls.get()) is not None:
        try:
            replies.put((await call(), None))
        except Exception as error:  # noqa: BLE001 - the thread raises it
            replies.put((None, error))
        except BaseException as error:  # the thread ends with it, and may try to make more calls
            replies.put((None, error))
            while calls.get() is not None:
                replies.put((None, error))
            raise
    thread.join()
    if failure:
        raise failure[0]
    result: T = outcome[0]
    return result


class BlockingClient:
    """An async client for code in a thread of `in_steps`.

    Args:
        client: The client.
        wait_for: Waits for an asynchronous call.
    """

    def __init__(self, client: AsyncThriveClient, wait_for: Await) -> None:
        self._client = client
        self._wait_for = wait_for

    @property
    def activities(self) -> Self:
        """This object, which has the methods of `client.activities` that are needed."""
        return self

    def list(self, **options: Any) -> Any:
        """Get one page. See `Activities.list`."""
        return self._wait_for(lambda: self._client.activities.list(**options))

    def iterate(self, **options: Any) -> "BlockingStream":
        """Get all records. See `Activities.iterate`."""
        return BlockingStream(self._client.activities.iterate(**options), self._wait_for)


class BlockingStream:
    """The result of `BlockingClient.iterate`."""

    def __init__(self, stream: Any, wait_for: Await) -> None:
        self._stream = stream
        self._wait_for = wait_for

    @property
    def unreadable(self) -> int:
        """The number of items that were left out."""
        number: int = self._stream.unreadable
        return number

    def __iter__(self) -> Iterator[Any]:
        while records := self._wait_for(self._next):
            yield from records

    async def _next(self) -> list[Any]:
        found: list[Any] = []
        async for record in self._stream:
            found.append(record)
            if len(found) == _AT_ONCE:
                break
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._wait_for(self._stream.aclose)
