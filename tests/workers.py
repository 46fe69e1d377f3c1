"""Counts the threads and tasks of bulk runs, and waits until they end."""

import asyncio
import sys
import threading

import trio
from patience import wait_in_task_until


def workers() -> int:
    """How many threads of runs there are; tasks are counted by `nothing_left`."""
    return sum(thread.name == "thrive-bulk" for thread in threading.enumerate())


def tasks() -> int:
    """How many tasks the current event loop has."""
    if "trio" in sys.modules and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


async def until_it_is(count: int) -> None:
    """Wait until the current event loop has no more than so many tasks."""
    await wait_in_task_until(lambda: tasks() <= count)
