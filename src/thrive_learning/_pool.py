"""The connections of a transport: each request takes an idle one or opens one, and gives it back.

httpcore's own pool looks at all of its connections for every request, closes idle ones as soon as more than
20 are open at all, and hands one idle connection to several waiters. Taking the one that was given back last
costs the same however many there are, and keeps those that are in use warm.
"""

import collections
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any

import anyio
import httpcore

from thrive_learning._engine import is_own
from thrive_learning.policies import MAX_CONNECTIONS

# For so long a server may be expected to keep an idle connection; httpx's default. Seconds.
KEPT_ALIVE_S = 5.0

_Site = tuple[bytes, bytes, int | None]


def _pool_limit_s(request: httpcore.Request) -> float | None:
    whole: Any = request
    limit: float | None = whole.extensions.get("timeout", {}).get("pool")
    return limit


def _site(request: httpcore.Request) -> _Site:
    url = request.url
    return url.scheme, url.host, url.port


class Connections:
    """Sync connections, shared by threads. It takes the place of a pool of httpcore's.

    Args:
        opener: A pool of httpcore's, which knows how to connect, through a proxy if need be. It keeps none.
    """

    def __init__(self, opener: httpcore.ConnectionPool) -> None:
        self._opener = opener
        self._places = threading.Semaphore(MAX_CONNECTIONS)
        self._idle: dict[_Site, collections.deque[httpcore.ConnectionInterface]] = {}
        self._open: set[httpcore.ConnectionInterface] = set()
        self._next_look = 0.0

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        if not is_own(
            type(self._opener).handle_request, "httpcore"
        ):  # somebody has replaced it, as respx does
            return self._opener.handle_request(request)
        if not self._places.acquire(timeout=_pool_limit_s(request)):
            raise httpcore.PoolTimeout(f"{MAX_CONNECTIONS} requests are on their way")
        connection = None
        try:
            idle = self._idle.setdefault(_site(request), collections.deque())
            connection = self._taken(idle)
            if connection is None:
                connection = self._opener.create_connection(request.url.origin)
                self._open.add(connection)
            response = connection.handle_request(request)
        except BaseException:
            self._end(connection)
            raise
        response.stream = Stream(response.stream, connection, idle, self)
        return response

    def _taken(
        self, idle: collections.deque[httpcore.ConnectionInterface]
    ) -> httpcore.ConnectionInterface | None:
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was quicker
                break
            if not connection.has_expired():
                return connection
            self._close(connection)
        return None

    def give_back(
        self,
        connection: httpcore.ConnectionInterface,
        idle: collections.deque[httpcore.ConnectionInterface],
    ) -> None:
        """Keep a connection for the next request if it can take one."""
        if not connection.is_available() or connection not in self._open:
            self._end(connection)
            return
        idle.append(connection)
        self._places.release()
        now = monotonic()
        if now >= self._next_look:
            self._next_look = now + KEPT_ALIVE_S
            self._drop_expired(idle)

    def _drop_expired(self, idle: collections.deque[httpcore.ConnectionInterface]) -> None:
        """Close those that nobody has needed for long: they stand at the left."""
        while idle:
            try:
                connection = idle.popleft()
            except IndexError:  # another thread was quicker
                break
            if not connection.has_expired():
                idle.appendleft(connection)
                break
            self._close(connection)

    def _end(self, connection: httpcore.ConnectionInterface | None) -> None:
        try:
            if connection is not None:
                self._close(connection)
        finally:
            self._places.release()

    def _close(self, connection: httpcore.ConnectionInterface) -> None:
        self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close all connections, those in use too: who waits on one of them gets an error."""
        self._idle.clear()
        for connection in list(self._open):
            self._close(connection)
        self._opener.close()  # which has some if somebody has replaced its methods, and we leave it to them


class Stream:
    """The body of a response. Closing it gives the connection back."""

    def __init__(
        self,
        stream: Any,
        connection: httpcore.ConnectionInterface,
        idle: collections.deque[httpcore.ConnectionInterface],
        connections: Connections,
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._idle = idle
        self._connections: Connections | None = connections

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        """End the exchange, whether or not all was read."""
        connections, self._connections = self._connections, None
        if connections is not None:
            try:
                self._stream.close()
            finally:
                connections.give_back(self._connection, self._idle)


class AsyncConnections:
    """Async connections, shared by the tasks of one event loop. See `Connections`."""

    def __init__(self, opener: httpcore.AsyncConnectionPool) -> None:
        self._opener = opener
        self._idle: dict[_Site, collections.deque[httpcore.AsyncConnectionInterface]] = {}
        self._open: set[httpcore.AsyncConnectionInterface] = set()
        self._next_look = 0.0

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        if not is_own(type(self._opener).handle_async_request, "httpcore"):
            return await self._opener.handle_async_request(request)
        await self._take_place(_pool_limit_s(request))
        connection = None
        try:
            idle = self._idle.setdefault(_site(request), collections.deque())
            connection = await self._taken(idle)
            if connection is not None:
                response = await connection.handle_async_request(request)
            else:
                connection = self._opener.create_connection(request.url.origin)
                self._open.add(connection)
                response = await connection.handle_async_request(request)
                _leave_unlocked(connection)
        except BaseException:
            await self._end(connection)
            raise
        response.stream = AsyncStream(response.stream, connection, idle, self)
        return response

    @functools.cached_property
    def _places(self) -> "anyio.Semaphore":  # in quotes: reading it would load half of anyio for sync users
        return anyio.Semaphore(MAX_CONNECTIONS)  # it belongs to an event loop, and is made in it

    async def _take_place(self, limit_s: float | None) -> None:
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            pass
        else:
            return
        with anyio.move_on_after(limit_s):
            await self._places.acquire()
            return
        raise httpcore.PoolTimeout(f"{MAX_CONNECTIONS} requests are on their way")

    async def _taken(
        self, idle: collections.deque[httpcore.AsyncConnectionInterface]
    ) -> httpcore.AsyncConnectionInterface | None:
        while idle:
            connection = idle.pop()
            if not connection.has_expired():
                return connection
            await self._close(connection)
        return None

    async def give_back(
        self,
        connection: httpcore.AsyncConnectionInterface,
        idle: collections.deque[httpcore.AsyncConnectionInterface],
    ) -> None:
        """Keep a connection for the next request if it can take one."""
        if not connection.is_available() or connection not in self._open:
            await self._end(connection)
            return
        idle.append(connection)
        self._places.release()
        now = monotonic()
        if now >= self._next_look:
            self._next_look = now + KEPT_ALIVE_S
            await self._drop_expired(idle)

    async def _drop_expired(self, idle: collections.deque[httpcore.AsyncConnectionInterface]) -> None:
        """Close those that nobody has needed for long: they stand at the left."""
        while idle and idle[0].has_expired():
            await self._close(idle.popleft())

    async def _end(self, connection: httpcore.AsyncConnectionInterface | None) -> None:
        try:
            if connection is not None:
                await self._close(connection)
        finally:
            self._places.release()

    async def _close(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._open.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections, those in use too: who waits on one of them gets an error."""
        self._idle.clear()
        for connection in list(self._open):
            await self._close(connection)
        await self._opener.aclose()


class _Unlocked:
    """Stands for a lock where nobody competes."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_error: object) -> None:
        pass


def _leave_unlocked(connection: Any) -> None:
    """Take the locks off a connection: here it has one request at a time.

    With each of them, and a request has three, httpcore lets the event loop go round once more.
    """
    while connection is not None:
        for name in ("_request_lock", "_connect_lock", "_state_lock"):
            if hasattr(connection, name):
                setattr(connection, name, _UNLOCKED)
        connection = getattr(connection, "_connection", None)


_UNLOCKED = _Unlocked()


class AsyncStream:
    """The body of a response. Closing it gives the connection back."""

    def __init__(
        self,
        stream: Any,
        connection: httpcore.AsyncConnectionInterface,
        idle: collections.deque[httpcore.AsyncConnectionInterface],
        connections: AsyncConnections,
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._idle = idle
        self._connections: AsyncConnections | None = connections

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = aiter(self._stream)
        return chunks

    async def aclose(self) -> None:
        """End the exchange, whether or not all was read."""
        connections, self._connections = self._connections, None
        if connections is not None:
            try:
                await self._stream.aclose()
            finally:
                await connections.give_back(self._connection, self._idle)
