"""Loaded by worker processes that the command starts on this machine. They do nothing but write parts."""

import gc
import importlib
import signal


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C, and let the garbage collector ignore all modules.

    A terminal's Ctrl-C reaches workers as well, which the command ends after it has saved what it has. The
    modules of Dask and pyarrow never become garbage, but each full collection looks at them, which takes a
    tenth of the CPU time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in ("thrive_learning.cli.export.cluster.parts", "pyarrow.parquet"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
