"""The connections of a transport: each request takes an idle one or opens one, and gives it back.

httpcore's own pool looks at all of its connections for every request, closes idle ones as soon as more than
20 are open at all, and hands one idle connection to several waiters. Taking the one that was given back last
costs the same however many there are, and keeps those that are in use warm.
"""

import collections
import functools
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

import anyio
import httpcore

from thrive_learning._budget import MAX_CONNECTIONS
from thrive_learning._exchange.engines import is_own
from thrive_learning._request import Site

# For so long a server may be expected to keep an idle connection; httpx's default. Seconds.
KEPT_ALIVE_S = 5.0


class Connection(Protocol):
    """A connection as the pool sees it; httpcore's are of this kind."""

    def is_available(self) -> bool:
        """Say whether it can take a request."""
        ...

    def has_expired(self) -> bool:
        """Say whether it has been idle for too long, or has been closed by the server."""
        ...

    def close(self) -> None:
        """Close it."""


class AsyncConnection(Protocol):
    """See `Connection`."""

    def is_available(self) -> bool:
        """Say whether it can take a request."""
        ...

    def has_expired(self) -> bool:
        """Say whether it has been idle for too long, or has been closed by the server."""
        ...

    async def aclose(self) -> None:
        """Close it."""


ConnectionT = TypeVar("ConnectionT", bound=Connection)
AsyncConnectionT = TypeVar("AsyncConnectionT", bound=AsyncConnection)


def _too_many() -> httpcore.PoolTimeout:
    return httpcore.PoolTimeout(f"{MAX_CONNECTIONS} requests are on their way")


class Connections(Generic[ConnectionT]):
    """Sync connections, shared by threads.

    Args:
        create: Makes one.
    """

    def __init__(self, create: Callable[[Site], ConnectionT]) -> None:
        self._create = create
        # A semaphore does the same, at ten times the cost.
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(MAX_CONNECTIONS):
            self._places.put(None)
        self._idle: collections.defaultdict[Site, collections.deque[ConnectionT]] = collections.defaultdict(
            collections.deque
        )
        self._open: set[ConnectionT] = set()
        self._next_look = 0.0

    def take(self, site: Site, limit_s: float | None) -> ConnectionT:
        """Give a connection, which has to be given back or dropped.

        Raises:
            httpcore.PoolTimeout: So many seconds long all places were taken.
        """
        try:
            self._places.get(timeout=limit_s)
        except queue.Empty:
            pass
        else:
            return self._taken(site)
        raise _too_many()

    def _taken(self, site: Site) -> ConnectionT:
        try:
            idle = self._idle[site]
            while idle:
                try:
                    connection = idle.pop()
                except IndexError:  # another thread was quicker
                    break
                if not connection.has_expired():
                    return connection
                self._close(connection)
            connection = self._create(site)
        except BaseException:
            self._places.put(None)
            raise
        self._open.add(connection)
        return connection

    def give_back(self, connection: ConnectionT, site: Site) -> None:
        """Keep a connection for the next request if it can take one."""
        if not connection.is_available() or connection not in self._open:
            self.drop(connection)
            return
        idle = self._idle[site]
        idle.append(connection)
        self._places.put(None)
        now = monotonic()
        if now >= self._next_look:
            self._next_look = now + KEPT_ALIVE_S
            self._drop_expired(idle)

    def _drop_expired(self, idle: collections.deque[ConnectionT]) -> None:
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

    def drop(self, connection: ConnectionT) -> None:
        """Close a connection that was taken."""
        try:
            self._close(connection)
        finally:
            self._places.put(None)

    def _close(self, connection: ConnectionT) -> None:
        self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close all connections, those in use too: who waits on one of them gets an error."""
        self._idle.clear()
        for connection in list(self._open):
            self._close(connection)


class AsyncConnections(Generic[AsyncConnectionT]):
    """Async connections, shared by the tasks of one event loop. See `Connections`."""

    def __init__(self, create: Callable[[Site], AsyncConnectionT]) -> None:
        self._create = create
        self._idle: collections.defaultdict[Site, collections.deque[AsyncConnectionT]] = (
            collections.defaultdict(collections.deque)
        )
        self._open: set[AsyncConnectionT] = set()
        self._next_look = 0.0

    @functools.cached_property
    def _places(self) -> "anyio.Semaphore":  # in quotes: reading it would load half of anyio for sync users
        return anyio.Semaphore(MAX_CONNECTIONS)  # it belongs to an event loop, and is made in it

    async def take(self, site: Site, limit_s: float | None) -> AsyncConnectionT:
        """Give a connection, which has to be given back or dropped.

        Raises:
            httpcore.PoolTimeout: So many seconds long all places were taken.
        """
        await self._take_place(limit_s)
        try:
            idle = self._idle[site]
            while idle:
                connection = idle.pop()
                if not connection.has_expired():
                    return connection
                await self._close(connection)
            connection = self._create(site)
        except BaseException:
            self._places.release()
            raise
        self._open.add(connection)
        return connection

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
        raise _too_many()

    async def give_back(self, connection: AsyncConnectionT, site: Site) -> None:
        """Keep a connection for the next request if it can take one."""
        if not connection.is_available() or connection not in self._open:
            await self.drop(connection)
            return
        idle = self._idle[site]
        idle.append(connection)
        self._places.release()
        now = monotonic()
        if now >= self._next_look:
            self._next_look = now + KEPT_ALIVE_S
            await self._drop_expired(idle)

    async def _drop_expired(self, idle: collections.deque[AsyncConnectionT]) -> None:
        """Close those that nobody has needed for long: they stand at the left."""
        while idle and idle[0].has_expired():
            await self._close(idle.popleft())

    async def drop(self, connection: AsyncConnectionT) -> None:
        """Close a connection that was taken."""
        try:
            await self._close(connection)
        finally:
            self._places.release()

    async def _close(self, connection: AsyncConnectionT) -> None:
        self._open.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections, those in use too: who waits on one of them gets an error."""
        self._idle.clear()
        for connection in list(self._open):
            await self._close(connection)


