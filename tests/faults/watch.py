"""Measures a test of faults, and checks that nothing is left behind."""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio
from harness import Flavour
from patience import PATIENCE_S

#: The worst overrun of a deadline in seconds, by flavour, and the scenario that it happened in.
OVERRUNS: dict[str, tuple[float, str]] = {}
#: Whatever else a test measured.
FIGURES: dict[str, str] = {}


def note_overrun(flavour: Flavour, seconds: float, scenario: str) -> None:
    OVERRUNS[flavour.name] = max(OVERRUNS.get(flavour.name, (0.0, "")), (seconds, scenario))


def add_those_of(worker: dict[str, Any]) -> None:
    """Take over what another process of the same run has measured."""
    for name, (seconds, scenario) in worker["overruns"].items():
        OVERRUNS[name] = max(OVERRUNS.get(name, (0.0, "")), (seconds, scenario))
    FIGURES.update(worker["figures"])


def _threads() -> int:
    # Threads that resolve names belong to the event loops, which remain.
    names = [thread.name for thread in threading.enumerate()]
    return len([name for name in names if not name.lower().startswith(("asyncio", "trio", "anyio"))])


def _tasks(flavour: Flavour) -> int:
    if flavour._portal is None:
        return 0
    if flavour.name.startswith("asyncio"):
        return flavour._portal.call(lambda: len(asyncio.all_tasks()))
    return flavour._portal.call(lambda: trio.lowlevel.current_statistics().tasks_living)


def _count(flavour: Flavour) -> tuple[int, int, int]:
    return len(list(Path("/dev/fd").iterdir())), _threads(), _tasks(flavour)


@contextlib.contextmanager
def nothing_left(flavour: Flavour) -> Iterator[None]:
    """Fail if a socket, thread or task is there afterwards that was not there before.

    Objects that only wait for the garbage collector cause a ResourceWarning, which is an error here.
    """
    before = after = _count(flavour)
    yield
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        # The look that is well is the last: the server may yet accept a connection that was closed long ago.
        after = _count(flavour)
        if not _has_grown(before, after):
            break
        time.sleep(0.01)
    gc.collect()
    assert not _has_grown(before, after), f"(sockets and files, threads, tasks) were {before} and are {after}"


def _has_grown(before: tuple[int, int, int], after: tuple[int, int, int]) -> bool:
    return any(now > then for then, now in zip(before, after, strict=True))
