"""The process of one contender: `python -m benchmarks.worker sync|async|walk NAME API_URL`.

It creates its client, checks the result of a call, and prints `ready`, or the problem. Then each line of
stdin is a number of calls to make, and each line of stdout has their times as JSON.
"""

import asyncio
import contextlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.contenders import GROUPS, AsyncGet, Get
from benchmarks.subject import mismatch

#: Calls before each batch, because libraries may close idle connections, and the processor's caches are cold.
_WARM_UP_CALLS = 3


def taken(cpu_s: float, wall_s: float) -> dict[str, float]:
    """Return the time since a moment. The CPU time is that of all threads."""
    return {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}


def batch(get: Get, calls: int) -> dict[str, float]:
    """Make calls one after the other."""
    for _ in range(_WARM_UP_CALLS):
        get()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(calls):
        get()
    return taken(cpu_s, wall_s)


async def async_batch(get: AsyncGet, calls: int) -> dict[str, float]:
    """Make calls one after the other, in one task."""
    for _ in range(_WARM_UP_CALLS):
        await get()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(calls):
        await get()
    return taken(cpu_s, wall_s)


def serve(run: Callable[[int], dict[str, float]], first: object) -> None:
    """Make the number of calls on each line of stdin."""
    if problem := mismatch(first):
        raise ValueError(problem)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(int(line))), flush=True)


def main(group: str, name: str, api_url: str) -> None:
    """Run as a contender until stdin ends."""
    [contender] = (contender for contender in GROUPS[group] if contender.name == name)
    if group != "async":
        get = contender.build(api_url)
        serve(lambda calls: batch(get, calls), get())
        return
    with asyncio.Runner() as runner:

        async def built() -> Any:
            get = contender.build(api_url)
            return get, await get()

        async_get, first = runner.run(built())
        if not inspect.iscoroutinefunction(async_get):
            raise TypeError(f"{name} does not return a coroutine function")
        serve(lambda calls: runner.run(async_batch(async_get, calls)), first)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        with contextlib.suppress(OSError):
            print(json.dumps({"ready": False, "reason": f"{type(error).__name__}: {error}"}), flush=True)
        raise
    sys.stdout.flush()
    os._exit(0)  # clients are left open, about which some print long messages
