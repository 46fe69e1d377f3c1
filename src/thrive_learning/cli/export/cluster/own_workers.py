"""Loaded by worker processes that the command starts on this machine."""

import signal


def dask_setup(_worker: object) -> None:
    """Ignore the Ctrl-C of a terminal. The command ends its workers after it has saved what it has."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
