"""Loaded by worker processes that the command starts on this machine."""

import atexit
import gc
import signal


def dask_setup(_worker: object) -> None:
    """Ignore the Ctrl-C of a terminal. The command ends its workers after it has saved what it has."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Otherwise, the garbage collector looks at all modules of Dask, pandas, and pyarrow when a process ends.
    # That takes seconds on a busy machine, and distributed kills workers that have not ended after a few.
    atexit.register(gc.freeze)
