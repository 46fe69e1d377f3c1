"""Blocking functions in threads that their callers need not wait for."""

import contextvars
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from patience import wait_until

from thrive_learning import _threads
from thrive_learning._threads import arun_in_time, run_in_time

NAME = contextvars.ContextVar("NAME", default="")


@pytest.fixture(autouse=True)
def _no_other_threads() -> Iterator[None]:
    """End the threads of earlier tests, whose functions may have been left a moment ago."""
    wait_until(no_thread_is_left)
    yield
    wait_until(no_thread_is_left)


def no_thread_is_left() -> bool:
    _threads._end_idle()
    return not any(isinstance(thread, _threads._Thread) for thread in threading.enumerate())


def test_a_function_runs_in_a_thread_with_the_context_of_its_caller() -> None:
    NAME.set("mine")
    [found] = run_in_time(lambda: (threading.current_thread(), NAME.get()), math.inf)
    assert (found[0].daemon, found[1]) == (True, "mine")
    assert found[0] is not threading.current_thread()


@pytest.mark.parametrize("limit_s", [-1.0, 0.0, 0.02])
def test_a_function_that_takes_long_is_left_running(limit_s: float) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def operation() -> None:
        may_end.wait(30)
        ended.set()

    assert run_in_time(operation, limit_s) == []
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(30)


def test_the_end_of_the_process_does_not_wait_for_a_function_that_async_code_left(anyio_backend: str) -> None:
    may_end, before = threading.Event(), set(threading.enumerate())
    try:
        assert anyio.run(arun_in_time, may_end.wait, 0.02, backend=anyio_backend) == []
        wait_until(lambda: all(thread.daemon for thread in set(threading.enumerate()) - before))
    finally:
        may_end.set()


def test_async_code_that_has_left_and_ended_is_not_missed(anyio_backend: str) -> None:
    may_end = threading.Event()
    assert anyio.run(arun_in_time, may_end.wait, 0.0, backend=anyio_backend) == []
    may_end.set()
    wait_until(lambda: _threads._idle)


def test_a_function_gets_the_thread_of_the_one_before(anyio_backend: str) -> None:
    async def one_after_the_other() -> list[threading.Thread]:
        return [(await arun_in_time(threading.current_thread, 30))[0] for _ in range(2)]

    used = [run_in_time(threading.current_thread, 30)[0] for _ in range(2)]
    used += anyio.run(one_after_the_other, backend=anyio_backend)
    assert used == [used[0]] * 4


def test_a_function_that_hangs_keeps_its_thread_and_the_next_one_gets_another() -> None:
    may_end, hanging = threading.Event(), list[threading.Thread]()

    def hang() -> None:
        hanging.append(threading.current_thread())
        may_end.wait(30)

    assert run_in_time(hang, 0) == []
    [other] = run_in_time(threading.current_thread, 30)
    assert hanging != [other]
    may_end.set()
    wait_until(lambda: len(_threads._idle) == 2)
    assert run_in_time(threading.current_thread, 30) == hanging


def test_a_thread_without_a_function_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_IDLE_S", 0.01)
    [thread] = run_in_time(threading.current_thread, 30)
    thread.join(30)
    assert not thread.is_alive()
    assert not _threads._idle


def test_a_thread_that_is_given_a_function_while_it_ends_runs_it() -> None:
    answers = [queue.Empty(), None]

    def get(timeout: float) -> None:
        assert timeout == _threads._IDLE_S
        if (answer := answers.pop(0)) is not None:
            raise answer

    thread: Any = _threads._Thread()
    thread.works = SimpleNamespace(get=get)
    thread.run()
    assert not answers


def test_a_thread_without_a_function_keeps_nothing_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Token:
        pass

    monkeypatch.setattr(_threads, "_IDLE_S", 600.0)

    [token] = run_in_time(Token, 30)
    kept = weakref.ref(token)
    del token
    wait_until(lambda: kept() is None)


FORKS = """
import os, threading
from thrive_learning._threads import run_in_time
[thread] = run_in_time(threading.current_thread, 30)
child = os.fork()
[other] = run_in_time(threading.current_thread, 30)
assert (thread.is_alive(), other is thread) == (False, False)
if not child:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_ends_threads_without_a_function_and_the_child_starts_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=60)


@pytest.mark.parametrize("kind", [TimeoutError, RuntimeError, SystemExit])
def test_an_error_reaches_the_caller(kind: type[BaseException]) -> None:
    tried: list[int] = []

    def operation() -> None:
        tried.append(1)
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        run_in_time(operation, 30)
    assert tried == [1]


def refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_a_thread_a_function_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_in_time(threading.current_thread, 0) == [threading.current_thread()]


def test_the_error_of_a_signal_handler_is_not_a_lack_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(_threads, "interruption", lambda error: error)
    tried: list[Any] = []
    with pytest.raises(RuntimeError, match="can't start"):
        run_in_time(lambda: tried.append(1), 0)
    assert not tried


class LimitError(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no such signals")
@pytest.mark.parametrize("is_handled", [True, False], ids=["a signal handler", "something else"])
def test_the_error_of_a_signal_handler_in_the_start_of_a_thread_passes(
    monkeypatch: pytest.MonkeyPatch, *, is_handled: bool
) -> None:
    def stop(*_: object) -> None:
        raise LimitError

    def start(thread: threading.Thread) -> None:
        try:
            signal.raise_signal(signal.SIGALRM)
        except LimitError:
            dict[Any, Any]().pop(thread)  # as `threading` does

    monkeypatch.setattr(threading.Thread, "start", start)
    before = signal.signal(signal.SIGALRM, stop)
    if not is_handled:
        monkeypatch.setattr(_threads, "interruption", lambda _error: None)
    try:
        with pytest.raises(LimitError if is_handled else KeyError):
            run_in_time(int, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
