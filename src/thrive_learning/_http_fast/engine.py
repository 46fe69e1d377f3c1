"""The fast engine, an extra: our own connections, whose responses llhttp parses.

Opening connections and exchanging messages are written once, as coroutines. In sync code, the coroutines
block instead of suspending, and `port.run` runs them.
"""

import functools
import ssl
from typing import Any, Self

import anyio
import anyio.lowlevel

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._http.port import AsyncResponse, Request, Response, SyncResponse, TransportError, run
from thrive_learning._http_fast import async_connect, sockets
from thrive_learning._http_fast.connections import PooledConnection, RouteToOrigins
from thrive_learning._http_fast.http11 import RequestWriter
from thrive_learning._http_fast.pool import Pool
from thrive_learning._loops import TaskPermits, ThreadPermits


class _Engine:
    """The shared part of both engines.

    Args:
        context: The TLS context.
        proxy: The URL of a proxy for https, with its user name and password; None for direct connections.
    """

    is_async: bool

    def __init__(self, context: ssl.SSLContext, proxy: str | None = None) -> None:
        connect = async_connect.connect if self.is_async else sockets.connect
        self._writer = RequestWriter()
        self._permits: Any = (TaskPermits if self.is_async else ThreadPermits)(MAX_CONNECTIONS)
        self._pool = Pool(RouteToOrigins(context, proxy, connect), self._permits)

    async def exchange(self, request: Request, budget: Budget, *, fresh: bool) -> PooledConnection:
        """Send a request once, and return its connection, which has read the head of the response."""
        message = self._writer.write(request)
        acquired = self._permits.acquire(min(budget.timeout.pool, budget.remaining()))
        if not (await acquired if self.is_async else acquired):
            raise TransportError("timeout", f"{MAX_CONNECTIONS} requests are in flight", phase="pool")
        connection = self._pool.take(request.origin, fresh=fresh)
        if not self.is_async:  # another thread may cut it; tasks are canceled instead
            budget.connection = connection
        try:
            await connection.send(message, budget, has_body=request.method != "HEAD")
        except BaseException:
            budget.connection = None
            self._pool.drop(connection)
            raise
        return connection


class _Rest:
    """The rest of a body. An unfinished generator would cause a warning later."""

    __slots__ = ("_budget", "_connection")

    def __init__(self, connection: PooledConnection, budget: Budget) -> None:
        self._connection = connection
        self._budget = budget

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        piece = run(self._connection.read(self._budget))
        if piece:
            return piece
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._connection.read(self._budget)
        if piece:
            return piece
        raise StopAsyncIteration


class FastEngine(_Engine):
    """Sends requests for threads. See `port.Engine`."""

    is_async = False

    def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> SyncResponse:
        """Send a request once, and return the head of its response."""
        connection = run(self.exchange(request, budget, fresh=fresh))
        reader: Any = connection.reader
        rest = iter(reader.pieces) if reader.is_complete else _Rest(connection, budget)
        return Response(reader.status, reader.headers, rest, functools.partial(self._end, connection, budget))

    def _end(self, connection: PooledConnection, budget: Budget) -> None:
        budget.connection = None
        self._pool.put_back(connection)

    def close(self) -> None:
        """Close all connections. A thread that waits for one of them gets a `TransportError` at once."""
        self._pool.close()


class AsyncFastEngine(_Engine):
    """Sends requests for the tasks of one event loop. See `port.AsyncEngine`."""

    is_async = True

    async def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> AsyncResponse:
        """Send a request once, and return the head of its response."""
        connection = await self.exchange(request, budget, fresh=fresh)
        reader: Any = connection.reader
        body = _Rest(connection, budget)
        return Response(reader.status, reader.headers, body, functools.partial(self._end, connection))

    async def _end(self, connection: PooledConnection) -> None:
        self._pool.put_back(connection)

    async def aclose(self) -> None:
        """Close all connections. A task that waits for one of them gets a `TransportError` at once."""
        self._pool.close()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()  # asyncio closes sockets in its next iteration
