"""Saves the garbage collector the work of looking at modules again and again."""

import contextlib
import gc
import threading
from collections.abc import Generator

# Python 3.12 itself begins with some hundred such objects; a program that has called `gc.freeze()`, with
# thousands.
_OF_PYTHON = 1000

_lock = threading.Lock()
_blocks = 0


@contextlib.contextmanager
def ignoring_older_objects() -> Generator[None]:
    """Let the garbage collector ignore all objects that exist when a block begins, until it ends.

    A record is a few objects, so reading many causes full collections. In a worker, each would look at the
    modules of Dask, pandas, and pyarrow, which takes a tenth of the CPU time. Objects that become garbage are
    collected after the block instead. A program that has called `gc.freeze()` itself keeps its choice.
    """
    global _blocks  # noqa: PLW0603 - the garbage collector is one per process, too
    with _lock:
        ignores = _blocks > 0 or gc.get_freeze_count() < _OF_PYTHON
        if ignores:
            _blocks += 1
            if _blocks == 1:
                gc.freeze()
    try:
        yield
    finally:
        if ignores:
            with _lock:
                _blocks -= 1
                if not _blocks:
                    gc.unfreeze()
