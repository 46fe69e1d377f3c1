"""The default engine: httpx's own transports side by side, each with one connection.

httpx's pool looks at all of its connections for every request, and collapses at about a hundred in flight. A
transport with one connection has nothing to look through, and taking the one that was given back last costs
the same however many there are.
"""

import collections
import contextlib
import functools
import queue
import ssl
from typing import Any, TypeVar

import anyio
import httpcore
import httpx

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.deadline import Dialer
from thrive_learning._http.httpx_adapter import AsyncHttpxEngine, HttpxEngine
from thrive_learning._http.port import IDLE_TIMEOUT_S, TransportError
from thrive_learning._http.surplus import AsyncGuardedStream, GuardedStream, failure_in
from thrive_learning.errors import ConfigurationError

PoolT = TypeVar("PoolT", httpcore.ConnectionPool, httpcore.AsyncConnectionPool)


def _proxy(context: ssl.SSLContext, url: str | None) -> httpx.Proxy | None:
    if url is None:
        return None
    return httpx.Proxy(url, ssl_context=context if url.lower().startswith("https:") else None)


def _pool(
    kind: type[PoolT], before: object, context: ssl.SSLContext, proxy: httpx.Proxy | None, backend: Any
) -> PoolT:
    """Return a pool of one connection that a network backend opens, in place of httpx's own.

    httpx keeps its pool in `_pool`, the one private name that the default engine uses. If it is not there,
    time limits would not hold, so no client is created.
    """
    if not isinstance(before, kind):
        raise ConfigurationError(
            f"engine='httpx' does not support httpx {httpx.__version__}. Install httpx 0.28.1, or pass a "
            "transport of your own as transport=."
        )
    through = None
    if proxy is not None:
        scheme, host, port = proxy.url.raw_scheme, proxy.url.raw_host, proxy.url.port
        url = httpcore.URL(scheme=scheme, host=host, port=port, target=b"/")
        through = httpcore.Proxy(url, auth=proxy.raw_auth, ssl_context=proxy.ssl_context)
    return kind(
        ssl_context=context,
        proxy=through,
        max_connections=1,
        keepalive_expiry=IDLE_TIMEOUT_S,
        network_backend=backend,
    )


