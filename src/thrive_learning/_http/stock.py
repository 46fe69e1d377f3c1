"""The default engine: httpx's own transports side by side, each with one connection.

httpx's pool scans all of its connections for every request, and collapses at about a hundred in flight. A
transport with one connection has nothing to scan, and reusing the one that became idle last takes the same
time for any number.
"""

import collections
import functools
from ssl import SSLContext
from typing import Any

import anyio
import httpcore
import httpx

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.deadline import Backend
from thrive_learning._http.httpx_adapter import Adapter, AsyncHttpxEngine, HttpxEngine
from thrive_learning._http.port import IDLE_TIMEOUT_S, TransportError
from thrive_learning._http.surplus import AsyncStream
from thrive_learning._loops import TaskPermits, ThreadPermits
from thrive_learning.errors import ConfigurationError

_CLOSED = "the client is closed"


class _OneConnection:
    """The shared part of both transports: a pool of one connection that our backend opens.

    httpx keeps its pool in `_pool`, the one private name that the default engine uses. Without it, time
    limits would not hold, so no client is created.
    """

    pool_kind: Any
    backend_kind: Any

    def __init__(self, context: SSLContext, url: str | None) -> None:
        known = through = None
        if url is not None:
            is_tls = url.lower().startswith("https:")
            known = httpx.Proxy(url, ssl_context=context if is_tls else None)
            through = httpcore.Proxy(str(known.url), auth=known.raw_auth, ssl_context=known.ssl_context)
        as_httpx: Any = super()
        as_httpx.__init__(verify=context, proxy=known)
        if not isinstance(getattr(self, "_pool", None), self.pool_kind):
            raise ConfigurationError(
                f"engine='httpx' does not support httpx {httpx.__version__}. Install httpx 0.28.1, or pass "
                "your own transport as transport=."
            )
        self.backend = self.backend_kind()
        self._pool = self.pool_kind(
            ssl_context=context,
            proxy=through,
            max_connections=1,
            keepalive_expiry=IDLE_TIMEOUT_S,
            network_backend=self.backend,
        )
        self.idle_since = 0.0


class _Transport(_OneConnection, httpx.HTTPTransport):
    pool_kind = httpcore.ConnectionPool
    backend_kind = Backend

    def close(self) -> None:
        super().close()
        self.backend.close()


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections. Closing it ends an attempt to connect."""

    is_cut = False

    def __init__(self) -> None:
        self._backend: Any = httpcore.AnyIOBackend()
        self._opening: anyio.CancelScope | None = None
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(self, host: str, port: int, timeout: Any = None, *_: Any, **__: Any) -> Any:
        with anyio.CancelScope() as self._opening:
            stream = self._stream = await self._backend.connect_tcp(host, port, timeout)
            return AsyncStream(stream)
        raise httpcore.ConnectError(_CLOSED)

    def cut(self) -> None:
        if self._opening is not None:
            self._opening.cancel()

    async def aclose(self) -> None:
        self.cut()
        if self._stream is not None:
            await self._stream.aclose()


class _AsyncTransport(_OneConnection, httpx.AsyncHTTPTransport):
    pool_kind = httpcore.AsyncConnectionPool
    backend_kind = _AsyncBackend

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await super().aclose()
            await self.backend.aclose()


class _SideBySide(Adapter):
    """The shared part of both engines: all transports, and which of them are idle."""

    transport_kind: Any

    def __init__(self, context: SSLContext, proxy: str | None) -> None:
        self._open = functools.partial(self.transport_kind, context, proxy)
        super().__init__(self._open())  # created now, so that a wrong setting fails at the client's creation
        self._all: set[Any] = set()
        self._idle: collections.deque[Any] = collections.deque()
        self._is_closed = False
        self._permits: Any = (TaskPermits if self.is_async else ThreadPermits)(MAX_CONNECTIONS)

    async def take(self, budget: Budget, *, fresh: bool) -> Any:
        """Return a transport for exclusive use."""
        acquired = self._permits.acquire(min(budget.timeout.pool, budget.remaining()))
        if not (await acquired if self.is_async else acquired):
            raise TransportError("timeout", phase="pool")
        try:
            transport = self._next()
            if not self.is_async:
                transport.backend.budget, budget.connection = budget, transport.backend
            if fresh or self._is_closed:
                await self.end(transport)
            if self._is_closed:
                raise TransportError("other", _CLOSED)  # noqa: TRY301 - its permit is released
        except BaseException:
            self._permits.release()
            raise
        return transport

    def _next(self) -> Any:
        try:  # contextlib.suppress would take longer than this function
            return self._idle.pop()
        except IndexError:
            transport = self._open()
        self._all.add(transport)
        return transport

    async def give_back(self, transport: Any, *, is_broken: bool) -> None:
        """Keep a transport for the next request, or close it."""
        transport.idle_since = monotonic()
        if not self.is_async:
            transport.backend.budget.connection = None
        try:
            if is_broken or transport.backend.is_cut:
                await self._close(transport)
            else:
                self._idle.append(transport)
                await self._close_expired(transport.idle_since)
        finally:
            self._permits.release()

    async def _close_expired(self, now: float) -> None:
        """Close the transports that have been idle for too long; if the engine is closed, all idle ones."""
        since = now - (0 if self._is_closed else IDLE_TIMEOUT_S)
        try:
            while self._idle[0].idle_since <= since:
                await self._close(self._idle.popleft())
        except IndexError:  # none is left, or another thread took it
            return

    async def _close(self, transport: Any) -> None:
        self._all.discard(transport)
        if self.is_async:
            await self.end(transport)
        else:  # without httpcore's lock, which a call that a signal handler has interrupted may still hold
            transport.backend.close()

    async def end_all(self) -> None:
        """Close all connections. A caller that waits for one of them gets a `TransportError` at once."""
        self._is_closed = True
        for transport in list(self._all):
            transport.backend.cut()
            if self.is_async:  # threads close their own transports
                await self._close(transport)
        await self._close_expired(monotonic())


class StockEngine(_SideBySide, HttpxEngine):
    """Sends requests for threads. See `port.Engine`.

    Args:
        context: The TLS context.
        proxy: The URL of a proxy; None for direct connections.
    """

    transport_kind = _Transport


class AsyncStockEngine(_SideBySide, AsyncHttpxEngine):
    """Sends requests for the tasks of one event loop. See `StockEngine`."""

    transport_kind = _AsyncTransport
