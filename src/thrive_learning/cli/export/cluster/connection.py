"""Connect to a Dask cluster, or start one on this machine, and check that it can do the work."""

import contextlib
import functools
import importlib
import logging
import multiprocessing
import secrets
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from thrive_learning._clock import monotonic
from thrive_learning._cluster.versions import check_versions
from thrive_learning.cli.export.cluster.parts import meet
from thrive_learning.cli.export.paths import OutputError, explained
from thrive_learning.cli.regular_files import create
from thrive_learning.cli.terminal import say
from thrive_learning.errors import ConfigurationError, ConnectionFailedError, ThriveError

#: The address for a cluster on this machine.
LOCAL = "local"

#: The time limits for a connection to the scheduler, and for its first worker.
CONNECT_S, FIRST_WORKER_S = 10.0, 30.0

#: The time limits for killing a worker of this machine, and for ending the cluster. Without them, a worker
#: that dies at the same time could stop the command forever.
KILL_S, CLOSE_S = 2.0, 10.0

#: How often the start of a cluster on this machine is tried.
START_ATTEMPTS = 3

#: How long a file of another machine may take until it is visible here. NFS caches the entries of folders.
VISIBLE_S = 60.0

_Result = TypeVar("_Result")


def check_address(address: str) -> None:
    """Check the value of --dask.

    Raises:
        click.UsageError: The value is not valid.
    """
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if address != LOCAL and not (scheme in ("tcp", "tls") and host and port.isascii() and port.isdigit()):
        raise click.UsageError(
            f"--dask is {address!r}. Use {LOCAL!r} for worker processes on this machine, or the address of a "
            "scheduler, such as tcp://scheduler.example:8786."
        )


@contextlib.contextmanager
def connected(
    address: str, workers: int | None, ends_at: float, *, quiet: bool
) -> Generator[Any, None, None]:
    """Connect to a cluster within a block, or start one.

    The block gets a `distributed.Client`; None if the deadline is reached before the cluster has a worker.

    Args:
        address: `local`, or the address of a scheduler.
        workers: The number of worker processes on this machine; None for one per core.
        ends_at: When the deadline of the export is, by the monotonic clock.
        quiet: Do not say why the deadline was reached.

    Raises:
        ConfigurationError: The extra is not installed, or a worker has other versions.
        ConnectionFailedError: The scheduler cannot be reached, or has no workers.
    """
    distributed = _distributed()
    try:
        with contextlib.ExitStack() as opened:
            if address == LOCAL:
                cluster = opened.enter_context(_local(distributed, workers))
                client = distributed.Client(cluster, set_as_default=False)
            else:
                limit_s = _limit(CONNECT_S, ends_at)
                client = _within(
                    limit_s,
                    lambda: distributed.Client(address, timeout=limit_s, set_as_default=False),
                    address,
                )
            opened.enter_context(contextlib.closing(client))
            advice = _advice_for(client, address, ends_at)
            if advice is not None:
                if not quiet:
                    say(advice)
                yield None
                return
            check_versions(client)
            if address == LOCAL:  # in a cluster of one process, each record would come back to its worker
                client.forward_logging("thrive_learning", logging.WARNING)
            yield client
    except OSError as error:  # of distributed, because those of files were converted
        problem = str(error) or type(error).__name__
    else:
        return
    raise ConnectionFailedError(
        f"the connection to the Dask scheduler was lost ({problem}). Run the same command with --resume."
    )


def _distributed() -> Any:
    try:
        for package in ("cryptography", "pyarrow"):
            importlib.import_module(package)
        # Its loggers are set up when it is imported. The command has its own messages.
        quiet = dict.fromkeys(("distributed", "distributed.client"), "critical")
        importlib.import_module("dask.config").set({"logging": quiet})
        return importlib.import_module("distributed")
    except ImportError as error:
        problem = (
            f"--dask needs the extra 'dask' ({error.name} is not installed). "
            "Install it with: python3 -m pip install 'thrive-learning[cli,dask]'"
        )
    raise ConfigurationError(problem)


@contextlib.contextmanager
def _local(distributed: Any, workers: int | None) -> Generator[Any, None, None]:
    """Start a cluster of worker processes, which end with a block, or with this process."""
    # Nobody sees the profiles of its workers, which take a twentieth of their CPU time.
    importlib.import_module("dask.config").set({"distributed.worker.profile.enabled": False})
    start = functools.partial(
        distributed.LocalCluster,
        n_workers=workers or importlib.import_module("dask.system").CPU_COUNT,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        preload=[f"{__package__}.own_workers"],
        # A scheduler runs whatever is sent to it, also by other users of this machine.
        security=distributed.Security.temporary(),
    )
    cluster = _started(start)
    try:
        yield cluster
    except BaseException:
        for nanny in [*cluster.workers.values()]:  # which would wait five seconds for an unfinished task
            with contextlib.suppress(Exception):
                cluster.sync(nanny.kill, timeout=0, callback_timeout=KILL_S)
        raise
    finally:
        with contextlib.suppress(Exception):  # such as the KeyError of distributed if a worker dies meanwhile
            cluster.close(timeout=CLOSE_S)


