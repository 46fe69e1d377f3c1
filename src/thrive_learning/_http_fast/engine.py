"""The fast engine: connections of our own, whose responses are read by llhttp. An extra.

What opens connections and exchanges messages is written once, as coroutines. In sync code they never wait,
because the methods of its streams block; `port.run` runs them.
"""

import functools
import ssl
from collections.abc import Iterator
from typing import Any, Self

import anyio
import anyio.lowlevel

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._http.port import AsyncResponse, Request, Response, TransportError, run
from thrive_learning._http_fast import async_connect, sockets
from thrive_learning._http_fast.connections import PooledConnection, RouteToOrigins
from thrive_learning._http_fast.http11 import RequestWriter
from thrive_learning._http_fast.pool import Pool
from thrive_learning._loops import TaskPermits, ThreadPermits


def _too_many() -> TransportError:
    return TransportError("timeout", f"{MAX_CONNECTIONS} requests are in flight", phase="pool")


class FastEngine:
    """Sends requests for threads. See `port.Engine`.

    Args:
        context: For TLS.
        proxy: The URL of a proxy for https, with its user name and password; None to connect directly.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None = None) -> None:
        self._writer = RequestWriter()
        self._permits = ThreadPermits(MAX_CONNECTIONS)
        self._pool = Pool(RouteToOrigins(context, proxy, sockets.connect), self._permits)

    def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> Response:
        """Send a request once and return the head of its response."""
        message = self._writer.write(request)
        if not self._permits.acquire(min(budget.timeout.pool, budget.remaining())):
            raise _too_many()
        connection = self._pool.take(request.origin, fresh=fresh)
        budget.connection = connection
        try:
            run(connection.send(message, budget, has_body=request.method != "HEAD"))
        except BaseException:
            budget.connection = None
            self._pool.drop(connection)
            raise
        reader: Any = connection.reader
        rest = iter(reader.pieces) if reader.is_complete else _Rest(connection, budget)
        return Response(reader.status, reader.headers, rest, functools.partial(self._end, connection, budget))

    def _end(self, connection: PooledConnection, budget: Budget) -> None:
        budget.connection = None
        self._pool.put_back(connection)

    def close(self) -> None:
        """Close all connections. A thread that waits for one of them gets a `TransportError` at once."""
        self._pool.close()


class _Rest(Iterator[bytes]):
    """A body that did not arrive together with its head."""

    def __init__(self, connection: PooledConnection, budget: Budget) -> None:
        self._connection = connection
        self._budget = budget

    def __next__(self) -> bytes:
        piece = run(self._connection.read(self._budget))
        if piece:
            return piece
        raise StopIteration


class AsyncFastEngine:
    """Sends requests for the tasks of one event loop. See `FastEngine`."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None = None) -> None:
        self._writer = RequestWriter()
        self._permits = TaskPermits(MAX_CONNECTIONS)
        self._pool = Pool(RouteToOrigins(context, proxy, async_connect.connect), self._permits)

    async def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> AsyncResponse:
        """Send a request once and return the head of its response."""
        message = self._writer.write(request)
        if not await self._permits.acquire(budget.timeout.pool):
            raise _too_many()
        connection = self._pool.take(request.origin, fresh=fresh)
        try:
            await connection.send(message, budget, has_body=request.method != "HEAD")
        except BaseException:
            self._pool.drop(connection)
            raise
        reader: Any = connection.reader
        body = _AsyncBody(connection, budget)
        return AsyncResponse(reader.status, reader.headers, body, functools.partial(self._end, connection))

    async def _end(self, connection: PooledConnection) -> None:
        self._pool.put_back(connection)

    async def aclose(self) -> None:
        """Close all connections. A task that waits for one of them gets a `TransportError` at once."""
        self._pool.close()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()  # asyncio closes sockets in its next round


class _AsyncBody:
    """The body of a response. A generator that is left early would end with a warning, at some other time."""

    __slots__ = ("_budget", "_connection")

    def __init__(self, connection: PooledConnection, budget: Budget) -> None:
        self._connection = connection
        self._budget = budget

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        reader = self._connection.reader
        piece = reader.take()
        if not piece and not reader.is_complete:
            piece = await self._connection.read(self._budget)
        if piece:
            return piece
        raise StopAsyncIteration