class _Backend(httpcore.NetworkBackend):
    """Opens connections whose operations end with the call."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    def connect_tcp(self, host: str, port: int, timeout: Any = None, *_: Any, **__: Any) -> Any:
        """Connect to a host."""
        try:
            return GuardedStream(self._dialer.connect(host, port, timeout))
        except OSError as error:
            failure = failure_in("Connect", error)
        raise failure


class _Transport(httpx.HTTPTransport):
    """A transport of httpx with one connection."""

    def __init__(self, context: ssl.SSLContext, proxy_url: str | None) -> None:
        proxy, self.dialer = _proxy(context, proxy_url), Dialer()
        super().__init__(verify=context, proxy=proxy)
        before: Any = getattr(self, "_pool", None)
        self._pool = _pool(httpcore.ConnectionPool, before, context, proxy, _Backend(self.dialer))
        self.idle_since = 0.0

    def close(self) -> None:
        """Close the connection, be it half open."""
        super().close()
        self.dialer.close()


class StockEngine(HttpxEngine):
    """Sends the requests of threads. See `port.Engine`.

    Args:
        context: For TLS.
        proxy: The URL of a proxy; None connects directly.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        self._open = functools.partial(_Transport, context, proxy)
        super().__init__(self._open())  # now, so that a proxy that httpx rejects shows
        self._all: set[_Transport] = set()
        self._idle: collections.deque[_Transport] = collections.deque()
        self._is_closed = False
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()  # a semaphore costs ten times as much
        for _ in range(MAX_CONNECTIONS):
            self._permits.put(None)

    def take(self, budget: Budget, *, fresh: bool) -> _Transport:
        """Return a transport that no other thread uses."""
        with contextlib.suppress(queue.Empty):
            self._permits.get(timeout=budget.phases()["pool"])
            return self._take(budget, fresh=fresh)
        raise TransportError("timeout", phase="pool")

    def _take(self, budget: Budget, *, fresh: bool) -> _Transport:
        try:
            transport = self._idle.pop()
        except IndexError:
            transport = self._open()
            self._all.add(transport)
        try:
            transport.dialer.budget, budget.connection = budget, transport.dialer
            if self._is_closed:
                raise TransportError("other", "the client is closed")  # noqa: TRY301 - as if sent
            if fresh:
                transport.close()
        except BaseException:
            self.give_back(transport, is_broken=True)
            raise
        return transport

    def give_back(self, transport: Any, *, is_broken: bool) -> None:
        """Keep a transport for the next request, or close it."""
        transport.dialer.budget.connection = None
        now = transport.idle_since = monotonic()
        try:
            if is_broken or transport.dialer.is_cut:
                self._close(transport)
            else:
                self._idle.append(transport)
                self._close_idle(now if self._is_closed else now - IDLE_TIMEOUT_S)
        finally:
            self._permits.put(None)

    def _close_idle(self, since: float) -> None:
        """Close the transports that have been idle since a moment or longer."""
        with contextlib.suppress(IndexError):  # another thread was quicker
            while self._idle[0].idle_since <= since:
                self._close(self._idle.popleft())

    def _close(self, transport: _Transport) -> None:
        self._all.discard(transport)
        transport.close()

    def close(self) -> None:
        """Close all connections. A thread that waits for one of them gets a `TransportError` at once."""
        self._is_closed = True
        for transport in list(self._all):
            transport.dialer.cut()
        self._close_idle(monotonic())


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections, and ends the attempt to open one when it is closed."""

    def __init__(self) -> None:
        self._backend: Any = httpcore.AnyIOBackend()
        self._opening: anyio.CancelScope | None = None
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(self, host: str, port: int, timeout: Any = None, *_: Any, **__: Any) -> Any:
        """Connect to a host."""
        with anyio.CancelScope() as self._opening:
            stream = self._stream = await self._backend.connect_tcp(host, port, timeout)
            return AsyncGuardedStream(stream)
        raise httpcore.ConnectError("the client is closed")

    async def aclose(self) -> None:
        """Close the connection, be it half open."""
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            await self._stream.aclose()


class _AsyncTransport(httpx.AsyncHTTPTransport):
    """See `_Transport`."""

    def __init__(self, context: ssl.SSLContext, proxy_url: str | None) -> None:
        proxy, self._backend = _proxy(context, proxy_url), _AsyncBackend()
        super().__init__(verify=context, proxy=proxy)
        before: Any = getattr(self, "_pool", None)
        self._pool = _pool(httpcore.AsyncConnectionPool, before, context, proxy, self._backend)
        self.idle_since = 0.0

    async def aclose(self) -> None:
        """Close the connection, be it half open."""
        with anyio.CancelScope(shield=True):
            await super().aclose()
            await self._backend.aclose()


class AsyncStockEngine(AsyncHttpxEngine):
    """Sends the requests of the tasks of one event loop. See `StockEngine`."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        self._open = functools.partial(_AsyncTransport, context, proxy)
        super().__init__(self._open())
        self._all: set[_AsyncTransport] = set()
        self._idle: collections.deque[_AsyncTransport] = collections.deque()
        self._is_closed = False

    @functools.cached_property
    def _permits(self) -> anyio.Semaphore:
        return anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)  # it belongs to the event loop

    async def take(self, budget: Budget, *, fresh: bool) -> _AsyncTransport:
        """Return a transport that no other task uses."""
        with anyio.move_on_after(budget.phases()["pool"]) if not self._permits.value else _AT_ONCE:
            await self._permits.acquire()
            transport = self._idle.pop() if self._idle else self._open()
            self._all.add(transport)
            if self._is_closed or fresh:
                await transport.aclose()
            if self._is_closed:
                await self.give_back(transport, is_broken=True)
                raise TransportError("other", "the client is closed")
            return transport
        raise TransportError("timeout", phase="pool")

    async def give_back(self, transport: Any, *, is_broken: bool) -> None:
        """Keep a transport for the next request, or close it."""
        now = transport.idle_since = monotonic()
        try:
            if is_broken or self._is_closed:
                await self._close(transport)
            else:
                self._idle.append(transport)
                while self._idle[0].idle_since <= now - IDLE_TIMEOUT_S:
                    await self._close(self._idle.popleft())
        finally:
            self._permits.release()

    async def _close(self, transport: _AsyncTransport) -> None:
        self._all.discard(transport)
        await transport.aclose()

    async def aclose(self) -> None:
        """Close all connections. A task that waits for one of them gets a `TransportError` at once."""
        self._is_closed = True
        self._idle.clear()
        for transport in list(self._all):
            await self._close(transport)


_AT_ONCE = contextlib.nullcontext()