def _started(start: Callable[[], Any]) -> Any:
    """Return a cluster that has been started. It is tried again if a worker dies meanwhile.

    Raises:
        ConnectionFailedError: It cannot be started.
    """
    problem = ""
    for _ in range(START_ATTEMPTS):
        try:
            return _shielded(start)
        except RuntimeError as error:
            problem = str(error.__cause__ or error)
    raise ConnectionFailedError(
        f"the worker processes did not start, although it was tried {START_ATTEMPTS} times ({problem}). "
        "Check the memory and the limits of this machine."
    )


def _shielded(start: Callable[[], Any]) -> Any:
    """Start a cluster whose processes do not get the Ctrl-C of a terminal, even before they ignore it."""
    run = _InThread(start)
    try:
        run.wait()
    except KeyboardInterrupt:
        end = monotonic() + CONNECT_S
        has_ended = False
        while not has_ended and monotonic() < end:
            for process in multiprocessing.active_children():
                process.kill()
            has_ended = run.wait(1.0)
        for cluster in run.found:
            cluster.close()
        raise
    if run.failures:
        raise run.failures[0]
    return run.found[0]


def _limit(most_s: float, ends_at: float) -> float:
    """Return a time limit that ends with the deadline of the export. For distributed, 0 would be no limit."""
    return max(0.1, min(most_s, ends_at - monotonic()))


def _within(limit_s: float, connect: Callable[[], _Result], address: str) -> _Result:
    """Connect within a time limit, which distributed does not keep if another server listens there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # versions are compared below
        run = _InThread(connect)
        run.wait(2 * limit_s)
    if run.found:
        return run.found[0]
    problem = "".join(f": {str(failure) or type(failure).__name__}" for failure in run.failures)
    raise ConnectionFailedError(
        f"cannot connect to a Dask scheduler at {address}{problem}. Check the address, and whether the "
        "scheduler is running."
    )


class _InThread(Generic[_Result]):
    """A function that runs in a thread, without Ctrl-C for the processes that it starts.

    Attributes:
        found: What it has returned, if it has.
        failures: What it has raised, if it has.
    """

    def __init__(self, function: Callable[[], _Result]) -> None:
        self.found: list[_Result] = []
        self.failures: list[BaseException] = []
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # child processes inherit it from the thread that starts them
            resource_tracker.ensure_running()  # the first child process needs it, and its start ends the mask
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.found.append(self._function())
        except BaseException as error:  # noqa: BLE001 - bytes of another protocol cause errors of every kind
            self.failures.append(error)

    def wait(self, limit_s: float | None = None) -> bool:
        """Wait until it has ended, at most for so many seconds, and return whether it has ended."""
        self._thread.join(limit_s)
        return not self._thread.is_alive()


def _advice_for(client: Any, address: str, ends_at: float) -> str | None:
    """Wait for a worker. Return what to do about it if the deadline is reached before, and None otherwise.

    Raises:
        ConnectionFailedError: None has started within the usual time limit.
    """
    limit_s = _limit(FIRST_WORKER_S, ends_at)
    try:
        client.wait_for_workers(1, timeout=limit_s)
    except TimeoutError:
        problem = f"the Dask scheduler at {address} has no workers"
    else:
        return None
    advice = f"Start one with: dask worker {address}"
    if limit_s < FIRST_WORKER_S:
        return f"{problem}. {advice}"
    raise ConnectionFailedError(f"{problem} after {limit_s:.0f} s. {advice}")


def check_shared(client: Any, folder: Path) -> None:
    """Check that each worker sees a file that was written here, and the other way around.

    Args:
        client: The connection.
        folder: The folder for such files.

    Raises:
        ConfigurationError: The folder is not shared.
        OutputError: The folder cannot be written, here or by a worker.
    """
    mine = folder / f".thrive-{secrets.token_hex(8)}.tmp"
    with explained(mine):
        create(mine).close()
    try:
        for worker, answer in client.run(meet, mine, on_error="return").items():
            if isinstance(answer, ThriveError):
                raise OutputError(f"worker {worker}: {answer}")
            # Another exception means that the worker has just left. Its successors check the plan.
            if isinstance(answer, Path) and not is_visible(answer):
                raise ConfigurationError(
                    f"the worker {worker} has written {answer}, and this machine cannot see it. Choose a "
                    "folder that this machine and all workers share, at the same path."
                )
            if isinstance(answer, Path) and answer.parent == folder:
                answer.unlink(missing_ok=True)
    finally:
        mine.unlink(missing_ok=True)


def is_visible(path: Path) -> bool:
    """Return whether a file of another machine is visible here, after waiting for it."""
    end = monotonic() + VISIBLE_S
    while not path.exists():
        if monotonic() >= end:
            return False
        time.sleep(0.1)
    return True
