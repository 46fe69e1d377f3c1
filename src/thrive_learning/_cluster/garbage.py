"""Saves the garbage collector the work of looking at modules again and again."""

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Generator

# Python 3.12 itself begins with some hundred such objects; a program that has called `gc.freeze()`, with
# thousands.
_OF_PYTHON = 1000


class _Blocks:
    """The blocks of this process in which older objects are ignored."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0


_blocks = _Blocks()


@contextlib.contextmanager
def ignoring_older_objects() -> Generator[None]:
    """Let the garbage collector ignore all objects that exist when a block begins, until it ends.

    A record is a few objects, so reading many causes full collections. In a worker, each would look at the
    modules of Dask, pandas, and pyarrow, which takes a tenth of the CPU time. Objects that become garbage are
    collected after the block instead. A program that has called `gc.freeze()` before keeps its choice. If it
    does so meanwhile, its objects are looked at again after the block, which only costs time.
    """
    blocks = _blocks
    with blocks.lock:
        ignores = blocks.count > 0 or gc.get_freeze_count() < _OF_PYTHON
        if ignores:
            blocks.count += 1
            if blocks.count == 1:
                gc.freeze()
    try:
        yield
    finally:
        if ignores and blocks is _blocks:  # in a forked child, it has ended already
            with blocks.lock:
                blocks.count -= 1
                if not blocks.count:
                    gc.unfreeze()


def _after_fork() -> None:
    """End all blocks in a forked child, whose threads it does not have, and which may hold the lock."""
    global _blocks  # noqa: PLW0603 - the garbage collector is one per process, too
    if _blocks.count:
        gc.unfreeze()
    _blocks = _Blocks()


# Without fork there is nothing to register, and dict() accepts the keyword silently.
_register: Callable[..., object] = getattr(os, "register_at_fork", dict)
_register(after_in_child=_after_fork)
