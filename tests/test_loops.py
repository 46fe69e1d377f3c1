import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.lowlevel

from thrive_learning._loops import (
    TaskPermits,
    ThreadPermits,
    current_loop,
    current_process,
    from_any_thread,
    has_ended,
    spawn,
)

RUN: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    "asyncio": lambda work: asyncio.run(work()),
    "trio": trio.run,
}


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]:
    return RUN[request.param]


async def here() -> Any:
    return current_loop()


def test_a_process_has_no_loop() -> None:
    assert current_process() == (os.getpid(), None)
    assert not has_ended(current_process())


@pytest.mark.parametrize(
    "use", [current_loop, lambda: from_any_thread(int), lambda: spawn(anyio.sleep_forever)]
)
def test_sync_code_has_no_loop(use: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError):
        use()


def test_a_loop_is_itself_until_it_has_ended(run: Any) -> None:
    async def look() -> Any:
        loop = current_loop()
        await anyio.lowlevel.checkpoint()
        assert current_loop() == loop
        assert loop[0] == os.getpid()
        assert not has_ended(loop)
        return loop

    ended = run(look)
    assert has_ended(ended)
    assert run(look) != ended
    assert not has_ended((ended[0] + 1, ended[1]))  # a loop of another process is not ours to ask


async def test_each_library_has_loops_of_its_own_kind(anyio_backend: str) -> None:
    _process, loop = current_loop()
    kind = asyncio.AbstractEventLoop if anyio_backend == "asyncio" else trio.lowlevel.TrioToken
    assert isinstance(loop, kind)


def test_a_callback_runs_in_the_loop_whichever_thread_calls(run: Any) -> None:
    threads: list[int] = []

    async def wait() -> Callable[[], object]:
        called = anyio.Event()

        def note() -> None:
            threads.append(threading.get_ident())
            called.set()

        soon = from_any_thread(note)
        other = threading.Thread(target=soon)
        other.start()
        await called.wait()
        other.join()
        return soon

    soon = run(wait)
    soon()  # the loop has ended, and nothing happens
    assert threads == [threading.get_ident()]


def test_a_task_outlives_the_task_that_started_it(run: Any) -> None:
    name: ContextVar[str] = ContextVar("name", default="")
    found: list[str] = []

    async def start() -> None:
        done = anyio.Event()

        async def work() -> None:
            await anyio.lowlevel.checkpoint()
            found.append(name.get())
            done.set()

        async with anyio.create_task_group() as group:
            name.set("caller")
            spawn(work)
            group.cancel_scope.cancel()
        await done.wait()

    run(start)
    assert found == ["caller"]


def without_in_trio_run() -> ModuleType:
    """Return trio as version 0.28 has it: without `in_trio_run` and `in_trio_task`."""
    old, lowlevel = ModuleType("trio"), ModuleType("trio.lowlevel")
    for name in set(dir(trio.lowlevel)) - {"in_trio_run", "in_trio_task"}:
        setattr(lowlevel, name, getattr(trio.lowlevel, name))
    vars(old)["lowlevel"] = lowlevel
    return old


@pytest.mark.parametrize("loaded", [None, ModuleType("trio"), without_in_trio_run()])
def test_a_trio_that_is_old_or_half_imported_changes_nothing_on_asyncio(
    monkeypatch: pytest.MonkeyPatch, loaded: ModuleType | None
) -> None:
    monkeypatch.setitem(sys.modules, "trio", loaded)
    loop = asyncio.run(here())[1]
    assert isinstance(loop, asyncio.AbstractEventLoop)


def test_an_old_trio_that_is_in_use_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", without_in_trio_run())
    assert isinstance(trio.run(here)[1], trio.lowlevel.TrioToken)


def test_a_guest_run_of_trio_leaves_the_tasks_of_its_host_on_asyncio() -> None:
    async def guest() -> Any:
        await trio.lowlevel.checkpoint()
        return current_loop()

    async def host() -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: ended.set_result(outcome.unwrap()),
        )
        return current_loop(), await ended

    of_host, of_guest = asyncio.run(host())
    assert isinstance(of_host[1], asyncio.AbstractEventLoop)
    assert isinstance(of_guest[1], trio.lowlevel.TrioToken)


def test_neither_library_is_imported_for_sync_code() -> None:
    code = (
        "import sys, thrive_learning._loops as loops; loops.has_ended(loops.current_process());"
        "print({'asyncio', 'trio'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.anyio
async def test_a_task_that_is_canceled_while_it_waits_keeps_no_permit() -> None:
    permits = TaskPermits(1)
    assert await permits.acquire(5)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(permits.acquire, 5)
        await anyio.lowlevel.checkpoint()
        permits.release()
        tasks.cancel_scope.cancel()  # together with the permit
    with anyio.move_on_after(0.1) as scope:
        permits.release()
        assert await permits.acquire(5)
    assert not scope.cancelled_caught


@pytest.mark.anyio
async def test_every_task_gets_a_permit() -> None:
    permits = TaskPermits(1)
    order: list[int] = []

    async def use(number: int) -> None:
        assert await permits.acquire(5)
        order.append(number)
        await anyio.lowlevel.checkpoint()
        permits.release()

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(use, number)
    assert sorted(order) == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_a_task_waits_for_a_permit_no_longer_than_it_may() -> None:
    permits = TaskPermits(1)
    assert await permits.acquire(0)
    assert not await permits.acquire(0.01)
    permits.release()
    assert await permits.acquire(0)


def test_a_thread_waits_for_a_permit_no_longer_than_it_may() -> None:
    permits = ThreadPermits(1)
    assert permits.acquire(-1)
    assert not permits.acquire(-1)
    assert not permits.acquire(0.01)
    permits.release()
    assert permits.acquire(0)
