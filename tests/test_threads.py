"""Blocking functions in threads that sync code need not wait for."""

import contextvars
import math
import threading
import time
from typing import Any

import anyio
import pytest

from thrive_learning import _threads
from thrive_learning._threads import arun_in_time, run_in_time

NAME = contextvars.ContextVar("NAME", default="")


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
        ends_at = time.monotonic() + 10
        while not all(thread.daemon for thread in set(threading.enumerate()) - before):
            assert time.monotonic() < ends_at
            time.sleep(0.001)
    finally:
        may_end.set()


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
