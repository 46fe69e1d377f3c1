"""How tests wait for other threads and for time limits, so that none fails on a slow or busy machine."""

import time
from collections.abc import Callable, Iterator

import anyio

#: How long a test waits for something that takes far less time, in seconds.
PATIENCE_S = 60.0


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what other threads or processes do."""
    ends_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_at, "it has not happened"
        time.sleep(0.001)


async def wait_in_task_until(condition: Callable[[], object]) -> None:
    """Wait for what other tasks do, or other threads."""
    ends_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_at, "it has not happened"
        await anyio.sleep(0.001)


def growing_limits(first_s: float) -> Iterator[float]:
    """Yield a time limit that must pass, and longer ones as long as the caller continues.

    A slow machine may exhaust a short limit before the test has come as far as it must. Such a test begins
    again with the next limit, and breaks out of the loop when it has come far enough.
    """
    while first_s <= PATIENCE_S:
        yield first_s
        first_s *= 10
