"""A worker process of `thrive activity export --dask local` is killed. `nox -s cluster` kills many."""

import atexit
import contextlib
import gc
import os
import shutil
import signal
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cluster_runs import Served, assert_once, served, start, state_of, wait_for_end, workers_of
from command import Call

from thrive_learning.cli.export.cluster import connection, own_workers
from thrive_learning.errors import ConnectionFailedError

if TYPE_CHECKING:
    import subprocess

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

LOCAL = ("--dask", "local", "--workers", "2", "--records-per-part", "1000")


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.chdir(tmp_path)
    with served(8_000) as serving:
        yield serving


def test_the_work_of_a_killed_worker_is_done_by_others(
    call: Call, serving: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in serving.environment.items():
        monkeypatch.setenv(name, value)
    killed: list[int] = []

    def kill() -> None:
        if serving.pages >= 4 and not killed:
            killed.append(workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    serving.hook = kill
    code, out, err = call(
        *("activity", "export", "--since", "2025-06-01", "--until", "2026-08-01", "-o", "lake"), *LOCAL
    )
    assert (code, out) == (0, ""), err
    assert killed
    assert_once(tmp_path, serving.ids)
    assert serving.tokens == 1
    wait_for_end(workers_of(os.getpid()))


def test_ctrl_c_in_a_terminal_ends_workers_quietly(serving: Served, tmp_path: Path) -> None:
    command = start(serving, tmp_path, *LOCAL, is_group=True)
    with serving.changed:
        serving.changed.wait_for(lambda: serving.pages >= 4 or command.poll() is not None, 120)
    workers = workers_of(command.pid)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130, err.decode()
    assert b"complete parts are kept in lake. Run the same command with --resume to continue" in err
    assert b"Traceback" not in err
    assert len(workers) == 2
    wait_for_end(workers)
    assert_once(tmp_path, serving.ids, is_whole=False)


def catches_ctrl_c(process: int) -> bool:
    """Return whether a process handles SIGINT as Python does by default."""
    with contextlib.suppress(OSError):  # it has ended
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> signal.SIGINT - 1 & 1)
    return False


def stopped_at_its_start(process: int) -> bool:
    """Stop a worker if it imports Dask now, so that it stays there, and return whether it does."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)
        while state_of(process) not in "TZX":
            time.sleep(0.001)
        if catches_ctrl_c(process):
            return True
        os.kill(process, signal.SIGCONT)
    return False


def started_halfway(serving: Served, folder: Path) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """Start an export whose workers have not all started, and return it with those that are stopped."""
    err = b""
    for _ in range(20):
        command, requests = start(serving, folder, *LOCAL, is_group=True), serving.requests
        while command.poll() is None and serving.requests == requests:
            if stopped := [*filter(stopped_at_its_start, workers_of(command.pid))]:
                return command, stopped
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):  # it was too late
            os.killpg(command.pid, signal.SIGKILL)
        _, err = command.communicate(timeout=60)
        shutil.rmtree(folder / "lake", ignore_errors=True)
    raise AssertionError(err.decode())


def test_ctrl_c_while_workers_start_is_quiet(serving: Served, tmp_path: Path) -> None:
    command, stopped = started_halfway(serving, tmp_path)
    os.killpg(command.pid, signal.SIGINT)
    for worker in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
    _, err = command.communicate(timeout=60)
    assert (command.returncode, err.decode().strip()) == (130, "")
    assert not Path("lake").exists()


def test_an_interrupted_start_ends_what_it_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    killed, closed = threading.Event(), threading.Event()

    class Interrupted(connection._InThread[Any]):
        def wait(self, limit_s: float | None = None) -> bool:
            if limit_s is None:
                raise KeyboardInterrupt
            return super().wait(limit_s)

    def start() -> Any:
        assert killed.wait(60)
        return types.SimpleNamespace(close=closed.set)

    monkeypatch.setattr(connection, "_InThread", Interrupted)
    children = [types.SimpleNamespace(kill=killed.set)]
    monkeypatch.setattr("multiprocessing.active_children", lambda: children)
    monkeypatch.delattr(signal, "pthread_sigmask")  # as on Windows
    with pytest.raises(KeyboardInterrupt):
        connection._started(start)
    assert closed.is_set()


def test_a_worker_ignores_ctrl_c_and_ends_without_a_search_for_garbage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_exit: list[object] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    before = signal.getsignal(signal.SIGINT)
    try:
        own_workers.dask_setup(None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert at_exit == [gc.freeze]


def test_a_cluster_is_started_again_if_a_worker_dies_meanwhile() -> None:
    failures = [RuntimeError("Nanny failed to start."), RuntimeError("Nanny failed to start.")]

    def start() -> str:
        if failures:
            raise failures.pop() from OSError("exited unexpectedly")
        return "cluster"

    assert connection._started(start) == "cluster"


def test_a_cluster_that_never_starts_is_an_error() -> None:
    def start() -> str:
        raise RuntimeError("Nanny failed to start.") from OSError("exited unexpectedly")

    with pytest.raises(ConnectionFailedError, match=r"did not start, although .* 3 times \(exited unexp"):
        connection._started(start)
