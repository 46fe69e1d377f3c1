"""The pool and its limits, in the moments that no test can bring about with servers."""

import collections
import ssl
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from http_fast.loopback import budget
from thrive_learning._http.port import Origin, TransportError
from thrive_learning._http_fast import pool
from thrive_learning._http_fast.connections import PooledConnection, RouteToOrigins
from thrive_learning._http_fast.pool import Pool, TaskLimit, ThreadLimit

ORIGIN = Origin("http", "a.example", 80)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Is a pool that lets one thread have a connection."""
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    unused: Any = None
    return Pool(RouteToOrigins(ssl.create_default_context(), None, unused), ThreadLimit())


def ready(connections: Pool) -> PooledConnection:
    """Take a connection that seems to have had an exchange."""
    limit: Any = connections._limit
    limit.acquire(budget(pool=0.01))
    connection = connections.take(ORIGIN, fresh=False)
    connection._stream = SimpleNamespace(is_readable=lambda: False, close=lambda: None)
    connection._is_sent = True
    connection.reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return connection


def test_an_interrupted_take_keeps_no_permit(threads: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_connection: PooledConnection) -> bool:
        raise KeyboardInterrupt

    threads.put_back(ready(threads))
    monkeypatch.setattr(PooledConnection, "has_expired", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ready(threads)
    ready(threads)


def test_a_connection_that_fails_to_close_keeps_no_permit(
    threads: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_connection: PooledConnection) -> None:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(PooledConnection, "close", fails)
        connection = ready(threads)
        with pytest.raises(OSError, match="^$"):  # noqa: RUF043
            threads.drop(connection)
    ready(threads)


def test_a_pool_that_is_closed_meanwhile_keeps_no_connection(threads: Pool) -> None:
    connection = ready(threads)
    threads._is_closed = True  # as by another thread, after the check of `end`
    threads.put_back(connection)
    assert not threads._open


def test_a_connection_that_is_cut_before_it_opens_is_not_opened(threads: Pool) -> None:
    connection = ready(threads)
    connection.cut()
    with pytest.raises(TransportError, match="the connection was closed"):
        connection._guard(connection.cut)
    assert not connection.end()


def test_an_empty_idle_list_is_no_surprise() -> None:
    nobody: collections.deque[PooledConnection] = collections.deque()
    assert (pool._pop(nobody), pool._pop(nobody, 0)) == (None, None)


@pytest.mark.anyio
async def test_a_task_that_is_canceled_while_it_waits_keeps_no_permit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    limit = TaskLimit()
    await limit.acquire(budget())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.acquire, budget())
        await anyio.lowlevel.checkpoint()
        limit.release()
        tasks.cancel_scope.cancel()  # together with the permit
    with anyio.move_on_after(0.1) as scope:
        limit.release()
        await limit.acquire(budget())
    assert not scope.cancelled_caught


@pytest.mark.anyio
async def test_tasks_wait_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    limit = TaskLimit()
    order: list[int] = []

    async def use(number: int) -> None:
        await limit.acquire(budget())
        order.append(number)
        await anyio.lowlevel.checkpoint()
        limit.release()

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(use, number)
    assert sorted(order) == [0, 1, 2, 3, 4]
