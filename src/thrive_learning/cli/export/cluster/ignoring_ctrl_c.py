"""Loaded by worker processes on this machine, which a terminal's Ctrl-C reaches as well.

The command ends them after it has saved what it has.
"""

import signal


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C in a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