def _site(request: httpcore.Request) -> Site:
    """Say where a request goes."""
    url = request.url
    return url.scheme, url.host, url.port


def _pool_limit_s(request: httpcore.Request) -> float | None:
    whole: Any = request
    limit: float | None = whole.extensions.get("timeout", {}).get("pool")
    return limit


@functools.lru_cache(maxsize=64)
def origin(scheme: bytes, host: bytes, port: int | None) -> httpcore.Origin:
    """Give a server as httpcore knows it."""
    return httpcore.URL(scheme=scheme, host=host, port=port).origin


class Pool:
    """Takes the place of a pool of httpcore's, with connections of httpcore's.

    Args:
        opener: That pool: it knows how to connect, through a proxy if need be. It keeps no connections.
    """

    def __init__(self, opener: httpcore.ConnectionPool) -> None:
        self._opener = opener
        self._connections = Connections[httpcore.ConnectionInterface](
            lambda site: opener.create_connection(origin(*site))
        )

    @property
    def is_hooked(self) -> bool:
        """Whether somebody has replaced the method of httpcore's that this one stands for, as respx does."""
        return not is_own(type(self._opener).handle_request, "httpcore")

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        if self.is_hooked:
            return self._opener.handle_request(request)
        site = _site(request)
        connection = self._connections.take(site, _pool_limit_s(request))
        try:
            response = connection.handle_request(request)
        except BaseException:
            self._connections.drop(connection)
            raise
        response.stream = Stream(response.stream, connection, site, self._connections)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()
        self._opener.close()  # which has some if somebody has replaced its methods, and we leave it to them


class Stream:
    """The body of a response. Closing it gives the connection back."""

    def __init__(
        self,
        stream: Any,
        connection: httpcore.ConnectionInterface,
        site: Site,
        connections: Connections[httpcore.ConnectionInterface],
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._site = site
        self._connections: Connections[httpcore.ConnectionInterface] | None = connections
        self._is_interrupted = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException:
            # httpcore may have been about to make the connection ready for the next request.
            self._is_interrupted = True
            raise

    def close(self) -> None:
        """End the exchange, whether or not all was read."""
        connections, self._connections = self._connections, None
        if connections is None:
            return
        try:
            self._stream.close()
        except BaseException:
            self._is_interrupted = True
            raise
        finally:
            if self._is_interrupted:
                connections.drop(self._connection)
            else:
                connections.give_back(self._connection, self._site)


class AsyncPool:
    """Takes the place of a pool of httpcore's. See `Pool`."""

    def __init__(self, opener: httpcore.AsyncConnectionPool) -> None:
        self._opener = opener
        self._connections = AsyncConnections[httpcore.AsyncConnectionInterface](self._created)

    def _created(self, site: Site) -> httpcore.AsyncConnectionInterface:
        return self._opener.create_connection(origin(*site))

    @property
    def is_hooked(self) -> bool:
        """Whether somebody has replaced the method of httpcore's that this one stands for, as respx does."""
        return not is_own(type(self._opener).handle_async_request, "httpcore")

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        if self.is_hooked:
            return await self._opener.handle_async_request(request)
        site = _site(request)
        connection = await self._connections.take(site, _pool_limit_s(request))
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._connections.drop(connection)
            raise
        _leave_unlocked(connection)
        response.stream = AsyncStream(response.stream, connection, site, self._connections)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()
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
    if getattr(connection, "_request_lock", None) is _UNLOCKED:
        return
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
        site: Site,
        connections: AsyncConnections[httpcore.AsyncConnectionInterface],
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._site = site
        self._connections: AsyncConnections[httpcore.AsyncConnectionInterface] | None = connections

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
                await connections.give_back(self._connection, self._site)
