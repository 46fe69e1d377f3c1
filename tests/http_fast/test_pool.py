"""The pool, in the moments that no test can bring about with servers."""

import collections
import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from thrive_learning._http.port import Origin, TransportError
from thrive_learning._http_fast import pool
from thrive_learning._http_fast.connections import PooledConnection, RouteToOrigins
from thrive_learning._http_fast.pool import Pool
from thrive_learning._loops import ThreadPermits

ORIGIN = Origin("http", "a.example", 80)


@pytest.fixture
def threads() -> Pool:
    """Is a pool that lets one thread have a connection."""
    unused: Any = None
    return Pool(RouteToOrigins(ssl.create_default_context(), None, unused), ThreadPermits(1))


def ready(connections: Pool) -> PooledConnection:
    """Take a connection that seems to have had an exchange."""
    permits: Any = connections._permits
    assert permits.acquire(0.01)
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


def test_an_empty_idle_list_is_expected() -> None:
    nobody: collections.deque[PooledConnection] = collections.deque()
    assert (pool._pop(nobody), pool._pop(nobody, 0)) == (None, None)
