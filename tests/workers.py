"""Counts the threads and tasks of bulk runs, and waits until they end."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable

import anyio
import trio

#: How long a test waits for something that takes far less time, in seconds.
SAFETY_S = 20.0


def workers() -> int:
    """How many threads of runs there are; tasks are counted by `nothing_left`."""
    return sum(thread.name == "thrive-bulk" for thread in threading.enumerate())


def until(condition: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 5
    while not condition() and time.monotonic() < ends:
        time.sleep(0.01)
    return condition()


def tasks() -> int:
    """How many tasks the current event loop has."""
    if "trio" in sys.modules and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


async def until_it_is(count: int) -> None:
    """Wait until the current event loop has no more than so many tasks."""
    with anyio.fail_after(SAFETY_S):
        while tasks() > count:  # noqa: ASYNC110 - the end of a task has no event
            await anyio.sleep(0.001)
