"""Runs a blocking function in a thread, from async code."""

from collections.abc import Callable
from typing import TypeVar

from thrive_learning._interruptions import interruption

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
